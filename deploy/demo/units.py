"""The units' figures as the demo knows them: sums over the learners' tallies, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_DOWN, Decimal

from deploy.demo.people import Unit
from deploy.demo.sheet import CENT, HOURS_24, Tally


@dataclass(slots=True)
class UnitTally:
    learners: int = 0
    registered: int = 0
    started: int = 0
    active_7d: int = 0
    passed: int = 0
    failed: int = 0
    open_flags: int = 0
    credited_seconds: int = 0
    credits: Decimal = Decimal(0)
    days: dict[date, list[int]] = field(default_factory=dict)  # day -> [active learners, credited seconds]

    @property
    def mean_credits(self) -> Decimal:
        return (self.credits / self.learners).quantize(CENT, ROUND_DOWN)


def chain(units: dict[str, Unit], class_id: str) -> list[str]:
    """The class and everything above it; an unknown class has nothing above, not even itself."""
    found, unit_id = [], class_id
    while unit_id in units:
        found.append(unit_id)
        unit_id = units[unit_id].parent_id
    return found


def sum_units(units: Iterable[Unit], tallies: Iterable[Tally], now: int) -> dict[tuple[str, str], UnitTally]:
    """(programme, unit) -> figures, over learners who have not withdrawn."""
    by_id = {unit.unit_id: unit for unit in units}
    sums: dict[tuple[str, str], UnitTally] = {}
    for tally in tallies:
        if tally.withdrawn:
            continue
        for unit_id in chain(by_id, tally.class_id):
            unit = sums.setdefault((tally.programme, unit_id), UnitTally())
            unit.learners += 1
            unit.registered += tally.registered_at is not None
            unit.started += tally.started_at is not None
            unit.active_7d += tally.last_active_at is not None and tally.last_active_at > now - 7 * HOURS_24
            unit.passed += tally.result in ("passed", "excellent")
            unit.failed += tally.result == "failed"
            unit.open_flags += len(tally.flags)
            unit.credited_seconds += tally.credited_seconds
            unit.credits += tally.credits
            for day, (seconds, active) in tally.days.items():
                both = unit.days.setdefault(day, [0, 0])
                both[0] += active
                both[1] += seconds
    return sums
