"""Figures that the console shows beside those of `Queries`: where people stand, what they need, lists by where they stand.

Same rules as `queries.py`, whose connections and conditions these use: SQL over `marts.*`, scope decided by `Scope` alone, methods block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from schemas.programme import Programme
from services.reporting.api.queries import Page, Queries, Row, _marks, _sort
from services.reporting.api.scope import LEVELS, Scope, below

STATES = ("unregistered", "unstarted", "on_track", "flagged", "passed", "failed")
"""Where a learner stands, in the order of the way; everybody who has not withdrawn is in exactly one."""

_FLAGGED = "learner_id IN (SELECT learner_id FROM marts.needs_attention WHERE programme = %(p)s)"
_STATE = (
    "multiIf(result IN ('passed', 'excellent'), 'passed', result = 'failed', 'failed', registered_at IS NULL, 'unregistered', "
    f"started_at IS NULL, 'unstarted', {_FLAGGED}, 'flagged', 'on_track')"
)
PRESENT = "learner_id NOT IN (SELECT learner_id FROM marts.learner_progress WHERE programme = %(p)s AND withdrawn = 1)"


def needed_seconds(rules: Programme, courses: Mapping[str, int]) -> int:
    """Study seconds that `course -> how many learners selected it` make up; a course that the rules don't know has none."""
    return sum(rules.courses[course].seconds * n for course, n in courses.items() if course in rules.courses)


class OneLook(Queries):
    """The same queries for the length of one page: how fresh the data is and where units lie is asked once.

    The moment is read before the first figure, so it is true of all that follow.
    """

    def __init__(self, base: Queries) -> None:
        self.__dict__.update(base.__dict__)
        self._fresh: dict[str, Row] | None = None
        self._paths: dict[str, list[Row]] = {}

    def freshness(self) -> dict[str, Row]:
        if self._fresh is None:
            self._fresh = super().freshness()
        return self._fresh

    def unit_path(self, unit_id: str) -> list[Row]:
        if unit_id not in self._paths:
            path = super().unit_path(unit_id)
            self._paths[unit_id] = path
            # what lies above is known with it
            for n, unit in enumerate(path[:-1], start=1):
                self._paths.setdefault(unit["unit_id"], path[:n])
        return list(self._paths[unit_id])


class Figures:
    """Built on the `Queries` of one page or of the process."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def standing(self, programme: str, scope: Scope, unit: str | None = None) -> dict[str, int]:
        """`state -> learners` for each of `STATES`."""
        conditions, params, _ = self._queries._narrow(programme, scope, unit, None)
        rows = self._queries.pool.rows(
            f"SELECT {_STATE} AS state, count() AS n FROM marts.learner_progress "
            f"WHERE {' AND '.join(conditions)} AND withdrawn = 0 GROUP BY state",
            params,
        )
        return {**dict.fromkeys(STATES, 0), **{row["state"]: row["n"] for row in rows}}

    def needed(self, rules: Programme, unit_id: str, level: str) -> dict[str, int]:
        """Study seconds that the learners of a unit the caller was found to see need in all, by child; '' is the unit itself."""
        condition, params = below(unit_id, "unit")
        depth = min(LEVELS.index(level) + 1, len(LEVELS) - 1)
        rows = self._queries.pool.rows(
            f"SELECT {LEVELS[depth]}_id AS child, course_id, count() AS n FROM marts.course_progress "
            f"WHERE programme = %(p)s AND {condition} AND {PRESENT} GROUP BY child, course_id",
            {"p": rules.id, **params},
        )
        children: dict[str, dict[str, int]] = {"": {}}
        for row in rows:
            children.setdefault(row["child"], {})[row["course_id"]] = row["n"]
            children[""][row["course_id"]] = children[""].get(row["course_id"], 0) + row["n"]
        return {child: needed_seconds(rules, courses) for child, courses in children.items()}

    def selected(self, programme: str, learner_ids: Sequence[str]) -> dict[str, list[str]]:
        """`learner_id -> ids of selected courses`, of learners that the caller was found to see."""
        if not learner_ids:
            return {}
        rows = self._queries.pool.rows(
            "SELECT learner_id, groupArray(course_id) AS courses FROM marts.course_progress "
            "WHERE programme = %(p)s AND learner_id IN %(ids)s GROUP BY learner_id",
            {"p": programme, "ids": list(learner_ids)},
        )
        return {row["learner_id"]: list(row["courses"]) for row in rows}

    def rows(self, programme: str, learner_ids: Sequence[str]) -> dict[str, Row]:
        """`learner_id -> row of learner_progress`, of learners that the caller was found to see."""
        if not learner_ids:
            return {}
        rows = self._queries.pool.rows(
            "SELECT * FROM marts.learner_progress WHERE programme = %(p)s AND learner_id IN %(ids)s",
            {"p": programme, "ids": sorted(set(learner_ids))},
        )
        return {row["learner_id"]: _marks(row) for row in rows}

    def sparks(self, programme: str, unit_id: str, level: str, last: date, days: int = 14) -> dict[str, list[int]]:
        """`child -> active learners` of the last `days` days, oldest first, below a unit that the caller was found to see.

        The same figures as `marts.activity_daily`, counted for these units and days only: its view counts all levels.
        """
        condition, params = below(unit_id, "unit")
        depth = min(LEVELS.index(level) + 1, len(LEVELS) - 1)
        first = last - timedelta(days=days - 1)
        rows = self._queries.pool.rows(
            f"SELECT child, day, count() AS n FROM (SELECT learner_id, day FROM store.days FINAL WHERE programme = %(p)s "
            f"AND day BETWEEN %(first)s AND %(last)s AND active = 1) AS d INNER JOIN (SELECT learner_id, {LEVELS[depth]}_id AS child "
            f"FROM marts.learner_progress WHERE programme = %(p)s AND withdrawn = 0 AND {condition}) AS l "
            "USING (learner_id) GROUP BY child, day",
            {"p": programme, "first": first, "last": last, **params},
        )
        sparks: dict[str, list[int]] = {}
        for row in rows:
            sparks.setdefault(row["child"], [0] * days)[(row["day"] - first).days] = row["n"]
        return sparks

    def open_counts(self, programme: str, scope: Scope, unit: str | None = None) -> list[Row]:
        """Open flags by `severity, kind, owner_level`: `n`."""
        conditions, params, _ = self._queries._narrow(programme, scope, unit, None)
        return self._queries.pool.rows(
            "SELECT severity, kind, owner_level, count() AS n FROM marts.needs_attention "
            f"WHERE {' AND '.join(conditions)} GROUP BY severity, kind, owner_level",
            params,
        )

    def tops(self, programme: str) -> list[Row]:
        """Units with learners that have none above them with learners, the largest first: where a caller of everything begins."""
        return self._queries.pool.rows(
            "SELECT unit_id, name, level, learners FROM marts.unit_progress WHERE programme = %(p)s "
            "AND parent_id NOT IN (SELECT unit_id FROM marts.unit_progress WHERE programme = %(p)s) ORDER BY learners DESC, unit_id",
            {"p": programme},
        )

    def inhabited(self, unit_id: str) -> set[str]:
        """The programmes in which the unit has learners."""
        rows = self._queries.pool.rows("SELECT DISTINCT programme FROM marts.unit_progress WHERE unit_id = %(unit)s", {"unit": unit_id})
        return {row["programme"] for row in rows}

    def learners(
        self,
        programme: str,
        scope: Scope,
        state: str,
        unit: str | None,
        flag: str | None,
        q: str | None,
        sort: str,
        cursor: str | None,
        limit: int,
    ) -> Page:
        """As `Queries.learners`, of those who stand at `state` (one of `STATES`, or '' for everybody who has not withdrawn)."""
        conditions, params, tables = self._queries._narrow(programme, scope, unit, q)
        as_of = self._queries.as_of("learner_progress", "needs_attention")
        conditions.append("withdrawn = 0")
        if state:
            conditions.append(f"{_STATE} = %(state)s")
            params["state"] = state
        if flag:
            conditions.append("learner_id IN (SELECT learner_id FROM marts.needs_attention WHERE programme = %(p)s AND kind = %(flag)s)")
            params["flag"] = flag
        keys = [_sort(sort), ("learner_id", False)]
        page = self._queries._page("marts.learner_progress", conditions, params, tables, keys, f"{sort}|{state}", cursor, limit)
        flags = self._queries.open_flags(programme, [row["learner_id"] for row in page.rows])
        rows: list[dict[str, Any]] = [{**_marks(row), "flags": flags.get(row["learner_id"], [])} for row in page.rows]
        return Page(rows, as_of, page.total, page.next_cursor)
