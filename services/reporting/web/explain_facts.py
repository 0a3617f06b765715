"""The items and facts of an account as rows: what each record is in words, how much of it counts, and why."""

from __future__ import annotations

from typing import Any

from services.reporting.api.explain_wire import at
from services.reporting.web.context import Seen
from services.reporting.web.shapes import hundredths, share, tidy
from services.scoring.core.account.model import CourseAccount, Item, Line, Record, Why, own_time

_BY_VALUE = {
    "post.published": "kind",
    "work.reviewed": "verdict",
    "exam.marked": "form",
    "assessment.chosen": "form",
    "plagiarism.ruled": "verdict",
}
"""Types whose sentence depends on a field."""


def when(seen: Seen, record: Record | None) -> str:
    """When it happened, local time to the minute."""
    return seen.t("none") if record is None else seen.minute(at(own_time(record)))


def length(seen: Seen, seconds: int) -> str:
    """Exactly, to the second."""
    minutes, rest = divmod(seconds, 60)
    if minutes >= 60:
        return seen.t("account.seconds.h", h=minutes // 60, m=minutes % 60, s=rest)
    return seen.t("account.seconds", m=minutes, s=rest)


def item_view(seen: Seen, item: Item, course: CourseAccount | None) -> dict[str, Any]:
    """One item: its points against their limit, how many records count, and the records themselves."""
    t = seen.t
    whole = sum(line.counts == "yes" for line in item.lines)
    other = len(item.lines) - whole
    key = "account.counts" if not other else "account.counts.not" if whole else "account.counts.zero"
    counted = t(key, yes=whole, no=other)
    value, part, full = "", 0.0, False
    if item.scored:
        value, part, full = f"{hundredths(item.points)} / {tidy(item.limit)}", share(item.points, item.limit), item.points >= item.limit
    elif item.name == "study" and course is not None and course.selected and course.pass_at is None:
        known = seen.rules.courses[course.course_id]
        have = seen.rules.study_hours(course.seconds)
        value, part, full = f"{hundredths(have)} / {tidy(known.hours)}", share(have, known.hours), course.seconds >= known.seconds
    rest = ""
    if item.rest.facts:
        amount = length(seen, item.rest.seconds) if item.name == "study" else hundredths(item.rest.points)
        rest = t("account.rest", n=item.rest.facts, amount=amount)
    return {
        "id": item.name.replace(":", "-"),
        "label": label(seen, item.name, course is not None),
        "scored": item.scored,
        "value": value,
        "share": part,
        "full": full,
        "note": "" if value or item.name == "selection" or course is None or not course.selected else t("account.notscored"),
        "counted": counted if item.facts else t("account.counts.none"),
        "room": hundredths(item.room.points) if item.room and item.room.points else "",
        "lines": [line_view(seen, line) for line in item.lines],
        "rest": rest,
        "sum": length(seen, course.seconds_before_cap)
        if item.name == "study" and course
        else hundredths(item.points)
        if item.scored
        else "",
    }


def label(seen: Seen, name: str, in_course: bool) -> str:
    """The name of an item, or of what facts outside courses are about."""
    t = seen.t
    if name.startswith("activity:"):
        activity = seen.rules.activities.get(name[9:])
        return t("account.activity", activity=t.title(dict(activity.title)) if activity else name[9:])
    return t.of("item", name, t.of("account", name)) if in_course else t.of("account", name)


def line_view(seen: Seen, line: Line) -> dict[str, Any]:
    """One record: when, what, how much of it counts, why; `origin` says where it lies."""
    t, record = seen.t, line.record
    if line.seconds is not None:
        amount = length(seen, line.seconds)
    elif line.points is not None:
        amount = hundredths(line.points)
    else:
        amount = ""
    place = (record.partition, record.offset) if record.partition >= 0 else ("", "")
    return {
        "iso": seen.local(at(own_time(record))).isoformat(),
        "when": when(seen, record),
        "what": fact(seen, record),
        "counts": line.counts,
        "amount": amount,
        "why": [reason(seen, why) for why in line.why],
        "origin": t("account.origin", source=record.event.source, id=record.event.id, partition=place[0], offset=place[1]),
    }


def fact(seen: Seen, record: Record) -> str:
    """What the record says, in a few words."""
    t, kind, data = seen.t, record.kind, record.data
    values = {name: value for name, value in data.__dict__.items() if value is not None}
    key = f"{kind}.{values.get(_BY_VALUE[kind])}" if kind in _BY_VALUE else kind
    if "score" in values:
        values["percent"] = f"{tidy(values['score'])}%"
    if kind == "study.recorded":
        values["from_"], values["until"] = (f"{seen.local(at(s * 1000)):%H:%M:%S}" for s in (data.started_at, data.ended_at))
    if kind == "work.published":
        values["kind"] = t.of("workkind", data.kind)
    if kind == "follow_up.recorded":
        values["flag"] = t.of("kind", data.flag)
    return t.of("fact", key, kind).format(**values)


def reason(seen: Seen, why: Why) -> str:
    """A reason in words; what did it is named by its time, and study also by its course."""
    t = seen.t
    by = t("account.join").join(_cause(seen, record, why.code == "overlapped") for record in why.by)
    return t.of("code", why.code).format(time=length(seen, why.seconds), by=by or t("none"))


def _cause(seen: Seen, record: Record, study: bool) -> str:
    if not study:
        return when(seen, record)
    return f"{seen.course(record.data.course_id)} {when(seen, record)}"
