"""The calendar page in Chromium: figures are the API's, links lead to the people, an event changes the page without a reload."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from deploy.demo.life import Sent
from deploy.demo.people import PLAN_A, PLAN_B
from deploy.demo.sheet import instant
from tests.e2e.test_console import World, log_in, log_out, page, shots, world

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(300)]
__all__ = ["page", "shots", "world"]  # fixtures


def calendar(world: World, page: Page, programme: str, unit_id: str) -> Any:
    """The API's calendar, asked with the page's own session."""
    answer = page.request.get(f"{world.house.reporting_url}/v1/programmes/{programme}/units/{unit_id}/calendar")
    assert answer.status == 200
    return answer.json()


def test_the_page_shows_the_apis_figures_and_leads_to_the_people(world: World, page: Page, shots: Path) -> None:
    log_out(page)
    log_in(page, world, "zhuozhou")
    page.goto(f"{world.house.reporting_url}/p/{PLAN_B}/units/zhuozhou")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Calendar").click()
    expect(page.locator("h1")).to_contain_text("Calendar and deadlines")
    found = calendar(world, page, PLAN_B, "zhuozhou")
    assert found["today"] == "2023-12-04"
    expect(page.locator(".kpi b").nth(0)).to_have_text(str(found["totals"]["not_registered"]))
    expect(page.locator(".kpi b").nth(1)).to_have_text(str(found["totals"]["assignment_overdue"]))
    assert page.locator("table.dues tbody tr").count() == len(found["deadlines"]) + 1  # and the line of today
    late = next(one for one in found["deadlines"] if one["kind"] == "assignments" and one["open"])
    assert late["state"] == "overdue"
    row = page.locator(f"#due-{late['key'].replace(':', '-')}")
    expect(row).to_contain_text(f"overdue {late['days']} d")
    expect(row).to_contain_text(f"{late['open']} of {late['owed_by']} short")
    for child in found["children"]:
        expect(page.locator(f"#dueunit-{child['unit_id']}")).to_contain_text(str(child["overdue_learners"]))
    page.screenshot(path=shots / "calendar.png", full_page=True)
    row.get_by_role("link").click()
    expect(page.locator(".chip[aria-current]")).to_contain_text(str(found["totals"]["assignment_overdue"]))
    assert "kind=assignment_overdue" in page.url


def test_a_registration_changes_the_calendar_without_a_reload(world: World, page: Page) -> None:
    """The admin of plan A's first school: one overdue registration less, as soon as the event is through."""
    late = next(one for one in world.population.teachers if one.habit == "never_registered" and one.programme == PLAN_A)
    page.goto(f"{world.house.reporting_url}/p/{PLAN_A}/calendar")
    before = calendar(world, page, PLAN_A, "sn010101")["totals"]["not_registered"]
    assert before >= 1
    card = page.locator(".kpi b").nth(0)
    expect(card).to_have_text(str(before))
    page.evaluate("window.sameDocument = true")
    at = "2023-12-04T21:00:00+08:00"
    event = {
        "specversion": "1.0", "id": "e2e-calendar-1", "source": "/tests", "type": "chalkstream.learner.registered.v1",
        "subject": late.learner_id, "time": at, "programme": PLAN_A, "data": {"class_id": late.class_id},
    }  # fmt: skip
    world.send([Sent(instant(at) // 1000, event)])
    expect(card).to_have_text(str(before - 1), timeout=20_000)
    assert page.evaluate("window.sameDocument === true")


def test_the_catalogue_in_both_languages(world: World, page: Page, shots: Path) -> None:
    page.goto(f"{world.house.reporting_url}/p/{PLAN_A}/catalogue")
    expect(page.locator("h1")).to_contain_text("9 courses · 60 hours · 60 credits")
    page.screenshot(path=shots / "catalogue.png", full_page=True)
    page.goto(f"{world.house.reporting_url}/p/{PLAN_A}/catalogue?lang=zh")
    expect(page.locator("h1")).to_contain_text(re.compile("9 门课程"))
    expect(page.locator("main")).to_contain_text("计入学时满 60")
