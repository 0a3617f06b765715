"""What the routes, the console and the reminder door work with: built once by `app.py`, handed to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.programme import Programme
from services.reporting.api.facts import Facts
from services.reporting.api.live import Live
from services.reporting.api.queries import Queries
from services.reporting.identity.sessions import Sessions
from services.reporting.identity.store import IdentityStore
from services.reporting.reminders.desk import ReminderDesk
from services.shared.clock import Clock
from services.shared.settings import Settings
from services.shared.tokens import TokenStore


@dataclass(frozen=True, slots=True)
class Deps:
    """`queries` reads ClickHouse; `identity` names and logins; `sessions` the signed cookie; `facts` writes to the log."""

    queries: Queries
    identity: IdentityStore
    sessions: Sessions
    programmes: Mapping[str, Programme]
    clock: Clock
    settings: Settings
    reminders: ReminderDesk
    facts: Facts
    live: Live
    tokens: TokenStore
