"""The numbers of a course's `explanation`: for each item of the learner's mode its counts or seconds, its limit and its points."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tests.properties.reference.learner import Facts
from tests.properties.reference.rules import number


def explanation(facts: Facts, course: str) -> dict[str, Any]:
    """The object that the JSON text holds: lengths are seconds, points text of two places, scores of four."""
    rules, row, mode = facts.rules, facts.courses[course], facts.mode
    points = row["points"]
    items: dict[str, Any] = {}

    def item(kind: str, limit: Fraction, **said: Any) -> None:
        items[kind] = {**said, "points": places(points[kind], 2), "limit": places(limit, 2)}

    if rule := rules.item(mode, "study"):
        item("study", number(rule["points"]), seconds=row["seconds"], needed=int(rules.seconds(rule["hours"])), award=rule["award"])
    if rule := rules.item(mode, "assignments"):
        count = int(rule["count"])
        item("assignments", count * number(rule["points_each"]), submitted=row["submitted"], graded=row["graded"], count=count)
    if rule := rules.item(mode, "interaction"):
        questions, replies = int(rule["questions"]), int(rule["replies"])
        said = {"questions": row["questions"], "questions_count": questions, "replies": row["replies"], "replies_count": replies}
        item("interaction", (questions + replies) * number(rule["points_each"]), **said)
    if rule := rules.item(mode, "works"):
        item("works", int(rule["count"]) * number(rule["points_each"]), live=row["works"], count=int(rule["count"]))
    if rule := rules.item(mode, "process"):
        item("process", number(rule["points"]), score=places(row["process_score"], 4))
    if rule := rules.item(mode, "exam"):
        exam = {"form": row["form"], "attempts": row["attempts"], "best_score": places(row["best"], 4), "counts": row["gate_met"]}
        item("exam", number(rule["points"]), **exam)
        if gate := rule.get("gate"):
            items["gate"] = {
                "items": sorted(gate["items"]),
                "points": places(row["gate_points"], 2),
                "at_least": places(number(gate["at_least"]), 2),
                "met": row["gate_met"],
            }
    passing = rules.part("scoring", mode, "pass", "total_at_least")
    return {
        "mode": mode,
        "seconds": row["seconds"],
        "course_seconds": int(rules.course_seconds(course)),
        "items": items,
        "total": places(row["total"], 2),
        "pass_at": None if passing is None else places(number(passing), 2),
    }


def places(value: Fraction | None, count: int) -> str | None:
    """A number with so many decimals, exactly; None stays None."""
    if value is None:
        return None
    scaled = value * 10**count
    assert scaled.denominator == 1, value
    whole, rest = divmod(int(scaled), 10**count)
    return f"{whole}.{rest:0{count}d}"
