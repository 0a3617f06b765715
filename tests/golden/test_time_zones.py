"""Local days of time zones whose days are not all 24 hours, and the instants that events write.

First instants are of the tz database, worked out by hand beside each. With a cap of 10 minutes a day, what an interval earns
says on how many local days it lies.
"""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from schemas.programme import Programme
from schemas.reading import Event
from services.scoring.core.evaluate import day_progress
from tests.golden.doors import (
    ONLINE,
    at,
    flags,
    judged,
    learner_of,
    programme,
    read,
    record,
    row,
    selected,
    study,
    told,
    turns,
)

FIRST_INSTANTS = [
    ("Asia/Shanghai", "2023-06-05", "2023-06-04T16:00:00Z"),
    ("Asia/Kathmandu", "2023-06-05", "2023-06-04T18:15:00Z"),  # +05:45
    ("America/New_York", "2023-03-12", "2023-03-12T05:00:00Z"),  # the day of 23 hours: 02:00 -05:00 becomes 03:00 -04:00
    ("America/New_York", "2023-03-13", "2023-03-13T04:00:00Z"),
    ("America/New_York", "2023-11-05", "2023-11-05T04:00:00Z"),  # the day of 25 hours: 02:00 -04:00 becomes 01:00 -05:00
    ("America/New_York", "2023-11-06", "2023-11-06T05:00:00Z"),
    ("America/Santiago", "2023-09-03", "2023-09-03T04:00:00Z"),  # no midnight: 24:00 -04:00 is 01:00 -03:00
    ("America/Santiago", "2023-04-02", "2023-04-02T04:00:00Z"),  # 24:00 -03:00 (03:00Z) became 23:00 -04:00 of the day before
    ("Asia/Beirut", "2023-03-26", "2023-03-25T22:00:00Z"),  # no midnight: 24:00 +02:00 is 01:00 +03:00
    ("Asia/Beirut", "2023-10-29", "2023-10-28T22:00:00Z"),  # 24:00 +03:00 (21:00Z) became 23:00 +02:00
    ("Africa/Cairo", "2023-04-28", "2023-04-27T22:00:00Z"),  # no midnight
    ("Africa/Cairo", "2023-10-27", "2023-10-26T22:00:00Z"),  # 24:00 +03:00 (21:00Z) became 23:00 +02:00
    ("America/Havana", "2023-03-12", "2023-03-12T05:00:00Z"),  # no midnight: 00:00 -05:00 is 01:00 -04:00
    ("America/Havana", "2023-11-05", "2023-11-05T04:00:00Z"),  # midnight twice: 00:00 -04:00, and an hour later 00:00 -05:00
    ("America/St_Johns", "2010-11-07", "2010-11-07T02:30:00Z"),  # twice: 00:01 -02:30 became 23:01 -03:30 of the day before
    ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),  # the 30th was left out: 24:00 -10:00 of the 29th is 00:00 +14:00
]
ZONES = pytest.mark.parametrize(("zone", "day", "first"), FIRST_INSTANTS, ids=[f"{zone}-{day}" for zone, day, _ in FIRST_INSTANTS])


def around(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def rules(zone: str, starts: str, ends: str, final: str = "", cap: str = "10", attention: str = "{}") -> Programme:
    calendar = f"{{opens: {starts}, starts: {starts}, ends: {ends}, results_final: {final or around(ends, 10)}}}"
    return programme(time_zone=zone, calendar=calendar, daily_cap_minutes=cap, attention=attention)


def zulu(text: str, seconds: int) -> str:
    """So many seconds after an instant in UTC."""
    days, rest = divmod(int(text[11:13]) * 3600 + int(text[14:16]) * 60 + seconds, 86_400)
    return f"{around(text[:10], days)}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}Z"


def credited(plan: Programme, *intervals: tuple[str, str], chosen: str) -> int:
    facts = [record("course.selected", chosen, course_id="c1"), *[study("c1", start, end) for start, end in intervals]]
    return row(told(plan, facts, at(chosen)), "c1").credited_seconds


@ZONES
def test_a_programme_begins_with_its_first_local_instant(zone: str, day: str, first: str) -> None:
    plan = rules(zone, day, around(day, 5))
    chosen = zulu(first, 86_400)
    assert credited(plan, (zulu(first, -1), zulu(first, 299)), chosen=chosen) == 0
    assert credited(plan, (first, zulu(first, 300)), chosen=chosen) == 300


@ZONES
def test_a_programme_ends_with_the_first_local_instant_of_the_next_day(zone: str, day: str, first: str) -> None:
    plan = rules(zone, around(day, -5), around(day, -1))
    chosen = zulu(first, -2 * 86_400)
    assert credited(plan, (zulu(first, -1), zulu(first, 299)), chosen=chosen) == 300
    assert credited(plan, (first, zulu(first, 300)), chosen=chosen) == 0


@ZONES
def test_an_interval_over_the_first_instant_lies_on_two_days(zone: str, day: str, first: str) -> None:
    plan = rules(zone, around(day, -5), around(day, 5))
    chosen = zulu(first, -2 * 86_400)
    assert credited(plan, (zulu(first, -900), zulu(first, 900)), chosen=chosen) == 1200  # 10 minutes of each
    assert credited(plan, (zulu(first, -1800), first), chosen=chosen) == 600
    assert credited(plan, (first, zulu(first, 1800)), chosen=chosen) == 600
    assert credited(plan, (zulu(first, 3000), zulu(first, 4800)), chosen=chosen) == 600  # nothing begins an hour later
    if zone != "Pacific/Apia":
        assert credited(plan, (zulu(first, -4800), zulu(first, -3000)), chosen=chosen) == 600  # or an hour earlier


@ZONES
def test_an_act_is_of_the_local_day(zone: str, day: str, first: str) -> None:
    for plan in (
        rules(zone, around(day, -5), around(day, 5)),
        rules(zone, around(day, 2000), around(day, 2010)),
    ):  # known days, or looked up
        before, then = (learner_of(plan, [record("platform.visited", zulu(first, offset))]) for offset in (-1, 0))
        assert (day_progress(plan, before, day).active, day_progress(plan, then, day).active) == (False, True)
        late = learner_of(plan, [record("platform.visited", zulu(first, 3601))])
        assert day_progress(plan, late, day).active
        assert not day_progress(plan, late, around(day, -1)).active


@ZONES
def test_results_are_final_with_the_first_local_instant(zone: str, day: str, first: str) -> None:
    plan = rules(zone, around(day, -10), around(day, -5), final=day)
    assert told(plan, [ONLINE], at(first) - 1).result == "in_progress"
    assert told(plan, [ONLINE], first).result == "failed"


@ZONES
def test_work_is_overdue_when_the_due_day_is_over(zone: str, day: str, first: str) -> None:
    due = f"{{assignment_overdue: {{due: {{c1: {around(day, -1)}}}, notice_days: 0, warning_days: 2, escalation_days: 4}}}}"
    plan = rules(zone, around(day, -5), around(day, 5), attention=due)
    facts = [record("course.selected", zulu(first, -3 * 86_400), course_id="c1")]
    before, then = turns(plan, facts, ("assignment_overdue", "c1"), first)
    assert before is None
    assert then is not None and then.raised_at == first[:-1] + ".000Z"


# -- New York's clocks ------------------------------------------------------------------------------------------------

AUTUMN = {"zone": "America/New_York", "starts": "2023-11-01", "ends": "2023-11-20"}


def test_an_interval_over_the_changing_clock_has_its_real_length() -> None:
    chosen = "2023-11-02T00:00:00Z"
    plan = rules(**AUTUMN, cap="480")
    assert credited(plan, ("2023-11-05T01:50:00-04:00", "2023-11-05T01:10:00-05:00"), chosen=chosen) == 1200  # backwards on the wall
    assert credited(plan, ("2023-11-05T00:50:00-04:00", "2023-11-05T01:10:00-04:00"), chosen=chosen) == 1200
    spring = rules("America/New_York", "2023-03-05", "2023-03-20", cap="480")
    assert credited(spring, ("2023-03-12T01:50:00-05:00", "2023-03-12T03:10:00-04:00"), chosen="2023-03-06T00:00:00Z") == 1200


def test_the_same_wall_time_twice_is_two_times() -> None:
    """01:10-01:30 before and after the clock goes back does not overlap, and is on one day with one cap."""
    twice = [("2023-11-05T01:10:00-04:00", "2023-11-05T01:30:00-04:00"), ("2023-11-05T01:10:00-05:00", "2023-11-05T01:30:00-05:00")]
    assert credited(rules(**AUTUMN, cap="480"), *twice, chosen="2023-11-02T00:00:00Z") == 2400
    assert credited(rules(**AUTUMN, cap="30"), *twice, chosen="2023-11-02T00:00:00Z") == 1800


def test_days_of_a_flag_are_24_hours() -> None:
    plan = rules(**AUTUMN, attention="{inactive: {notice_days: 3, warning_days: 7, escalation_days: 14}}")
    facts = [ONLINE, record("platform.visited", "2023-11-03T10:00:00-04:00")]
    before, then = turns(plan, facts, ("inactive", ""), "2023-11-06T09:00:00-05:00")  # 72 hours later by the clock of the wall an hour less
    assert before is None
    assert then is not None and then.raised_at == "2023-11-06T14:00:00.000Z"


@pytest.mark.parametrize(("studied", "open_"), [(1785, True), (1786, False)])
def test_behind_goes_by_seconds_not_by_days(studied: int, open_: bool) -> None:
    """20 days of which one has 25 hours are 1,731,600 s; at 5 November 345,600 have gone, 19.958 points. Of 36,000 s
    1,785.03 are what then is missing to 15 points. (By days it would be 20 points and 1,800 s.)"""
    plan = rules(**AUTUMN, cap="480", attention="{behind: {tolerance_percent: 15, warning_percent: 30, escalation_percent: 50}}")
    facts = [
        record("learner.registered", "2023-11-01T00:00:00-04:00", class_id="k1", mode="online"),
        record("course.selected", "2023-11-01T00:00:00-04:00", course_id="c1"),
        study("c1", "2023-11-02T12:00:00Z", zulu("2023-11-02T12:00:00Z", studied)),
    ]
    assert (("behind", "") in flags(plan, facts, "2023-11-05T00:00:00-04:00")) == open_


# -- instants in events -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2023-06-05T02:00:00Z", 1_685_930_400_000),
        ("2023-06-05t02:00:00z", 1_685_930_400_000),
        ("2023-06-05T10:00:00+08:00", 1_685_930_400_000),
        ("2023-06-04T21:30:00-04:30", 1_685_930_400_000),
        ("2023-06-05T07:45:00+05:45", 1_685_930_400_000),
        ("2023-06-05T02:00:00-00:00", 1_685_930_400_000),  # means UTC
        ("2023-06-06T01:59:00+23:59", 1_685_930_400_000),
        ("2023-06-05T02:00:00.5Z", 1_685_930_400_500),
        ("2023-06-05T02:00:00.000999999Z", 1_685_930_400_000),  # cut, not rounded
        ("2023-06-05T02:00:00.999999999Z", 1_685_930_400_999),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("1970-01-01T00:00:00Z", 0),
        ("2100-01-01T07:59:59.999+08:00", 4_102_444_799_999),
    ],
)
def test_one_instant_in_many_ways(text: str, ms: int) -> None:
    value = record("platform.visited", "2023-06-05T02:00:00Z").replace(b"2023-06-05T02:00:00Z", text.encode())
    if ms > 4_000_000_000_000:  # later than the record itself says that it came
        value = value[:-1] + b', "ingested_at": "2099-12-31T23:59:59Z"}'
    assert read(value).time_ms == ms


def test_whoever_writes_the_same_instant_says_the_same() -> None:
    """The content has instants in UTC: two offsets are one fact, and an interval on two platforms' clocks is one interval."""
    texts = ("2023-06-05T10:00:00+08:00", "2023-06-05T02:00:00Z", "2023-06-05T02:00:00.0004Z")
    assert len({read(record("platform.visited", text, id="same")).digest for text in texts}) == 1
    two = [
        study("c1", "2023-06-05T10:00:00+08:00", "2023-06-05T10:20:00+08:00"),
        study("c1", "2023-06-05T02:00:00.9Z", "2023-06-05T02:20:00.1Z"),
    ]
    assert row(told(programme(), [selected("c1"), *two], "2023-06-06 00:00"), "c1").credited_seconds == 1200


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2016-12-31T23:59:60Z", "bad_format"),  # a leap second that was: the contract has seconds 00 to 59
        ("2017-01-01T07:59:60+08:00", "bad_format"),
        ("2023-06-05T24:00:00Z", "bad_format"),
        ("2023-06-05T02:60:00Z", "bad_format"),
        ("2023-02-29T02:00:00Z", "bad_format"),
        ("2023-06-31T02:00:00Z", "bad_format"),
        ("2023-06-05T02:00:00", "bad_format"),  # no offset
        ("2023-06-05T02:00Z", "bad_format"),
        ("2023-06-05T02:00:00+0800", "bad_format"),
        ("2023-06-05T02:00:00+24:00", "bad_format"),
        ("2023-06-05T02:00:00,5Z", "bad_format"),
        ("2023-06-05T02:00:00.Z", "bad_format"),
        ("2023-06-05T02:00:00.0123456789Z", "bad_format"),  # 10 digits
        ("1970-01-01T07:59:59.999+08:00", "out_of_range"),
        ("2100-01-01T08:00:00+08:00", "out_of_range"),
        ("0000-01-01T00:00:00Z", "out_of_range"),
    ],
)
def test_what_is_no_instant(text: str, code: str) -> None:
    found = judged(record("platform.visited", "2023-06-05T02:00:00Z").replace(b"2023-06-05T02:00:00Z", text.encode()))
    assert not isinstance(found, Event)
    assert [(verdict.pointer, verdict.code) for verdict in found] == [("/time", code)]
    interval = study("c1", "2023-06-05 10:00", "2023-06-05 10:20").replace(b"2023-06-05T10:00:00+08:00", text.encode())
    found = judged(interval)
    assert not isinstance(found, Event)
    assert [(verdict.pointer, verdict.code) for verdict in found] == [("/data/started_at", code)]
