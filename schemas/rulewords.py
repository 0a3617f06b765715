"""What is said about a field of a rule file that is wrong: pydantic's errors in the words of a rule author.

Places are the paths of the file itself: the tag that pydantic puts in for the kind of an item is left out. A key or a word
that is nearly right is answered with the one that was probably meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from zoneinfo import available_timezones

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.rulemodel import Part, RuleFile
from schemas.ruleyaml import Where


def near(word: object, known: Iterable[str | None]) -> str:
    """`; did you mean x?` where a known word is like this one, else ''."""
    found = get_close_matches(str(word), sorted(filter(None, known)), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def parts_in(annotation: Any) -> Iterator[type[Part]]:
    """The models that a field's annotation may hold directly: itself, a union's members; not a list's items."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    elif origin is Annotated:
        yield from parts_in(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for one in get_args(annotation):
            yield from parts_in(one)


def list_item(annotation: Any) -> Any:
    """What a list annotation has as items, None where it is no list."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return get_args(annotation)[0] if get_origin(annotation) is list else None


def keys_of(part: type[Part]) -> dict[str, Any]:
    """Key as written in the file -> the field's annotation."""
    return {field.alias or name: field.annotation for name, field in part.model_fields.items()}


def tag_of(part: type[Part]) -> str | None:
    """The `item` that makes an item this kind; None for what is no item."""
    field = part.model_fields.get("item")
    return get_args(field.annotation)[0] if field else None


def said(error: ValidationError) -> list[tuple[Where, str]]:
    """Everything that a model says against a file, each as (place, reason)."""
    return [(_where(one["loc"])[0], _reason(one)) for one in error.errors(include_url=False)]


def _where(loc: Where) -> tuple[Where, type[Part] | None]:
    """The place without tags, and the model that the last part of it is looked for in."""
    where: list[str | int] = []
    holder: type[Part] | None = None
    now: Any = RuleFile
    for step in loc:
        models = list(parts_in(now))
        if len(models) > 1 and step in {tag_of(model) for model in models}:
            now = next(model for model in models if tag_of(model) == step)
            continue
        where.append(step)
        holder = models[0] if len(models) == 1 else None
        now = list_item(now) if isinstance(step, int) else keys_of(holder or Part).get(step)
    return tuple(where), holder


def _reason(one: ErrorDetails) -> str:
    kind, message = one["type"], one["msg"]
    if kind == "extra_forbidden":
        holder = _where(one["loc"])[1]
        return "unknown key" + near(one["loc"][-1], keys_of(holder) if holder else ())
    if kind == "missing":
        return "is missing"
    if kind == "too_short":
        return "must not be empty"
    if kind == "literal_error":
        return _one_of(one["input"], one["ctx"]["expected"])
    if kind == "union_tag_not_found":
        return "item is missing" if isinstance(one["input"], dict) else "must be a mapping of fields"
    if kind == "union_tag_invalid":
        return f"item: {_one_of(one['ctx']['tag'], one['ctx']['expected_tags'])}"
    if kind.startswith(("model", "dict", "list")):
        return "must be a list" if kind.startswith("list") else "must be a mapping of fields"
    reason = message.removeprefix("Value error, ")
    if one["loc"] == ("time_zone",):
        reason += near(one["input"], available_timezones())
    return reason


def _one_of(given: object, expected: str) -> str:
    """`expected` is pydantic's list in words, each in quotes."""
    words = expected.split("'")[1::2]
    listed = words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    return f"must be {listed}" + ("" if given is None or not isinstance(given, str) else f", not {given}" + near(given, words))
