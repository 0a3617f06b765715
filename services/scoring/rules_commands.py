"""`chalk rules`: whether a rule file is sound, what the loaded programmes say, and whom another rule file would change."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.instants import parse_instant
from schemas.programme import RuleError, digest, load_programmes, programme_of
from schemas.rulefile import read_rules, read_warnings
from schemas.rulemodel import RuleFile
from schemas.ruleyaml import Document, Problem, read_document
from schemas.topics import load_topics
from schemas.verdicts import Bad
from services.scoring.log_reader import LogReader, Unreadable
from services.scoring.rule_fields import differences
from services.scoring.rules_diff import Comparison
from services.scoring.rules_report import Report, as_json, tell, write_csv
from services.scoring.rules_show import heading
from services.scoring.rules_show import show as show_one
from services.shared.clock import parse_clock
from services.shared.settings import settings

app = typer.Typer(help="Rule files of programmes.", no_args_is_help=True)
ACTIVITY = "learning.activity"


def _stop(text: str, status: int) -> typer.Exit:
    typer.echo(text, err=True)
    return typer.Exit(status)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.iterdir() if one.suffix in (".yaml", ".yml") and one.is_file())


def _read(path: Path) -> tuple[RuleFile | None, list[Problem], list[Problem]]:
    """(the rules where they are sound, refusals, warnings)."""
    try:
        document = read_document(path)
        rules = read_rules(document)
    except RuleError as error:
        return None, list(error.problems), []
    return rules, [], read_warnings(document, rules)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="a rule file, or a folder of them")],
    as_object: Annotated[bool, typer.Option("--json", help="one JSON object on standard output")] = False,
) -> None:
    """Say all that is wrong with a rule file, with path, line and reason, and what looks like a mistake. Exit 1 where it is refused."""
    found, bad, owners = [], False, dict[str, Path]()
    for path in _files(file):
        rules, errors, warnings = _read(path)
        if rules is not None and rules.id in owners:
            line = read_document(path).line(("id",))
            errors = [Problem(line, "id", f"{rules.id} is the id of {owners[rules.id]}, too")]
        elif rules is not None:
            owners[rules.id] = path
        bad = bad or bool(errors)
        said: dict[str, object] = {"path": str(path), "sound": not errors}
        if rules is not None:
            said |= {"id": rules.id, "rules_version": rules.rules_version, "digest": programme_of(rules).digest}
        said |= {"errors": [one._asdict() for one in errors], "warnings": [one._asdict() for one in warnings]}
        found.append(said)
        if as_object:
            continue
        for one in errors:
            typer.echo(f"{path}:{one.line}: {one.text}", err=True)
        for one in warnings:
            typer.echo(f"warning: {path}:{one.line}: {one.text}", err=True)
        if rules is not None and not errors:
            typer.echo(f"{rules.id}: sound (rules_version {rules.rules_version}, {len(rules.courses)} courses)")
    if not found:
        raise _stop(f"{file} has no rule file (*.yaml, *.yml)", 1)
    if as_object:
        typer.echo(json.dumps({"sound": not bad, "files": found}, ensure_ascii=False, indent=2))
    if bad:
        raise typer.Exit(1)


@app.command()
def show(
    programme_id: Annotated[str, typer.Argument(help="a programme's id; without it all of them in short")] = "",
    folder: Annotated[Path | None, typer.Option(help="folder of rule files; default: CHALK_PROGRAMMES")] = None,
) -> None:
    """Show the loaded programmes in words: calendar, courses, points, results, flags and reminders."""
    try:
        programmes = load_programmes(folder or settings().programmes)
    except RuleError as error:
        raise _stop(error.everything, 1) from error
    if programme_id and programme_id not in programmes:
        raise _stop(f"unknown programme {programme_id}; there are: {', '.join(programmes) or 'none'}", 1)
    console = Console(width=None if sys.stdout.isatty() else 160)
    if programme_id:
        show_one(console, programmes[programme_id])
    else:
        for programme in programmes.values():
            heading(console, programme)
    console.print(f"digest {digest(programmes)}", style="dim", highlight=False)


@app.command()
def diff(
    files: Annotated[list[Path], typer.Argument(help="OLD NEW: two rule files of one programme; or NEW alone, OLD being the running one")],
    clock: Annotated[str, typer.Option(help="moment to compare at, such as 2023-12-04T21:30:00+08:00; default: CHALK_CLOCK's now")] = "",
    limit: Annotated[int, typer.Option(min=0, help="learners to list; with --json 0 is all")] = 20,
    as_object: Annotated[bool, typer.Option("--json", help="one JSON object on standard output")] = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="file for every change of every learner")] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="exit 1 where a learner would change")] = False,
) -> None:
    """Whom another rule file would change, and how: everybody counted from the log under both. Reads Kafka only, writes nothing.

    Exits 2 where a file or the log can't be used.
    """
    if len(files) > 2:
        raise _stop("two rule files at most: OLD NEW", 2)
    conf = settings()
    try:
        now_ms = parse_instant(clock) if clock else parse_clock(conf.clock).now()
    except (Bad, ValueError) as error:
        raise _stop(f"--clock: {error}" if clock else str(error), 2) from error
    try:
        new = read_document(files[-1])
        new_rules = read_rules(new)
        old = read_document(files[0]) if len(files) == 2 else _running(conf.programmes, new_rules.id)
        old_rules = read_rules(old)
    except RuleError as error:
        raise _stop(error.everything, 2) from error
    if old_rules.id != new_rules.id:
        raise _stop(f"{old.path} is of programme {old_rules.id}, {new.path} of {new_rules.id}", 2)
    rules = differences(old_rules, new_rules)
    report = Report(programme_of(old_rules), programme_of(new_rules), now_ms, rules, _warnings(new, old_rules, new_rules))
    if rules:
        try:
            asyncio.run(_compare(conf.bootstrap, report, quiet=as_object))
        except Unreadable as error:
            raise _stop(str(error), 2) from error
    if csv_file is not None:
        try:
            write_csv(csv_file, report.changed)
        except OSError as error:
            raise _stop(f"{csv_file} can't be written: {error.strerror}", 2) from error
    if as_object:
        typer.echo(json.dumps(as_json(report, limit or None), ensure_ascii=False, indent=2))
    else:
        tell(Console(width=None if sys.stdout.isatty() else 160), report, limit)
    if exit_code and report.changed:
        raise typer.Exit(1)


def _running(folder: Path, programme_id: str) -> Document:
    """The file of that programme in CHALK_PROGRAMMES. Raises RuleError where none is, or one of them is wrong."""
    for path in _files(folder):
        document = read_document(path)
        if read_rules(document).id == programme_id:
            return document
    raise RuleError(folder, 0, f"has no rule file of programme {programme_id} (CHALK_PROGRAMMES)")


def _warnings(document: Document, old: RuleFile, new: RuleFile) -> list[str]:
    found = [f"{document.path}:{one.line}: {one.text}" for one in read_warnings(document, new)]
    if new.rules_version <= old.rules_version:
        line = document.line(("rules_version",))
        text = f"{new.rules_version} is not greater than {old.rules_version}: nobody could tell by which rules a result was made"
        found.append(f"{document.path}:{line}: rules_version: {text}")
    return found


async def _compare(bootstrap: str, report: Report, quiet: bool) -> None:
    """Fill the report in from the log, one partition after the other. Raises Unreadable."""
    started = time.monotonic()
    partitions = load_topics()[ACTIVITY].partitions
    comparison = Comparison(report.old, report.new, report.now_ms)
    columns = (TextColumn("reading the log"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        async with LogReader(bootstrap, ACTIVITY, partitions) as log:
            task = bar.add_task("", total=max(1, log.offsets))
            done = 0
            for number in range(partitions):
                await _partition(log, number, partitions, comparison, lambda at, done=done: bar.update(task, completed=done + at))  # type: ignore[misc]
                done += log.ends[number] - log.begins[number]
            report.log = {f"{ACTIVITY}:{number}": end for number, end in sorted(log.ends.items())}
    report.summary, report.changed = comparison.summary, comparison.changed
    report.seconds = time.monotonic() - started


async def _partition(log: LogReader, number: int, partitions: int, comparison: Comparison, told: Callable[[int], None]) -> None:
    async for records, position in log.partition(number):
        comparison.take(records, number, partitions)
        told(position - log.begins[number])
    comparison.close()
