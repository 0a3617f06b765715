"""Small things that the demo, its check, the benchmark and the tests do to a running house: tokens, people, waiting, asking."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deploy.demo.house import House
from deploy.demo.people import PASSWORD, Population
from services.reporting.identity.store import IdentityStore, Person
from services.shared.tokens import TokenStore


class NotFresh(Exception):
    """The figures did not reach what was acknowledged in time; the text says which relation lacks what."""


def ingest_token(house: House) -> str:
    """A token that may write every source and programme, and the directory."""
    store = TokenStore(house.values.tokens)
    token, _ = store.issue("ingest", sources=["*"], programmes=["*"], directory=True, note="demo")
    store.close()
    return token


def reporting_token(house: House, unit_id: str = "*", roles: tuple[str, ...] = ("reminders",)) -> str:
    store = TokenStore(house.values.tokens)
    token, _ = store.issue("reporting", unit_id=unit_id, roles=list(roles), note="demo")
    store.close()
    return token


def fill_identity(house: House, population: Population) -> None:
    """Names, contacts and logins, into the identity store and nowhere else; the login page offers the demo's logins."""
    store = IdentityStore(house.values.identity)
    for account in population.accounts:
        store.put_account(account.username, account.password, account.name, account.unit_id)
    logins = {"password": PASSWORD, "accounts": [{"username": one.username, "name": one.name} for one in population.accounts]}
    (house.values.data / "demo-logins.json").write_text(json.dumps(logins, ensure_ascii=False))
    people = [Person(one.learner_id, one.name, one.phone, one.email) for one in population.teachers]
    for at in range(0, len(people), 5000):
        store.put_people(people[at : at + 5000])
    store.close()


def rows(house: House, sql: str, *settings: str) -> Iterator[dict[str, Any]]:
    """ClickHouse's rows; decimals come as text, whole numbers as numbers."""
    chosen = ", ".join(("output_format_json_quote_64bit_integers = 0", "output_format_json_quote_decimals = 1", *settings))
    for line in house.query(f"{sql} SETTINGS {chosen} FORMAT JSONEachRow").splitlines():
        yield json.loads(line)


def missing(house: House, applied: Mapping[str, int]) -> dict[str, str]:
    """Relation -> which of the offsets in `applied` it has not reached yet."""
    behind: dict[str, str] = {}
    for row in rows(house, "SELECT relation, applied FROM marts.freshness"):
        have = {place: int(offset) for place, offset in row["applied"].items()}
        short = [f"{place} {have.get(place, 0)} of {offset}" for place, offset in applied.items() if have.get(place, 0) < offset]
        if short:
            behind[row["relation"]] = ", ".join(short)
    return behind


def wait_fresh(
    house: House, applied: Mapping[str, int], seconds: float = 300, stop: Callable[[], bool] = lambda: False, relations: int = 8
) -> None:
    """Until every relation has everything below the offsets in `applied`. Raises NotFresh; returns early where `stop()` says so."""
    deadline = time.monotonic() + seconds
    while not stop():
        try:
            known = len(list(rows(house, "SELECT relation FROM marts.freshness")))
            behind = missing(house, applied)
            error = ""
        except OSError as problem:  # ClickHouse is being restarted
            known, behind, error = 0, {}, str(problem)
        if known >= relations and not behind:
            return
        if time.monotonic() > deadline:
            raise NotFresh(error or f"{known} relations; not reached: {behind}")
        time.sleep(0.1)
