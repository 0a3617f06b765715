"""The worked examples of the rules page, each by its number, on the shipped plans."""

from __future__ import annotations

from core_world import A, B, at, course_of, event, flags_of, hours_of, learner_of, progress_of, study

from schemas.progress import instant
from schemas.reading import Event
from services.scoring.core.attention import changes
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold

ONLINE = event("learner.registered", "2023-06-01 09:00", class_id="k1", mode="online")
DISC = event("learner.registered", "2023-06-01 09:00", class_id="k1", mode="disc")
READING = event("course.selected", "2023-06-01 09:00", course_id="c-reading")
MATHS = event("course.selected", "2023-06-01 09:00", course_id="c-maths")


def graded(assignment: str, score: str, time: str = "2023-06-20 10:00", course: str = "c-reading") -> Event:
    return event("assignment.graded", time, course_id=course, assignment_id=assignment, score=score, grader_id="t1")


def posts(kind: str, number: int) -> list[Event]:
    return [event("post.published", "2023-06-10 10:00", course_id="c-reading", post_id=f"{kind}{n}", kind=kind) for n in range(number)]


def exam(score: str, form: str = "online", attempt: str = "x1") -> Event:
    when = "2023-07-01 09:00"
    return event("exam.marked", "2023-07-02 09:00", course_id="c-reading", attempt_id=attempt, form=form, score=score, sat_at=when)


def test_1_overlap() -> None:
    two = [ONLINE, READING, MATHS, study("c-maths", "2023-06-05", "10:00", "10:20"), study("c-reading", "2023-06-05", "10:10", "10:30")]
    progress = progress_of(B, two)
    assert course_of(progress, "c-maths").credited_seconds == 1200
    assert course_of(progress, "c-reading").credited_seconds == 600
    progress = progress_of(B, [*two, study("c-reading", "2023-06-05", "09:55", "10:15")])
    assert course_of(progress, "c-reading").credited_seconds == 1800
    assert course_of(progress, "c-maths").credited_seconds == 300
    assert progress.credited_seconds == 2100


def test_2_best_assignments() -> None:
    first = [ONLINE, READING, graded("a1", "0.9"), graded("a2", "0.8"), graded("a3", "1.0")]
    assert course_of(progress_of(B, first), "c-reading").assignment_points == "14.25"
    regraded = [*first, graded("a3", "0.5", "2023-06-21 10:00")]
    assert course_of(progress_of(B, regraded), "c-reading").assignment_points == "12.75"
    assert course_of(progress_of(B, [ONLINE, READING, graded("a1", "0.3333")]), "c-reading").assignment_points == "2.50"


def test_3_gate() -> None:
    before = [ONLINE, READING, *hours_of("c-reading", 2, 16), graded("a1", "1"), *posts("question", 4), *posts("reply", 5), exam("0.9")]
    row = course_of(progress_of(B, before), "c-reading")
    assert (row.study_points, row.gate_points, row.gate_met, row.exam_before_gate) == ("15.00", "31.50", False, True)
    assert (row.exam_points, row.total_points, row.passed) == ("0.00", "31.50", False)
    row = course_of(progress_of(B, [*before, *posts("reply", 6)]), "c-reading")
    assert (row.gate_points, row.gate_met, row.exam_before_gate) == ("32.50", True, False)
    assert (row.exam_points, row.total_points, row.passed, row.credits) == ("45.00", "77.50", True, "4.00")


def test_4_works_lift_no_gate() -> None:
    works = [event("work.published", "2023-06-11 10:00", work_id=f"w{n}", kind="lesson_design", course_id="c-reading") for n in range(2)]
    facts = [
        ONLINE,
        READING,
        *hours_of("c-reading", 2, 16),
        graded("a1", "1"),
        *posts("question", 4),
        *posts("reply", 5),
        exam("0.9"),
        *works,
    ]
    row = course_of(progress_of(B, facts), "c-reading")
    assert (row.gate_points, row.gate_met, row.works_points, row.total_points) == ("31.50", False, "10.00", "41.50")


def test_5_disc() -> None:
    process = event("process.marked", "2023-07-03 10:00", course_id="c-reading", score="0.8", marker_id="s1")
    row = course_of(progress_of(B, [DISC, READING, process, exam("0.55", "paper")]), "c-reading")
    assert (row.process_points, row.exam_points, row.total_points, row.passed) == ("16.00", "44.00", "60.00", True)
    assert (row.gate_met, row.gate_points, row.exam_before_gate) == (True, "0.00", False)
    row = course_of(progress_of(B, [DISC, READING, process, exam("0.5499", "paper")]), "c-reading")
    assert (row.exam_points, row.total_points, row.passed) == ("43.99", "59.99", False)
    both = [DISC, READING, process, exam("0.55", "paper"), exam("1", "online", "x2")]
    assert course_of(progress_of(B, both), "c-reading").exam_points == "44.00"
    chosen = event("assessment.chosen", "2023-07-04 10:00", course_id="c-reading", form="online")
    assert course_of(progress_of(B, [*both, chosen]), "c-reading").exam_points == "80.00"
    assert course_of(progress_of(B, [DISC, READING, process, exam("0.55", "paper"), chosen]), "c-reading").exam_points == "0.00"


def test_6_plan_a_caps_and_cuts() -> None:
    parts = [study("p-meaning", "2023-11-05", f"{8 + n:02d}:00", f"{8 + n:02d}:20") for n in range(5)]
    row = course_of(progress := progress_of(A, parts, "2023-11-06 00:00"), "p-meaning")
    assert (row.credited_seconds, row.credits, progress.study_hours, progress.credits) == (5400, "2.00", "2.00", "2.00")
    short = [study("p-meaning", "2023-11-05", "08:00", "08:30"), study("p-meaning", "2023-11-05", "09:00", "09:14:59")]
    progress = progress_of(A, short, "2023-11-06 00:00")
    assert (progress.credited_seconds, progress.study_hours) == (2699, "0.99")
    exact = [study("p-meaning", "2023-11-05", "08:00", "08:30"), study("p-meaning", "2023-11-05", "09:00", "09:15")]
    assert progress_of(A, exact, "2023-11-06 00:00").study_hours == "1.00"


def test_7_inactive_and_retracted() -> None:
    facts = [ONLINE, event("platform.visited", "2023-06-05 10:00")]  # a Monday
    key = ("inactive", "")
    assert key not in flags_of(B, facts, at("2023-06-08 10:00") - 1)
    assert flags_of(B, facts, "2023-06-08 10:00")[key].severity == "notice"
    assert flags_of(B, facts, at("2023-06-12 10:00") - 1)[key].severity == "notice"
    assert flags_of(B, facts, "2023-06-12 10:00")[key].severity == "warning"

    learner = learner_of(B, facts)
    before = evaluate(B, learner, at("2023-06-08 10:00")).progress.flags
    fold(B, learner, [fact_of(event("platform.visited", "2023-06-07 09:00"))])
    friday = at("2023-06-09 15:00")
    found = evaluate(B, learner, friday)
    assert [(line.kind, line.change) for line in changes(B, learner, before, found.progress, friday)] == [("inactive", "retracted")]
    assert found.next_change_ms is not None
    assert found.next_change_ms <= at("2023-06-10 09:00")
    saturday = evaluate(B, learner, at("2023-06-10 09:00"))
    assert [(flag.kind, flag.raised_at) for flag in saturday.progress.flags] == [("inactive", instant(at("2023-06-10 09:00")))]


def test_8_not_started_and_not_registered() -> None:
    early = [event("learner.registered", "2023-05-29 12:00", class_id="k1", mode="online")]
    assert ("not_started", "") not in flags_of(B, early, at("2023-06-04 00:00") - 1)
    flag = flags_of(B, early, "2023-06-04 00:00")["not_started", ""]
    assert flag.raised_at == instant(B.starts_ms + 3 * 86_400_000)
    enrolled = [event("learner.enrolled", "2023-06-01 09:00", class_id="k1")]
    assert flags_of(B, enrolled, at("2023-06-03 09:00") - 1) == {}
    flag = flags_of(B, enrolled, "2023-06-03 09:00")["not_registered", ""]
    assert (flag.raised_at, flag.severity, flag.owner_level) == (instant(at("2023-06-03 09:00")), "notice", "school")


def test_9_each_product_rounds_on_its_own() -> None:
    row = course_of(progress_of(B, [ONLINE, READING, graded("a1", "0.1234"), graded("a2", "0.1234")]), "c-reading")
    assert row.assignment_points == "1.86"


def test_10_plagiarism() -> None:
    work = event("process.marked", "2023-07-03 10:00", course_id="c-reading", score="0.8", marker_id="s1")
    passed = [DISC, READING, work, exam("0.55", "paper")]
    assert progress_of(B, passed, "2023-07-10 00:00").result == "passed"

    def ruled(time: str, verdict: str) -> Event:
        return event("plagiarism.ruled", time, case_id="k9", submission_id="s1", verdict=verdict)

    confirmed = [*passed, ruled("2023-08-01 10:00", "confirmed")]
    assert progress_of(B, confirmed, "2023-08-02 00:00").result == "failed"
    cleared = [*confirmed, ruled("2024-02-01 10:00", "cleared")]
    assert progress_of(B, cleared, "2024-02-02 00:00").result == "passed"
    assert (
        progress_of(
            B, [DISC, READING, ruled("2023-08-01 10:00", "confirmed"), ruled("2024-02-01 10:00", "cleared")], "2024-02-02 00:00"
        ).result
        == "failed"
    )
