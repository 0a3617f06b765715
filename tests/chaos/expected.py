"""What every relation has to show, from the records of the log and the rules written a second time (`tests.properties.reference`)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from tests.chaos.load import ROSTER
from tests.properties.reference import Learner
from tests.properties.reference.facts import Fact, fact_of, instant
from tests.properties.reference.rules import read_rules

DAY_MS = 86_400_000
Row = dict[str, Any]
Rows = dict[tuple[Any, ...], Row]
CHAIN = ("school_id", "county_id", "city_id", "province_id")
PATHS = {"k1": ("s", "t", "y", "v")}
PARENTS = {unit: (parent or "", level) for unit, parent, level in ROSTER}


class LogRecord(NamedTuple):
    """A record of learning.activity as a plain consumer sees it."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    timestamp: int


@dataclass
class Known:
    """The log, sorted: `events` by (programme, learner); of each fact its records; what is no event."""

    records: Sequence[LogRecord]
    events: dict[tuple[str, str], list[Row]] = field(default_factory=lambda: defaultdict(list))
    facts: dict[tuple[str, str, str], list[tuple[LogRecord, Row, Fact]]] = field(default_factory=lambda: defaultdict(list))
    unsound: list[LogRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        for record in self.records:
            try:
                event = json.loads(record.value.decode(), parse_float=Decimal)
            except ValueError:
                event = None
            if not isinstance(event, dict):
                self.unsound.append(record)
                continue
            fact = fact_of(event)
            self.facts[fact.source, fact.id, fact.digest].append((record, event, fact))
            self.events[event["programme"], event["subject"]].append(event)


class Learners:
    """The reference's learners, kept from run to run as long as neither their events nor the rules change."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[tuple[str, int], Learner]] = {}

    def at(self, known: Known, texts: Mapping[str, str], now_ms: int) -> dict[tuple[str, str], Row]:
        rules = {name: read_rules(text) for name, text in texts.items()}
        found = {}
        for key, events in known.events.items():
            if key[0] in texts:
                distinct = {(one["source"], one["id"], fact_of(one).digest) for one in events}
                state = (texts[key[0]], len(distinct))
                kept = self._kept.get(key)
                if kept is None or kept[0] != state:
                    kept = self._kept[key] = (state, Learner(rules[key[0]], events))
                found[key] = kept[1].at(now_ms)
        return found


def relations(said: Mapping[tuple[str, str], Row], now_ms: int) -> dict[str, Rows]:
    """`marts.learner_progress`, `course_progress`, `needs_attention`, `unit_progress`, `activity_daily` and the days, by their keys."""
    found: dict[str, Rows] = {name: {} for name in ("learner_progress", "course_progress", "needs_attention", "days")}
    for (programme, learner), one in said.items():
        progress = one["progress"]
        class_id = progress["class_id"]
        where = {"class_id": class_id, **dict(zip(CHAIN, PATHS.get(class_id, ("",) * 4), strict=True)), "mode": progress["mode"]}
        found["learner_progress"][programme, learner] = plain({**progress, **where})
        for course, row in one["courses"].items():
            found["course_progress"][programme, learner, course] = plain({**where, **row})
        for (kind, ref), row in one["flags"].items():
            found["needs_attention"][programme, learner, kind, ref] = plain({**where, **row})
        for day, row in one["days"].items():
            if row["credited_seconds"] or row["active"]:
                found["days"][programme, learner, day] = plain(row)
    found["unit_progress"] = _units(said, now_ms)
    found["activity_daily"] = _daily(said)
    return found


def plain(row: Mapping[str, Any]) -> Row:
    """Marks are 0 and 1 in the tables, and no outcome is an empty text."""
    named = {name: int(value) if isinstance(value, bool) else value for name, value in row.items()}
    if "last_outcome" in named:
        named["last_outcome"] = named["last_outcome"] or ""
    return named


def _in_units(said: Mapping[tuple[str, str], Row]) -> Iterable[tuple[str, str, Row]]:
    """(programme, unit, learner) for each declared unit that a learner is in; nobody who has withdrawn."""
    for (programme, _), one in said.items():
        class_id = one["progress"]["class_id"]
        if not one["progress"]["withdrawn"] and class_id in PATHS:
            for unit in (class_id, *PATHS[class_id]):
                yield programme, unit, one


def _units(said: Mapping[tuple[str, str], Row], now_ms: int) -> Rows:
    sums: dict[tuple[str, str], Row] = {}
    names = ("learners", "registered", "started", "active_7d", "passed", "failed", "open_flags", "credited_seconds", "credits")
    for programme, unit, one in _in_units(said):
        progress = one["progress"]
        row = sums.setdefault((programme, unit), dict.fromkeys(names, 0))
        last = progress["last_active_at"]
        for name, value in (
            ("learners", 1),
            ("registered", progress["registered_at"] is not None),
            ("started", progress["started_at"] is not None),
            ("active_7d", last is not None and last > now_ms - 7 * DAY_MS),
            ("passed", progress["result"] in ("passed", "excellent")),
            ("failed", progress["result"] == "failed"),
            ("open_flags", len(one["flags"])),
            ("credited_seconds", progress["credited_seconds"]),
            ("credits", int(progress["credits"] * 100)),
        ):
            row[name] += int(value)
    found = {}
    for (programme, unit), row in sums.items():
        parent, level = PARENTS[unit]
        mean = Decimal(row.pop("credits") // row["learners"]).scaleb(-2)
        found[programme, unit] = {**row, "mean_credits": mean, "level": level, "name": f"unit {unit}", "parent_id": parent}
    return found


def _daily(said: Mapping[tuple[str, str], Row]) -> Rows:
    found: Rows = {}
    for programme, unit, one in _in_units(said):
        for day, row in one["days"].items():
            if row["credited_seconds"] or row["active"]:
                total = found.setdefault((programme, unit, day), {"active_learners": 0, "credited_seconds": 0})
                total["active_learners"] += int(row["active"])
                total["credited_seconds"] += row["credited_seconds"]
    return found


def events(known: Known) -> Rows:
    """`marts.events`: of each fact the first record accepted."""
    found: Rows = {}
    for (source, name, digest), records in known.facts.items():
        record, event, fact = min(records, key=lambda one: (instant(one[1]["ingested_at"]), one[0].partition, one[0].offset))
        found[event["programme"], event["subject"], source, name, digest] = {
            "type": event["type"], "course_id": event["data"].get("course_id") or "", "time": fact.time,
            "ingested_at": instant(event["ingested_at"]), "partition": record.partition, "offset": record.offset, "data": event["data"],
        }  # fmt: skip
    return found


def data_quality(known: Known, courses: Mapping[str, Iterable[str]]) -> Rows:
    """`marts.data_quality`. `courses`: those of the rule files, by programme."""
    seen: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    twice: dict[tuple[str, str, str], list[tuple[int, int, int]]] = defaultdict(list)
    for record in known.unsound:
        seen["", "unreadable", ""].append(record.timestamp)
    for (source, _, _), records in known.facts.items():
        for _, event, fact in records:
            programme, at, data = event["programme"], instant(event["ingested_at"]), event["data"]
            course, class_id = data.get("course_id"), data.get("class_id")
            if class_id and class_id not in PARENTS:
                seen[programme, "unknown_class", class_id].append(at)
            if course and programme in courses and course not in courses[programme]:
                seen[programme, "unknown_course", course].append(at)
            if at - fact.acted_at > DAY_MS:
                seen[programme, "late", source].append(at)
        times = sorted(instant(event["ingested_at"]) for _, event, _ in records)
        if len(times) > 1:
            twice[records[0][1]["programme"], "duplicate", source].append((len(times) - 1, times[1], times[-1]))
    found = {key: {"records": len(times), "first_seen_at": min(times), "last_seen_at": max(times)} for key, times in seen.items()}
    for key, rows in twice.items():
        counts, seconds, lasts = zip(*rows, strict=True)
        found[key] = {"records": sum(counts), "first_seen_at": min(seconds), "last_seen_at": max(lasts)}
    return found
