"""A fact: what one sound event says about one learner in one programme, as the fold takes it.

Study, the bulk, is an `Interval`: nothing but its seconds and its course count. All else is a `Fact`, whose `stamp` (time_ms, source,
id, digest) orders the facts of one key: the greatest is the latest (CONTRACTS, "Latest"). The digest is only computed where a stamp is
asked for. Its first 128 bits order like the whole, and cells are the smaller for it.
"""

from __future__ import annotations

from typing import Any

from schemas.activity import StudyRecorded
from schemas.quick import Interval as Interval
from schemas.reading import Event

Stamp = tuple[int, str, str, str]


class Fact:
    """`kind` is the event's type without prefix and version (`study.recorded`); `data` its frozen model."""

    __slots__ = ("_event", "data", "kind", "time_ms")

    def __init__(self, event: Event) -> None:
        self._event = event
        self.kind = kind_of(event.type)
        self.time_ms = event.time_ms
        self.data: Any = event.data

    @property
    def stamp(self) -> Stamp:
        event = self._event
        return (event.time_ms, event.source, event.id, event.digest[:32])


_KINDS: dict[str, str] = {}


def kind_of(event_type: str) -> str:
    """`chalkstream.study.recorded.v1` -> `study.recorded`."""
    known = _KINDS.get(event_type)
    if known is None:
        known = _KINDS[event_type] = event_type.removeprefix("chalkstream.").rpartition(".")[0]
    return known


def fact_of(event: Event) -> Fact | Interval:
    """The fact that a sound learner event states."""
    data: Any = event.data
    if type(data) is StudyRecorded:
        return (data.started_at, data.course_id, data.ended_at)
    return Fact(event)
