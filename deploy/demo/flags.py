"""The flags that should be open, from the same facts and the rule book: the second half of the demo's knowledge."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from deploy.demo.plans import Plan, number
from deploy.demo.sheet import HOURS_24, Interval, Known, OpenFlag, Sheet, Tally


def _days(value: object) -> int:
    return int(number(value) * HOURS_24)


def _by_days(terms: dict[str, Any], base: int, now: int) -> str:
    for severity in ("escalation", "warning"):
        if f"{severity}_days" in terms and now >= base + _days(terms[f"{severity}_days"]):
            return severity
    return "notice"


def _owner(plan: Plan, now: int, since: int) -> str:
    terms = plan.rules.get("attention", {}).get("ownership")
    if not terms:
        return "school"
    if now >= since + _days(terms["city_after_days"]):
        return "city"
    return "county" if now >= since + _days(terms["county_after_days"]) else "school"


def _flag(sheet: Sheet, kind: str, ref: str, severity: str, raised_at: int, base: int) -> OpenFlag:
    contacts: list[Known] = [
        fact for fact in sheet.of("follow_up.recorded")
        if fact.data["flag"] == kind and (fact.data.get("ref") or "") in ("", ref) and fact.time >= base
    ]  # fmt: skip
    last = contacts[-1] if contacts else None
    owner = _owner(sheet.plan, sheet.now, max(raised_at, last.time if last else raised_at))
    return OpenFlag(kind, ref, severity, raised_at, owner, len(contacts), last.time if last else None, last.data["outcome"] if last else "")


def _behind_at(plan: Plan, out: Tally, pieces: list[Interval], midnight: int) -> Decimal | None:
    """By how many points of 100 the learner is behind at a midnight; None where it does not apply."""
    if out.registered_at is None or out.registered_at >= midnight:
        return None
    done: dict[str, int] = {}
    for start, course, end in pieces:
        done[course] = done.get(course, 0) + max(0, min(end, midnight // 1000) - start)
    needed = sum(plan.needed(course) for course in out.courses)
    seconds = sum(min(done.get(course, 0), plan.needed(course)) for course in out.courses)
    elapsed = Decimal(midnight - plan.starts) / Decimal(plan.ends - plan.starts)
    return 100 * (elapsed - Decimal(seconds) / Decimal(needed))


def _behind(sheet: Sheet, out: Tally, pieces: list[Interval], terms: dict[str, Any]) -> OpenFlag | None:
    plan = sheet.plan
    if not out.courses:
        return None
    day, midnight, found = plan.day_of(sheet.now), plan.midnight(plan.day_of(sheet.now)), None
    while midnight >= plan.ends:
        day -= timedelta(days=1)
        midnight = plan.midnight(day)
    while midnight >= plan.starts and (sheet.reinstated is None or midnight > sheet.reinstated):
        under = _behind_at(plan, out, pieces, midnight)
        if under is None or under <= number(terms["tolerance_percent"]):
            break
        if found is None:
            severe = under > number(terms["escalation_percent"])
            severity = "escalation" if severe else "warning" if under > number(terms["warning_percent"]) else "notice"
        found = midnight
        day -= timedelta(days=1)
        midnight = plan.midnight(day)
    return None if found is None else _flag(sheet, "behind", "", severity, found, found)


def _overdue(sheet: Sheet, out: Tally, terms: dict[str, Any]) -> list[OpenFlag]:
    plan, flags = sheet.plan, []
    item = plan.items(out.mode).get("assignments")
    for course, due in terms["due"].items():
        mine = out.courses.get(course)
        if mine is None or mine.passed or item is None or mine.submitted >= item["count"]:
            continue
        due_end = plan.midnight(due + timedelta(days=1))
        base = [due_end, sheet.reinstated or 0]
        if plan.rules["selection"] == "chosen":
            first = None
            for fact in sheet.open_time("course.selected", "course.dropped"):
                if fact.data["course_id"] == course:
                    first = None if fact.kind == "course.dropped" else first if first is not None else fact.time
            base.append(first or 0)
        if sheet.now >= max(base) + _days(terms["notice_days"]):
            raised = max(base) + _days(terms["notice_days"])
            flags.append(_flag(sheet, "assignment_overdue", course, _by_days(terms, max(base), sheet.now), raised, max(base)))
    return flags


def _exam_due(sheet: Sheet, out: Tally, terms: dict[str, Any]) -> list[OpenFlag]:
    plan, flags = sheet.plan, []
    if "exam" not in plan.items(out.mode):
        return []
    for course, mine in out.courses.items():
        raised = max(plan.ends - _days(terms["notice_days"]), sheet.reinstated or 0)
        if mine.passed or not mine.gate_met or mine.attempts or sheet.now < raised:
            continue
        left = plan.ends - sheet.now
        severity = (
            "escalation" if left <= _days(terms["escalation_days"]) else "warning" if left <= _days(terms["warning_days"]) else "notice"
        )
        flags.append(_flag(sheet, "exam_due", course, severity, raised, raised))
    return flags


def _suspected(sheet: Sheet) -> list[OpenFlag]:
    first: dict[str, int | None] = {}
    for fact in sheet.of("plagiarism.ruled"):
        case = fact.data["case_id"]
        if fact.data["verdict"] != "suspected":
            first[case] = None
        elif first.get(case) is None:
            first[case] = fact.time
    return [
        _flag(sheet, "plagiarism_suspected", case, "warning", at, at) for case, at in first.items() if at is not None and sheet.now >= at
    ]


def open_flags(sheet: Sheet, out: Tally, pieces: list[Interval]) -> list[OpenFlag]:
    """Flags open at the sheet's moment, by kind and ref; `pieces` are the learner's credited pieces in order of time."""
    plan, now = sheet.plan, sheet.now
    rules = plan.rules.get("attention") or {}
    if out.withdrawn:
        return []
    flags = _suspected(sheet) if "plagiarism_suspected" in rules else []
    if out.result != "in_progress" or not plan.opens <= now < plan.ends:
        return sorted(flags)
    back = sheet.reinstated or 0
    enrolled = [fact.time for fact in sheet.of("learner.enrolled")]
    simple: list[tuple[str, int]] = []
    if "not_registered" in rules and enrolled and out.registered_at is None:
        simple.append(("not_registered", max(min(enrolled) + _days(rules["registration"]["within_days"]), back)))
    timed = "study" in plan.items(out.mode) or plan.rules["credits"] == "proportional"
    if "not_started" in rules and timed and out.registered_at is not None and out.started_at is None:
        simple.append(("not_started", max(out.registered_at, plan.starts, back)))
    if "inactive" in rules and timed and out.started_at is not None and out.last_active_at is not None:
        simple.append(("inactive", max(out.last_active_at, plan.starts, back)))
    for kind, base in simple:
        raised = base + _days(rules[kind]["notice_days"])
        if now >= raised:
            flags.append(_flag(sheet, kind, "", _by_days(rules[kind], base, now), raised, base))
    if "behind" in rules and timed:
        behind = _behind(sheet, out, pieces, rules["behind"])
        flags += [behind] if behind else []
    if "assignment_overdue" in rules:
        flags += _overdue(sheet, out, rules["assignment_overdue"])
    if "exam_due" in rules:
        flags += _exam_due(sheet, out, rules["exam_due"])
    return sorted(flags, key=lambda flag: (flag.kind, flag.ref))
