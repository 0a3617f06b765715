"""Local days of a time zone: a local midnight that does not exist, or exists twice, is the first instant of that local day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


@lru_cache(500_000)
def midnight(zone: str, day: date) -> int:
    """The first instant (ms since 1970 UTC) of a local day; of a day that a zone left out, that of the next.

    Where the clock is not changed near that day: midnight less the offset. Else minute by minute until the calendar on the
    wall shows the day (clocks are changed at whole minutes).
    """
    tz = ZoneInfo(zone)
    utc = datetime(day.year, day.month, day.day, tzinfo=UTC)
    offsets = {(utc + timedelta(hours=hours)).astimezone(tz).utcoffset() for hours in range(-36, 37, 3)}
    if len(offsets) == 1:
        offset = offsets.pop()
        assert offset is not None
        return _ms(utc - offset)
    moment = utc - timedelta(hours=15)
    while moment.astimezone(tz).date() < day:
        moment += MINUTE
    return _ms(moment)


def day_of(zone: str, ms: int) -> date:
    """The local day in which an instant lies: the one whose first instant is the last not after it."""
    wall = (EPOCH + timedelta(milliseconds=ms)).astimezone(ZoneInfo(zone)).date()
    following = wall + timedelta(days=1)
    return following if ms >= midnight(zone, following) else wall
