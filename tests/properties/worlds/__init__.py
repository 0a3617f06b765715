"""Generated worlds: a rule file, a learner's events in the order of arrival, and moments to look at.

`nth(number)` is made from a seed, `worlds()` is the Hypothesis strategy of the same: both go through one description
(`programmes`, `events`), one fast, the other with shrinking.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st

from tests.properties.reference.facts import instant
from tests.properties.reference.rules import DAY_MS, Rules, read_rules
from tests.properties.worlds.choices import Choices, Drawn, Seeded
from tests.properties.worlds.events import Json, Number, Times, beginning, maker
from tests.properties.worlds.programmes import programme

__all__ = ["Choices", "Json", "Seeded", "World", "message", "nth", "world", "worlds"]


@dataclass(frozen=True)
class World:
    """`events` in the order of arrival, duplicates included; `moments` ascending (ms); `seed` for whatever else is by chance."""

    rules_text: str
    events: tuple[Json, ...]
    moments: tuple[int, ...]
    seed: int

    @property
    def rules(self) -> dict[str, Any]:
        return _rules(self.rules_text)

    def chance(self) -> random.Random:
        return random.Random(self.seed)

    def of(self, events: tuple[Json, ...]) -> World:
        """The same world with other events."""
        return replace(self, events=events)


@lru_cache(64)
def _rules(text: str) -> dict[str, Any]:
    return read_rules(text)


@lru_cache(64)
def _times(text: str) -> tuple[Rules, Times]:
    rules = Rules(_rules(text))
    return rules, Times(rules)


def message(event: Json) -> bytes:
    """The record's value: scores stand as they were written."""
    return _encode(event).encode()


def _encode(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_encode(item)}" for key, item in value.items()) + "}"
    return str(value) if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


def world(c: Choices, rules_text: str | None = None, most: int = 40) -> World:
    """A world of that programme, or of one of its own, with some so many events (at most twice that)."""
    text = programme(c) if rules_text is None else rules_text
    rules, times = _times(text)
    make, twin = maker(rules, times)
    events = beginning(c, rules, times) if c.chance(85) else []
    events += c.many(make, c.choice((most, most // 2, most // 6, 0, most // 3, 2 * most)))
    if not events:
        events = [make(c)]
    events += [twin(c, c.choice(events)) for _ in range(c.integer(0, 5))]
    seed = c.integer(0, 1_000_000)
    chance = random.Random(seed)
    events += chance.sample(events, len(events) // 4)
    if c.chance(50):
        chance.shuffle(events)
    moments = sorted({_moment(c, times, events) for _ in range(c.integer(1, 4))})
    return World(text, tuple(events), tuple(moments), seed)


def _moment(c: Choices, times: Times, events: list[Json]) -> int:
    """A moment to look at: in the programme, one of those that matter, or as long after an event as flags wait."""
    how = c.integer(0, 9)
    if how < 4:
        found = times.inside(c)
    elif how < 5:
        found = c.choice(times.edges) + c.choice((0, -1, 1))
    elif how < 6:
        found = times.moment(c)
    else:
        since = max(instant(c.choice(events)["time"]), times.starts) if how < 8 else instant(c.choice(events)["time"])
        found = since + sum(c.choice(times.lengths) for _ in range(c.integer(1, 2))) + c.choice((0, 0, -1, 1))
    return min(max(found, times.low - 500 * DAY_MS), times.high + 500 * DAY_MS)


SETS_A_PROGRAMME = 5
BIG = 50


def nth(number: int) -> World:
    """The world of a number: so many in turn share a programme, one in so many is big."""
    text = _nth_programme(number // SETS_A_PROGRAMME)
    return world(Seeded(number * 2 + 1), text, most=200 if number % BIG == BIG - 1 else 40)


@lru_cache(16)
def _nth_programme(number: int) -> str:
    return programme(Seeded(number * 2))


@st.composite
def worlds(draw: st.DrawFn, most: int = 40) -> World:
    return world(Drawn(draw), most=most)
