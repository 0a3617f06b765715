"""The account of a learner, worked out from their own facts in `marts.events` by the very core that scores, beside what is published.

Two moments are told apart: the facts are complete up to `as_of`; what time alone changes (flags, the final result) is judged at the moment
of the published rows, so that the two differ only where one of them knows a fact that the other does not know yet. Where they differ the
answer says so (`differences`, and which of them is `newer`) and shows its own sums, which always add up.

SQL over `marts.*`, scope decided by `Scope` alone, as in `queries.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.instants import rfc3339
from schemas.programme import Programme
from schemas.reading import Event, read_item
from schemas.strictjson import parse
from services.reporting.api.explain_wire import account_row, differences
from services.reporting.api.pool import Unavailable
from services.reporting.api.queries import NotVisible, Queries, Row
from services.reporting.api.scope import Scope
from services.scoring.core.account.model import Record
from services.scoring.core.account.whole import MOST, Account, UnknownCourse, account

AT_ONCE = 2
"""Accounts that are worked out at the same time: one of a learner with 100,000 facts takes seconds of a core."""
WAIT_SECONDS = 20.0
_turns = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Explained:
    """An account, the rows that are published of the learner, and how the two stand to each other.

    `newer` is `account` or `published` where one has taken in more of the learner's partition, else ''.
    """

    account: Account
    published: Row
    as_of: datetime
    newer: str
    differences: list[Row]


def explain(
    queries: Queries, rules: Programme, scope: Scope, learner_id: str, course_id: str | None, now_ms: int, most: int = MOST
) -> Explained:
    """The account of a learner whom the caller may see; with `course_id` only that course.

    Raises NotVisible (also for a course that neither the rules nor the learner's facts know) and Unavailable where too many are asked for.
    """
    if not _turns.acquire(timeout=WAIT_SECONDS):
        raise Unavailable("Too many accounts are being worked out; try again")
    try:
        published = queries.learner(rules.id, scope, learner_id)
        fresh = queries.freshness()
        as_of = queries.as_of("events")
        records = facts_of(queries, rules.id, learner_id)
        judged = max(_ms(published["as_of"]), _ms(published["updated_at"])) or now_ms
        try:
            found = account(rules, learner_id, records, judged, course_id, most)
        except UnknownCourse:
            raise NotVisible(f"no course {course_id!r}") from None
    finally:
        _turns.release()
    return Explained(found, published, as_of, _newer(fresh, records), differences(found, published, whole=course_id is None))


def answer(rules: Programme, told: Explained) -> Row:
    """The JSON of an account."""
    published = told.published
    return {
        **account_row(rules, told.account),
        "as_of": told.as_of,
        "agrees": not told.differences,
        "newer": told.newer or None,
        "differences": told.differences,
        "published": {"as_of": published["as_of"], "updated_at": published["updated_at"], "rules_version": published["rules_version"]},
    }


def facts_of(queries: Queries, programme: str, learner_id: str) -> list[Record]:
    """Every fact of a learner that the caller was found to see, each with its place in the log."""
    rows = queries.pool.rows(
        "SELECT event_id, source, type, toUnixTimestamp64Milli(time) AS time_ms, toUnixTimestamp64Milli(ingested_at) AS ingested_ms, "
        "partition, offset, data FROM marts.events WHERE programme = %(p)s AND learner_id = %(learner)s",
        {"p": programme, "learner": learner_id},
    )
    return [Record(event_of(programme, learner_id, row), row["partition"], row["offset"]) for row in rows]


def event_of(programme: str, learner_id: str, row: Mapping[str, Any]) -> Event:
    """A row of `marts.events` read again by the checks that everybody shares: the same event, to the digest of its content.

    Only sound events are in that relation; one that is not raises ValueError.
    """
    found = read_item(
        {
            "specversion": "1.0",
            "id": row["event_id"],
            "source": row["source"],
            "type": row["type"],
            "subject": learner_id,
            "programme": programme,
            "time": rfc3339(row["time_ms"]),
            "data": parse(row["data"]),
        },
        ingested_at_ms=row["ingested_ms"],
    )
    if not isinstance(found, Event):
        raise ValueError(f"marts.events has an unsound event at {row['partition']}:{row['offset']}: {found[0].pointer} {found[0].code}")
    return found


def _newer(fresh: Mapping[str, Row], records: list[Record]) -> str:
    """Which of events and totals has got further in the learner's own partition."""
    if not records:
        return ""
    place = f"learning.activity:{records[0].partition}"
    events, totals = (fresh.get(name, {}).get("applied", {}).get(place, 0) for name in ("events", "learner_progress"))
    return "account" if events > totals else "published" if events < totals else ""


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
