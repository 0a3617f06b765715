"""The rule files as the demo reads them: plain YAML and exact decimals, on purpose without the services' own model.

The demo checks the services' figures, so it must not share the code that reads the rules with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

DAY = 86_400


def number(value: object) -> Decimal:
    """A number of a rule file (int, float with at most 2 decimals, or text) as an exact decimal."""
    return Decimal(str(value))


@dataclass(frozen=True, slots=True)
class Plan:
    """One rule file; instants are milliseconds since 1970 UTC, `rules` the YAML itself."""

    id: str
    rules: dict[str, Any]
    zone: ZoneInfo
    opens: int
    starts: int
    ends: int
    final: int
    hour: int

    def midnight(self, day: date) -> int:
        return int(datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp() * 1000)

    def day_of(self, ms: int) -> date:
        return datetime.fromtimestamp(ms // 1000, self.zone).date()

    @property
    def courses(self) -> dict[str, dict[str, Any]]:
        return {course["id"]: course for course in self.rules["courses"]}

    def needed(self, course_id: str) -> int:
        """Seconds that a course's hours are."""
        return int(number(self.courses[course_id]["hours"]) * self.hour)

    def items(self, mode: str) -> dict[str, dict[str, Any]]:
        """What earns points in a mode, by item name; empty for a mode that the plan lacks."""
        return {item["item"]: item for item in self.rules.get("scoring", {}).get(mode, {}).get("items", [])}


def read_plan(path: Path) -> Plan:
    rules = yaml.safe_load(path.read_text("utf-8"))
    zone = ZoneInfo(rules["time_zone"])

    def midnight(name: str, days: int = 0) -> int:
        day = date.fromisoformat(str(rules["calendar"][name])) + timedelta(days=days)
        return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)

    hour = int(number(rules["study_hour_minutes"]) * 60)
    return Plan(rules["id"], rules, zone, midnight("opens"), midnight("starts"), midnight("ends", 1), midnight("results_final"), hour)


def read_plans(folder: Path) -> dict[str, Plan]:
    plans = [read_plan(path) for path in sorted(folder.glob("*.yaml"))]
    return {plan.id: plan for plan in plans}
