"""Catalogue, deadlines, tutors without servers: what the rule files say, at their edges."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas.programme import Programme, RuleError, load_programmes, load_text
from services.reporting.api.calendar import DUE_DAYS, Deadline, deadlines, standing, upcoming
from services.reporting.api.catalogue import catalogue
from services.reporting.api.responses import plain
from services.reporting.api.scope import Scope
from services.reporting.api.staffing import breach_of
from services.reporting.web.calendar import APART, MONTH, TODAY, figures, rows_of, timeline, when
from services.reporting.web.context import Seen
from services.reporting.web.texts import Language, Translator
from services.shared.settings import ROOT

FILES = ROOT / "schemas" / "programmes"
PROGRAMMES = load_programmes(FILES)
A, B = PROGRAMMES["guopei-shaanxi-2023"], PROGRAMMES["zhuozhou-2023"]
TEXT_B = (FILES / "zhuozhou-2023.yaml").read_text()
DAY = date(2023, 10, 31)


def days_of(rules: Programme) -> dict[str, str]:
    return {one.key: one.day.isoformat() for one in deadlines(rules)}


def test_plan_as_calendar_is_the_plans_own() -> None:
    """Part 9 of the plan: survey to 15 October, trainers 30 and 31 October, registration by 7 November, study 1 November to 20 February,
    assessment to 28 February, awards to 10 March, summary to 20 March."""
    assert days_of(A) == {
        "opens": "2023-10-15", "registration": "2023-10-15", "phase:plan": "2023-10-15", "phase:trainers": "2023-10-31",
        "starts": "2023-11-01", "phase:registration": "2023-11-07", "ends": "2024-02-20", "phase:study": "2024-02-20",
        "phase:assessment": "2024-02-28", "results_final": "2024-03-10", "phase:awards": "2024-03-10", "phase:summary": "2024-03-20",
    }  # fmt: skip


def test_plan_bs_calendar_is_the_plans_own() -> None:
    """Tables by 28 May, everything done by 31 December, each school's summary within a week of the end."""
    found = days_of(B)
    assert (found["phase:rosters"], found["ends"], found["phase:summaries"]) == ("2023-05-28", "2023-12-31", "2024-01-07")
    assert {phase.id: phase.level for phase in B.phases} == {
        "rosters": "school", "registration": "learner", "study": "learner", "summaries": "school",
    }  # fmt: skip
    assert {key for key, day in found.items() if key.startswith("assignments:") and day == "2023-10-31"} == {
        f"assignments:c-{name}" for name in ("reading", "writing", "maths", "english", "science")
    }


@pytest.mark.parametrize("rules", [A, B], ids=["A", "B"])
def test_deadlines_stand_in_order_of_time_and_each_has_a_key_of_its_own(rules: Programme) -> None:
    found = deadlines(rules)
    assert [one.day for one in found] == sorted(one.day for one in found)
    assert len({one.key for one in found}) == len(found)
    for before, after in pairwise(found):
        assert before.day < after.day or before.begins or not after.begins


def test_a_programme_without_the_rules_has_no_such_deadlines() -> None:
    kinds = {one.kind for one in deadlines(A)}
    assert "exams" not in kinds
    assert "assignments" not in kinds
    assert {one.kind for one in deadlines(B)} >= {"exams", "assignments", "registration"}
    text = TEXT_B.replace("  not_registered: {notice_days: 0, warning_days: 3, escalation_days: 7}\n", "")
    assert "registration" not in {one.kind for one in deadlines(load_text(text))}


def test_the_day_of_assignments_is_a_local_day() -> None:
    """The instant at which the day is over lies on another UTC day west and east of Greenwich, and at the end of summer time."""
    for zone in ("America/New_York", "Pacific/Apia", "Asia/Beirut"):
        rules = load_text(TEXT_B.replace("time_zone: Asia/Shanghai", f"time_zone: {zone}"))
        assert days_of(rules)["assignments:c-reading"] == "2023-10-31", zone
        over = datetime.fromtimestamp(rules.attention.overdue_ms["c-reading"] / 1000, ZoneInfo(zone))
        assert f"{over:%Y-%m-%d %H:%M}" == "2023-11-01 00:00"


def one(kind: str, judged_by: str, begins: bool = False) -> Deadline:
    return Deadline(kind, kind, DAY, begins=begins, level="learner", judged_by=judged_by)


def test_states_at_their_edges() -> None:
    def at(after: int, deadline: Deadline, owed_by: int = 3, still_open: int = 0) -> tuple[str, int | None]:
        return standing(deadline, DAY + timedelta(days=after), owed_by, still_open)

    assignments = one("assignments", "facts")
    assert at(-DUE_DAYS - 1, assignments) == ("upcoming", 8)
    assert at(-DUE_DAYS, assignments) == ("due", 7)
    assert at(0, assignments, still_open=0) == ("due", 0)  # its last day is still its own
    assert at(1, assignments, still_open=2) == ("overdue", 1)
    assert at(1, assignments, still_open=0) == ("past", 1)
    phase = one("phase", "date")
    assert at(0, phase) == ("due", 0)
    assert at(1, phase) == ("overdue", 1)  # by the date alone
    assert at(1, phase, owed_by=0) == ("past", 1)  # of others, not of this unit
    starts = one("starts", "", begins=True)
    assert at(-1, starts) == ("due", 1)
    assert at(0, starts) == ("past", 0)  # it happened with the day's first instant
    assert at(400, starts) == ("past", 400)
    final = one("results_final", "facts", begins=True)
    assert at(0, final, still_open=5) == ("past", 0)  # nobody owes it: the result follows by itself


def test_registration_has_a_day_for_each_learner() -> None:
    registration = one("registration", "facts")
    assert standing(registration, DAY - timedelta(days=30), 3, 0) == ("upcoming", 30)
    assert standing(registration, DAY, 3, 0) == ("running", None)
    assert standing(registration, DAY + timedelta(days=30), 3, 1) == ("overdue", None)


def test_what_comes_next() -> None:
    def key(day: str) -> str | None:
        found = upcoming(B, date.fromisoformat(day))
        return found.key if found else None

    assert key("2023-05-19") == "opens"
    assert key("2023-05-20") == "phase:rosters"
    assert key("2023-10-31") == "assignments:c-reading"
    assert key("2023-12-31") == "ends"
    assert key("2024-01-14") == "results_final"
    assert key("2024-01-15") is None


def test_the_catalogue_is_exact_text() -> None:
    found = plain(catalogue(B))
    assert [module["id"] for module in found["modules"]] == ["subject", "general"]
    assert sum(len(module["courses"]) for module in found["modules"]) == len(B.courses)
    assert (found["hours"], found["credits"], found["study_hour_minutes"]) == ("128.00", "32.00", "60")
    assert found["scoring"]["online"]["items"][0] == {"item": "study", "award": "threshold", "hours": "16.00", "points": "15.00"}
    assert found["result"]["excellent"] == {"mean_total_at_least": "90.00"}
    assert (found["daily_cap_seconds"], found["longest_interval_seconds"]) == (28_800, 1800)
    half = load_text(TEXT_B.replace("study_hour_minutes: 60", "study_hour_minutes: 37.5"))
    assert plain(catalogue(half))["study_hour_minutes"] == "37.5"


@pytest.mark.parametrize(
    ("learners", "required"),
    [(0, 0), (1, 1), (99, 1), (100, 2), (200, 2), (400, 2), (401, 3), (1000, 5)],
)
def test_tutors_that_a_school_has_to_have(learners: int, required: int) -> None:
    """Under 100 learners one, from 100 on two, and never more than 200 learners each."""
    assert B.tutors is not None
    assert B.tutors.required(learners) == required


@pytest.mark.parametrize(
    ("learners", "assigned", "breach"),
    [(99, 0, "too_few"), (99, 1, None), (99, 2, "too_many"), (100, 1, "too_few"), (100, 2, None), (150, 3, None), (149, 3, "too_many"),
     (401, 2, "too_few"), (401, 3, None), (20, 1, None), (0, 4, None)],
)  # fmt: skip
def test_breaches_of_the_tutors_rule(learners: int, assigned: int, breach: str | None) -> None:
    assert breach_of(B, learners, assigned) == breach
    assert breach_of(A, learners, assigned) is None  # plan A asks for none


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("{at_least: 50, at_most: 200}", "{at_least: 50, at_most: 49}", "at_least <= at_most"),
        ("{at_least: 50, at_most: 200}", "{at_least: 0, at_most: 200}", "at_least <= at_most"),
        ("from_learners: 100", "from_learners: 1", "must rise"),
        ("tutors: 2}", "tutors: 0}", "must not fall"),
        ("at_most: 200}", "at_most: 200, mean: 3}", "unknown key"),
        ("at_most: 200}", "at_most: 20.5}", "whole number"),
    ],
)
def test_a_wrong_tutors_rule_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert old in TEXT_B
    with pytest.raises(RuleError) as caught:
        load_text(TEXT_B.replace(old, new), "rules.yaml")
    assert reason in caught.value.reason
    line = TEXT_B[: TEXT_B.index("tutors:")].count("\n") + 1
    assert caught.value.line >= line


# the page


def seen(today: str, rules: Programme = B, language: Language = "en") -> Seen:
    """A look at 10:00 local of a day; nothing of a server is behind it."""
    nothing: Any = None
    now = rules.day_start_ms(today) + 10 * 3_600_000
    return Seen(nothing, nothing, nothing, Translator(language), Scope("co1"), rules, "co1", now)


def listed(look: Seen, **still_open: int) -> list[dict[str, Any]]:
    """Rows as the API gives them, ten learners or units each; `still_open` by kind."""
    rows = []
    for one in deadlines(look.rules):
        now_open = still_open.get(one.kind, 0)
        state, days = standing(one, look.today, 10, now_open)
        row = {"key": one.key, "kind": one.kind, "title": one.title, "day": one.day, "level": one.level, "judged_by": one.judged_by}
        row |= {"flag": one.flag, "state": state, "days": days, "owed_by": 10, "open": now_open, "short": 2, "within_seconds": 172_800}
        rows.append(row)
    return rows


@pytest.mark.parametrize("rules", [A, B], ids=["A", "B"])
@pytest.mark.parametrize("today", ["2023-05-01", "2023-11-26", "2024-06-01"])
def test_the_line_of_time_holds_every_day_and_no_mark_hides_another(rules: Programme, today: str) -> None:
    look = seen(today, rules)
    rows = listed(look)
    line = timeline(look, rows)
    assert [mark["n"] for mark in line["marks"]] == list(range(1, len({row["day"] for row in rows}) + 1))
    assert all(0 <= mark["x"] <= 100 for mark in line["marks"])
    assert [mark["x"] for mark in line["marks"]] == sorted(mark["x"] for mark in line["marks"])
    for lane in {mark["lane"] for mark in line["marks"]}:
        xs = [mark["x"] for mark in line["marks"] if mark["lane"] == lane]
        assert all(right - left >= APART for left, right in pairwise(xs)), lane
    assert line["start"] < line["start"] + line["width"] <= 100
    assert 0 <= line["gone"] <= line["width"]
    assert sum(mark["tip"].count("\n") for mark in line["marks"]) == len(rows)


@pytest.mark.parametrize("today", ["2023-05-16", "2023-06-01", "2023-11-25", "2023-12-05", "2024-01-18"])
def test_no_months_name_lies_under_todays(today: str) -> None:
    line = timeline(seen(today), listed(seen(today)))
    left = line["now"] - {"start": 0, "middle": TODAY / 2, "end": TODAY}[line["anchor"]]
    near = [left - MONTH / 2 < month["x"] < left + TODAY + MONTH / 2 for month in line["months"]]
    assert [month["text"] == "" for month in line["months"]] == near
    assert any(near)


def test_the_programme_runs_from_nothing_to_all_of_it() -> None:
    gone = {day: timeline(seen(day), listed(seen(day)))["gone"] for day in ("2023-05-25", "2023-09-15", "2024-01-10")}
    width = timeline(seen("2024-01-10"), listed(seen("2024-01-10")))["width"]
    assert gone["2023-05-25"] == 0
    assert 0 < gone["2023-09-15"] < width
    assert gone["2024-01-10"] == width
    assert timeline(seen("2026-11-25"), listed(seen("2026-11-25")))["now"] == 100


def test_what_is_due_today_stands_below_the_line_of_today() -> None:
    look = seen("2023-11-30")
    rows = rows_of(look, listed(look), "co1", timeline(look, listed(look))["numbers"])
    assert {row["key"]: row["ahead"] for row in rows}["assignments-c-ict"]
    assert not {row["key"]: row["ahead"] for row in rows}["assignments-c-reading"]


def test_what_goes_by_its_date_alone_is_never_called_overdue() -> None:
    look = seen("2023-11-26")
    rows = {row["key"]: row for row in listed(look, assignments=3, registration=4)}
    assert when(look, rows["phase:rosters"]) == ("182 d past its day", "notice")
    assert when(look, rows["assignments:c-reading"]) == ("overdue 26 d", "escalation")
    assert when(look, rows["assignments:c-ict"]) == ("due in 4 d", "warning")
    assert when(look, rows["registration"]) == ("some overdue", "escalation")
    assert when(look, rows["results_final"]) == ("in 50 d", "info")
    assert when(look, rows["starts"]) == ("178 d ago", "plain")
    assert when(seen("2023-11-30"), {row["key"]: row for row in listed(seen("2023-11-30"))}["assignments:c-ict"]) == ("today", "warning")


def test_figures_lead_to_the_people_where_there_are_any() -> None:
    look = seen("2023-11-26")
    rows = {row["key"]: row for row in listed(look, assignments=3, registration=4)}
    late = figures(look, rows["assignments:c-reading"], "co1")
    assert late["text"] == "3 of 10 short"
    assert late["url"] == "/p/zhuozhou-2023/attention?unit=co1&kind=assignment_overdue&owner=all"
    assert figures(look, {**rows["assignments:c-ict"], "open": 0}, "co1") == {"text": "2 of 10 short", "url": ""}
    assert figures(look, rows["registration"], "co1")["text"] == "4 not registered in time"
    assert figures(look, {**rows["registration"], "open": 0}, "co1")["url"] == ""
    assert figures(look, {**rows["phase:rosters"], "owed_by": 0}, "co1")["text"] == "not asked of this unit"


def test_the_list_in_chinese() -> None:
    look = seen("2023-11-26", language="zh")
    rows = rows_of(look, listed(look, assignments=3), "co1", timeline(look, listed(look))["numbers"])
    said = {row["key"]: (row["what"], row["who"], row["state"], row["text"]) for row in rows}
    assert said["assignments-c-reading"] == ("作业：阅读教学的有效策略", "学员", "逾期 26 天", "选课 10 人，未交齐 3 人")
    assert said["phase-rosters"] == ("报送参训教师、管理员、辅导教师和学校统计表", "学校", "期限已过 182 天", "涉及 10 个单位")
    assert said["registration"][0] == "学员注册（列入名单后 2 日内）"
    assert [row["ahead"] for row in rows] == sorted(row["ahead"] for row in rows)
