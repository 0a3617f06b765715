"""The console without servers: texts in both languages, sentences, shapes, logins, and pages with made-up rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from schemas.programme import load_programmes
from services.reporting.api import problems
from services.reporting.api.figures import needed_seconds
from services.reporting.api.queries import NotVisible, Page
from services.reporting.api.scope import Scope
from services.reporting.identity.sessions import Sessions
from services.reporting.identity.store import IdentityStore, Person
from services.reporting.web import calendar, learner, mount, pages
from services.reporting.web.attention import tally
from services.reporting.web.context import Seen, address, latest
from services.reporting.web.say import by_hours, by_points, standing
from services.reporting.web.shapes import count, heat, heat_level, hundredths, percent, share, spark, tidy, trend
from services.reporting.web.story import story
from services.reporting.web.texts import TEXTS, Translator
from services.shared.clock import parse_clock
from services.shared.settings import ROOT

PROGRAMMES = load_programmes(ROOT / "schemas" / "programmes")
B = PROGRAMMES["zhuozhou-2023"]
A = next(p for p in PROGRAMMES.values() if not p.modes)
ZH, EN = Translator("zh"), Translator("en")
NOW = datetime(2023, 11, 23, 12, 0, tzinfo=UTC)
CLOCK = parse_clock("2023-11-23T20:00:00+08:00@0/2026-01-01T00:00:00Z")
WEB = Path(pages.__file__).parent


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


# texts


def test_every_text_is_there_in_both_languages_with_the_same_places() -> None:
    for key, pair in TEXTS.items():
        assert len(pair) == 2, key
        assert all(text.strip() for text in pair), key
        if not key.startswith("month"):
            assert names(pair[0]) == names(pair[1]), key


def test_every_text_that_templates_and_code_name_exists() -> None:
    named: set[str] = set()
    for path in [*WEB.glob("templates/*.html"), *WEB.glob("*.py")]:
        named |= set(re.findall(r"""\bt(?:\.html)?\(\s*f?["']([a-z0-9_.]+)["']""", path.read_text()))
    assert len(named) > 100
    groups = {key.rsplit(".", 1)[0] + "." for key in TEXTS}
    assert sorted(name for name in named if name not in TEXTS and name not in groups) == []


def test_no_chinese_outside_the_catalogue() -> None:
    for path in [*WEB.glob("templates/*.html"), *WEB.glob("static/*.js"), *(p for p in WEB.glob("*.py") if not p.name.startswith("texts"))]:
        assert not re.search(r"[\u4e00-\u9fff]", path.read_text()), path.name


def test_pages_have_nothing_inline() -> None:
    """The content policy allows neither inline script nor inline style."""
    for path in WEB.glob("templates/*.html"):
        assert not re.search(r'\sstyle="|\son[a-z]+="|<script>|<style|https?://', path.read_text()), path.name


def test_values_in_sentences_are_escaped() -> None:
    assert "<script>" not in ZH.html("overall.works", need=1, activity="<script>")


# sentences, from the worked examples of the rules


def course(**points: str) -> dict[str, Any]:
    zero = {
        f"{item}_points": Decimal("0.00") for item in ("study", "assignment", "interaction", "works", "process", "exam", "total", "gate")
    }
    row = {**zero, "course_id": "c-reading", "gate_met": False, "exam_before_gate": False, "passed": False, "credited_seconds": 0}
    return {**row, "credits": Decimal("0.00"), "explanation": {}, "last_active_at": None, **{k: Decimal(v) for k, v in points.items()}}


def said(row: dict[str, Any], t: Translator = ZH, mode: str = "online") -> str:
    sentences, _ = by_points(standing(row, B.modes[mode]), B.modes[mode], B, t)
    return re.sub("<[^>]+>", "", "".join(sentences))


def test_half_a_point_short_of_the_gate_says_what_is_enough() -> None:
    row = course(study_points="15.00", assignment_points="7.50", interaction_points="9.00", total_points="31.50", gate_points="31.50")
    row |= {
        "credited_seconds": 57_600,
        "explanation": {"items": {"assignments": {"graded": 1, "submitted": 1}, "interaction": {"questions": 4, "replies": 5}}},
    }
    text = said(row)
    assert "考试门槛 32 分，现有 31.5，还差 0.5" in text
    assert "再回复 1 个帖子，或补交 1 份作业（按满分计），即可参加考试" in text
    assert "考试得 28 分以上（满分 50）" in text


def test_two_things_together_where_none_alone_is_enough() -> None:
    row = course(interaction_points="2.00", total_points="2.00", gate_points="2.00") | {"credited_seconds": 15_840}
    assert "，并" in said(row)
    assert "再学 11.6 学时" in said(row)


def test_the_gate_is_met_and_the_exam_is_missing() -> None:
    row = course(study_points="15.00", assignment_points="14.00", interaction_points="5.00", total_points="34.00", gate_points="34.00")
    text = said(row | {"gate_met": True})
    assert "考试门槛已达（34 / 32）" in text
    assert "考试得 26 分以上" in text


def test_a_passed_course_says_so_in_either_language() -> None:
    row = course(exam_points="45.00", total_points="77.50") | {"passed": True}
    assert said(row) == "合计 77.50 分，已达合格线 60，本课程合格。"
    assert said(row, EN) == "77.50 points in all, 60 needed: this course is passed."


def test_disc_mode_after_an_exam_that_was_not_enough() -> None:
    row = course(process_points="16.00", exam_points="43.99", total_points="59.99") | {"gate_met": True}
    assert "距合格线 60 还差 0.01 分" in said(row, mode="disc")
    assert "考试得 44 分以上" in said(row, mode="disc")


def test_assignments_that_wait_for_their_grade_are_not_asked_for_again() -> None:
    row = course(study_points="15.00", total_points="15.00", gate_points="15.00")
    row |= {
        "credited_seconds": 57_600,
        "explanation": {"items": {"assignments": {"graded": 0, "submitted": 2}, "interaction": {"questions": 0, "replies": 0}}},
    }
    assert "补交" not in said(row)
    assert "2 份作业待批改" in said(row)


def test_after_the_end_nobody_is_told_what_to_do() -> None:
    row = course(study_points="15.00", assignment_points="14.00", interaction_points="5.00", total_points="34.00", gate_points="34.00")
    row |= {"gate_met": True}

    def card(now: int) -> tuple[str, str]:
        seen = Seen(None, None, None, EN, Scope("*"), B, "zhuozhou", now)  # type: ignore[arg-type]
        made = learner.course_card(seen, row, B.modes["online"])
        return made["state"], re.sub("<[^>]+>", "", " ".join(made["say"]))

    state, text = card(B.ends_ms - 1)
    assert (state, "An exam of 26 points or more" in text) == (EN("course.maysit"), True)
    short = "26 points short of the 60 needed."
    ended = f"{short} The programme has ended: only grades and marks still change this."
    assert [card(B.ends_ms), card(B.results_final_ms - 1)] == [(EN("course.open"), ended)] * 2
    assert card(B.results_final_ms) == ("Not passed", f"{short} Results are final.")
    row |= {"passed": True}
    assert card(B.results_final_ms)[0] == EN("course.passed")


def test_a_course_without_points_speaks_of_hours() -> None:
    some = next(iter(A.courses.values()))
    row = course() | {"course_id": some.id, "credited_seconds": some.seconds - 2_700}
    sentences, tone = by_hours(standing(row, None), some, A, ZH)
    assert "还差 <b>1</b> 学时" in sentences[0]
    assert tone == ""
    assert by_hours(standing(row | {"credited_seconds": some.seconds}, None), some, A, ZH)[1] == "good"


# shapes and numbers


def test_numbers_are_cut_never_rounded_up() -> None:
    assert hundredths(3169, 1) == "31.6"
    assert hundredths(99) == "0.99"
    assert hundredths(123_456) == "1,234.56"
    assert hundredths(-50) == "-0.50"
    assert tidy(2700) == "27"
    assert tidy(750) == "7.5"
    assert count(2553) == "2,553"
    assert percent(612, 2553) == "23.9%"
    assert percent(1, 0) == "0%"
    assert share(3, 2) == 100.0
    assert share(1, 0) == 0.0
    assert [heat_level(s) for s in (0, 1, 1200, 2700, 5400)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("high", [0, 3, 7, 99, 417, 50_000])
def test_a_trend_lies_inside_its_frame(high: int) -> None:
    rows = [
        {"day": date(2023, 10, 25) + timedelta(days=n), "active_learners": high * n // 29, "credited_seconds": 3600 * n} for n in range(30)
    ]
    drawn = trend(rows, EN)
    assert len(drawn["hits"]) == 30
    assert all(0 <= hit["y"] <= 296 for hit in drawn["hits"])
    assert drawn["labels"][-1]["text"] == "11-23"


def test_a_calendar_has_a_square_for_each_day_up_to_today() -> None:
    days = [
        {"day": date(2023, 11, 7), "credited_seconds": 3120, "active": True},
        {"day": date(2023, 11, 8), "credited_seconds": 0, "active": True},
    ]
    drawn = heat(days, date(2023, 6, 1), date(2023, 11, 23), ZH)
    assert len(drawn["cells"]) == (date(2023, 11, 23) - date(2023, 5, 29)).days + 1
    assert sum(cell["level"] > 0 for cell in drawn["cells"]) == 1
    assert sum(cell["act"] for cell in drawn["cells"]) == 1
    assert drawn["cells"][-1]["today"]
    assert "52 分钟" in drawn["summary"]
    assert heat([], date(2023, 6, 1), date(2023, 6, 2), ZH)["summary"] == ZH("heat.empty")


def test_sparks_and_sums() -> None:
    assert spark([0, 2, 1])["now"] == 1
    rows = [
        {"severity": "warning", "kind": "inactive", "owner_level": "school", "n": 3},
        {"severity": "notice", "kind": "behind", "owner_level": "city", "n": 2},
    ]
    assert tally(rows) == {"escalation": 0, "warning": 3, "notice": 2}
    assert tally(rows, "city")["warning"] == 0
    assert needed_seconds(B, {"c-reading": 2, "gone": 5}) == 2 * 57_600
    assert address("/p/x", unit="a b", flag="") == "/p/x?unit=a+b"
    assert latest(PROGRAMMES, []) in PROGRAMMES


# pages, with rows made up

PERSON = "t-1"
UNITS = [
    {"unit_id": "zhuozhou", "name": "涿州市", "level": "county", "parent_id": "baoding"},
    {"unit_id": "s1", "name": "东城坊中心小学", "level": "school", "parent_id": "zhuozhou"},
]
FLAG = {
    "learner_id": PERSON, "class_id": "s1-1", "school_id": "s1", "kind": "inactive", "ref": "", "severity": "escalation",
    "raised_at": NOW - timedelta(days=13),
    "owner_level": "county", "follow_ups": 1, "last_follow_up_at": NOW - timedelta(days=11), "last_outcome": "no_answer",
}  # fmt: skip

SHORT_OF_TUTORS = {
    "required": 1, "assigned": 0, "too_few": 1, "too_many": 0,
    "schools": [{"school_id": "s1", "name": "东城坊中心小学", "learners": 10, "required": 1, "assigned": 0, "breach": "too_few"}],
}  # fmt: skip


class Rows:
    """Stands in for `Queries`: one school of one learner."""

    def __init__(self) -> None:
        self.row: dict[str, Any] = {
            "learner_id": PERSON, "class_id": "s1-1", "school_id": "s1", "mode": "online",
            "registered_at": NOW - timedelta(days=170), "started_at": NOW,
            "last_active_at": NOW - timedelta(days=16), "withdrawn": False, "courses_selected": 1,
            "courses_passed": 0, "credited_seconds": 57_600, "credits": Decimal("0.00"),
            "result": "in_progress", "as_of": NOW, "path": UNITS, "flags": [FLAG],
            "courses": [course(study_points="15.00", total_points="15.00", gate_points="15.00") | {"credited_seconds": 57_600}],
        }  # fmt: skip
        self.events: list[dict[str, Any]] = []

    def programme(self, programme: str) -> Any:
        if programme not in PROGRAMMES:
            raise NotVisible(programme)
        return PROGRAMMES[programme]

    def unit_path(self, unit_id: str) -> list[dict[str, Any]]:
        return UNITS[:1] if unit_id == "zhuozhou" else UNITS if unit_id == "s1" else []

    def visible_path(self, scope: Scope, unit_id: str) -> list[dict[str, Any]]:
        if not scope.sees_unit(self.unit_path(unit_id)):
            raise NotVisible(unit_id)
        return self.unit_path(unit_id)

    def unit_names(self, ids: Any) -> dict[str, str]:
        return {unit["unit_id"]: unit["name"] for unit in UNITS}

    def as_of(self, *relations: str) -> datetime:
        return NOW

    def unit(self, programme: str, scope: Scope, unit_id: str) -> dict[str, Any]:
        path = self.visible_path(scope, unit_id)
        figures = {
            "learners": 10,
            "registered": 9,
            "started": 8,
            "active_7d": 5,
            "passed": 2,
            "failed": 0,
            "open_flags": 1,
            "credited_seconds": 300_000,
        }
        return {**figures, "unit_id": unit_id, "level": path[-1]["level"], "name": path[-1]["name"], "path": path, "as_of": NOW}

    def children(self, programme: str, scope: Scope, unit_id: str) -> Page:
        flags = {"escalation": 1, "warning": 0, "notice": 0}
        rows = [{**self.unit(programme, scope, "s1"), "flags": flags}] if unit_id == "zhuozhou" else []
        return Page(rows, NOW, len(rows))

    def trend(self, programme: str, scope: Scope, unit_id: str, days: int = 30) -> Page:
        rows = [
            {"day": date(2023, 11, 23) - timedelta(days=days - 1 - n), "active_learners": n, "credited_seconds": n * 3600}
            for n in range(days)
        ]
        return Page(rows, NOW, days)

    def severity_counts(self, *_: Any) -> dict[str, Any]:
        return {"escalation": 1, "warning": 0, "notice": 0, "learners": 1, "as_of": NOW}

    def attention(self, *_: Any, **__: Any) -> Page:
        return Page([FLAG], NOW, 1)

    def learner(self, programme: str, scope: Scope, learner_id: str) -> dict[str, Any]:
        if learner_id != PERSON:
            raise NotVisible(learner_id)
        return self.row

    def timeline(self, *_: Any) -> list[dict[str, Any]]:
        return self.events

    def days(self, *_: Any) -> list[dict[str, Any]]:
        return [{"day": date(2023, 11, 7), "credited_seconds": 3120, "active": True}]


class Sums:
    """Stands in for `Figures`."""

    def __init__(self, queries: Any) -> None:
        self.queries = queries

    def inhabited(self, unit_id: str) -> set[str]:
        return {B.id}

    def tops(self, programme: str) -> list[dict[str, Any]]:
        return [{"unit_id": "zhuozhou"}]

    def standing(self, *_: Any) -> dict[str, int]:
        return {"unregistered": 1, "unstarted": 1, "on_track": 5, "flagged": 1, "passed": 2, "failed": 0}

    def needed(self, *_: Any) -> dict[str, int]:
        return {"": 576_000, "s1": 576_000}

    def sparks(self, programme: str, unit_id: str, level: str, last: date) -> dict[str, list[int]]:
        return {"s1": [1] * 14}

    def rows(self, *_: Any) -> dict[str, Any]:
        return {PERSON: self.queries.row}

    def selected(self, *_: Any) -> dict[str, list[str]]:
        return {PERSON: ["c-reading"]}

    def open_counts(self, *_: Any) -> list[dict[str, Any]]:
        return [{"severity": "escalation", "kind": "inactive", "owner_level": "county", "n": 1}]

    def learners(self, *_: Any) -> Page:
        return Page([{**self.queries.row, "flags": [FLAG]}], NOW, 1, "next-one")


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def deps(tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    identity = IdentityStore(f"sqlite:///{tmp_path}/identity.db")
    identity.put_people([Person(PERSON, "刘敏<script>alert(1)</script>", "13800000000")])
    identity.put_account("zz", "secret-pass", "王管理员", "zhuozhou")
    monkeypatch.setattr(pages, "Figures", Sums)
    monkeypatch.setattr(pages, "OneLook", lambda queries: queries)
    monkeypatch.setattr(calendar, "staffing", lambda *_: SHORT_OF_TUTORS)
    yield SimpleNamespace(
        queries=rows,
        identity=identity,
        sessions=Sessions("key", identity),
        programmes=PROGRAMMES,
        clock=CLOCK,
        settings=SimpleNamespace(data=tmp_path),
    )
    identity.close()


@pytest.fixture
def client(deps: Any) -> TestClient:
    app = FastAPI()
    app.state.deps = deps
    problems.install(app)
    mount(app, deps)
    return TestClient(app, headers={"origin": "http://testserver", "accept": "text/html"}, follow_redirects=False)


@pytest.fixture
def inside(client: TestClient) -> TestClient:
    assert client.post("/login", data={"username": "zz", "password": "secret-pass"}).status_code == 303
    return client


def test_without_a_login_every_page_leads_to_the_form(client: TestClient) -> None:
    for path in ("/p/zhuozhou-2023", "/p/zhuozhou-2023/units/zhuozhou", "/p/zhuozhou-2023/attention", "/p/zhuozhou-2023/learners/t-1"):
        answer = client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login")
    assert client.get("/p/zhuozhou-2023/attention", headers={"x-fragment": "page"}).status_code == 401


def test_login_and_logout(client: TestClient) -> None:
    form = client.get("/login")
    assert "default-src 'none'" in form.headers["content-security-policy"]
    assert "unsafe-inline" not in form.headers["content-security-policy"]
    assert client.post("/login", data={"username": "zz", "password": "wrong"}).status_code == 401
    assert client.post("/login", data={"username": "zz", "password": "secret-pass"}, headers={"origin": "http://evil"}).status_code == 403
    answer = client.post("/login", data={"username": "zz", "password": "secret-pass", "next": "//evil.example/"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert client.get("/").headers["location"] == "/p/zhuozhou-2023"
    assert client.get("/p/zhuozhou-2023").headers["location"] == "/p/zhuozhou-2023/units/zhuozhou"
    client.post("/logout")
    assert client.get("/").headers["location"] == "/login"


def test_demo_accounts_are_shown_only_where_the_demo_says_so(client: TestClient, deps: Any) -> None:
    assert "demo-pass" not in client.get("/login").text
    told = {"password": "demo-pass", "accounts": [{"username": "zz", "name": "涿州"}, {"username": "gone", "name": "不在"}]}
    (deps.settings.data / pages.DEMO_LOGINS).write_text(json.dumps(told))
    text = client.get("/login").text
    assert "demo-pass" in text
    assert 'data-fill="zz"' in text
    assert "gone" not in text


@pytest.mark.parametrize(
    "path",
    [
        "units/zhuozhou",
        "units/s1",
        "attention",
        "attention?owner=all&severity=escalation",
        "learners?q=x&state=flagged",
        "learners/t-1",
        "catalogue",
    ],
)
def test_pages_in_both_languages_with_the_moment_they_speak_of(inside: TestClient, path: str) -> None:
    chinese = inside.get(f"/p/zhuozhou-2023/{path}")
    assert chinese.status_code == 200
    assert "数据截至 2023-11-23 20:00:00" in chinese.text
    assert 'lang="zh-CN"' in chinese.text
    assert inside.get(f"/p/zhuozhou-2023/{path}{'&' if '?' in path else '?'}lang=en").headers["location"] == f"/p/zhuozhou-2023/{path}"
    english = inside.get(f"/p/zhuozhou-2023/{path}")
    assert "Data as of 2023-11-23 20:00:00" in english.text
    assert 'lang="en"' in english.text
    page = english.text[english.text.index("<main") : english.text.index("</main>")]
    for text in ("涿州市", "东城坊中心小学", "刘敏", "　"):
        page = page.replace(text, "")
    assert not re.search(r"[\u4e00-\u9fff]", re.sub('title="[^"]*"', "", page).replace("中文", "")), re.findall(r"[\u4e00-\u9fff]+", page)


def test_the_overview_says_what_comes_next_and_which_tutors_are_missing(inside: TestClient) -> None:
    text = inside.get("/p/zhuozhou-2023/units/zhuozhou").text
    assert "下一期限 11-30 作业：班级管理与学生心理（7 天）" in text
    assert "辅导教师 已聘 0 人，应聘 1 人" in text
    assert "1 所学校不足" in text
    assert 'href="/p/zhuozhou-2023/calendar?unit=zhuozhou#tutors"' in text


def test_names_are_escaped_and_only_the_page_is_in_a_fragment(inside: TestClient) -> None:
    whole = inside.get("/p/zhuozhou-2023/learners/t-1").text
    assert "刘敏&lt;script&gt;" in whole
    assert "<script>alert" not in whole
    assert "13800000000" in whole
    part = inside.get("/p/zhuozhou-2023/attention", headers={"x-fragment": "page"}).text
    assert part.lstrip().startswith("<main")
    assert "<header" not in part
    assert "刘敏&lt;script&gt;" in part
    assert 'data-count="1"' in part


def test_what_is_not_there_or_not_ours_is_a_page_of_404(inside: TestClient) -> None:
    for path in (
        "/p/nothing/attention",
        "/p/zhuozhou-2023/units/baoding",
        "/p/zhuozhou-2023/learners/t-2",
        "/p/zhuozhou-2023/attention?unit=baoding",
        "/p/zhuozhou-2023/calendar?unit=baoding",
        "/p/zhuozhou-2023/catalogue?unit=baoding",
    ):
        answer = inside.get(path)
        assert answer.status_code == 404
        assert ZH("error.404") in answer.text


def test_static_files_are_kept_for_ever_by_their_digest(client: TestClient) -> None:
    for name in ("console.css", "console.js", "icon.svg"):
        answer = client.get(pages.static(name))
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


def test_a_story_puts_a_days_study_together_and_skips_visits_that_say_nothing(deps: Any, rows: Rows) -> None:
    seen = Seen(deps, rows, Sums(rows), ZH, Scope("zhuozhou"), B, "zhuozhou", CLOCK.now())  # type: ignore[arg-type]

    def event(name: str, minutes: int, **data: Any) -> dict[str, Any]:
        return {"at": NOW - timedelta(minutes=minutes), "what": "event", "type": name, "course_id": data.get("course_id", ""), "data": data}

    def study(minutes: int) -> dict[str, Any]:
        began = NOW - timedelta(minutes=minutes)
        times = {"started_at": began.isoformat(), "ended_at": (began + timedelta(minutes=20)).isoformat()}
        return event("study.recorded", minutes, course_id="c-reading", **times)

    changed = {
        "at": NOW - timedelta(days=2),
        "what": "flag",
        "kind": "inactive",
        "ref": "",
        "change": "owner",
        "severity": "warning",
        "owner_level": "county",
    }
    told = story(
        seen,
        [
            event("follow_up.recorded", 1, channel="phone", outcome="no_answer", staff_id="li", note="<b>"),
            study(60),
            study(120),
            event("platform.visited", 130),
            event("post.published", 140, course_id="c-reading", kind="reply"),
            changed,
            event("something.new", 5000),
        ],
    )
    texts = [entry["text"] for entry in told]
    assert texts[0] == "电话联系：无人接听"
    assert told[0]["note"] == "<b> · 登记人 li"
    assert texts[1].startswith("学习 40 分钟，2 次")
    assert texts[2].startswith("回复：")
    assert texts[3] == "转县级负责：未学习"
    assert texts[4] == "something.new"


def test_the_learners_page_needs_no_name(deps: Any, rows: Rows) -> None:
    seen = Seen(deps, rows, Sums(rows), EN, Scope("*"), B, "zhuozhou", CLOCK.now())  # type: ignore[arg-type]
    view = learner.page(seen, PERSON)
    assert view["k"]["hours"] == "16.00"
    assert view["k"]["needed"] == "16"
    assert view["flags"][0]["badge"] == "Inactive 16 d"
    assert "so far" in view["overall"][0]["text"]
