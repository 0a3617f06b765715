"""What counts when, overlap and the daily cap: the instant just before, on and just after each edge."""

from __future__ import annotations

import json

import pytest

from schemas.reading import Event
from services.ingest.accept import ONE, Door, accept
from tests.golden.doors import (
    DISC,
    ONLINE,
    A,
    B,
    at,
    exam,
    graded,
    judged,
    post,
    process,
    programme,
    record,
    row,
    seconds,
    selected,
    study,
    submitted,
    told,
    work,
)

NOW = "2024-02-01 00:00"
BASE = [ONLINE, selected()]


# -- what counts when -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "credited"),
    [
        ("2023-05-31 23:59:59", "2023-06-01 00:20:00", 0),  # begins before the start: nothing of it counts
        ("2023-06-01 00:00:00", "2023-06-01 00:20:00", 1200),
        ("2023-12-31 23:59:59", "2024-01-01 00:29:59", 1800),  # begins in the last second: counts whole
        ("2023-12-31 23:59:59.999", "2024-01-01 00:00:00.001", 1),  # the same second after the cut
        ("2024-01-01 00:00:00", "2024-01-01 00:20:00", 0),
    ],
)
def test_study_counts_by_where_it_begins(start: str, end: str, credited: int) -> None:
    progress = told(B, [*BASE, study("c-reading", start, end)], NOW)
    assert row(progress).credited_seconds == credited
    assert row(progress).last_active_at is not None  # an act in any case
    assert progress.started_at is not None


@pytest.mark.parametrize(
    ("sat", "counts"),
    [
        ("2023-05-31 23:59:59.999", False),
        ("2023-06-01 00:00", True),
        ("2023-12-31 23:59:59.999", True),
        ("2024-01-01 00:00", False),
    ],
)
def test_an_exam_counts_by_when_it_was_sat(sat: str, counts: bool) -> None:
    facts = [DISC, selected(), exam("0.5", "paper", sat=sat, time="2024-01-10 09:00")]
    assert row(told(B, facts, NOW)).exam_points == ("40.00" if counts else "0.00")


@pytest.mark.parametrize(
    ("time", "counts"), [("2024-01-14 23:59:59.999", True), ("2024-01-15 00:00", False), ("2024-01-15 00:00:00.001", False)]
)
def test_rulings_count_until_results_are_final(time: str, counts: bool) -> None:
    assert row(told(B, [DISC, selected(), exam("0.5", "paper", time=time)], NOW)).exam_points == ("40.00" if counts else "0.00")
    assert row(told(B, [DISC, selected(), process("0.5", time)], NOW)).process_points == ("10.00" if counts else "0.00")
    assert row(told(B, [*BASE, graded("a1", "1", time)], NOW)).assignment_points == ("7.50" if counts else "0.00")
    returned = record("work.reviewed", time, work_id="w", verdict="returned")
    assert row(told(B, [*BASE, work("w"), returned], NOW)).works_points == ("0.00" if counts else "5.00")


@pytest.mark.parametrize("time", ["2023-01-01 00:00", "2023-05-19 23:59"])
def test_rulings_have_no_first_day(time: str) -> None:
    assert row(told(B, [*BASE, graded("a1", "1", time)], NOW)).assignment_points == "7.50"
    assert row(told(B, [DISC, selected(), process("0.5", time)], NOW)).process_points == "10.00"


WINDOW = pytest.mark.parametrize(
    ("time", "counts"),
    [
        ("2023-05-19 23:59:59.999", False),
        ("2023-05-20 00:00", True),  # opens
        ("2023-12-31 23:59:59.999", True),
        ("2024-01-01 00:00", False),  # the day after ends
    ],
)


@WINDOW
def test_what_learners_do_counts_from_opens_to_the_end(time: str, counts: bool) -> None:
    assert row(told(B, [*BASE, post("q", "question", time)], NOW)).interaction_points == ("1.00" if counts else "0.00")
    assert row(told(B, [*BASE, work("w", time=time)], NOW)).works_points == ("5.00" if counts else "0.00")
    assert told(B, [ONLINE, selected(time=time)], NOW).courses_selected == counts
    twice = json.loads(row(told(B, [*BASE, submitted("a1", time)], NOW)).explanation)["items"]["assignments"]["submitted"]
    assert twice == counts


@WINDOW
def test_drops_and_choices_count_from_opens_to_the_end(time: str, counts: bool) -> None:
    drop = record("course.dropped", time, course_id="c-reading")
    assert told(B, [ONLINE, selected(time="2023-05-20 00:00"), drop], NOW).courses_selected == (0 if counts and "05-20" not in time else 1)
    choice = record("assessment.chosen", time, course_id="c-reading", form="online")
    facts = [DISC, selected(), exam("0.5", "paper"), exam("0.1", "online", "x2"), choice]
    assert row(told(B, facts, NOW)).exam_points == ("8.00" if counts else "40.00")


def test_what_does_not_count_falls_out_before_the_latest_is_taken() -> None:
    """A later ruling that comes too late, or a later sitting outside, leaves the earlier one standing."""
    base = [DISC, selected(), exam("0.5", "paper", time="2023-12-30 10:00")]
    late = exam("1", "paper", time="2024-01-15 00:00")
    outside = exam("0.9", "paper", sat="2024-01-01 00:00", time="2024-01-14 10:00")
    assert row(told(B, [*base, late, outside], NOW)).exam_points == "40.00"
    assert (
        row(told(B, [*BASE, graded("a1", "0.4", "2024-01-14 10:00"), graded("a1", "1", "2024-01-15 00:00")], NOW)).assignment_points
        == "3.00"
    )
    moved = work("w", time="2024-01-01 00:00", course_id="c-maths")
    assert row(told(B, [*BASE, work("w"), moved], NOW)).works_points == "5.00"
    reply = post("q", "reply", "2024-01-01 00:00")
    questions = [post(f"q{n}", "question") for n in range(4)]
    assert row(told(B, [*BASE, *questions, post("q", "question"), reply], NOW)).interaction_points == "4.00"


def test_the_result_is_final_when_that_day_begins() -> None:
    assert told(B, BASE, at("2024-01-15 00:00") - 1).result == "in_progress"
    assert told(B, BASE, "2024-01-15 00:00").result == "failed"
    assert told(A, BASE, at("2024-03-10 00:00") - 1).result == "in_progress"
    assert told(A, BASE, "2024-03-10 00:00").result == "failed"


def test_with_every_course_for_everybody_selection_is_an_act_and_nothing_more() -> None:
    drop = record("course.dropped", "2023-11-10 09:00", course_id="p-topics")
    progress = told(A, [drop], "2023-11-20 00:00")
    assert (progress.courses_selected, len(progress.courses)) == (9, 9)
    assert (progress.last_active_at, progress.started_at) == ("2023-11-10T01:00:00.000Z", None)


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "credited"),
    [
        (seconds("c-reading", 28_799), 28_799),
        (seconds("c-reading", 28_800), 28_800),
        ([*seconds("c-reading", 28_799), study("c-reading", "2023-06-02 16:00:00", "2023-06-02 16:00:01")], 28_800),
        ([*seconds("c-reading", 28_800), study("c-reading", "2023-06-02 16:00:00", "2023-06-02 16:00:01")], 28_800),
        ([*seconds("c-reading", 28_800), study("c-reading", "2023-06-02 16:00", "2023-06-02 16:20")], 28_800),
        ([*seconds("c-reading", 28_800), study("c-reading", "2023-06-02 07:40", "2023-06-02 08:00")], 28_800),
    ],
)
def test_the_daily_cap_exactly_used_up(more: list[bytes], credited: int) -> None:
    """8 hours are 28,800 s, on 2 June from 08:00 to 16:00."""
    assert row(told(B, [*BASE, *more], NOW)).credited_seconds == credited


def test_the_cap_takes_the_days_last_seconds_whatever_arrived_last() -> None:
    base = [ONLINE, selected(), selected("c-maths")]
    eight = seconds("c-reading", 28_800)  # 2 June, 08:00-16:00
    evening = study("c-maths", "2023-06-02 20:00", "2023-06-02 20:30")
    progress = told(B, [*base, *eight, evening], NOW)
    assert (row(progress).credited_seconds, row(progress, "c-maths").credited_seconds) == (28_800, 0)
    morning = study("c-maths", "2023-06-02 07:00", "2023-06-02 07:20")
    progress = told(B, [*base, *eight, evening, morning], NOW)
    assert (row(progress).credited_seconds, row(progress, "c-maths").credited_seconds) == (27_600, 1200)
    # the next day has its own cap
    progress = told(B, [*base, *eight, study("c-maths", "2023-06-03 00:00", "2023-06-03 00:30")], NOW)
    assert row(progress, "c-maths").credited_seconds == 1800


def test_overlap_comes_before_the_cap() -> None:
    """The same seconds on two courses use the cap once: 8 h of both leave the later-named course nothing, and no more."""
    base = [ONLINE, selected(), selected("c-maths")]
    both = [*seconds("c-reading", 28_800), *seconds("c-maths", 28_800)]
    progress = told(B, [*base, *both], NOW)
    assert (row(progress, "c-maths").credited_seconds, row(progress).credited_seconds) == (28_800, 0)  # c-maths < c-reading
    three = seconds("c-reading", 3600)
    progress = told(B, [*base, *three, *seconds("c-maths", 3600), study("c-reading", "2023-06-02 12:00", "2023-06-02 12:30")], NOW)
    assert (row(progress, "c-maths").credited_seconds, row(progress).credited_seconds) == (3600, 1800)


def test_the_same_interval_twice_is_one_and_a_longer_one_adds_its_rest() -> None:
    one = study("c-reading", "2023-06-05 10:00", "2023-06-05 10:20")
    again = study("c-reading", "2023-06-05 10:00", "2023-06-05 10:20")  # another id
    longer = study("c-reading", "2023-06-05 10:00", "2023-06-05 10:25")
    assert row(told(B, [*BASE, one, again], NOW)).credited_seconds == 1200
    assert row(told(B, [*BASE, one, again, longer], NOW)).credited_seconds == 1500
    touching = study("c-reading", "2023-06-05 10:20", "2023-06-05 10:30")
    assert row(told(B, [*BASE, one, touching], NOW)).credited_seconds == 1800
    within = study("c-reading", "2023-06-05 10:05", "2023-06-05 10:10")
    assert row(told(B, [*BASE, one, within], NOW)).credited_seconds == 1200


def test_an_interval_of_no_selected_course_takes_its_seconds_and_has_no_row() -> None:
    for other in ("c-ict", "c-not-in-the-rules"):
        facts = [*BASE, study(other, "2023-06-05 10:00", "2023-06-05 10:20"), study("c-reading", "2023-06-05 10:10", "2023-06-05 10:30")]
        progress = told(B, facts, NOW)
        assert [one.course_id for one in progress.courses] == ["c-reading"]
        assert (progress.credited_seconds, row(progress).credited_seconds) == (600, 600)


def test_midnight_divides_an_interval_and_each_day_has_its_cap() -> None:
    rules = programme(daily_cap_minutes="10")
    over = study("c1", "2023-06-05 23:45", "2023-06-06 00:15")
    assert row(told(rules, [ONLINE, selected("c1"), over], NOW), "c1").credited_seconds == 1200  # 600 of each day
    same_day = study("c1", "2023-06-05 12:00", "2023-06-05 12:05")  # uses 300 of the first day's 600
    assert row(told(rules, [ONLINE, selected("c1"), over, same_day], NOW), "c1").credited_seconds == 1200
    next_day = study("c1", "2023-06-06 12:00", "2023-06-06 12:05")  # the second day is used up before noon
    assert row(told(rules, [ONLINE, selected("c1"), over, next_day], NOW), "c1").credited_seconds == 1200


def test_an_interval_keeps_its_claim_over_midnight() -> None:
    """Begun at 23:50 it owns what lies before 00:10, also against one that begins at 00:00 on an earlier-named course."""
    facts = [ONLINE, selected(), selected("c-maths"), study("c-reading", "2023-06-05 23:50", "2023-06-06 00:10")]
    facts.append(study("c-maths", "2023-06-06 00:00", "2023-06-06 00:20"))
    progress = told(B, facts, NOW)
    assert (row(progress).credited_seconds, row(progress, "c-maths").credited_seconds) == (1200, 600)


# -- lengths, at the door and in the log ------------------------------------------------------------------------------


class Anyone:
    directory = False

    def may_source(self, source: str) -> bool:
        return True

    def may_programme(self, programme: str) -> bool:
        return True


def door(start: str, end: str) -> list[tuple[str, str]]:
    """What the ingest door says of an interval, on plan B (`longest_interval_minutes: 30`)."""
    body = json.loads(study("c-reading", start, end))
    body["programme"] = B.id
    (item,) = accept(json.dumps(body).encode(), ONE, Door(Anyone(), {B.id: B}, at("2023-08-01 00:00"), 65_536, 10))
    return [(verdict.pointer, verdict.code) for verdict in item.verdicts or []]


@pytest.mark.parametrize(
    ("start", "end", "verdicts"),
    [
        ("2023-06-05 10:00:00", "2023-06-05 10:29:59", []),
        ("2023-06-05 10:00:00", "2023-06-05 10:30:00", []),
        ("2023-06-05 10:00:00.000", "2023-06-05 10:30:00.999", []),  # cut before it is checked
        ("2023-06-05 10:00:00.999", "2023-06-05 10:30:01.000", [("/data/ended_at", "too_long")]),
        ("2023-06-05 10:00:00", "2023-06-05 10:30:01", [("/data/ended_at", "too_long")]),
        ("2023-06-05 10:00:00.000", "2023-06-05 10:00:00.999", [("/data/ended_at", "empty_interval")]),
        ("2023-06-05 10:00:00.999", "2023-06-05 10:00:01.000", []),
        ("2023-06-05 10:00:00", "2023-06-06 10:00:00", [("/data/ended_at", "too_long")]),
        ("2023-06-05 10:00:00", "2023-06-06 10:00:01", [("/data/ended_at", "out_of_range")]),  # instead of too_long
    ],
)
def test_the_longest_interval_at_the_door(start: str, end: str, verdicts: list[tuple[str, str]]) -> None:
    assert door(start, end) == verdicts


@pytest.mark.parametrize(
    ("start", "end", "credited"),
    [
        ("2023-06-05 10:00:00", "2023-06-05 10:30:01", 1801),  # scoring lets pass what is too long for the door
        ("2023-06-05 00:00:00", "2023-06-06 00:00:00", 28_800),  # 24 h: one day's cap
        ("2023-06-05 12:00:00", "2023-06-06 12:00:00", 57_600),  # 24 h over two days: 8 h of each
        ("2023-06-05 10:00:00.999", "2023-06-05 10:00:01.000", 1),
    ],
)
def test_the_longest_interval_in_the_log(start: str, end: str, credited: int) -> None:
    assert row(told(B, [*BASE, study("c-reading", start, end)], NOW)).credited_seconds == credited


@pytest.mark.parametrize(
    ("start", "end", "code"),
    [
        ("2023-06-05 10:00:00", "2023-06-06 10:00:01", "out_of_range"),
        ("2023-06-05 10:00:00.001", "2023-06-05 10:00:00.999", "empty_interval"),
        ("2023-06-05 10:00:01", "2023-06-05 10:00:00", "empty_interval"),
    ],
)
def test_what_the_log_refuses(start: str, end: str, code: str) -> None:
    found = judged(study("c-reading", start, end))
    assert not isinstance(found, Event)
    assert [(verdict.pointer, verdict.code) for verdict in found] == [("/data/ended_at", code)]
