"""What a run does to the stack, and when: made from the seed alone, so that a seed can be played again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.stack import SERVICES, SESSION_SECONDS
from tests.properties.reference.facts import instant
from tests.properties.reference.rules import DAY_MS

WORKERS = ("scoring-1", "scoring-2")
GENERATION = 5
"""Runs that share a stack, one after another: the clock only goes forward, and after so many the programmes are over."""
WINDOWS = [
    instant(f"{day}T00:00:00Z") for day in ("2023-06-20", "2023-11-01", "2023-11-20", "2023-12-22", "2024-01-10", "2024-03-20")
]  # fmt: skip
SPEED = 5_000
"""Clock seconds per real second while it runs."""
PLACES = ("begin", "before", "after", "insert", "inserted")


@dataclass(frozen=True)
class Action:
    """After `wait` seconds do `what` to `who`; `seconds`: how long it is stopped, or how long after Kafka the other dies."""

    wait: float
    what: str
    who: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.what} {self.who}" + (f" {self.seconds:.1f} s" if self.seconds else "")


@dataclass(frozen=True)
class Phase:
    """The clock from `start_ms` on at `speed`, `deaths` by service (see `service.py`), and what happens; then so many seconds of `rest`.
    `ends_by`: the signal by which the services before it end; `rules`: whether the rule files change with it."""

    start_ms: int
    speed: float
    deaths: Mapping[str, str]
    actions: tuple[Action, ...]
    rest: float
    ends_by: str
    rules: bool


def phases(seed: int) -> list[Phase]:
    """Two or three: the clock stands, in every other run goes fast, and stands again, so that the end can be compared exactly."""
    chance = random.Random(f"schedule {seed}")
    low, high = WINDOWS[seed % GENERATION], WINDOWS[seed % GENERATION + 1]
    first = low + chance.randrange(3 * DAY_MS)
    last = high - chance.randrange(1, 3) * DAY_MS + chance.choice((0, 0, -1, 16 * 3_600_000, chance.randrange(DAY_MS)))
    starts = [(first, 0.0), (last, 0.0)]
    if seed % 2:
        starts.insert(1, (chance.randrange(first + 3 * DAY_MS, last - 8 * DAY_MS), float(SPEED)))
    found = []
    for at, (start, speed) in enumerate(starts):
        final = at == len(starts) - 1
        deaths = {} if final else _deaths(chance)
        actions = tuple(_action(chance) for _ in range(chance.randint(2, 3)))
        rest = 0.0 if final else chance.uniform(0.0, 2.5)
        found.append(Phase(start, speed, deaths, actions, rest, chance.choice(("SIGTERM", "SIGKILL")), at > 0 and chance.random() < 0.25))
    return found


def _deaths(chance: random.Random) -> dict[str, str]:
    """A worker and the loader each die at a place of their own, again and again as often as they come there."""
    found = {}
    if chance.random() < 0.8:
        found[chance.choice(WORKERS)] = f"{chance.choice(PLACES[:3])}:{chance.randint(1, 8)}"
    if chance.random() < 0.6:
        found["loader"] = f"{chance.choice(PLACES[3:])}:{chance.randint(2, 10)}"
    return found


def _action(chance: random.Random) -> Action:
    wait = chance.uniform(0.3, 2.5)
    who = chance.choice((*SERVICES, "loader", *WORKERS))
    how = chance.random()
    if how < 0.25:
        return Action(wait, "SIGKILL", who)
    if how < 0.40:
        return Action(wait, "SIGTERM", who)
    if how < 0.50:
        return Action(wait, "SIGSTOP", who, chance.uniform(0.2, 1.5))
    if how < 0.68:  # a worker that is taken for dead, and comes back
        return Action(wait, "SIGSTOP", chance.choice(WORKERS), SESSION_SECONDS + chance.uniform(0.5, 2.0))
    if how < 0.76:
        return Action(wait, "SIGKILL", "clickhouse")
    if how < 0.80:
        return Action(wait, "SIGKILL", "kafka")
    if how < 0.87:  # what the door has not got rid of must not be promised
        return Action(wait, "storm", "kafka, then ingest", chance.uniform(0.4, 1.8))
    return Action(wait, "SIGSTOP", chance.choice(("kafka", "clickhouse")), chance.uniform(0.5, 3.0))
