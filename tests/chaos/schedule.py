"""What a run does to the stack, and when: made from the seed alone, so that a seed can be played again.

A phase has up to two scenes, each a small story that hurts (a worker that dies in a transaction, a broker that dies before the door does),
and single kills of the services that no scene needs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tests.properties.reference.facts import instant
from tests.properties.reference.rules import DAY_MS

SESSION_SECONDS = 1.2
"""Of the consumer groups; a worker that is stopped for longer is taken for dead."""
SERVICES = ("ingest", "scoring-1", "scoring-2", "loader")
SERVERS = ("kafka", "clickhouse")
WORKERS = ("scoring-1", "scoring-2")
GENERATION = 5
"""Runs that share a stack, one after another: the clock only goes forward, and after so many the programmes are over."""
WINDOWS = [
    instant(f"{day}T00:00:00Z") for day in ("2023-06-20", "2023-11-01", "2023-11-20", "2023-12-22", "2024-01-10", "2024-03-20")
]  # fmt: skip
SPEED = 5_000
"""Clock seconds per real second while it runs."""
PHASE_SECONDS = 3.6
KILLS = {2: 5, 3: 4}
"""Single kills of a phase, by how many phases there are."""
IMPATIENCE_SECONDS = 1.0
"""After which some clients ask again (`client.py`)."""


@dataclass(frozen=True)
class Action:
    """At `at` seconds into the phase do `what` to `who`; `seconds`: how long it is stopped, or how long after Kafka the door dies."""

    at: float
    what: str
    who: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.what} {self.who}" + (f" {self.seconds:.1f} s" if self.seconds else "")


@dataclass(frozen=True)
class Scene:
    """`deaths`: service -> where it dies (see `service.py`); `taken`: who dies whenever one of these does; who is in `cast` is not killed
    besides."""

    name: str
    deaths: Mapping[str, str]
    actions: tuple[Action, ...]
    cast: frozenset[str]
    taken: str = ""


@dataclass(frozen=True)
class Phase:
    """The clock from `start_ms` on at `speed`, and what happens in so many `seconds` from when the services are up.
    `ends_by`: the signal by which the services before it end; `rules`: when the rule files change, not at all (None), with it (0) or so
    many seconds later, while the services are at work; `state`: where scoring keeps its own."""

    start_ms: int
    speed: float
    scenes: tuple[Scene, ...]
    actions: tuple[Action, ...]
    seconds: float
    ends_by: str
    rules: float | None
    state: str

    @property
    def deaths(self) -> dict[str, str]:
        return {who: place for scene in self.scenes for who, place in scene.deaths.items()}

    def taken(self, who: str) -> str:
        """Who dies whenever this one does, '' where nobody."""
        return next((scene.taken for scene in self.scenes if who in scene.deaths), "")


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
        scenes = _scenes(chance)
        actions = sorted((*(one for scene in scenes for one in scene.actions), *_kills(chance, scenes, KILLS[len(starts)])), key=_at)
        ends_by = chance.choice(("SIGTERM", "SIGKILL", "SIGKILL"))
        state = chance.choice(("rocksdb", "rocksdb", "rocksdb", "memory"))
        rules = _rules(chance, first=at == 0, final=at == len(starts) - 1)
        found.append(Phase(start, speed, scenes, tuple(actions), PHASE_SECONDS, ends_by, rules, state))
    return found


def _rules(chance: random.Random, first: bool, final: bool) -> float | None:
    """Before the last phase also meanwhile: at the end of each phase all are restarted, so nobody is left with the former ones."""
    how = chance.random()
    if how < 0.15 and not first:
        return 0.0
    return chance.uniform(0.3, 2.0) if how < 0.3 and not final else None


def _at(action: Action) -> float:
    return action.at


def _kills(chance: random.Random, scenes: tuple[Scene, ...], count: int) -> list[Action]:
    """Single kills, spread over the phase, of services that are in no scene; not of one twice in a row where there are others."""
    cast = {who for scene in scenes for who in scene.cast}
    free = [who for who in SERVICES if who not in cast] or ["ingest"]
    found: list[Action] = []
    for number in range(count):
        others = [who for who in free if not found or who != found[-1].who] or free
        step = (PHASE_SECONDS - 0.4) / count
        found.append(Action(0.3 + step * number + chance.uniform(0.0, step), "SIGKILL", chance.choice(others)))
    return found


def _scenes(chance: random.Random) -> tuple[Scene, ...]:
    """One of scoring, or of the loader and what is behind it, or of the brokers; or one of the first two kinds each."""
    kind = chance.random()
    if kind < 0.25:
        return (_scoring(chance), _loading(chance))
    if kind < 0.55:
        return (_scoring(chance),)
    if kind < 0.80:
        return (_loading(chance),)
    return (_brokers(chance),)


def _scoring(chance: random.Random) -> Scene:
    who, name = chance.choice(WORKERS), chance.choice(("begin", "before", "after", "after", "kept", "zombie", "halt", "both", "full"))
    if name == "zombie":  # taken for dead, and comes back
        stop = Action(chance.uniform(0.2, 1.2), "SIGSTOP", who, SESSION_SECONDS + chance.uniform(0.6, 1.5))
        return Scene(name, {}, (stop,), frozenset(WORKERS))
    if name == "halt":  # the same with a batch that is folded and not committed
        return Scene(name, {who: f"halt-before:{chance.randint(2, 6)}"}, (), frozenset(WORKERS))
    if name == "full":  # what the workers keep on disk has no room for a while
        fill = Action(chance.uniform(0.5, 1.5), "full", "disk", chance.uniform(0.8, 2.0))
        return Scene(name, {}, (fill,), frozenset({who}))
    if name == "both":  # nobody is left who could take over
        at = chance.uniform(0.8, 2.8)
        return Scene(name, {}, tuple(Action(at, "SIGKILL", one) for one in WORKERS), frozenset(WORKERS))
    # Half of the time the other is taken along, so that nobody has gone on where the dead one comes back.
    other = WORKERS[1 - WORKERS.index(who)] if chance.random() < 0.5 else ""
    return Scene(name, {who: f"{name}:{chance.randint(1, 4)}"}, (), frozenset({who, other} - {""}), other)


def _loading(chance: random.Random) -> Scene:
    name = chance.choice(("insert", "insert", "inserted", "stop", "outage", "still"))
    if name in ("insert", "inserted"):
        return Scene(name, {"loader": f"{name}:{chance.randint(2, 10)}"}, (), frozenset({"loader"}))
    at = chance.uniform(0.5, 1.5)
    if name == "stop":  # the loader is asked to end while more is read than can be stored
        still, end = Action(at, "SIGSTOP", "clickhouse", chance.uniform(1.2, 2.0)), Action(at + 0.7, "SIGTERM", "loader")
        return Scene(name, {}, (still, end), frozenset({"loader", "clickhouse"}))
    if name == "outage":
        return Scene(name, {}, (Action(at, "SIGKILL", "clickhouse"),), frozenset({"loader", "clickhouse"}))
    return Scene(name, {}, (Action(at, "SIGSTOP", "clickhouse", chance.uniform(0.5, 2.5)),), frozenset({"clickhouse"}))


def _brokers(chance: random.Random) -> Scene:
    name = chance.choice(("broker", "storm", "late storm", "pause", "pause"))
    at = chance.uniform(0.5, 1.5)
    if name == "broker":
        return Scene(name, {}, (Action(at, "SIGKILL", "kafka"),), frozenset({"kafka"}))
    if name == "pause":
        return Scene(name, {}, (Action(at, "SIGSTOP", "kafka", chance.uniform(0.5, 2.5)),), frozenset({"kafka"}))
    # What the door has not got rid of must not be promised; late: when the impatient have asked again.
    later = chance.uniform(0.2, 1.2) if name == "storm" else IMPATIENCE_SECONDS + chance.uniform(0.6, 1.2)
    return Scene(name, {}, (Action(at, "storm", "kafka, then ingest", later),), frozenset({"kafka", "ingest"}))
