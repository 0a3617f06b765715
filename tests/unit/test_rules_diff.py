"""`chalk rules diff` without servers: what it compares, against the independent reference; and what it refuses."""

from __future__ import annotations

import csv
import json
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from core_world import ROOT
from rich.console import Console
from typer.testing import CliRunner

from schemas.instants import parse_instant
from schemas.programme import load_text
from schemas.reading import Event, read_activity
from schemas.rulefile import read_rules
from schemas.ruleyaml import Document
from services.scoring import rules_commands
from services.scoring.rule_fields import Difference, differences
from services.scoring.rules_diff import IGNORED, Change, Changed, Comparison
from services.scoring.rules_report import Report, as_json, lines_of, ordered, tell, write_csv
from tests import gate_edge
from tests.rules_reference import Rows, events_of, expected_changes, said_changes, states

PLAN_B = (ROOT / "schemas" / "programmes" / "zhuozhou-2023.yaml").read_text("utf-8")
NOW = parse_instant(gate_edge.NOW)
LEARNERS = 60
ROWS = gate_edge.records(5, LEARNERS)

CHANGES = [
    ("at_least: 32", "at_least: 30"),
    ("at_least: 32", "at_least: 33"),
    ("threshold, hours: 16", "proportional, hours: 16"),
    ("daily_cap_minutes: 480", "daily_cap_minutes: 300"),
    ("selection: chosen", "selection: all"),
    ("starts: 2023-06-01", "starts: 2023-06-04"),
    ("ends: 2023-12-31", "ends: 2023-12-19"),
    ("results_final: 2024-01-15", "results_final: 2024-01-01"),
    ("male_younger_than: 50", "male_younger_than: 38"),
    ("excellent: {mean_total_at_least: 90}", "excellent: {mean_total_at_least: 70}"),
    ("credits: on_pass", "credits: proportional"),
    ("id: c-ict,", "id: c-it,"),
    ("tolerance_percent: 15", "tolerance_percent: 4"),
    ("inactive: {notice_days: 3, warning_days: 7", "inactive: {notice_days: 5, warning_days: 6"),
    ("county_after_days: 7", "county_after_days: 1.5"),
    ("plagiarism_fails: true", "plagiarism_fails: false"),
    ("  plagiarism_suspected: {}\n", ""),
    ("time_zone: Asia/Shanghai", "time_zone: Pacific/Apia"),
]


def changed(old: str, new: str) -> str:
    text = PLAN_B.replace(old, new)
    assert text != PLAN_B
    if old == "id: c-ict,":
        text = text.replace("      c-ict: 2023", "      c-it: 2023")
    return text


def compare(old: str, new: str, batch: int = 400) -> Comparison:
    comparison = Comparison(load_text(old), load_text(new), NOW)
    for number in range(gate_edge.PARTITIONS):
        mine = [row for row in ROWS if gate_edge.partition(row[0]) == number]
        for at in range(0, len(mine), batch):
            some = [SimpleNamespace(offset=n, key=key, value=value, timestamp=0) for n, (key, value) in enumerate(mine[at : at + batch])]
            comparison.take(some, number, gate_edge.PARTITIONS)
        comparison.close()
    return comparison


@lru_cache(2)
def reference(rules: str) -> dict[str, Rows]:
    def is_sound(key: bytes, value: bytes) -> bool:
        return isinstance(read_activity(key, value, 0, gate_edge.partition(key), gate_edge.PARTITIONS), Event)

    return states(rules, events_of((value for key, value in ROWS if is_sound(key, value)), gate_edge.PROGRAMME), NOW)


def report_of(comparison: Comparison, old: str, new: str) -> Report:
    rules = differences(read_rules(Document("old", old)), read_rules(Document("new", new)))
    return Report(comparison.old, comparison.new, NOW, rules, [], comparison.summary, comparison.changed)


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=[new.strip()[:40] or old.strip()[:40] + " off" for old, new in CHANGES])
def test_names_whom_the_reference_names_and_says_the_same_of_them(old: str, new: str) -> None:
    other = changed(old, new)
    said = said_changes(as_json(report_of(compare(PLAN_B, other), PLAN_B, other), None))
    assert said == expected_changes(reference(PLAN_B), reference(other))
    assert said or "2024-01-01" in new  # each of these changes somebody; results are final only after NOW


def test_the_gate_from_32_to_30_changes_just_those_between() -> None:
    found = compare(PLAN_B, changed("at_least: 32", "at_least: 30"))
    assert 10 < len(found.changed) < LEARNERS
    summary = found.summary
    assert summary.passes_gained > 5 and summary.passes_lost == 0
    assert summary.results["in_progress", "passed"] >= 1
    assert sum(summary.results.values()) == summary.learners == LEARNERS
    assert summary.results_changed == sum(any(c.column == "result" for c in one.changes) for one in found.changed)
    assert summary.refused == sum(value == b"\xffgarbage" for _, value in ROWS) > 0
    assert summary.records == len(ROWS)
    assert summary.other_programmes == sum(b"guopei" in value for _, value in ROWS) > 0
    for one in found.changed:
        gates = [change for change in one.changes if change.column == "gate_met"]
        assert gates and all((change.old, change.new) == (False, True) for change in gates)
    assert [one.learner_id for one in found.changed] == sorted(one.learner_id for one in found.changed)
    assert compare(PLAN_B, changed("at_least: 32", "at_least: 30"), batch=17).changed == found.changed


def test_back_again_is_the_mirror() -> None:
    other = changed("at_least: 32", "at_least: 30")
    there, back = compare(PLAN_B, other), compare(other, PLAN_B)
    mirrored = [Changed(one.learner_id, one.class_id, tuple(c._replace(old=c.new, new=c.old) for c in one.changes)) for one in back.changed]
    assert mirrored == there.changed
    assert (back.summary.passes_lost, back.summary.passes_gained) == (there.summary.passes_gained, 0)


def test_what_no_figure_depends_on_changes_nobody() -> None:
    other = PLAN_B.replace("rules_version: ", "rules_version: 9").replace("most_in_30_days: 6", "most_in_30_days: 1")
    other = other.replace("longest_interval_minutes: 30", "longest_interval_minutes: 20")  # the door's business: scoring lets pass
    assert compare(PLAN_B, other).changed == []
    assert {"rules_version", "explanation"} <= IGNORED


def test_rules_of_two_programmes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="two programmes"):
        Comparison(load_text(PLAN_B), load_text(PLAN_B.replace("id: zhuozhou-2023", "id: other")), NOW)


# -- the rules' own differences ---------------------------------------------------------------------------------------------------


def rule_differences(text: str) -> list[Difference]:
    return differences(read_rules(Document("old", PLAN_B)), read_rules(Document("new", text)))


def test_rules_differ_by_meaning_not_by_writing() -> None:
    lines = PLAN_B.splitlines(keepends=True)
    first = next(at for at, line in enumerate(lines) if "id: c-reading" in line)
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    text = "".join(lines).replace("points: 20}", "points: 2.0e1}")
    text = text.replace("kinds: [classroom_record, lesson_design,", "kinds: [lesson_design, classroom_record,")
    assert text != PLAN_B
    assert rule_differences("# a remark\n" + text) == []
    text = (
        PLAN_B.replace("at_least: 32", "at_least: 30.5")
        .replace('quiet_from: "21:00"', 'quiet_from: "22:30"')
        .replace("daily_cap_minutes: 480\n", "")
        .replace("selection: chosen", "selection: chosen\ncap_at_course_hours: true")
        .replace("  plagiarism_suspected: {}\n", "")
        .replace("c-ethics: 2023-11-30", "c-ethics: 2023-12-01")
        .replace("forms: [paper, online]", "forms: [paper]")
    )
    assert rule_differences(text) == [
        ("daily_cap_minutes", "480", None),
        ("cap_at_course_hours", "false", "true"),
        ("scoring.online.items.exam.gate.at_least", "32", "30.5"),
        ("scoring.disc.items.exam.forms", "online, paper", "paper"),
        ("attention.assignment_overdue.due.c-ethics", "2023-11-30", "2023-12-01"),
        ("attention.plagiarism_suspected", "on", None),
        ("reminders.quiet_from", "21:00", "22:30"),
    ]


# -- what is said -----------------------------------------------------------------------------------------------------------------


def test_for_people_as_json_and_as_csv(tmp_path: Path) -> None:
    other = changed("at_least: 32", "at_least: 30")
    report = report_of(compare(PLAN_B, other), PLAN_B, other)
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    tell(console, report, 3)
    text = console.export_text()
    assert "scoring.online.items.exam.gate.at_least" in text
    first = ordered(report.changed)[0]
    assert first.learner_id in text and "result in_progress → " in text
    assert f"… and {len(report.changed) - 3} more" in text

    limited = as_json(report, 2)
    assert len(limited["learners"]) == 2  # type: ignore[arg-type]
    assert [one["learner_id"] for one in limited["learners"]] == [one.learner_id for one in ordered(report.changed)[:2]]  # type: ignore[attr-defined]
    assert report.changed[:2] != ordered(report.changed)[:2]  # whose result changes come first
    assert limited["learners_left_out"] == len(report.changed) - 2
    assert json.loads(json.dumps(limited))["summary"]["learners_changed"] == len(report.changed)

    write_csv(tmp_path / "out.csv", report.changed)
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8-sig")))
    assert len(rows) == sum(len(one.changes) for one in report.changed)
    assert {row["learner_id"] for row in rows} == {one.learner_id for one in report.changed}
    assert {"false", "true"} == {row[side] for row in rows if row["column"] == "gate_met" for side in ("old", "new")}


def test_changes_in_words() -> None:
    said = lines_of(
        [
            Change("learner", "", "result", "in_progress", "passed"),
            Change("learner", "", "courses_passed", 1, 2),
            Change("course", "c-ict", "passed", False, True),
            Change("course", "c-it", "", None, "12.00"),
            Change("flag", "exam_due c-ict", "", None, "notice"),
            Change("flag", "inactive", "", "warning", None),
            Change("flag", "behind", "last_follow_up_at", None, "2023-12-01T00:00:00.000Z"),
        ]
    )
    assert said == [
        "learner: result in_progress → passed, courses_passed 1 → 2",
        "c-ict: passed no → yes",
        "c-it: new row, total 12.00",
        "flag exam_due c-ict: opens (notice)",
        "flag inactive: closes (was warning)",
        "flag behind: last_follow_up_at — → 2023-12-01T00:00:00.000Z",
    ]


def test_what_the_door_decides_is_noted() -> None:
    for old, new, noted in (
        ("longest_interval_minutes: 30", "longest_interval_minutes: 45", "longest_interval_minutes: "),
        ("opens: 2023-05-20", "opens: 2023-05-19", "calendar.opens: "),
        ("at_least: 32", "at_least: 30", None),
    ):
        other = changed(old, new)
        notes = Report(load_text(PLAN_B), load_text(other), NOW, rule_differences(other)).notes
        assert [note.startswith(noted or "-") for note in notes] == [True] * bool(noted)


@pytest.mark.parametrize(
    ("old", "new", "arguments", "said"),
    [
        (PLAN_B, PLAN_B.replace("at_least: 32", "at_leest: 30"), [], "gate.at_leest: unknown key; did you mean at_least?"),
        (PLAN_B.replace("selection: chosen", "selection: none"), PLAN_B, [], "selection: must be one of chosen, all, not none"),
        (PLAN_B.replace("id: zhuozhou-2023", "id: another"), PLAN_B, [], "is of programme another"),
        (PLAN_B, PLAN_B, ["--clock", "2023-12-04 21:30"], "--clock: "),
        (PLAN_B, PLAN_B, ["third.yaml"], "two rule files at most"),
    ],
)
def test_unusable_files_are_two(tmp_path: Path, old: str, new: str, arguments: list[str], said: str) -> None:
    (tmp_path / "old.yaml").write_text(old, "utf-8")
    (tmp_path / "new.yaml").write_text(new, "utf-8")
    answer = CliRunner().invoke(rules_commands.app, ["diff", str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"), *arguments])
    assert answer.exit_code == 2
    assert said in answer.output


def test_the_same_rules_need_no_log_and_old_may_be_the_running_one(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text("# only a remark\n" + PLAN_B, "utf-8")
    answer = CliRunner().invoke(rules_commands.app, ["diff", str(tmp_path / "new.yaml"), "--exit-code"])  # no server may be asked
    assert answer.exit_code == 0
    assert "The two files say the same." in answer.output
    assert "is not greater than" in answer.output
    (tmp_path / "new.yaml").write_text(PLAN_B.replace("id: zhuozhou-2023", "id: unheard-of"), "utf-8")
    answer = CliRunner().invoke(rules_commands.app, ["diff", str(tmp_path / "new.yaml")])
    assert answer.exit_code == 2
    assert "has no rule file of programme unheard-of" in answer.output
