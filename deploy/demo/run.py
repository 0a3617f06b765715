"""`make demo`: two programmes alive. Starts everything, loads some weeks of history through the door, then goes on live."""

from __future__ import annotations

import asyncio
import heapq
import random
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.demo import simulate
from deploy.demo.banner import announce, farewell, opening
from deploy.demo.courier import Courier
from deploy.demo.door import Door, Stopped
from deploy.demo.house import House, end_previous, environment
from deploy.demo.intruder import Intruder
from deploy.demo.life import Life, Sent, local_day, stamp
from deploy.demo.people import Population, populate
from deploy.demo.pipe import fill_identity, ingest_token, reporting_token
from deploy.demo.plans import Plan, read_plans
from deploy.local.supervisor import NotReady
from services.shared.clock import Clock, parse_clock
from services.shared.settings import Settings

START = "2023-12-04T21:30:00+08:00"
SEED = 2023
PER_TEACHER = 56  # events of history, roughly: for the progress bar until the real number is known
PULSE = 0.5  # real seconds between two looks at what has happened meanwhile


def default_speed(teachers: int) -> float:
    """Clock seconds a real second: a day in six minutes, slower for crowds, so that the live traffic stays what two cores like."""
    return 240.0 if teachers <= 5000 else max(60.0, 240.0 * 5000 / teachers)


@dataclass(slots=True)
class Stream:
    """The population's lives: first their history, class by class, then what happens as the clock goes on."""

    population: Population
    plans: dict[str, Plan]
    start: int  # seconds
    lives: list[Life] = field(default_factory=list)
    day: int = 0
    ahead: list[tuple[int, int, Sent]] = field(default_factory=list)
    number: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(SEED))

    def history(self) -> Iterator[Sent]:
        self.day = local_day(self.start)
        for group in simulate.by_class(self.population):
            lives = simulate.lives(group, self.plans, SEED, self.start)
            past, ahead = simulate.history(lives, self.start)
            self.lives += lives
            for one in ahead:
                self._keep(one)
            yield from past

    def until(self, now: int) -> Iterator[Sent]:
        """What is sent up to the moment `now` (seconds); a late one is held back for hours, up to a day and a half."""
        while self.day < local_day(now):
            self.day += 1
            for life in self.lives:
                for one in life.advance(self.day):
                    self._keep(one)
        while self.ahead and self.ahead[0][0] <= now:
            yield heapq.heappop(self.ahead)[2]

    def _keep(self, one: Sent) -> None:
        self.number += 1
        release = one.at + (self.rng.randrange(1800, 36 * 3600) if one.late else 0)
        heapq.heappush(self.ahead, (release, self.number, one))


def run(teachers: int, speed: float | None, values: Settings, console: Console) -> None:
    """Returns after Ctrl-C or SIGTERM, with everything stopped. Raises Unprepared, PortTaken, NotReady, Busy, Refused."""
    pace = default_speed(teachers) if speed is None else speed
    folder = (values.data / "demo").resolve()
    if not end_previous(folder):
        raise NotReady(f"a demo still has {folder} and does not end")
    shutil.rmtree(folder, ignore_errors=True)
    plans = read_plans(values.programmes)
    clock = parse_clock(f"{START}@{pace:g}")
    values = values.model_copy(update={"data": folder, "clock": clock.text()})
    with House(values) as house:
        house.supervisor.install_signals()
        try:
            console.print(f"A demo of {teachers:,} teachers, from nothing, in {folder}")
            house.start(lambda text: console.print(f"  {text} …", highlight=False))
            lines = [f"export {name}={value!r}\n" for name, value in sorted(environment(values).items())]
            (folder / "env").write_text("".join(lines))
            population = populate(teachers, SEED)
            opening(console, house, population)
            asyncio.run(_live(house, Stream(population, plans, clock.start_ms // 1000), clock, console))
        except Stopped:
            pass
        except NotReady:
            if not house.supervisor.stopping:
                raise
        farewell(console)


async def _live(house: House, stream: Stream, clock: Clock, console: Console) -> None:
    token = ingest_token(house)
    door = Door(house.ingest_url, token, stop=lambda: house.supervisor.stopping)
    people = threading.Thread(target=fill_identity, args=(house, stream.population), name="identity", daemon=True)
    people.start()
    courier = Courier(house.reporting_url, reporting_token(house))
    work: asyncio.Task[None] | None = None
    try:
        await _load(house, stream, door, console)
        await asyncio.to_thread(people.join)
        work = asyncio.create_task(courier.work())
        intruder = Intruder(house.values.bootstrap)
        await asyncio.to_thread(intruder.garbage, clock.now())
        intruder.close()
        announce(console, house, stream.population, clock, door.said, token)
        await _go_on(house, stream, clock, door, courier, console)
    finally:
        if work:
            work.cancel()
        await door.close()


async def _load(house: House, stream: Stream, door: Door, console: Console) -> None:
    """The directory first, then everybody's history."""

    def watched(source: Iterator[Sent]) -> Iterator[Sent]:
        for one in source:
            if house.supervisor.stopping:
                raise Stopped
            yield one

    begin = min(plan.opens for plan in stream.plans.values()) // 1000
    last = max(plan.opens for plan in stream.plans.values()) // 1000
    directory = [*simulate.declared(stream.population.units, begin), *simulate.assigned(stream.population.staff, last)]
    await door.load(watched(iter(directory)))
    total = len(directory) + PER_TEACHER * len(stream.population.teachers)
    bar = Progress(
        TextColumn("  history"), BarColumn(40), MofNCompleteColumn(), TextColumn("events"), TimeElapsedColumn(),
        TextColumn("{task.fields[rate]}"), console=console, refresh_per_second=4,
    )  # fmt: skip
    began = time.monotonic()
    with bar:
        task = bar.add_task("history", total=total, rate="", completed=len(directory))

        def progress(count: int) -> None:
            rate = door.said.sent / max(0.1, time.monotonic() - began)
            bar.update(task, advance=count, total=max(total, door.said.sent), rate=f"{rate:,.0f}/s")

        await door.load(watched(stream.history()), progress=progress)
        bar.update(task, total=door.said.sent, completed=door.said.sent)


async def _go_on(house: House, stream: Stream, clock: Clock, door: Door, courier: Courier, console: Console) -> None:
    """Send what happens as it happens, until a signal comes."""
    before, told = door.said.sent, time.monotonic()
    while not house.supervisor.stopping:
        await door.load(stream.until(clock.now() // 1000), size=500)
        if time.monotonic() - told > 60:
            told = time.monotonic()
            said = door.said
            moment = stamp(clock.now() // 1000)[:16].replace("T", " ")
            console.print(
                f"  [dim]{moment}[/]  live {said.sent - before:,} events · rejected {said.rejected:,} · duplicates {said.duplicate:,}"
                f" · reminders {courier.delivered:,} delivered, {courier.failed:,} failed",
                highlight=False,
            )
        await asyncio.sleep(PULSE)
