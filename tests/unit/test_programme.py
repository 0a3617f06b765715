"""Rule files: read exactly, and refused with path, line and reason."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from core_world import SMALL, SMALL_ALL, A, B, at
from typer.testing import CliRunner

from schemas.days import Days
from schemas.programme import RuleError, digest, load_programmes, load_text
from services.scoring.rules_commands import app


def test_plan_b_is_exact() -> None:
    assert (B.opens_ms, B.starts_ms, B.ends_ms) == (at("2023-05-20 00:00"), at("2023-06-01 00:00"), at("2024-01-01 00:00"))
    assert B.results_final_ms == at("2024-01-15 00:00")
    assert len(B.courses) >= 6
    assert {(course.seconds, course.credits) for course in B.courses.values()} == {(57_600, 400)}
    online, disc = B.modes["online"], B.modes["disc"]
    assert online.assignments is not None
    assert online.exam is not None
    assert disc.exam is not None
    assert (online.assignments.points_each, online.exam.gate_at_least, online.pass_at) == (750, 3200, 6000)
    assert (disc.exam.forms, disc.exam.gate_items) == (("paper", "online"), None)
    assert (B.longest_interval_seconds, B.daily_cap_seconds, B.select_all, B.credits_on_pass) == (1800, 28_800, False, True)
    assert (len(B.midnights_ms), B.midnight_days[0], B.midnight_days[-1]) == (214, "2023-06-01", "2023-12-31")


def test_plan_a_is_sixty_hours_of_45_minutes() -> None:
    modules: dict[str, list[int]] = {}
    for course in A.courses.values():
        modules.setdefault(course.module, []).append(course.hours)
    assert {name: (len(hours), sum(hours)) for name, hours in modules.items()} == {"public": (4, 1000), "subject": (5, 5000)}
    assert (A.select_all, A.cap_at_course_hours, A.modes) == (True, True, {})
    assert (A.passed.credited_seconds, A.passed.accepted_works) == (60 * 2700, ("research", 1))
    assert all(course.seconds == course.hours * 27 for course in A.courses.values())


@pytest.mark.parametrize(
    ("gender", "year", "mode"),
    [("male", 1974, "online"), ("male", 1973, "disc"), ("female", 1978, "online"), ("female", 1977, "disc"), (None, 1950, "online")],
)
def test_mode_rule_at_its_edges(gender: str | None, year: int, mode: str) -> None:
    assert B.mode_by_rule(year, gender) == mode
    assert B.mode_by_rule(None, "male") == "online"
    assert A.mode_by_rule(1950, "male") == "online"


def refused(text: str) -> RuleError:
    with pytest.raises(RuleError) as caught:
        load_text(text, "some/rules.yaml")
    error = caught.value
    assert str(error) == f"some/rules.yaml:{error.line}: {error.reason}"
    return error


REFUSALS = [
    ("selection: chosen", "selection: chosen\nfoo: 1", "foo: unknown key"),
    ("    pass: {total_at_least: 40}", "    pass: {total_at_least: 40, at: 3}", "scoring.online.pass.at: unknown key"),
    ("  disc:", "  radio:", "scoring.radio: unknown key"),
    ("kinds: [lesson_design, teaching_case]", "kinds: []", "kinds: must not be empty"),
    ("forms: [online],", "forms: [],", "forms: must not be empty"),
    ("forms: [online], gate", "gate", "forms: is missing"),
    ("due: {c1: 2023-06-05,", "due: {c9: 2023-06-05,", "unknown course c9"),
    ("opens: 2023-05-29", "opens: 2023-06-02", "opens <= starts"),
    ("ends: 2023-06-14", "ends: 2023-05-31", "opens <= starts"),
    ("results_final: 2023-06-17", "results_final: 2023-06-14", "opens <= starts"),
    ("ends: 2023-06-14", "ends: 2023-06-31", "calendar.ends"),
    ("time_zone: Asia/Shanghai", "time_zone: Asia/Zhuozhou", "not a known time zone"),
    ("hours: 0.75, credits", "hours: 0, credits", "must be above 0"),
    ("study_hour_minutes: 60", "study_hour_minutes: 0.01", "no whole number of seconds"),
    ("hours: 0.75, credits", "hours: 0.755, credits", "more than 2 decimals"),
    ("hours: 0.75, credits", 'hours: "0.75", credits', "must be a number"),
    ("hours: 0.75, credits", "hours: -1, credits", "must be between 0"),
    ("hours: 0.75, credits", "hours: .nan, credits", "must be a number"),
    ("count: 1, points_each: 7.5", "count: 1.5, points_each: 7.5", "must be a whole number"),
    ("items: [study, assignments, interaction], at", "items: [study, exam], at", "gate.items"),
    ("- {item: process, points: 20}", "- {item: process, points: 20}\n      - {item: process, points: 1}", "at most one item of a kind"),
    ("passed: {courses: every_selected}", "passed: {}", "needs at least one condition"),
    ("excellent: {mean_total_at_least: 60}", "excellent: {}", "needs at least one condition"),
    ("passed: {courses: every_selected}", "passed: {accepted_works: {activity: no, count: 1}}", "unknown activity no"),
    ("  registration: {within_days: 1, from: enrolled}\n", "", "needs attention.registration"),
    ("- {id: c2,", "- {id: c1,", "comes twice"),
    ("rules_version: 7", "rules_version: 7\nrules_version: 8", "comes twice"),
    ("credits: on_pass", "credits: maybe", "credits"),
    ("rules_version: 7", "rules_version: [7", "not YAML"),
    ("id: small", "id: small one", "id"),
]


@pytest.mark.parametrize(("old", "new", "reason"), REFUSALS, ids=[new[:40] for _, new, _ in REFUSALS])
def test_refused_with_line_and_reason(old: str, new: str, reason: str) -> None:
    assert SMALL.count(old) >= 1
    error = refused(SMALL.replace(old, new, 1))
    assert reason in error.reason
    assert 1 <= error.line <= len(SMALL.splitlines()) + 2


def test_the_line_is_the_one_to_look_at() -> None:
    text = SMALL.replace("hours: 0.75, credits", "hours: 0.755, credits")
    assert refused(text).line == 1 + text[: text.index("0.755")].count("\n")
    missing = SMALL.replace("count: 1, points_each: 7.5", "points_each: 7.5")
    error = refused(missing)
    assert error.reason.endswith("count: is missing")
    assert error.line == 1 + missing[: missing.index("{item: assignments")].count("\n")


def test_a_gate_names_items_of_its_own_mode() -> None:
    text = SMALL.replace("forms: [paper, online]", "forms: [paper, online], gate: {items: [study], at_least: 1}")
    assert "study is no item of mode disc" in refused(text).reason


def test_a_study_item_must_fit_into_capped_courses() -> None:
    assert load_text(SMALL_ALL).cap_at_course_hours
    assert "longer than a course" in refused(SMALL_ALL.replace("award: proportional, hours: 0.5", "award: proportional, hours: 0.8")).reason
    assert load_text(SMALL.replace("award: proportional, hours: 0.5", "award: proportional, hours: 0.8"))


def test_numbers_are_read_as_written() -> None:
    text = (
        SMALL.replace("points_each: 7.5", "points_each: 0.29")
        .replace("points: 20}", "points: 1.10}")
        .replace("count: 1, ", "count: 010, ", 1)
    )
    online, disc = load_text(text).modes["online"], load_text(text).modes["disc"]
    assert online.assignments is not None
    assert disc.process is not None
    assert (online.assignments.points_each, online.assignments.count, disc.process.points) == (29, 10, 110)


def test_defaults() -> None:
    text = SMALL.split("attention:")[0].split("mode_rule:")[0] + "credits: on_pass\nresult: {passed: {courses: every_selected}}\n"
    small = load_text(text.replace("daily_cap_minutes: 40\n", "").replace("activities: [{id: act, title: {zh: 研, en: research}}]\n", ""))
    assert (small.longest_interval_seconds, small.daily_cap_seconds, small.cap_at_course_hours) == (1800, None, False)
    assert (small.plagiarism_fails, small.reminders, small.excellent, dict(small.activities)) == (True, None, None, {})
    rules = small.attention
    assert (rules.inactive, rules.behind, rules.county_after_ms, rules.plagiarism_suspected) == (None, None, None, False)


def test_days_where_midnight_is_missing_or_comes_twice() -> None:
    havana = Days("America/Havana", date(2023, 1, 1), date(2023, 12, 31))

    def utc(text: str) -> int:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000

    assert havana.start_ms("2023-03-12") == utc("2023-03-12T05:00")  # 00:00 is skipped: the day begins at 01:00
    assert havana.start_ms("2023-11-05") == utc("2023-11-05T04:00")  # 00:00 twice: the first
    for day in ("2023-03-12", "2023-11-05", "2031-07-01"):
        assert havana.day_of(havana.start_ms(day)) == day
        assert havana.day_of(havana.start_ms(day) - 1) < day
    assert havana.day_of(utc("2023-11-05T05:30")) == "2023-11-05"


def test_a_folder_and_its_digest(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SMALL, "utf-8")
    first = load_programmes(tmp_path)
    assert list(first) == ["small"]
    (tmp_path / "a.yaml").write_text("# a remark\n" + SMALL, "utf-8")
    assert digest(load_programmes(tmp_path)) == digest(first)
    (tmp_path / "a.yaml").write_text(SMALL.replace("points: 20}", "points: 20.01}"), "utf-8")
    assert digest(load_programmes(tmp_path)) != digest(first)
    (tmp_path / "b.yaml").write_text(SMALL, "utf-8")
    with pytest.raises(RuleError, match="is the id of"):
        load_programmes(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"id: \xff")
    with pytest.raises(RuleError, match="not UTF-8"):
        load_programmes(tmp_path)
    with pytest.raises(RuleError, match="no folder"):
        load_programmes(tmp_path / "nowhere")


def test_the_command(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(SMALL, "utf-8")
    bad.write_text(SMALL.replace("selection: chosen", "selection: chosen\nfoo: 1"), "utf-8")
    run = CliRunner().invoke
    assert "small: sound" in run(app, ["check", str(good)]).output
    answer = run(app, ["check", str(bad)])
    assert answer.exit_code == 1
    assert f"{bad}:10: foo: unknown key" in answer.output
    assert "zhuozhou-2023" in run(app, ["show"]).output
    assert run(app, ["show", "nothing"]).exit_code == 1


def test_check_says_everything_also_as_json(tmp_path: Path) -> None:
    good, bad, again = tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml"
    good.write_text(SMALL, "utf-8")
    bad.write_text(SMALL.replace("id: small", "id: other").replace("selection: chosen", "selection: chosn\nfoo: 1"), "utf-8")
    again.write_text(SMALL, "utf-8")
    run = CliRunner().invoke
    answer = run(app, ["check", str(tmp_path)])
    assert answer.exit_code == 1
    for said in (
        f"{bad}:9: selection: must be one of chosen, all, not chosn; did you mean chosen?",
        f"{bad}:10: foo: unknown key",
        f"{again}:2: id: small is the id of {good}, too",
        f"warning: {good}:13: activities.0.id: no condition of result counts works of act",
        "small: sound (rules_version 7, 2 courses)",
    ):
        assert said in answer.output.splitlines()
    assert answer.output.count(": sound (") == 1

    answer = run(app, ["check", str(tmp_path), "--json"])
    assert answer.exit_code == 1
    found = json.loads(answer.stdout)
    assert found["sound"] is False
    assert [(Path(one["path"]).name, one["sound"]) for one in found["files"]] == [("a.yaml", True), ("b.yaml", False), ("c.yaml", False)]
    assert found["files"][1]["errors"][1] == {"line": 10, "place": "foo", "reason": "unknown key"}
    assert found["files"][0]["warnings"][0]["line"] == 13

    good_only = run(app, ["check", str(good), "--json"])  # warnings do not make it fail
    assert (good_only.exit_code, json.loads(good_only.stdout)["sound"]) == (0, True)
    (tmp_path / "empty").mkdir()
    assert run(app, ["check", str(tmp_path / "empty")]).exit_code == 1
    assert "can't be read" in run(app, ["check", str(tmp_path / "none.yaml")]).output


def test_show_tells_a_programme_in_words(tmp_path: Path) -> None:
    text = SMALL.replace("{zh: 一, en: one}", "{zh: '[一]', en: 'one [draft]'}")
    (tmp_path / "a.yaml").write_text(text, "utf-8")
    run = CliRunner().invoke
    shown = " ".join(run(app, ["show", "small", "--folder", str(tmp_path)]).output.replace("│", " ").split())
    for said in (
        "2023-06-01 starts: study counts from here",
        "c1 (一) / one (draft) 0.5 2.5 2023-06-05",
        "2 together 1.25 6.5",
        "study in proportion to the credited time, all of them at 0.5 hours 15",
        "assignments the best 1, each 7.5 × its score 7.5",
        "Gate: 0 while study, assignments, interaction together are below 12; counts at once when they are not",
        "exam × the score of the best attempt, in the form the learner has chosen (paper or online), else paper 80",
        "passed from 40 points",
        "Excellent: passed, and the mean total of the selected courses is at least 60.",
        "men younger than 50 and women up to 45 online, others disc",
        "At most 40 minutes are credited a day.",
        "not_registered after enrolment + 1 d without registration + 0 d + 1.5 d + 3 d",
        "exam_due before the end of 2023-06-14, gate met and no exam sat - 6 d - 3 d - 1.25 d",
        "the county's 1.5 d and the city's 3 d after it was raised or last followed up",
        "Reminders: not from 21:00 to 08:00, 3 d or more apart, at most 6 in 30 days.",
        "warning: ",
    ):
        assert said in shown, said
    assert "counts from here learner" not in shown  # by whom: nobody owes the first day and the last
    plan_a = " ".join(run(app, ["show", "guopei-shaanxi-2023"]).output.split())
    assert "Passed: 60 hours are credited; and 1 work of 课堂教学案例主题研修 / Themed research on classroom cases accepted." in plan_a
    assert "A course credits at most its own hours." in plan_a
