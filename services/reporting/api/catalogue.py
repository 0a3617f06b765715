"""The catalogue of a programme (DOMAIN S1): its modules, courses and activities, and how points, credits and results are made of them.

Pure: from the exact rules to plain rows. Lengths of hours, credits and points are `Decimal` with two places, as the rule file has them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from schemas.programme import Criteria, Exam, Mode, Programme
from services.reporting.api.queries import programme_row
from services.reporting.api.responses import two_places

Row = dict[str, Any]


def catalogue(rules: Programme) -> Row:
    """`programme_row` with everything a learner can take and earn.

    Further fields: `study_hour_minutes`, `longest_interval_seconds`, `daily_cap_seconds` (None: no cap), `selection`,
    `cap_at_course_hours`, `assignments_due {course: last day}`, `modules [{id, courses [ids], hours, credits}]` in the order of the
    file, `hours` and `credits` of all courses, `activities [{id, title}]`, `scoring {mode: {items, total, pass_at}}`, `mode_rule`,
    `credits_by`, `result`, `tutors`.
    """
    ages = rules.online_ages
    tutors = rules.tutors
    courses = rules.courses.values()
    return {
        **programme_row(rules),
        "study_hour_minutes": Decimal(rules.study_hour) / 6000,
        "longest_interval_seconds": rules.longest_interval_seconds,
        "daily_cap_seconds": rules.daily_cap_seconds,
        "selection": "all" if rules.select_all else "chosen",
        "cap_at_course_hours": rules.cap_at_course_hours,
        "assignments_due": {course: rules.day_of(over - 1) for course, over in rules.attention.overdue_ms.items()},
        "modules": _modules(rules),
        "hours": two_places(sum(course.hours for course in courses)),
        "credits": two_places(sum(course.credits for course in courses)),
        "activities": [{"id": one.id, "title": dict(one.title)} for one in rules.activities.values()],
        "scoring": {name: _scoring(mode, rules) for name, mode in rules.modes.items()},
        "mode_rule": {"male_younger_than": two_places(ages.male_younger_than), "female_up_to": two_places(ages.female_up_to)}
        if ages
        else None,
        "credits_by": "on_pass" if rules.credits_on_pass else "proportional",
        "result": {
            "passed": _conditions(rules.passed, rules),
            "excellent": _conditions(rules.excellent, rules) if rules.excellent else None,
            "plagiarism_fails": rules.plagiarism_fails,
        },
        "tutors": {
            "learners_each": {"at_least": tutors.at_least, "at_most": tutors.at_most},
            "school": [{"from_learners": first, "tutors": n} for first, n in tutors.school],
        }
        if tutors
        else None,
    }


def _modules(rules: Programme) -> list[Row]:
    found: dict[str, Row] = {}
    for course in rules.courses.values():
        module = found.setdefault(course.module, {"id": course.module, "courses": [], "hours": two_places(0), "credits": two_places(0)})
        module["courses"].append(course.id)
        module["hours"] += two_places(course.hours)
        module["credits"] += two_places(course.credits)
    return list(found.values())


def _scoring(mode: Mode, rules: Programme) -> Row:
    """The items of a mode, each with the most `points` it gives in a course, and what `total` they come to."""
    items: list[Row] = []
    if mode.study:
        hours = rules.study_hours(mode.study.seconds)
        items.append({"item": "study", "award": "threshold" if mode.study.threshold else "proportional", "hours": two_places(hours)})
        items[-1]["points"] = two_places(mode.study.points)
    if mode.assignments:
        one = mode.assignments
        items.append({"item": "assignments", "count": one.count, "points_each": two_places(one.points_each)})
        items[-1]["points"] = two_places(one.count * one.points_each)
    if mode.interaction:
        asked = mode.interaction
        items.append({"item": "interaction", "questions": asked.questions, "replies": asked.replies})
        items[-1] |= {
            "points_each": two_places(asked.points_each),
            "points": two_places((asked.questions + asked.replies) * asked.points_each),
        }
    if mode.works:
        works = mode.works
        items.append({"item": "works", "count": works.count, "points_each": two_places(works.points_each), "kinds": sorted(works.kinds)})
        items[-1]["points"] = two_places(works.count * works.points_each)
    if mode.process:
        items.append({"item": "process", "points": two_places(mode.process.points)})
    if mode.exam:
        items.append({"item": "exam", "points": two_places(mode.exam.points), "forms": list(mode.exam.forms), "gate": _gate(mode.exam)})
    return {"items": items, "total": sum((item["points"] for item in items), two_places(0)), "pass_at": two_places(mode.pass_at)}


def _gate(exam: Exam) -> Row | None:
    return None if exam.gate_items is None else {"items": sorted(exam.gate_items), "at_least": two_places(exam.gate_at_least)}


def _conditions(criteria: Criteria, rules: Programme) -> Row:
    """Only the conditions that are set."""
    found: Row = {}
    if criteria.every_selected:
        found["courses"] = "every_selected"
    if criteria.credited_seconds is not None:
        found["credited_hours"] = two_places(rules.study_hours(criteria.credited_seconds))
    if criteria.accepted_works:
        activity, count = criteria.accepted_works
        found["accepted_works"] = {"activity": activity, "count": count}
    if criteria.mean_total is not None:
        found["mean_total_at_least"] = two_places(criteria.mean_total)
    return found
