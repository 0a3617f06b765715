"""What `chalk rules diff` has to say, worked out by the independent reference (`tests/properties/reference`) for every learner."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from schemas.reading import Event, read_activity
from tests import gate_edge
from tests.properties.reference import Learner, read_rules
from tests.properties.reference.facts import written

Row = tuple[str, str, str, Any, Any]
"""(part, ref, column, old, new) as in the JSON of `chalk rules diff`."""
_IGNORED = ("programme", "learner_id", "rules_version", "explanation")


def events_of(values: Iterable[bytes], programme: str) -> dict[str, list[dict[str, Any]]]:
    """The events of one programme by learner, from the bytes of sound records."""
    found: dict[str, list[dict[str, Any]]] = {}
    for value in values:
        event = json.loads(value, parse_float=Decimal)
        if event.get("programme") == programme:
            event.pop("ingested_at", None)
            found.setdefault(event["subject"], []).append(event)
    return found


Rows = dict[tuple[str, str], dict[str, Any]]


def states(rules: str, events: Mapping[str, list[dict[str, Any]]], now_ms: int) -> dict[str, Rows]:
    """Learner -> rows at a moment by the text of a rule file."""
    read = read_rules(rules)
    return {learner_id: _rows(Learner(read, facts).at(now_ms)) for learner_id, facts in events.items()}


def of_everybody(records: Sequence[tuple[bytes, bytes]], now_ms: int, *rules: str) -> dict[str, dict[str, Rows]]:
    """By the text of each rule file: learner -> rows, of the sound ones among the records (key, value) of `gate_edge`."""
    good = [
        value for key, value in records if isinstance(read_activity(key, value, 0, gate_edge.partition(key), gate_edge.PARTITIONS), Event)
    ]
    events = events_of(good, gate_edge.PROGRAMME)
    return {text: states(text, events, now_ms) for text in rules}


def expected_changes(old: Mapping[str, Rows], new: Mapping[str, Rows]) -> dict[str, set[Row]]:
    """Learner -> everything that differs between the states by two rule files; learners without a difference are not there."""
    assert old.keys() == new.keys()
    compared = {learner_id: _compared(old[learner_id], new[learner_id]) for learner_id in old}
    return {learner_id: changes for learner_id, changes in compared.items() if changes}


def _rows(state: Mapping[str, Any]) -> Rows:
    """(part, ref) -> columns as they are published."""
    rows = {("learner", ""): state["progress"]}
    rows |= {("course", course): row for course, row in state["courses"].items()}
    rows |= {("flag", f"{kind} {ref}".strip()): row for (kind, ref), row in state["flags"].items()}
    return {key: {name: _published(name, value) for name, value in row.items() if name not in _IGNORED} for key, row in rows.items()}


def _published(column: str, value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    if column.endswith("_at") and isinstance(value, int):
        return written(value)
    return value


def _compared(old: Rows, new: Rows) -> set[Row]:
    changes: set[Row] = set()
    for part, ref in old.keys() | new.keys():
        before, after = old.get((part, ref)), new.get((part, ref))
        if before is None or after is None:
            shown = "severity" if part == "flag" else "total_points"
            changes.add((part, ref, "", before and before[shown], after and after[shown]))
        else:
            assert before.keys() == after.keys()
            changes |= {(part, ref, name, before[name], after[name]) for name in before if before[name] != after[name]}
    return changes


def said_changes(report: Mapping[str, Any]) -> dict[str, set[Row]]:
    """The same from the JSON of `chalk rules diff --json --limit 0`."""
    assert report["learners_left_out"] == 0
    return {
        one["learner_id"]: {(change["part"], change["ref"], change["column"], change["old"], change["new"]) for change in one["changes"]}
        for one in report["learners"]
    }
