"""Who may see what: the one place that decides it, for the JSON routes, the console and the live stream alike.

A caller is bound to one unit and sees that unit and everything below it (CONTRACTS section 5). Learner rows carry the ids of
every unit above them, so the decision is a condition on the row, whatever the unit's level is. A learner whose class is not
declared has no unit above it: only a caller bound to no unit in particular (`EVERYTHING`) sees it. An unknown class names no
unit either, so a login bound to a class that is not declared sees nobody until it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

EVERYTHING = "*"
"""The `unit_id` of a caller who sees all units, and the learners of no known unit."""

LEVELS = ("province", "city", "county", "school", "class")
"""From the top down."""

CLASSES = "SELECT unit_id FROM store.units FINAL WHERE level = 'class'"
"""The declared classes."""


class NotVisible(LookupError):
    """What was asked for does not exist, or not for this caller: routes answer 404 for both, so neither is told apart."""


def below(unit_id: str, name: str) -> tuple[str, dict[str, Any]]:
    """Condition on a row with `class_id … province_id`: it lies in `unit_id` or below. `name` is the parameter's name."""
    p = f"%({name})s"
    higher = " OR ".join(f"{level}_id = {p}" for level in LEVELS[:-1])
    return f"({higher} OR (class_id = {p} AND class_id IN ({CLASSES})))", {name: unit_id}


@dataclass(frozen=True, slots=True)
class Scope:
    """A caller: the unit they are bound to, and who they are.

    `who` is the login's or token's name (it stands in follow-ups as `staff_id` where the form gives none, never a learner's
    name), `title` what a page greets with, `via` how they came: a POST by `session` is checked for its origin.
    """

    unit_id: str
    roles: frozenset[str] = frozenset()
    who: str = ""
    title: str = ""
    language: str = "zh"
    via: Literal["session", "token", "internal"] = "internal"

    @property
    def everything(self) -> bool:
        return self.unit_id == EVERYTHING

    def condition(self) -> tuple[str, dict[str, Any]]:
        """SQL condition on any relation with `class_id … province_id`, and its parameters."""
        if self.everything:
            return "1", {}
        if not self.unit_id:
            return "0", {}
        return below(self.unit_id, "scope_unit")

    def sees_unit(self, path: Iterable[Mapping[str, Any]]) -> bool:
        """`path`: the unit and every unit above it, as `Queries.unit_path` gives them. Empty (undeclared): nobody's."""
        ids = {str(unit["unit_id"]) for unit in path}
        return bool(ids) and (self.everything or self.unit_id in ids)

    def may(self, role: str) -> bool:
        return role in self.roles
