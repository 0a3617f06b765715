"""`chalk reconcile`: does ClickHouse agree with a recount from the log, learner by learner and column by column?

It may run while everything is alive. A learner whose figures differ is looked at again, with what the log has got meanwhile,
several times before that is called a difference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from clickhouse_driver import Client
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.programme import load_programmes
from schemas.topics import load_topics
from services.reporting.loader.compare import Difference, Key, Shown, differences, everybody, expected, shown
from services.reporting.loader.recount import ACTIVITY, DIRECTORY, Recount
from services.shared.clickhouse import connect
from services.shared.settings import Settings, settings

app = typer.Typer(add_completion=False)
CHUNK = 500
_RELATIONS = ("learner_progress", "course_progress", "needs_attention")


class NotReached(Exception):
    """ClickHouse did not get as far as the log in time."""


@app.command()
def reconcile(
    rounds: Annotated[int, typer.Option(help="looks at a learner that differs, before it is called a difference")] = 8,
    wait: Annotated[float, typer.Option(help="seconds to wait for ClickHouse to reach the end of the log")] = 120.0,
    show: Annotated[int, typer.Option(help="differences to print")] = 20,
) -> None:
    """Recount every learner from the log and compare with ClickHouse. Exits 1 where they differ."""
    console = Console()
    try:
        agree = asyncio.run(_reconcile(settings(), console, rounds, wait, show))
    except NotReached as error:
        console.print(str(error), markup=False)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if agree else 1)


async def _reconcile(conf: Settings, console: Console, rounds: int, wait: float, show: int) -> bool:
    topics = load_topics()
    client = connect(conf.clickhouse)
    recount = Recount(conf.bootstrap, load_programmes(conf.programmes), {name: topics[name].partitions for name in (ACTIVITY, DIRECTORY)})
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with recount:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("reading the log", total=None)
            await recount.read_on(lambda done, of: progress.update(task, completed=done, total=of))
            task = progress.add_task("comparing learners", total=None)
            found: dict[Key, list[Difference]] = {}
            looked: set[Key] = set()
            for turn in range(rounds):
                if turn:
                    await asyncio.sleep(min(0.5 * turn, 3.0))
                    await recount.read_on()
                as_of_ms = await _reached(client, recount.applied, wait)
                keys = set(found) if turn else recount.learners.keys() | everybody(client)
                looked |= keys
                if not turn:
                    progress.update(task, total=len(keys))
                found = {}
                for some in _chunks(sorted(keys)):
                    for key, stored in shown(client, some).items():
                        wrong = _wrong(recount, key, stored, as_of_ms)
                        if wrong:
                            found[key] = wrong
                    if not turn:
                        progress.advance(task, len(some))
                if not found:
                    break
    client.disconnect()
    _tell(console, recount, looked, found, show, time.monotonic() - started)
    return not found


def _wrong(recount: Recount, key: Key, stored: Shown, as_of_ms: int) -> list[Difference]:
    """How what is stored differs from the recount.

    It has to be right at `as_of_ms`, which was claimed before it was read, or, where it was published later, at that moment.
    """
    learner = recount.learners.get(key)
    if learner is None:
        return differences(key, Shown(None, {}, {}, {}), stored)
    programme = recount.programmes[key[0]]
    moment = max(as_of_ms, stored.updated_ms)
    return differences(key, expected(programme, learner, recount.directory, moment), stored)


async def _reached(client: Client, applied: dict[str, int], wait: float) -> int:
    """Wait until the marts hold everything below `applied`; returns the moment, ms, up to which they claim to be right."""
    until = time.monotonic() + wait
    while True:
        found = client.execute(
            "SELECT toUnixTimestamp64Milli(as_of), applied FROM marts.freshness WHERE relation IN %(names)s", {"names": _RELATIONS}
        )
        behind = {place: (row.get(place, 0), offset) for _, row in found for place, offset in applied.items() if row.get(place, 0) < offset}
        as_of_ms = min((moment for moment, _ in found), default=0)
        if found and not behind and as_of_ms > 0:
            return int(as_of_ms)
        if time.monotonic() > until:
            places = ", ".join(f"{place} is at {at} of {of}" for place, (at, of) in sorted(behind.items())) or "freshness is not known"
            raise NotReached(f"ClickHouse has not reached the end of the log after {wait:g} s: {places}. Do scoring and the loader run?")
        await asyncio.sleep(0.2)


def _chunks(keys: list[Key]) -> Iterator[list[Key]]:
    for at in range(0, len(keys), CHUNK):
        yield keys[at : at + CHUNK]


def _tell(console: Console, recount: Recount, looked: Iterable[Key], found: dict[Key, list[Difference]], show: int, seconds: float) -> None:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    count = len(set(looked))
    say(f"{recount.records} records read ({recount.refused} refused), {count} learners compared in {seconds:.1f} s")
    listed = [one for key in sorted(found) for one in found[key]]
    for one in listed[:show]:
        name = f"{one.where}.{one.column}" if one.column else one.where
        say(f"  {one.learner[0]} {one.learner[1]}: {name}: recount {one.recounted!r}, ClickHouse {one.stored!r}")
    if len(listed) > show:
        say(f"  … and {len(listed) - show} more (--show)")
    say(f"{len(found)} learners differ" if found else "ClickHouse agrees with the log")


if __name__ == "__main__":
    app()
