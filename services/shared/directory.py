"""The organisation as the log of `organisation.directory` tells it: units by "latest", and the path of a class upwards.

Pure but for `follow`, which reads the topic. The log is small (a province has some ten thousand units), so every reader folds it whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

LEVELS = ("class", "school", "county", "city", "province")
Stamp = tuple[int, str, str, str]


class Unit(NamedTuple):
    """A declared unit; `parent_id` is '' for a province."""

    unit_id: str
    parent_id: str
    level: str
    name: str
    stamp: Stamp


class Path(NamedTuple):
    """Ids of the units above a class, '' where the chain does not hold."""

    school_id: str
    county_id: str
    city_id: str
    province_id: str


NOWHERE = Path("", "", "", "")


@dataclass
class Directory:
    """Units and staff assignments, each the latest of its key (time, then source and id, then content digest)."""

    units: dict[str, Unit] = field(default_factory=dict)
    staff: dict[tuple[str, str, str, str], tuple[bool, Stamp]] = field(default_factory=dict)
    _paths: dict[str, Path] = field(default_factory=dict)

    def fold(self, event: Any) -> bool:
        """Take in one `schemas.reading.Event` of the directory; True where it changed something."""
        stamp = (event.time_ms, event.source, event.id, event.digest)
        data = event.data
        kind = event.type.split(".", 1)[1]
        if kind == "unit.declared.v1":
            known = self.units.get(data.unit_id)
            if known is not None and known.stamp >= stamp:
                return False
            self.units[data.unit_id] = Unit(data.unit_id, data.parent_id or "", data.level, data.name, stamp)
            self._paths.clear()
            return True
        key = (event.programme, data.staff_id, data.role, data.unit_id)
        have = self.staff.get(key)
        if have is not None and have[1] >= stamp:
            return False
        self.staff[key] = (kind == "staff.assigned.v1", stamp)
        return True

    def path(self, class_id: str) -> Path:
        """Units above a class: each id only while the class is declared as one and every unit up to it is one level up."""
        found = self._paths.get(class_id)
        if found is None:
            found = self._paths[class_id] = self._climb(class_id)
        return found

    def _climb(self, class_id: str) -> Path:
        unit = self.units.get(class_id)
        if unit is None or unit.level != "class":
            return NOWHERE
        above: list[str] = []
        for level in LEVELS[1:]:
            unit = self.units.get(unit.parent_id)
            if unit is None or unit.level != level:
                break
            above.append(unit.unit_id)
        above += [""] * (4 - len(above))
        return Path(*above)
