"""The latest of a key: by time, then source, id and digest in code-point order; never by arrival (`told` tries both)."""

from __future__ import annotations

import hashlib

import pytest

from tests.golden.doors import DISC, ONLINE, B, exam, graded, post, process, read, record, row, ruled, selected, told, work

NOW = "2023-08-01 00:00"
SAME = "2023-06-20 10:00"

TIES = [
    ({"source": "/p", "id": "z"}, {"source": "/q", "id": "a"}),  # the source goes before the id
    ({"source": "/p", "id": "10"}, {"source": "/p", "id": "2"}),  # code points, not numbers
    ({"source": "/p", "id": "Z"}, {"source": "/p", "id": "a"}),  # nor an alphabet: upper case lies before lower
    ({"source": "/p", "id": "\uffe5"}, {"source": "/p", "id": "\U0001f600"}),  # nor UTF-16 units: U+FFE5 < U+1F600
    ({"source": "/p", "id": "a"}, {"source": "/p", "id": "ab"}),
]


@pytest.mark.parametrize(("less", "greater"), TIES)
def test_equal_times_go_to_the_greatest_source_and_id(less: dict[str, str], greater: dict[str, str]) -> None:
    grades = [graded("a1", "0.9", SAME, **less), graded("a1", "0.2", SAME, **greater)]
    assert row(told(B, [ONLINE, selected(), *grades], NOW)).assignment_points == "1.50"


def test_a_later_time_goes_before_every_tie() -> None:
    grades = [graded("a1", "0.9", "2023-06-20 10:00:00.001", source="/a", id="a"), graded("a1", "0.2", SAME, source="/z", id="z")]
    assert row(told(B, [ONLINE, selected(), *grades], NOW)).assignment_points == "6.75"


def test_less_than_a_millisecond_is_cut_and_makes_a_tie() -> None:
    grades = [
        graded("a1", "0.9", "2023-06-20T10:00:00.0009+08:00", source="/a"),
        graded("a1", "0.2", "2023-06-20T02:00:00.0001Z", source="/z"),
    ]
    assert row(told(B, [ONLINE, selected(), *grades], NOW)).assignment_points == "1.50"


def canonical(score: str) -> str:
    """The content of the grades below, written out by hand from CONTRACTS, "Words about facts"."""
    return (
        '{"data":{"assignment_id":"a1","course_id":"c-reading","grader_id":"t1","score":' + score + '},"programme":"p","subject":"L1",'
        '"time":"2023-06-20T02:00:00.000Z","type":"chalkstream.assignment.graded.v1"}'
    )


def test_the_same_source_id_and_time_go_to_the_greatest_digest() -> None:
    scores = ["0.2", "0.4", "0.6", "0.8", "1"]
    digests = {score: hashlib.sha256(canonical(score).encode()).hexdigest() for score in scores}
    grades = {score: graded("a1", score, SAME, id="same") for score in scores}
    for score, value in grades.items():
        assert read(value).digest == digests[score]
    *others, winner = sorted(scores, key=digests.__getitem__)
    arriving = [*others[:2], winner, *others[2:]]  # neither first nor last
    expected = {"0.2": "1.50", "0.4": "3.00", "0.6": "4.50", "0.8": "6.00", "1": "7.50"}
    assert row(told(B, [ONLINE, selected(), *[grades[score] for score in arriving]], NOW)).assignment_points == expected[winner]


TWO = ({"source": "/p", "id": "5"}, {"source": "/q", "id": "1"})  # in this order


def test_ties_of_every_other_key() -> None:
    less, greater = TWO
    drop = record("course.dropped", "2023-06-01 09:00", course_id="c-reading", **greater)
    pick = record("course.selected", "2023-06-01 09:00", course_id="c-reading", **less)
    assert told(B, [ONLINE, pick, drop], NOW).courses_selected == 0
    drop = record("course.dropped", "2023-06-01 09:00", course_id="c-reading", **less)
    pick = record("course.selected", "2023-06-01 09:00", course_id="c-reading", **greater)
    assert told(B, [ONLINE, pick, drop], NOW).courses_selected == 1

    gone, back = (record(f"learner.{kind}", SAME, **who) for kind, who in (("withdrawn", less), ("reinstated", greater)))
    assert not told(B, [ONLINE, gone, back], NOW).withdrawn
    gone, back = (record(f"learner.{kind}", SAME, **who) for kind, who in (("withdrawn", greater), ("reinstated", less)))
    assert told(B, [ONLINE, gone, back], NOW).withdrawn

    moves = [
        record("learner.transferred", SAME, class_id=name, mode=mode, **who)
        for name, mode, who in (("k2", "online", less), ("k3", "disc", greater))
    ]
    progress = told(B, [ONLINE, *moves], NOW)
    assert (progress.class_id, progress.mode) == ("k3", "disc")

    base = [DISC, selected()]
    assert row(told(B, [*base, process("1", SAME, **less), process("0.5", SAME, **greater)], NOW)).process_points == "10.00"
    attempts = [
        exam("1", "paper", time=SAME, sat="2023-06-19 09:00", **less),
        exam("0.5", "paper", time=SAME, sat="2023-06-18 09:00", **greater),
    ]
    assert row(told(B, [*base, *attempts], NOW)).exam_points == "40.00"
    forms = [
        record("assessment.chosen", SAME, course_id="c-reading", form=form, **who) for form, who in (("online", less), ("paper", greater))
    ]
    assert row(told(B, [*base, exam("0.5", "paper"), exam("1", "online", "x2"), *forms], NOW)).exam_points == "40.00"

    talk = [*[post(f"q{n}", "question") for n in range(4)], post("q4", "reply", SAME, **less), post("q4", "question", SAME, **greater)]
    assert row(told(B, [ONLINE, selected(), *talk], NOW)).interaction_points == "4.00"  # a fifth question, not a reply
    works = [work("w", time=SAME, **less, course_id="c-reading"), work("w", time=SAME, **greater, course_id="c-maths")]
    assert row(told(B, [ONLINE, selected(), *works], NOW)).works_points == "0.00"
    reviews = [
        record("work.reviewed", SAME, work_id="w", verdict=verdict, **who) for verdict, who in (("accepted", less), ("returned", greater))
    ]
    assert row(told(B, [ONLINE, selected(), work("w"), *reviews], NOW)).works_points == "0.00"
    cases = [ruled("cleared", SAME, **less), ruled("confirmed", SAME, **greater)]
    assert told(B, [ONLINE, selected(), *cases], NOW).result == "failed"
    cases = [ruled("cleared", SAME, **greater), ruled("confirmed", SAME, **less)]
    assert told(B, [ONLINE, selected(), *cases], NOW).result == "in_progress"


def test_class_and_mode_are_of_the_latest_that_says_so() -> None:
    facts = [
        record("learner.enrolled", "2023-05-22 09:00", class_id="k1", mode="disc"),
        record("learner.registered", "2023-06-03 09:00", class_id="k2"),
        record("learner.transferred", "2023-06-02 09:00", class_id="k3"),
    ]
    progress = told(B, facts, NOW)
    assert (progress.class_id, progress.mode, progress.registered_at) == ("k2", "disc", "2023-06-03T01:00:00.000Z")
    earlier = record("learner.registered", "2023-06-01 09:00", class_id="k4", mode="online")
    progress = told(B, [*facts, earlier], NOW)  # the earliest registration is the registration; the latest says the class
    assert (progress.class_id, progress.mode, progress.registered_at) == ("k2", "online", "2023-06-01T01:00:00.000Z")


def test_the_best_attempt_counts_and_the_latest_ruling_of_each() -> None:
    first = exam("0.9", "paper", "x1", time="2023-07-02 09:00")
    second = exam("0.6", "paper", "x2", sat="2023-07-05 09:00", time="2023-07-06 09:00")
    assert row(told(B, [DISC, selected(), first, second], NOW)).exam_points == "72.00"
    lowered = exam("0.1", "paper", "x1", time="2023-07-08 09:00")
    assert row(told(B, [DISC, selected(), first, second, lowered], NOW)).exam_points == "48.00"
    # an attempt whose latest ruling moves it to the other form is no attempt of this one
    moved = exam("1", "online", "x2", sat="2023-07-05 09:00", time="2023-07-09 09:00")
    assert row(told(B, [DISC, selected(), first, second, lowered, moved], NOW)).exam_points == "8.00"
