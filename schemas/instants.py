"""Instants: RFC 3339 text in, whole milliseconds since 1970 UTC inside.

Own arithmetic instead of `datetime`: text such as `2099-12-31T23:59:59-23:59` or the year 0000 is well formed and out of
range, and must be called so. Nothing here rounds; what is finer than a millisecond is cut.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import lru_cache

from schemas.verdicts import Bad

END_MS = 4_102_444_800_000  # 2100-01-01T00:00:00Z
_FORM = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EXPECTED = "an RFC 3339 instant with offset is expected, such as 2023-06-01T08:30:00+08:00"


@lru_cache(4096)
def _day_seconds(day: str) -> int | None:
    """Seconds from 1970 to the day `YYYY-MM-DD` (proleptic Gregorian, year 0000 included); None: there is no such day."""
    year, month, number = int(day[:4]), int(day[5:7]), int(day[8:])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= number <= _MONTH_DAYS[month - 1] + (leap and month == 2):
        return None
    before = year - (month <= 2)  # years counted from March, so that the leap day is a year's last
    in_year = (153 * ((month + 9) % 12) + 2) // 5 + number - 1
    return (before * 365 + before // 4 - before // 100 + before // 400 + in_year - 719_468) * 86_400


def parse_instant(text: str) -> int:
    """Milliseconds since 1970 UTC, cut. Raises Bad(`bad_format`), or Bad(`out_of_range`) before 1970 and from 2100 on."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise Bad("bad_format", _EXPECTED)
    day, hour, minute, second, fraction, sign, offset_hour, offset_minute = found.groups()
    base = _day_seconds(day)
    if base is None:
        raise Bad("bad_format", "there is no such day; " + _EXPECTED)
    seconds = base + int(hour) * 3600 + int(minute) * 60 + int(second)
    if sign is not None:
        offset = int(offset_hour) * 3600 + int(offset_minute) * 60
        seconds += offset if sign == "-" else -offset
    ms = seconds * 1000
    if fraction is not None:
        ms += int((fraction + "00")[:3])
    if not 0 <= ms < END_MS:
        raise Bad("out_of_range", "an instant from 1970 until before 2100 (UTC) is expected")
    return ms


def rfc3339(ms: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ` of milliseconds since 1970."""
    minute, rest = divmod(ms, 60_000)
    day, minute = divmod(minute, 1440)
    second, thousandths = divmod(rest, 1000)
    if thousandths:
        return f"{_day(day)}{_MINUTES[minute]}{second:02d}.{thousandths:03d}Z"
    return _day(day) + _MINUTES[minute] + _SECONDS[second]


_MINUTES = [f"T{hour:02d}:{minute:02d}:" for hour in range(24) for minute in range(60)]
_SECONDS = [f"{second:02d}.000Z" for second in range(60)]


@lru_cache(65536)
def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()
