"""What is posted here becomes a fact: written to `learning.activity` through the checks that everybody shares.

A fact's identity is its source, id and content, and its content has the moment it was recorded in it. So that a request
repeated with the same `Idempotency-Key` is the same fact, the events of a key are kept (SQLite under the data folder) before
they are sent, and a repetition sends those same events again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, MetaData, String, Table, Text, select
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from schemas.instants import parse_instant, rfc3339
from schemas.programme import Programme
from schemas.reading import read_item
from schemas.verdicts import Verdict
from services.reporting.durable import sqlite
from services.shared.clock import Clock

SOURCE = "/chalkstream/reporting"
LONGEST_ID = 128

META = MetaData()
REQUESTS = Table(
    "requests",
    META,
    Column("key", String(128), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("events", Text, nullable=False),
)

Publish = Callable[[Sequence[Mapping[str, Any]]], dict[str, int]]
"""Sends events (each with `ingested_at`) keyed by subject and waits for all in-sync replicas: `{"topic:partition": next offset}`.

Raises `LogUnavailable`.
"""


class LogUnavailable(RuntimeError):
    """Kafka did not acknowledge in time; the fact may still arrive, and the same request with the same key is harmless (503)."""


class BadFact(ValueError):
    """The events would be rejected: `verdicts` says why (pointers into the event)."""

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        super().__init__("; ".join(f"{v.pointer}: {v.detail}" for v in verdicts))
        self.verdicts = list(verdicts)


class KeyTaken(ValueError):
    """The same Idempotency-Key came with another request."""


def id_of(key: str, learner_id: str, many: bool) -> str:
    """The fact's id: the key itself; for several learners a function of key and learner, at most 128 characters."""
    if not many:
        return key
    both = hashlib.sha256(json.dumps([key, learner_id]).encode()).hexdigest()
    return f"{key[:95]}.{both[:32]}"


class Facts:
    """Checks, remembers and publishes. Blocks: call it from a sync route."""

    def __init__(self, url: str, publish: Publish, clock: Clock, programmes: Mapping[str, Programme]) -> None:
        self._db = sqlite(url)
        META.create_all(self._db)
        self._publish = publish
        self._clock = clock
        self._programmes = programmes

    def close(self) -> None:
        self._db.dispose()

    def record(
        self, key: str, programme: str, kind: str, data: Mapping[str, Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """`prepare` and `send`: returns the events and `applied`."""
        events = self.prepare(key, programme, kind, data)
        return events, self.send(events)

    def prepare(self, key: str, programme: str, kind: str, data: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One fact of type `chalkstream.<kind>.v1` per learner (`data`: learner id -> the type's object), at the clock's now, kept.

        Repeated with the same key and the same arguments it gives the same events. Raises `BadFact`, `KeyTaken`.
        """
        request = json.dumps([programme, kind, data], sort_keys=True, default=str)
        digest = hashlib.sha256(request.encode()).hexdigest()
        known = self._known(key, digest)
        if known is not None:
            return known
        now = rfc3339(self._clock.now())
        events = [
            {
                "specversion": "1.0",
                "id": id_of(key, learner, len(data) > 1),
                "source": SOURCE,
                "type": f"chalkstream.{kind}.v1",
                "subject": learner,
                "time": now,
                "programme": programme,
                "data": {name: value for name, value in fields.items() if value is not None},
            }
            for learner, fields in data.items()
        ]
        self._check(events)
        with self._db.begin() as db:
            db.execute(sqlite_insert(REQUESTS).values(key=key, digest=digest, events=json.dumps(events)).on_conflict_do_nothing())
        # Two requests with one key at once: both send what was kept first.
        return self._known(key, digest) or events

    def send(self, events: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Writes the events to the log and returns `applied`.

        Raises `LogUnavailable` where Kafka does not acknowledge; the same request may then be repeated with its key.
        """
        return self._publish([{**event, "ingested_at": rfc3339(self._clock.now())} for event in events])

    @staticmethod
    def time_ms(event: Mapping[str, Any]) -> int:
        return parse_instant(str(event["time"]))

    def _known(self, key: str, digest: str) -> list[dict[str, Any]] | None:
        with self._db.connect() as db:
            row = db.execute(select(REQUESTS).where(REQUESTS.c.key == key)).one_or_none()
        if row is None:
            return None
        if row.digest != digest:
            raise KeyTaken("this Idempotency-Key came with another request before; use a new one for a new request")
        events: list[dict[str, Any]] = json.loads(row.events)
        return events

    def _check(self, events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:
            read = read_item(dict(event))
            if isinstance(read, list):
                raise BadFact(read)
            rules = self._programmes[event["programme"]]
            if read.time_ms < rules.opens_ms:
                raise BadFact([Verdict("/time", "too_early", "the programme has not opened yet")])
