"""`CHALK_CLOCK`: the one source of "now" for every service, so that a demo or a test can live through months.

`system`, or START@SPEED[/ANCHOR], e.g. `2023-06-01T00:00:00+08:00@3600/2026-11-24T08:00:00Z`. ANCHOR is the real instant
at which the clock shows START; whoever starts the services sets it once (`anchored`) and hands it to all.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from schemas.instants import rfc3339

_FORM = re.compile(r"(?P<start>[^@/]+)@(?P<speed>\d+(?:\.\d+)?)(?:/(?P<anchor>\S+))?")


def _ms(text: str, what: str) -> int:
    try:
        moment = datetime.fromisoformat(text.replace("z", "Z").replace("t", "T"))
    except ValueError as error:
        raise ValueError(f"CHALK_CLOCK: {what} {text!r} is not an RFC 3339 instant") from error
    if moment.tzinfo is None:
        raise ValueError(f"CHALK_CLOCK: {what} {text!r} has no UTC offset")
    return round(moment.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Clock:
    """Instants are whole milliseconds since 1970 UTC. `speed` is clock seconds per real second; 0 stands still."""

    start_ms: int = 0
    speed: float = 1.0
    anchor_ms: int = 0

    def now(self) -> int:
        real = time.time_ns() // 1_000_000
        if self.speed == 1.0 and self.start_ms == self.anchor_ms:
            return real
        return self.start_ms + int((real - self.anchor_ms) * self.speed)

    def text(self) -> str:
        """The setting that makes the same clock in another process."""
        if self.speed == 1.0 and self.start_ms == self.anchor_ms:
            return "system"
        speed = format(Decimal(repr(self.speed)).normalize(), "f")  # every digit, and no exponent, which the form does not have
        return f"{rfc3339(self.start_ms)}@{speed}/{rfc3339(self.anchor_ms)}"


def parse_clock(text: str) -> Clock:
    """The clock a `CHALK_CLOCK` value describes; without ANCHOR it is anchored to this moment.

    Raises ValueError naming the part that is wrong.
    """
    if text == "system":
        return Clock()
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError(f"CHALK_CLOCK: {text!r} is neither `system` nor START@SPEED/ANCHOR")
    anchor = found["anchor"]
    anchor_ms = _ms(anchor, "ANCHOR") if anchor else time.time_ns() // 1_000_000
    return Clock(_ms(found["start"], "START"), float(found["speed"]), anchor_ms)
