"""The account of a learner in the form in which it is answered: codes as words, points as decimals, instants as instants.

Pure. What `responses.plain` has no form for is made into something that it has: points and credits `Decimal` of two places, scores of four,
instants aware `datetime`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from schemas.programme import Programme
from services.reporting.api.responses import two_places
from services.scoring.core.account.model import Account, Condition, CourseAccount, Enough, FlagAccount, Item, Line, Record, Said

Row = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def score(value: int | None) -> Decimal | None:
    """1/10000 as a decimal of four places."""
    return None if value is None else Decimal(value).scaleb(-4)


def at(ms: int) -> datetime:
    """ms since 1970 as an instant."""
    return _EPOCH + timedelta(milliseconds=ms)


def moment(ms: int | None) -> datetime | None:
    return None if ms is None else at(ms)


def account_row(rules: Programme, found: Account) -> Row:
    """The whole account."""
    return {
        "programme": found.programme,
        "learner_id": found.learner_id,
        "rules_version": found.rules_version,
        "judged_at": moment(found.now_ms),
        "facts": found.facts,
        "mode": _said(found.mode),
        "class": _said(found.class_),
        "withdrawn": found.withdrawn,
        "result": {
            "value": found.result,
            "final_at": moment(found.results_final_ms),
            "possible": found.possible,
            "passed": [_condition(one) for one in found.passed],
            "excellent": [_condition(one) for one in found.excellent],
        },
        "credited_seconds": found.seconds,
        "study_hours": two_places(rules.study_hours(found.seconds)),
        "credits": two_places(found.credits),
        **{name: moment(ms) for name, ms in found.acts.items()},
        "courses": [course_row(rules, course) for course in found.courses],
        "items": [item_row(item) for item in found.items],
        "flags": [flag_row(flag) for flag in found.flags],
    }


def course_row(rules: Programme, course: CourseAccount) -> Row:
    known = rules.courses.get(course.course_id)
    return {
        "course_id": course.course_id,
        "title": dict(known.title) if known else None,
        "known": course.known,
        "selected": course.selected,
        "credited_seconds": course.seconds,
        "study_hours": two_places(rules.study_hours(course.seconds)),
        "seconds_before_cap": course.seconds_before_cap,
        "over_course_cap": course.cap_cut,
        "total_points": two_places(course.total),
        "pass_at": None if course.pass_at is None else two_places(course.pass_at),
        "passed": course.passed,
        "credits": two_places(course.credits),
        "gate": None
        if course.gate is None
        else {
            "items": list(course.gate.items),
            "points": two_places(course.gate.points),
            "at_least": two_places(course.gate.at_least),
            "met": course.gate.met,
        },
        "items": [item_row(item) for item in course.items],
        "enough": None if course.enough is None else enough_row(course.enough),
    }


def enough_row(enough: Enough) -> Row:
    return {
        "points_short": two_places(enough.short),
        "gate_short": two_places(enough.gate_short),
        "exam_score": score(enough.exam_score),
        "exam_kept": score(enough.exam_kept),
        "gate_ways": [dict(way) for way in enough.gate_ways],
        "pass_ways": [dict(way) for way in enough.pass_ways],
        "most_points": two_places(enough.most),
        "possible": enough.possible,
        "blocked": enough.blocked or None,
    }


def item_row(item: Item) -> Row:
    return {
        "item": item.name,
        "scored": item.scored,
        "points": two_places(item.points),
        "limit": two_places(item.limit),
        "figures": {name: _figure(name, value) for name, value in item.figures.items()},
        "facts_total": item.facts,
        "facts": [line_row(line) for line in item.lines],
        "left_out": {"facts": item.rest.facts, "seconds": item.rest.seconds, "points": two_places(item.rest.points)},
        "room": None if item.room is None else {"points": two_places(item.room.points), "more": dict(item.room.more)},
    }


def line_row(line: Line) -> Row:
    return {
        **event_row(line.record),
        "counts": line.counts,
        "seconds": line.seconds,
        "points": None if line.points is None else two_places(line.points),
        "reasons": [
            {"code": why.code, **({"seconds": why.seconds} if why.seconds else {}), "by": [event_row(by, False) for by in why.by]}
            for why in line.why
        ],
    }


def event_row(record: Record, whole: bool = True) -> Row:
    """The reference to a fact; with `whole` also where it lies in the log and what it says."""
    event = record.event
    row: Row = {
        "source": event.source,
        "event_id": event.id,
        "type": record.kind,
        "time": moment(event.time_ms),
        "course_id": getattr(event.data, "course_id", None) or "",
    }
    if not whole:
        return row | ({"data": data_row(record)} if record.kind == "study.recorded" else {})
    known = record.partition >= 0
    return row | {
        "ingested_at": moment(event.ingested_at_ms),
        "partition": record.partition if known else None,
        "offset": record.offset if known else None,
        "data": data_row(record),
    }


def data_row(record: Record) -> Row:
    """What the event says, without fields that it leaves out."""
    found: Row = {}
    for name, value in record.data.__dict__.items():
        if value is None:
            continue
        if name == "score":
            value = score(value)
        elif name == "sat_at":
            value = moment(value)
        elif name in ("started_at", "ended_at"):
            value = moment(value * 1000)
        found[name] = value
    return found


def flag_row(flag: FlagAccount) -> Row:
    return {
        "kind": flag.kind,
        "ref": flag.ref,
        "severity": flag.severity,
        "raised_at": moment(flag.raised_at),
        "base_at": moment(flag.base_at),
        "next_severity": flag.next_severity,
        "next_severity_at": moment(flag.next_severity_at),
        "owner_level": flag.owner_level,
        "next_owner": flag.next_owner,
        "next_owner_at": moment(flag.next_owner_at),
        "follow_ups": flag.follow_ups,
        "facts": {name: _figure(name, value) for name, value in flag.facts.items() if value is not None},
    }


def _said(said: Said) -> Row:
    return {
        "value": said.value,
        "by": said.by,
        "event": event_row(said.record, False) if said.record else None,
        "facts": {name: _figure(name, value) for name, value in said.facts.items()},
    }


def _condition(one: Condition) -> Row:
    in_points = one.kind == "sum_of_totals"
    have, need = (two_places(one.have), two_places(one.need)) if in_points else (one.have, one.need)
    return {"condition": one.kind, "have": have, "need": need, "met": one.met, "of": one.of or None}


_HUNDREDTHS = ("online_limit", "elapsed_percent", "credited_percent")


def _figure(name: str, value: int | str | None) -> Any:
    """A number by its name: instants end in `_at`, scores in `score`; some are of 1/100."""
    if not isinstance(value, int):
        return value
    if name.endswith("_at"):
        return moment(value)
    if name.endswith("score"):
        return score(value)
    return two_places(value) if name in _HUNDREDTHS else value


def differences(found: Account, published: Mapping[str, Any], whole: bool = True) -> list[Row]:
    """Where the account and the published rows (`Queries.learner`) differ: `{course_id, column, account, published}`.

    `whole`: the account is of all courses, so that one which is missing there is a difference.
    """
    rows: list[Row] = []

    def put(course_id: str | None, column: str, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            rows.append({"course_id": course_id, "column": column, "account": ours, "published": theirs})

    put(None, "rules_version", found.rules_version, published["rules_version"])
    put(None, "class_id", found.class_.value, published["class_id"])
    put(None, "mode", found.mode.value, published["mode"])
    put(None, "withdrawn", found.withdrawn, published["withdrawn"])
    put(None, "result", found.result, published["result"])
    put(None, "credited_seconds", found.seconds, published["credited_seconds"])
    put(None, "credits", two_places(found.credits), published["credits"])
    theirs = {row["course_id"]: row for row in published["courses"]}
    ours = {course.course_id: course for course in found.courses}
    for course_id, course in ours.items():
        if course.selected != (course_id in theirs):
            put(course_id, "selected", course.selected, course_id in theirs)
        elif course.selected:
            row = theirs[course_id]
            put(course_id, "credited_seconds", course.seconds, row["credited_seconds"])
            put(course_id, "total_points", two_places(course.total), row["total_points"])
            put(course_id, "passed", course.passed, row["passed"])
            put(course_id, "credits", two_places(course.credits), row["credits"])
    for course_id in sorted(theirs.keys() - ours.keys()) if whole else ():
        put(course_id, "selected", False, True)
    flags = {(flag.kind, flag.ref): (flag.severity, flag.owner_level, moment(flag.raised_at)) for flag in found.flags}
    shown = {(flag["kind"], flag["ref"]): (flag["severity"], flag["owner_level"], flag["raised_at"]) for flag in published["flags"]}
    for kind, ref in sorted(flags.keys() ^ shown.keys() | {key for key in flags.keys() & shown.keys() if flags[key] != shown[key]}):
        one, other = (" ".join(map(str, some[kind, ref][:2])) if (kind, ref) in some else None for some in (flags, shown))
        rows.append({"course_id": None, "column": f"flag:{kind}" + (f":{ref}" if ref else ""), "account": one, "published": other})
    return rows
