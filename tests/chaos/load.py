"""What one run sends: learners of both shipped plans, their events as deliveries, duplicates, other orders, records that are no events.

Made from the run's seed alone. Events come from the generator of the properties (`tests.properties.worlds`): all types, boundary times,
ties, unknown courses and classes, facts of years away. What the door would refuse is written straight into the log, as a platform may.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.properties.reference.facts import instant, written
from tests.properties.reference.rules import Rules, read_rules
from tests.properties.worlds import Json, Seeded, message, world

AHEAD_MS = 5 * 60_000
ROSTER = (
    ("v", None, "province"), ("y", "v", "city"), ("t", "y", "county"), ("s", "t", "school"), ("k1", "s", "class"),
)  # fmt: skip
"""The declared units; the generator's other class, k2, is in none of them."""
SOURCES = ("/p", "/q")
GARBAGE = (b"\xffnot utf-8", b"{", b"[]", b'"text"', b"\x00", b'{"specversion":"1.0"', b"null")


@dataclass(frozen=True)
class Delivery:
    """One sending of one event. `door`: by HTTP, else straight into the log with the value as it is. `event` None: garbage."""

    key: str
    value: bytes
    door: bool
    event: Json | None


@dataclass
class Load:
    """`phases`: the deliveries while the clock shows each of the run's moments, in order of sending; `events`: by (programme, learner)."""

    phases: list[list[Delivery]]
    events: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    facts: int = 0


def door_takes(rules: Rules, event: Mapping[str, Any], now_ms: int) -> bool:
    """Whether the door's own rules let the event in (CONTRACTS, "What the door rejects"); where in doubt no."""
    data = event["data"]
    moments = [instant(event["time"])] + [instant(data[name]) for name in ("started_at", "ended_at", "sat_at") if name in data]
    if min(moments) < rules.opens or max(moments) > now_ms:
        return False
    if "sat_at" in data and instant(data["sat_at"]) > moments[0]:
        return False
    if "started_at" in data and instant(data["ended_at"]) - instant(data["started_at"]) > 29 * 60_000:
        return False
    course, activity = data.get("course_id"), data.get("activity_id")
    activities = [part["id"] for part in rules.part("activities") or []]
    return (course is None or course in rules.courses) and (activity is None or activity in activities)


def load(seed: int, texts: Mapping[str, str], moments: Sequence[int], learners: int) -> Load:
    """The run's load. `texts`: rule files by programme; `moments`: ms that the clock shows at least in each phase, ascending."""
    chance = random.Random(f"load {seed}")
    made = Load([[] for _ in moments])
    names = sorted(texts)
    rules = {name: Rules(read_rules(texts[name])) for name in names}
    for number in range(learners):
        learner = f"r{seed}-{number}"
        for programme in names if number % 5 == 0 else [names[number % len(names)]]:
            generated = world(Seeded(chance.randrange(1 << 30)), texts[programme], most=25).events
            for one in generated:
                event = {**one, "subject": learner, "programme": programme}
                made.events.setdefault((programme, learner), []).append(event)
                _send(made, rules[programme], event, moments, number % len(moments), chance)
    for deliveries in made.phases:
        _garbage(deliveries, seed, chance)
        chance.shuffle(deliveries)
        for at, _ in enumerate(deliveries[:: chance.randint(10, 20)]):  # the same again, seldom right behind
            deliveries.insert(min(len(deliveries), at + chance.randrange(60)), chance.choice(deliveries))
    made.facts = sum(len(events) for events in made.events.values())
    return made


def _send(made: Load, rules: Rules, event: Json, moments: Sequence[int], first: int, chance: random.Random) -> None:
    """Into some phase from `first` on, so that each has learners nobody has met; mostly by the door, where it takes the event then."""
    at = chance.randrange(first, len(moments))
    by_door = door_takes(rules, event, moments[at]) and chance.random() < 0.8
    if by_door:
        event = {name: value for name, value in event.items() if name != "ingested_at"}
    made.phases[at].append(Delivery(event["subject"], message(event), by_door, event))


def _garbage(deliveries: list[Delivery], seed: int, chance: random.Random) -> None:
    for _ in range(chance.randint(2, 6)):
        key = f"r{seed}-{chance.randrange(20)}"
        value = chance.choice(GARBAGE)
        deliveries.append(Delivery(key, value, False, None))
    stranger = {
        "specversion": "1.0", "id": f"{seed}-{len(deliveries)}", "source": "/q", "type": "chalkstream.platform.visited.v1",
        "subject": f"x{seed}", "time": written(1_700_000_000_000), "programme": "elsewhere", "data": {},
        "ingested_at": written(1_700_000_001_000),
    }  # fmt: skip
    deliveries.append(Delivery(f"x{seed}", message(stranger), False, stranger))


def units(seed_ms: int) -> list[Json]:
    """The directory's events; declared at `seed_ms`."""
    return [
        {
            "specversion": "1.0", "id": f"u-{unit}", "source": "/p", "type": "chalkstream.unit.declared.v1", "subject": unit,
            "time": written(seed_ms),
            "data": {"unit_id": unit, "level": level, "name": f"unit {unit}", **({"parent_id": parent} if parent else {})},
        }
        for unit, parent, level in ROSTER
    ]  # fmt: skip
