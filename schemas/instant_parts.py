"""Instants by their parts: texts of these kinds come again and again, so a look into a dict takes the place of a pattern and of arithmetic.

Whatever was not met is asked of `parse_instant`, which alone decides; bounded, so nobody's garbage fills memory.
"""

from __future__ import annotations

from contextlib import suppress

from schemas.instants import END_MS, parse_instant
from schemas.verdicts import Bad

MOST = 200_000  # of each kind of text that is remembered
HOURS: dict[str, int] = {}
SECONDS: dict[str, int] = {}
RESTS: dict[str, int] = {}
"""`2023-06-01T08:` -> ms, `30:05` -> ms, `.5+08:00` -> ms: an instant is their sum, where that is in [0, END_MS)."""
_LENGTHS = (20, 24, 25, 29)  # 2023-06-01T08:30:00Z, …00.000Z, …00+08:00, …00.000+08:00


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
