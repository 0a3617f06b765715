"""What the simulated platforms send, in the order of sending: the directory, and whole classes' histories up to a moment."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

from deploy.demo.life import Life, Sent, local_day, stamp
from deploy.demo.people import Population, Staff, Teacher, Unit
from deploy.demo.plans import Plan


def declared(units: Iterable[Unit], at: int) -> Iterator[Sent]:
    """`unit.declared` for every unit, parents first."""
    for unit in units:
        data: dict[str, Any] = {"unit_id": unit.unit_id, "level": unit.level, "name": unit.name}
        if unit.parent_id:
            data["parent_id"] = unit.parent_id
        yield Sent(at, {
            "specversion": "1.0", "id": f"unit-{unit.unit_id}", "source": "/platforms/directory",
            "type": "chalkstream.unit.declared.v1", "subject": unit.unit_id, "time": stamp(at), "data": data,
        })  # fmt: skip


def assigned(staff: Iterable[Staff], at: int) -> Iterator[Sent]:
    for one in staff:
        yield Sent(at, {
            "specversion": "1.0", "id": f"staff-{one.staff_id}", "source": "/platforms/directory", "type": "chalkstream.staff.assigned.v1",
            "subject": one.staff_id, "time": stamp(at), "programme": one.programme,
            "data": {"staff_id": one.staff_id, "role": one.role, "unit_id": one.unit_id},
        })  # fmt: skip


def lives(teachers: Iterable[Teacher], plans: dict[str, Plan], seed: int, start: int) -> list[Life]:
    """A life for each teacher, all sharing one random source (it is seeded anew for every teacher and day)."""
    rng, today = random.Random(0), local_day(start)
    return [Life.of(teacher, plans[teacher.programme], seed, today, rng) for teacher in teachers]


def history(group: list[Life], start: int) -> tuple[list[Sent], list[Sent]]:
    """Everything the group did up to and with the local day of `start` (seconds): (before it, in order of sending; from it on).

    Late ones come after the group's others, so they arrive behind events that happened weeks after them.
    """
    past: list[Sent] = []
    late: list[Sent] = []
    ahead: list[Sent] = []
    today = local_day(start)
    for life in group:
        for day in range(life.begin, today + 1):
            for one in life.advance(day):
                (ahead if one.at >= start else late if one.late else past).append(one)
    past.sort(key=lambda sent: sent.at)
    ahead.sort(key=lambda sent: sent.at)
    return past + late, ahead


def by_class(population: Population) -> Iterator[list[Teacher]]:
    """Teachers in groups that sit in one class."""
    group: list[Teacher] = []
    for teacher in population.teachers:
        if group and group[-1].class_id != teacher.class_id:
            yield group
            group = []
        group.append(teacher)
    if group:
        yield group
