"""The product as the properties use it: rule files through its validator, events through its reader as bytes, and what it says
in the reference's terms."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from schemas.programme import Programme, load_programme
from schemas.progress import CourseProgress, DayProgress, Flag, LearnerProgress, decode, instant_ms
from schemas.reading import Event, partition_of, read_activity
from services.scoring.core.evaluate import day_progress, evaluate
from services.scoring.core.facts import Fact, fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from services.scoring.learners import State, loaded
from services.scoring.partition import Partition
from services.scoring.store import META_KEY, Meta
from services.shared.directory import Directory
from tests.properties.worlds import Json, message

KEY = b"L1"
PARTITIONS = 4
PARTITION = partition_of(KEY, PARTITIONS)


@lru_cache(16)
def load(text: str) -> Programme:
    """The programme of a rule file, read from a file like any other."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        return load_programme(Path(file.name))


def fact(event: Json) -> Fact:
    """The fact of a record of the log that holds this event."""
    found = read_activity(KEY, message(event), 0, PARTITION, PARTITIONS)
    assert isinstance(found, Event), (found, event)
    return fact_of(found)


def folded(programme: Programme, batches: Iterable[Sequence[Fact]]) -> Learner:
    learner = Learner.new("L1")
    for batch in batches:
        fold(programme, learner, batch)
    return learner


def cells(learner: Learner) -> dict[str, bytes]:
    return {name: learner.encode(name) for name in learner.names()}


def reloaded(learner: Learner) -> Learner:
    """A learner made from the cells' bytes alone."""
    found = Learner.new("L1")
    for name, data in cells(learner).items():
        found.load(name, data)
    return found


# -- what it says, in the reference's terms -------------------------------------------------------------------------------


def said(programme: Programme, learner: Learner, now: int) -> dict[str, Any]:
    """What `reference.learner` answers, by the product's core."""
    days = [day_progress(programme, learner, name[4:]) for name in learner.names() if name.startswith("day:")]
    return in_terms(evaluate(programme, learner, now).progress, days)


def in_terms(progress: LearnerProgress, days: Iterable[DayProgress]) -> dict[str, Any]:
    """Published values in the reference's terms; a day without credit and act says nothing."""
    columns = {name: getattr(progress, name) for name in progress.__struct_fields__}
    for name in ("courses", "flags", "version", "updated_at"):
        del columns[name]
    for name in ("registered_at", "started_at", "first_active_at", "last_active_at"):
        columns[name] = _ms(columns[name])
    for name in ("study_hours", "credits"):
        columns[name] = Decimal(columns[name])
    return {
        "progress": columns,
        "courses": {row.course_id: _course(row) for row in progress.courses},
        "flags": {(flag.kind, flag.ref): _flag(flag) for flag in progress.flags},
        "days": {
            day.day: {"credited_seconds": day.credited_seconds, "active": day.active} for day in days if day.credited_seconds or day.active
        },
    }


def _ms(text: str | None) -> int | None:
    return None if text is None else instant_ms(text)


def _course(row: CourseProgress) -> dict[str, Any]:
    columns = {name: getattr(row, name) for name in row.__struct_fields__ if name != "course_id"}
    for name in columns:
        if name.endswith("_points") or name == "credits":
            columns[name] = Decimal(columns[name])
    columns["last_active_at"] = _ms(row.last_active_at)
    assert len(row.explanation.encode()) <= 2048
    columns["explanation"] = json.loads(row.explanation)
    return columns


def _flag(flag: Flag) -> dict[str, Any]:
    columns = {name: getattr(flag, name) for name in flag.__struct_fields__ if name not in ("kind", "ref")}
    columns["raised_at"], columns["last_follow_up_at"] = instant_ms(flag.raised_at), _ms(flag.last_follow_up_at)
    return columns


# -- a partition, as the engine drives it -----------------------------------------------------------------------------------


@dataclass
class Record:
    """`event` is what it counts for; None where it counts for nothing in this programme."""

    offset: int
    key: bytes | None
    value: bytes | None
    event: Json | None = None
    timestamp: int = 0


class Topics:
    """What a consumer of the compacted topics holds."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[bytes, bytes | None]] = {}

    def take(self, rows: dict[str, Any]) -> list[dict[str, str]]:
        """Rows of one step; answers its lines of the log of flags."""
        for topic, records in rows.items():
            for key, value in records:
                if topic != "learning.attention":
                    self.rows.setdefault(topic, {})[key] = value
        return [json.loads(value) for _, value in rows.get("learning.attention", [])]

    def published(self) -> dict[str, Any]:
        """What is published of the one learner, in the reference's terms."""
        days = [decode(DayProgress, value) for value in self.rows.get("learning.days", {}).values() if value is not None]
        return in_terms(self.progress(), days)

    def progress(self) -> LearnerProgress:
        (value,) = self.rows["learning.progress"].values()
        assert value is not None
        return decode(LearnerProgress, value)

    def without_versions(self) -> dict[str, dict[bytes, Any]]:
        """Progress and days, but for version and updated_at; the learner's cells of the state."""
        found: dict[str, dict[bytes, Any]] = {}
        for topic, rows in self.rows.items():
            if topic in ("learning.progress", "learning.days"):
                values = {key: json.loads(value or b"null") for key, value in rows.items()}
                found[topic] = {key: {k: v for k, v in row.items() if k not in ("version", "updated_at")} for key, row in values.items()}
            elif topic == "scoring.state":
                found[topic] = {key: value for key, value in rows.items() if b"@published" not in key and not key.startswith(b"|")}
        return found


def partition(programme: Programme) -> Partition:
    """A partition that has read nothing yet and knows this programme."""
    part = Partition.of(PARTITION, PARTITIONS, {programme.id: programme}, Directory(), "rules", State(meta=Meta(1, "rules", 0)), 0)
    assert part.rebuilding_to is None
    return part


def restarted(part: Partition, topics: Topics, end: int) -> Partition:
    """The partition as another process would find it: from the rows of its state alone. `end`: that of the log."""
    rows = [(key, value or b"") for key, value in topics.rows.get("scoring.state", {}).items() if key != META_KEY]
    state = State(part.meta, loaded(rows))
    return Partition.of(PARTITION, PARTITIONS, part.programmes, Directory(), "rules", state, end)


def records(events: Sequence[Json]) -> list[Record]:
    """The log of these events."""
    return [Record(offset, KEY, message(event), event) for offset, event in enumerate(events)]


def records_among_others(events: Sequence[Json], chance: random.Random) -> list[Record]:
    """The log of these events, among records of an unknown programme and such as are refused."""
    log: list[Record] = []
    for event in events:
        if chance.random() < 0.1:
            same_second = {"course_id": "c1", "started_at": event["time"], "ended_at": event["time"], "channel": "live"}
            empty = {**event, "type": "chalkstream.study.recorded.v1", "data": same_second}
            strange = [message(one) for one in ({**event, "programme": "elsewhere"}, {**event, "time": "soon"}, empty)]
            log.append(Record(len(log), KEY, chance.choice([*strange, b"{", None])))
        log.append(Record(len(log), KEY, message(event), event))
    return log
