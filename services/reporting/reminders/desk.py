"""The desk where the reminder service fetches work: hands out what is due, once, and takes back how it went.

What is due is one record a learner and programme (the latest of `store.reminders`, written from `learning.reminders`).
Whether it may go out *now* is a function of the rule file's limits, of the flags open now and of what was delivered before
(RULES.md, 'Reminders'): `limits.py`. What was handed out and how it went is kept in a table of our own (`book.py`), written
before the fact is posted, so that ClickHouse's lag can never cause a second reminder. Facts of others are read from the log's
mirror as well. Instants are of `CHALK_CLOCK`, also those at which a lease runs out.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence

import structlog

from schemas.instants import rfc3339
from schemas.programme import Programme
from services.reporting.api.facts import SOURCE, Facts
from services.reporting.api.queries import Queries, Row
from services.reporting.api.scope import NotVisible, Scope
from services.reporting.identity.store import IdentityStore
from services.reporting.reminders.book import Book
from services.reporting.reminders.limits import Limits, Outcome, limits_of, not_before
from services.shared.clock import Clock

log = structlog.get_logger()

CHUNK = 300
REMEMBER_SECONDS = 60.0
"""Real seconds for which 'not before' is believed without looking at the history again."""


class ReminderDesk:
    """Blocks: call it from a sync route."""

    def __init__(
        self,
        url: str,
        queries: Queries,
        identity: IdentityStore,
        facts: Facts,
        programmes: Mapping[str, Programme],
        clock: Clock,
    ) -> None:
        self._book = Book(url)
        self._queries, self._identity, self._facts, self._clock = queries, identity, facts, clock
        self._limits = {name: limits for name, programme in programmes.items() if (limits := limits_of(programme)) is not None}
        self._turn = threading.Lock()
        # (programme, learner) -> (reminder, first moment or None for never, when looked at by the real clock)
        self._waits: dict[tuple[str, str], tuple[str, int | None, float]] = {}

    def close(self) -> None:
        self._book.close()

    def lease(self, scope: Scope, limit: int, lease_seconds: int) -> list[Row]:
        """At most `limit` reminders, worst first, each for nobody else until `lease_seconds` of the clock have passed.

        Rows: `id, programme, learner_id, kind, ref, severity, due_at, flags` (open when it became due), `open_flags` (now),
        `attempt`, `leased_until`, `contact {name, phone, email, wechat}` (null where the identity store knows nobody).
        """
        self._post_left()
        leased: list[Row] = []
        with self._turn:
            now = self._clock.now()
            for programme, limits in sorted(self._limits.items()):
                if len(leased) < limit and not limits.quiet(now):
                    leased += self._lease(scope, programme, limits, limit - len(leased), now, now + lease_seconds * 1000)
        people = self._identity.people(row["learner_id"] for row in leased)
        for row in leased:
            person = people.get(row["learner_id"])
            row["contact"] = person and {"name": person.name, "phone": person.phone, "email": person.email, "wechat": person.wechat}
        return leased

    def delivered(self, scope: Scope, reminder_id: str, channel: str, key: str | None = None) -> Row:
        """The reminder reached its learner. Returns `{id, status, fact_id, applied}`; raises `NotVisible`, `BadFact`, `KeyTaken`."""
        return self._end(scope, reminder_id, "delivered", {"reminder_id": reminder_id, "channel": channel}, key)

    def failed(self, scope: Scope, reminder_id: str, channel: str, reason: str, key: str | None = None) -> Row:
        """It did not; it is due again after an hour, at most three times. Returns and raises as `delivered`."""
        return self._end(scope, reminder_id, "failed", {"reminder_id": reminder_id, "channel": channel, "reason": reason}, key)

    # parts

    def _lease(self, scope: Scope, programme: str, limits: Limits, limit: int, now: int, until: int) -> list[Row]:
        candidates = [row for row in self._due(scope, programme) if not self._waiting(row, now)]
        leased: list[Row] = []
        for at in range(0, len(candidates), CHUNK):
            chunk = candidates[at : at + CHUNK]
            learners = [row["learner_id"] for row in chunk]
            told = self._told(programme, learners)
            flags = self._queries.open_flags(programme, learners)
            with self._book.db.begin() as db:
                ours = self._book.outcomes(db, programme, learners, SOURCE)
                leases = self._book.leases(db, programme, learners)
                for row in chunk:
                    if len(leased) == limit:
                        return leased
                    learner, reminder = row["learner_id"], row["id"]
                    if learner not in flags:  # the last one closed while we looked
                        continue
                    history = [*told.get(learner, []), *ours.get(learner, [])]
                    moment = not_before(reminder, limits, history, now)
                    mine = leases.get(learner, [])
                    if moment is not None:
                        moment = max([moment, *(lease["until_ms"] for lease in mine if not lease["ended"])])
                    if moment is None or moment > now:
                        self._waits[programme, learner] = (reminder, moment, time.monotonic())
                        continue
                    attempt = 1 + max((lease["attempt"] for lease in mine if lease["reminder_id"] == reminder), default=0)
                    self._book.take(db, programme, learner, reminder, attempt, until, scope.who)
                    leased.append({**row, "attempt": attempt, "leased_until": rfc3339(until), "open_flags": flags.get(learner, [])})
        return leased

    def _waiting(self, row: Row, now: int) -> bool:
        reminder, moment, looked = self._waits.get((row["programme"], row["learner_id"]), ("", 0, 0.0))
        if reminder != row["id"] or time.monotonic() - looked > REMEMBER_SECONDS:
            return False
        return moment is None or moment > now

    def _due(self, scope: Scope, programme: str) -> list[Row]:
        """The latest due record of each learner of the caller's who is in training and has a flag open now."""
        condition, params = scope.condition()
        rows = self._queries.pool.rows(
            f"""
            SELECT programme, learner_id, last.1 AS id, last.2 AS kind, last.3 AS ref, last.4 AS severity,
                last.5 AS kinds, last.6 AS refs, last.7 AS severities, last.8 AS raised, due_at
            FROM
            (
                SELECT programme, learner_id, max(r.due_at) AS due_at, argMax(
                    (reminder_id, kind, ref, severity, flag_kind, flag_ref, flag_severity, flag_raised_at),
                    (r.due_at, log_offset)) AS last
                FROM store.reminders AS r FINAL WHERE programme = %(p)s GROUP BY programme, learner_id
            )
            WHERE learner_id IN (
                SELECT learner_id FROM marts.learner_progress
                WHERE programme = %(p)s AND withdrawn = 0 AND result = 'in_progress' AND {condition})
            AND learner_id IN (SELECT learner_id FROM marts.needs_attention WHERE programme = %(p)s)
            ORDER BY indexOf(['notice', 'warning', 'escalation'], severity) DESC, due_at, learner_id
            """,
            {"p": programme, **params},
        )
        for row in rows:
            parts = (row.pop("kinds"), row.pop("refs"), row.pop("severities"), row.pop("raised"))
            row["flags"] = [
                {"kind": kind, "ref": ref, "severity": severity, "raised_at": raised}
                for kind, ref, severity, raised in zip(*parts, strict=True)
            ]
        return rows

    def _told(self, programme: str, learners: Sequence[str]) -> dict[str, list[Outcome]]:
        """What the log says of these learners' reminders, whoever wrote it."""
        rows = self._queries.pool.rows(
            "SELECT learner_id, type, source, event_id, toUnixTimestamp64Milli(time) AS at_ms, "
            "JSONExtractString(data, 'reminder_id') AS reminder_id FROM marts.events "
            "WHERE programme = %(p)s AND learner_id IN %(ids)s "
            "AND type IN ('chalkstream.reminder.delivered.v1', 'chalkstream.reminder.failed.v1')",
            {"p": programme, "ids": list(learners)},
        )
        told: dict[str, list[Outcome]] = {}
        for row in rows:
            kind = "delivered" if row["type"].endswith(".delivered.v1") else "failed"
            outcome = Outcome(row["at_ms"], row["source"], row["event_id"], row["reminder_id"], kind)  # type: ignore[arg-type]
            told.setdefault(row["learner_id"], []).append(outcome)
        return told

    def _end(self, scope: Scope, reminder_id: str, kind: str, data: dict[str, str], key: str | None) -> Row:
        lease = self._book.lease_of(reminder_id)
        if lease is None:
            raise NotVisible(f"no reminder {reminder_id!r} was handed out")
        programme, learner = lease["programme"], lease["learner_id"]
        # Who holds the lease may tell how it went even where the learner has moved to another unit meanwhile.
        if lease["holder"] != scope.who and not self._queries.visible_learners(programme, scope, [learner]):
            raise NotVisible(f"no reminder {reminder_id!r} was handed out")
        events = self._facts.prepare(key or f"{reminder_id}.{lease['attempt']}.{kind}", programme, f"reminder.{kind}", {learner: data})
        event = events[0]
        read_ms = self._facts.time_ms(event)
        self._book.end(lease, kind, event["id"], read_ms, json.dumps(event))
        self._waits.pop((programme, learner), None)
        applied = self._facts.send(events)
        self._book.posted([event["id"]])
        return {"id": reminder_id, "status": kind, "fact_id": event["id"], "applied": applied}

    def _post_left(self) -> None:
        """Facts whose writing was interrupted go out now: the service that reported them may never ask again."""
        left = self._book.unposted()
        if not left:
            return
        try:
            self._facts.send([json.loads(event) for event in left.values()])
        except Exception as error:  # Kafka is away: they stay in the book, and the limits know them already
            log.warning("reminders.unposted", count=len(left), error=type(error).__name__)
            return
        self._book.posted(left)
