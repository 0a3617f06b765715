"""The desk's own durable table: what was handed out, and how it ended. Whoever holds a lease is written here first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, String, Table, Text, select
from sqlalchemy.dialects.sqlite import insert

from services.reporting.durable import sqlite
from services.reporting.reminders.limits import Outcome

META = MetaData()
LEASES = Table(
    # One row a reminder: its last hand-out. `ended`: that one was reported delivered or failed.
    "leases",
    META,
    Column("reminder_id", String(128), primary_key=True),
    Column("programme", String(64), nullable=False),
    Column("learner_id", String(64), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("holder", String(200), nullable=False),
    Column("ended", Integer, nullable=False, default=0),
)
OUTCOMES = Table(
    "outcomes",
    META,
    Column("fact_id", String(128), primary_key=True),
    Column("reminder_id", String(128), nullable=False),
    Column("programme", String(64), nullable=False),
    Column("learner_id", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("posted", Integer, nullable=False, default=0, index=True),
)


class Book:
    """Every `begin()` is a transaction that holds the write lock from its start: two leasers take turns."""

    def __init__(self, url: str) -> None:
        self.db = sqlite(url)
        META.create_all(self.db)

    def close(self) -> None:
        self.db.dispose()

    def leases(self, db: Connection, programme: str, learners: Iterable[str]) -> dict[str, list[Mapping[str, Any]]]:
        """`learner id -> hand-outs of its reminders`."""
        found = select(LEASES).where(LEASES.c.programme == programme, LEASES.c.learner_id.in_(list(learners)))
        leases: dict[str, list[Mapping[str, Any]]] = {}
        for row in db.execute(found).mappings():
            leases.setdefault(row["learner_id"], []).append(dict(row))
        return leases

    def outcomes(self, db: Connection, programme: str, learners: Iterable[str], source: str) -> dict[str, list[Outcome]]:
        found = select(OUTCOMES).where(OUTCOMES.c.programme == programme, OUTCOMES.c.learner_id.in_(list(learners)))
        outcomes: dict[str, list[Outcome]] = {}
        for row in db.execute(found):
            outcomes.setdefault(row.learner_id, []).append(Outcome(row.at_ms, source, row.fact_id, row.reminder_id, row.kind))
        return outcomes

    def take(self, db: Connection, programme: str, learner_id: str, reminder_id: str, attempt: int, until_ms: int, holder: str) -> None:
        row = {"attempt": attempt, "until_ms": until_ms, "holder": holder, "ended": 0}
        db.execute(
            insert(LEASES)
            .values(reminder_id=reminder_id, programme=programme, learner_id=learner_id, **row)
            .on_conflict_do_update(index_elements=["reminder_id"], set_=row)
        )

    def lease_of(self, reminder_id: str) -> Mapping[str, Any] | None:
        """The last hand-out of the reminder."""
        with self.db.connect() as db:
            row = db.execute(select(LEASES).where(LEASES.c.reminder_id == reminder_id)).mappings().one_or_none()
        return None if row is None else dict(row)

    def end(self, lease: Mapping[str, Any], kind: str, fact_id: str, at_ms: int, event: str) -> None:
        """Writes the outcome down and ends the lease; a repetition changes nothing."""
        with self.db.begin() as db:
            db.execute(
                insert(OUTCOMES)
                .values(
                    fact_id=fact_id,
                    reminder_id=lease["reminder_id"],
                    programme=lease["programme"],
                    learner_id=lease["learner_id"],
                    kind=kind,
                    at_ms=at_ms,
                    event=event,
                    posted=0,
                )
                .on_conflict_do_nothing()
            )
            db.execute(
                LEASES.update().where(LEASES.c.reminder_id == lease["reminder_id"], LEASES.c.attempt == lease["attempt"]).values(ended=1)
            )

    def posted(self, fact_ids: Iterable[str]) -> None:
        with self.db.begin() as db:
            db.execute(OUTCOMES.update().where(OUTCOMES.c.fact_id.in_(list(fact_ids))).values(posted=1))

    def unposted(self, limit: int = 200) -> dict[str, str]:
        """`fact id -> event (JSON)` of outcomes whose fact is not known to have reached the log."""
        with self.db.connect() as db:
            rows = db.execute(select(OUTCOMES.c.fact_id, OUTCOMES.c.event).where(OUTCOMES.c.posted == 0).limit(limit))
            return {row.fact_id: row.event for row in rows}
