"""What is refused in a rule file beyond the shape of its fields: rules that need several of them."""

from __future__ import annotations

from schemas.rulemodel import ExamItem, RuleFile, StudyItem, WorksItem
from schemas.ruleyaml import Where


def refusals_of(rules: RuleFile) -> list[tuple[Where, str]]:
    """What is wrong across fields, each with the place that it is said of."""
    found: list[tuple[Where, str]] = []

    def refuse(reason: str, *where: str | int) -> None:
        found.append((where, f"{'.'.join(map(str, where))}: {reason}"))

    def check_hours(hours: int, *where: str | int) -> None:
        # hours and minutes are both in 1/100, an hour has 60 seconds a minute
        if hours <= 0:
            refuse("must be above 0", *where)
        elif hours * rules.study_hour_minutes * 60 % 10_000:
            refuse("is no whole number of seconds", *where)

    days = rules.calendar
    if not days.opens <= days.starts <= days.ends < days.results_final:
        broken = "starts" if days.opens > days.starts else "ends" if days.starts > days.ends else "results_final"
        refuse("opens <= starts <= ends < results_final must hold", "calendar", broken)
    if rules.study_hour_minutes <= 0:
        refuse("must be above 0", "study_hour_minutes")
    if rules.longest_interval_minutes <= 0:
        refuse("must be above 0", "longest_interval_minutes")

    lists = {
        "courses": [course.id for course in rules.courses],
        "activities": [activity.id for activity in rules.activities],
        "calendar.phases": [phase.id for phase in days.phases],
    }
    for name, ids in lists.items():
        for index, known in enumerate(ids):
            if known in ids[:index]:
                refuse(f"{known} comes twice", *name.split("."), index, "id")
    for index, course in enumerate(rules.courses):
        check_hours(course.hours, "courses", index, "hours")

    for mode, scheme in (("online", rules.scoring.online), ("disc", rules.scoring.disc)):
        if scheme is None:
            continue
        kinds = [item.item for item in scheme.items]
        for index, item in enumerate(scheme.items):
            where = ("scoring", mode, "items", index)
            if item.item in kinds[:index]:
                refuse(f"a mode has at most one item of a kind, {item.item} comes twice", *where, "item")
            if isinstance(item, StudyItem):
                check_hours(item.hours, *where, "hours")
                if rules.cap_at_course_hours and any(item.hours > course.hours for course in rules.courses):
                    refuse("is longer than a course, and courses are capped at their hours", *where, "hours")
            if isinstance(item, WorksItem) and len(set(item.kinds)) < len(item.kinds):
                refuse("a kind comes twice", *where, "kinds")
            if isinstance(item, ExamItem):
                if len(set(item.forms)) < len(item.forms):
                    refuse("a form comes twice", *where, "forms")
                if item.gate:
                    for gate_item in item.gate.items:
                        if gate_item not in kinds:
                            refuse(f"{gate_item} is no item of mode {mode}", *where, "gate", "items")
                    if len(set(item.gate.items)) < len(item.gate.items):
                        refuse("an item comes twice", *where, "gate", "items")

    activities = {activity.id for activity in rules.activities}
    for name, conditions in (("passed", rules.result.passed), ("excellent", rules.result.excellent)):
        if conditions is None:
            continue
        if not conditions.model_fields_set or all(value is None for value in dict(conditions).values()):
            refuse("needs at least one condition", "result", name)
        if conditions.accepted_works and conditions.accepted_works.activity not in activities:
            refuse(f"unknown activity {conditions.accepted_works.activity}", "result", name, "accepted_works", "activity")
        if conditions.credited_hours is not None:
            check_hours(conditions.credited_hours, "result", name, "credited_hours")

    if rules.attention.not_registered and not rules.attention.registration:
        refuse("needs attention.registration", "attention", "not_registered")
    if rules.attention.assignment_overdue:
        course_ids = {course.id for course in rules.courses}
        for course_id in rules.attention.assignment_overdue.due:
            if course_id not in course_ids:
                refuse(f"unknown course {course_id}", "attention", "assignment_overdue", "due", course_id)
    return found
