"""Whose second is it: overlap and the daily cap, on sets of seconds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from fractions import Fraction

from tests.properties.reference.facts import Fact
from tests.properties.reference.local_days import day_of, midnight
from tests.properties.reference.rules import Rules, number

Claim = tuple[int, str, int, int]
"""When the interval began and its course (the smallest has the second), and what of it lies on the day: [first, last) in seconds."""


def credited(rules: Rules, study: Iterable[Fact]) -> dict[date, dict[str, int]]:
    """Credited seconds by local day and course, after overlap and daily cap, of the counting stretches of study."""
    intervals = {(fact.data["started_at"] // 1000, fact.data["course_id"], fact.data["ended_at"] // 1000) for fact in study}
    claims: dict[date, list[Claim]] = {}
    for start, course, end in intervals:
        day = day_of(rules.zone, start * 1000)
        while True:
            first, last = max(start, midnight(rules.zone, day) // 1000), min(end, midnight(rules.zone, day + timedelta(days=1)) // 1000)
            if first < last:
                claims.setdefault(day, []).append((start, course, first, last))
            if last == end:
                break
            day += timedelta(days=1)
    cap = rules.part("daily_cap_minutes")
    most = None if cap is None else number(cap) * 60
    return {day: counted for day, of_day in claims.items() if (counted := _day(of_day, most))}


def _day(claims: list[Claim], most: Fraction | None) -> dict[str, int]:
    taken: set[int] = set()
    owned: list[tuple[str, set[int]]] = []
    for _, course, first, last in sorted(claims):
        mine = set(range(first, last)) - taken
        taken |= mine
        owned.append((course, mine))
    if most is not None and len(taken) > most:
        left = set(sorted(taken)[: int(most)])
        owned = [(course, mine & left) for course, mine in owned]
    found: dict[str, int] = {}
    for course, mine in owned:
        if mine:
            found[course] = found.get(course, 0) + len(mine)
    return found
