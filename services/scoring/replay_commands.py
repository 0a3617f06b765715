"""`chalk replay`: everybody scored anew by other rules beside the running system, compared, put into use by one command, and back."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from clickhouse_driver.errors import Error as ClickHouseError
from kafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from schemas.programme import Programme, RuleError, digest, load_programmes
from schemas.topics import load_topics
from services.scoring.replay import Desk, NotTaken, back, caught_up, clear, shown, switch
from services.scoring.replay_compare import Found, compare
from services.scoring.replay_files import Refused, Shadow, generations, proposed
from services.scoring.replay_kafka import Broker
from services.scoring.replay_report import as_json, tell
from services.scoring.replay_workers import WorkerFailed
from services.scoring.rules_report import write_csv
from services.shared.clickhouse import OUTAGES, connect
from services.shared.generation import BadName, Generation
from services.shared.kafka import TopicMismatch
from services.shared.settings import settings

app = typer.Typer(help="Another set of rules beside the running one: build, compare, switch, and back.", invoke_without_command=True)
SAY_SECONDS = 5.0
_Name = Annotated[str, typer.Argument(help="name of the generation")]
_Wait = Annotated[float, typer.Option(help="seconds to wait for the live services")]


class Meter:
    """Progress as a bar in a terminal, else a line every few seconds, on standard error."""

    def __init__(self, quiet: bool) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self._bar = Progress(*columns, console=console, transient=True) if console.is_terminal and not quiet else None
        self._quiet = quiet
        self._task: TaskID | None = None
        self._what, self._began, self._first, self._said = "", 0.0, 0, 0.0

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            typer.echo(text, err=True)

    def show(self, what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._first, self._said = what, now, done, now
            if self._bar is not None:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(what, total=of or None, rate="")
                self._bar.start()
        if done <= self._first:  # it has not begun, or a worker that died begins again
            self._began, self._first = now, done
        seconds = now - self._began
        rate = (done - self._first) / seconds if seconds > 0.5 else 0.0
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=of or None, rate=f"{rate:,.0f}/s" if rate else "")
        elif not self._quiet and now - self._said >= SAY_SECONDS:
            self._said = now
            left = f", about {(of - done) / rate:.0f} s left" if rate and of else ""
            typer.echo(f"{what}: {done:,} of {of:,}, {rate:,.0f}/s{left}" if of else what, err=True)


@contextmanager
def _desk(quiet: bool = False) -> Iterator[Desk]:
    """What the commands work with; their errors as one line of text and an exit status: 2 refused, 1 failed."""
    conf = settings()
    structlog.configure(  # standard output is the command's own; standard error may be another one later
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    meter = Meter(quiet)
    client = connect(conf.clickhouse)
    try:
        yield Desk(conf, Broker(conf.bootstrap, load_topics(), conf.kafka_replication), client, meter.show, meter.say)
    except (Refused, BadName, TopicMismatch) as error:
        meter.close()
        raise _stop(str(error), 2) from error
    except RuleError as error:
        meter.close()
        raise _stop(error.everything, 2) from error
    except (WorkerFailed, NotTaken, KafkaError, ClickHouseError, *OUTAGES) as error:
        meter.close()
        raise _stop(str(error) or type(error).__name__, 1) from error
    finally:
        meter.close()
        client.disconnect()


def _stop(text: str, status: int) -> typer.Exit:
    typer.echo(text, err=True)
    return typer.Exit(status)


@app.callback()
def replay(
    context: typer.Context,
    rules: Annotated[Path | None, typer.Option(help="folder of rule files, or one file that replaces its programme's")] = None,
    into: Annotated[str, typer.Option(help="name of the generation: a-z, 0-9, -")] = "",
    limit: Annotated[int, typer.Option(min=0, help="learners to list; with --json 0 is all")] = 20,
    as_object: Annotated[bool, typer.Option("--json", help="one JSON object on standard output")] = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="file for every change of every learner")] = None,
) -> None:
    """Score everybody anew by other rules, into tables of their own (marts_NAME), and compare with the running ones.

    Called again it goes on where it was. Exits 2 where something is refused, 1 where it fails.
    """
    if context.invoked_subcommand is not None:
        return
    if not into:
        raise _stop("expected --rules FOLDER --into NAME, or one of: switch, back, list, drop", 2)
    with _desk(as_object) as desk:
        shadow = desk.shadow(into)
        with shadow.held():
            programmes = shadow.programmes() if rules is None else shadow.keep(proposed(rules, desk.conf.programmes))
            _warn(desk, programmes)
            with caught_up(desk, shadow):
                found = compare(desk.client, shadow.generation, told=lambda done, of: desk.show("comparing learners", done, of))
        if csv_file is not None:
            _write(csv_file, found)
        running = load_programmes(desk.conf.programmes)
        if as_object:
            typer.echo(json.dumps(as_json(found, shadow, desk.conf.programmes, limit or None), ensure_ascii=False, indent=2))
            return
        tell(Console(width=None if sys.stdout.isatty() else 160), found, shadow, desk.conf.programmes, limit)
        _next(into, same=digest(programmes) == digest(running), found=found)


def _write(path: Path, found: Found) -> None:
    try:
        write_csv(path, [one for programme in found.programmes.values() for one in programme.changed])
    except OSError as error:
        raise Refused(f"{path} can't be written: {error.strerror}") from error


def _warn(desk: Desk, programmes: dict[str, Programme]) -> None:
    for programme in programmes.values():
        for text in programme.warnings:
            desk.say(f"warning: {text}")
    for name in sorted(load_programmes(desk.conf.programmes).keys() - programmes.keys()):
        desk.say(f"warning: no rule file of programme {name}: its learners would be gone")


def _next(name: str, same: bool, found: Found) -> None:
    marts = Generation(name).marts
    typer.echo(f"\n{name} is ready: look at it in ClickHouse, database {marts}.")
    if same:
        typer.echo("Its rules are the running ones" + (", and yet the figures differ: that should not be." if found.differs else "."))
    else:
        typer.echo(f"To put its rules into use: chalk replay switch {name}     (and back again: chalk replay back)")
    typer.echo(f"To be rid of it: chalk replay drop {name}")


@app.command("switch")
def switch_command(name: _Name, wait: _Wait = 600.0) -> None:
    """Put a generation's rules into use: bring it up to date, change the rule files, wait until the live services have taken them over."""
    with _desk() as desk:
        typer.echo(switch(desk, desk.shadow(name), wait))


@app.command("back")
def back_command(wait: _Wait = 600.0) -> None:
    """Put the rules back that the last switch took out of use. Their state was kept: it is caught up, nothing is read from the start."""
    with _desk() as desk:
        typer.echo(back(desk, wait))


@app.command("list")
def list_command(as_object: Annotated[bool, typer.Option("--json", help="one JSON object on standard output")] = False) -> None:
    """The generations that there are, and what the live services stand on."""
    with _desk(as_object) as desk:
        rows = list(_standing(desk))
    if as_object:
        typer.echo(json.dumps({"generations": rows}, ensure_ascii=False, indent=2))
        return
    table = Table("generation", "rules", "records read", "is", title_justify="left")
    for row in rows:
        table.add_row(*(escape(text) for text in (shown(row["name"]), row["rules"], f"{row['applied']:,} of {row['log']:,}", row["is"])))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _standing(desk: Desk) -> Iterator[dict[str, Any]]:
    words = desk.broker.words()
    live = {word.generation for word in words.values()}
    begins, ends = desk.broker.log()
    running = _said(desk.conf.programmes)
    known = {"", *desk.broker.generations(), *generations(desk.conf.data), *live}
    for name in sorted(known):
        generation = Generation(name)
        mine = words if name in live else desk.broker.words(generation) if name else {}
        rules = running if name in live else _said(Shadow(desk.conf.data, name).rules) if name else ""
        stands = (
            "live" if name in live else "being worked on" if name and Shadow(desk.conf.data, name).busy else "shadow" if name else "former"
        )
        yield {
            "name": name, "rules": rules, "applied": sum(word.applied for word in mine.values()) - sum(begins.values()) if mine else 0,
            "log": sum(ends.values()) - sum(begins.values()), "is": stands,
        }  # fmt: skip


def _said(folder: Path) -> str:
    """A folder's rules in short: each programme and its rules_version."""
    try:
        return ", ".join(f"{one.id} v{one.rules_version}" for one in load_programmes(folder).values())
    except RuleError as error:
        return "not here" if not folder.is_dir() else f"refused: {error}"


@app.command("drop")
def drop_command(name: _Name) -> None:
    """Delete a generation: its topics, its tables, its folder. Refused where it is live or in use."""
    with _desk() as desk:
        shadow = desk.shadow(name)
        generation = shadow.generation
        if desk.live_on(generation):
            raise Refused(f"{name} is live: `chalk replay back`, or a switch to another generation, comes first")
        if not shadow.folder.is_dir() and name not in desk.broker.generations():
            raise Refused(f"there is no generation {name}; `chalk replay list` says which there are")
        with shadow.held():
            topics = clear(desk, shadow)
            shutil.rmtree(shadow.rules, ignore_errors=True)  # and with them the folder: see `held`
        typer.echo(f"{name} is gone: {len(topics)} topics, its tables and its folder")


if __name__ == "__main__":
    app()
