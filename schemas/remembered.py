"""What the quick ways of reading know from records met before: identifiers that are well formed, and the parts of instants.

Texts of these kinds come again and again, so a look into a dict takes the place of a pattern and of arithmetic. Whatever was not met
is asked of the long way, which alone decides; bounded, so nobody's garbage fills memory.
"""

from __future__ import annotations

import re
from contextlib import suppress

from schemas.envelope import ID_PATTERN
from schemas.instants import END_MS, parse_instant, rfc3339
from schemas.verdicts import Bad

MOST = 200_000  # of each kind of text that is remembered
is_id = re.compile(ID_PATTERN.rstrip("$")).fullmatch
IDS: set[str] = set()
"""Identifiers met that are well formed."""
HOURS: dict[str, int] = {}
SECONDS: dict[str, int] = {}
RESTS: dict[str, int] = {}
"""`2023-06-01T08:` -> ms, `30:05` -> ms, `.5+08:00` -> ms: an instant is their sum, where that is in [0, END_MS)."""
_LENGTHS = (20, 24, 25, 29)  # 2023-06-01T08:30:00Z, …00.000Z, …00+08:00, …00.000+08:00
_heads: dict[str, tuple[int, str]] = {}
_tails: dict[str, tuple[int, str]] = {}


def remembered(text: str) -> bool:
    """Whether it is an identifier; remembered in IDS, so ask that first."""
    if is_id(text) is None:
        return False
    if len(IDS) < MOST:
        IDS.add(text)
    return True


def quick_ms(text: str) -> int:
    """`parse_instant`, by parts that were met before: up to the hour, minute with second, and what follows. Raises Bad."""
    try:
        ms = HOURS[text[:14]] + SECONDS[text[14:19]] + RESTS[text[19:]]
    except KeyError:
        ms = parse_instant(text)
        if len(text) in _LENGTHS:
            with suppress(Bad):  # read as UTC it may lie out of range
                _remember(text, ms)
        return ms
    return ms if 0 <= ms < END_MS else parse_instant(text)


def _remember(text: str, ms: int) -> None:
    hour = parse_instant(text[:14] + "00:00Z")
    second = parse_instant(text[:19] + "Z") - hour
    if len(HOURS) < MOST and len(RESTS) < MOST:
        HOURS[text[:14]], SECONDS[text[14:19]], RESTS[text[19:]] = hour, second, ms - hour - second


def quick_instant(text: str) -> tuple[int, str]:
    """`quick_ms` of an instant and `rfc3339` of that: of whole seconds both by two parts, the hour with its offset and what is in the hour.
    Raises Bad."""
    head, tail = _heads.get(text[:13] + text[19:]), _tails.get(text[13:19])
    if head is None or tail is None:
        return _instant_at_length(text)
    return head[0] + tail[0], head[1] + tail[1]


def _instant_at_length(text: str) -> tuple[int, str]:
    ms = quick_ms(text)
    canonical = rfc3339(ms)
    if len(text) in (20, 25):  # no fraction
        with suppress(Bad):  # the hour may begin before 1970
            hour = parse_instant(text[:13] + ":00:00" + text[19:])
            # an offset of half an hour sets another minute, and of an hour that is cut by 2100 some instants are out of range
            if hour % 3_600_000 == 0 and hour + 3_600_000 <= END_MS and len(_heads) < MOST:
                _heads[text[:13] + text[19:]] = hour, rfc3339(hour)[:13]
                _tails[text[13:19]] = ms - hour, text[13:19] + ".000Z"
    return ms, canonical
