"""The reporting API on real ClickHouse and real Kafka, over rows put into `store` by hand: figures, scope, facts, reminders."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from deploy.local.processes import free_ports
from schemas.programme import load_programmes
from schemas.reading import read_record
from schemas.topics import load_topics
from services.reporting.api.publisher import Publisher
from services.reporting.app import build_app, build_deps
from services.reporting.deps import Deps
from services.reporting.identity.store import Person
from services.shared.clickhouse import connect
from services.shared.clock import Clock, parse_clock
from services.shared.kafka import ensure_topics
from services.shared.settings import ROOT, Settings
from tests.conftest import environment
from tests.integration.local_stack import seeded_stack

pytestmark = pytest.mark.servers
P = "zhuozhou-2023"
NOW = datetime(2023, 7, 10, 2, tzinfo=UTC)  # 10:00 local, standing still
CLOCK = "2023-07-10T10:00:00+08:00@0/2026-01-01T00:00:00Z"
ORIGIN = {"origin": "http://testserver"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Servers of this module alone: its rows and watermarks are put in by hand."""
    with seeded_stack(tmp_path_factory.mktemp("reporting"), seed, clock=CLOCK, log_level="warning") as given:
        ensure_topics(given.bootstrap, load_topics(), 1)
        yield given


@pytest.fixture(scope="module")
def deps(config: Settings) -> Iterator[Deps]:
    publisher = Publisher(config.bootstrap)
    made = build_deps(config, parse_clock(CLOCK), load_programmes(config.programmes), publisher)
    made.identity.put_people([Person("l1", "王小明", "139", "x@example.org"), Person("l2", "李芳"), Person("l3", "王大力")])
    for name, unit_id in (("prov", "p1"), ("east", "co1"), ("west", "co2"), ("school", "s1"), ("head", "k1"), ("all", "*"), ("lost", "kx")):
        made.identity.put_account(name, "correct horse", name, unit_id)
    yield made
    publisher.close()


@pytest.fixture(scope="module")
def client(deps: Deps) -> Iterator[TestClient]:
    with TestClient(build_app(deps, lambda: True)) as client:
        yield client


def insert(client: Any, table: str, *rows: dict[str, Any]) -> None:
    names = list(rows[0])
    client.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES", [[row[name] for name in names] for row in rows])


def unit(unit_id: str, parent: str, level: str) -> dict[str, Any]:
    return {"unit_id": unit_id, "parent_id": parent, "level": level, "name": f"Unit {unit_id}", "declared_at": NOW, "version": 1}


def learner(learner_id: str, class_id: str, version: int = 1, flags: tuple[tuple[str, str], ...] = (), **more: Any) -> dict[str, Any]:
    raised = NOW - timedelta(days=5)
    return {
        "programme": P,
        "learner_id": learner_id,
        "class_id": class_id,
        "mode": "online",
        "registered_at": NOW - timedelta(days=30),
        "started_at": NOW - timedelta(days=29),
        "first_active_at": NOW - timedelta(days=30),
        "last_active_at": NOW - timedelta(days=8),
        "withdrawn": 0,
        "courses_selected": 1,
        "courses_passed": 0,
        "credited_seconds": 3600,
        "study_hours_100": 100,
        "credits_100": 250,
        "result": "in_progress",
        "rules_version": 1,
        "course_id": ["c-reading"],
        "course_credited_seconds": [3600],
        **{f"course_{item}_points_100": [0] for item in ("study", "interaction", "works", "process", "exam", "gate")},
        "course_assignment_points_100": [675],
        "course_total_points_100": [675],
        "course_gate_met": [0],
        "course_exam_before_gate": [0],
        "course_passed": [0],
        "course_credits_100": [250],
        "course_last_active_at": [NOW - timedelta(days=8)],
        "course_explanation": ['{"assignments": {"points": "6.75"}}'],
        "flag_kind": [kind for kind, _ in flags],
        "flag_ref": ["" for _ in flags],
        "flag_severity": [severity for _, severity in flags],
        "flag_raised_at": [raised for _ in flags],
        "flag_owner_level": ["school" for _ in flags],
        "flag_follow_ups": [0 for _ in flags],
        "flag_last_follow_up_at": [None for _ in flags],
        "flag_last_outcome": ["" for _ in flags],
        "updated_at": NOW,
        "log_partition": 0,
        "log_offset": 0,
        "version": version,
        "is_deleted": 0,
        **more,
    }


def reminder(reminder_id: str, learner_id: str, due_at: datetime, severity: str = "warning", offset: int = 0) -> dict[str, Any]:
    raised = NOW - timedelta(days=5)
    return {
        "reminder_id": reminder_id,
        "programme": P,
        "learner_id": learner_id,
        "kind": "inactive",
        "ref": "",
        "severity": severity,
        "raised_at": raised,
        "flag_kind": ["inactive"],
        "flag_ref": [""],
        "flag_severity": [severity],
        "flag_raised_at": [raised],
        "due_at": due_at,
        "log_partition": 0,
        "log_offset": offset,
    }


def delivered(learner_id: str, reminder_id: str, at: datetime, kind: str = "delivered") -> dict[str, Any]:
    return {
        "programme": P,
        "learner_id": learner_id,
        "source": "/platforms/sms",
        "event_id": f"{kind}-{reminder_id}-{at.timestamp()}",
        "digest": "d",
        "type": f"chalkstream.reminder.{kind}.v1",
        "course_id": "",
        "time": at,
        "ingested_at": at,
        "data": json.dumps({"reminder_id": reminder_id, "channel": "sms"}),
        "log_partition": 0,
        "log_offset": 7,
        "version": 1,
    }


def seed(client: Any) -> None:
    insert(
        client,
        "store.units",
        unit("p1", "", "province"),
        unit("ci1", "p1", "city"),
        unit("co1", "ci1", "county"),
        unit("co2", "ci1", "county"),
        unit("co3", "ci1", "county"),
        unit("s1", "co1", "school"),
        unit("s2", "co2", "school"),
        unit("k1", "s1", "class"),
        unit("k2", "s2", "class"),
        unit("kb", "nowhere", "class"),
    )
    insert(
        client,
        "store.progress",
        learner("l1", "k1", flags=(("inactive", "warning"),)),
        learner("l2", "k1", result="passed", credits_100=400, courses_passed=1, last_active_at=NOW - timedelta(days=1)),
        learner("l3", "k2", flags=(("inactive", "escalation"), ("not_started", "notice"))),
        learner("l4", "kx", flags=(("inactive", "notice"),)),
        learner("l5", "k1", withdrawn=1),
        learner("l6", "kb"),
    )
    insert(
        client,
        "store.days",
        *(
            {
                "programme": P,
                "learner_id": "l1",
                "day": date(2023, 7, day),
                "credited_seconds": 600,
                "active": 1,
                "log_partition": 0,
                "log_offset": day,
                "version": 1,
                "is_deleted": 0,
            }
            for day in (8, 10)
        ),
    )
    as_of = datetime(2023, 7, 10, 1, 59, tzinfo=UTC)
    insert(
        client,
        "store.watermarks",
        *({"kind": kind, "partition": 0, "applied": 40, "as_of": as_of, "version": 1} for kind in ("scoring", "activity", "directory")),
    )
    insert(client, "store.events", delivered("l1", "old", NOW - timedelta(days=10)))


def login(client: TestClient, deps: Deps, username: str) -> None:
    """As the console's login form does it, without the password (its check is slow on purpose)."""
    from starlette.requests import Request
    from starlette.responses import Response

    account = deps.identity.account(username)
    assert account is not None
    response = Response()
    scope = {"type": "http", "scheme": "http", "server": ("testserver", 80), "path": "/login", "headers": [], "query_string": b""}
    deps.sessions.start(response, account, Request(scope))
    client.cookies.clear()
    name, _, value = response.headers["set-cookie"].split(";")[0].partition("=")
    client.cookies.set(name, value)


def ids(answer: httpx.Response, name: str = "learners") -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["learner_id"] for row in answer.json()[name]]


def records(config: Settings) -> list[Any]:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=config.bootstrap, enable_auto_commit=False)
    parts = [TopicPartition("learning.activity", n) for n in range(load_topics()["learning.activity"].partitions)]
    consumer.assign(parts)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(parts)
    found: list[Any] = []
    while any(consumer.position(part) < ends[part] for part in parts):
        for batch in consumer.poll(500).values():
            found += batch
    consumer.close()
    return found


def test_needs_a_login(client: TestClient) -> None:
    client.cookies.clear()
    for path in ("/v1/programmes", "/v1/freshness", "/v1/live", f"/v1/programmes/{P}/learners", f"/v1/programmes/{P}/attention"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert client.get("/v1/freshness", headers={"authorization": "Bearer no"}).status_code == 401


def test_each_sees_its_unit_and_below(client: TestClient, deps: Deps) -> None:
    seen = {
        "prov": ["l1", "l2", "l3", "l5"],
        "east": ["l1", "l2", "l5"],
        "west": ["l3"],
        "school": ["l1", "l2", "l5"],
        "head": ["l1", "l2", "l5"],
    }
    seen |= {"all": ["l1", "l2", "l3", "l4", "l5", "l6"], "lost": []}
    for username, expected in seen.items():
        login(client, deps, username)
        assert ids(client.get(f"/v1/programmes/{P}/learners")) == expected
        for learner_id in ("l1", "l2", "l3", "l4", "l5", "l6", "nobody"):
            status = client.get(f"/v1/programmes/{P}/learners/{learner_id}").status_code
            assert status == (200 if learner_id in expected else 404)
        flagged = [i for i in ("l1", "l3", "l3", "l4") if i in expected]
        assert sorted(ids(client.get(f"/v1/programmes/{P}/attention"), "attention")) == flagged


def test_units_of_others_are_not_there(client: TestClient, deps: Deps) -> None:
    login(client, deps, "east")
    for unit_id, status in (("co1", 200), ("s1", 200), ("k1", 200), ("co2", 404), ("s2", 404), ("ci1", 404), ("p1", 404), ("none", 404)):
        for tail in ("", "/children", "/trend?days=7"):
            assert client.get(f"/v1/programmes/{P}/units/{unit_id}{tail}").status_code == status, unit_id
        for route in ("learners", "attention"):
            assert client.get(f"/v1/programmes/{P}/{route}?unit={unit_id}").status_code == status, unit_id
    assert client.get("/v1/programmes/none/units/co1").status_code == 404


def test_unit_totals_children_and_trend(client: TestClient, deps: Deps) -> None:
    login(client, deps, "prov")
    city = client.get(f"/v1/programmes/{P}/units/ci1").json()
    assert {k: city[k] for k in ("learners", "registered", "started", "active_7d", "passed", "failed", "open_flags", "mean_credits")} == {
        "learners": 3, "registered": 3, "started": 3, "active_7d": 1, "passed": 1, "failed": 0, "open_flags": 3, "mean_credits": "3.00",
    }  # fmt: skip
    assert city["as_of"] == "2023-07-10T01:59:00.000Z"
    assert [u["unit_id"] for u in city["path"]] == ["p1", "ci1"]
    children = client.get(f"/v1/programmes/{P}/units/ci1/children").json()["children"]
    assert [(c["unit_id"], c["learners"], c["flags"]) for c in children] == [
        ("co1", 2, {"notice": 0, "warning": 1, "escalation": 0}),
        ("co2", 1, {"notice": 1, "warning": 0, "escalation": 1}),
    ]
    trend = client.get(f"/v1/programmes/{P}/units/co1/trend?days=3").json()["days"]
    assert [(d["day"], d["active_learners"], d["credited_seconds"]) for d in trend] == [
        ("2023-07-08", 1, 600), ("2023-07-09", 0, 0), ("2023-07-10", 1, 600),
    ]  # fmt: skip
    empty = client.get(f"/v1/programmes/{P}/units/co3").json()
    assert (empty["learners"], empty["mean_credits"], empty["name"]) == (0, "0.00", "Unit co3")
    listed = client.get("/v1/programmes").json()
    assert P in [p["id"] for p in listed["programmes"]]
    assert [u["unit_id"] for u in listed["units"]] == ["p1"]
    assert listed["as_of"]


def test_filters_and_search(client: TestClient, deps: Deps) -> None:
    login(client, deps, "prov")
    base = f"/v1/programmes/{P}/learners"
    assert ids(client.get(base, params={"result": "passed"})) == ["l2"]
    assert ids(client.get(base, params={"flag": "inactive"})) == ["l1", "l3"]
    assert ids(client.get(base, params={"unit": "co1", "withdrawn": "false"})) == ["l1", "l2"]
    assert ids(client.get(base, params={"q": "王"})) == ["l1", "l3"]
    assert ids(client.get(base, params={"q": "L2"})) == ["l2"]
    assert ids(client.get(base, params={"q": "x' OR 1=1 --"})) == []
    assert ids(client.get(base, params={"sort": "-credits"}))[0] == "l2"
    rows = client.get(base, params={"q": "王小"}).json()["learners"]
    assert rows[0]["name"] == "王小明"
    assert [f["kind"] for f in rows[0]["flags"]] == ["inactive"]
    for bad in ({"result": "well"}, {"flag": "x"}, {"sort": "name; DROP"}, {"limit": "0"}, {"limit": "9999"}):
        answer = client.get(base, params=bad)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["in"] == "query"
    # what was typed may be a name: the server's log of queries does not have it
    ch = connect(deps.settings.clickhouse)
    ch.execute("SYSTEM FLUSH LOGS")
    if ch.execute("EXISTS TABLE system.query_log")[0][0]:
        assert ch.execute(
            "SELECT count() FROM system.query_log WHERE query LIKE concat('%', %(a)s, %(b)s, '%')", {"a": "王", "b": "小"}
        ) == [(0,)]
    # q finds nobody of another county by name
    login(client, deps, "west")
    assert ids(client.get(base, params={"q": "王"})) == ["l3"]


@pytest.mark.parametrize("sort", ["learner_id", "-learner_id", "last_active_at", "-credits", "result", "-registered_at"])
def test_pages_give_everybody_once(client: TestClient, deps: Deps, sort: str) -> None:
    login(client, deps, "all")
    base = f"/v1/programmes/{P}/learners"
    whole = ids(client.get(base, params={"sort": sort}))
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = client.get(base, params={"sort": sort, "limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        assert page["total"] == 6
        found += [row["learner_id"] for row in page["learners"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == whole
    assert len(set(found)) == 6


def test_attention_pages_worst_first(client: TestClient, deps: Deps) -> None:
    login(client, deps, "prov")
    base = f"/v1/programmes/{P}/attention"
    first = client.get(base, params={"limit": 2}).json()
    assert [(r["learner_id"], r["severity"], r["name"]) for r in first["attention"]] == [
        ("l3", "escalation", "王大力"),
        ("l1", "warning", "王小明"),
    ]
    rest = client.get(base, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [(r["learner_id"], r["severity"]) for r in rest["attention"]] == [("l3", "notice")]
    assert rest["next_cursor"] is None
    assert ids(client.get(base, params={"kind": "inactive", "severity": "warning", "owner": "school"}), "attention") == ["l1"]
    for cursor in ("zzz", "W10", first["next_cursor"][:-3], "WyJhdHRlbnRpb24iLCJ4IiwxLCJsMSIsImsiLCIiXQ"):
        assert client.get(base, params={"cursor": cursor}).status_code == 400


def test_one_learner(client: TestClient, deps: Deps) -> None:
    login(client, deps, "head")
    row = client.get(f"/v1/programmes/{P}/learners/l1").json()
    assert (row["name"], row["credits"], row["withdrawn"], row["study_hours"]) == ("王小明", "2.50", False, "1.00")
    assert row["courses"][0]["assignment_points"] == "6.75"
    assert row["courses"][0]["explanation"] == {"assignments": {"points": "6.75"}}
    assert [u["unit_id"] for u in row["path"]] == ["p1", "ci1", "co1", "s1", "k1"]
    assert [d["day"] for d in row["days"]] == ["2023-07-08", "2023-07-10"]
    assert row["timeline"][0]["type"] == "reminder.delivered"
    assert row["flags"][0]["raised_at"] == "2023-07-05T02:00:00.000Z"
    assert row["registered_at"] == "2023-06-10T02:00:00.000Z"


FOLLOW_UP = {"learners": ["l1"], "flag": "inactive", "channel": "phone", "outcome": "promised", "note": "will study"}


def test_follow_ups_become_facts(client: TestClient, deps: Deps, config: Settings) -> None:
    login(client, deps, "east")
    path = f"/v1/programmes/{P}/attention/follow-ups"
    many = {**FOLLOW_UP, "learners": ["l1", "l2", "l1"]}
    one = client.post(path, json=FOLLOW_UP, headers={**ORIGIN, "Idempotency-Key": "key-1"})
    assert one.status_code == 202, one.text
    assert one.json()["items"] == [{"learner_id": "l1", "id": "key-1", "status": "accepted"}]
    both = client.post(path, json=many, headers={**ORIGIN, "Idempotency-Key": "k" * 128})
    again = client.post(path, json=many, headers={**ORIGIN, "Idempotency-Key": "k" * 128})
    assert [i["id"] for i in both.json()["items"]] == [i["id"] for i in again.json()["items"]]
    assert len({i["id"] for i in both.json()["items"]}) == 2
    found = records(config)
    events = [read_record(r.key, r.value, r.timestamp, r.partition, 4) for r in found]
    assert all(not isinstance(e, list) for e in events), events
    mine = [e for e in events if e.source == "/chalkstream/reporting" and e.type == "chalkstream.follow_up.recorded.v1"]
    assert len({(e.id, e.digest) for e in mine}) == 3  # sent five times, three facts
    assert {e.data.staff_id for e in mine} == {"east"}
    assert all(len(e.id) <= 128 for e in mine)
    for name, offset in {**one.json()["applied"], **again.json()["applied"]}.items():
        assert max(r.offset for r in found if name == f"learning.activity:{r.partition}") + 1 >= offset


def test_follow_ups_refused(client: TestClient, deps: Deps, config: Settings) -> None:
    login(client, deps, "east")
    path = f"/v1/programmes/{P}/attention/follow-ups"
    before = len(records(config))

    def status(body: dict[str, Any], **headers: str) -> int:
        return client.post(path, json=body, headers={**ORIGIN, "Idempotency-Key": "refused", **headers}).status_code

    assert status({**FOLLOW_UP, "learners": ["l1", "l3"]}) == 404
    assert status({**FOLLOW_UP, "outcome": "well"}) == 422
    assert status({**FOLLOW_UP, "note": "x" * 501}) == 422
    assert status({**FOLLOW_UP, "more": 1}) == 422
    assert status({**FOLLOW_UP, "staff_id": "somebody-else"}) == 403
    assert status({**FOLLOW_UP, "learners": []}) == 422
    assert status(FOLLOW_UP, origin="http://evil.example") == 403
    assert client.post(path, json=FOLLOW_UP, headers={"Idempotency-Key": "x"}).status_code == 403
    assert client.post(path, json=FOLLOW_UP, headers=ORIGIN).status_code == 400
    assert status(FOLLOW_UP, **{"Idempotency-Key": "y" * 129}) == 400
    assert client.post(path.replace(P, "none"), json=FOLLOW_UP, headers={**ORIGIN, "Idempotency-Key": "z"}).status_code == 404
    client.post(path, json=FOLLOW_UP, headers={**ORIGIN, "Idempotency-Key": "taken"})
    assert status({**FOLLOW_UP, "note": "other"}, **{"Idempotency-Key": "taken"}) == 409
    assert len(records(config)) == before + 1


def bearer(deps: Deps, unit_id: str = "*", roles: tuple[str, ...] = ("reminders",)) -> dict[str, str]:
    token, _ = deps.tokens.issue("reporting", unit_id=unit_id, roles=list(roles))
    return {"authorization": f"Bearer {token}"}


def test_ingest_tokens_and_roles(client: TestClient, deps: Deps) -> None:
    client.cookies.clear()
    token, _ = deps.tokens.issue("ingest", sources=["*"], programmes=["*"])
    assert client.get("/v1/programmes", headers={"authorization": f"Bearer {token}"}).status_code == 401
    assert ids(client.get(f"/v1/programmes/{P}/learners", headers=bearer(deps, "co2", ()))) == ["l3"]
    assert client.post("/v1/reminders:lease", json={"limit": 1}, headers=bearer(deps, "*", ())).status_code == 403
    login(client, deps, "all")
    assert client.post("/v1/reminders:lease", json={"limit": 1}, headers=ORIGIN).status_code == 403


def at(clock: str) -> Clock:
    return parse_clock(f"{clock}@0/2026-01-01T00:00:00Z")


def test_reminders(client: TestClient, deps: Deps, config: Settings) -> None:
    """Limits, leases, retries and the log's word, in one story (the desk's clock is moved by hand)."""
    client.cookies.clear()
    ch = connect(config.clickhouse)
    insert(
        ch,
        "store.reminders",
        reminder("r1", "l1", NOW - timedelta(hours=3), offset=1),
        reminder("r1b", "l1", NOW - timedelta(hours=1), offset=2),  # the latest counts
        reminder("r2", "l2", NOW - timedelta(hours=1)),  # passed
        reminder("r3", "l3", NOW - timedelta(hours=1), "escalation"),
        reminder("r4", "l4", NOW - timedelta(hours=1), "notice"),
        reminder("r5", "l5", NOW - timedelta(hours=1)),  # withdrawn
        reminder("r6", "l6", NOW - timedelta(hours=1)),  # no flag is open
    )
    headers = bearer(deps)

    def lease(limit: int = 50, **how: Any) -> list[str]:
        answer = client.post("/v1/reminders:lease", json={"limit": limit, "lease_seconds": 600}, headers=how.get("headers", headers))
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["reminders"]]

    def clock(moment: str) -> None:
        for thing in (deps.reminders, deps.facts):
            thing._clock = at(moment)  # type: ignore[attr-defined]
        deps.reminders._waits.clear()

    clock("2023-07-10T21:00:00+08:00")  # quiet
    assert lease() == []
    clock("2023-07-11T07:59:59+08:00")
    assert lease() == []
    clock("2023-07-11T08:00:00+08:00")
    assert lease(headers=bearer(deps, "co2")) == ["r3"]  # another county's are not handed out
    first = client.post("/v1/reminders:lease", json={"limit": 1, "lease_seconds": 600}, headers=headers).json()["reminders"]
    assert [(r["id"], r["learner_id"], r["contact"]["phone"], r["flags"][0]["kind"]) for r in first] == [("r1b", "l1", "139", "inactive")]
    assert lease() == ["r4"]
    assert lease() == []

    # r3's lease belongs to a token of another unit; a stranger's word about it does not count
    assert client.post("/v1/reminders/r3:delivered", json={"channel": "sms"}, headers=bearer(deps, "co1")).status_code == 404
    assert client.post("/v1/reminders/nope:delivered", json={"channel": "sms"}, headers=headers).status_code == 404
    assert client.post("/v1/reminders/r1b:delivered", json={"channel": "pigeon"}, headers=headers).status_code == 422
    done = client.post("/v1/reminders/r1b:delivered", json={"channel": "sms"}, headers=headers)
    assert done.status_code == 202
    assert done.json()["applied"]
    again = client.post("/v1/reminders/r1b:delivered", json={"channel": "sms"}, headers=headers)
    assert again.json()["fact_id"] == done.json()["fact_id"]
    for reason in ("no such number",):
        assert client.post("/v1/reminders/r4:failed", json={"channel": "sms", "reason": reason}, headers=headers).status_code == 202
    clock("2023-07-11T08:59:59+08:00")  # r3's lease has run out; r4 waits for its hour; r1b is done
    assert lease() == ["r3"]
    for n in range(2, 5):
        clock(f"2023-07-11T{7 + n:02}:00:01+08:00")
        assert "r4" in lease()
        failed = client.post("/v1/reminders/r4:failed", json={"channel": "sms", "reason": "again"}, headers=headers)
        assert failed.status_code == 202, failed.text
    clock("2023-07-11T20:00:00+08:00")
    assert "r4" not in lease()  # given up

    # a new reminder for l1: least_days_between after the last delivery, and the log's word counts too
    insert(ch, "store.reminders", reminder("r1c", "l1", datetime(2023, 7, 12, tzinfo=UTC), offset=3))
    clock("2023-07-14T07:59:59+08:00")
    assert "r1c" not in lease()
    insert(ch, "store.events", delivered("l1", "elsewhere", datetime(2023, 7, 12, 2, tzinfo=UTC)))
    clock("2023-07-14T08:00:00+08:00")
    assert "r1c" not in lease()
    clock("2023-07-15T10:00:00+08:00")
    assert "r1c" in lease()
    found = [read_record(r.key, r.value, r.timestamp, r.partition, 4) for r in records(config)]
    kinds = [e.type for e in found if not isinstance(e, list) and "reminder" in e.type]
    assert kinds.count("chalkstream.reminder.failed.v1") == 4
    assert not [e for e in found if isinstance(e, list)]
    clock("2023-07-10T10:00:00+08:00")


def test_two_leasers_share_nothing(client: TestClient, deps: Deps, config: Settings) -> None:
    client.cookies.clear()
    ch = connect(config.clickhouse)
    many = [f"m{n:03}" for n in range(120)]
    insert(ch, "store.progress", *(learner(name, "kb", flags=(("inactive", "warning"),)) for name in many))
    insert(ch, "store.reminders", *(reminder(f"rem-{name}", name, NOW) for name in many))
    headers = bearer(deps)

    def lease(_: int) -> list[str]:
        answer = client.post("/v1/reminders:lease", json={"limit": 20, "lease_seconds": 600}, headers=headers)
        return [row["id"] for row in answer.json()["reminders"] if row["id"].startswith("rem-")]

    with ThreadPoolExecutor(4) as pool:
        handed = [reminder_id for part in pool.map(lease, range(10)) for reminder_id in part]
    assert len(handed) == len(set(handed)) == 120


def test_freshness_and_operation(client: TestClient, deps: Deps) -> None:
    login(client, deps, "prov")
    relations = {row["relation"]: row for row in client.get("/v1/freshness").json()["relations"]}
    assert relations["learner_progress"]["applied"]["learning.activity:0"] == 40
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    metrics = client.get("/metrics").text
    assert "chalk_reporting_requests_total" in metrics
    assert "l1" not in metrics
    assert "/v1/programmes/{programme}/learners/{learner_id}" in metrics
    spec = client.get("/openapi.json").json()
    assert "/v1/reminders:lease" in spec["paths"]
    page = client.get("/docs").text
    assert "//" not in page.replace("http://www.w3.org", "").split("<script")[1].split("</script>")[0]
    assert client.get("/docs/assets/swagger-ui-bundle.js").status_code == 200


def test_live_stream_and_graceful_stop(config: Settings, deps: Deps) -> None:
    """The real process: a page hears of news within moments, and a stop ends open streams."""
    token = bearer(deps, "co1", ())
    base = f"http://127.0.0.1:{config.reporting_port}"
    process = subprocess.Popen([sys.executable, "-m", "services.reporting"], env=environment(config), cwd=ROOT)
    try:
        for _ in range(100):
            try:
                if httpx.get(f"{base}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        with httpx.stream("GET", f"{base}/v1/live", headers=token, timeout=20) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = (line for line in stream.iter_lines() if line.startswith("data:"))
            first = json.loads(next(lines)[5:])
            assert set(first) == {"as_of", "applied", "lag_seconds"}
            later = datetime(2023, 7, 10, 1, 59, 30, tzinfo=UTC)
            rows = [{"kind": k, "partition": 0, "applied": 41, "as_of": later, "version": 2} for k in ("scoring", "activity", "directory")]
            insert(connect(config.clickhouse), "store.watermarks", *rows)
            second = json.loads(next(lines)[5:])
            assert second["applied"]["learning.activity:0"] == 41
            assert second["as_of"] == "2023-07-10T01:59:30.000Z"
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert list(lines) == []
        assert process.wait(10) in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 6
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_away_is_503(config: Settings, tmp_path: Path) -> None:
    gone = config.model_copy(update={"data": tmp_path, "clickhouse_port": free_ports(1)[0]})
    publisher = Publisher(config.bootstrap)
    made = build_deps(gone, parse_clock(CLOCK), load_programmes(config.programmes), publisher)
    made.identity.put_account("all", "correct horse", "all", "*")
    with TestClient(build_app(made, lambda: True)) as client:
        login(client, made, "all")
        answer = client.get(f"/v1/programmes/{P}/learners")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/readyz").json()["missing"] == ["clickhouse"]
    publisher.close()
