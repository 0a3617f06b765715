"""Reporting without servers: scope, cursors, ids of facts, sessions, logins, names, live stream, commands."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from typer.testing import CliRunner

from schemas.programme import load_programmes
from services.reporting.api import live as live_module
from services.reporting.api.cursors import BadCursor, decode, encode
from services.reporting.api.facts import BadFact, Facts, KeyTaken, id_of
from services.reporting.api.live import Live, summary
from services.reporting.api.posts import staff_of
from services.reporting.api.problems import Problem
from services.reporting.api.queries import SORTS, _after, _sort
from services.reporting.api.responses import dump
from services.reporting.api.scope import Scope
from services.reporting.identity import commands
from services.reporting.identity.sessions import COOKIE, Sessions, same_origin, secret_of
from services.reporting.identity.store import TRIES, IdentityStore, Person, Throttled
from services.shared.clock import parse_clock
from services.shared.settings import ROOT, Settings

P = "zhuozhou-2023"
PATH = [{"unit_id": "p1"}, {"unit_id": "co1"}, {"unit_id": "s1"}]


def request(headers: dict[str, str] | None = None, scheme: str = "http") -> Request:
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request(
        {"type": "http", "method": "POST", "scheme": scheme, "path": "/", "query_string": b"", "headers": raw, "server": ("x", 80)}
    )


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(f"sqlite:///{tmp_path}/identity.db")


# scope


def test_scope_sees_units_on_the_way_up_only() -> None:
    assert Scope("co1").sees_unit(PATH)
    assert Scope("s1").sees_unit(PATH)
    assert Scope("*").sees_unit(PATH)
    assert not Scope("s2").sees_unit(PATH)
    assert not Scope("").sees_unit(PATH)
    assert not Scope("*").sees_unit([])


def test_scope_condition_carries_the_unit_as_a_parameter() -> None:
    condition, params = Scope("x' OR 1=1").condition()
    assert params == {"scope_unit": "x' OR 1=1"}
    assert "OR 1=1" not in condition
    assert Scope("").condition() == ("0", {})
    assert Scope("*").condition() == ("1", {})


def test_staff_is_who_is_logged_in() -> None:
    person = Scope("co1", who="liu", via="session")
    assert staff_of(person, None) == "liu"
    with pytest.raises(Problem):
        staff_of(person, "other")
    assert staff_of(Scope("co1", who="token-1", via="token"), "st-9") == "st-9"


# pages


def test_cursor_round_trip_and_refusals() -> None:
    cursor = encode("-credits", [250, "l1"])
    assert decode(cursor, "-credits", [int, str]) == [250, "l1"]
    for wrong, sort in ((cursor, "credits"), (cursor[:-2], "-credits"), ("é", "-credits"), (encode("-credits", ["x", "l1"]), "-credits")):
        with pytest.raises(BadCursor):
            decode(wrong, sort, [int, str])


def test_after_is_the_order_of_all_keys() -> None:
    params: dict[str, Any] = {}
    text = _after([("a", True), ("b", False)], [1, "x"], params)
    assert text == "(a < %(after0)s) OR (a = %(after0)s AND b > %(after1)s)"
    assert params == {"after0": 1, "after1": "x"}


def test_sorts() -> None:
    assert _sort("-credits") == (SORTS["credits"], True)
    with pytest.raises(ValueError, match="learner_id"):
        _sort("name")


def test_json_is_exact() -> None:
    value = {"at": datetime(2023, 7, 1, 2, 3, 4, 567000, UTC), "day": date(2023, 7, 1), "credits": Decimal("2.50"), "none": None, "m": True}
    assert json.loads(dump(value)) == {"at": "2023-07-01T02:03:04.567Z", "day": "2023-07-01", "credits": "2.50", "none": None, "m": True}


# facts


def facts(tmp_path: Path, sent: list[Any], clock: str = "2023-07-01T10:00:00+08:00@0/2026-01-01T00:00:00Z") -> Facts:
    def publish(events: Any) -> dict[str, int]:
        sent.extend(events)
        return {"learning.activity:0": len(sent)}

    return Facts(f"sqlite:///{tmp_path}/facts.db", publish, parse_clock(clock), load_programmes(ROOT / "schemas" / "programmes"))


FOLLOW_UP = {"flag": "inactive", "channel": "phone", "outcome": "reached", "staff_id": "liu", "note": None}


def test_ids_of_facts_fit_and_differ() -> None:
    long = "k" * 128
    assert id_of(long, "l1", False) == long
    ids = {id_of(key, learner, True) for key in (long, long[:-1] + "x") for learner in ("l1", "l2")}
    assert len(ids) == 4
    assert all(len(i) <= 128 for i in ids)


def test_same_key_is_the_same_fact_also_later(tmp_path: Path) -> None:
    sent: list[Any] = []
    first, _ = facts(tmp_path, sent).record("key", P, "follow_up.recorded", {"l1": FOLLOW_UP})
    later = facts(tmp_path, sent, "2023-07-02T10:00:00+08:00@0/2026-01-01T00:00:00Z")
    second, _ = later.record("key", P, "follow_up.recorded", {"l1": FOLLOW_UP})
    assert first == second
    assert [e["ingested_at"][:10] for e in sent] == ["2023-07-01", "2023-07-02"]
    assert "note" not in sent[0]["data"]
    with pytest.raises(KeyTaken):
        later.record("key", P, "follow_up.recorded", {"l2": FOLLOW_UP})


def test_unsound_facts_are_refused_before_anything_is_kept(tmp_path: Path) -> None:
    sent: list[Any] = []
    desk = facts(tmp_path, sent)
    with pytest.raises(BadFact) as refused:
        desk.record("key", P, "follow_up.recorded", {"l1": {**FOLLOW_UP, "channel": "pigeon"}})
    assert [(v.pointer, v.code) for v in refused.value.verdicts] == [("/data/channel", "bad_format")]
    desk.record("key", P, "follow_up.recorded", {"l1": FOLLOW_UP})
    early = facts(tmp_path, sent, "2023-01-01T10:00:00+08:00@0/2026-01-01T00:00:00Z")
    with pytest.raises(BadFact):
        early.record("key2", P, "follow_up.recorded", {"l1": FOLLOW_UP})
    assert len(sent) == 1


# people and logins


def test_names_and_search(store: IdentityStore) -> None:
    store.put_people([Person("l1", "王小明", phone="1"), Person("l2", "100% _王_")] + [Person(f"x{n}", f"人{n}") for n in range(1200)])
    assert store.names(["l1", "l9"]) == {"l1": "王小明"}
    assert len(store.names(f"x{n}" for n in range(1200))) == 1200
    assert sorted(store.search("王")) == ["l1", "l2"]
    assert store.search("%") == ["l2"]
    assert store.search(" ") == []
    store.put_people([Person("l1", "王大明")])
    assert store.people(["l1"])["l1"] == Person("l1", "王大明")


def test_login(store: IdentityStore) -> None:
    store.put_account("liu", "correct horse", "Liu", "co1", "en")
    account = store.login("liu", "correct horse")
    assert account is not None
    assert (account.unit_id, account.language) == ("co1", "en")
    assert store.login("liu", "wrong") is None
    assert store.login("nobody", "nobody") is None


def test_wrong_passwords_make_wait(store: IdentityStore) -> None:
    store.put_account("liu", "correct horse", "Liu", "co1")
    for _ in range(TRIES):
        assert store.login("liu", "wrong", "10.0.0.1") is None
    with pytest.raises(Throttled) as wait:
        store.login("liu", "correct horse", "10.0.0.2")
    assert 0 < wait.value.retry_after <= 61


def test_session_ends_with_tampering_password_and_account(store: IdentityStore) -> None:
    sessions = Sessions("key", store)
    response = Response()
    sessions.start(response, store.put_account("liu", "correct horse", "Liu", "co1"), request(scheme="https"))
    header = response.headers["set-cookie"]
    assert all(part in header for part in ("HttpOnly", "SameSite=lax", "Secure"))
    cookie = header.split(";")[0]
    read = sessions.read(request({"cookie": cookie}))
    assert read is not None
    assert read.username == "liu"
    signed, signature = cookie.rsplit(".", 1)
    other = "A" if signature[0] != "A" else "B"  # not the last character: its lowest bits say nothing, so every twentieth change is none
    assert sessions.read(request({"cookie": f"{signed}.{other}{signature[1:]}"})) is None
    assert Sessions("other", store).read(request({"cookie": cookie})) is None
    assert sessions.read(request({"cookie": f"{COOKIE}=x"})) is None
    store.put_account("liu", "another horse", "Liu", "co1")
    assert sessions.read(request({"cookie": cookie})) is None
    assert store.remove_account("liu")
    assert not store.remove_account("liu")


def test_secret_is_made_once_for_us_only(tmp_path: Path) -> None:
    first = secret_of("", tmp_path / "new")
    assert secret_of("", tmp_path / "new") == first
    assert (tmp_path / "new" / "session.key").stat().st_mode & 0o077 == 0
    assert secret_of("given", tmp_path) == "given"


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"host": "a:1", "origin": "http://a:1"}, True),
        ({"host": "a:1", "origin": "http://b:1"}, False),
        ({"host": "a:1", "origin": "null", "sec-fetch-site": "same-origin"}, False),
        ({"host": "a:1", "sec-fetch-site": "same-origin"}, True),
        ({"host": "a:1", "sec-fetch-site": "same-site"}, False),
        ({"host": "a:1"}, False),
    ],
)
def test_same_origin(headers: dict[str, str], ours: bool) -> None:
    assert same_origin(request(headers)) is ours


# live


class News:
    def __init__(self) -> None:
        self.looks = 0
        self.applied = 1

    def freshness(self) -> dict[str, Any]:
        self.looks += 1
        if self.looks == 2:
            raise RuntimeError("ClickHouse is restarting")
        row = {
            "as_of": datetime(2023, 7, 1, tzinfo=UTC),
            "lag_seconds": float(self.looks),
            "applied": {"learning.activity:0": self.applied},
        }
        return {"unit_progress": row}


def test_one_look_serves_all_pages_and_only_news_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "EVERY_SECONDS", 0.02)
    news = News()

    async def scene() -> None:
        live = Live(news)  # type: ignore[arg-type]
        await live.start()
        got: list[list[str]] = [[], []]

        async def page(n: int) -> None:
            async for text in live.stream():
                got[n].append(text)

        pages = [asyncio.create_task(page(n)) for n in (0, 1)]
        await asyncio.sleep(0.3)
        assert [len(g) for g in got] == [2, 2]  # retry and the first word: a growing lag is no news
        news.applied = 2
        await asyncio.sleep(0.2)
        looks = news.looks
        live.end_streams()
        await asyncio.wait_for(asyncio.gather(*pages), 2)
        await live.stop()
        assert [len(g) for g in got] == [3, 3]
        assert got[0][-1].startswith("event: fresh\ndata: ")
        assert json.loads(got[0][-1].split("data: ")[1])["applied"] == {"learning.activity:0": 2}
        assert looks > 3

    asyncio.run(scene())


def test_summary_claims_the_least() -> None:
    early, late = datetime(2023, 7, 1, tzinfo=UTC), datetime(2023, 7, 2, tzinfo=UTC)
    rows = {
        "a": {"as_of": late, "lag_seconds": 1.0, "applied": {"t:0": 5}},
        "b": {"as_of": early, "lag_seconds": 9.0, "applied": {"t:0": 3, "t:1": 1}},
    }
    assert summary(rows) == {"as_of": early, "lag_seconds": 9.0, "applied": {"t:0": 3, "t:1": 1}}
    assert summary({}) == {"as_of": None, "applied": {}, "lag_seconds": None}


# commands


@pytest.fixture
def chalk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(commands, "settings", lambda: Settings(data=tmp_path))

    def run(*args: str, **more: Any) -> Any:
        return CliRunner().invoke(commands.app, args, **more)

    return run


def test_accounts_add_list_remove(chalk: Any) -> None:
    assert chalk("add", "liu", "--unit", "co1", "--name", "Liu", "--password-stdin", input="correct horse\n").exit_code == 0
    assert chalk("list").output == "liu\tco1\tzh\tLiu\n"
    for args in (("add", "l iu", "--unit", "x"), ("add", "liu", "--unit", "a b"), ("add", "liu", "--unit", "x", "--language", "fr")):
        assert chalk(*args, "--password-stdin", input="correct horse\n").exit_code == 2
    assert chalk("add", "liu", "--unit", "co1", "--password-stdin", input="short\n").exit_code == 2
    assert chalk("remove", "liu").exit_code == 0
    assert chalk("remove", "liu").exit_code == 2


def test_import_people(chalk: Any, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("learner_id,name,phone\nl1,王小明,139\nl2,李芳,\n", encoding="utf-8-sig")
    assert "2 people stored" in chalk("import-people", str(file)).output
    for text, line in (
        ("id,name\nx,y\n", 1),
        ("learner_id,name\nl1,a\nl 2,b\n", 3),
        ("learner_id,name\nl1,\n", 2),
        ("learner_id,name\nl1,a,b\n", 2),
    ):
        file.write_text(text)
        refused = chalk("import-people", str(file))
        assert refused.exit_code == 2
        assert f"line {line}" in refused.output


def test_unknown_logins_take_as_long(store: IdentityStore) -> None:
    store.put_account("liu", "correct horse", "Liu", "co1")

    def took(username: str) -> float:
        began = time.perf_counter()
        store.login(username, "wrong")
        return time.perf_counter() - began

    known, unknown = min(took("liu") for _ in range(3)), min(took(f"nobody{n}") for n in range(3))
    assert unknown > known / 4
