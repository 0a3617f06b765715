"""The unit's overview: five figures, where people stand, the trend, who to call, the units below."""

from __future__ import annotations

from typing import Any

from services.reporting.api.figures import STATES
from services.reporting.web import calendar
from services.reporting.web.attention import rows_of
from services.reporting.web.context import Seen, address
from services.reporting.web.shapes import count, hundredths, percent, share, spark, trend

DAYS = 30
CALLS = 6
NARROWEST = 1.2
"""A part of the bar is drawn at least this wide (of 100), so that it can be hit."""


def tone(part: float, expected: float) -> str:
    """How a bar of progress is painted: behind by more than five of a hundred, or there."""
    return "ok" if part >= 100 else "low" if part < expected - 5 else ""


def funnel(seen: Seen, unit_id: str, standing: dict[str, int]) -> list[dict[str, Any]]:
    total = sum(standing.values())
    widths = {state: max(NARROWEST, share(standing[state], total)) if standing[state] else 0.0 for state in STATES}
    scale = 100 / (sum(widths.values()) or 1)
    parts, x = [], 0.0
    for state in STATES:
        if state == "failed" and not standing[state]:
            continue
        width = widths[state] * scale
        name = seen.t(f"funnel.{state}")
        parts.append(
            {
                "state": state,
                "n": standing[state],
                "x": round(x, 2),
                "w": round(max(0.0, width - 0.2), 2),
                "share": percent(standing[state], total),
                "label": seen.t("funnel.label", state=name, n=count(standing[state]), percent=percent(standing[state], total)),
                "url": address(seen.path("learners"), unit=unit_id, state=state),
            }
        )
        x += width
    return parts


def page(seen: Seen, unit_id: str) -> dict[str, Any]:
    t, rules, queries = seen.t, seen.rules, seen.queries
    unit = queries.unit(rules.id, seen.scope, unit_id)
    days = queries.trend(rules.id, seen.scope, unit_id, DAYS)
    flags = queries.severity_counts(rules.id, seen.scope, unit_id)
    standing = seen.figures.standing(rules.id, seen.scope, unit_id)
    needed = seen.figures.needed(rules, unit_id, unit["level"])
    calls = queries.attention(rules.id, seen.scope, unit=unit_id, limit=CALLS)
    children = queries.children(rules.id, seen.scope, unit_id)
    sparks = seen.figures.sparks(rules.id, unit_id, unit["level"], seen.today) if children.rows else {}
    as_of = min(unit["as_of"], days.as_of, flags["as_of"], calls.as_of, children.as_of)

    def study(learners: int, seconds: int, need: int) -> dict[str, Any]:
        """Mean hours, where one should be today, and their shares of what is needed; in 1/100 of a study hour."""
        mean = rules.study_hours(seconds // learners) if learners else 0
        whole = rules.study_hours(need // learners) if learners else 0
        expected = int(whole * seen.elapsed)
        part, due = share(mean, whole), share(expected, whole)
        return {
            "mean": mean,
            "expected": expected,
            "needed": whole,
            "share": part,
            "due": due,
            "tone": tone(part, due),
            "tip": t("units.progress.tip", mean=hundredths(mean, 1), expected=hundredths(expected, 1), needed=hundredths(whole, 1)),
        }

    n = unit["learners"]
    own = study(n, unit["credited_seconds"], needed[""])
    today = days.rows[-1]["active_learners"] if days.rows else 0
    k = {
        "learners": n,
        "registered": unit["registered"],
        "started": unit["started"],
        "active_today": today,
        "active_7d": unit["active_7d"],
        "active_share": percent(unit["active_7d"], n),
        "yesterday": days.rows[-2]["active_learners"] if len(days.rows) > 1 else 0,
        "mean_hours": hundredths(own["mean"], 1),
        "needed_hours": hundredths(own["needed"], 0) if own["needed"] else "",
        "expected_hours": hundredths(own["expected"], 1),
        "share": own["share"],
        "expected_share": own["due"],
        "tone": own["tone"],
        "ahead": own["mean"] >= own["expected"],
        "gap": hundredths(abs(own["mean"] - own["expected"]), 1),
        "passed": unit["passed"],
        "passed_share": percent(unit["passed"], n),
        "failed": unit["failed"],
        "flags": sum(flags[s] for s in ("notice", "warning", "escalation")),
        "flagged_people": flags["learners"],
        "severities": flags,
    }
    rows = []
    for child in children.rows:
        figures = study(child["learners"], child["credited_seconds"], needed.get(child["unit_id"], 0))
        rows.append(
            {
                "id": child["unit_id"],
                "name": child["name"] or t("unnamed"),
                "url": seen.unit_url(child["unit_id"]),
                "learners": child["learners"],
                "registered": percent(child["registered"], child["learners"]),
                "share": figures["share"],
                "share_text": f"{figures['share']:.0f}%",
                "expected": figures["due"],
                "tone": figures["tone"],
                "tip": figures["tip"],
                "mean": hundredths(figures["mean"], 1),
                "active": percent(child["active_7d"], child["learners"]),
                "passed": child["passed"],
                "passed_share": percent(child["passed"], child["learners"]),
                "flags": child["flags"],
                "spark": spark(sparks.get(child["unit_id"], [0] * 14)),
                "attention": address(seen.path("attention"), unit=child["unit_id"], owner="all"),
            }
        )
    below = children.rows[0]["level"] if children.rows else ""
    return {
        "unit": {"name": unit["path"][-1]["name"] or t("unnamed")},
        "path": seen.crumbs(unit["path"]),
        "stamp": seen.stamp(as_of),
        "k": k,
        "funnel": funnel(seen, unit_id, standing),
        "trend": trend(days.rows, t),
        "calls": rows_of(seen, calls.rows),
        "children": rows,
        "children_title": t.of("children", below) if below else "",
        "next": calendar.next_of(seen, unit_id),
        "tutors": calendar.tutors_of(seen, unit_id),
        "links": {
            "learners": address(seen.path("learners"), unit=unit_id),
            "passed": address(seen.path("learners"), unit=unit_id, state="passed"),
            "attention": address(seen.path("attention"), unit=unit_id, owner="all"),
        },
    }
