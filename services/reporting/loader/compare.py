"""A recounted learner beside what ClickHouse shows of them, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from clickhouse_driver import Client

from schemas.programme import Programme
from schemas.progress import CourseProgress, Flag, LearnerProgress, cents, instant_ms
from services.reporting.loader.rows import FIRST_DAY
from services.scoring.core.evaluate import day_progress, evaluate
from services.scoring.core.state import Learner
from services.shared.directory import Directory

Key = tuple[str, str]
Values = dict[str, Any]
UNITS = ("school_id", "county_id", "city_id", "province_id")
_INSTANTS = {"registered_at", "started_at", "first_active_at", "last_active_at", "raised_at", "last_follow_up_at"}
_MONEY = {
    "study_hours", "credits", "study_points", "assignment_points", "interaction_points", "works_points", "process_points", "exam_points",
    "total_points", "gate_points",
}  # fmt: skip
_TOTALS = (
    "class_id", *UNITS, "mode", "registered_at", "started_at", "first_active_at", "last_active_at", "withdrawn", "courses_selected",
    "courses_passed", "credited_seconds", "study_hours", "credits", "result", "rules_version",
)  # fmt: skip
_COURSE = tuple(CourseProgress.__struct_fields__)
_FLAG = tuple(Flag.__struct_fields__)


class Shown(NamedTuple):
    """What ClickHouse shows of one learner: totals (None: no row), rows by course, by (kind, ref) and by day; all as plain values."""

    totals: Values | None
    courses: dict[str, Values]
    flags: dict[tuple[str, str], Values]
    days: dict[str, tuple[int, int]]
    updated_ms: int = 0


class Difference(NamedTuple):
    learner: Key
    where: str
    column: str
    recounted: Any
    stored: Any


def _selected(columns: Sequence[str]) -> str:
    def one(name: str) -> str:
        if name in _INSTANTS:
            return f"toUnixTimestamp64Milli({name})"
        return f"toInt64({name} * 100)" if name in _MONEY else name

    return ", ".join(one(name) for name in columns)


def shown(client: Client, keys: Sequence[Key]) -> dict[Key, Shown]:
    """What the marts show of each learner. All of one programme at a time is quickest: the key of the tables."""
    answer = {key: Shown(None, {}, {}, {}) for key in keys}
    for programme in sorted({key[0] for key in keys}):
        params = {"p": programme, "ids": [key[1] for key in keys if key[0] == programme]}
        where = "WHERE programme = %(p)s AND learner_id IN %(ids)s"
        for learner_id, day, seconds, active in client.execute(
            f"SELECT learner_id, toString(day), credited_seconds, active FROM store.days FINAL {where}", params
        ):
            if seconds or active:
                answer[programme, learner_id].days[day] = (seconds, active)
        for learner_id, *values in client.execute(f"SELECT learner_id, {_selected(_COURSE)} FROM marts.course_progress {where}", params):
            course = dict(zip(_COURSE, values, strict=True))
            answer[programme, learner_id].courses[course["course_id"]] = course
        for learner_id, *values in client.execute(f"SELECT learner_id, {_selected(_FLAG)} FROM marts.needs_attention {where}", params):
            flag = dict(zip(_FLAG, values, strict=True))
            answer[programme, learner_id].flags[flag["kind"], flag["ref"]] = flag
        for learner_id, updated, *values in client.execute(
            f"SELECT learner_id, toUnixTimestamp64Milli(updated_at), {_selected(_TOTALS)} FROM marts.learner_progress {where}", params
        ):
            key = (programme, learner_id)
            answer[key] = answer[key]._replace(totals=dict(zip(_TOTALS, values, strict=True)), updated_ms=updated)
    return answer


def everybody(client: Client) -> set[Key]:
    """All learners that ClickHouse has anything of."""
    found = client.execute("SELECT programme, learner_id FROM marts.learner_progress")
    found += client.execute("SELECT DISTINCT programme, learner_id FROM store.days FINAL WHERE credited_seconds > 0 OR active = 1")
    return {(str(programme), str(learner_id)) for programme, learner_id in found}


def _plain(struct: LearnerProgress | CourseProgress | Flag, columns: Sequence[str]) -> Values:
    values: Values = {}
    for name in columns:
        value = getattr(struct, name)
        if name in _INSTANTS:
            value = None if value is None else instant_ms(value)
        elif name in _MONEY:
            value = cents(value)
        elif isinstance(value, bool):
            value = int(value)
        elif value is None:
            value = ""  # last_outcome
        values[name] = value
    return values


def expected(programme: Programme, learner: Learner, directory: Directory, now_ms: int) -> Shown:
    """What a recounted learner should look like at a moment."""
    progress = evaluate(programme, learner, now_ms).progress
    path = directory.path(progress.class_id)
    totals = _plain(progress, [name for name in _TOTALS if name not in UNITS]) | dict(zip(UNITS, path, strict=True))
    days = {}
    for name in learner.names():
        if name.startswith("day:"):
            day = day_progress(programme, learner, name[4:])
            if day.day >= FIRST_DAY and (day.credited_seconds or day.active):
                days[day.day] = (day.credited_seconds, int(day.active))
    courses = {course.course_id: _plain(course, _COURSE) for course in progress.courses}
    return Shown(totals, courses, {(flag.kind, flag.ref): _plain(flag, _FLAG) for flag in progress.flags}, days)


def differences(learner: Key, right: Shown, stored: Shown) -> list[Difference]:
    """Every column in which they differ."""
    found = _between(learner, "learner_progress", right.totals, stored.totals)
    parts: tuple[tuple[str, dict[Any, Any], dict[Any, Any]], ...] = (
        ("course_progress", right.courses, stored.courses),
        ("needs_attention", right.flags, stored.flags),
        ("days", right.days, stored.days),
    )
    for relation, mine, theirs in parts:
        for key in sorted(mine.keys() | theirs.keys()):
            place = f"{relation} {' '.join(key) if isinstance(key, tuple) else key}".strip()
            found += _between(learner, place, mine.get(key), theirs.get(key))
    return found


def _between(learner: Key, where: str, mine: Any, theirs: Any) -> list[Difference]:
    if mine == theirs:
        return []
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return [Difference(learner, where, name, mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]]
    return [Difference(learner, where, "", mine, theirs)]
