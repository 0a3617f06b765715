"""The calendar page of a unit: the programme on one line of time, what is due or overdue, which unit below is behind, the tutors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from services.reporting.api.calendar import unit_calendar, upcoming
from services.reporting.api.staffing import staffing
from services.reporting.web.attention import unit_options
from services.reporting.web.context import Seen, address
from services.reporting.web.shapes import count, percent, share

LANES, APART = 3, 4.5
"""Marks on the line of time that stand closer than so many of 100 go to another lane."""
TODAY, MONTH = 7.0, 3.0
"""So many of 100 are taken by the words below the line: today's, a month's."""
SCHOOLS = 20
"""So many schools in breach are listed."""
WORST = ("overdue", "due", "running", "upcoming", "past")


def what(seen: Seen, kind: str, title: Mapping[str, str] | None) -> str:
    """A deadline's name: a phase by its own title, assignments with their course."""
    if kind == "phase":
        return seen.t.title(dict(title or {}))
    return seen.t("cal.kind.assignments", course=seen.t.title(dict(title or {}))) if kind == "assignments" else seen.t(f"cal.kind.{kind}")


def when(seen: Seen, row: Mapping[str, Any]) -> tuple[str, str]:
    """How a deadline stands, in words, and the tone that it is painted in."""
    t, state, days = seen.t, row["state"], row["days"]
    if row["kind"] == "registration" and state != "upcoming":
        return (t("cal.state.late"), "escalation") if state == "overdue" else (t("cal.state.running"), "info")
    if state == "overdue":
        # by the date alone nobody is blamed: whether it was done is not recorded
        return (t("cal.state.overdue", n=days), "escalation") if row["judged_by"] == "facts" else (t("cal.state.bydate", n=days), "notice")
    if state == "due":
        return (t("cal.state.due", n=days) if days else t("cal.state.today")), "warning"
    if state == "upcoming":
        return t("cal.state.upcoming", n=days), "info"
    return (t("cal.state.past", n=days) if days else t("cal.state.today")), "plain"


def figures(seen: Seen, row: Mapping[str, Any], unit_id: str) -> dict[str, str]:
    """What stands beside a deadline: a number in words and where its people are listed."""
    t, kind = seen.t, row["kind"]
    link = address(seen.path("attention"), unit=unit_id, kind=row["flag"], owner="all") if row["flag"] and row["open"] else ""
    if kind == "assignments":
        n = row["open"] if row["state"] == "overdue" else row["short"]
        return {"text": t("cal.short", n=count(n), of=count(row["owed_by"])) if row["owed_by"] else t("cal.nobody"), "url": link}
    if kind == "registration":
        return {"text": t("cal.unregistered", n=count(row["open"])), "url": link}
    if kind == "exams":
        return {"text": t("cal.exams", n=count(row["open"])), "url": link}
    if kind == "results_final":
        return {"text": t("cal.noresult", n=count(row["open"]), of=count(row["owed_by"])), "url": ""}
    if row["level"] in ("", "learner"):
        return {"text": "", "url": ""}
    return {"text": t("cal.units", n=count(row["owed_by"])) if row["owed_by"] else t("cal.notours"), "url": ""}


def timeline(seen: Seen, listed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The programme from its first day to its last: x and widths are of 100, marks one a day, numbered as in the list."""
    days: list[date] = sorted({row["day"] for row in listed})
    first, last = days[0] - timedelta(days=5), days[-1] + timedelta(days=5)
    whole = (last - first).days

    def x(day: date) -> float:
        return round((day - first).days * 100 / whole, 2)

    marks: list[dict[str, Any]] = []
    free = [-100.0] * LANES
    for number, day in enumerate(days, start=1):
        rows = [row for row in listed if row["day"] == day]
        worst = min(rows, key=lambda row: WORST.index(row["state"]))
        at = x(day)
        lane = next((n for n in range(LANES) if at - free[n] >= APART), free.index(min(free)))
        free[lane] = at
        said = "\n".join(f"{what(seen, row['kind'], row['title'])} · {when(seen, row)[0]}" for row in rows)
        marks.append({"n": number, "x": at, "lane": lane, "tone": when(seen, worst)[1], "tip": f"{day:%Y-%m-%d}\n{said}"})
    months: list[dict[str, Any]] = []
    month = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    while month < last:
        name = seen.t("month", m=month.month) if seen.t.language == "zh" else f"{month:%b}"
        months.append({"x": x(month), "text": str(month.year) if month.month == 1 else name})
        month = (month + timedelta(days=32)).replace(day=1)
    start, end = x(date.fromisoformat(seen.rules.starts)), x(date.fromisoformat(seen.rules.ends) + timedelta(days=1))
    now = x(max(first, min(last, seen.today)))  # long before or after, the mark stands at the edge
    anchor = "end" if now > 90 else "start" if now < 10 else "middle"
    shift = {"end": -TODAY / 2, "middle": 0.0, "start": TODAY / 2}[anchor]
    for one in months:
        if abs(one["x"] - now - shift) < TODAY / 2 + MONTH / 2:
            one["text"] = ""  # the tick stays; its name would lie under today's
    return {
        "marks": marks,
        "months": months,
        "start": start,
        "width": round(end - start, 2),
        "gone": round(max(0.0, min(now, end) - start), 2),
        "now": now,
        "anchor": anchor,
        "numbers": {day: n for n, day in enumerate(days, start=1)},
        "label": seen.t("cal.line.label", first=days[0], last=days[-1], today=seen.today),
    }


def rows_of(seen: Seen, listed: Sequence[Mapping[str, Any]], unit_id: str, numbers: Mapping[date, int]) -> list[dict[str, Any]]:
    rows = []
    for row in listed:
        state, tone = when(seen, row)
        level = seen.t.of("level", row["level"]) if row["level"] else ""
        name = what(seen, row["kind"], row["title"])
        if row["kind"] == "registration":
            name = seen.t("cal.kind.registration.within", days=f"{row['within_seconds'] / 86_400:g}")
        rows.append(
            {
                "key": row["key"].replace(":", "-"),
                "n": numbers[row["day"]],
                "day": f"{row['day']:%Y-%m-%d}",
                "weekday": seen.t(f"weekday.{row['day'].weekday()}"),
                "what": name,
                "who": level,
                "state": state,
                "tone": tone,
                "ahead": row["state"] in ("due", "upcoming"),
                **figures(seen, row, unit_id),
            }
        )
    return rows


def children_of(seen: Seen, children: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The units below, those with the greatest share of overdue people first."""
    rows = []
    for child in sorted(children, key=lambda one: (-(one["overdue_learners"] / (one["learners"] or 1)), one["name"])):

        def people(kind: str, unit_id: str = child["unit_id"]) -> str:
            return address(seen.path("attention"), unit=unit_id, kind=kind, owner="all")

        rows.append(
            {
                "id": child["unit_id"],
                "name": child["name"] or seen.t("unnamed"),
                "url": address(seen.path("calendar"), unit=child["unit_id"]),
                "learners": child["learners"],
                "overdue": child["overdue_learners"],
                "overdue_share": share(child["overdue_learners"], child["learners"]),
                "overdue_text": percent(child["overdue_learners"], child["learners"]),
                "cells": [{"n": child[kind], "url": people(kind) if child[kind] else ""} for kind in kinds_of(seen)],
                "due_short": child["due_short"],
                "phases": child["overdue_phases"],
                "in_progress": child["in_progress"],
            }
        )
    return rows


def kinds_of(seen: Seen) -> list[str]:
    """The flags about deadlines that the programme's rules can raise."""
    rules = seen.rules.attention
    on = {"not_registered": rules.not_registered, "assignment_overdue": rules.assignment_overdue, "exam_due": rules.exam_due}
    return [kind for kind, rule in on.items() if rule is not None]


def tutors_of(seen: Seen, unit_id: str) -> dict[str, Any] | None:
    """The tutors of the unit's schools; None where the programme asks for none or the unit has no schools."""
    if seen.rules.tutors is None:
        return None
    found = staffing(seen.queries, seen.rules, seen.scope, unit_id)
    if not found["schools"]:
        return None
    return {
        **{name: found[name] for name in ("required", "assigned", "too_few", "too_many")},
        "url": address(seen.path("calendar"), unit=unit_id) + "#tutors",
        "breaches": [
            {**school, "name": school["name"] or seen.t("unnamed"), "url": seen.unit_url(school["school_id"])}
            for school in found["schools"]
            if school["breach"]
        ],
    }


def next_of(seen: Seen, unit_id: str) -> dict[str, str] | None:
    """The next deadline in a line, for the overview."""
    one = upcoming(seen.rules, seen.today)
    if one is None:
        return None
    text = seen.t("cal.next", day=f"{one.day:%m-%d}", what=what(seen, one.kind, one.title), n=(one.day - seen.today).days)
    return {"text": text, "url": address(seen.path("calendar"), unit=unit_id)}


def page(seen: Seen) -> dict[str, Any]:
    t, unit_id = seen.t, seen.start_unit()
    found = unit_calendar(seen.queries, seen.rules, seen.scope, unit_id, seen.now_ms)
    line = timeline(seen, found["deadlines"])
    totals, kinds = found["totals"], kinds_of(seen)
    rows = rows_of(seen, found["deadlines"], unit_id, line["numbers"])
    tutors = tutors_of(seen, unit_id)
    cards = [
        {
            "label": t(f"cal.kpi.{kind}"),
            "n": totals[kind],
            "url": address(seen.path("attention"), unit=unit_id, kind=kind, owner="all"),
            "note": t(f"cal.kpi.{kind}.note"),
        }
        for kind in kinds
    ]
    progress = t("cal.kpi.noresult.note", day=seen.rules.results_final)
    cards.append({"label": t("cal.kpi.noresult"), "n": totals["in_progress"], "url": "", "note": progress})
    return {
        "path": seen.crumbs(found["path"], link_last=True),
        "stamp": seen.stamp(found["as_of"]),
        "tabs": tabs(seen, unit_id),
        "units": unit_options(seen, "calendar", found["path"], {}),
        "cards": cards,
        "line": line,
        "today": {"day": f"{seen.today:%Y-%m-%d}", "short": f"{seen.today:%m-%d}"},
        "past": [row for row in rows if not row["ahead"]],
        "ahead": [row for row in rows if row["ahead"]],
        "kinds": kinds,
        "children": children_of(seen, found["children"]),
        "children_title": t.of("children", found["children"][0]["level"]) if found["children"] else "",
        "tutors": tutors,
        "schools_shown": SCHOOLS,
    }


def tabs(seen: Seen, unit_id: str) -> dict[str, str]:
    unit = unit_id if unit_id != seen.home else ""
    return {"calendar": address(seen.path("calendar"), unit=unit), "catalogue": address(seen.path("catalogue"), unit=unit)}
