"""The catalogue page: what a programme offers, and how points, credits and results are made of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.reporting.api.catalogue import Row, catalogue
from services.reporting.web.calendar import tabs
from services.reporting.web.context import Seen

ITEMS = ("study", "assignments", "interaction", "works", "process")
"""In the order in which a course is worked through."""


def plain(value: Decimal) -> str:
    """A decimal without trailing zeros: `7.5`, `60`."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def item(seen: Seen, row: Row) -> str:
    """What an item of points asks for, in a sentence."""
    t, kind = seen.t, row["item"]
    if kind == "study":
        return t(f"catalogue.study.{row['award']}", hours=plain(row["hours"]), points=plain(row["points"]))
    if kind == "assignments":
        return t("catalogue.assignments", n=row["count"], each=plain(row["points_each"]))
    if kind == "interaction":
        return t("catalogue.interaction", questions=row["questions"], replies=row["replies"], each=plain(row["points_each"]))
    if kind == "works":
        kinds = t("catalogue.list").join(t.of("work", name) for name in row["kinds"])
        return t("catalogue.works", n=row["count"], each=plain(row["points_each"]), kinds=kinds)
    if kind == "process":
        return t("catalogue.process")
    forms = t("catalogue.list").join(t(f"catalogue.form.{form}") for form in row["forms"])
    said = t("catalogue.exam", forms=forms)
    if row["gate"]:
        items = t("catalogue.list").join(t(f"item.{name}") for name in sorted(row["gate"]["items"], key=ITEMS.index))
        said += t("catalogue.gate", points=plain(row["gate"]["at_least"]), items=items)
    return said


def conditions(seen: Seen, found: Row, activities: dict[str, str]) -> list[str]:
    """The conditions of a result, a sentence each."""
    t, said = seen.t, []
    if "courses" in found:
        said.append(t("catalogue.every"))
    if "credited_hours" in found:
        said.append(t("catalogue.hours.needed", hours=plain(found["credited_hours"])))
    if "accepted_works" in found:
        works = found["accepted_works"]
        said.append(t("catalogue.works.needed", n=works["count"], activity=activities.get(works["activity"], works["activity"])))
    if "mean_total_at_least" in found:
        said.append(t("catalogue.mean", points=plain(found["mean_total_at_least"])))
    return said


def facts(seen: Seen, found: Row) -> list[tuple[str, str]]:
    """The programme's own numbers: label and value."""
    t = seen.t
    calendar = found["calendar"]
    rows = [
        (t("catalogue.runs"), t("programme.dates", starts=calendar["starts"], ends=calendar["ends"])),
        (t("catalogue.final"), calendar["results_final"]),
        (t("catalogue.hour"), t("catalogue.minutes", n=plain(found["study_hour_minutes"]))),
        (t("catalogue.selection"), t(f"catalogue.selection.{found['selection']}")),
        (t("catalogue.credits"), t(f"catalogue.credits.{found['credits_by']}")),
    ]
    if found["daily_cap_seconds"] is not None:
        rows.append((t("catalogue.cap"), t("catalogue.minutes", n=plain(Decimal(found["daily_cap_seconds"]) / 60))))
    if found["cap_at_course_hours"]:
        rows.append((t("catalogue.coursecap"), t("catalogue.yes")))
    if found["mode_rule"]:
        ages = {name: plain(age) for name, age in found["mode_rule"].items()}
        rows.append((t("catalogue.mode"), t("catalogue.mode.rule", **ages)))
    if found["tutors"]:
        each = found["tutors"]["learners_each"]
        steps = t("catalogue.list").join(
            t("catalogue.tutors.step", first=step["from_learners"], n=step["tutors"]) for step in found["tutors"]["school"]
        )
        rows.append((t("tutors.title"), t("catalogue.tutors", least=each["at_least"], most=each["at_most"], steps=steps)))
    return rows


def page(seen: Seen) -> dict[str, Any]:
    t, unit_id = seen.t, seen.start_unit()
    path = seen.queries.visible_path(seen.scope, unit_id)
    found = catalogue(seen.rules)
    courses = {course["id"]: course for course in found["courses"]}
    activities = {one["id"]: t.title(one["title"]) for one in found["activities"]}
    modules = [
        {
            "name": t.of("module", module["id"]) if module["id"] else t("catalogue.nomodule"),
            "hours": plain(module["hours"]),
            "credits": plain(module["credits"]),
            "courses": [
                {
                    "id": course,
                    "title": t.title(courses[course]["title"]),
                    "hours": plain(courses[course]["hours"]),
                    "credits": plain(courses[course]["credits"]),
                    "due": found["assignments_due"].get(course, ""),
                }
                for course in module["courses"]
            ],
        }
        for module in found["modules"]
    ]
    schemes = [
        {
            "name": t.of("mode", name),
            "items": [
                {"name": t(f"item.{row['item']}"), "points": plain(row["points"]), "share": float(row["points"]), "text": item(seen, row)}
                for row in scheme["items"]
            ],
            "total": plain(scheme["total"]),
            "pass_at": plain(scheme["pass_at"]),
        }
        for name, scheme in found["scoring"].items()
    ]
    result = found["result"]
    return {
        "path": seen.crumbs(path, link_last=True),
        "stamp": seen.stamp(seen.queries.as_of("unit_progress")),
        "tabs": tabs(seen, unit_id),
        "sums": {"hours": plain(found["hours"]), "credits": plain(found["credits"]), "courses": len(courses)},
        "modules": modules,
        "dues": bool(found["assignments_due"]),
        "activities": list(activities.values()),
        "schemes": schemes,
        "facts": facts(seen, found),
        "passed": conditions(seen, result["passed"], activities),
        "excellent": conditions(seen, result["excellent"], activities) if result["excellent"] else [],
        "plagiarism": result["plagiarism_fails"],
    }
