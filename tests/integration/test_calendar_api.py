"""Catalogue, calendar and tutors of the API on real ClickHouse, over rows put into `store` by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from schemas.programme import load_programmes
from services.reporting.api.publisher import Publisher
from services.reporting.app import build_app, build_deps
from services.shared.clock import parse_clock
from services.shared.settings import Settings
from services.shared.tokens import TokenStore
from tests.integration.local_stack import seeded_stack
from tests.integration.test_reporting_api import insert, learner, unit

pytestmark = pytest.mark.servers
P = "zhuozhou-2023"
A = "guopei-shaanxi-2023"
CLOCK = "2023-11-25T10:00:00+08:00@0/2026-01-01T00:00:00Z"
NOW = datetime(2023, 11, 25, 2, tzinfo=UTC)
UNITS = (
    ("p1", "", "province"), ("ci1", "p1", "city"), ("co1", "ci1", "county"), ("co2", "ci1", "county"), ("co3", "ci1", "county"),
    ("s1", "co1", "school"), ("s2", "co2", "school"), ("s3", "co1", "school"),
    ("k1", "s1", "class"), ("k2", "s2", "class"), ("k3", "s3", "class"), ("k4", "s3", "class"),
)  # fmt: skip


def course(name: str, submitted: int, passed: int = 0) -> dict[str, Any]:
    """The arrays of a learner's one course."""
    told = {"items": {"assignments": {"submitted": submitted, "graded": 0, "count": 2, "points": "0.00", "limit": "15.00"}}}
    return {"course_id": [name], "course_passed": [passed], "course_explanation": [json.dumps(told)]}


def flagged(*flags: tuple[str, str]) -> dict[str, Any]:
    """Open flags (kind, ref)."""
    many = len(flags)
    return {
        "flag_kind": [kind for kind, _ in flags], "flag_ref": [ref for _, ref in flags], "flag_severity": ["warning"] * many,
        "flag_raised_at": [NOW - timedelta(days=3)] * many, "flag_owner_level": ["school"] * many, "flag_follow_ups": [0] * many,
        "flag_last_follow_up_at": [None] * many, "flag_last_outcome": [""] * many,
    }  # fmt: skip


def staff(staff_id: str, unit_id: str, role: str = "tutor", assigned: int = 1, programme: str = P) -> dict[str, Any]:
    ids = {"programme": programme, "staff_id": staff_id, "role": role, "unit_id": unit_id}
    return {**ids, "assigned": assigned, "changed_at": NOW, "version": 1}


def seed(client: Any) -> None:
    insert(client, "store.units", *(unit(*one) for one in UNITS))
    late = flagged(("assignment_overdue", "c-reading"), ("behind", ""))
    insert(
        client, "store.progress",
        learner("l1", "k1", **course("c-reading", 1), **late),
        learner("l2", "k1", **course("c-reading", 2)),
        learner("l3", "k2", **course("c-classroom", 0), **flagged(("exam_due", "c-classroom"))),
        learner("l4", "k2", **course("c-classroom", 1, passed=1)),
        learner("l5", "k2", result="passed", **course("c-ict", 2)),
        learner("l6", "k2", registered_at=None, **course("c-reading", 2), **flagged(("not_registered", ""))),
        learner("l7", "k1", withdrawn=1, **course("c-reading", 0)),
        learner("l8", "k1", mode="disc", **course("c-reading", 0)),
        learner("l9", "kx", **course("c-reading", 0), **flagged(("not_registered", ""))),
        *(learner(f"m{n}", "k3" if n % 2 else "k4") for n in range(101)),
    )  # fmt: skip
    insert(
        client, "store.staff",
        staff("t1", "s1"), staff("t2", "k2"), staff("t2", "s2"), staff("t3", "k2"), staff("t4", "s3"),
        staff("t5", "s3", assigned=0), staff("t6", "s3", role="class_head"), staff("t7", "s3", programme=A), staff("t8", "co1"),
    )  # fmt: skip
    moment = {"partition": 0, "applied": 40, "as_of": NOW - timedelta(minutes=1), "version": 1}
    insert(client, "store.watermarks", *({"kind": kind, **moment} for kind in ("scoring", "activity", "directory")))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A ClickHouse of this module alone: its rows and watermarks are put in by hand."""
    with seeded_stack(tmp_path_factory.mktemp("calendar"), seed, clock=CLOCK, log_level="warning") as given:
        yield given


@pytest.fixture(scope="module")
def client(config: Settings) -> Iterator[TestClient]:
    publisher = Publisher(config.bootstrap)
    deps = build_deps(config, parse_clock(CLOCK), load_programmes(config.programmes), publisher)
    with TestClient(build_app(deps, lambda: True)) as client:
        yield client
    publisher.close()


@pytest.fixture(scope="module")
def token(config: Settings) -> Iterator[Callable[[str], dict[str, str]]]:
    """Headers of a caller bound to a unit."""
    store = TokenStore(config.tokens)
    made: dict[str, dict[str, str]] = {}

    def of(unit_id: str) -> dict[str, str]:
        if unit_id not in made:
            made[unit_id] = {"authorization": f"Bearer {store.issue('reporting', unit_id=unit_id)[0]}"}
        return made[unit_id]

    yield of
    store.close()


Headers = Callable[[str], dict[str, str]]


def get(client: TestClient, headers: dict[str, str], path: str, status: int = 200) -> Any:
    answer = client.get(path, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_the_catalogue_has_modules_courses_and_how_points_are_made(client: TestClient, token: Headers) -> None:
    plan_a = get(client, token("s2"), f"/v1/programmes/{A}")
    assert [(module["id"], len(module["courses"]), module["hours"]) for module in plan_a["modules"]] == [
        ("public", 4, "10.00"),
        ("subject", 5, "50.00"),
    ]
    assert (plan_a["hours"], plan_a["scoring"], plan_a["tutors"], plan_a["study_hour_minutes"]) == ("60.00", {}, None, "45")
    assert [activity["id"] for activity in plan_a["activities"]] == ["research"]
    assert plan_a["result"]["passed"] == {"credited_hours": "60.00", "accepted_works": {"activity": "research", "count": 1}}
    plan_b = get(client, token("s2"), f"/v1/programmes/{P}")
    online, disc = plan_b["scoring"]["online"], plan_b["scoring"]["disc"]
    assert [(item["item"], item["points"]) for item in online["items"]] == [
        ("study", "15.00"), ("assignments", "15.00"), ("interaction", "10.00"), ("works", "10.00"), ("exam", "50.00"),
    ]  # fmt: skip
    assert online["items"][4]["gate"] == {"items": ["assignments", "interaction", "study"], "at_least": "32.00"}
    assert [(item["item"], item["points"]) for item in disc["items"]] == [("process", "20.00"), ("exam", "80.00")]
    assert (online["total"], disc["total"], online["pass_at"]) == ("100.00", "100.00", "60.00")
    assert plan_b["assignments_due"]["c-reading"] == "2023-10-31"
    assert [phase["id"] for phase in plan_b["calendar"]["phases"]] == ["rosters", "registration", "study", "summaries"]
    assert plan_b["as_of"] == "2023-11-25T01:59:00.000Z"
    get(client, token("s2"), "/v1/programmes/none", 404)
    get(client, {}, f"/v1/programmes/{P}", 401)


def test_a_citys_calendar_in_order_of_time(client: TestClient, token: Headers) -> None:
    found = get(client, token("p1"), f"/v1/programmes/{P}/units/ci1/calendar")
    assert (found["today"], found["as_of"], [one["unit_id"] for one in found["path"]]) == (
        "2023-11-25", "2023-11-25T01:59:00.000Z", ["p1", "ci1"],
    )  # fmt: skip
    listed = {one["key"]: one for one in found["deadlines"]}
    assert [one["day"] for one in found["deadlines"]] == sorted(one["day"] for one in found["deadlines"])
    assert {key: (one["state"], one["days"], one["owed_by"], one["open"], one["short"]) for key, one in listed.items()} == {
        "opens": ("past", 189, 0, None, None),
        "registration": ("overdue", None, 108, 1, None),
        "phase:rosters": ("overdue", 181, 3, None, None),
        "starts": ("past", 177, 0, None, None),
        "phase:registration": ("overdue", 163, 108, None, None),
        "assignments:c-reading": ("overdue", 25, 104, 1, 1),
        **{f"assignments:c-{name}": ("past", 25, 0, 0, 0) for name in ("writing", "maths", "english", "science")},
        "assignments:c-classroom": ("due", 5, 2, 0, 1),
        "assignments:c-ict": ("due", 5, 1, 0, 0),
        "assignments:c-ethics": ("due", 5, 0, 0, 0),
        "ends": ("upcoming", 36, 0, None, None),
        "exams": ("upcoming", 36, 108, 1, None),
        "phase:study": ("upcoming", 36, 108, None, None),
        "phase:summaries": ("upcoming", 43, 3, None, None),
        "results_final": ("upcoming", 51, 108, 107, None),
    }
    assert (listed["phase:rosters"]["judged_by"], listed["assignments:c-reading"]["judged_by"], listed["ends"]["judged_by"]) == (
        "date", "facts", None,
    )  # fmt: skip
    assert listed["registration"]["within_seconds"] == 172_800
    assert found["totals"] == {
        "learners": 108, "in_progress": 107, "not_registered": 1, "assignment_overdue": 1, "exam_due": 1,
        "overdue_learners": 2, "overdue_phases": 3, "due_phases": 0, "due_short": 1,
    }  # fmt: skip


def test_a_city_sees_which_county_is_behind(client: TestClient, token: Headers) -> None:
    found = get(client, token("p1"), f"/v1/programmes/{P}/units/ci1/calendar")
    rows = {one["unit_id"]: one for one in found["children"]}
    assert list(rows) == ["co1", "co2"]  # co3 has no learners
    names = ("learners", "not_registered", "assignment_overdue", "exam_due", "overdue_learners", "overdue_phases", "due_short")
    assert [rows["co1"][name] for name in names] == [104, 0, 1, 0, 1, 2, 0]
    assert [rows["co2"][name] for name in names] == [4, 1, 0, 1, 1, 1, 1]
    assert rows["co1"]["by_deadline"]["assignments:c-reading"] == {"owed_by": 103, "open": 1, "short": 1}
    assert rows["co2"]["by_deadline"]["assignments:c-reading"] == {"owed_by": 1, "open": 0, "short": 0}
    for key in found["children"][0]["by_deadline"]:
        whole = next(one for one in found["deadlines"] if one["key"] == key)
        for name in ("owed_by", "open", "short"):
            assert sum(row["by_deadline"][key][name] or 0 for row in rows.values()) == (whole[name] or 0), (key, name)


def test_a_school_owes_its_own_phases_and_a_class_none(client: TestClient, token: Headers) -> None:
    school = get(client, token("s1"), f"/v1/programmes/{P}/units/s1/calendar")
    assert {one["key"]: one["owed_by"] for one in school["deadlines"]}["phase:rosters"] == 1
    assert [(one["unit_id"], one["level"], one["overdue_phases"]) for one in school["children"]] == [("k1", "class", 0)]
    head = get(client, token("k1"), f"/v1/programmes/{P}/units/k1/calendar")
    listed = {one["key"]: one for one in head["deadlines"]}
    assert (listed["phase:rosters"]["owed_by"], listed["phase:rosters"]["state"]) == (0, "past")
    assert (listed["assignments:c-reading"]["owed_by"], listed["assignments:c-reading"]["open"], head["children"]) == (2, 1, [])
    empty = get(client, token("p1"), f"/v1/programmes/{P}/units/co3/calendar")
    assert (empty["totals"]["learners"], empty["totals"]["overdue_phases"], empty["children"]) == (0, 0, [])


def test_tutors_and_breaches_school_by_school(client: TestClient, token: Headers) -> None:
    found = get(client, token("p1"), f"/v1/programmes/{P}/units/ci1/tutors")
    names = ("school_id", "learners", "required", "assigned", "learners_each", "breach")
    assert [tuple(school[name] for name in names) for school in found["schools"]] == [
        ("s3", 101, 2, 1, 101, "too_few"),
        ("s2", 4, 1, 2, 2, "too_many"),
        ("s1", 3, 1, 1, 3, None),
    ]
    assert [found[name] for name in ("learners", "required", "assigned", "too_few", "too_many")] == [108, 4, 4, 1, 1]
    other = get(client, token("p1"), f"/v1/programmes/{A}/units/ci1/tutors")
    assert (other["rule"], other["schools"]) == (None, [])
    assert get(client, token("k1"), f"/v1/programmes/{P}/units/k1/tutors")["schools"] == []


@pytest.mark.parametrize("tail", ["calendar", "tutors"])
def test_others_units_are_not_there(client: TestClient, token: Headers, tail: str) -> None:
    for unit_id, status in (("co1", 200), ("s1", 200), ("k1", 200), ("co2", 404), ("s2", 404), ("ci1", 404), ("p1", 404), ("none", 404)):
        get(client, token("co1"), f"/v1/programmes/{P}/units/{unit_id}/{tail}", status)
    get(client, token("co1"), f"/v1/programmes/none/units/co1/{tail}", 404)
    get(client, {}, f"/v1/programmes/{P}/units/co1/{tail}", 401)
