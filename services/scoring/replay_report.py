"""What `chalk replay` says of a comparison: for people, and as JSON. In the form of `chalk rules diff`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from schemas.instants import rfc3339
from schemas.programme import digest, load_programmes, programme_of
from schemas.rulefile import read_rules
from schemas.rulemodel import RuleFile
from schemas.ruleyaml import read_document
from services.scoring import rules_report
from services.scoring.replay_compare import Found, names
from services.scoring.replay_compare import Programme as Differences
from services.scoring.replay_files import Shadow, rule_files
from services.scoring.rule_fields import differences
from services.scoring.rules_report import Report, tell_changes


def _rules(folder: Path) -> dict[str, RuleFile]:
    found = [read_rules(read_document(path)) for path in rule_files(folder)]
    return {one.id: one for one in found}


def _reports(found: Found, shadow: Shadow, running: Path) -> dict[str, Report]:
    """Of each programme that both have rules of."""
    old, new = _rules(running), _rules(shadow.rules)
    reports = {}
    for name in sorted(old.keys() & new.keys()):
        one = found.of(name)
        rules = differences(old[name], new[name])
        reports[name] = Report(
            programme_of(old[name]), programme_of(new[name]), found.as_of_ms, rules, summary=one.summary, changed=one.changed
        )
    return reports


def as_json(found: Found, shadow: Shadow, running: Path, limit: int | None) -> dict[str, object]:
    """Everything as plain objects; `limit` learners of a programme at most, None: all."""
    programmes = []
    reports = _reports(found, shadow, running)
    for name, one in sorted(found.programmes.items()):
        said: dict[str, object] = {"programme": name}
        if name in reports:
            whole = rules_report.as_json(reports[name], limit)
            said |= {key: whole[key] for key in ("old", "new", "rules", "summary", "learners", "learners_left_out")}
        said |= {
            "only_running": [learner for learner, _ in one.only_old[:limit]],
            "only_shadow": [learner for learner, _ in one.only_new[:limit]],
            "days_changed": one.days,
        }
        programmes.append(said)
    return {
        "generation": shadow.generation.name,
        "database": shadow.generation.marts,
        "as_of": rfc3339(found.as_of_ms),
        "running": digest(load_programmes(running)),
        "rules": digest(load_programmes(shadow.rules)),
        "differs": found.differs,
        "still_changing": found.unsettled,
        "running_is_behind": found.late,
        "seconds": round(found.seconds, 2),
        "programmes": programmes,
    }


def tell(console: Console, found: Found, shadow: Shadow, running: Path, limit: int) -> None:
    """For people."""

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    say(f"{shadow.generation.name} beside the running generation, as of {rfc3339(found.as_of_ms)} ({found.seconds:.1f} s)", "bold")
    if found.late:
        say("note: the running read model does not get as far as the log: what it lacks shows as a difference", "yellow")
    if found.unsettled:
        say(f"note: {found.unsettled:,} learners were still changing at the last look", "yellow")
    reports = _reports(found, shadow, running)
    for name in sorted(found.programmes.keys() | reports.keys()):
        one = found.of(name)
        head = f"{name}: "
        if name in reports:
            old, new = reports[name].old, reports[name].new
            head += f"rules_version {old.rules_version} → {new.rules_version}, {len(reports[name].rules)} rules differ; "
        say(f"{head}{one.summary.learners:,} learners, {len(one.changed):,} differ, {one.days:,} learners' days differ", "bold")
        _tell_one(console, one, limit)


def _tell_one(console: Console, one: Differences, limit: int) -> None:
    for text, keys in (("known to the running rules only", one.only_old), ("known to the new rules only", one.only_new)):
        if keys:
            line = f"{len(keys):,} learners {text}: {names(keys, max(1, limit))}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    tell_changes(console, one.summary, one.changed, limit)
