"""Study, second by second: what each interval was credited, and who took what it lost (RULES, "Time").

A second that several intervals cover belongs to the smallest (start, course). In that order whatever is covered at or after an interval's
start is one stretch, so an interval loses its beginning and owns the rest: its loss is `covered - start` seconds, and the intervals that
own those seconds are found in the list of pieces owned so far. Days then credit what is owned, in order of time, until the cap is used up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from schemas.programme import Programme
from services.scoring.core.account.model import SHOWN_CAUSES, Line, Record, Why, no

Span = tuple[int, str, int]
Credit = dict[str, dict[str, int]]
"""Local day -> course -> credited seconds."""


def study_lines(programme: Programme, records: Iterable[Record]) -> tuple[dict[str, list[Line]], Credit]:
    """The line of every study fact, by course, and what each local day has credited.

    `seconds` of a line are what the days credit it, before the course's own cap.
    """
    lines: dict[str, list[Line]] = {}
    spans: dict[Span, Record] = {}
    again: list[tuple[Record, Span]] = []
    for record in records:
        data = record.data
        start_ms = data.started_at * 1000
        if not programme.starts_ms <= start_ms < programme.ends_ms:
            code = "before_start" if start_ms < programme.starts_ms else "after_end"
            lines.setdefault(data.course_id, []).append(_nothing(record, code))
            continue
        span = (data.started_at, data.course_id, data.ended_at)
        known = spans.get(span)
        if known is None:
            spans[span] = record
        elif record.stamp < known.stamp:  # no figure depends on which of the two is named
            spans[span] = record
            again.append((known, span))
        else:
            again.append((record, span))
    for record, span in again:
        lines.setdefault(span[1], []).append(_nothing(record, "duplicate", spans[span]))

    owned: list[tuple[int, int, Record]] = []
    starts: list[int] = []
    used: Credit = {}
    covered = 0
    for span in sorted(spans):
        start, course_id, end = span
        record = spans[span]
        begins = max(start, covered)
        why: list[Why] = []
        lost = min(begins, end) - start
        if lost:
            why.append(Why("overlapped", lost, _owners(owned, starts, start, start + lost)))
        credited = 0
        if begins < end:
            owned.append((begins, end, record))
            starts.append(begins)
            covered = end
            credited = _by_days(programme, course_id, begins, end, used)
            if credited < end - begins:
                why.append(Why("over_daily_cap", end - begins - credited))
        counts = "yes" if not why else "partly" if credited else "no"
        lines.setdefault(course_id, []).append(Line(record, counts, credited, None, tuple(why)))
    return lines, used


def seconds_left(programme: Programme, used: Credit, now_ms: int) -> int:
    """The most seconds that study from now to the programme's end can be credited, after what its days have credited already."""
    at = max(now_ms, programme.starts_ms)
    left = 0
    while at < programme.ends_ms:
        day = programme.day_of(at)
        until = min(programme.day_start_ms(programme.day_after(day)), programme.ends_ms)
        some = (until - at) // 1000
        cap = programme.daily_cap_seconds
        left += some if cap is None else max(0, min(some, cap - sum(used.get(day, {}).values())))
        at = until
    return left


def _nothing(record: Record, code: str, *by: Record) -> Line:
    return no(record, code, *by)._replace(seconds=0)


def _owners(owned: list[tuple[int, int, Record]], starts: list[int], begins: int, ends: int) -> tuple[Record, ...]:
    """Whose the seconds [begins, ends) are: the first few, in order of time."""
    at = max(0, bisect_right(starts, begins) - 1)
    found: list[Record] = []
    while at < len(owned) and owned[at][0] < ends and len(found) < SHOWN_CAUSES:
        if owned[at][1] > begins:
            found.append(owned[at][2])
        at += 1
    return tuple(found)


def _by_days(programme: Programme, course_id: str, begins: int, ends: int, used: Credit) -> int:
    """Seconds of [begins, ends) that its local days still credit; `used` is what each has credited so far, and is added to."""
    cap = programme.daily_cap_seconds
    credited = 0
    while begins < ends:
        day = programme.day_of(begins * 1000)
        until = min(ends, programme.day_start_ms(programme.day_after(day)) // 1000)
        courses = used.setdefault(day, {})
        some = until - begins if cap is None else min(until - begins, cap - sum(courses.values()))
        if some:
            courses[course_id] = courses.get(course_id, 0) + some
        credited += some
        begins = until
    return credited
