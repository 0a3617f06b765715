"""`…/explain` on real ClickHouse: rows as the loader makes them of records, the account that the API makes of those, who may see it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from schemas.instants import rfc3339
from schemas.programme import load_programmes
from schemas.progress import encode
from schemas.reading import Event, partition_of, read_record
from services.reporting.api.explain import event_of, facts_of
from services.reporting.api.publisher import Publisher
from services.reporting.api.queries import Queries
from services.reporting.app import build_app, build_deps
from services.reporting.deps import Deps
from services.reporting.loader.activity import COLUMNS
from services.reporting.loader.rows import progress_row
from services.reporting.loader.sink import Sink
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from services.shared.clickhouse import connect
from services.shared.clock import parse_clock
from services.shared.settings import ROOT, Settings
from services.shared.tokens import TokenStore
from tests.integration.local_stack import seeded_stack
from tests.integration.test_reporting_api import insert, unit
from tests.loader_rows import row_of

pytestmark = pytest.mark.servers
P = "zhuozhou-2023"
CLOCK = "2023-07-10T10:00:00+08:00@0/2026-01-01T00:00:00Z"
NOW = datetime(2023, 7, 10, 2, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
UNITS = (
    ("p1", "", "province"), ("ci1", "p1", "city"), ("co1", "ci1", "county"), ("co2", "ci1", "county"),
    ("s1", "co1", "school"), ("s2", "co2", "school"), ("k1", "s1", "class"), ("k2", "s2", "class"),
)  # fmt: skip
PARTITIONS = 4
_offsets = iter(range(10**9))


def record(learner: str, kind: str, time: str, id: str = "", /, **data: Any) -> dict[str, Any]:
    """An event as the door writes it, local time."""
    n = next(_offsets)
    return {
        "specversion": "1.0", "id": id or f"r{n}", "source": "/platforms/jijiaowang", "type": f"chalkstream.{kind}.v1", "subject": learner,
        "time": f"2023-{time}+08:00", "programme": P, "data": data, "ingested_at": rfc3339(NOW_MS - 1000), "offset": n,
    }  # fmt: skip


def study(learner: str, course: str, day: str, start: str, end: str, id: str = "") -> dict[str, Any]:
    span = {"started_at": f"2023-{day}T{start}:00+08:00", "ended_at": f"2023-{day}T{end}:00+08:00"}
    return record(learner, "study.recorded", f"{day}T{end}:00", id, course_id=course, channel="online", **span)


def life(learner: str, class_id: str) -> list[dict[str, Any]]:
    """Half a point under the gate, with an exam sat too early; one post removed, one grade replaced, two intervals that overlap."""
    course = {"course_id": "c-reading"}
    days = [f"06-{5 + n // 16:02d}" for n in range(32)]
    slots = [(8 + n % 16 // 2, n % 2 * 30) for n in range(32)]
    whole = [
        study(learner, "c-reading", day, f"{h:02d}:{m:02d}", f"{h + (m == 30):02d}:{'00' if m else '30'}")
        for day, (h, m) in zip(days, slots, strict=True)
    ]
    posts = [
        record(
            learner, "post.published", f"06-05T09:{n:02d}:00", f"post{n}", post_id=f"p{n}", kind="question" if n < 4 else "reply", **course
        )
        for n in range(10)
    ]
    grade = {"assignment_id": "a1", "grader_id": "t", **course}
    return [
        record(learner, "learner.registered", "06-02T09:00:00", class_id=class_id, mode="online"),
        record(learner, "course.selected", "06-02T09:00:00", **course),
        *whole,
        study(learner, "c-maths", "06-05", "08:10", "08:30", "maths"),
        *posts,
        record(learner, "post.removed", "06-06T09:00:00", "gone", post_id="p9", **course),
        record(learner, "assignment.graded", "06-07T10:00:00", "first", score=0.5, **grade),
        record(learner, "assignment.graded", "06-07T11:00:00", "again", score=1, **grade),
        record(learner, "exam.marked", "06-08T10:00:00", "sat", attempt_id="1", form="online", score=0.9,
               sat_at="2023-06-08T09:00:00+08:00", **course),
    ]  # fmt: skip


def rows_of(events: list[dict[str, Any]], published: int | None = None) -> tuple[list[Any], Any]:
    """(table, row) of each event, and the row of store.progress that scoring publishes after the first `published` of them."""
    rules = load_programmes(ROOT / "schemas" / "programmes")[P]
    learner_id = events[0]["subject"]
    key = learner_id.encode()
    partition = partition_of(key, PARTITIONS)
    stored, facts = [], []
    for event in events:
        value = json.dumps({name: part for name, part in event.items() if name != "offset"}).encode()
        table, row = row_of(key, value, NOW_MS, event["offset"], PARTITIONS)
        stored.append((table, row))
        read = read_record(key, value, NOW_MS, partition, PARTITIONS)
        assert isinstance(read, Event)
        facts.append(fact_of(read))
    learner = Learner.new(learner_id)
    fold(rules, learner, facts[:published])
    progress = evaluate(rules, learner, NOW_MS - 60_000).progress
    progress.version, progress.updated_at = (1, events[-1]["offset"], 0), rfc3339(NOW_MS - 90_000)
    return stored, progress_row(f"{P}|{learner_id}".encode(), encode(progress), partition, events[-1]["offset"])


BUSY = 700


def seed(client: Any) -> None:
    insert(client, "store.units", *(unit(*one) for one in UNITS))
    sink = Sink(client, patience_seconds=10.0)
    busy = [record("t-busy", "learner.registered", "06-02T09:00:00", class_id="k1", mode="online")]
    busy.append(record("t-busy", "course.selected", "06-02T09:00:00", course_id="c-reading"))
    for n in range(BUSY):
        day, minute = divmod(n, 60)
        short = study("t-busy", "c-reading", f"06-{3 + day:02d}", f"10:{minute:02d}", f"11:{minute:02d}")
        short["data"]["ended_at"] = short["data"]["started_at"].replace(":00+", ":30+")  # thirty seconds
        busy.append(short)
    people = [
        rows_of(life("t-1", "k1")),
        rows_of(life("t-2", "k2")),
        rows_of(life("t-late", "k1"), published=20),
        rows_of(busy),
    ]
    rows: dict[str, list[Any]] = {}
    for stored, _ in people:
        for table, row in stored:
            rows.setdefault(table, []).append(row)
    sink.write(rows, {"store.progress": [row for _, row in people]})
    table, again = people[0][0][5]
    accepted = COLUMNS[table].index("ingested_ms")
    sink.write({table: [(*again[:accepted], again[accepted] + 1, *again[accepted + 1 :])]}, {})  # the same fact, accepted again later
    for kind, applied in (("scoring", 10_000), ("activity", 20_000), ("directory", 5)):
        marks = [{"kind": kind, "partition": n, "applied": applied, "as_of": NOW - timedelta(minutes=1), "version": 1} for n in range(4)]
        insert(client, "store.watermarks", *marks)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A ClickHouse of this module alone: its rows and watermarks are put in by hand."""
    with seeded_stack(tmp_path_factory.mktemp("explain"), seed, clock=CLOCK, log_level="warning") as given:
        yield given


@pytest.fixture(scope="module")
def deps(config: Settings) -> Iterator[Deps]:
    publisher = Publisher(config.bootstrap)
    yield build_deps(config, parse_clock(CLOCK), load_programmes(config.programmes), publisher)
    publisher.close()


@pytest.fixture(scope="module")
def client(deps: Deps) -> Iterator[TestClient]:
    with TestClient(build_app(deps, lambda: True)) as client:
        yield client


Headers = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def token(config: Settings) -> Iterator[Headers]:
    """Headers of a caller bound to a unit."""
    store = TokenStore(config.tokens)
    yield lambda unit_id: {"authorization": f"Bearer {store.issue('reporting', unit_id=unit_id)[0]}"}
    store.close()


def path(learner: str, **query: object) -> str:
    return f"/v1/programmes/{P}/learners/{learner}/explain?" + "&".join(f"{name}={value}" for name, value in query.items())


def item(course: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in course["items"] if one["item"] == name)


def test_each_rule_its_facts_its_points(client: TestClient, token: Headers) -> None:
    answer = client.get(path("t-1", course="c-reading"), headers=token("k1"))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["agrees"], told["differences"], told["as_of"]) == (True, [], "2023-07-10T01:59:00.000Z")
    assert told["published"]["as_of"] == "2023-07-10T01:59:00.000Z"
    assert told["rules_version"] == told["published"]["rules_version"]
    assert (told["mode"]["value"], told["mode"]["by"]) == ("online", "fact")
    (course,) = told["courses"]
    assert (course["total_points"], course["credited_seconds"], course["gate"]["points"]) == ("31.50", 57_600, "31.50")
    assert course["enough"]["gate_ways"] == [{"replies": 1}, {"assignments": 1}]
    assert (course["enough"]["exam_score"], course["enough"]["exam_kept"]) == ("0.5599", "0.9000")
    graded = {
        fact["event_id"]: (fact["counts"], fact["points"], [r["code"] for r in fact["reasons"]])
        for fact in item(course, "assignments")["facts"]
    }
    assert graded == {"first": ("no", None, ["superseded"]), "again": ("yes", "7.50", [])}
    posts = {fact["event_id"]: [r["code"] for r in fact["reasons"]] for fact in item(course, "interaction")["facts"]}
    assert (posts["post9"], posts["gone"]) == (["removed"], ["removes"])
    assert sum(float(fact["points"] or 0) for fact in item(course, "interaction")["facts"]) == 9.0
    (early,) = item(course, "exam")["facts"]
    assert (early["counts"], early["reasons"][0]["code"], early["data"]["score"]) == ("no", "before_gate", "0.9000")
    study_item = item(course, "study")
    assert sum(fact["seconds"] for fact in study_item["facts"]) == 57_600
    assert study_item["facts"][0]["data"] == {
        "course_id": "c-reading", "started_at": "2023-06-05T00:00:00.000Z", "ended_at": "2023-06-05T00:30:00.000Z", "channel": "online",
    }  # fmt: skip
    assert [flag["kind"] for flag in told["flags"]] == ["inactive"]
    assert told["result"]["passed"][0] == {"condition": "every_selected", "have": 0, "need": 1, "met": False, "of": None}


def test_a_course_not_selected_says_which_interval_took_its_seconds(client: TestClient, token: Headers) -> None:
    told = client.get(path("t-1", course="c-maths"), headers=token("s1")).json()
    (course,) = told["courses"]
    assert (course["selected"], course["total_points"], course["enough"]) == (False, "0.00", None)
    (fact,) = item(course, "study")["facts"]
    assert (fact["counts"], fact["seconds"], [reason["code"] for reason in fact["reasons"]]) == ("no", 0, ["overlapped"])
    assert {by["course_id"] for by in fact["reasons"][0]["by"]} == {"c-reading"}
    assert fact["reasons"][0]["seconds"] == 1_200


def test_all_courses_and_the_totals_of_the_published_rows(client: TestClient, token: Headers) -> None:
    told = client.get(path("t-1"), headers=token("*")).json()
    shown = client.get(f"/v1/programmes/{P}/learners/t-1", headers=token("*")).json()
    assert [(c["course_id"], c["selected"]) for c in told["courses"]] == [("c-reading", True), ("c-maths", False)]
    assert (told["credited_seconds"], told["credits"], told["result"]["value"]) == (
        shown["credited_seconds"], shown["credits"], shown["result"],
    )  # fmt: skip
    assert told["study_hours"] == shown["study_hours"]
    assert (told["first_active_at"], told["last_active_at"], told["started_at"]) == (
        shown["first_active_at"], shown["last_active_at"], shown["started_at"],
    )  # fmt: skip


def test_scope_is_that_of_the_learner_route(client: TestClient, token: Headers) -> None:
    for unit_id, status in (("co1", 200), ("s1", 200), ("k1", 200), ("p1", 200), ("*", 200), ("co2", 404), ("k2", 404), ("nowhere", 404)):
        headers = token(unit_id)
        assert client.get(f"/v1/programmes/{P}/learners/t-1", headers=headers).status_code == status
        assert client.get(path("t-1"), headers=headers).status_code == status, unit_id
        assert client.get(path("t-1", course="c-reading"), headers=headers).status_code == status, unit_id
    assert client.get(path("t-1")).status_code == 401


def test_what_is_not_there_is_a_problem(client: TestClient, token: Headers) -> None:
    headers = token("*")
    for address in (path("nobody"), path("t-1", course="c-none"), path("t-1").replace(P, "none")):
        answer = client.get(address, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), address
    for query in ({"facts": -1}, {"facts": 100_000}, {"course": "x" * 65}):
        assert client.get(path("t-1", **query), headers=headers).status_code == 422


def test_totals_that_lag_behind_are_told_apart_from_the_account(client: TestClient, token: Headers) -> None:
    """Scoring has not taken in the learner's later events yet: the account adds up by itself and says that it is the newer one."""
    told = client.get(path("t-late"), headers=token("k1")).json()
    assert (told["agrees"], told["newer"]) == (False, "account")
    found = {(one["course_id"], one["column"]): (one["account"], one["published"]) for one in told["differences"]}
    assert found["c-reading", "total_points"] == ("31.50", "0.00")
    assert found["c-reading", "credited_seconds"] == (57_600, 32_400)
    assert told["courses"][0]["total_points"] == "31.50"


def test_many_facts_are_summed_up_exactly(client: TestClient, token: Headers) -> None:
    (course,) = client.get(path("t-busy", course="c-reading", facts=25), headers=token("k1")).json()["courses"]
    found = item(course, "study")
    assert (found["facts_total"], len(found["facts"]), found["left_out"]["facts"]) == (BUSY, 25, BUSY - 25)
    assert sum(fact["seconds"] for fact in found["facts"]) + found["left_out"]["seconds"] == course["credited_seconds"] == BUSY * 30


def test_the_facts_are_the_very_events_that_were_stored(deps: Deps, config: Settings) -> None:
    """Read again from `marts.events`, every event has the digest that the loader computed from the record's own bytes."""
    queries: Queries = deps.queries
    client = connect(config.clickhouse)
    stored = client.execute(
        "SELECT source, event_id, digest, log_partition, log_offset FROM store.events FINAL WHERE learner_id = 't-1' AND programme = %(p)s",
        {"p": P},
    )
    client.disconnect()
    found = facts_of(queries, P, "t-1")
    assert len(found) == len(life("t-1", "k1"))
    assert {(one.event.source, one.event.id, one.event.digest, one.partition, one.offset) for one in found} == set(stored)
    with pytest.raises(ValueError, match="unsound"):
        event_of(
            P, "t-1",
            {"event_id": "x", "source": "/p", "type": "chalkstream.nothing.v1", "data": "{}", "time_ms": 0, "ingested_ms": 0,
             "partition": 1, "offset": 2},
        )  # fmt: skip
