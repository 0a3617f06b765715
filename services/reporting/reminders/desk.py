"""The desk where the reminder service fetches work: hands out what is due, once, and takes back how it went.

What is due is one record a learner and programme (the latest of `store.reminders`, written from `learning.reminders`).
Whether it may go out *now* is a function of the rule file's limits, of the flags open now and of what was delivered before
(RULES.md, 'Reminders'): `limits.py`. What was handed out and how it went is kept here in a table of our own, written before
the fact is posted, so that ClickHouse's lag can never cause a second reminder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.programme import Programme
from services.reporting.api.facts import Facts
from services.reporting.api.queries import Queries
from services.reporting.identity.store import IdentityStore
from services.shared.clock import Clock


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
        self._url, self._queries, self._identity, self._facts = url, queries, identity, facts
        self._programmes, self._clock = programmes, clock
