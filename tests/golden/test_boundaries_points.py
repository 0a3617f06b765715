"""Points, passing and results with the value just under, on and just over each number of the rules page."""

from __future__ import annotations

import pytest

from tests.golden.doors import (
    DISC,
    ONLINE,
    A,
    B,
    exam,
    graded,
    post,
    posts,
    process,
    programme,
    record,
    row,
    ruled,
    seconds,
    selected,
    submitted,
    told,
    work,
)

NOW = "2023-08-01 00:00"
TALK = [*posts("question", 4), *posts("reply", 6)]  # 10.00
HOURS = seconds("c-reading", 57_600)  # 15.00


@pytest.mark.parametrize(
    ("score", "gate", "met", "exam_points"),
    [
        ("0.9326", "31.99", False, "0.00"),  # 15 + 10 + 6.9945 -> 6.99
        ("0.9327", "32.00", True, "45.00"),  # 15 + 10 + 6.99525 -> 7.00
        ("0.9347", "32.01", True, "45.00"),  # 15 + 10 + 7.01025 -> 7.01
    ],
)
def test_the_gate_at_32_points(score: str, gate: str, met: bool, exam_points: str) -> None:
    found = row(told(B, [ONLINE, selected(), *HOURS, *TALK, graded("a1", score), exam("0.9")], NOW))
    assert (found.gate_points, found.gate_met, found.exam_points, found.exam_before_gate) == (gate, met, exam_points, not met)


@pytest.mark.parametrize(
    ("score", "total", "passed"),
    [
        ("0.5598", "59.99", False),  # 32.00 + 50 x 0.5598 = 27.99
        ("0.56", "60.00", True),
        ("0.5602", "60.01", True),
    ],
)
def test_a_course_passes_at_60_points(score: str, total: str, passed: bool) -> None:
    progress = told(B, [ONLINE, selected(), *HOURS, *TALK, graded("a1", "0.9327"), exam(score)], NOW)
    assert (row(progress).total_points, row(progress).passed) == (total, passed)
    assert (progress.courses_passed, progress.credits) == ((1, "4.00") if passed else (0, "0.00"))
    assert progress.result == ("passed" if passed else "in_progress")


@pytest.mark.parametrize(("studied", "points"), [(57_599, "0.00"), (57_600, "15.00"), (57_601, "15.00")])
def test_sixteen_hours_of_study(studied: int, points: str) -> None:
    found = row(told(B, [ONLINE, selected(), *seconds("c-reading", studied)], NOW))
    assert (found.credited_seconds, found.study_points) == (studied, points)


@pytest.mark.parametrize(
    ("studied", "points"),
    [(2, "0.02"), (3, "0.03"), (4, "0.03"), (9, "0.08"), (1799, "14.99"), (1800, "15.00"), (1801, "15.00"), (3600, "15.00")],
)
def test_proportional_study_rounds_half_up_and_ends_at_its_points(studied: int, points: str) -> None:
    """1,500 / 1,800 of 1/100 a second: 1.67, 2.5, 3.33, 7.5 (half even would say 2 for 2.5), 1,499.17, then no more."""
    assert row(told(programme(), [ONLINE, selected("c1"), *seconds("c1", studied)], NOW), "c1").study_points == points


@pytest.mark.parametrize(("score", "points"), [("0.0059", "0.04"), ("0.006", "0.05"), ("0.0061", "0.05"), ("0.002", "0.02")])
def test_an_assignment_rounds_half_up(score: str, points: str) -> None:
    """7.5 x 0.006 = 0.045 (half even: 0.04); x 0.0059 = 0.04425; x 0.002 = 0.015."""
    assert row(told(B, [ONLINE, selected(), graded("a1", score)], NOW)).assignment_points == points


@pytest.mark.parametrize(("score", "points"), [("0", "0.00"), ("0.0001", "0.01"), ("0.0002", "0.01"), ("0.0003", "0.02"), ("1", "50.00")])
def test_an_exam_rounds_half_up(score: str, points: str) -> None:
    """50 x 0.0001 = 0.005 (half even: 0.00), x 0.0003 = 0.015."""
    marked = exam(score, sat="2023-06-19 09:00", time="2023-06-20 09:00", course="c1")
    assert row(told(programme(), [ONLINE, selected("c1"), marked], NOW), "c1").exam_points == points


@pytest.mark.parametrize(("score", "points"), [("0.0002", "0.00"), ("0.0003", "0.01"), ("0.9997", "19.99"), ("0.9998", "20.00")])
def test_a_process_mark_rounds(score: str, points: str) -> None:
    """20 x 0.0002 = 0.004; x 0.0003 = 0.006; x 0.9997 = 19.994; x 0.9998 = 19.996."""
    assert row(told(B, [DISC, selected(), process(score)], NOW)).process_points == points


@pytest.mark.parametrize(
    ("scores", "points"),
    [
        ("0.8 0.8", "12.00"),  # equal scores are two assignments
        ("0.9 0.8 0.8", "12.75"),  # a tie for the second place
        ("0.8 0.9 0.7999", "12.75"),
        ("0.8001 0.8 0.9", "12.75"),  # 6.00075 -> 6.00
        ("0.7 0.8 0.9 1 0.6", "14.25"),
        ("0 0 1", "7.50"),
        ("0", "0.00"),
    ],
)
def test_the_best_two_assignments_and_ties_for_the_second(scores: str, points: str) -> None:
    grades = [graded(f"a{n}", score) for n, score in enumerate(scores.split())]
    assert row(told(B, [ONLINE, selected(), *grades], NOW)).assignment_points == points


def test_a_grade_needs_no_submission_and_a_submission_earns_nothing() -> None:
    assert row(told(B, [ONLINE, selected(), graded("a1", "1")], NOW)).assignment_points == "7.50"
    assert row(told(B, [ONLINE, selected(), submitted("a1", "2023-06-10 10:00")], NOW)).assignment_points == "0.00"


@pytest.mark.parametrize(
    ("questions", "replies", "points"), [(0, 0, "0.00"), (3, 0, "3.00"), (4, 0, "4.00"), (5, 0, "4.00"), (0, 7, "6.00"), (5, 5, "9.00")]
)
def test_questions_and_replies_each_up_to_its_number(questions: int, replies: int, points: str) -> None:
    talk = [*posts("question", questions), *posts("reply", replies)]
    assert row(told(B, [ONLINE, selected(), *talk], NOW)).interaction_points == points


@pytest.mark.parametrize("time", ["2023-06-09 10:00", "2023-06-10 10:00", "2024-03-01 10:00"])
def test_a_removed_post_counts_no_more_whenever_it_was_removed(time: str) -> None:
    facts = [ONLINE, selected(), post("q", "question"), post("r", "reply")]
    removal = record("post.removed", time, course_id="c-reading", post_id="q")
    again = post("q", "question", "2023-07-01 10:00")
    elsewhere = record("post.removed", time, course_id="c-maths", post_id="r")  # post ids lie inside the course
    assert row(told(B, facts, NOW)).interaction_points == "2.00"
    assert row(told(B, [*facts, removal, elsewhere], NOW)).interaction_points == "1.00"
    assert row(told(B, [*facts, removal, again], NOW)).interaction_points == "1.00"


@pytest.mark.parametrize(("number", "points"), [(0, "0.00"), (1, "5.00"), (2, "10.00"), (3, "10.00")])
def test_two_works_count(number: int, points: str) -> None:
    assert row(told(B, [ONLINE, selected(), *[work(f"w{n}") for n in range(number)]], NOW)).works_points == points


@pytest.mark.parametrize(
    ("verdicts", "points"),
    [([], "5.00"), (["returned"], "0.00"), (["accepted"], "5.00"), (["returned", "accepted"], "5.00"), (["accepted", "returned"], "0.00")],
)
def test_a_work_whose_latest_review_is_returned_does_not_count(verdicts: list[str], points: str) -> None:
    reviews = [record("work.reviewed", f"2023-06-{20 + n} 10:00", work_id="w", verdict=verdict) for n, verdict in enumerate(verdicts)]
    assert row(told(B, [ONLINE, selected(), work("w"), *reviews], NOW)).works_points == points


def test_works_of_other_kinds_of_other_courses_and_removed_ones_do_not_count() -> None:
    facts = [ONLINE, selected(), work("w1", "research_article"), work("w2", course_id="c-maths"), work("w3")]
    assert row(told(B, facts, NOW)).works_points == "5.00"
    for time in ("2023-06-01 10:00", "2024-03-01 10:00"):
        assert row(told(B, [*facts, record("work.removed", time, work_id="w3")], NOW)).works_points == "0.00"
    # the latest publication says where the work is: kind and course are looked at last
    moved = work("w3", time="2023-06-12 10:00", course_id="c-maths")
    assert row(told(B, [*facts, moved], NOW)).works_points == "0.00"


@pytest.mark.parametrize(
    ("marks", "result"),
    [
        ([("1", "0.8749")], "passed"),  # 20 + 69.99 = 89.99
        ([("1", "0.875")], "excellent"),  # 20 + 70.00 = 90.00
        ([("1", "0.8752")], "excellent"),  # 90.02
        ([("1", "0.9375"), ("1", "0.8124")], "passed"),  # 95.00 + 84.99: 179.99 of 180
        ([("1", "0.9375"), ("1", "0.8125")], "excellent"),  # 95.00 + 85.00: the mean is 90 exactly
        ([("1", "0.9375"), ("1", "0.8127")], "excellent"),  # 95.00 + 85.02
        ([("1", "1"), ("1", "0.9"), ("1", "0.6")], "passed"),  # 100 + 92 + 68: a mean of 86.67
    ],
)
def test_excellent_at_a_mean_of_90(marks: list[tuple[str, str]], result: str) -> None:
    courses = ["c-reading", "c-maths", "c-ict"][: len(marks)]
    facts = [DISC, *[selected(course) for course in courses]]
    for course, (mark, score) in zip(courses, marks, strict=True):
        facts += [process(mark, course=course), exam(score, "paper", course=course)]
    assert told(B, facts, NOW).result == result


def test_excellent_needs_every_selected_course_passed() -> None:
    """100 + 100 + 40 is no pass whatever the mean; nor is nothing selected."""
    good = [
        fact
        for course in ("c-maths", "c-ict")
        for fact in (selected(course), process("1", course=course), exam("1", "paper", course=course))
    ]
    assert told(B, [DISC, *good], NOW).result == "excellent"
    assert told(B, [DISC, *good, selected()], NOW).result == "in_progress"
    dropped = record("course.dropped", "2023-06-02 09:00", course_id="c-reading")
    assert told(B, [DISC, *good, selected(), dropped], NOW).result == "excellent"
    assert told(B, [DISC], NOW).result == "in_progress"
    assert told(B, [DISC, *good, ruled("confirmed", "2023-07-10 10:00")], NOW).result == "failed"


@pytest.mark.parametrize(
    ("studied", "credits"), [(26, "0.00"), (27, "0.01"), (53, "0.01"), (54, "0.02"), (5399, "1.99"), (5400, "2.00"), (5401, "2.00")]
)
def test_credits_are_cut_to_a_hundredth(studied: int, credits: str) -> None:
    """2 credits over 5,400 s: 1/27 of 1/100 a second; 53 s are 1.96 hundredths, 5,399 s are 199.96."""
    progress = told(A, seconds("p-meaning", studied, 5, "2023-11"), "2023-11-20 00:00")
    assert (row(progress, "p-meaning").credits, progress.credits) == (credits, credits)


def test_credits_are_cut_course_by_course() -> None:
    facts = [*seconds("p-meaning", 53, 5, "2023-11"), *seconds("p-topics", 53, 6, "2023-11")]
    progress = told(A, facts, "2023-11-20 00:00")
    assert progress.credits == "0.02"  # 1.96 hundredths twice; cut after the sum they would be 0.03
    assert (progress.credited_seconds, progress.study_hours) == (106, "0.03")  # 106 / 2,700 = 0.039


def everything_but(missing: int) -> list[bytes]:
    """Each course of plan A studied to its end, the last one `missing` seconds less."""
    facts, first = [], 1
    for course in A.courses.values():
        length = course.seconds - (missing if course.id == "s-cases" else 0)
        facts += seconds(course.id, length, first, "2023-11")
        first += -(-length // 28_800)
    return facts


@pytest.mark.parametrize(("missing", "hours", "result"), [(1, "59.99", "in_progress"), (0, "60.00", "passed")])
def test_sixty_credited_hours(missing: int, hours: str, result: str) -> None:
    article = work("w", "research_article", "2023-12-05 10:00", activity_id="research")
    accepted = record("work.reviewed", "2023-12-07 10:00", work_id="w", verdict="accepted")
    progress = told(A, [*everything_but(missing), article, accepted], "2023-12-20 00:00")
    assert (progress.credited_seconds, progress.study_hours, progress.result) == (162_000 - missing, hours, result)


@pytest.mark.parametrize(
    ("of", "verdicts", "removed", "result"),
    [
        ({"activity_id": "research"}, ["accepted"], False, "passed"),
        ({"activity_id": "research"}, [], False, "in_progress"),  # not reviewed
        ({"activity_id": "research"}, ["accepted", "returned"], False, "in_progress"),
        ({"activity_id": "research"}, ["returned", "accepted"], False, "passed"),
        ({"activity_id": "research"}, ["accepted"], True, "in_progress"),
        ({"course_id": "s-cases"}, ["accepted"], False, "in_progress"),  # of a course, not of the activity
    ],
)
def test_one_accepted_article(of: dict[str, str], verdicts: list[str], removed: bool, result: str) -> None:
    facts = [*everything_but(0), work("w", "research_article", "2023-12-05 10:00", **of)]
    facts += [record("work.reviewed", f"2023-12-{10 + n} 10:00", work_id="w", verdict=verdict) for n, verdict in enumerate(verdicts)]
    if removed:
        facts.append(record("work.removed", "2023-12-06 10:00", work_id="w"))
    assert told(A, facts, "2023-12-20 00:00").result == result


@pytest.mark.parametrize(
    ("gender", "birth_year", "mode"),
    [
        ("male", 1972, "disc"),
        ("male", 1973, "disc"),  # 50 at the end of 2023: not younger than 50
        ("male", 1974, "online"),
        ("female", 1977, "disc"),
        ("female", 1978, "online"),  # 45 at the end of 2023: up to 45
        ("female", 1979, "online"),
        ("male", None, "online"),
        (None, 1950, "online"),
    ],
)
def test_the_age_at_the_end_of_the_year(gender: str | None, birth_year: int | None, mode: str) -> None:
    person = {"class_id": "k1", "gender": gender, "birth_year": birth_year}
    known = {name: value for name, value in person.items() if value is not None}
    enrolled = record("learner.enrolled", "2023-05-25 09:00", "", "/p", **known)
    registered = record("learner.registered", "2023-06-01 09:00", class_id="k1")
    assert told(B, [enrolled, registered], NOW).mode == mode
    stated = record("learner.transferred", "2023-05-24 09:00", class_id="k2", mode="online")
    assert told(B, [enrolled, registered, stated], NOW).mode == "online"  # a fact that states one goes before the rule, even an older one


def test_the_year_is_that_of_the_start_and_the_latest_enrolment_is_asked() -> None:
    rules = programme(
        mode_rule="{online: {male_younger_than: 50, female_up_to: 45}, at: year_end}",
        calendar="{opens: 2023-12-20, starts: 2024-01-01, ends: 2024-01-20, results_final: 2024-02-01}",
        attention="{}",
    )
    first = record("learner.enrolled", "2023-12-25 09:00", class_id="k1", gender="male", birth_year=1974)
    assert told(rules, [first], "2024-01-05 00:00").mode == "disc"  # 50 at the end of 2024, 49 at that of 2023
    later = record("learner.enrolled", "2023-12-26 09:00", class_id="k1", gender="male", birth_year=1975)
    assert told(rules, [first, later], "2024-01-05 00:00").mode == "online"


def test_a_mode_that_scores_nothing_passes_nothing() -> None:
    """`edges` has no disc: its learners have rows, but no points and no pass."""
    facts = [
        DISC,
        selected("c1"),
        *seconds("c1", 1800),
        graded("a1", "1", course="c1"),
        exam("1", "paper", sat="2023-06-19 09:00", time="2023-06-20 09:00", course="c1"),
    ]
    found = row(told(programme(), facts, NOW), "c1")
    assert (found.credited_seconds, found.total_points, found.passed, found.gate_met) == (1800, "0.00", False, True)
