"""`make demo-check`: the demo without a person. From nothing, at a clock that stands; all figures against the demo's knowledge."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from deploy.demo import simulate
from deploy.demo.compare import Area, Row, course_row, flag_row, learner_row, unit_row
from deploy.demo.door import Door, Stopped
from deploy.demo.house import House, with_free_ports
from deploy.demo.intruder import Intruder
from deploy.demo.knowledge import tally
from deploy.demo.life import Sent
from deploy.demo.people import Population, populate
from deploy.demo.pipe import fill_identity, ingest_token, reporting_token, rows, wait_fresh
from deploy.demo.plans import Plan, read_plans
from deploy.demo.run import SEED, START
from deploy.demo.sheet import Known, Tally, instant, known
from deploy.demo.units import sum_units
from deploy.local.supervisor import Busy, is_held
from services.shared.clock import parse_clock
from services.shared.settings import Settings

LOOKED_AT = 150  # learners whose own page of the API is compared; the lists cover everybody
ISO = "date_time_output_format = 'iso'"


@dataclass(slots=True)
class Knowledge:
    """Everything the simulator did, worked out: tallies by (programme, learner)."""

    population: Population
    plans: dict[str, Plan]
    now: int
    until: int = 0  # where the history ends, milliseconds; 0: now
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)  # distinct sound learner events by programme
    direct: list[Sent] = field(default_factory=list)  # not for the door: written to the log by the platform itself

    def history(self) -> Iterator[Sent]:
        """What goes through the door; learns from it while it is taken."""
        number, until = 0, (self.until or self.now) // 1000
        for group in simulate.by_class(self.population):
            past, _ = simulate.history(simulate.lives(group, self.plans, SEED, until), until)
            learned: dict[tuple[str, str], dict[tuple[str, str], Known]] = {}
            for one in past:
                number += 1
                if one.sound:
                    fact = known(one.event)
                    learned.setdefault((one.event["programme"], one.event["subject"]), {})[fact.source, fact.id] = fact
                if one.sound and number % 701 == 0:
                    self.direct.append(one)
                else:
                    yield one
            for (programme, learner), facts in learned.items():
                self.tallies[programme, learner] = tally(self.plans[programme], learner, facts.values(), self.now)
                self.facts[programme] = self.facts.get(programme, 0) + len(facts)


def check(teachers: int, values: Settings, console: Console, keep: bool = False) -> bool:
    """Whether all agree. Raises Busy, Unprepared, PortTaken, NotReady, NotFresh, Refused, and Stopped after Ctrl-C."""
    folder = (values.data / "demo-check").resolve()
    if is_held(folder):
        raise Busy(f"another check is at work in {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    now = instant(START)
    clock = parse_clock(f"{START}@0")
    values = with_free_ports(values).model_copy(update={"data": folder, "clock": clock.text()})
    began = time.monotonic()
    with House(values) as house:
        house.supervisor.install_signals()
        house.start(lambda text: console.print(f"{text} …", highlight=False))
        knowledge = Knowledge(populate(teachers, SEED), read_plans(values.programmes), now)
        areas = asyncio.run(_load(house, knowledge, console))
        console.print(f"comparing, {time.monotonic() - began:.0f} s after the start …", highlight=False)
        areas += clickhouse_areas(house, knowledge) + _api(house, knowledge)
        _print(console, areas)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    agree = not any(area.different for area in areas)
    console.print(f"{'all agree' if agree else 'NOT all agree'}, after {time.monotonic() - began:.0f} s", highlight=False)
    return agree


async def _load(house: House, knowledge: Knowledge, console: Console) -> list[Area]:
    population, plans = knowledge.population, knowledge.plans
    fill_identity(house, population)
    door = Door(house.ingest_url, ingest_token(house), stop=lambda: house.supervisor.stopping)
    opens = max(plan.opens for plan in plans.values()) // 1000
    directory = [*simulate.declared(population.units, opens), *simulate.assigned(population.staff, opens)]
    began = time.monotonic()
    try:
        await door.load(iter(directory), size=500)
        await door.load(knowledge.history(), size=500)
    finally:
        await door.close()
    intruder = Intruder(house.values.bootstrap)
    intruder.pass_on(knowledge.direct, knowledge.now)
    garbage = intruder.garbage(knowledge.now)
    intruder.close()
    said = door.said
    console.print(
        f"{said.sent:,} events through the door in {time.monotonic() - began:.1f} s ({said.accepted:,} accepted,"
        f" {said.duplicate:,} duplicates, {said.rejected:,} rejected), {len(knowledge.direct)} written to the log by their platform,"
        f" {garbage} records of garbage",
        highlight=False,
    )
    applied = dict(said.applied)
    for place, offset in intruder.applied.items():
        applied[place] = max(offset, applied.get(place, 0))
    began = time.monotonic()
    await asyncio.to_thread(wait_fresh, house, applied, 600, lambda: house.supervisor.stopping)
    if house.supervisor.stopping:
        raise Stopped
    console.print(f"everything is in the figures {time.monotonic() - began:.1f} s later", highlight=False)

    verdicts = Area("verdicts of the door")
    verdicts.rows = verdicts.values = said.sent
    verdicts.different, verdicts.examples = said.unexpected, said.surprises[:8]
    rejected = Area("learning.rejected")
    found = {row["n"] for row in rows(house, "SELECT count() AS n FROM store.rejected FINAL")}
    rejected.row("records", {"n": garbage}, {"n": found.pop()})
    return [verdicts, rejected]


def _expected(knowledge: Knowledge) -> dict[str, dict[Any, Row]]:
    units = {unit.unit_id: unit for unit in knowledge.population.units}
    sums = sum_units(units.values(), knowledge.tallies.values(), knowledge.now)
    everybody = knowledge.tallies.items()
    return {
        "learner_progress": {key: learner_row(units, one) for key, one in everybody},
        "course_progress": {(*key, course): course_row(has) for key, one in everybody for course, has in one.courses.items()},
        "needs_attention": {(*key, flag.kind, flag.ref): flag_row(flag) for key, one in everybody for flag in one.flags},
        "unit_progress": {key: unit_row(units[key[1]], sum_) for key, sum_ in sums.items()},
        "activity_daily": {
            (*key, day.isoformat()): {"active_learners": active, "credited_seconds": seconds}
            for key, sum_ in sums.items()
            for day, (active, seconds) in sum_.days.items()
            if active or seconds
        },
    }


KEYS = {
    "learner_progress": ("programme", "learner_id"),
    "course_progress": ("programme", "learner_id", "course_id"),
    "needs_attention": ("programme", "learner_id", "kind", "ref"),
    "unit_progress": ("programme", "unit_id"),
    "activity_daily": ("programme", "unit_id", "day"),
}


def clickhouse_areas(house: House, knowledge: Knowledge) -> list[Area]:
    """Every row of the relations that the demo knows about, compared."""
    areas = []
    for relation, expected in _expected(knowledge).items():
        area = Area(f"ClickHouse marts.{relation}")
        found = rows(house, f"SELECT * FROM marts.{relation}", ISO)
        area.all(expected, ((tuple(row[column] for column in KEYS[relation]), row) for row in found))
        areas.append(area)
    events = Area("ClickHouse marts.events")
    counts = rows(house, "SELECT programme, count() AS n FROM marts.events GROUP BY programme")
    events.all({name: {"n": count} for name, count in knowledge.facts.items()}, ((row["programme"], row) for row in counts))
    return [*areas, events]


def _get(area: Area, http: httpx.Client, path: str) -> Row:
    """The JSON object at a path; another status than 200 is a difference, and gives {}."""
    answer = http.get(path)
    if answer.status_code != 200:
        area.differ(f"{path} answered {answer.status_code}: {answer.text[:200]}")
        return {}
    found: Row = answer.json()
    return found


def _pages(http: httpx.Client, path: str, name: str) -> Iterator[Row]:
    cursor: str | None = None
    while True:
        answer = http.get(path, params={"limit": 500} | ({"cursor": cursor} if cursor else {}))
        answer.raise_for_status()
        page = answer.json()
        yield from page[name]
        cursor = page["next_cursor"]
        if not cursor:
            return


def _api(house: House, knowledge: Knowledge) -> list[Area]:
    expected = _expected(knowledge)
    units, learners, flags, pages, scoped = (
        Area(f"API {name}") for name in ("units", "learners", "attention", "learner pages", "what a county sees")
    )
    client = {"base_url": house.reporting_url, "timeout": 60, "trust_env": False}
    with httpx.Client(headers={"authorization": f"Bearer {reporting_token(house)}"}, **client) as http:  # type: ignore[arg-type]
        for (programme, unit), row in expected["unit_progress"].items():
            units.row((programme, unit), row, _get(units, http, f"/v1/programmes/{programme}/units/{unit}"))
        found_learners, found_flags = [], []
        for programme in knowledge.plans:
            found_learners += [
                ((programme, row["learner_id"]), row) for row in _pages(http, f"/v1/programmes/{programme}/learners", "learners")
            ]
            found_flags += [
                ((programme, row["learner_id"], row["kind"], row["ref"]), row)
                for row in _pages(http, f"/v1/programmes/{programme}/attention", "attention")
            ]
        learners.all(expected["learner_progress"], found_learners)
        flags.all(expected["needs_attention"], found_flags)
        every = max(1, len(knowledge.tallies) // LOOKED_AT)
        for (programme, learner), one in list(knowledge.tallies.items())[::every]:
            page = _get(pages, http, f"/v1/programmes/{programme}/learners/{learner}")
            if page:
                _page(pages, one, expected["learner_progress"][programme, learner], page)
    county = next(unit.unit_id for unit in knowledge.population.units if unit.level == "county")
    with httpx.Client(headers={"authorization": f"Bearer {reporting_token(house, county)}"}, **client) as http:  # type: ignore[arg-type]
        for programme in knowledge.plans:
            mine = {key: row for key, row in expected["learner_progress"].items() if key[0] == programme and row["county_id"] == county}
            seen = [((programme, row["learner_id"]), row) for row in _pages(http, f"/v1/programmes/{programme}/learners", "learners")]
            scoped.all(mine, seen)
    return [units, learners, flags, pages, scoped]


def _page(area: Area, one: Tally, expected: Row, page: Row) -> None:
    """A learner's own page: totals, courses, flags, days."""
    area.row(one.learner_id, expected, page)
    area.all(
        {(one.learner_id, course): course_row(has) for course, has in one.courses.items()},
        (((one.learner_id, row["course_id"]), row) for row in page["courses"]),
    )
    area.all(
        {(one.learner_id, flag.kind, flag.ref): flag_row(flag) for flag in one.flags},
        (((one.learner_id, row["kind"], row["ref"]), row) for row in page["flags"]),
    )
    days = {
        (one.learner_id, day.isoformat()): {"credited_seconds": seconds, "active": active} for day, (seconds, active) in one.days.items()
    }
    area.all(days, (((one.learner_id, row["day"]), row) for row in page["days"]))


def _print(console: Console, areas: list[Area]) -> None:
    table = Table("compared", "rows", "values", "different")
    for column in table.columns[1:]:
        column.justify = "right"
    for area in areas:
        table.add_row(area.name, f"{area.rows:,}", f"{area.values:,}", f"[red]{area.different:,}[/]" if area.different else "0")
    console.print(table)
    for area in areas:
        for text in area.examples:
            console.print(f"  {area.name}: {text}", highlight=False, markup=False, soft_wrap=True)
