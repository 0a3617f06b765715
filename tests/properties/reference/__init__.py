"""The rules a second time, slow and plain, from docs/rules.md alone.

Nothing here is shared with the product: neither `services` nor `schemas` is imported (a test looks). A rule file is its own YAML
(`read_rules`), an event is the JSON of the contract as a dict, sound and accepted; the same source, id and content is one fact.
Numbers are exact (Fraction), seconds are sets of seconds, every midnight is looked at, and there is no state.

    rules = read_rules(path.read_text())
    learner(rules, events, now_ms)["progress"]["result"]

Instants are ms since 1970 UTC or None, decimals `Decimal` of two places, marks bool, days `YYYY-MM-DD`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.properties.reference.explanation import explanation
from tests.properties.reference.flags import open_flags
from tests.properties.reference.learner import Facts, cut
from tests.properties.reference.rules import Rules, number, read_rules

__all__ = ["Learner", "learner", "read_rules"]


def learner(rules: Mapping[str, Any], events: Iterable[Mapping[str, Any]], now_ms: int) -> dict[str, Any]:
    """What is known of one learner at a moment: see `Learner.at`. `events`: all of the learner's, at least one of the programme."""
    return Learner(rules, events).at(now_ms)


class Learner:
    """One learner, to be asked at several moments."""

    def __init__(self, rules: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> None:
        self.facts = Facts(Rules(rules), events)
        self._courses: dict[str, dict[str, Any]] | None = None
        self._days: dict[str, dict[str, Any]] | None = None

    def at(self, now_ms: int) -> dict[str, Any]:
        """`progress`: the columns of `marts.learner_progress`; `courses`: by course those of `marts.course_progress` (`explanation`
        as an object); `flags`: by (kind, ref) those of `marts.needs_attention`; `days`: by local day credited seconds and activity."""
        facts = self.facts
        if self._courses is None or self._days is None:
            self._courses = {course: _course(facts, course) for course in facts.selected}
            self._days = facts.days()
        progress = {
            "programme": str(facts.rules.file["id"]),
            "learner_id": facts.learner_id,
            "class_id": facts.class_id,
            "mode": facts.mode,
            "registered_at": facts.registered_at,
            "started_at": facts.started_at,
            "first_active_at": min((fact.acted_at for fact in facts.acts), default=None),
            "last_active_at": facts.last_act,
            "withdrawn": facts.withdrawn,
            "courses_selected": len(self._courses),
            "courses_passed": sum(row["passed"] for row in self._courses.values()),
            "credited_seconds": facts.seconds,
            "study_hours": money(cut(facts.seconds / (number(facts.rules.file["study_hour_minutes"]) * 60))),
            "credits": money(sum((row["credits"] for row in facts.courses.values()), Fraction(0))),
            "result": facts.result(now_ms),
            "rules_version": int(facts.rules.file["rules_version"]),
        }
        return {"progress": progress, "courses": self._courses, "flags": open_flags(facts, now_ms), "days": self._days}


def money(value: Fraction) -> Decimal:
    """1/100 exactly."""
    hundredths = value * 100
    assert hundredths.denominator == 1, value
    return Decimal(int(hundredths)).scaleb(-2)


def _course(facts: Facts, course: str) -> dict[str, Any]:
    row = facts.courses[course]
    names = {"assignments": "assignment_points"}
    return {
        "credited_seconds": row["seconds"],
        **{names.get(item, item + "_points"): money(points) for item, points in row["points"].items()},
        "total_points": money(row["total"]),
        "gate_points": money(row["gate_points"]),
        "gate_met": row["gate_met"],
        "exam_before_gate": row["exam_before_gate"],
        "passed": row["passed"],
        "credits": money(row["credits"]),
        "last_active_at": row["last_act"],
        "explanation": explanation(facts, course),
    }
