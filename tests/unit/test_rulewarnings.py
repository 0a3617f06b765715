"""Warnings of rule files: each once for what is hardly meant, none for the shipped files; and refusals all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from core_world import ROOT, SMALL
from structlog.testing import capture_logs

from schemas.programme import load_programme, load_programmes, load_text
from schemas.ruleyaml import MOST_NODES, Document, RuleError
from services.shared.logs import log_rule_warnings

FOLDER = ROOT / "schemas" / "programmes"
PLAN_A = (FOLDER / "guopei-shaanxi-2023.yaml").read_text("utf-8")
PLAN_B = (FOLDER / "zhuozhou-2023.yaml").read_text("utf-8")

TOTALS = "items: [study, assignments, interaction], at_least: 32"
GATE = TOTALS + "}}\n    pass: {total_at_least: 60}"
RULE = "{male_younger_than: 50, female_up_to: 45}"
DUE = "      c-ethics: 2023-11-30\n"
REMINDERS = 'quiet_from: "21:00", quiet_to: "08:00", least_days_between: 3, most_in_30_days: 6'
DISC = PLAN_B[PLAN_B.index("  disc:\n") : PLAN_B.index("\nmode_rule:")]

# plan B with one change -> the one warning, at the line of the change (or at the line that has `at`)
B_CASES = [
    (GATE, GATE.replace("32", "40.01").replace("60", "50"), "gate.at_least: can't be met: its items give at most 40 points, so nobody's"),
    (TOTALS, TOTALS.replace("32", "0"), "gate.at_least: is always met"),
    ("{item: process, points: 20}", "{item: process, points: 19.99}", "the items of mode disc give 99.99 points together, not 100"),
    (DISC, DISC.replace("total_at_least: 60", "total_at_least: 100.01"), "can't be reached: a course of mode disc gives at most 100"),
    (DISC, DISC.replace("total_at_least: 60", "total_at_least: 0"), "is always reached"),
    (DISC, DISC.replace("total_at_least: 60", "total_at_least: 20"), "is reached without the exam: the other items give up to 20 points"),
    ("threshold, hours: 16", "threshold, hours: 16.5", "16.5 hours are more than c-reading, c-writing, c-maths, … has"),
    ("forms: [online], gate", "forms: [online, paper], gate", "who has chosen no form sits the paper exam"),
    (RULE, "{male_younger_than: 101, female_up_to: 100}", "mode_rule.online: every teacher is online at these ages"),
    (RULE, "{male_younger_than: 18, female_up_to: 17.99}", "mode_rule.online: every teacher is disc at these ages"),
    (DISC, "", "mode_rule: sends learners to mode disc, which scoring does not have"),
    ("excellent: {mean_total_at_least: 90}", "excellent: {mean_total_at_least: 100.5}", "can't be reached: a course gives at most 100"),
    ("excellent: {mean_total_at_least: 90}", "excellent: {mean_total_at_least: 60}", "is met by everybody who has passed every course"),
    ("excellent: {mean_total_at_least: 90}", "excellent: {mean_total_at_least: 0}", "is always met once a course is selected"),
    ("hours: 16, credits: 4}\n\nscoring", "hours: 16, credits: 0}\n\nscoring", "credits: is 0: passing it gives no credits"),
    ("{zh: 师德修养与专业成长,", "{zh: '',", "courses.7.title.zh: is empty"),
    ("selection: chosen\n", "selection: chosen\nactivities: [{id: talk, title: {zh: 谈, en: talk}}]\n", "counts works of talk"),
    ("daily_cap_minutes: 480", "daily_cap_minutes: 29.99", "is shorter than one interval of up to 30 minutes"),
    ("daily_cap_minutes: 480", "daily_cap_minutes: 1440", "is no limit"),
    ("longest_interval_minutes: 30\ndaily_cap_minutes: 480", "longest_interval_minutes: 1440.01", "is longer than 24 hours"),
    ("due: 2023-12-31, level: learner", "due: 2024-01-01, level: learner", "a learner can do nothing then"),
    ("due: 2024-01-07, level: school", "due: 2025-01-07, level: school", "more than 90 days outside the calendar: a wrong year?"),
    ("due: 2024-01-07, level: school", "due: 2023-12-30, level: school", "is before the phase above, study, of 2023-12-31"),
    ("due: 2024-01-07, level: school", "due: 2024-01-07, level: shcool", "shcool is no level", ),
    ("d: {notice_days: 0, warning_days: 3", "d: {notice_days: 3.5, warning_days: 3", "less than notice_days, 3.5"),
    ("inactive: {notice_days: 3, warning_days: 7", "inactive: {notice_days: 3, warning_days: 14.5", "14 is less than warning_days, 14.5"),
    ("not_started: {notice_days: 3, warning_days: 7, escalation_days: 14}",
     "not_started: {notice_days: 214, warning_days: 214, escalation_days: 214}", "attention.not_started.notice_days: no flag can open"),
    ("{notice_days: 14, warning_days: 7,", "{notice_days: 14, warning_days: 14.01,", "longer before the end than notice_days"),
    ("tolerance_percent: 15, warning", "tolerance_percent: 31, warning", "30 is less than tolerance_percent, 31"),
    ("escalation_percent: 50", "escalation_percent: 100", "escalation_percent: is never reached"),
    ("  not_registered: {notice_days: 0, warning_days: 3, escalation_days: 7}\n", "", "has no effect without attention.not_registered"),
    (DUE, DUE.replace("2023-11-30", "2023-05-31"), "c-ethics: 2023-05-31 is before the programme starts, 2023-06-01"),
    (DUE, DUE.replace("2023-11-30", "2024-01-01"), "c-ethics: 2024-01-01 is outside the calendar"),
    (DUE, DUE.replace("2023-11-30", "2023-12-31"), "c-ethics: 2023-12-31 is too late"),
    (DUE, "", "courses.7.id: c-ethics has no due day"),
    ("city_after_days: 14", "city_after_days: 6.99", "the county never owns a flag"),
    (REMINDERS, REMINDERS.replace("most_in_30_days: 6", "most_in_30_days: 0"), "no reminder can ever be sent"),
    (REMINDERS, REMINDERS.replace("08:00", "21:00"), "there is no quiet time at all"),
    (REMINDERS, REMINDERS.replace("08:00", "20:30"), "leaves 30 minutes a day"),
    (REMINDERS, REMINDERS.replace("between: 3", "between: 214"), "a learner is reminded at most once"),
]  # fmt: skip

A_CASES = [
    ("credited_hours: 60", "credited_hours: 60.01", "can't be reached: the courses credit at most 60 hours together"),
    ("daily_cap_minutes: 480", "daily_cap_minutes: 24\nlongest_interval_minutes: 20",
     "result.passed.credited_hours: can't be reached: the programme has 112 days of at most 24 credited minutes"),
    ("research, count: 1", "research, count: 0", "is always met: 0 works are enough"),
    ("passed: {credited_hours", "passed: {courses: every_selected, credited_hours", "no mode is scored, so no course is ever passed"),
    ("credits: proportional", "credits: on_pass", "attention.behind: no flag can open: no mode has a study item"),
    ("hours: 2, credits: 2}\n  - {id: p-topics", "hours: 2, credits: 0}\n  - {id: p-topics", "studying it gives no credits"),
    ("  plagiarism_suspected: {}\n", "  plagiarism_suspected: {}\n  exam_due: {notice_days: 3, warning_days: 2, escalation_days: 1}\n",
     "attention.exam_due: no flag can open: no mode has an item exam"),
]  # fmt: skip


# exactly at an edge nothing is said
FINE = [
    (TOTALS, TOTALS.replace("32", "40")),
    (TOTALS, TOTALS.replace("32", "0.01")),
    (DISC, DISC.replace("total_at_least: 60", "total_at_least: 100")),
    (DISC, DISC.replace("total_at_least: 60", "total_at_least: 20.01")),
    (RULE, "{male_younger_than: 100, female_up_to: 100}"),
    (RULE, "{male_younger_than: 18, female_up_to: 18}"),
    ("excellent: {mean_total_at_least: 90}", "excellent: {mean_total_at_least: 100}"),
    ("excellent: {mean_total_at_least: 90}", "excellent: {mean_total_at_least: 60.01}"),
    ("daily_cap_minutes: 480", "daily_cap_minutes: 30"),
    ("daily_cap_minutes: 480", "daily_cap_minutes: 1439.99"),
    ("longest_interval_minutes: 30\ndaily_cap_minutes: 480", "longest_interval_minutes: 1440"),
    ("due: 2024-01-07, level: school", "due: 2023-12-31, level: school"),
    ("due: 2024-01-07, level: school", "due: 2024-04-14, level: school"),
    ("due: 2023-05-28, level: school", "due: 2023-02-19, level: school"),
    ("due: 2023-06-15, level: learner", "due: 2023-05-28, level: learner"),
    ("not_registered: {notice_days: 0, warning_days: 3", "not_registered: {notice_days: 3, warning_days: 3"),
    ("{notice_days: 14, warning_days: 7,", "{notice_days: 14, warning_days: 14,"),
    ("escalation_percent: 50", "escalation_percent: 99.99"),
    (DUE, DUE.replace("2023-11-30", "2023-06-01")),
    (DUE, DUE.replace("2023-11-30", "2023-12-30")),
    ("city_after_days: 14", "city_after_days: 7"),
    (REMINDERS, REMINDERS.replace("most_in_30_days: 6", "most_in_30_days: 1")),
    (REMINDERS, REMINDERS.replace("08:00", "20:00")),
    (REMINDERS, REMINDERS.replace("between: 3", "between: 213.99")),
]


@pytest.mark.parametrize(("old", "new"), FINE, ids=[new[-40:] for _, new in FINE])
def test_at_the_edge_nothing_is_said(old: str, new: str) -> None:
    assert PLAN_B.count(old) == 1
    assert warned(PLAN_B.replace(old, new)) == []


def warned(text: str) -> list[str]:
    """Warnings without the file's name."""
    found = load_text(text, "some/rules.yaml").warnings
    assert all(one.startswith("some/rules.yaml:") for one in found)
    return [one.removeprefix("some/rules.yaml:") for one in found]


def test_the_shipped_files_say_nothing_that_is_hardly_meant() -> None:
    assert {name: programme.warnings for name, programme in load_programmes(FOLDER).items()} == {
        "guopei-shaanxi-2023": (),
        "zhuozhou-2023": (),
    }


@pytest.mark.parametrize(("old", "new", "reason"), B_CASES, ids=[reason[:50] for *_, reason in B_CASES])
def test_warned_of_once_and_at_its_line(old: str, new: str, reason: str) -> None:
    assert PLAN_B.count(old) == 1
    found = warned(PLAN_B.replace(old, new))
    assert [reason in one for one in found] == [True], found
    line, place = found[0].split(": ")[0:2]
    lines = PLAN_B.replace(old, new).splitlines()
    assert place.split(".")[0] in "\n".join(lines[: int(line)])  # at its section or below
    last = place.split(".")[-1]
    assert last.isdigit() or last in lines[int(line) - 1], (lines[int(line) - 1], found)


@pytest.mark.parametrize(("old", "new", "reason"), A_CASES, ids=[reason[:50] for *_, reason in A_CASES])
def test_warned_of_in_a_programme_of_hours(old: str, new: str, reason: str) -> None:
    assert PLAN_A.count(old) == 1
    text = PLAN_A.replace(old, new)
    if new.endswith("longest_interval_minutes: 20"):
        text = text.replace("longest_interval_minutes: 30\n", "")
    if reason.startswith("attention.behind"):  # three kinds at once
        kinds = ("not_started", "inactive", "behind")
        found = warned(text)
        assert [reason.replace("behind", kind) in one for kind, one in zip(kinds, found, strict=True)] == [True] * 3, found
        return
    assert [reason in one for one in warned(text)] == [True], warned(text)


def test_a_programme_without_anything_to_flag_or_to_study() -> None:
    start, end = PLAN_B.index("attention:"), PLAN_B.index("reminders:")
    (only,) = warned(PLAN_B[:start] + PLAN_B[end:])
    assert only.endswith(": reminders: has no effect: every kind of flag is off")
    assert any(
        "ownership: has no effect" in one
        for one in warned(PLAN_B[:start] + "attention: {ownership: {county_after_days: 1, city_after_days: 2}}\n" + PLAN_B[end:])
    )
    assert any("daily_cap_minutes: leaves not one second" in one for one in warned(PLAN_B.replace("minutes: 480", "minutes: 0.01")))
    assert any("the door refuses every study interval" in one for one in warned(PLAN_B.replace("val_minutes: 30", "val_minutes: 0.01")))
    courses = PLAN_A[PLAN_A.index("courses:") : PLAN_A.index("activities:")]
    assert any("courses: is empty" in one for one in warned(PLAN_A.replace(courses, "courses: []\n")))


def test_services_log_them_at_start() -> None:
    with capture_logs() as said:
        log_rule_warnings({"b": load_text(PLAN_B.replace("city_after_days: 14", "city_after_days: 6"), "b.yaml"), "a": load_text(PLAN_A)})
    (only,) = said
    assert (only["log_level"], only["programme"]) == ("warning", "zhuozhou-2023")
    assert only["text"].startswith("b.yaml:") and "the county never owns a flag" in only["text"]


# -- refusals -------------------------------------------------------------------------------------------------------------------

BROKEN = (
    SMALL.replace("rules_version: 7", "rules_version: 7.5\nrules_version: 8")
    .replace("time_zone: Asia/Shanghai", "time_zone: Asia/Shanghia")
    .replace("starts: 2023-06-01", "starts: 2023-07-01")
    .replace("selection: chosen", "selection: choosen")
    .replace("hours: 0.5, credits", "hourz: 0.5, credits")
    .replace("count: 1, points_each: 7.5", "count: 1, points_each: 7.505")
    .replace("kinds: [lesson_design, teaching_case]", "kinds: [lesson_desing]")
    .replace("- {item: process, points: 20}", "- {item: proces, points: 20}\n      - process\n      - {points: 3}")
    .replace("courses: every_selected", "accepted_works: {activity: atc, count: 1}")
    .replace("due: {c1: 2023-06-05, c2:", "due: {c1: 2023-06-05, cc2:")
    .replace('quiet_from: "21:00"', "quiet_from: 9pm")
)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(RuleError) as caught:
        load_text(BROKEN, "some/rules.yaml")
    error = caught.value
    lines = BROKEN.splitlines()
    shown = [(one.text, lines[one.line - 1].strip()) for one in error.problems]
    assert [text for text, _ in shown] == [
        "rules_version: must be a whole number",
        "rules_version: comes twice, first in line 3",
        "time_zone: is not a known time zone; did you mean Asia/Shanghai?",
        "calendar.ends: opens <= starts <= ends < results_final must hold",
        "selection: must be one of chosen, all, not choosen; did you mean chosen?",
        "courses.0.hours: is missing",
        "courses.0.hourz: unknown key; did you mean hours?",
        "scoring.online.items.1.points_each: has more than 2 decimals",
        "scoring.online.items.3.kinds.0: must be one of classroom_record, lesson_design, teaching_narrative, teaching_case,"
        " research_article, not lesson_desing; did you mean lesson_design?",
        "scoring.disc.items.0: item: must be one of study, assignments, interaction, works, process, exam, not proces;"
        " did you mean process?",
        "scoring.disc.items.1: must be a mapping of fields",
        "scoring.disc.items.2: item is missing",
        "result.passed.accepted_works.activity: unknown activity atc; did you mean act?",
        "attention.assignment_overdue.due.cc2: unknown course cc2; did you mean c2?",
        'reminders.quiet_from: must be a time of day "HH:MM"',
    ]
    for text, line in shown:
        name = text.split(": ")[0].split(".")[-1]
        assert name.isdigit() or name in line or text.endswith("is missing"), (text, line)
    assert (error.line, error.reason) == (error.problems[0].line, error.problems[0].text)
    assert error.everything.splitlines() == [f"some/rules.yaml:{one.line}: {one.text}" for one in error.problems]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("rules_version: 7\n", "rules_version: [7\n", ["not YAML"]),
        ("rules_version: 7\n", "rules_version:\t7\n  x: 1\n", ["not YAML"]),
        ("rules_version: 7\n", "rules_version: 7\n? [a, b]\n: 1\n", ["a key must be text"]),
        ("{within_days: 1, from: enrolled}\n", "{within_days: 1, from: now}\n", ["must be enrolled, not now"]),
        ("{within_days: 1, from: enrolled}\n", "2\n", ["must be a mapping of fields"]),  # and not that not_registered needs it
        ("result:\n  passed: {courses: every_selected}", "result:\n  passed: {credited_hours: many}", ["must be a number"]),
        ("passed: {courses: every_selected}", "passed: {course: every_selected}", ["unknown key; did you mean courses?"]),
        ("- {item: study, ", "- {item: studi, ", ["did you mean study?"]),  # and not that the gate names no item
        ("- {id: c1, ", "- {id: c 1, ", ["must be 1 to 64 of"]),  # and not that c1 is unknown in due
        ("plagiarism_suspected: {}", "plagiarism_suspected: yes", ["must be a mapping of fields"]),
        ("courses:\n", "courses: none\nx:\n", ["courses: must be a list", "x: unknown key"]),
        ("forms: [online], gate", "forms: online, gate", ["forms: must be a list"]),
        ("opens: 2023-05-29, ", "", ["calendar.opens: is missing"]),
        ("cap_at_course_hours", "cap_at_course_hours", []),
    ],
)  # fmt: skip
def test_nothing_is_said_that_only_follows_from_another_mistake(old: str, new: str, expected: list[str]) -> None:
    if not expected:
        assert load_text(SMALL)
        return
    assert SMALL.count(old) == 1
    with pytest.raises(RuleError) as caught:
        load_text(SMALL.replace(old, new), "some/rules.yaml")
    texts = [one.text for one in caught.value.problems]
    assert len(texts) == len(expected), texts
    for text, part in zip(texts, expected, strict=True):
        assert part in text


def test_a_file_that_is_no_mapping_or_endless(tmp_path: Path) -> None:
    for text in ("", "- 1\n", "text"):
        with pytest.raises(RuleError, match="must be a mapping"):
            load_text(text)
    bomb = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(f"{n}: &{n} [{', '.join(['*' + b] * 8)}]\n" for b, n in zip("abcdefg", "bcdefgh"))  # noqa: B905
    with pytest.raises(RuleError, match=f"more than {MOST_NODES} values"):
        Document("bomb.yaml", bomb)
    for deep in ("a: " + "[" * 40 + "]" * 40, "[" * 20_000, "{a: " * 20_000):
        with pytest.raises(RuleError, match="nested deeper than 32"):
            Document("deep.yaml", deep)
    with pytest.raises(RuleError, match="can't be read"):
        load_programme(tmp_path / "none.yaml")
