"""A learner's account as answered and as shown: every reason has its words, sums stand in the page, and what differs is said."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from account_world import CHOSEN, LIVES, MOMENTS, PROGRAMMES, at, event, records, study
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings

from schemas.programme import Programme
from schemas.reading import Event, content
from services.reporting.api import explain_routes, problems
from services.reporting.api.explain import Explained, explain
from services.reporting.api.explain_wire import account_row, differences, moment
from services.reporting.api.pool import Unavailable
from services.reporting.api.responses import dump
from services.reporting.api.scope import NotVisible, Scope
from services.reporting.identity.sessions import Sessions
from services.reporting.identity.store import IdentityStore, Person
from services.reporting.web import mount, pages
from services.reporting.web.context import Seen
from services.reporting.web.explain import course_view, whole_view
from services.reporting.web.texts import TEXTS, Translator
from services.scoring.core.account.whole import account
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from services.shared.clock import parse_clock
from services.shared.settings import ROOT

CODES = {key.removeprefix("code.") for key in TEXTS if key.startswith("code.")}
NOW = "2023-06-09 12:00"
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

EVENTS = [
    event("learner.registered", "2023-06-02 09:00", class_id="k1", mode="online"),
    event("course.selected", "2023-06-02 09:00", course_id="c1"),
    study("c1", "2023-06-03", "10:00", "10:20"),
    study("c2", "2023-06-03", "10:10", "10:30"),
    event("post.published", "2023-06-04 10:00", course_id="c1", post_id="x", kind="reply"),
    event("assignment.graded", "2023-06-04 11:00", course_id="c1", assignment_id="a", score="0.9", grader_id="t"),
    event("exam.marked", "2023-06-05 11:00", course_id="c1", attempt_id="1", form="online", score="0.8", sat_at="2023-06-05 10:00"),
]


def seen(programme: Programme, language: Any, now: int) -> Seen:
    return Seen(None, None, None, Translator(language), Scope("k1"), programme, "k1", now)  # type: ignore[arg-type]


def published(programme: Programme, events: list[Event], now: int) -> dict[str, Any]:
    """The rows of the marts for what the core publishes after these events."""
    learner = Learner.new("L1")
    fold(programme, learner, [fact_of(e) for e in events])
    row = evaluate(programme, learner, now).progress
    texts = ("total_points", "credits")
    courses = [
        {"course_id": c.course_id, "credited_seconds": c.credited_seconds, "passed": c.passed, **{n: Decimal(getattr(c, n)) for n in texts}}
        for c in row.courses
    ]
    flags = [
        {
            "kind": f.kind,
            "ref": f.ref,
            "severity": f.severity,
            "owner_level": f.owner_level,
            "raised_at": datetime.fromisoformat(f.raised_at),
        }
        for f in row.flags
    ]
    return {
        "learner_id": "L1", "mode": row.mode, "result": row.result, "credited_seconds": row.credited_seconds, "withdrawn": row.withdrawn,
        "credits": Decimal(row.credits), "rules_version": row.rules_version, "courses": courses, "flags": flags,
        "as_of": moment(now), "updated_at": moment(now - 1000), "path": [], "class_id": row.class_id,
    }  # fmt: skip


# -- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("programme", PROGRAMMES.values(), ids=PROGRAMMES)
@QUICK
@given(events=LIVES, now=MOMENTS)
def test_every_account_can_be_told_in_both_languages_and_as_json(programme: Programme, events: list[Event], now: int) -> None:
    found = account(programme, "L1", records(events), now)
    told = Explained(found, published(programme, events, now), datetime(2023, 6, 9, tzinfo=UTC), "", [])
    codes = {why.code for part in found.items for line in part.lines for why in line.why}
    codes |= {why.code for course in found.courses for part in course.items for line in part.lines for why in line.why}
    assert codes <= CODES
    json.loads(dump(account_row(programme, found)))
    assert differences(found, told.published) == []
    for language in ("zh", "en"):
        look = seen(programme, language, now)
        views = [whole_view(look, told), *(course_view(look, told, course) for course in found.courses)]
        text = json.dumps(views, ensure_ascii=False, default=str)
        assert not re.search(r"\{\w*\}", text.replace("{}", "")), "a placeholder is left"
        for code in codes:
            assert f'"{code}"' not in text
        if language == "en":
            assert not re.search(r"[\u4e00-\u9fff]", text.replace("一", "").replace("二", "").replace("研", "").replace("闲", ""))


def test_the_contract_names_every_reason() -> None:
    page = (ROOT / "docs" / "contracts.md").read_text()
    section = page[page.index("### Why a fact counts or not") :]
    section = section[: section.index("\n## ")]
    listed = set(re.findall(r"^\| (`[a-z_`, ]+) \|", section, re.MULTILINE))
    assert {code for cell in listed for code in re.findall(r"`([a-z_]+)`", cell)} == CODES


# -- pages ------------------------------------------------------------------------------------------------------------


class Marts:
    """Stands in for `Queries`: one learner, whose events lie in `marts.events`, and totals that may lag behind them."""

    def __init__(self) -> None:
        self.shown = published(CHOSEN, EVENTS, at(NOW))
        self.applied = {"events": 9, "learner_progress": 9}
        self.pool = self

    def rows(self, sql: str, params: Any) -> list[dict[str, Any]]:
        assert "marts.events" in sql
        assert params == {"p": "acc", "learner": "L1"}
        return [
            {
                "event_id": e.id, "source": e.source, "type": e.type, "time_ms": e.time_ms, "ingested_ms": e.time_ms, "partition": 2,
                "offset": n, "data": json.dumps(json.loads(content(e))["data"]),
            }
            for n, e in enumerate(EVENTS)
        ]  # fmt: skip

    def programme(self, programme: str) -> Programme:
        if programme != "acc":
            raise NotVisible(programme)
        return CHOSEN

    def learner(self, programme: str, scope: Scope, learner_id: str) -> dict[str, Any]:
        if learner_id != "L1" or scope.unit_id != "k1":
            raise NotVisible(learner_id)
        return self.shown

    def freshness(self) -> dict[str, Any]:
        return {name: {"applied": {"learning.activity:2": n}} for name, n in self.applied.items()}

    def as_of(self, *_: str) -> datetime:
        return datetime(2023, 6, 9, 4, 0, tzinfo=UTC)

    def unit_path(self, unit_id: str) -> list[dict[str, Any]]:
        return [{"unit_id": "k1", "name": "班", "level": "class", "parent_id": ""}]


class Sums:
    def __init__(self, queries: Any) -> None: ...

    def inhabited(self, unit_id: str) -> set[str]:
        return {"acc"}

    def open_counts(self, *_: Any) -> list[dict[str, Any]]:
        return []


@pytest.fixture
def marts() -> Marts:
    return Marts()


@pytest.fixture
def client(tmp_path: Path, marts: Marts, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    identity = IdentityStore(f"sqlite:///{tmp_path}/identity.db")
    identity.put_people([Person("L1", "刘敏<script>")])
    identity.put_account("one", "secret-pass", "管理员", "k1")
    identity.put_account("other", "secret-pass", "管理员", "k2")
    monkeypatch.setattr(pages, "Figures", Sums)
    monkeypatch.setattr(pages, "OneLook", lambda queries: queries)
    monkeypatch.setattr(explain_routes, "OneLook", lambda queries: queries)
    app = FastAPI()
    app.state.deps = deps = SimpleNamespace(
        queries=marts, identity=identity, sessions=Sessions("key", identity), programmes={"acc": CHOSEN},
        clock=parse_clock("2023-06-09T12:00:00+08:00@0/2026-01-01T00:00:00Z"), settings=SimpleNamespace(data=tmp_path),
    )  # fmt: skip
    problems.install(app)
    app.include_router(explain_routes.router)
    mount(app, deps)  # type: ignore[arg-type]
    yield TestClient(app, headers={"origin": "http://testserver", "accept": "text/html"}, follow_redirects=False)
    identity.close()


def enter(client: TestClient, username: str = "one") -> TestClient:
    assert client.post("/login", data={"username": username, "password": "secret-pass"}).status_code == 303
    return client


def test_a_course_shows_its_sum_its_reasons_and_what_is_enough(client: TestClient) -> None:
    page = enter(client).get("/p/acc/learners/L1/explain?course=c1&lang=").text
    text = re.sub(r"<[^>]+>", " ", page)
    assert "0.00 + 6.75 + 1.50 + 0.00 + 0.00 = 8.25" in text
    assert "考试门槛未达，成绩保留，达到后即计入" in text
    assert "15.75 分" in text  # to the gate of 24
    assert "20 分 0 秒" in text
    assert "与公布的数字一致" in text
    assert "<script>alert" not in page
    assert "刘敏&lt;script&gt;" in page


def test_the_learner_as_a_whole_and_records_on_other_courses(client: TestClient) -> None:
    client.cookies.set("chalk_language", "en")
    page = enter(client).get("/p/acc/learners/L1/explain").text
    assert "Every selected course passed" in page
    assert "/p/acc/learners/L1/explain?course=c2" in page
    other = enter(client).get("/p/acc/learners/L1/explain?course=c2").text
    assert "This course is not selected" in other
    assert "10 min 0 s of it are counted for study at the same time" in other


def test_only_the_body_is_in_a_fragment_and_others_see_nothing(client: TestClient) -> None:
    assert client.get("/p/acc/learners/L1/explain", headers={"x-fragment": "account"}).status_code == 401
    part = enter(client).get("/p/acc/learners/L1/explain?course=c1", headers={"x-fragment": "account"}).text
    assert "<html" not in part
    assert 'class="card acct-body"' in part
    for path, status in (("L1/explain?course=none", 404), ("L2/explain", 404)):
        assert client.get(f"/p/acc/learners/{path}").status_code == status
        assert client.get(f"/v1/programmes/acc/learners/{path}").status_code == status
    assert enter(client, "other").get("/p/acc/learners/L1/explain").status_code == 404


def test_figures_that_lag_are_named_and_the_newer_one_too(client: TestClient, marts: Marts) -> None:
    marts.shown, marts.applied["learner_progress"] = published(CHOSEN, EVENTS[:-2], at(NOW)), 7
    answer = enter(client).get("/v1/programmes/acc/learners/L1/explain").json()
    assert (answer["agrees"], answer["newer"]) == (False, "account")
    told = {(row["course_id"], row["column"]): (row["account"], row["published"]) for row in answer["differences"]}
    assert told["c1", "total_points"] == ("8.25", "1.50")
    assert answer["courses"][0]["total_points"] == "8.25"
    client.cookies.set("chalk_language", "en")
    page = client.get("/p/acc/learners/L1/explain?course=c1").text
    assert "total points: 8.25 here, 1.50 published" in page
    assert "This account is the newer one" in page
    marts.applied["learner_progress"] = 10
    assert "The published figures are newer" in client.get("/p/acc/learners/L1/explain?course=c1").text


def test_a_crowd_of_requests_is_turned_away_not_queued_for_ever(marts: Marts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.reporting.api.explain.WAIT_SECONDS", 0.01)
    held = threading.BoundedSemaphore(1)
    held.acquire()
    monkeypatch.setattr("services.reporting.api.explain._turns", held)
    with pytest.raises(Unavailable):
        explain(marts, CHOSEN, Scope("k1"), "L1", None, at(NOW))  # type: ignore[arg-type]
    held.release()
    assert explain(marts, CHOSEN, Scope("k1"), "L1", None, at(NOW)).differences == []  # type: ignore[arg-type]
    assert held.acquire(timeout=0.01), "a turn was given back"
