"""When a reminder may go out: a function of the rule file's limits and of what went out before (RULES.md, 'Reminders').

No I/O, no clock: instants are whole milliseconds since 1970, passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from schemas.programme import Programme

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
WINDOW_MS = 30 * DAY_MS
RETRIES = 3
"""How often a failed reminder is due again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one programme. Quiet in [`quiet_from`, `quiet_to`) local time (minutes of the day), over midnight where from is later than to."""

    zone: ZoneInfo
    quiet_from: int
    quiet_to: int
    least_ms_between: int
    most_in_30_days: int

    def quiet(self, now_ms: int) -> bool:
        at = datetime.fromtimestamp(now_ms // 1000, UTC).astimezone(self.zone)
        local = at.hour * 60 + at.minute
        if self.quiet_from <= self.quiet_to:
            return self.quiet_from <= local < self.quiet_to
        return local >= self.quiet_from or local < self.quiet_to


def limits_of(programme: Programme) -> Limits | None:
    """The programme's limits; None where its rule file has no `reminders`: then none goes out."""
    rules = programme.reminders
    if rules is None:
        return None
    return Limits(
        ZoneInfo(programme.time_zone),
        rules.quiet_from,
        rules.quiet_to,
        rules.least_between_ms,
        rules.most_in_30_days,
    )


@dataclass(frozen=True, slots=True, order=True)
class Outcome:
    """How a hand-out ended. Of two, the latest is the greater: by time, then by source and id of its fact."""

    at_ms: int
    source: str
    fact_id: str
    reminder_id: str = field(compare=False)
    kind: Literal["delivered", "failed"] = field(compare=False)


def not_before(reminder_id: str, limits: Limits, history: Sequence[Outcome], now_ms: int) -> int | None:
    """The first moment at which the learner's due reminder may go out by its `history` (of the learner in the programme).

    Quiet hours are not looked at. None: never (delivered, or failed once more than it is tried again). A moment that is
    not after `now_ms`: it may go out now.
    """
    latest: dict[str, Outcome] = {}
    for outcome in sorted(set(history)):
        latest[outcome.reminder_id] = outcome
    mine = latest.get(reminder_id)
    earliest = 0
    if mine is not None:
        if mine.kind == "delivered":
            return None
        failures = sum(1 for o in set(history) if o.reminder_id == reminder_id and o.kind == "failed")
        if failures > RETRIES:
            return None
        earliest = mine.at_ms + HOUR_MS
    delivered = sorted(o.at_ms for o in latest.values() if o.kind == "delivered")
    if delivered:
        earliest = max(earliest, delivered[-1] + limits.least_ms_between)
    if limits.most_in_30_days == 0:
        return None
    recent = [at for at in delivered if at > now_ms - WINDOW_MS]
    if len(recent) >= limits.most_in_30_days:
        # Fewer than `most` are left in the window when the one that makes it full has fallen out.
        earliest = max(earliest, recent[-limits.most_in_30_days] + WINDOW_MS)
    return earliest
