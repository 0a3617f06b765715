"""The flags open at a moment (RULES, "Needs attention")."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tests.properties.reference.facts import Fact
from tests.properties.reference.learner import Facts
from tests.properties.reference.local_days import day_of
from tests.properties.reference.rules import length_ms, number

Key = tuple[str, str]


def open_flags(learner: Facts, now: int) -> dict[Key, dict[str, Any]]:
    """Every flag open at `now` by (kind, ref), with the columns of `marts.needs_attention`; instants in ms."""
    if learner.withdrawn:
        return {}
    found: dict[Key, dict[str, Any]] = {}

    def consider(kind: str, ref: str, raised_at: int, base: int, severity: str) -> None:
        """`base`: from when on follow-ups are those of this flag."""
        if now >= raised_at:
            found[kind, ref] = {"severity": severity, "raised_at": raised_at, **_heard(learner, kind, ref, raised_at, base, now)}

    def from_base(kind: str, ref: str, *bases: int | None) -> None:
        base = max(moment for moment in bases if moment is not None)
        rule = learner.rules.part("attention", kind)
        raised_at, severity = base + length_ms(rule["notice_days"]), "notice"
        if now >= base + length_ms(rule["warning_days"]):
            severity = "warning"
        if now >= base + length_ms(rule["escalation_days"]):
            severity = "escalation"
        consider(kind, ref, raised_at, base, severity)

    if learner.rules.part("attention", "plagiarism_suspected") is not None:
        for case, began in _suspected(learner).items():
            consider("plagiarism_suspected", case, began, began, "warning")
    if not learner.rules.before_the_end(now) or learner.result(now) != "in_progress":
        return found

    rules, back = learner.rules, learner.reinstated_at

    def is_on(kind: str) -> bool:
        return rules.part("attention", kind) is not None

    if is_on("not_registered") and learner.enrolled_at is not None and learner.registered_at is None:
        within = length_ms(rules.part("attention", "registration", "within_days"))
        from_base("not_registered", "", learner.enrolled_at + within, back)
    time_counts = rules.item(learner.mode, "study") is not None or rules.part("credits") == "proportional"
    if time_counts and is_on("not_started") and learner.registered_at is not None and learner.started_at is None:
        from_base("not_started", "", learner.registered_at, rules.starts, back)
    if time_counts and is_on("inactive") and learner.started_at is not None:
        from_base("inactive", "", learner.last_act, rules.starts, back)
    if time_counts and is_on("behind"):
        run = _behind(learner, now)
        if run is not None:
            consider("behind", "", run[0], run[0], run[1])
    for course, row in learner.courses.items():
        if row["passed"]:
            continue
        item, due = rules.item(learner.mode, "assignments"), rules.due(course)
        if is_on("assignment_overdue") and item and due is not None and row["submitted"] < int(item["count"]):
            from_base("assignment_overdue", course, due, None if rules.everybodys else _selected_at(learner, course), back)
        if is_on("exam_due") and rules.item(learner.mode, "exam") and row["gate_met"] and not row["attempts"]:
            rule = rules.part("attention", "exam_due")
            raised_at = max(rules.end - length_ms(rule["notice_days"]), back if back is not None else 0)
            severity = "notice"
            if now >= rules.end - length_ms(rule["warning_days"]):
                severity = "warning"
            if now >= rules.end - length_ms(rule["escalation_days"]):
                severity = "escalation"
            consider("exam_due", course, raised_at, raised_at, severity)
    return found


def _heard(learner: Facts, kind: str, ref: str, raised_at: int, base: int, now: int) -> dict[str, Any]:
    """Follow-ups and owner of a flag."""
    heard = [fact for fact in learner.of("follow_up.recorded", flag=kind) if fact.data.get("ref") in (None, ref) and fact.time >= base]
    last: Fact | None = heard[-1] if heard else None
    owner, rule = "school", learner.rules.part("attention", "ownership")
    if rule is not None:
        since = max(raised_at, last.time) if last else raised_at
        if now >= since + length_ms(rule["county_after_days"]):
            owner = "county"
        if now >= since + length_ms(rule["city_after_days"]):
            owner = "city"
    return {
        "owner_level": owner,
        "follow_ups": len(heard),
        "last_follow_up_at": last.time if last else None,
        "last_outcome": last.data["outcome"] if last else None,
    }


def _suspected(learner: Facts) -> dict[str, int]:
    """The cases whose latest ruling is `suspected`: when that suspicion began."""
    began: dict[str, int] = {}
    for fact in learner.of("plagiarism.ruled"):
        case = fact.data["case_id"]
        if fact.data["verdict"] == "suspected":
            began.setdefault(case, fact.time)
        else:
            began.pop(case, None)
    return began


def _selected_at(learner: Facts, course: str) -> int | None:
    """The first counting `selected` after the last counting `dropped`."""
    since: int | None = None
    for fact in learner.of("course.selected", "course.dropped", course_id=course):
        if fact.kind == "course.dropped":
            since = None
        elif since is None:
            since = fact.time
    return since


def _behind(learner: Facts, now: int) -> tuple[int, str] | None:
    """(the first midnight of the run, severity) where the learner is behind at the latest midnight up to `now`."""
    rules, rule = learner.rules, learner.rules.part("attention", "behind")
    midnights = [ms for ms in rules.midnights() if ms <= now and (learner.reinstated_at is None or ms > learner.reinstated_at)]
    if not learner.courses or learner.registered_at is None:
        return None
    run: int | None = None
    severity = ""
    hours = {course: rules.course_seconds(course) for course in learner.courses}
    days = sorted(learner.credited)
    for midnight in reversed(midnights):
        if learner.registered_at >= midnight:
            break
        # the day before a midnight is the last that lies before it
        before = day_of(rules.zone, midnight - 1)
        seconds = dict.fromkeys(hours, 0)
        for day in days:
            if day <= before:
                for course, some in learner.credited[day].items():
                    if course in seconds:
                        seconds[course] += some
        share = sum((min(Fraction(seconds[course]), most) for course, most in hours.items()), Fraction(0)) / sum(hours.values())
        calendar = Fraction((midnight - rules.starts) // 1000, (rules.end - rules.starts) // 1000)
        under = (calendar - share) * 100
        if under <= number(rule["tolerance_percent"]):
            break
        if run is None:
            severity = "notice"
            if under > number(rule["warning_percent"]):
                severity = "warning"
            if under > number(rule["escalation_percent"]):
                severity = "escalation"
        run = midnight
    return None if run is None else (run, severity)
