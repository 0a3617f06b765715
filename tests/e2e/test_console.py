"""The console in Chromium: a learner's event, sent through the door, appears on the admin's page without a reload."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from deploy.demo import simulate
from deploy.demo.door import Door
from deploy.demo.house import House, with_free_ports
from deploy.demo.life import Sent
from deploy.demo.people import PASSWORD, PLAN_A, Population, Teacher, populate
from deploy.demo.pipe import fill_identity, ingest_token, wait_fresh
from deploy.demo.plans import read_plans
from deploy.demo.run import START
from deploy.demo.sheet import instant
from services.shared.clock import parse_clock
from services.shared.settings import ROOT, Settings

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(300)]

CHROMIUM = next(
    (path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(path).exists()), None
)


class World:
    """A small demo that stands at START, its people, and a door to it."""

    def __init__(self, house: House, population: Population) -> None:
        self.house, self.population = house, population
        self.token = ingest_token(house)

    def send(self, events: list[Sent]) -> None:
        async def one() -> dict[str, int]:
            door = Door(self.house.ingest_url, self.token)
            await door.load(events)
            await door.close()
            assert not door.said.surprises
            return door.said.applied

        with ThreadPoolExecutor(1) as pool:  # Playwright's own loop runs in this thread
            applied = pool.submit(lambda: asyncio.run(one())).result()
        wait_fresh(self.house, applied, 120)

    def unstarted(self) -> Teacher:
        """A teacher of the first school of plan A who has registered and never studied."""
        return next(one for one in self.population.teachers if one.habit == "never_started" and one.programme == PLAN_A)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    folder = Path(tempfile.gettempdir()) / "console"
    values = with_free_ports(Settings(data=folder)).model_copy(update={"clock": parse_clock(f"{START}@1").text()})
    population, plans, start = populate(80, 3), read_plans(values.programmes), instant(START) // 1000
    try:
        with House(values) as house:
            house.start()
            fill_identity(house, population)
            one = World(house, population)
            opens = max(plan.opens for plan in plans.values()) // 1000
            events = [*simulate.declared(population.units, opens), *simulate.assigned(population.staff, opens)]
            for group in simulate.by_class(population):
                events += [sent for sent in simulate.history(simulate.lives(group, plans, 3, start), start)[0] if sent.sound]
            one.send(events)
            yield one
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def shots() -> Path:
    """Where screenshots go: they stay, so that somebody can look at them."""
    folder = ROOT / ".chalk" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(world: World) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.fail("Chromium is not there: run `make setup-browser`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        context = browser.new_context(locale="en-GB", viewport={"width": 1360, "height": 900})
        context.set_default_timeout(30_000)
        one = context.new_page()
        problems: list[str] = []
        one.on("pageerror", lambda error: problems.append(str(error)))
        log_in(one, world, "sn010101")
        yield one
        browser.close()
        assert problems == []


def log_out(page: Page) -> None:
    """Forget the session. The page is left first: one that looks for news without it goes to the login by itself, at any moment."""
    page.goto("about:blank")
    page.context.clear_cookies()


def log_in(page: Page, world: World, username: str) -> None:
    page.goto(f"{world.house.reporting_url}/login?lang=en")
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", PASSWORD)
    page.click("button.primary")
    page.wait_for_url(lambda address: "/login" not in address)


def half_an_hour(teacher: Teacher) -> Sent:
    """Study of the evening on which the demo stands."""
    start, end = (f"2023-12-04T20:{minute}:00+08:00" for minute in ("00", "30"))
    event = {
        "specversion": "1.0", "id": "e2e-1", "source": "/tests", "type": "chalkstream.study.recorded.v1", "subject": teacher.learner_id,
        "time": end, "programme": PLAN_A,
        "data": {"course_id": "s-design", "started_at": start, "ended_at": end, "channel": "online"},
    }  # fmt: skip
    return Sent(instant(end) // 1000, event)


def test_overview_shows_the_units_figures(world: World, page: Page, shots: Path) -> None:
    page.goto(f"{world.house.reporting_url}/p/{PLAN_A}/units/sn010101")
    name = next(unit.name for unit in world.population.units if unit.unit_id == "sn010101")
    expect(page.locator("h1")).to_contain_text(name)
    learners = sum(one.programme == PLAN_A for one in world.population.teachers)
    expect(page.locator(".kpi b").first).to_contain_text(str(learners))
    page.screenshot(path=shots / "overview.png", full_page=True)


def test_an_event_appears_on_the_admins_page_without_a_reload(world: World, page: Page, shots: Path) -> None:
    teacher = world.unstarted()
    page.goto(f"{world.house.reporting_url}/p/{PLAN_A}/learners/{teacher.learner_id}")
    expect(page.locator("h1")).to_contain_text(teacher.name)
    hours = page.locator(".kpi b").first
    expect(hours).to_contain_text("0")
    assert page.locator(".flagline").count() >= 1
    page.evaluate("window.sameDocument = true")
    page.screenshot(path=shots / "learner-before.png", full_page=True)
    world.send([half_an_hour(teacher)])
    expect(hours).to_contain_text("0.66", timeout=20_000)  # 30 minutes are 0.66 hours of 45 minutes
    expect(page.locator("ul.story li").first).to_be_visible()
    assert page.evaluate("window.sameDocument === true")
    page.screenshot(path=shots / "learner-after.png", full_page=True)


def test_another_schools_learner_is_not_there(world: World, page: Page) -> None:
    stranger = next(one for one in world.population.teachers if one.programme != PLAN_A)
    answer = page.goto(f"{world.house.reporting_url}/p/{stranger.programme}/learners/{stranger.learner_id}")
    assert answer is not None
    assert answer.status == 404
    assert stranger.name not in page.content()


def test_needs_attention_lists_and_takes_a_follow_up(world: World, page: Page, shots: Path) -> None:
    page.goto(f"{world.house.reporting_url}/p/{PLAN_A}/attention")
    expect(page.locator("[data-follow]").first).to_be_visible()
    page.screenshot(path=shots / "attention.png", full_page=True)
