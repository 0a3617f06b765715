"""Local days of a programme's time zone, exact and fast enough for every event."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo


class Days:
    """Local days of a time zone. A local midnight that does not exist, or exists twice, is that day's first instant."""

    def __init__(self, zone: str, first: date, last: date) -> None:
        self._zone = ZoneInfo(zone)
        count = (last - first).days + 1
        self._days = [first + timedelta(days=n) for n in range(count + 1)]
        self._starts = [self._first_instant(day) for day in self._days]
        self._names = [day.isoformat() for day in self._days]
        self._by_name = dict(zip(self._names, self._starts, strict=True))
        self._after = dict(pairwise(self._names))
        self._low, self._high = self._starts[0], self._starts[-1]

    def day_of(self, ms: int) -> str:
        if self._low <= ms < self._high:
            return self._names[bisect_right(self._starts, ms) - 1]
        day = self._local(ms // 1000).date()
        # where the clock goes back over midnight, what is after the day's first instant stays in that day
        following = day + timedelta(days=1)
        return (following if ms >= self._first_instant(following) else day).isoformat()

    def around(self, ms: int) -> tuple[str, int, int]:
        """The local day of an instant, its first instant and the next day's."""
        if self._low <= ms < self._high:
            at = bisect_right(self._starts, ms)
            return self._names[at - 1], self._starts[at - 1], self._starts[at]
        day = self.day_of(ms)
        return day, self.start_ms(day), self.start_ms(self.after(day))

    def start_ms(self, day: str) -> int:
        known = self._by_name.get(day)
        return known if known is not None else self._first_instant(date.fromisoformat(day))

    def after(self, day: str) -> str:
        known = self._after.get(day)
        return known if known is not None else (date.fromisoformat(day) + timedelta(days=1)).isoformat()

    def _local(self, seconds: int) -> datetime:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).astimezone(self._zone)

    def _first_instant(self, day: date) -> int:
        midnight = datetime(day.year, day.month, day.day, tzinfo=self._zone)  # of two the first (fold=0)
        seconds = round((midnight.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
        if self._local(seconds).replace(tzinfo=None) == midnight.replace(tzinfo=None):
            return seconds * 1000
        low, high = seconds - 2 * 86_400, seconds + 2 * 86_400  # in a gap: the instant at which the clock jumps
        while high - low > 1:
            middle = (low + high) // 2
            if self._local(middle).date() >= day:
                high = middle
            else:
                low = middle
        return high * 1000
