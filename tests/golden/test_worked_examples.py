"""The worked examples of the rules page, each by its number and sentence by sentence, on the shipped plans."""

from __future__ import annotations

from itertools import permutations

import pytest

from schemas.progress import Flag
from services.scoring.core.attention import changes
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from tests.golden.doors import (
    DISC,
    ONLINE,
    VISIT,
    A,
    B,
    at,
    exam,
    flags,
    graded,
    learner_of,
    post,
    posts,
    process,
    read,
    record,
    row,
    ruled,
    seconds,
    selected,
    study,
    told,
    turns,
    utc,
    work,
)

NOW = "2023-08-01 00:00"
COURSES = [ONLINE, selected("c-maths"), selected("c-reading")]
TWO = [
    study("c-maths", "2023-06-05 10:00", "2023-06-05 10:20"),
    study("c-reading", "2023-06-05 10:10", "2023-06-05 10:30"),
]
THIRD = study("c-reading", "2023-06-05 09:55", "2023-06-05 10:15")


def test_example_1_overlap_of_two() -> None:
    progress = told(B, [*COURSES, *TWO], NOW)
    assert row(progress, "c-maths").credited_seconds == 1200  # the page's c1: 10:00-10:20
    assert row(progress, "c-reading").credited_seconds == 600  # its c2: what is left of 10:10-10:30
    assert progress.credited_seconds == 1800


def test_example_1_an_earlier_interval_arrives_last() -> None:
    for order in permutations([*TWO, THIRD]):
        progress = told(B, [*COURSES, *order], NOW)
        assert row(progress, "c-reading").credited_seconds == 1800  # 09:55-10:15 and 10:20-10:30
        assert row(progress, "c-maths").credited_seconds == 300  # 10:15-10:20
        assert progress.credited_seconds == 2100


@pytest.mark.parametrize(("scores", "points"), [("0.9 0.8 1.0", "14.25"), ("0.9", "6.75"), ("0.8", "6.00"), ("1.0", "7.50")])
def test_example_2_the_best_two_of_three(scores: str, points: str) -> None:
    grades = [graded(f"a{n}", score) for n, score in enumerate(scores.split())]
    assert row(told(B, [ONLINE, selected(), *grades], NOW)).assignment_points == points


def test_example_2_a_regrade() -> None:
    grades = [graded("a1", "0.9"), graded("a2", "0.8"), graded("a3", "1.0"), graded("a3", "0.5", "2023-06-21 10:00")]
    assert row(told(B, [ONLINE, selected(), *grades], NOW)).assignment_points == "12.75"  # 6.75 + 6.00; 3.75 is third


def test_example_2_a_third_of_a_score() -> None:
    assert row(told(B, [ONLINE, selected(), graded("a1", "0.3333")], NOW)).assignment_points == "2.50"  # 2.49975


EARLY = [ONLINE, selected(), *seconds("c-reading", 57_600), graded("a1", "1"), *posts("question", 4), *posts("reply", 5), exam("0.9")]


def test_example_3_below_the_gate() -> None:
    found = row(told(B, EARLY, NOW))
    assert (found.study_points, found.assignment_points, found.interaction_points) == ("15.00", "7.50", "9.00")
    assert (found.gate_points, found.gate_met, found.exam_points, found.exam_before_gate) == ("31.50", False, "0.00", True)
    assert (found.total_points, found.passed, found.credits) == ("31.50", False, "0.00")


def test_example_3_a_sixth_reply_brings_the_exam_with_it() -> None:
    found = row(told(B, [*EARLY, post("reply5", "reply", "2023-07-20 10:00")], NOW))
    assert (found.gate_points, found.gate_met, found.exam_points, found.exam_before_gate) == ("32.50", True, "45.00", False)
    assert (found.total_points, found.passed, found.credits) == ("77.50", True, "4.00")


@pytest.mark.parametrize(("number", "total"), [(1, "82.50"), (2, "87.50"), (3, "87.50")])
def test_example_3_works_come_on_top(number: int, total: str) -> None:
    works = [work(f"w{n}") for n in range(number)]
    assert row(told(B, [*EARLY, post("reply5", "reply", "2023-07-20 10:00"), *works], NOW)).total_points == total


def test_example_4_works_are_not_in_the_gate() -> None:
    found = row(told(B, [*EARLY, work("w1"), work("w2")], NOW))
    assert (found.gate_points, found.gate_met, found.works_points) == ("31.50", False, "10.00")
    assert (found.exam_points, found.total_points, found.passed) == ("0.00", "41.50", False)


@pytest.mark.parametrize(
    ("score", "exam_points", "total", "passed"), [("0.55", "44.00", "60.00", True), ("0.5499", "43.99", "59.99", False)]
)
def test_example_5_disc_at_exactly_sixty(score: str, exam_points: str, total: str, passed: bool) -> None:
    progress = told(B, [DISC, selected(), process("0.8"), exam(score, "paper")], NOW)
    found = row(progress)
    assert (found.process_points, found.exam_points, found.total_points, found.passed) == ("16.00", exam_points, total, passed)
    assert (found.gate_met, found.gate_points, found.exam_before_gate) == (True, "0.00", False)
    assert (progress.courses_passed, progress.result) == ((1, "passed") if passed else (0, "in_progress"))


def test_example_5_the_form_decides_which_attempt_counts() -> None:
    both = [DISC, selected(), process("0.8"), exam("0.55", "paper"), exam("0.1", "online", "x2")]
    assert row(told(B, both, NOW)).exam_points == "44.00"  # by default the paper counts
    chosen = record("assessment.chosen", "2023-07-04 10:00", course_id="c-reading", form="online")
    assert row(told(B, [*both, chosen], NOW)).exam_points == "8.00"  # 80 x 0.1; the better paper is ignored
    assert row(told(B, [DISC, selected(), process("0.8"), exam("0.55", "paper"), chosen], NOW)).exam_points == "0.00"


def test_example_6_one_study_hour_of_45_minutes() -> None:
    assert told(A, seconds("p-meaning", 2700, 5, "2023-11"), "2023-11-06 00:00").study_hours == "1.00"
    short = told(A, seconds("p-meaning", 2699, 5, "2023-11"), "2023-11-06 00:00")
    assert (short.credited_seconds, short.study_hours) == (2699, "0.99")


def test_example_6_a_course_of_two_hours_is_capped() -> None:
    progress = told(A, seconds("p-meaning", 6000, 5, "2023-11"), "2023-11-06 00:00")
    found = row(progress, "p-meaning")
    assert (found.credited_seconds, found.credits) == (5400, "2.00")
    assert (progress.credited_seconds, progress.study_hours, progress.credits) == (5400, "2.00", "2.00")


INACTIVE = ("inactive", "")
MONDAY = [ONLINE, VISIT]  # 5 June 2023, 10:00


def severity(flag: Flag | None) -> str | None:
    return flag.severity if flag else None


def test_example_7_inactive_from_thursday() -> None:
    before, then = turns(B, MONDAY, INACTIVE, "2023-06-08 10:00")
    assert (severity(before), severity(then)) == (None, "notice")
    before, then = turns(B, MONDAY, INACTIVE, "2023-06-12 10:00")  # the next Monday
    assert (severity(before), severity(then)) == ("notice", "warning")
    before, then = turns(B, MONDAY, INACTIVE, "2023-06-19 10:00")
    assert (severity(before), severity(then)) == ("warning", "escalation")


def test_example_7_a_late_fact_retracts_thursdays_flag() -> None:
    learner = learner_of(B, MONDAY)
    log: list[tuple[str, str, str, str]] = []
    published: list[Flag] = []

    def look(moment: str) -> None:
        progress = evaluate(B, learner, at(moment)).progress
        log.extend((moment, line.kind, line.change, line.raised_at) for line in changes(B, learner, published, progress, at(moment)))
        published[:] = progress.flags

    look("2023-06-08 09:59:59.999")
    look("2023-06-08 10:00")
    fold(B, learner, [fact_of(read(record("platform.visited", "2023-06-07 09:00")))])  # Wednesday's act, on Friday
    look("2023-06-09 15:00")
    assert evaluate(B, learner, at("2023-06-09 15:00")).next_change_ms == at("2023-06-10 09:00")
    look("2023-06-10 08:59:59.999")
    look("2023-06-10 09:00")
    assert log == [
        ("2023-06-08 10:00", "inactive", "raised", "2023-06-08T02:00:00.000Z"),
        ("2023-06-09 15:00", "inactive", "retracted", "2023-06-08T02:00:00.000Z"),
        ("2023-06-10 09:00", "inactive", "raised", "2023-06-10T01:00:00.000Z"),  # Saturday 09:00
    ]
    assert [(flag.kind, flag.raised_at) for flag in published] == [("inactive", "2023-06-10T01:00:00.000Z")]


def test_example_8_registered_before_the_start_and_never_came() -> None:
    early = [record("learner.registered", "2023-05-29 00:00", class_id="k1", mode="online")]
    before, then = turns(B, early, ("not_started", ""), "2023-06-04 00:00")
    assert before is None
    assert then is not None
    assert (then.raised_at, then.severity) == (utc("2023-06-04 00:00"), "notice")  # starts + 3 days


def test_example_8_enrolled_and_never_registered() -> None:
    enrolled = [record("learner.enrolled", "2023-06-01 09:00", class_id="k1")]
    before, then = turns(B, enrolled, ("not_registered", ""), "2023-06-03 09:00")
    assert before is None
    assert then is not None
    assert (then.raised_at, then.severity, then.owner_level) == (utc("2023-06-03 09:00"), "notice", "school")
    assert set(flags(B, enrolled, "2023-06-30 09:00")) == {("not_registered", "")}


@pytest.mark.parametrize(("grades", "points"), [(1, "0.93"), (2, "1.86")])
def test_example_9_each_product_rounds_on_its_own(grades: int, points: str) -> None:
    facts = [graded(f"a{n}", "0.1234") for n in range(grades)]
    assert row(told(B, [ONLINE, selected(), *facts], NOW)).assignment_points == points  # 0.9255 -> 0.93 each; 1.851 would be 1.85


PASSED = [DISC, selected(), process("0.8"), exam("0.55", "paper")]
CONFIRMED = ruled("confirmed", "2023-08-01 10:00")


def test_example_10_a_confirmed_case_fails_even_who_has_passed() -> None:
    assert told(B, PASSED, "2023-07-10 00:00").result == "passed"
    assert told(B, [*PASSED, ruled("suspected", "2023-07-20 10:00")], "2023-07-21 00:00").result == "passed"
    assert told(B, [*PASSED, CONFIRMED], "2023-08-02 00:00").result == "failed"
    assert told(B, [*PASSED, CONFIRMED], "2024-02-02 00:00").result == "failed"
    assert told(B, [DISC, selected(), CONFIRMED], "2023-08-02 00:00").result == "failed"


@pytest.mark.parametrize("cleared", ["2023-08-03 10:00", "2024-01-15 00:00", "2024-02-01 10:00"])
def test_example_10_cleared_gives_back_what_the_facts_say(cleared: str) -> None:
    facts = [CONFIRMED, ruled("cleared", cleared)]
    assert told(B, [*PASSED, *facts], "2024-02-02 00:00").result == "passed"  # also after results_final
    assert told(B, [DISC, selected(), *facts], "2024-02-02 00:00").result == "failed"  # not passed when that day began
    assert told(B, [DISC, selected(), CONFIRMED, ruled("cleared", "2023-08-03 10:00")], "2023-08-04 00:00").result == "in_progress"
