"""What the demo knows it did: every figure worked out again from the events themselves, plainly, from the rule book.

Nothing here is shared with the services. It is slow on purpose: all facts of one learner in a list, one rule after another,
`Decimal` for points where the services use integers. `tally` takes the sound events of one learner in one programme.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from deploy.demo.flags import open_flags
from deploy.demo.plans import Plan, number
from deploy.demo.sheet import ACTS, CENT, NOT_A_START, CourseTally, Known, Sheet, Tally, credited, instant, own_time


def _times(points: object, share: Decimal) -> Decimal:
    return (number(points) * share).quantize(CENT, ROUND_HALF_UP)


def _mode(sheet: Sheet, roster: list[Known]) -> str:
    said = [fact.data["mode"] for fact in roster if fact.data.get("mode")]
    if said:
        return str(said[-1])
    rule = sheet.plan.rules.get("mode_rule")
    enrolled = sheet.of("learner.enrolled")
    if not rule or not enrolled:
        return "online"
    year, gender = enrolled[-1].data.get("birth_year"), enrolled[-1].data.get("gender")
    if year is None or gender is None:
        return "online"
    age = sheet.plan.day_of(sheet.plan.starts).year - int(year)
    limit = rule["online"]
    online = age < limit["male_younger_than"] if gender == "male" else age <= limit["female_up_to"]
    return "online" if online else "disc"


def _form(sheet: Sheet, course: str, item: dict[str, Any]) -> str:
    if len(item["forms"]) == 1:
        return str(item["forms"][0])
    chosen = [fact.data["form"] for fact in sheet.open_time("assessment.chosen") if fact.data["course_id"] == course]
    return chosen[-1] if chosen else "paper"


def _course(sheet: Sheet, course: str, seconds: int, mode: str) -> CourseTally:
    plan, out = sheet.plan, CourseTally()
    terms = plan.courses[course]
    out.credited_seconds = min(seconds, plan.needed(course)) if plan.rules.get("cap_at_course_hours") else seconds
    acts = [own_time(fact) for fact in sheet.facts if fact.kind in ACTS and fact.data.get("course_id") == course]
    out.last_active_at = max(acts, default=None)
    out.submitted = len({f.data["assignment_id"] for f in sheet.open_time("assignment.submitted") if f.data["course_id"] == course})
    items = plan.items(mode)
    if "study" in items:
        item = items["study"]
        needed = int(number(item["hours"]) * plan.hour)
        share = min(Decimal(1), Decimal(out.credited_seconds) / needed)
        if item.get("award") == "threshold":
            share = Decimal(out.credited_seconds >= needed)
        out.points["study"] = _times(item["points"], share)
    if "assignments" in items:
        item = items["assignments"]
        scores = {
            f.data["assignment_id"]: number(f.data["score"]) for f in sheet.ruled("assignment.graded") if f.data["course_id"] == course
        }
        best = sorted(scores.values(), reverse=True)[: item["count"]]
        out.points["assignments"] = sum((_times(item["points_each"], score) for score in best), Decimal(0))
    if "interaction" in items:
        item = items["interaction"]
        posts = {f.data["post_id"]: f.data["kind"] for f in sheet.open_time("post.published") if f.data["course_id"] == course}
        live = [kind for post, kind in posts.items() if (course, post) not in sheet.removed_posts]
        counted = min(live.count("question"), item["questions"]) + min(live.count("reply"), item["replies"])
        out.points["interaction"] = _times(item["points_each"], Decimal(counted))
    if "works" in items:
        item = items["works"]
        mine = [
            1
            for data, verdict in sheet.works().values()
            if data.get("course_id") == course and data["kind"] in item["kinds"] and verdict != "returned"
        ]
        out.points["works"] = _times(item["points_each"], Decimal(min(len(mine), item["count"])))
    if "process" in items:
        marks = [f.data["score"] for f in sheet.ruled("process.marked") if f.data["course_id"] == course]
        out.points["process"] = _times(items["process"]["points"], number(marks[-1]) if marks else Decimal(0))
    if "exam" in items:
        _exam(sheet, course, items["exam"], out)
    out.total = sum(out.points.values(), Decimal(0))
    terms_of_mode = plan.rules.get("scoring", {}).get(mode)
    out.passed = bool(terms_of_mode) and out.total >= number(terms_of_mode["pass"]["total_at_least"])
    if plan.rules["credits"] == "on_pass":
        out.credits = number(terms["credits"]) if out.passed else Decimal(0)
    else:
        share = min(Decimal(1), Decimal(out.credited_seconds) / plan.needed(course))
        exact = number(terms["credits"]) * min(out.credited_seconds, plan.needed(course)) / plan.needed(course)
        out.credits = (exact if share < 1 else number(terms["credits"])).quantize(CENT, ROUND_DOWN)
    return out


def _exam(sheet: Sheet, course: str, item: dict[str, Any], out: CourseTally) -> None:
    plan = sheet.plan
    sat = [f for f in sheet.ruled("exam.marked") if f.data["course_id"] == course and plan.starts <= instant(f.data["sat_at"]) < plan.ends]
    latest = {f.data["attempt_id"]: f.data for f in sat}
    form = _form(sheet, course, item)
    scores = [number(data["score"]) for data in latest.values() if data["form"] == form]
    out.attempts = len(scores)
    gate = item.get("gate")
    if gate:
        out.gate_points = sum((out.points.get(name, Decimal(0)) for name in gate["items"]), Decimal(0))
        out.gate_met = out.gate_points >= number(gate["at_least"])
    out.exam_before_gate = bool(scores) and not out.gate_met
    out.points["exam"] = _times(item["points"], max(scores)) if scores and out.gate_met else Decimal(0)


def _result(sheet: Sheet, out: Tally) -> str:
    plan, terms = sheet.plan, sheet.plan.rules["result"]
    if terms.get("plagiarism_fails", True) and "confirmed" in sheet.cases().values():
        return "failed"
    passed, holds = terms["passed"], []
    if "courses" in passed:
        holds.append(bool(out.courses) and all(course.passed for course in out.courses.values()))
    if "credited_hours" in passed:
        holds.append(out.credited_seconds >= number(passed["credited_hours"]) * plan.hour)
    if "accepted_works" in passed:
        want = passed["accepted_works"]
        accepted = [1 for data, verdict in sheet.works().values() if data.get("activity_id") == want["activity"] and verdict == "accepted"]
        holds.append(len(accepted) >= want["count"])
    if all(holds):
        mean = (terms.get("excellent") or {}).get("mean_total_at_least")
        totals = sum((course.total for course in out.courses.values()), Decimal(0))
        return "excellent" if mean is not None and out.courses and totals >= number(mean) * len(out.courses) else "passed"
    return "failed" if sheet.now >= plan.final else "in_progress"


def tally(plan: Plan, learner_id: str, facts: Iterable[Known], now: int) -> Tally:
    """Every figure of one learner in one programme at the moment `now` (milliseconds)."""
    sheet, out = Sheet(plan, facts, now), Tally(learner_id, plan.id)
    roster = sheet.of("learner.enrolled", "learner.registered", "learner.transferred")
    out.class_id = roster[-1].data["class_id"] if roster else ""
    out.mode = _mode(sheet, roster)
    out.registered_at = min((fact.time for fact in sheet.of("learner.registered")), default=None)
    acts = [(own_time(fact), fact.kind) for fact in sheet.facts if fact.kind in ACTS]
    out.started_at = min((at for at, kind in acts if kind not in NOT_A_START), default=None)
    out.first_active_at = min((at for at, _ in acts), default=None)
    out.last_active_at = max((at for at, _ in acts), default=None)
    withdrawals = sheet.of("learner.withdrawn", "learner.reinstated")
    out.withdrawn = bool(withdrawals) and withdrawals[-1].kind == "learner.withdrawn"

    days = credited(plan, sheet.intervals())
    seconds: dict[str, int] = {}
    for piece in (piece for day in days.values() for piece in day):
        seconds[piece.course] = seconds.get(piece.course, 0) + piece.end - piece.start
    active_days = {plan.day_of(at) for at, _ in acts}
    for day in active_days | days.keys():
        out.days[day] = (sum(piece.end - piece.start for piece in days.get(day, [])), day in active_days)

    for course in sheet.selected():
        out.courses[course] = _course(sheet, course, seconds.get(course, 0), out.mode)
    out.credited_seconds = sum(course.credited_seconds for course in out.courses.values())
    out.study_hours = (Decimal(out.credited_seconds) / plan.hour).quantize(CENT, ROUND_DOWN)
    out.credits = sum((course.credits for course in out.courses.values()), Decimal(0))
    out.result = _result(sheet, out)
    out.flags = open_flags(sheet, out, [piece for day in sorted(days) for piece in days[day]])
    return out
