"""Units and staff: what goes to `organisation.directory`."""

from __future__ import annotations

from typing import Literal

from schemas.envelope import Frozen, Id, Name

Level = Literal["province", "city", "county", "school", "class"]
Role = Literal["tutor", "class_head", "school_admin", "expert", "county_admin", "city_admin", "province_admin"]
LEVELS: tuple[str, ...] = ("province", "city", "county", "school", "class")


class UnitDeclared(Frozen):
    """A unit and the one above it. A province has no parent, everybody else has one."""

    unit_id: Id
    parent_id: Id | None = None
    level: Level
    name: Name


class StaffAssigned(Frozen):
    staff_id: Id
    role: Role
    unit_id: Id


class StaffReleased(Frozen):
    staff_id: Id
    role: Role
    unit_id: Id


UNIT_TYPES: dict[str, type[Frozen]] = {"chalkstream.unit.declared.v1": UnitDeclared}
STAFF_TYPES: dict[str, type[Frozen]] = {
    "chalkstream.staff.assigned.v1": StaffAssigned,
    "chalkstream.staff.released.v1": StaffReleased,
}
DIRECTORY_TYPES: dict[str, type[Frozen]] = {**UNIT_TYPES, **STAFF_TYPES}
