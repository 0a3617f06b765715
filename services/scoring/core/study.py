"""Credited study time of one local day: the clock of a learner runs once (RULES, "Time").

Spans are (start, course_id, end) in whole seconds. A second that several cover belongs to the smallest (start, course_id);
what the day credits then counts in order of time until the daily cap is used up.
"""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, str, int]


def pieces(spans: Iterable[Span], begins: int, ends: int) -> list[Span]:
    """The day's seconds [begins, ends) as disjoint pieces in order of time, each with the course that owns it.

    A span that began the day before keeps its claim by its own start: sorted by that, whatever is covered at or after a
    span's start is one stretch up to the greatest end so far, so the span owns what it has beyond it.
    """
    found: list[Span] = []
    covered = begins
    for start, course_id, end in sorted(spans):
        first = start if start > covered else covered
        last = end if end < ends else ends
        if last > first:
            found.append((first, course_id, last))
            covered = last
    return found


def credited(spans: Iterable[Span], begins: int, ends: int, cap: int | None) -> dict[str, int]:
    """Seconds by course that the day [begins, ends) credits, at most `cap` in all."""
    seconds: dict[str, int] = {}
    left = ends - begins if cap is None else cap
    for first, course_id, last in pieces(spans, begins, ends):
        if left <= 0:
            break
        length = min(last - first, left)
        left -= length
        seconds[course_id] = seconds.get(course_id, 0) + length
    return seconds
