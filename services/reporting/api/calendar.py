"""What is due when, by whom, and how far a unit has come with it (DOMAIN S22, S13): the deadlines of a programme in order of time.

Days are local days of the programme. A deadline's `day` is the last one on which it can be met; `opens`, `starts` and `results_final`
happen at the beginning of theirs. Whether something is overdue is judged by what is known about it:

* by **facts**: assignments and registration by the open flags, `results_final` by the learners without a result yet;
* by the **date** alone: phases. No event reports that a unit has done its part, so an overdue phase says that its day is over and no more;
* the programme's own dates are owed by nobody and never overdue.

SQL over `marts.*`, scope decided by `Scope` alone, as in `queries.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from schemas.programme import Programme
from services.reporting.api.figures import PRESENT
from services.reporting.api.queries import Queries, Row
from services.reporting.api.scope import LEVELS, Scope, below

DUE_DAYS = 7
"""`due` is what has its day today or in so many days; before that it is `upcoming`."""
OVERDUE_KINDS = ("not_registered", "assignment_overdue")
"""Flags that say that a day is over; `exam_due` says that one comes."""
KINDS = (*OVERDUE_KINDS, "exam_due")


@dataclass(frozen=True, slots=True)
class Deadline:
    """`key` names it within the programme; `level` owes it: a level of units, `learner`, or '' for nobody; `flag` tells who is late.

    `begins`: it happens at the first instant of `day`, else `day` is the last that counts. `judged_by` is `facts`, `date` or ''.
    """

    key: str
    kind: str
    day: date
    id: str = ""
    title: Mapping[str, str] | None = None
    begins: bool = False
    level: str = ""
    judged_by: str = ""
    flag: str = ""


def deadlines(rules: Programme) -> list[Deadline]:
    """Every deadline of the programme in order of time; what begins a day stands before what ends with it.

    `registration` has a day for each learner (`within_days` after the enrolment): it stands where it begins, at `opens`.
    """
    day = date.fromisoformat
    attention = rules.attention
    found = [
        Deadline("opens", "opens", day(rules.opens), begins=True),
        Deadline("starts", "starts", day(rules.starts), begins=True),
        Deadline("ends", "ends", day(rules.ends)),
        Deadline("results_final", "results_final", day(rules.results_final), begins=True, level="learner", judged_by="facts"),
    ]
    if attention.not_registered:
        found.append(Deadline("registration", "registration", day(rules.opens), level="learner", judged_by="facts", flag="not_registered"))
    if attention.exam_due and any(mode.exam for mode in rules.modes.values()):
        found.append(Deadline("exams", "exams", day(rules.ends), level="learner", judged_by="facts", flag="exam_due"))
    for phase in rules.phases:
        found.append(Deadline(f"phase:{phase.id}", "phase", day(phase.due), phase.id, phase.title, level=phase.level, judged_by="date"))
    for course_id, over in attention.overdue_ms.items():
        last = day(rules.day_of(over - 1))
        title = rules.courses[course_id].title
        found.append(
            Deadline(f"assignments:{course_id}", "assignments", last, course_id, title, False, "learner", "facts", "assignment_overdue")
        )
    return sorted(found, key=lambda one: (one.day, not one.begins))


def upcoming(rules: Programme, today: date) -> Deadline | None:
    """The next deadline that is still to come or has its last day today; None after the last one."""
    return next((one for one in deadlines(rules) if not _over(one, today) and one.kind != "registration"), None)


def _over(one: Deadline, today: date) -> bool:
    return today >= one.day if one.begins else today > one.day


def standing(one: Deadline, today: date, owed_by: int, still_open: int) -> tuple[str, int | None]:
    """`state` and `days`: until the day for `upcoming` and `due`, since the day for `overdue` and `past`.

    `owed_by`: units or learners of the unit that it is asked of; `still_open`: flags open now that say it is not met.
    """
    if one.kind == "registration":
        return ("upcoming", (one.day - today).days) if today < one.day else ("overdue" if still_open else "running", None)
    left = (one.day - today).days
    if not _over(one, today):
        return ("due" if left <= DUE_DAYS else "upcoming"), left
    late = still_open > 0 if one.kind == "assignments" else one.judged_by == "date" and owed_by > 0
    return ("overdue" if late else "past"), -left


def unit_calendar(queries: Queries, rules: Programme, scope: Scope, unit_id: str, now_ms: int) -> Row:
    """The deadlines as they stand for a unit and for each of its children that has learners.

    `{path, as_of, today, due_within_days, totals, deadlines [{key, kind, id, title, day, level, judged_by, flag, state, days, owed_by,
    open, short}], children [{unit_id, name, level, …totals, by_deadline {key: {owed_by, open, short}}}]}`. `totals`: `learners`,
    `in_progress`, `not_registered`, `assignment_overdue` and `exam_due` (open flags), `overdue_learners` (distinct, of the first two),
    `overdue_phases` and `due_phases` (phases that units owe, times those units), `due_short` (assignments short, of the courses now due).
    Raises `NotVisible`.
    """
    path = queries.visible_path(scope, unit_id)
    as_of = queries.as_of("learner_progress", "course_progress", "needs_attention")
    today = date.fromisoformat(rules.day_of(now_ms))
    level = path[-1]["level"]
    facts = _Facts(queries, rules, unit_id, level)
    listed = deadlines(rules)
    whole = {one.key: facts.of(one, level) for one in listed}
    states = {one.key: standing(one, today, whole[one.key]["owed_by"], whole[one.key]["open"] or 0) for one in listed}
    names = queries.unit_names(facts.children)
    children = []
    for child in sorted(facts.children, key=lambda unit: (names.get(unit, ""), unit)):
        figures = {one.key: facts.of(one, facts.child_level, child) for one in listed}
        children.append(
            {
                "unit_id": child,
                "name": names.get(child, ""),
                "level": facts.child_level,
                **facts.totals(listed, figures, states, child),
                "by_deadline": {one.key: figures[one.key] for one in listed if one.judged_by},
            }
        )
    return {
        "path": path,
        "as_of": as_of,
        "today": today,
        "due_within_days": DUE_DAYS,
        "totals": facts.totals(listed, whole, states),
        "deadlines": [_row(one, rules, *states[one.key], whole[one.key]) for one in listed],
        "children": children,
    }


def _row(one: Deadline, rules: Programme, state: str, days: int | None, figures: Row) -> Row:
    row: Row = {
        "key": one.key,
        "kind": one.kind,
        "id": one.id,
        "title": dict(one.title) if one.title else None,
        "day": one.day,
        "level": one.level,
        "judged_by": one.judged_by or None,
        "flag": one.flag or None,
        "state": state,
        "days": days,
    }
    if one.kind == "registration":
        row["within_seconds"] = rules.attention.within_ms // 1000
    return {**row, **figures}


class _Facts:
    """What `marts` says below one unit that the caller was found to see, by child ('' is all together)."""

    def __init__(self, queries: Queries, rules: Programme, unit_id: str, level: str) -> None:
        depth = LEVELS.index(level)
        self.child_level = LEVELS[min(depth + 1, len(LEVELS) - 1)]
        self._rows, self._child = queries.pool.rows, f"{self.child_level}_id"
        condition, params = below(unit_id, "unit")
        self._where = f"WHERE programme = %(p)s AND {condition}"
        self._params = {"p": rules.id, **params}
        self.people = self._people()
        self.children = [] if level == "class" else [child for child in self.people if child]
        self.flags, self.overdue = self._flags()
        self.courses = self._courses(rules)

    def _people(self) -> dict[str, Row]:
        """Learners who have not withdrawn, those without a result, and the units of each level that they are in."""
        units = ", ".join(f"uniqExactIf({name}_id, {name}_id != '') AS units_{name}" for name in LEVELS)
        rows = self._rows(
            f"SELECT {self._child} AS child, count() AS learners, countIf(result = 'in_progress') AS in_progress, {units} "
            f"FROM marts.learner_progress {self._where} AND withdrawn = 0 GROUP BY child",
            self._params,
        )
        figures = ("learners", "in_progress", *(f"units_{name}" for name in LEVELS))
        found = {row["child"]: {name: row[name] for name in figures} for row in rows}
        return {**found, "": {name: sum(row[name] for row in found.values()) for name in figures}}

    def _flags(self) -> tuple[dict[tuple[str, str, str], int], dict[str, int]]:
        """(child, kind, ref) -> open flags, ref '' for all; child -> learners with a flag that says overdue."""
        params = {**self._params, "kinds": list(KINDS), "overdue": list(OVERDUE_KINDS)}
        where = f"FROM marts.needs_attention {self._where} AND kind IN"
        flags: dict[tuple[str, str, str], int] = {}
        for row in self._rows(
            f"SELECT {self._child} AS child, kind, ref, count() AS n {where} %(kinds)s GROUP BY child, kind, ref", params
        ):
            for key in {(child, row["kind"], ref) for child in ("", row["child"]) for ref in ("", row["ref"])}:
                flags[key] = flags.get(key, 0) + row["n"]
        rows = self._rows(f"SELECT {self._child} AS child, uniqExact(learner_id) AS n {where} %(overdue)s GROUP BY child", params)
        learners = {row["child"]: row["n"] for row in rows}
        return flags, {**learners, "": sum(learners.values())}

    def _courses(self, rules: Programme) -> dict[tuple[str, str], tuple[int, int]]:
        """(child, course) -> learners who selected a course with assignments due, and how many of them are still short of them."""
        modes = [name for name, mode in rules.modes.items() if mode.assignments]
        if not modes or not rules.attention.overdue_ms:
            return {}
        number = "JSONExtractUInt(explanation, 'items', 'assignments', '{}')".format
        rows = self._rows(
            f"SELECT {self._child} AS child, course_id, count() AS n, "
            f"countIf(passed = 0 AND {number('submitted')} < {number('count')}) AS short FROM marts.course_progress {self._where} "
            f"AND mode IN %(modes)s AND course_id IN %(courses)s AND {PRESENT} GROUP BY child, course_id",
            {**self._params, "modes": modes, "courses": list(rules.attention.overdue_ms)},
        )
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for row in rows:
            for key in {("", row["course_id"]), (row["child"], row["course_id"])}:
                n, short = found.get(key, (0, 0))
                found[key] = n + row["n"], short + row["short"]
        return found

    def of(self, one: Deadline, own: str, child: str = "") -> Row:
        """Who owes the deadline in the unit of level `own` and below, how many have an open flag about it, how many are short of it."""
        people = self.people.get(child, {})
        row: Row = {"owed_by": 0, "open": None, "short": None}
        if one.kind == "assignments":
            row["owed_by"], row["short"] = self.courses.get((child, one.id), (0, 0))
            row["open"] = self.flags.get((child, one.flag, one.id), 0)
        elif one.level == "learner":
            row["owed_by"] = people.get("learners", 0)
            if one.kind == "results_final":
                row["open"] = people.get("in_progress", 0)
            elif one.flag:
                row["open"] = self.flags.get((child, one.flag, ""), 0)
        elif one.level in LEVELS and people.get("learners"):
            deeper = LEVELS.index(one.level) - LEVELS.index(own)
            row["owed_by"] = 1 if deeper == 0 else people[f"units_{one.level}"] if deeper > 0 else 0
        return row

    def totals(self, listed: list[Deadline], figures: Mapping[str, Row], states: Mapping[str, tuple[str, Any]], child: str = "") -> Row:
        people = self.people.get(child, {})

        def add(kind: str, state: str, what: str) -> int:
            mine = [one for one in listed if one.kind == kind and states[one.key][0] == state]
            return sum(figures[one.key][what] for one in mine if kind != "phase" or one.level in LEVELS)

        return {
            "learners": people.get("learners", 0),
            "in_progress": people.get("in_progress", 0),
            **{kind: self.flags.get((child, kind, ""), 0) for kind in KINDS},
            "overdue_learners": self.overdue.get(child, 0),
            "overdue_phases": add("phase", "overdue", "owed_by"),
            "due_phases": add("phase", "due", "owed_by"),
            "due_short": add("assignments", "due", "short"),
        }
