"""Rows as the demo's knowledge expects them, and the comparison with rows as ClickHouse or the API give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from deploy.demo.people import Unit
from deploy.demo.sheet import CourseTally, OpenFlag, Tally, instant
from deploy.demo.units import UnitTally, chain

Row = dict[str, Any]
LEVELS = ("class", "school", "county", "city", "province")
POINTS = {
    "study": "study_points", "assignments": "assignment_points", "interaction": "interaction_points",
    "works": "works_points", "process": "process_points", "exam": "exam_points",
}  # fmt: skip


class At(int):
    """An instant, milliseconds since 1970."""


def _at(ms: int | None) -> At | None:
    return None if ms is None else At(ms)


def place(units: Mapping[str, Unit], class_id: str) -> Row:
    ids = chain(dict(units), class_id)
    row = {f"{level}_id": ids[n] if n < len(ids) else "" for n, level in enumerate(LEVELS)}
    return row | {"class_id": class_id}


def learner_row(units: Mapping[str, Unit], one: Tally) -> Row:
    return place(units, one.class_id) | {
        "mode": one.mode, "registered_at": _at(one.registered_at), "started_at": _at(one.started_at),
        "first_active_at": _at(one.first_active_at), "last_active_at": _at(one.last_active_at), "withdrawn": one.withdrawn,
        "courses_selected": len(one.courses), "courses_passed": one.courses_passed, "credited_seconds": one.credited_seconds,
        "study_hours": one.study_hours, "credits": one.credits, "result": one.result,
    }  # fmt: skip


def course_row(course: CourseTally) -> Row:
    points = {column: course.points.get(item, Decimal(0)) for item, column in POINTS.items()}
    return points | {
        "credited_seconds": course.credited_seconds, "total_points": course.total, "gate_points": course.gate_points,
        "gate_met": course.gate_met, "exam_before_gate": course.exam_before_gate, "passed": course.passed, "credits": course.credits,
        "last_active_at": _at(course.last_active_at),
    }  # fmt: skip


def flag_row(flag: OpenFlag) -> Row:
    return {
        "severity": flag.severity, "raised_at": At(flag.raised_at), "owner_level": flag.owner, "follow_ups": flag.follow_ups,
        "last_follow_up_at": _at(flag.last_follow_up_at), "last_outcome": flag.last_outcome,
    }  # fmt: skip


def unit_row(unit: Unit, sums: UnitTally) -> Row:
    return {
        "level": unit.level, "name": unit.name, "parent_id": unit.parent_id, "learners": sums.learners, "registered": sums.registered,
        "started": sums.started, "active_7d": sums.active_7d, "passed": sums.passed, "failed": sums.failed, "open_flags": sums.open_flags,
        "credited_seconds": sums.credited_seconds, "mean_credits": sums.mean_credits,
    }  # fmt: skip


def equal(expected: object, found: object) -> bool:
    """Whether a found JSON value says exactly what is expected."""
    if expected is None or found is None:
        return expected is None and found is None
    try:
        if isinstance(expected, At):
            return isinstance(found, str) and instant(found) == expected
        if isinstance(expected, Decimal):
            return Decimal(str(found)) == expected
    except (ValueError, InvalidOperation):
        return False
    if isinstance(expected, bool):
        return found in (0, 1, True, False) and bool(found) == expected
    return expected == found


@dataclass(slots=True)
class Area:
    """One kind of rows: how many values were compared, and what differed (`different` counts all, `examples` keeps some)."""

    name: str
    rows: int = 0
    values: int = 0
    different: int = 0
    examples: list[str] = field(default_factory=list)

    def differ(self, text: str) -> None:
        self.different += 1
        if len(self.examples) < 8:
            self.examples.append(text)

    def value(self, where: str, expected: object, found: object) -> None:
        self.values += 1
        if not equal(expected, found):
            self.differ(f"{where}: expected {_show(expected)}, found {_show(found)}")

    def row(self, key: object, expected: Row, found: Mapping[str, Any]) -> None:
        self.rows += 1
        for column, value in expected.items():
            self.value(f"{key} {column}", value, found.get(column, "nothing of that name"))

    def all(self, expected: Mapping[Any, Row], found: Iterable[tuple[Any, Mapping[str, Any]]]) -> None:
        """Both sides by key: a row that only one side has differs, too."""
        seen = set()
        for key, row in found:
            if key in seen:
                self.differ(f"{key}: found twice")
            seen.add(key)
            if key in expected:
                self.row(key, expected[key], row)
            else:
                self.rows += 1
                self.differ(f"{key}: found, but not expected")
        for key in expected.keys() - seen:
            self.rows += 1
            self.differ(f"{key}: expected, but not found")


def _show(value: object) -> str:
    if isinstance(value, At):
        from schemas.instants import rfc3339

        return rfc3339(int(value))
    return str(value)
