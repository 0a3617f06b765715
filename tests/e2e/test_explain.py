"""A learner's account in Chromium, through the whole pipe: opens by keyboard, adds up, follows the learner's events without a reload."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from deploy.demo.life import Sent
from deploy.demo.people import PLAN_A, PLAN_B, Teacher
from deploy.demo.sheet import instant
from tests.e2e.test_console import World, log_in, log_out, page, shots, world

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(300)]
__all__ = ["page", "shots", "world"]  # fixtures


def ask(world: World, page: Page, path: str) -> Any:
    """The API, asked with the page's own session."""
    answer = page.request.get(f"{world.house.reporting_url}/v1/programmes/{path}")
    assert answer.status == 200, path
    return answer.json()


def sitting(teacher: Teacher, id: str, course: str, begins: str, ends: str) -> Sent:
    """Study on the evening before the one on which the demo stands."""
    start, end = (f"2023-12-03T{text}:00+08:00" for text in (begins, ends))
    event = {
        "specversion": "1.0", "id": id, "source": "/tests", "type": "chalkstream.study.recorded.v1", "subject": teacher.learner_id,
        "time": end, "programme": PLAN_A, "data": {"course_id": course, "started_at": start, "ended_at": end, "channel": "online"},
    }  # fmt: skip
    return Sent(instant(end) // 1000, event)


def test_every_learners_account_agrees_with_what_is_published(world: World, page: Page) -> None:
    """Of both programmes: each account adds up (or it would be a 500) and equals the published rows, column by column."""
    log_out(page)
    for programme, login in ((PLAN_A, "shaanxi"), (PLAN_B, "hebei")):
        log_out(page)
        log_in(page, world, login)
        people = ask(world, page, f"{programme}/learners?limit=500")["learners"]
        assert len(people) > 20
        reasons = set()
        for person in people:
            told = ask(world, page, f"{programme}/learners/{person['learner_id']}/explain")
            assert told["agrees"], (person["learner_id"], told["differences"])
            assert (told["credits"], told["credited_seconds"]) == (person["credits"], person["credited_seconds"])
            for course in told["courses"]:
                reasons |= {why["code"] for item in course["items"] for fact in item["facts"] for why in fact["reasons"]}
        assert "overlapped" in reasons


def test_an_account_opens_by_keyboard_and_adds_up(world: World, page: Page, shots: Path) -> None:
    log_out(page)
    log_in(page, world, "hebei")
    people = ask(world, page, f"{PLAN_B}/learners?sort=-credited_seconds&limit=50")["learners"]
    person = next(one for one in people if one["mode"] == "online" and one["result"] == "in_progress")
    told = ask(world, page, f"{PLAN_B}/learners/{person['learner_id']}/explain")
    course = next(one for one in told["courses"] if one["selected"] and one["total_points"] != "0.00")
    page.goto(f"{world.house.reporting_url}/p/{PLAN_B}/learners/{person['learner_id']}")
    account = page.locator(f"#account-{course['course_id']}")
    expect(account.locator(".acct-body")).to_have_count(0)  # nothing is worked out before somebody asks
    account.locator("summary").first.focus()
    above = page.locator(".courses").bounding_box()
    page.keyboard.press("Enter")
    expect(account.locator(".acct-body")).to_be_visible()
    assert page.locator(".courses").bounding_box() == above, "what stands above does not move"
    expect(account.locator(".sum-line")).to_contain_text(f"= {course['total_points']} points")
    for item in course["items"]:
        rule = account.locator(f"details[id$=rule-{item['item']}]")
        expect(rule).not_to_have_attribute("open", "")
        rule.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(rule.locator("tbody tr")).to_have_count(item["facts_total"])
        if item["scored"] and item["item"] != "study" and item["facts_total"]:
            shown = [text for text in rule.locator("tbody td.n").all_inner_texts() if text]
            assert sum(float(text) for text in shown) == pytest.approx(float(item["points"]))
            expect(rule.locator("tfoot td.n")).to_have_text(item["points"])
    page.screenshot(path=shots / "explain-en.png", full_page=True)
    page.goto(page.url.split("#")[0] + "?lang=zh")
    page.locator(f"a[href='#account-{course['course_id']}']").click()
    expect(account.locator(".acct-body")).to_contain_text("与公布的数字一致")
    page.screenshot(path=shots / "explain-zh.png", full_page=True)


def test_an_open_account_follows_the_learners_events(world: World, page: Page) -> None:
    """Two intervals that overlap are sent while the account is open: the later one says which took its ten minutes."""
    teacher = next(one for one in world.population.teachers if one.habit == "never_started" and one.programme == PLAN_A)
    page.goto(f"{world.house.reporting_url}/p/{PLAN_A}/learners/{teacher.learner_id}")
    account = page.locator("#account-s-cases")
    account.locator("summary").first.click()
    expect(account.locator(".acct-body")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    world.send([sitting(teacher, "x-1", "s-design", "20:00", "20:30"), sitting(teacher, "x-2", "s-cases", "20:20", "20:40")])
    study = account.locator("details[id$=rule-study]")
    expect(study).to_have_count(1, timeout=20_000)
    study.locator("summary").click()
    expect(study.locator("tbody tr")).to_contain_text(re.compile("10 min 0 s of it are counted for study at the same time"))
    expect(study.locator("tfoot td.n")).to_have_text("10 min 0 s")
    world.send([sitting(teacher, "x-3", "s-cases", "21:00", "21:05")])
    expect(study.locator("tfoot td.n")).to_have_text("15 min 0 s", timeout=20_000)
    assert study.get_attribute("open") is not None, "what was open stays open"
    assert page.evaluate("window.sameDocument === true")
