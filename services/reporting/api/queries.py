"""Every question that reporting asks of ClickHouse, in one place: SQL over the public relations `marts.*` (and units and days of `store`).

All methods block (call them from a sync route or a thread). They return plain dicts with Python values: instants are aware
UTC `datetime` or None, days `date`, decimals `Decimal`, marks `bool`. Whatever carries figures carries `as_of`, read *before*
the figures: everything accepted up to that moment is in them.

Units' and learners' visibility is decided by `Scope` alone. Methods that take a Scope raise `NotVisible` for what is not there
or not the caller's. The three that don't (`unit_path`, `unit_names`, `freshness`) say nothing about learners.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from schemas.programme import Programme
from services.reporting.api.cursors import BadCursor, decode, encode
from services.reporting.api.pool import Client, Pool
from services.reporting.api.scope import LEVELS, NotVisible, Scope, below
from services.shared.clock import Clock

Row = dict[str, Any]
SEVERITIES = ("notice", "warning", "escalation")
RESULTS = ("in_progress", "passed", "excellent", "failed")
FLAGS = ("not_registered", "not_started", "inactive", "behind", "assignment_overdue", "exam_due", "plagiarism_suspected")
OWNERS = ("school", "county", "city")
MOST = 500
"""The largest page."""

_FAR = "toInt64(9999999999999)"
SORTS: dict[str, str] = {
    # What a page may be sorted by; a leading `-` turns it round. All are Int64 or text, so that a cursor can hold them exactly.
    "learner_id": "learner_id",
    "last_active_at": "ifNull(toUnixTimestamp64Milli(last_active_at), toInt64(0))",
    "registered_at": f"ifNull(toUnixTimestamp64Milli(registered_at), {_FAR})",
    "credited_seconds": "toInt64(credited_seconds)",
    "credits": "toInt64(credits * 100)",
    "courses_passed": "toInt64(courses_passed)",
    "result": "result",
}
_TEXTS = ("learner_id", "result", "kind", "ref")
_RANK = "toInt64(indexOf(['notice', 'warning', 'escalation'], severity))"
_PATH_COLUMNS = ", ".join(f"{level}_id" for level in reversed(LEVELS))
_MARKS = ("withdrawn", "gate_met", "exam_before_gate", "passed", "active")


@dataclass(frozen=True, slots=True)
class Page:
    """`rows`, the moment they speak of, how many there are in all, and what to pass as `cursor` for the next (None: the end)."""

    rows: list[Row]
    as_of: datetime
    total: int
    next_cursor: str | None = None
    extra: Row = field(default_factory=dict)


class Queries:
    """`search` gives the learner ids whose name matches a text (the identity store's); without it `q` matches ids only."""

    def __init__(
        self,
        client_factory: Callable[[], Client],
        clock: Clock,
        programmes: Mapping[str, Programme] | None = None,
        search: Callable[[str], list[str]] | None = None,
    ) -> None:
        self.pool = Pool(client_factory)
        self._clock = clock
        self._programmes = dict(programmes or {})
        self._search = search or (lambda q: [])

    def close(self) -> None:
        self.pool.close()

    # programmes, freshness and units

    def programmes(self) -> list[Row]:
        """Per programme: `id, title {zh, en}, time_zone, calendar, rules_version, courses [{id, title, module, hours, credits}]`."""
        return [programme_row(programme) for _, programme in sorted(self._programmes.items())]

    def programme(self, programme: str) -> Programme:
        """The rule file, or `NotVisible`."""
        if programme not in self._programmes:
            raise NotVisible(f"no programme {programme!r}")
        return self._programmes[programme]

    def freshness(self) -> dict[str, Row]:
        """`relation -> {relation, as_of, lag_seconds, applied {"topic:partition": next offset}}`."""
        rows = self.pool.rows("SELECT relation, as_of, lag_seconds, applied FROM marts.freshness")
        return {str(row["relation"]).removeprefix("marts."): row for row in rows}

    def as_of(self, *relations: str) -> datetime:
        """The moment up to which all of these relations are complete; 1970 before anything was loaded."""
        known = self.freshness()
        return min((known[r]["as_of"] for r in relations if r in known), default=datetime.fromtimestamp(0, UTC))

    def unit_path(self, unit_id: str) -> list[Row]:
        """The declared unit and what lies above it, from the top down: `[{unit_id, name, level, parent_id}, …]`; [] if undeclared."""
        path: list[Row] = []
        wanted = unit_id
        while wanted and len(path) < len(LEVELS):
            found = self.pool.rows(
                "SELECT unit_id, name, level, parent_id FROM store.units FINAL WHERE unit_id = %(unit)s", {"unit": wanted}
            )
            if not found or (path and LEVELS.index(found[0]["level"]) + 1 != LEVELS.index(path[0]["level"])):
                break
            path.insert(0, found[0])
            wanted = found[0]["parent_id"] or ""
        return path

    def provinces(self) -> list[Row]:
        """The declared provinces: where a caller who sees everything starts."""
        return self.pool.rows(
            "SELECT unit_id, name, level, parent_id FROM store.units FINAL WHERE level = 'province' ORDER BY name, unit_id"
        )

    def visible_path(self, scope: Scope, unit_id: str) -> list[Row]:
        """`unit_path` of a unit that the caller may see; else `NotVisible`."""
        path = self.unit_path(unit_id)
        if not scope.sees_unit(path):
            raise NotVisible(f"no unit {unit_id!r}")
        return path

    def unit_names(self, unit_ids: Iterable[str]) -> dict[str, str]:
        """`unit_id -> name` of the declared ones."""
        ids = sorted({unit for unit in unit_ids if unit})
        if not ids:
            return {}
        rows = self.pool.rows("SELECT unit_id, name FROM store.units FINAL WHERE unit_id IN %(ids)s", {"ids": ids})
        return {row["unit_id"]: row["name"] for row in rows}

    def unit(self, programme: str, scope: Scope, unit_id: str) -> Row:
        """The unit's row of `marts.unit_progress` (zeros where it has no learner) with `path` and `as_of`."""
        self.programme(programme)
        path = self.visible_path(scope, unit_id)
        as_of = self.as_of("unit_progress")
        rows = self.pool.rows(
            "SELECT * FROM marts.unit_progress WHERE programme = %(p)s AND unit_id = %(unit)s", {"p": programme, "unit": unit_id}
        )
        row = rows[0] if rows else _empty_unit(programme, path[-1])
        return {**row, "path": path, "as_of": as_of}

    def children(self, programme: str, scope: Scope, unit_id: str) -> Page:
        """The unit's children that have learners: rows as `unit` with `flags {notice, warning, escalation}`, by name."""
        self.programme(programme)
        path = self.visible_path(scope, unit_id)
        as_of = self.as_of("unit_progress", "needs_attention")
        depth = LEVELS.index(path[-1]["level"]) + 1
        if depth == len(LEVELS):
            return Page([], as_of, 0)
        params = {"p": programme, "unit": unit_id}
        rows = self.pool.rows(
            "SELECT * FROM marts.unit_progress WHERE programme = %(p)s AND parent_id = %(unit)s AND level = %(level)s "
            "ORDER BY name, unit_id",
            {**params, "level": LEVELS[depth]},
        )
        condition, more = below(unit_id, "unit")
        flags = self.pool.rows(
            f"SELECT {LEVELS[depth]}_id AS child, severity, count() AS n FROM marts.needs_attention "
            f"WHERE programme = %(p)s AND {condition} GROUP BY child, severity",
            {**params, **more},
        )
        counts: dict[str, dict[str, int]] = {}
        for flag in flags:
            counts.setdefault(flag["child"], dict.fromkeys(SEVERITIES, 0))[flag["severity"]] = flag["n"]
        return Page([{**row, "flags": counts.get(row["unit_id"], dict.fromkeys(SEVERITIES, 0))} for row in rows], as_of, len(rows))

    def trend(self, programme: str, scope: Scope, unit_id: str, days: int = 30) -> Page:
        """The last `days` local days up to today by the clock, oldest first: `{day, active_learners, credited_seconds}`, 0 filled in."""
        rules = self.programme(programme)
        self.visible_path(scope, unit_id)
        as_of = self.as_of("activity_daily")
        last = date.fromisoformat(rules.day_of(self._clock.now()))
        first = last - timedelta(days=days - 1)
        found = self.pool.rows(
            "SELECT day, active_learners, credited_seconds FROM marts.activity_daily "
            "WHERE programme = %(p)s AND unit_id = %(unit)s AND day BETWEEN %(first)s AND %(last)s",
            {"p": programme, "unit": unit_id, "first": first, "last": last},
        )
        known = {row["day"]: row for row in found}
        rows = [
            known.get(day, {"day": day, "active_learners": 0, "credited_seconds": 0})
            for day in (first + timedelta(days=n) for n in range(days))
        ]
        return Page(rows, as_of, len(rows))

    # learners

    def learners(
        self,
        programme: str,
        scope: Scope,
        unit: str | None = None,
        result: str | None = None,
        flag: str | None = None,
        q: str | None = None,
        sort: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        withdrawn: bool | None = None,
    ) -> Page:
        """Rows of `marts.learner_progress` with `flags [{kind, ref, severity, raised_at}]`.

        `q` is part of a learner id or of a name. `sort` is one of `SORTS`, turned round by a leading `-`. Raises `BadCursor`
        for a cursor of another sort or none of ours, ValueError for an unknown sort.
        """
        self.programme(programme)
        conditions, params, tables = self._narrow(programme, scope, unit, q)
        as_of = self.as_of("learner_progress", "needs_attention")
        if result:
            conditions.append("result = %(result)s")
            params["result"] = result
        if withdrawn is not None:
            conditions.append("withdrawn = %(withdrawn)s")
            params["withdrawn"] = int(withdrawn)
        if flag:
            conditions.append("learner_id IN (SELECT learner_id FROM marts.needs_attention WHERE programme = %(p)s AND kind = %(flag)s)")
            params["flag"] = flag
        keys = [_sort(sort or "learner_id"), ("learner_id", False)]
        page = self._page("marts.learner_progress", conditions, params, tables, keys, sort or "learner_id", cursor, limit)
        flags = self.open_flags(programme, [row["learner_id"] for row in page.rows])
        rows = [{**_marks(row), "flags": flags.get(row["learner_id"], [])} for row in page.rows]
        return Page(rows, as_of, page.total, page.next_cursor)

    def learner(self, programme: str, scope: Scope, learner_id: str) -> Row:
        """`marts.learner_progress` row with `courses` (rows of `course_progress`), `flags` (of `needs_attention`), `path`, `as_of`."""
        self.programme(programme)
        as_of = self.as_of("learner_progress", "course_progress", "needs_attention")
        row = self._visible(programme, scope, learner_id)
        params = {"p": programme, "learner": learner_id}
        mine = "WHERE programme = %(p)s AND learner_id = %(learner)s"
        courses = self.pool.rows(f"SELECT * FROM marts.course_progress {mine} ORDER BY course_id", params)
        for course in courses:
            course["explanation"] = json.loads(course["explanation"] or "{}")
        flags = self.pool.rows(f"SELECT * FROM marts.needs_attention {mine} ORDER BY raised_at, kind, ref", params)
        units = [row[f"{level}_id"] for level in LEVELS]
        names = self.unit_names(units)
        path = [{"unit_id": unit, "name": names.get(unit, unit), "level": level} for level, unit in zip(LEVELS, units, strict=True) if unit]
        return {**row, "courses": [_marks(c) for c in courses], "flags": flags, "path": path, "as_of": as_of}

    def timeline(self, programme: str, scope: Scope, learner_id: str, limit: int = 500) -> list[Row]:
        """What happened, latest first: `{at, what: 'event'|'flag', …}`.

        Events: `type` (short: `study.recorded`), `source`, `event_id`, `course_id`, `data` (dict). Flags: `kind, ref, change,
        severity, owner_level, raised_at`.
        """
        self._visible(programme, scope, learner_id)
        params = {"p": programme, "learner": learner_id, "limit": limit}
        mine = "WHERE programme = %(p)s AND learner_id = %(learner)s"
        events = self.pool.rows(
            f"SELECT time AS at, type, source, event_id, course_id, data FROM marts.events {mine} "
            "ORDER BY time DESC, source, event_id LIMIT %(limit)s",
            params,
        )
        changes = self.pool.rows(
            f"SELECT changed_at AS at, kind, ref, change, severity, owner_level, raised_at FROM marts.attention_log {mine} "
            "ORDER BY changed_at DESC LIMIT %(limit)s",
            params,
        )
        rows: list[Row] = [{**e, "what": "event", "type": _short(e["type"]), "data": json.loads(e["data"] or "{}")} for e in events]
        rows += [{**change, "what": "flag"} for change in changes]
        return sorted(rows, key=lambda row: row["at"], reverse=True)[:limit]

    def days(self, programme: str, scope: Scope, learner_id: str) -> list[Row]:
        """The learner's days with study or an act, oldest first: `{day, credited_seconds, active}`."""
        self._visible(programme, scope, learner_id)
        rows = self.pool.rows(
            "SELECT day, credited_seconds, active FROM store.days FINAL WHERE programme = %(p)s AND learner_id = %(learner)s ORDER BY day",
            {"p": programme, "learner": learner_id},
        )
        return [_marks(row) for row in rows]

    # attention

    def attention(
        self,
        programme: str,
        scope: Scope,
        unit: str | None = None,
        kind: str | None = None,
        severity: str | None = None,
        owner: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        q: str | None = None,
    ) -> Page:
        """Rows of `marts.needs_attention`, worst first, then longest open."""
        self.programme(programme)
        conditions, params, tables = self._narrow(programme, scope, unit, q)
        as_of = self.as_of("needs_attention")
        for column, value in (("kind", kind), ("severity", severity), ("owner_level", owner)):
            if value:
                conditions.append(f"{column} = %({column})s")
                params[column] = value
        keys = [(_RANK, True), ("toUnixTimestamp64Milli(raised_at)", False), ("learner_id", False), ("kind", False), ("ref", False)]
        page = self._page("marts.needs_attention", conditions, params, tables, keys, "attention", cursor, limit)
        return Page(page.rows, as_of, page.total, page.next_cursor)

    def severity_counts(self, programme: str, scope: Scope, unit: str | None = None) -> Row:
        """Open flags: `{notice, warning, escalation, by_kind {kind: n}, by_owner {level: n}, learners, as_of}`."""
        self.programme(programme)
        conditions, params, _ = self._narrow(programme, scope, unit, None)
        as_of = self.as_of("needs_attention")
        where = " AND ".join(conditions)
        rows = self.pool.rows(
            f"SELECT severity, kind, owner_level, count() AS n FROM marts.needs_attention WHERE {where} "
            "GROUP BY severity, kind, owner_level",
            params,
        )
        people = self.pool.rows(f"SELECT uniqExact(learner_id) AS n FROM marts.needs_attention WHERE {where}", params)
        counts: Row = {**dict.fromkeys(SEVERITIES, 0), "by_kind": {}, "by_owner": {}, "learners": people[0]["n"], "as_of": as_of}
        for row in rows:
            counts[row["severity"]] += row["n"]
            for group, name in (("by_kind", row["kind"]), ("by_owner", row["owner_level"])):
                counts[group][name] = counts[group].get(name, 0) + row["n"]
        return counts

    def visible_learners(self, programme: str, scope: Scope, learner_ids: Sequence[str]) -> set[str]:
        """Those of the ids that have a row in the programme and that the caller may see."""
        condition, params = scope.condition()
        rows = self.pool.rows(
            f"SELECT learner_id FROM marts.learner_progress WHERE programme = %(p)s AND learner_id IN %(ids)s AND {condition}",
            {"p": programme, "ids": sorted(set(learner_ids)) or [""], **params},
        )
        return {row["learner_id"] for row in rows}

    def open_flags(self, programme: str, learner_ids: Sequence[str]) -> dict[str, list[Row]]:
        """`learner_id -> [{kind, ref, severity, raised_at}]` of learners that the caller was found to see."""
        if not learner_ids:
            return {}
        rows = self.pool.rows(
            "SELECT learner_id, kind, ref, severity, raised_at FROM marts.needs_attention "
            f"WHERE programme = %(p)s AND learner_id IN %(ids)s ORDER BY {_RANK} DESC, raised_at, kind, ref",
            {"p": programme, "ids": list(learner_ids)},
        )
        flags: dict[str, list[Row]] = {}
        for row in rows:
            flags.setdefault(row.pop("learner_id"), []).append(row)
        return flags

    # parts

    def _visible(self, programme: str, scope: Scope, learner_id: str) -> Row:
        condition, params = scope.condition()
        rows = self.pool.rows(
            f"SELECT * FROM marts.learner_progress WHERE programme = %(p)s AND learner_id = %(learner)s AND {condition}",
            {"p": programme, "learner": learner_id, **params},
        )
        if not rows:
            raise NotVisible(f"no learner {learner_id!r} in {programme!r}")
        return _marks(rows[0])

    def _narrow(
        self, programme: str, scope: Scope, unit: str | None, q: str | None
    ) -> tuple[list[str], dict[str, Any], list[Mapping[str, Any]]]:
        """Conditions, parameters and external tables of a scoped list."""
        condition, params = scope.condition()
        conditions = ["programme = %(p)s", condition]
        params = {"p": programme, **params}
        tables: list[Mapping[str, Any]] = []
        if unit:
            self.visible_path(scope, unit)
            condition, more = below(unit, "unit")
            conditions.append(condition)
            params |= more
        if q and q.strip():
            conditions.append(
                "(positionCaseInsensitive(learner_id, (SELECT any(text) FROM typed)) > 0 OR learner_id IN (SELECT id FROM named))"
            )
            # What was typed may be a name: it travels as data, so that it is in no query's text and in no log of the server. And
            # the ids whose name matches may be thousands.
            tables = [
                {"name": "typed", "structure": [("text", "String")], "data": [{"text": q.strip()}]},
                {"name": "named", "structure": [("id", "String")], "data": [{"id": i} for i in self._search(q.strip())]},
            ]
        return conditions, params, tables

    def _page(
        self,
        relation: str,
        conditions: list[str],
        params: dict[str, Any],
        tables: list[Mapping[str, Any]],
        keys: list[tuple[str, bool]],
        sort: str,
        cursor: str | None,
        limit: int,
    ) -> Page:
        limit = max(1, min(limit, MOST))
        where = " AND ".join(conditions)
        total = self.pool.rows(f"SELECT count() AS n FROM {relation} WHERE {where}", params, tables)[0]["n"]
        if cursor:
            where += f" AND ({_after(keys, decode(cursor, sort, [str if key in _TEXTS else int for key, _ in keys]), params)})"
        columns = ", ".join(f"{key} AS key{n}" for n, (key, _) in enumerate(keys))
        order = ", ".join(f"key{n} {'DESC' if down else 'ASC'}" for n, (_, down) in enumerate(keys))
        rows = self.pool.rows(f"SELECT *, {columns} FROM {relation} WHERE {where} ORDER BY {order} LIMIT {limit + 1}", params, tables)
        more = len(rows) > limit
        rows = rows[:limit]
        values = [[row.pop(f"key{n}") for n in range(len(keys))] for row in rows]
        return Page(rows, datetime.fromtimestamp(0, UTC), total, encode(sort, values[-1]) if more else None)


def programme_row(programme: Programme) -> Row:
    """What the JSON and the pages show of a rule file."""
    return {
        "id": programme.id,
        "rules_version": programme.rules_version,
        "title": dict(programme.title),
        "time_zone": programme.time_zone,
        "calendar": {
            "opens": programme.opens,
            "starts": programme.starts,
            "ends": programme.ends,
            "results_final": programme.results_final,
            "phases": [{"id": p.id, "title": dict(p.title), "due": p.due, "level": p.level} for p in programme.phases],
        },
        "courses": [
            {
                "id": course.id,
                "title": dict(course.title),
                "module": course.module,
                "hours": Decimal(course.hours).scaleb(-2),
                "credits": Decimal(course.credits).scaleb(-2),
            }
            for course in programme.courses.values()
        ],
    }


def _empty_unit(programme: str, unit: Row) -> Row:
    figures = ("learners", "registered", "started", "active_7d", "passed", "failed", "open_flags", "credited_seconds")
    return {"programme": programme, **unit, **dict.fromkeys(figures, 0), "mean_credits": Decimal("0.00")}


def _short(type_: str) -> str:
    return type_.removeprefix("chalkstream.").removesuffix(".v1")


def _marks(row: Row) -> Row:
    return {name: bool(value) if name in _MARKS else value for name, value in row.items()}


def _sort(sort: str) -> tuple[str, bool]:
    name = sort.removeprefix("-")
    if name not in SORTS:
        raise ValueError(f"sort: {sort!r} is none of {', '.join(SORTS)} (a leading - turns it round)")
    return SORTS[name], sort.startswith("-")


def _after(keys: list[tuple[str, bool]], values: list[Any], params: dict[str, Any]) -> str:
    """The rows that come after `values` in the order of `keys`: one is greater where all before it are equal."""
    alternatives, equal = [], ""
    for n, ((key, down), value) in enumerate(zip(keys, values, strict=True)):
        params[f"after{n}"] = value
        alternatives.append(f"({equal}{key} {'<' if down else '>'} %(after{n})s)")
        equal += f"{key} = %(after{n})s AND "
    return " OR ".join(alternatives)


__all__ = ["BadCursor", "NotVisible", "Page", "Queries"]
