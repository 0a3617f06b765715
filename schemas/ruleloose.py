"""A rule file of which some fields are wrong, as far as it is sound: so that what needs several fields is judged in the same go.

The result has the model's own classes, made without validation: a field that is wrong or missing is None, and so is an entry
of a list. Only `rulechecks` takes such files.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from schemas.rulemodel import Part, RuleFile
from schemas.rulewords import list_item, parts_in, tag_of


def sound_part(raw: dict[str, object]) -> RuleFile:
    """The rule file that a mapping holds, with None for what is wrong in it."""
    made = _made(RuleFile, raw)
    assert isinstance(made, RuleFile)
    return made


def _made(part: type[Part], raw: dict[str, object]) -> Part:
    values: dict[str, Any] = {}
    for name, field in part.model_fields.items():
        key = field.alias or name
        if key in raw:
            values[name] = _value(field.annotation, tuple(field.metadata), raw[key])
        else:
            values[name] = None if field.is_required() else field.get_default(call_default_factory=True)
    return part.model_construct(**values)


def _value(annotation: Any, metadata: tuple[Any, ...], raw: object) -> object:
    whole: Any = Annotated[(annotation, *metadata)] if metadata else annotation
    try:
        return TypeAdapter(whole).validate_python(raw)
    except ValidationError:
        pass
    entry = list_item(annotation)
    if entry is not None and isinstance(raw, list):
        return [_value(entry, (), one) for one in raw]
    if get_origin(annotation) is dict and isinstance(raw, dict):
        return {key: _value(get_args(annotation)[1], (), one) for key, one in raw.items()}
    models = list(parts_in(annotation))
    if isinstance(raw, dict):
        for model in models:
            if len(models) == 1 or tag_of(model) == raw.get("item"):
                return _made(model, raw)
    return None
