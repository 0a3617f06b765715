"""Study time, windows and points at their edges, on plan B."""

from __future__ import annotations

import random

from core_world import A, B, at, course_of, event, hours_of, learner_of, progress_of, study

from schemas.reading import Event
from services.scoring.core.evaluate import day_progress
from services.scoring.core.study import credited, pieces

ONLINE = event("learner.registered", "2023-06-01 09:00", class_id="k1", mode="online")
READING = event("course.selected", "2023-06-01 09:00", course_id="c-reading")


def test_overlap_second_by_second() -> None:
    chance = random.Random(7)
    for _ in range(300):
        spans = set()
        for _ in range(chance.randint(0, 12)):
            start = chance.randint(-40, 120)
            spans.add((start, chance.choice("abc"), start + chance.randint(1, 60)))
        owner: dict[int, str] = {}
        for second in range(0, 100):
            claims = sorted((start, course) for start, course, end in spans if start <= second < end)
            if claims:
                owner[second] = claims[0][1]
        assert {s: course for first, course, last in pieces(spans, 0, 100) for s in range(first, last)} == owner
        cap = chance.randint(0, 100)
        counted = [owner[second] for second in sorted(owner)][:cap]
        assert credited(spans, 0, 100, cap) == {course: counted.count(course) for course in set(counted)}


def test_sixteen_hours_are_sixteen_hours() -> None:
    facts = [ONLINE, READING, *hours_of("c-reading", 2, 16)]
    assert course_of(progress_of(B, facts), "c-reading").study_points == "15.00"
    short = [*facts[:-1], study("c-reading", "2023-06-03", "15:30", "15:59:59")]
    row = course_of(progress_of(B, short), "c-reading")
    assert (row.credited_seconds, row.study_points) == (57_599, "0.00")


def test_midnight_divides_an_interval_and_its_claim_goes_along() -> None:
    over = event(
        "study.recorded",
        "2023-06-06 00:10",
        course_id="c-reading",
        started_at="2023-06-05 23:50",
        ended_at="2023-06-06 00:10",
        channel="online",
    )
    other = study("c-maths", "2023-06-06", "00:00", "00:20")
    learner = learner_of(B, [ONLINE, READING, over, other])
    first, second = day_progress(B, learner, "2023-06-05"), day_progress(B, learner, "2023-06-06")
    assert (first.credited_seconds, first.active) == (600, False)  # the act is the end of the interval
    assert (second.credited_seconds, second.active) == (1200, True)
    assert learner.credit_of("2023-06-06") == {"c-reading": 600, "c-maths": 600}


def test_the_daily_cap_counts_unselected_and_unknown_courses() -> None:
    eight = [
        study("c-unknown", "2023-06-05", f"{8 + n // 2:02d}:{n % 2 * 30:02d}", f"{8 + n // 2:02d}:{n % 2 * 30 + 29:02d}:59")
        for n in range(16)
    ]
    row = course_of(progress_of(B, [ONLINE, READING, *eight, study("c-reading", "2023-06-05", "18:00", "18:30")]), "c-reading")
    assert row.credited_seconds == 16
    assert progress_of(B, [ONLINE, *eight]).credited_seconds == 0


def test_the_window_of_study() -> None:
    def at_start(seconds: int) -> Event:
        start = B.starts_ms + seconds * 1000
        return event("study.recorded", start + 60_000, course_id="c-reading", started_at=start, ended_at=start + 60_000, channel="online")

    def seconds(*facts: Event) -> int:
        return progress_of(B, [ONLINE, READING, *facts]).credited_seconds

    assert seconds(at_start(-1)) == 0
    assert seconds(at_start(0)) == 60
    length = (B.ends_ms - B.starts_ms) // 1000
    assert seconds(at_start(length - 1)) == 60  # an interval that begins inside counts whole
    assert seconds(at_start(length)) == 0


def test_what_falls_out_does_so_before_the_latest_is_taken() -> None:
    def exam(time: int, score: str, sat: int) -> Event:
        return event("exam.marked", time, course_id="c-reading", attempt_id="x", form="paper", score=score, sat_at=sat)

    disc = event("learner.registered", "2023-06-01 09:00", class_id="k1", mode="disc")
    inside = at("2023-12-30 10:00")
    facts = [
        disc,
        READING,
        exam(inside, "0.5", inside),
        exam(B.results_final_ms, "1", inside),
        exam(B.results_final_ms - 1, "0.9", B.ends_ms),
    ]
    assert course_of(progress_of(B, facts), "c-reading").exam_points == "40.00"
    facts.append(exam(B.results_final_ms - 1, "0.6", B.ends_ms - 1))
    assert course_of(progress_of(B, facts), "c-reading").exam_points == "48.00"


def test_a_removed_post_stays_removed() -> None:
    removed = event("post.removed", "2023-06-02 10:00", course_id="c-reading", post_id="q")
    later = event("post.published", "2023-06-03 10:00", course_id="c-reading", post_id="q", kind="question")
    for facts in ([removed, later], [later, removed]):
        assert course_of(progress_of(B, [ONLINE, READING, *facts]), "c-reading").interaction_points == "0.00"


def test_any_fact_gives_a_row_and_acts_count_outside_the_window() -> None:
    progress = progress_of(A, [event("certificate.issued", "2023-11-05 10:00", certificate_id="z")], "2023-11-06 00:00")
    assert (progress.class_id, progress.mode, len(progress.courses), progress.last_active_at) == ("", "online", 9, None)
    late = event("course.selected", "2024-01-10 10:00", course_id="c-reading")
    progress = progress_of(B, [late], "2024-01-11 00:00")
    assert (progress.courses_selected, progress.last_active_at, progress.started_at) == (0, "2024-01-10T02:00:00.000Z", None)


def test_a_returned_work_does_not_count_and_research_must_be_accepted() -> None:
    work = event("work.published", "2023-06-05 10:00", work_id="w", kind="teaching_case", course_id="c-reading")
    returned = event("work.reviewed", "2023-06-06 10:00", work_id="w", verdict="returned")
    accepted = event("work.reviewed", "2023-06-07 10:00", work_id="w", verdict="accepted")
    article = event("work.published", "2023-06-05 10:00", work_id="v", kind="research_article", course_id="c-reading")
    for facts, points in (([work], "5.00"), ([work, returned], "0.00"), ([work, returned, accepted], "5.00"), ([article], "0.00")):
        assert course_of(progress_of(B, [ONLINE, READING, *facts]), "c-reading").works_points == points


def test_plan_a_passes_with_hours_and_an_accepted_article() -> None:
    days: list[Event] = []
    plan = [(course.id, course.seconds) for course in A.courses.values()]
    day, used = 1, 0
    for course_id, left in plan:
        while left:
            length = min(left, 1800, 28_800 - used)
            start = at(f"2023-11-{day:02d} 08:00") + used * 1000
            end = start + length * 1000
            days.append(event("study.recorded", end, course_id=course_id, started_at=start, ended_at=end, channel="live"))
            left, used = left - length, used + length
            if used == 28_800:
                day, used = day + 1, 0
    work = event("work.published", "2023-12-05 10:00", work_id="w", kind="research_article", activity_id="research")
    accepted = event("work.reviewed", "2023-12-07 10:00", work_id="w", verdict="accepted")
    progress = progress_of(A, [*days, work, accepted], "2023-12-08 00:00")
    assert (progress.study_hours, progress.credits, progress.result) == ("60.00", "60.00", "passed")
    assert progress_of(A, [*days, work], "2023-12-08 00:00").result == "in_progress"
    assert progress_of(A, [*days[1:], work, accepted], "2023-12-08 00:00").result == "in_progress"


def test_what_a_day_credits_is_worked_out_anew_from_the_earliest_day_that_changed() -> None:
    learner = learner_of(B, [event("learner.registered", "2023-06-01 09:00", class_id="k", mode="online")])
    for day in ("2023-06-05", "2023-06-03", "2023-06-04"):
        learner.set_credit(day, {"c-maths": 60})
    assert learner.credit_from == "2023-06-03"
    assert not learner.set_credit("2023-06-03", {"c-maths": 60})
