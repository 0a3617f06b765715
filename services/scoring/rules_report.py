"""What `chalk rules diff` says: for people, as JSON, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schemas.instants import rfc3339
from schemas.programme import Programme
from services.scoring.rule_fields import AT_THE_DOOR, Difference
from services.scoring.rules_diff import Change, Changed, Summary, Value

RESULTS = ("in_progress", "passed", "excellent", "failed")
_HOW = ("opened", "closed", "severity", "owner_level", "raised_at", "follow_ups")


@dataclass
class Report:
    """Everything that was found. `changed` is by learner id; `log` how far the log was read, `topic:partition` -> next offset."""

    old: Programme
    new: Programme
    now_ms: int
    rules: Sequence[Difference]
    warnings: list[str] = field(default_factory=list)
    summary: Summary = field(default_factory=Summary)
    changed: list[Changed] = field(default_factory=list)
    log: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def notes(self) -> list[str]:
        """What the comparison can't know."""
        door = sorted({one.path for one in self.rules if one.path.startswith(AT_THE_DOOR)})
        if not door:
            return []
        shown = ", ".join(door[:3]) + (", …" if len(door) > 3 else "")
        return [
            f"{shown}: decides at the door what gets into the log. What was refused there under the old rules is in no log and not"
            " counted here; what is in the log stays and is judged as scoring judges it"
        ]


def as_json(report: Report, limit: int | None) -> dict[str, object]:
    """The report as plain objects; `limit` learners at most, None: all."""
    summary = report.summary
    listed = report.changed if limit is None else ordered(report.changed)[:limit]
    return {
        "programme": report.new.id,
        "clock": rfc3339(report.now_ms),
        "old": {"rules_version": report.old.rules_version, "digest": report.old.digest},
        "new": {"rules_version": report.new.rules_version, "digest": report.new.digest},
        "log": report.log,
        "warnings": report.warnings,
        "notes": report.notes,
        "rules": [one._asdict() for one in report.rules],
        "summary": {
            "records": summary.records,
            "refused": summary.refused,
            "other_programmes": summary.other_programmes,
            "learners": summary.learners,
            "learners_changed": len(report.changed),
            "results": [{"old": old, "new": new, "learners": count} for (old, new), count in sorted(summary.results.items())],
            "results_changed": summary.results_changed,
            "totals_changed": summary.totals,
            "credits_changed": summary.credits,
            "courses_newly_passed": summary.passes_gained,
            "courses_no_longer_passed": summary.passes_lost,
            "flags": [{"kind": kind, "change": how, "flags": count} for (kind, how), count in sorted(summary.flags.items())],
            "columns": [{"part": part, "column": column, "changes": n} for (part, column), n in sorted(summary.columns.items())],
        },
        "learners": [{**one._asdict(), "changes": [change._asdict() for change in one.changes]} for one in listed],
        "learners_left_out": len(report.changed) - len(listed),
    }


def write_csv(path: Path, changed: Sequence[Changed]) -> None:
    """One line a change, every learner. Raises OSError."""
    with path.open("w", encoding="utf-8-sig", newline="") as out:  # with a mark, so that spreadsheets read it as UTF-8
        writer = csv.writer(out)
        writer.writerow(["learner_id", "class_id", "part", "ref", "column", "old", "new"])
        for one in changed:
            for change in one.changes:
                row = (one.learner_id, one.class_id, *change)
                writer.writerow(["" if cell is None else str(cell).lower() if isinstance(cell, bool) else cell for cell in row])


def ordered(changed: Sequence[Changed]) -> list[Changed]:
    """Whose result changes first, then whose credits or passes, then the others; each by learner id."""

    def weight(one: Changed) -> int:
        columns = {(change.part, change.column) for change in one.changes}
        return 0 if ("learner", "result") in columns else 1 if columns & {("learner", "credits"), ("course", "passed")} else 2

    return sorted(changed, key=lambda one: (weight(one), one.learner_id))


def tell(console: Console, report: Report, limit: int) -> None:
    """For people."""

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    old, new, summary = report.old, report.new, report.summary
    say(f"{new.id}: rules_version {old.rules_version} → {new.rules_version}, as of {rfc3339(report.now_ms)}", "bold")
    for text in report.warnings:
        say(f"warning: {text}", "yellow")
    if not report.rules:
        say("The two files say the same.")
        return
    rules = Table("rule", "old", "new", title="Rules that differ", title_justify="left")
    for one in report.rules:
        rules.add_row(one.path, *("—" if text is None else escape(text) for text in (one.old, one.new)))
    console.print(rules)
    for text in report.notes:
        say(f"note: {text}", "dim")
    say(
        f"{summary.records:,} records read in {report.seconds:.1f} s ({summary.refused:,} refused, {summary.other_programmes:,} of other"
        f" programmes); {summary.learners:,} learners compared, {len(report.changed):,} would change"
    )
    tell_changes(console, summary, report.changed, limit)


def tell_changes(console: Console, summary: Summary, changed: Sequence[Changed], limit: int) -> None:
    """Counts and learners; nothing where nobody changes."""
    if not changed:
        return
    _counts(console, summary)
    _learners(console, changed, limit)


def _counts(console: Console, summary: Summary) -> None:
    counts = Table("what", "number", title="Summary", title_justify="left")
    counts.columns[1].justify = "right"
    for text, number in (
        ("learners with another result", summary.results_changed),
        ("learners with another total in some course", summary.totals),
        ("learners with other credits", summary.credits),
        ("courses newly passed", summary.passes_gained),
        ("courses no longer passed", summary.passes_lost),
    ):
        counts.add_row(text, f"{number:,}")
    console.print(counts)
    if summary.results_changed:
        names = [name for name in RESULTS if any(name in pair for pair in summary.results)]
        results = Table("result, old ↓ new →", *names, title="Results", title_justify="left")
        for column in results.columns[1:]:
            column.justify = "right"
        for before in names:
            cells = [(after, summary.results[before, after]) for after in names]
            results.add_row(before, *(f"[bold]{n:,}[/]" if n and after != before else f"{n:,}" for after, n in cells))
        console.print(results)
    if summary.flags:
        flags = Table("flags", *_HOW, title="Flags", title_justify="left")
        for column in flags.columns[1:]:
            column.justify = "right"
        for kind in sorted({kind for kind, _ in summary.flags}):
            flags.add_row(kind, *(f"{summary.flags[kind, how]:,}" for how in _HOW))
        console.print(flags)
    columns = Table("column", "changes", title="Every column that changes", title_justify="left")
    columns.columns[1].justify = "right"
    for (part, name), number in sorted(summary.columns.items()):
        columns.add_row(f"{part}: {name or 'comes or goes'}", f"{number:,}")
    console.print(columns)


def _learners(console: Console, changed: Sequence[Changed], limit: int) -> None:
    table = Table("learner", "class", "would change", title="Learners", title_justify="left", show_lines=True)
    for one in ordered(changed)[:limit]:
        table.add_row(one.learner_id, one.class_id, "\n".join(lines_of(one.changes)))
    if limit:
        console.print(table)
    if len(changed) > limit:
        console.print(f"… and {len(changed) - limit:,} more (--limit, --csv)", markup=False, highlight=False)


def lines_of(changes: Sequence[Change]) -> list[str]:
    """The changes in words: a line for the learner, one for each course, one for each flag."""
    lines: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        if change.column:
            text = f"{change.column} {_shown(change.old)} → {_shown(change.new)}"
        elif change.part == "flag":
            text = f"opens ({change.new})" if change.old is None else f"closes (was {change.old})"
        else:
            text = f"new row, total {change.new}" if change.old is None else f"row goes, total was {change.old}"
        lines.setdefault((change.part, change.ref), []).append(text)
    return [f"{'flag ' if part == 'flag' else ''}{ref or part}: {', '.join(texts)}" for (part, ref), texts in lines.items()]


def _shown(value: Value) -> str:
    if value is None:
        return "—"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
