"""Programmes: whole rule files, sound ones, with every part of the page there or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from tests.properties.worlds.choices import Choices

# zones and days near which their clocks are changed; where nothing else is said at an hour in the small hours
ZONES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Asia/Shanghai", ("2023-06-01", "2023-11-14", "1988-04-17", "1991-09-15")),
    ("America/New_York", ("2024-03-10", "2024-11-03")),
    ("Europe/London", ("2024-03-31", "2024-10-27")),
    ("Asia/Beirut", ("2024-03-31", "2024-10-27")),  # the midnight of the first does not exist
    ("America/Santiago", ("2023-09-03", "2024-04-07")),  # nor that of this one
    ("Africa/Cairo", ("2023-04-28", "2023-10-27")),
    ("America/Havana", ("2023-03-12", "2023-11-05")),  # no midnight; midnight twice
    ("America/St_Johns", ("2010-03-14", "2010-11-07")),  # at 00:01: the day before comes again
    ("Pacific/Apia", ("2011-12-30", "2021-04-04")),  # a day that never was
    ("Pacific/Kwajalein", ("1993-08-21",)),
    ("Australia/Lord_Howe", ("2024-04-07", "2024-10-06")),  # half an hour
    ("Asia/Kathmandu", ("2024-02-29",)),
    ("UTC", ("2025-01-03", "2024-12-31")),  # opens in the year before
)
COURSES = ("c1", "c2", "C1", "c10", "c.3")  # by code point: C1 c.3 c1 c10 c2
WORK_KINDS = ("classroom_record", "lesson_design", "teaching_narrative", "teaching_case", "research_article")
DAYS = ("1", "0", "0.5", "2", "3", "0.01", "7", "1.25", "14", "0.33")


class Bare(str):
    """A number or word that stands in the file without quotes."""


def yaml_text(value: object) -> str:
    """YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {yaml_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(yaml_text, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Bare | int | date):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _maybe(c: Choices, percent: int, part: dict[str, Any], name: str, value: Any) -> None:
    """`value` is made in any case, so that leaving it out changes nothing else."""
    if c.chance(percent):
        part[name] = value


def programme(c: Choices) -> str:
    """The text of a sound rule file; its id is `p`."""
    zone, days = c.choice(ZONES)
    middle = date.fromisoformat(c.choice(days))
    starts = middle - timedelta(days=c.integer(0, 4))
    ends = max(starts, middle) + timedelta(days=c.choice((9, 5, 14, 2, 1, 0, 30, 40)))
    opens = starts - timedelta(days=c.choice((0, 3, 1, 10)))
    final = ends + timedelta(days=c.choice((3, 1, 2, 8)))
    minutes = c.choice(("60", "45", "50", "7.5", "0.5"))
    fitting = [h for h in ("0.5", "0.25", "0.1", "0.75", "1", "2", "0.02", "16") if _whole(h, minutes)]
    file: dict[str, Any] = {
        "id": "p",
        "rules_version": c.integer(1, 9),
        "title": {"zh": "训", "en": "training"},
        "time_zone": zone,
        "calendar": {"opens": opens, "starts": starts, "ends": ends, "results_final": final},
        "study_hour_minutes": Bare(minutes),
        "selection": c.choice(("chosen", "all")),
        "credits": c.choice(("on_pass", "proportional")),
    }
    _maybe(c, 60, file, "daily_cap_minutes", Bare(c.choice(("40", "10", "0.99", "1.5", "0", "480"))))
    _maybe(c, 60, file, "cap_at_course_hours", c.chance(70))
    courses: list[dict[str, Any]] = [
        {
            "id": name,
            "title": {"zh": "课", "en": name},
            "hours": Bare(c.choice(fitting)),
            "credits": Bare(c.choice(("2.5", "4", "0", "0.33"))),
        }
        for name in c.some(COURSES[:4], 0 if c.chance(4) else 1)
    ]
    file["courses"] = courses
    activities = [{"id": name, "title": {"zh": "研", "en": name}} for name in c.some(("act", "act2"))]
    _maybe(c, 90, file, "activities", activities)
    hours = [h for h in fitting if not file.get("cap_at_course_hours") or all(Fraction(h) <= Fraction(k["hours"]) for k in courses)]
    scoring = {mode: _scheme(c, hours) for mode in ("online", "disc") if c.chance(85 if mode == "online" else 60)}
    _maybe(c, 97, file, "scoring", scoring)
    ages = {"male_younger_than": Bare(c.choice(("50", "49.5"))), "female_up_to": Bare(c.choice(("45", "44.99")))}
    _maybe(c, 60, file, "mode_rule", {"online": ages, "at": "year_end"})
    result: dict[str, Any] = {"passed": _conditions(c, fitting, file.get("activities", []))}
    _maybe(c, 50, result, "excellent", _conditions(c, fitting, file.get("activities", [])))
    _maybe(c, 50, result, "plagiarism_fails", c.chance(60))
    file["result"] = result
    _maybe(c, 97, file, "attention", _attention(c, courses, starts, ends))
    quiet = {"quiet_from": "21:00", "quiet_to": "08:00", "least_days_between": Bare("3"), "most_in_30_days": 6}
    _maybe(c, 80, file, "reminders", quiet)
    return "\n".join(f"{key}: {yaml_text(value)}" for key, value in file.items()) + "\n"


def _whole(hours: str, minutes: str) -> bool:
    return (Fraction(hours) * Fraction(minutes) * 60).denominator == 1


def _scheme(c: Choices, hours: list[str]) -> dict[str, Any]:
    each = ("5", "7.5", "0.33", "1", "0", "12.25")
    items: list[dict[str, Any]] = []
    kinds = ["study", "assignments", "interaction", "works", "process", "exam"]
    if not hours:
        kinds.remove("study")
    for kind in c.some(kinds):
        item: dict[str, Any] = {"item": kind}
        if kind == "study":
            item |= {"award": c.choice(("threshold", "proportional")), "hours": Bare(c.choice(hours))}
            item["points"] = Bare(c.choice(("15", "9.99")))
        elif kind == "assignments":
            item |= {"count": c.integer(0, 3), "points_each": Bare(c.choice(each))}
        elif kind == "interaction":
            item |= {"questions": c.integer(0, 2), "replies": c.integer(0, 2), "points_each": Bare(c.choice(each))}
        elif kind == "works":
            item |= {"count": c.integer(0, 2), "points_each": Bare(c.choice(each)), "kinds": c.some(WORK_KINDS, 1)}
        elif kind == "process":
            item |= {"points": Bare(c.choice(("20", "33.33")))}
        else:
            item |= {"points": Bare(c.choice(("50", "80", "0.07"))), "forms": c.some(("online", "paper"), 1)}
        items.append(item)
    others = [item["item"] for item in items if item["item"] != "exam"]
    for item in items:
        if item["item"] == "exam" and others and c.chance(70):
            item["gate"] = {"items": c.some(others, 1), "at_least": Bare(c.choice(("5", "12", "0", "7.5", "14.99", "30")))}
    return {"items": items, "pass": {"total_at_least": Bare(c.choice(("40", "60", "20", "30", "80", "5.5", "0")))}}


def _conditions(c: Choices, fitting: list[str], activities: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = ["courses", "credited_hours", "mean_total_at_least", *(["accepted_works"] if activities else [])]
    for name in c.some(names, 1)[:2]:
        if name == "courses":
            found[name] = "every_selected"
        elif name == "credited_hours":
            found[name] = Bare(c.choice(fitting))
        elif name == "mean_total_at_least":
            found[name] = Bare(c.choice(("30", "15", "60", "80", "7.5")))
        else:
            found[name] = {"activity": c.choice(activities)["id"], "count": c.integer(0, 2)}
    return found


def _steps(c: Choices, before_the_end: bool = False) -> dict[str, Any]:
    """Mostly in the order that makes sense."""
    days = [c.choice(DAYS) for _ in range(3)]
    if c.chance(80):
        days.sort(key=Fraction, reverse=before_the_end)
    return {f"{name}_days": Bare(value) for name, value in zip(("notice", "warning", "escalation"), days, strict=True)}


def _attention(c: Choices, courses: list[dict[str, Any]], starts: date, ends: date) -> dict[str, Any]:
    found: dict[str, Any] = {"registration": {"within_days": Bare(c.choice(DAYS)), "from": "enrolled"}}
    for kind in ("not_registered", "not_started", "inactive", "exam_due"):
        _maybe(c, 85, found, kind, _steps(c, before_the_end=kind == "exam_due"))
    due = {course["id"]: starts + timedelta(days=c.integer(-1, (ends - starts).days + 1)) for course in courses if c.chance(70)}
    _maybe(c, 85, found, "assignment_overdue", {"due": due, **_steps(c)})
    percents = [c.choice(("15", "0", "5", "30.5", "50", "99.99")) for _ in range(3)]
    if c.chance(80):
        percents.sort(key=Fraction)
    names = ("tolerance_percent", "warning_percent", "escalation_percent")
    _maybe(c, 85, found, "behind", {name: Bare(value) for name, value in zip(names, percents, strict=True)})
    _maybe(c, 80, found, "plagiarism_suspected", {})
    _maybe(c, 75, found, "ownership", {"county_after_days": Bare(c.choice(DAYS)), "city_after_days": Bare(c.choice(DAYS))})
    return found
