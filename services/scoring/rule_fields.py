"""A rule file as a flat table: field path -> text as a person would write it; and the differences of two of them.

Courses, activities and phases go by their id and scoring items by their kind, so that moving a line is no difference. Numbers are
written in one way: `32`, `32.0` and `3.2e1` are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from schemas.rulemodel import Hundredths, Minute, Nothing, Part, RuleFile
from schemas.ruletimes import short


class Difference(NamedTuple):
    """A field that differs; None where a file does not have it."""

    path: str
    old: str | None
    new: str | None


AT_THE_DOOR = ("longest_interval_minutes", "calendar.opens", "courses", "activities")
"""Fields that decide what the door takes into the log (CONTRACTS, "What the door rejects")."""


def fields_of(rules: RuleFile) -> dict[str, str]:
    """Every field that a file says or has by default, by path; what is off is not there."""
    return dict(_part("", rules))


def differences(old: RuleFile, new: RuleFile) -> list[Difference]:
    """The fields in which two rule files differ, in the order of the file."""
    before, after = fields_of(old), fields_of(new)
    paths = [*before, *(path for path in after if path not in before)]
    return [Difference(path, before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)]


def _part(prefix: str, part: Part) -> Iterator[tuple[str, str]]:
    for name, info in type(part).model_fields.items():
        key = info.alias or name
        path = f"{prefix}.{key}" if prefix else key
        marks: tuple[Any, ...] = tuple(info.metadata) or _optional_marks(info.annotation)
        yield from _value(path, getattr(part, name), marks)


def _optional_marks(annotation: Any) -> tuple[Any, ...]:
    """What makes `Hundredths | None` a number of 1/100."""
    for one in get_args(annotation):
        if get_origin(one) is Annotated:
            return get_args(one)[1:]
    return ()


def _value(path: str, value: object, marks: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, Part):
        if isinstance(value, Nothing):
            yield path, "on"
        yield from _part(path, value)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _value(f"{path}.{key}", one, ())
    elif isinstance(value, list) and all(isinstance(one, Part) for one in value):
        for index, one in enumerate(value):
            name = getattr(one, "id", None) or getattr(one, "item", None) or str(index)
            yield from _value(f"{path}.{name}", one, ())
    elif isinstance(value, list):
        yield path, ", ".join(sorted(map(str, value)))
    else:
        yield path, _text(value, marks)


def _text(value: object, marks: tuple[Any, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and _is(Hundredths, marks):
        return short(value)
    if isinstance(value, int) and _is(Minute, marks):
        return f"{value // 60:02d}:{value % 60:02d}"
    return value.isoformat() if isinstance(value, date) else str(value)


def _is(annotated: Any, marks: tuple[Any, ...]) -> bool:
    return get_args(annotated)[1] in marks
