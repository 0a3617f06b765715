"""Two faults of a well-known system, on the real servers and through every public door:

* an active learner is flagged, because a filter (course, window) ran before the maximum of their activity;
* a learner who never came is missing from the list, because an inner join dropped whom no activity, course or unit matched.

Events go in at the ingest door (and, where it refuses a course, straight into the log); `marts` and the API are asked. The clock
stands at noon of 15 June 2023, two weeks into plan B.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaProducer

from deploy.demo.house import House, with_free_ports
from deploy.demo.pipe import ingest_token, reporting_token, rows, wait_fresh
from schemas.instants import parse_instant
from services.shared.clock import parse_clock
from services.shared.settings import Settings

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

P = "zhuozhou-2023"
NOW = "2023-06-15T12:00:00+08:00"
EARLIER = "2023-06-05T10:20:00+08:00"
YESTERDAY = "2023-06-14T09:00:00+08:00"
YESTERDAY_UTC = "2023-06-14T01:00:00.000Z"
UNITS = [
    ("v1", None, "province"), ("y1", "v1", "city"), ("t1", "y1", "county"), ("t2", "y1", "county"), ("s1", "t1", "school"),
    ("s2", "t2", "school"), ("k1", "s1", "class"), ("k2", "s2", "class"),
]  # fmt: skip
Sent = dict[str, Any]
_ids = count(1)


def fact(learner: str, kind: str, time: str, /, **data: Any) -> Sent:
    return {
        "specversion": "1.0", "id": f"r-{next(_ids)}", "source": "/tests", "type": f"chalkstream.{kind}.v1", "subject": learner,
        "time": time, "programme": P, "data": data,
    }  # fmt: skip


def study(learner: str, course: str, start: str, end: str) -> Sent:
    return fact(learner, "study.recorded", end, course_id=course, started_at=start, ended_at=end, channel="online")


def began(learner: str, class_id: str = "k1") -> list[Sent]:
    """Registered, on one course, and last active there ten days ago."""
    return [
        fact(learner, "learner.registered", "2023-06-01T09:00:00+08:00", class_id=class_id, mode="online"),
        fact(learner, "course.selected", "2023-06-01T09:05:00+08:00", course_id="c-reading"),
        study(learner, "c-reading", "2023-06-05T10:00:00+08:00", EARLIER),
    ]


# What each did yesterday; nothing of it is study of the course that their row is about.
ACTIVE: dict[str, list[Sent]] = {
    "a-visit": [fact("a-visit", "platform.visited", YESTERDAY)],
    "a-other-course": [study("a-other-course", "c-maths", "2023-06-14T08:40:00+08:00", YESTERDAY)],
    "a-dropped-course": [
        fact("a-dropped-course", "course.selected", "2023-06-02T09:00:00+08:00", course_id="c-ict"),
        fact("a-dropped-course", "course.dropped", "2023-06-03T09:00:00+08:00", course_id="c-ict"),
        study("a-dropped-course", "c-ict", "2023-06-14T08:40:00+08:00", YESTERDAY),
    ],
    "a-no-course-left": [fact("a-no-course-left", "course.dropped", YESTERDAY, course_id="c-reading")],
    "a-selects": [fact("a-selects", "course.selected", YESTERDAY, course_id="c-maths")],
    "a-hands-in": [fact("a-hands-in", "assignment.submitted", YESTERDAY, course_id="c-maths", assignment_id="a1", submission_id="u1")],
    "a-removed-post": [
        fact("a-removed-post", "post.published", YESTERDAY, course_id="c-maths", post_id="q1", kind="question"),
        fact("a-removed-post", "post.removed", "2023-06-14T10:00:00+08:00", course_id="c-maths", post_id="q1"),
    ],
    "a-work": [fact("a-work", "work.published", YESTERDAY, work_id="w1", kind="research_article", course_id="c-maths")],
    "a-exam": [
        fact(
            "a-exam",
            "exam.marked",
            "2023-06-15T09:00:00+08:00",
            course_id="c-maths",
            attempt_id="x1",
            form="online",
            score=0.5,
            sat_at=YESTERDAY,
        )
    ],
    "a-unknown-course": [study("a-unknown-course", "c-gone", "2023-06-14T08:40:00+08:00", YESTERDAY)],  # into the log
}
PASSIVE: dict[str, list[Sent]] = {
    "p-nothing": [],
    "p-graded": [fact("p-graded", "assignment.graded", YESTERDAY, course_id="c-reading", assignment_id="a1", score=1, grader_id="g1")],
    "p-transferred": [fact("p-transferred", "learner.transferred", YESTERDAY, class_id="k1")],
}
# learner -> what is known of them, and the flag that says so
JUNE = "2023-06-01T09:00:00+08:00"
NEVER: dict[str, tuple[list[Sent], str | None]] = {
    "n-enrolled": ([fact("n-enrolled", "learner.enrolled", JUNE, class_id="k2")], "not_registered"),
    "n-registered": ([fact("n-registered", "learner.registered", JUNE, class_id="k2")], "not_started"),
    "n-only-selected": (
        [
            fact("n-only-selected", "learner.registered", JUNE, class_id="k2"),
            fact("n-only-selected", "course.selected", JUNE, course_id="c-reading"),
        ],
        "not_started",
    ),
    "n-no-course": (
        [fact("n-no-course", "learner.registered", JUNE, class_id="k2"), fact("n-no-course", "platform.visited", EARLIER)],
        "inactive",
    ),
    "n-unknown-class": ([fact("n-unknown-class", "learner.enrolled", JUNE, class_id="kx")], "not_registered"),
    "n-unknown-registered": ([fact("n-unknown-registered", "learner.registered", JUNE, class_id="kx")], "not_started"),
    "n-no-class": ([fact("n-no-class", "certificate.issued", JUNE, certificate_id="z1")], None),
}
IN_K2 = ["n-enrolled", "n-no-course", "n-only-selected", "n-registered"]
IN_KX = ["n-unknown-class", "n-unknown-registered"]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Stack and all services in a folder that goes away, with everything above sent and arrived."""
    folder = Path(tempfile.gettempdir()) / "regression"
    values = with_free_ports(Settings(data=folder)).model_copy(update={"clock": parse_clock(f"{NOW}@0").text()})
    try:
        with House(values) as one:
            one.start()
            token = ingest_token(one)
            declare(one, token, UNITS)
            known = [event for name, events in {**ACTIVE, **PASSIVE}.items() for event in began(name) + events]
            known += [event for events, _ in NEVER.values() for event in events]
            unknown = [event for event in known if event["data"].get("course_id") == "c-gone"]
            applied = post(one, token, [event for event in known if event not in unknown])
            applied |= write(one, unknown)
            wait_fresh(one, applied, 120)
            yield one
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def post(house: House, token: str, events: list[Sent]) -> dict[str, int]:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/cloudevents-batch+json"}
    answer = httpx.post(f"{house.ingest_url}/v1/events", content=json.dumps(events), headers=headers, timeout=60, trust_env=False).json()
    assert answer["accepted"] == len(events), [item for item in answer["items"] if item["status"] != "accepted"]
    return dict(answer["applied"])


def declare(house: House, token: str, units: list[tuple[str, str | None, str]]) -> None:
    events = []
    for unit_id, parent, level in units:
        data = {"unit_id": unit_id, "level": level, "name": f"Unit {unit_id}"} | ({"parent_id": parent} if parent else {})
        event = fact(unit_id, "unit.declared", "2023-05-21T09:00:00+08:00", **data)
        del event["programme"]
        events.append(event)
    wait_fresh(house, post(house, token, events), 120)


def write(house: House, events: list[Sent]) -> dict[str, int]:
    """Straight into the log, as a platform may."""
    producer = KafkaProducer(bootstrap_servers=house.values.bootstrap, acks="all")
    applied: dict[str, int] = {}
    for event in events:
        value = json.dumps(event).encode()
        sent = producer.send("learning.activity", value, key=event["subject"].encode(), timestamp_ms=parse_instant(NOW)).get(30)
        applied[f"learning.activity:{sent.partition}"] = sent.offset + 1
    producer.close()
    return applied


class Api:
    """The reporting API as a caller of one unit sees it."""

    def __init__(self, house: House, unit_id: str) -> None:
        self.base = f"{house.reporting_url}/v1/programmes/{P}"
        self.headers = {"authorization": f"Bearer {reporting_token(house, unit_id, ())}"}

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = httpx.get(f"{self.base}/{path}", params=params, headers=self.headers, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def every(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All pages of a list, three at a time; its `total` is their number."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, limit=3, **params, **cursor)
            found += page[path]
            if page["next_cursor"] is None:
                assert page["total"] == len(found)
                return found
            cursor = {"cursor": page["next_cursor"]}


def by_learner(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for one in found:
        kinds.setdefault(one["learner_id"], []).append(one["kind"])
    return kinds


# -- a. an active learner is flagged ----------------------------------------------------------------------------------


def test_active_learner_flagged_marts_take_the_maximum_over_all_acts(house: House) -> None:
    sql = f"SELECT learner_id, formatDateTime(last_active_at, '%FT%T.000Z') AS at FROM marts.learner_progress WHERE programme = '{P}'"
    last = {row["learner_id"]: row["at"] for row in rows(house, sql)}
    assert {name: last[name] for name in ACTIVE} == dict.fromkeys(ACTIVE, YESTERDAY_UTC)
    assert {name: last[name] for name in PASSIVE} == dict.fromkeys(PASSIVE, "2023-06-05T02:20:00.000Z")
    # the course's own row stays at the course's own last act: the maximum must not be taken from there
    sql = "SELECT learner_id, formatDateTime(last_active_at, '%FT%T.000Z') AS at FROM marts.course_progress WHERE course_id = 'c-reading'"
    courses = {row["learner_id"]: row["at"] for row in rows(house, sql)}
    assert set(ACTIVE) - set(courses) == {"a-no-course-left"}
    assert {courses[name] for name in ACTIVE if name in courses} == {"2023-06-05T02:20:00.000Z"}


def test_active_learner_flagged_nobody_of_them_is_in_any_list(house: House) -> None:
    flagged = {row["learner_id"] for row in rows(house, "SELECT learner_id FROM marts.needs_attention WHERE kind = 'inactive'")}
    assert flagged == {*PASSIVE, "n-no-course"}
    for unit_id in ("*", "v1", "t1", "s1", "k1"):
        api = Api(house, unit_id)
        listed = {one["learner_id"] for one in api.every("attention", kind="inactive")}
        assert listed == (flagged if unit_id in ("*", "v1") else set(PASSIVE))
        assert {one["learner_id"] for one in api.every("learners", flag="inactive")} == listed
    for name in ACTIVE:
        one = Api(house, "k1").get(f"learners/{name}")
        assert (one["last_active_at"], one["flags"]) == (YESTERDAY_UTC, [])


def test_active_learner_flagged_units_count_them_as_active(house: House) -> None:
    sql = f"SELECT unit_id, learners, active_7d FROM marts.unit_progress WHERE programme = '{P}'"
    units = {row["unit_id"]: (row["learners"], row["active_7d"]) for row in rows(house, sql)}
    everybody = len(ACTIVE) + len(PASSIVE)
    assert {units[unit_id] for unit_id in ("k1", "s1", "t1")} == {(everybody, len(ACTIVE))}
    sql = f"SELECT active_learners FROM marts.activity_daily WHERE programme = '{P}' AND unit_id = 's1' AND day = '2023-06-14'"
    assert [row["active_learners"] for row in rows(house, sql)] == [len(ACTIVE)]
    assert Api(house, "s1").get("units/s1")["active_7d"] == len(ACTIVE)


# -- b. a learner who never came is missing ---------------------------------------------------------------------------


def test_never_came_missing_each_has_a_row_and_its_flag(house: House) -> None:
    found = {row["learner_id"]: row for row in rows(house, f"SELECT * FROM marts.learner_progress WHERE programme = '{P}'")}
    assert set(found) == {*ACTIVE, *PASSIVE, *NEVER}
    for name in NEVER:
        assert (found[name]["started_at"], found[name]["credited_seconds"], found[name]["result"]) == (
            found["n-no-course"]["started_at"] if name == "n-no-course" else None, 0, "in_progress",
        )  # fmt: skip
    assert (found["n-enrolled"]["registered_at"], found["n-enrolled"]["first_active_at"], found["n-enrolled"]["last_active_at"]) == (
        None,
    ) * 3
    assert {name: (found[name]["class_id"], found[name]["school_id"], found[name]["province_id"]) for name in NEVER} == {
        **dict.fromkeys(IN_K2, ("k2", "s2", "v1")), **dict.fromkeys(IN_KX, ("kx", "", "")), "n-no-class": ("", "", ""),
    }  # fmt: skip
    flagged = by_learner(list(rows(house, f"SELECT learner_id, kind FROM marts.needs_attention WHERE programme = '{P}'")))
    assert {name: flagged.get(name) for name in NEVER} == {name: [kind] if kind else None for name, (_, kind) in NEVER.items()}
    courses = {row["learner_id"] for row in rows(house, "SELECT learner_id FROM marts.course_progress")}
    assert courses & set(NEVER) == {"n-only-selected"}  # a row of no course is none of the learner's


def test_never_came_missing_the_lists_have_them(house: House) -> None:
    expected = {name: [kind] for name, (_, kind) in NEVER.items() if kind}
    for unit_id, seen in (("*", [*IN_K2, *IN_KX]), ("v1", IN_K2), ("t2", IN_K2), ("s2", IN_K2), ("k2", IN_K2)):
        api = Api(house, unit_id)
        listed = by_learner([one for one in api.every("attention") if one["learner_id"] in NEVER])
        assert listed == {name: expected[name] for name in seen}, unit_id
        for kind in ("not_registered", "not_started"):
            of_kind = sorted(name for name in seen if expected[name] == [kind])
            assert sorted(one["learner_id"] for one in api.every("attention", kind=kind)) == of_kind
            assert sorted(one["learner_id"] for one in api.every("learners", flag=kind)) == of_kind
    whole = sorted([*ACTIVE, *PASSIVE, *NEVER])
    for sort in ("learner_id", "last_active_at", "-last_active_at", "registered_at", "-credits"):
        assert sorted(one["learner_id"] for one in Api(house, "*").every("learners", sort=sort)) == whole, sort
    assert sorted(one["learner_id"] for one in Api(house, "k2").every("learners", sort="last_active_at")) == IN_K2
    for name in NEVER:
        assert Api(house, "*").get(f"learners/{name}")["learner_id"] == name


def test_never_came_missing_units_count_them(house: House) -> None:
    columns = "learners, registered, started, active_7d, open_flags, credited_seconds"
    sql = f"SELECT unit_id, {columns} FROM marts.unit_progress WHERE programme = '{P}'"
    units = {row.pop("unit_id"): row for row in rows(house, sql)}
    expected = {"learners": 4, "registered": 3, "started": 1, "active_7d": 0, "open_flags": 4, "credited_seconds": 0}
    for unit_id in ("k2", "s2", "t2"):
        assert units[unit_id] == expected
        answer = Api(house, "t2").get(f"units/{unit_id}")
        assert {name: answer[name] for name in expected} == expected
    children = Api(house, "y1").get("units/y1/children")["children"]
    assert {one["unit_id"]: (one["learners"], sum(one["flags"].values())) for one in children} == {
        "t1": (len(ACTIVE) + len(PASSIVE), len(PASSIVE)), "t2": (4, 4),
    }  # fmt: skip
    assert units["v1"]["learners"] == len(ACTIVE) + len(PASSIVE) + 4
    assert "kx" not in units
    sql = f"SELECT subject, records FROM marts.data_quality WHERE programme = '{P}' AND kind = 'unknown_class'"
    assert {row["subject"]: row["records"] for row in rows(house, sql)} == {"kx": 2}


# This one comes last: it declares the class.
def test_never_came_missing_a_class_declared_later_brings_its_learners_along(house: House) -> None:
    declare(house, ingest_token(house), [("kx", "s2", "class")])
    api = Api(house, "s2")
    assert {one["learner_id"] for one in api.every("attention")} == {*IN_K2, *IN_KX}
    assert sorted(one["learner_id"] for one in api.every("learners")) == sorted([*IN_K2, *IN_KX])
    answer = api.get("units/kx")
    assert (answer["learners"], answer["registered"], answer["started"], answer["open_flags"]) == (2, 1, 0, 2)
    assert api.get("units/s2")["learners"] == 6
