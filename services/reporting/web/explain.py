"""A learner's account for the eye: one course, or the learner as a whole. It is loaded into the learner's page when somebody opens it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.programme import Mode
from services.reporting.api.explain import Explained, explain
from services.reporting.api.explain_wire import at
from services.reporting.web.context import Seen, address
from services.reporting.web.explain_facts import item_view, length, when
from services.reporting.web.shapes import hundredths, percent, share, tidy
from services.scoring.core.account.model import Condition, CourseAccount, Enough, FlagAccount

LISTED = 80
"""Facts that a page lists one by one under an item."""


def page(seen: Seen, learner_id: str) -> dict[str, Any]:
    """`?course=ID`: that course; without it the learner as a whole."""
    course_id = seen.query.get("course") or None
    told = explain(seen.queries, seen.rules, seen.scope, learner_id, course_id, seen.now_ms, LISTED)
    person = seen.deps.identity.people([learner_id]).get(learner_id)
    view = course_view(seen, told, told.account.courses[0]) if course_id else whole_view(seen, told)
    return {
        "person": {"name": person.name if person else learner_id, "url": seen.learner_url(learner_id)},
        "title": seen.course(course_id) if course_id else seen.t("account.whole"),
        "stamp": seen.stamp(told.as_of),
        "facts": told.account.facts,
        "notice": notice(seen, told),
        **view,
    }


def notice(seen: Seen, told: Explained) -> dict[str, Any]:
    """Whether the account and the published figures agree; where they do not, what differs and which of them is the newer one."""
    t = seen.t
    if not told.differences:
        return {"agrees": True, "text": t("account.agrees"), "lines": [], "newer": ""}
    lines = []
    for row in told.differences[:6]:
        column, _, of = row["column"].partition(":")
        what = t.of("account.column", column, column)
        if column == "flag":
            what = f"{what} {t.of('kind', of.partition(':')[0])}"
        where = f"{seen.course(row['course_id'])} · " if row["course_id"] else ""
        lines.append(t("account.difference", what=where + what, ours=_value(seen, row["account"]), theirs=_value(seen, row["published"])))
    return {
        "agrees": False,
        "text": t("account.differs", when=seen.stamp(told.published["as_of"])["text"]),
        "lines": lines,
        "newer": t(f"account.newer.{told.newer}") if told.newer else "",
    }


def _value(seen: Seen, value: Any) -> str:
    if value is None:
        return seen.t("none")
    if isinstance(value, bool):
        return seen.t("account.yes" if value else "account.no")
    return str(value)


# -- a course ---------------------------------------------------------------------------------------------------------


def course_view(seen: Seen, told: Explained, course: CourseAccount) -> dict[str, Any]:
    """The course's items with their facts, the sum, the gate and what would be enough."""
    t, rules = seen.t, seen.rules
    mode = rules.modes.get(told.account.mode.value)
    known = rules.courses.get(course.course_id)
    said, tone = enough_view(seen, course, mode)
    if not course.selected:
        said, tone = [t("account.unselected" if course.known else "account.unknown")], "care"
    scored = [item for item in course.items if item.scored]
    total = hundredths(course.total)
    if len(scored) > 1:
        total = f"{' + '.join(hundredths(item.points) for item in scored)} = {total}"
    return {
        "whole": None,
        "say": said,
        "say_tone": tone,
        "items": [item_view(seen, item, course) for item in course.items],
        "total": total if mode and course.selected else "",
        "pass_at": "" if course.pass_at is None else t("course.total", pass_at=tidy(course.pass_at)),
        "hours": t("account.hours", have=hundredths(rules.study_hours(course.seconds)), need=tidy(known.hours)) if known else "",
        "credits": t("account.credits", credits=tidy(course.credits)) if course.selected else "",
        "cap": length(seen, course.cap_cut) if course.cap_cut else "",
        "gate": gate_view(seen, course),
    }


def gate_view(seen: Seen, course: CourseAccount) -> dict[str, Any] | None:
    gate, t = course.gate, seen.t
    if gate is None:
        return None
    names = t("account.join").join(t(f"item.{name}") for name in gate.items)
    points = {item.name: item.points for item in course.items}
    return {
        "label": t("account.gate", items=names),
        "share": share(gate.points, gate.at_least),
        "met": gate.met,
        "state": t("account.gate.met" if gate.met else "account.gate.open"),
        "sum": " + ".join(hundredths(points.get(name, 0)) for name in gate.items),
        "value": f"{hundredths(gate.points)} / {tidy(gate.at_least)}",
    }


def enough_view(seen: Seen, course: CourseAccount, mode: Mode | None) -> tuple[list[str], str]:
    """Sentences on what is missing and what would be enough, as the core worked it out, and their tone."""
    t, enough = seen.t, course.enough
    if enough is None or mode is None:
        return [], ""
    if course.passed:
        return [t("enough.passed", most=tidy(enough.most))], "good"
    said = [t("enough.short", short=tidy(enough.short))]
    gate = course.gate
    if gate is not None and not gate.met:
        said.append(t("enough.gate", short=tidy(enough.gate_short)))
        if enough.gate_ways:
            alone = all(len(way) == 1 for way in enough.gate_ways)
            said.append(t("enough.gate.ways" if alone else "enough.gate.together", ways=_ways(seen, enough.gate_ways)))
        else:
            said.append(t("enough.gate.none"))
    said += _exam(seen, enough, mode, gate is not None and not gate.met)
    if enough.pass_ways:
        said.append(t("enough.pass.ways", ways=_ways(seen, enough.pass_ways)))
    if enough.possible:
        return [*said, t("enough.most", most=tidy(enough.most))], ""
    return [*said, t(f"enough.blocked.{enough.blocked}")], "care"


def _exam(seen: Seen, enough: Enough, mode: Mode, waits: bool) -> list[str]:
    t = seen.t
    if mode.exam is None or not enough.possible:
        return []
    if enough.exam_score is None:
        return [t("enough.exam.none")]
    if enough.exam_score == 0:
        return [t("enough.exam.zero")]
    need = _percent(enough.exam_score)
    said = [t("enough.exam.gate" if waits else "enough.exam", percent=need, most=tidy(mode.exam.points))]
    if enough.exam_kept is not None:
        said.append(t("enough.exam.kept", percent=_percent(enough.exam_kept)))
    return said


def _percent(score: int) -> str:
    """1/10000 as a percentage without trailing zeros."""
    return f"{tidy(score)}%"


def _ways(seen: Seen, ways: Sequence[Mapping[str, int]]) -> str:
    t = seen.t
    told = []
    for way in ways:
        parts = [t(f"enough.way.{key}", n=length(seen, n) if key == "seconds" else n) for key, n in way.items()]
        told.append(t("enough.join.and").join(parts))
    return t("enough.join").join(told)


# -- the learner as a whole -------------------------------------------------------------------------------------------


def whole_view(seen: Seen, told: Explained) -> dict[str, Any]:
    """Conditions of the result, why this mode and class, what the open flags rest on, and the facts outside courses."""
    t, found = seen.t, told.account
    said = [t("condition.result", result=t.of("result", "withdrawn" if found.withdrawn else found.result))]
    if found.result == "in_progress":
        said.append(t("condition.possible" if found.possible else "condition.impossible"))
    return {
        "whole": {
            "mode": _mode(seen, told),
            "class": t("said.class", id=found.class_.value, when=when(seen, found.class_.record)) if found.class_.record else "",
            "passed": [_condition(seen, one) for one in found.passed],
            "excellent": [_condition(seen, one) for one in found.excellent],
            "flags": [_flag(seen, flag) for flag in found.flags],
            "others": [_other(seen, found.learner_id, course) for course in found.courses if not course.selected],
        },
        "say": said,
        "say_tone": "good" if found.result in ("passed", "excellent") else "" if found.possible else "care",
        "items": [item_view(seen, item, None) for item in found.items if item.facts],
        "total": "",
        "pass_at": "",
        "hours": "",
        "credits": "",
        "cap": "",
        "gate": None,
    }


def _other(seen: Seen, learner_id: str, course: CourseAccount) -> dict[str, str]:
    """A course that the learner has not selected, but that facts speak of."""
    n = sum(item.facts for item in course.items)
    base = seen.path("learners", learner_id, "explain")
    return {"text": seen.t("account.others.n", course=seen.course(course.course_id), n=n), "url": address(base, course=course.course_id)}


def _mode(seen: Seen, told: Explained) -> str:
    t, said = seen.t, told.account.mode
    name = t.of("mode", said.value)
    if said.by == "fact":
        return t("said.mode.fact", mode=name, when=when(seen, said.record))
    if said.by == "rule":
        return t("said.mode.rule", mode=name, age=said.facts["age"], limit=tidy(int(said.facts["online_limit"] or 0)))
    return t("said.mode.default", mode=name)


def _condition(seen: Seen, one: Condition) -> dict[str, Any]:
    t, rules = seen.t, seen.rules
    have, need = str(one.have), str(one.need)
    if one.kind == "credited_seconds":
        have, need = hundredths(rules.study_hours(one.have)), tidy(rules.study_hours(one.need))
    elif one.kind == "sum_of_totals":
        have, need = hundredths(one.have), tidy(one.need)
    activity = rules.activities.get(one.of)
    return {
        "label": t(f"condition.{one.kind}", of=t.title(dict(activity.title)) if activity else one.of),
        "value": f"{have} / {need}" if one.kind != "no_confirmed_plagiarism" else one.of,
        "share": share(one.have, one.need) if one.need else 100.0 if one.met else 0.0,
        "met": one.met,
        "state": t("condition.met" if one.met else "condition.open"),
    }


def _flag(seen: Seen, flag: FlagAccount) -> dict[str, Any]:
    t = seen.t

    def told(ms: int | None) -> str:
        return seen.minute(None if ms is None else at(ms))

    said = []
    if flag.base_at is not None:
        said.append(t("flagline.base", when=told(flag.base_at)))
    if flag.kind == "behind":
        facts = flag.facts
        elapsed, credited = (percent(int(facts[name] or 0), 10_000) for name in ("elapsed_percent", "credited_percent"))
        said.append(t("flagline.behind", when=seen.day(at(int(facts["midnight_at"] or 0))), elapsed=elapsed, credited=credited))
    said.append(t("flagline.raised", when=told(flag.raised_at)))
    if flag.next_severity is not None:
        said.append(t("flagline.next", when=told(flag.next_severity_at), severity=t.of("severity", flag.next_severity)))
    if flag.next_owner is not None:
        said.append(t("flagline.owner", when=told(flag.next_owner_at), owner=t.of("owner", flag.next_owner)))
    course = f" · {seen.course(flag.ref)}" if flag.ref in seen.rules.courses else f" · {flag.ref}" if flag.ref else ""
    return {
        "severity": flag.severity,
        "badge": t.of("severity", flag.severity),
        "label": t.of("kind", flag.kind) + course,
        "said": " · ".join(said),
    }
