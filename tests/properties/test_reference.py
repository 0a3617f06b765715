"""The reference itself: it shares nothing with the product, and says what the page's worked examples say."""

from __future__ import annotations

import ast
from datetime import date, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.properties import reference
from tests.properties.reference.facts import fact_of, instant
from tests.properties.reference.local_days import day_of, midnight

FOLDER = Path(reference.__file__).parent
PROGRAMMES = FOLDER.parents[2] / "schemas" / "programmes"
A, B = (reference.read_rules((PROGRAMMES / name).read_text("utf-8")) for name in ("guopei-shaanxi-2023.yaml", "zhuozhou-2023.yaml"))
_ids = count()


def test_shares_nothing_with_the_product() -> None:
    allowed = {"__future__", "collections", "dataclasses", "datetime", "decimal", "fractions", "functools", "hashlib", "json", "math"}
    allowed |= {"re", "typing", "zoneinfo", "yaml", "tests.properties.reference"}
    modules = sorted(FOLDER.glob("*.py"))
    assert len(modules) > 5
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            assert not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in ("__import__", "exec", "eval")
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top = "tests.properties.reference" if name.startswith("tests.properties.reference") else name.split(".")[0]
                assert top in allowed, f"{module.name} imports {name}"


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("Asia/Shanghai", "2023-06-01", "2023-05-31T16:00:00Z"),
        ("America/New_York", "2024-03-10", "2024-03-10T05:00:00Z"),
        ("America/New_York", "2024-03-11", "2024-03-11T04:00:00Z"),
        ("Asia/Beirut", "2024-03-31", "2024-03-30T22:00:00Z"),  # 00:00 does not exist: the day begins at 01:00
        ("America/Santiago", "2023-09-03", "2023-09-03T04:00:00Z"),
        ("Africa/Cairo", "2023-10-27", "2023-10-26T22:00:00Z"),  # 23:00 to 24:00 comes twice on the day before
        ("America/Havana", "2023-11-05", "2023-11-05T04:00:00Z"),  # 00:00 exists twice: the first
        ("America/St_Johns", "2010-11-07", "2010-11-07T02:30:00Z"),  # at 00:01 back to 23:01
        ("America/St_Johns", "2010-11-08", "2010-11-08T03:30:00Z"),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"),  # a day that never was
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),
    ],
)
def test_local_midnights(zone: str, day: str, first: str) -> None:
    ms = instant(first)
    assert midnight(zone, date.fromisoformat(day)) == ms
    begins = date(2011, 12, 31) if day == "2011-12-30" else date.fromisoformat(day)
    assert day_of(zone, ms) == begins
    assert day_of(zone, ms - 1) < begins


def test_what_is_after_a_days_first_instant_stays_in_that_day() -> None:
    """At St John's it was 00:00 on the 7th, and a minute later 23:01 on the 6th."""
    assert day_of("America/St_Johns", instant("2010-11-07T03:00:00Z")) == date(2010, 11, 7)


def test_the_same_content_is_the_same_digest() -> None:
    one = event("exam.marked", "2023-07-02 09:00", course_id="c", attempt_id="1", form="paper", score=0.5, sat_at="2023-07-01 09:00")
    two = {**one, "time": "2023-07-02t01:00:00.0004z", "data": {**one["data"], "score": Decimal("0.500"), "note": None}}
    three = {**one, "data": {**one["data"], "score": 0.51}}
    assert fact_of(one).digest == fact_of(two).digest != fact_of(three).digest


def at(text: str) -> str:
    return text.replace(" ", "T") + ":00+08:00"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text + "+08:00").timestamp() * 1000)


def event(kind: str, time: str, /, **data: Any) -> dict[str, Any]:
    for name in ("started_at", "ended_at", "sat_at"):
        if name in data:
            data[name] = at(data[name])
    envelope = {"specversion": "1.0", "source": "/p", "id": f"e{next(_ids)}", "subject": "L1", "time": at(time), "programme": ""}
    return {**envelope, "type": f"chalkstream.{kind}.v1", "data": data}


def answer(rules: dict[str, Any], events: list[dict[str, Any]], now: str = "2023-07-10 00:00") -> dict[str, Any]:
    return reference.learner(rules, [{**one, "programme": rules["id"]} for one in events], ms(now))


def study(course: str, day: str, start: str, end: str) -> dict[str, Any]:
    span = {"started_at": f"{day} {start}", "ended_at": f"{day} {end}", "channel": "online"}
    return event("study.recorded", f"{day} {end}", course_id=course, **span)


def graded(assignment: str, score: str, time: str = "2023-06-20 10:00") -> dict[str, Any]:
    return event("assignment.graded", time, course_id="c-reading", assignment_id=assignment, score=score, grader_id="t")


def posts(kind: str, number: int) -> list[dict[str, Any]]:
    return [event("post.published", "2023-06-10 10:00", course_id="c-reading", post_id=f"{kind}{n}", kind=kind) for n in range(number)]


def exam(score: str, form: str) -> dict[str, Any]:
    said = {"attempt_id": form, "form": form, "score": score, "sat_at": "2023-07-01 09:00"}
    return event("exam.marked", "2023-07-02 09:00", course_id="c-reading", **said)


def registered(mode: str = "online") -> dict[str, Any]:
    return event("learner.registered", "2023-06-01 09:00", class_id="k1", mode=mode)


READING = event("course.selected", "2023-06-01 09:00", course_id="c-reading")
MATHS = event("course.selected", "2023-06-01 09:00", course_id="c-maths")
SIXTEEN_HOURS = [study("c-reading", f"2023-06-{day:02d}", "08:00", "16:00") for day in (5, 6)]


def test_1_overlap() -> None:
    two = [registered(), READING, MATHS]
    two += [study("c-maths", "2023-06-05", "10:00", "10:20"), study("c-reading", "2023-06-05", "10:10", "10:30")]
    rows = answer(B, two)["courses"]
    assert (rows["c-maths"]["credited_seconds"], rows["c-reading"]["credited_seconds"]) == (1200, 600)
    rows = answer(B, [*two, study("c-reading", "2023-06-05", "09:55", "10:15")])["courses"]
    assert (rows["c-maths"]["credited_seconds"], rows["c-reading"]["credited_seconds"]) == (300, 1800)


def test_2_and_9_assignments_round_each_on_its_own() -> None:
    def points(*grades: dict[str, Any]) -> Decimal:
        found: Decimal = answer(B, [registered(), READING, *grades])["courses"]["c-reading"]["assignment_points"]
        return found

    three = [graded("a", "0.9"), graded("b", "0.8"), graded("c", "1.0")]
    assert points(*three) == Decimal("14.25")
    assert points(*three, graded("c", "0.5", "2023-06-21 10:00")) == Decimal("12.75")
    assert points(graded("a", "0.3333")) == Decimal("2.50")
    assert points(graded("a", "0.1234"), graded("b", "0.1234")) == Decimal("1.86")


def test_3_and_4_the_gate() -> None:
    done = [registered(), READING, *SIXTEEN_HOURS, graded("a", "1"), *posts("question", 4), *posts("reply", 5), exam("0.9", "online")]
    works = [event("work.published", "2023-06-20 10:00", work_id=f"w{n}", kind="lesson_design", course_id="c-reading") for n in range(2)]
    row = answer(B, [*done, *works])["courses"]["c-reading"]
    assert (row["gate_points"], row["gate_met"], row["exam_points"], row["exam_before_gate"]) == (Decimal("31.50"), False, Decimal(0), True)
    assert row["works_points"] == 10
    row = answer(B, [*done, *posts("reply", 6)])["courses"]["c-reading"]
    assert (row["gate_points"], row["exam_points"], row["total_points"]) == (Decimal("32.50"), Decimal("45.00"), Decimal("77.50"))
    assert not row["exam_before_gate"] and row["passed"]


def test_5_disc() -> None:
    process = event("process.marked", "2023-06-20 10:00", course_id="c-reading", score="0.8", marker_id="m")
    chosen = event("assessment.chosen", "2023-06-20 10:00", course_id="c-reading", form="online")
    base = [registered("disc"), READING, process]

    def row(*facts: dict[str, Any]) -> tuple[Decimal, bool]:
        found = answer(B, [*base, *facts])["courses"]["c-reading"]
        return found["total_points"], found["passed"]

    assert row(exam("0.55", "paper")) == (Decimal("60.00"), True)
    assert row(exam("0.5499", "paper")) == (Decimal("59.99"), False)
    assert row(exam("0.55", "paper"), exam("1", "online")) == (Decimal("60.00"), True)
    assert row(exam("0.55", "paper"), exam("1", "online"), chosen) == (Decimal("96.00"), True)


@pytest.mark.parametrize(("end", "hours", "credits"), [("11:40", "2.00", "2.00"), ("10:45", "1.00", "1.00"), ("10:44:59", "0.99", "0.99")])
def test_6_hours_of_plan_a(end: str, hours: str, credits: str) -> None:
    span = study("p-meaning", "2023-11-05", "10:00", "10:30")
    span["data"]["ended_at"] = "2023-11-05T" + (end if len(end) == 8 else end + ":00") + "+08:00"
    found = answer(A, [span], "2023-11-10 00:00")["progress"]
    assert (found["study_hours"], found["credits"]) == (Decimal(hours), Decimal(credits))


def test_7_inactive() -> None:
    seen = [registered(), event("platform.visited", "2023-06-05 10:00")]  # a Monday

    def flag(now: str, *facts: dict[str, Any]) -> tuple[str, int] | None:
        found = answer(B, [*seen, *facts], now)["flags"].get(("inactive", ""))
        return (found["severity"], found["raised_at"]) if found else None

    thursday = ms("2023-06-08 10:00")
    assert flag("2023-06-08 09:59") is None
    assert flag("2023-06-08 10:00") == ("notice", thursday)
    assert flag("2023-06-12 10:00") == ("warning", thursday)
    wednesday = event("platform.visited", "2023-06-07 09:00")
    assert flag("2023-06-09 12:00", wednesday) is None
    assert flag("2023-06-10 09:00", wednesday) == ("notice", ms("2023-06-10 09:00"))


def test_8_never_came() -> None:
    early = event("learner.registered", "2023-05-29 09:00", class_id="k1", mode="online")
    flags = answer(B, [early], "2023-06-04 00:00")["flags"]
    assert flags["not_started", ""]["raised_at"] == ms("2023-06-04 00:00")
    enrolled = event("learner.enrolled", "2023-06-01 09:00", class_id="k1")
    assert answer(B, [enrolled], "2023-06-03 08:59")["flags"] == {}
    assert answer(B, [enrolled], "2023-06-03 09:00")["flags"]["not_registered", ""]["raised_at"] == ms("2023-06-03 09:00")


def test_10_plagiarism() -> None:
    process = event("process.marked", "2023-06-20 10:00", course_id="c-reading", score="1", marker_id="m")
    passed = [registered("disc"), READING, process, exam("1", "paper")]
    confirmed = event("plagiarism.ruled", "2023-07-03 10:00", case_id="x", submission_id="s", verdict="confirmed")
    cleared = event("plagiarism.ruled", "2024-02-01 10:00", case_id="x", submission_id="s", verdict="cleared")
    expected = answer(B, passed)["progress"]["result"]
    assert expected in ("passed", "excellent")
    assert answer(B, [*passed, confirmed])["progress"]["result"] == "failed"
    assert answer(B, [*passed, confirmed, cleared], "2024-02-02 00:00")["progress"]["result"] == expected
