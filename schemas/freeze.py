"""The frozen JSON Schema of every published event version, in `schemas/frozen/`, and the rules that it must go on keeping.

`python -m schemas.freeze` writes what is missing and what only reads differently; it refuses where a rule would break. A
change of meaning is a new version (`….v2`) beside the old one: see `schemas/versions.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from schemas.reading import EVENTS

FOLDER = Path(__file__).resolve().parent / "frozen"
_WORDS = {"description", "title", "$defs"}


def schema_of(type_text: str) -> dict[str, Any]:
    """The JSON Schema of today's model of a type. Instants and scores as they are on the wire."""
    found = EVENTS[type_text].model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{type_text}.json", **found}


def text_of(schema: dict[str, Any]) -> str:
    return json.dumps(schema, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _resolved(schema: Any, defs: dict[str, Any]) -> Any:
    """Without references, and without words that mean nothing to a program."""
    if isinstance(schema, list):
        return [_resolved(part, defs) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved(defs[schema["$ref"].rsplit("/", 1)[1]], defs)
    found = {}
    for key, value in schema.items():
        if key == "properties":
            found[key] = {name: _resolved(part, defs) for name, part in value.items()}
        elif key not in _WORDS:
            found[key] = _resolved(value, defs)
    return found


def broken_rules(frozen: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Which rules a change from `frozen` to `now` breaks, in words with the place; [] where both mean the same."""
    old, new = _resolved(frozen, frozen.get("$defs", {})), _resolved(now, now.get("$defs", {}))
    return _differences("", old, new)


def _differences(place: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    said: list[str] = []
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in sorted(before.keys() - after.keys()):
        said.append(f"{place}/{name}: a published field is never removed or renamed")
    for name in sorted(after.keys() - before.keys()):
        said.append(f"{place}/{name}: a published version gets no new field (readers that run today reject it); declare a new version")
    for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
        said.append(f"{place}/{name}: an optional field never becomes required")
    for name in sorted(set(old.get("required", [])) - set(new.get("required", []))):
        said.append(f"{place}/{name}: a required field never becomes optional (readers rely on it)")
    for name in sorted(before.keys() & after.keys()):
        said += _differences(f"{place}/{name}", before[name], after[name])
    for key in sorted((old.keys() | new.keys()) - {"properties", "required"}):
        if old.get(key) == new.get(key):
            continue
        if key == "enum":
            gone, come = set(old.get(key, [])) - set(new.get(key, [])), set(new.get(key, [])) - set(old.get(key, []))
            said.append(f"{place or '/'}: an enumeration never changes: gone {sorted(gone)}, new {sorted(come)}")
        else:
            said.append(f"{place or '/'}: `{key}` never changes: it was {old.get(key)!r} and is {new.get(key)!r}")
    return said


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    refused = False
    for type_text in EVENTS:
        path, now = FOLDER / f"{type_text}.json", schema_of(type_text)
        if path.exists():
            for rule in broken_rules(json.loads(path.read_text(encoding="utf-8")), now):
                refused = True
                print(f"{type_text}{rule}", file=sys.stderr)
        if not refused:
            path.write_text(text_of(now), encoding="utf-8")
    if refused:
        sys.exit("not frozen: a published version keeps its meaning for ever; declare a new version (schemas/versions.py)")
    print(f"{len(EVENTS)} schemas are frozen in schemas/frozen")


if __name__ == "__main__":
    main()
