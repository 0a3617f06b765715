"""`behind`: how far a learner's credited seconds lag the calendar at a local midnight (RULES, "Needs attention").

At a midnight m the elapsed share is (m - start) / (end - start), the credited share C / N with C the selected courses'
seconds on days before m (each at most its hours) and N the sum of their hours. Exactly, with percents in 1/100: the lag is
more than p where m > start + (p E N + 10,000 C E) / (10,000 N), E = end - start. For whole m the bound may be floored, so
one number a level and C decides every midnight.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from schemas.progress import SEVERITIES
from services.scoring.core.result import Standing, days_before, days_from, seconds_before


class Lag(NamedTuple):
    """What was found at the midnight of index `at` with `since`, as long as nothing changes on days before `day`."""

    at: int
    day: str
    since: int
    found: tuple[int, str] | None
    severity: str | None


class Behind:
    """The flag as of the latest midnight inside the programme, and when to look again."""

    __slots__ = ("_since", "_standing")

    def __init__(self, standing: Standing, until: int | None = None) -> None:
        """`until`: leave a reinstatement after that moment out."""
        self._standing = standing
        registered, reinstated = standing.summary.registered, standing.reinstated
        assert registered is not None
        if reinstated is None or (until is not None and reinstated > until):
            self._since = registered
        else:
            self._since = max(registered, reinstated)

    def _counted(self, seconds: dict[str, int]) -> int:
        counted = 0
        for course in self._standing.courses:
            found = seconds.get(course.id, 0)
            counted += found if found < course.seconds else course.seconds
        return counted

    def _bounds(self, credited: int) -> tuple[int, int, int]:
        """The instants beyond which a midnight is at level notice, warning, escalation."""
        programme = self._standing.programme
        rules = programme.attention.behind
        assert rules is not None
        length, needed, starts = programme.ends_ms - programme.starts_ms, self._standing.needed, programme.starts_ms
        share, whole = 10_000 * credited * length, 10_000 * needed
        notice = starts + (rules.tolerance * length * needed + share) // whole
        warning = starts + (rules.warning * length * needed + share) // whole
        escalation = starts + (rules.escalation * length * needed + share) // whole
        return max(notice, self._since), max(notice, warning), max(notice, escalation)

    def level_at(self, index: int) -> str | None:
        """The severity at the programme's midnight of that index; None where the learner is not behind there."""
        programme = self._standing.programme
        day = programme.midnight_days[index]
        credited = self._counted(seconds_before(programme, self._standing.learner, day))
        return _level(programme.midnights_ms[index], self._bounds(credited))

    def look(self, now: int) -> tuple[tuple[int, str] | None, int | None]:
        """(raised_at, severity) of the flag at `now` if it is open; and when to look again: a midnight after `now`, none
        later than the first at which the flag opens, ends or changes its severity."""
        programme, standing = self._standing.programme, self._standing
        following = bisect_right(programme.midnights_ms, now)
        index = following - 1
        lag: Lag | None = standing.lag
        if lag is None or lag.at != index or lag.since != self._since:
            lag = standing.lag = self._judge(index)
        return lag.found, self._again(following, lag.severity)

    def _judge(self, index: int) -> Lag:
        programme = self._standing.programme
        midnights = programme.midnights_ms
        if index < 0 or midnights[index] <= self._since:
            return Lag(index, "", self._since, None, None)
        day = programme.midnight_days[index]
        seconds = seconds_before(programme, self._standing.learner, day)
        bounds = self._bounds(self._counted(seconds))
        severity = _level(midnights[index], bounds)
        found = None if severity is None else (midnights[self._first_of_run(index, seconds, bounds)], severity)
        return Lag(index, day, self._since, found, severity)

    def _first_of_run(self, index: int, seconds: dict[str, int], bounds: tuple[int, int, int]) -> int:
        """Back from the midnight `index`, before which `seconds` are credited, over the unbroken run of being behind."""
        programme = self._standing.programme
        midnights, days = programme.midnights_ms, programme.midnight_days
        for day, courses in days_before(self._standing.learner, days[index]):
            begins = bisect_left(days, day)  # the midnight with which that day begins; on those after it these seconds are credited
            first = bisect_right(midnights, bounds[0])
            if first > begins + 1:
                return first
            for course_id, some in courses.items():
                seconds[course_id] -= some
            bounds = self._bounds(self._counted(seconds))  # with less credited, what was behind stays so
        return bisect_right(midnights, bounds[0])

    def _again(self, following: int, severity: str | None) -> int | None:
        """From the midnight `following` on credit stands still, or that midnight is the one to look at."""
        programme = self._standing.programme
        midnights = programme.midnights_ms
        if following >= len(midnights):
            return None
        if days_from(self._standing.learner, programme.midnight_days[following]):
            return midnights[following]
        bounds = self._bounds(self._counted(self._standing.learner.totals()))
        if _level(midnights[following], bounds) != severity:
            return midnights[following]
        later = [bound for bound in bounds if bound >= midnights[following]]
        if not later:
            return None
        index = bisect_right(midnights, min(later))
        return midnights[index] if index < len(midnights) else None


def _level(midnight: int, bounds: tuple[int, int, int]) -> str | None:
    if midnight <= bounds[0]:
        return None
    return SEVERITIES[2] if midnight > bounds[2] else SEVERITIES[1] if midnight > bounds[1] else SEVERITIES[0]
