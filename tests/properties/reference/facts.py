"""Events (the JSON of the contract, as dicts) as facts: which is the latest of two, which count, when they are acts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.properties.reference.rules import Rules

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))")
NOT_STARTING = ("learner.registered", "course.selected", "course.dropped")
ACTS = (
    *NOT_STARTING,
    "platform.visited",
    "study.recorded",
    "assignment.submitted",
    "post.published",
    "work.published",
    "assessment.chosen",
    "exam.marked",
)
TO_THE_END = ("assignment.submitted", "post.published", "work.published", "course.selected", "course.dropped", "assessment.chosen")
RULED_BEFORE_FINAL = ("assignment.graded", "work.reviewed", "process.marked", "exam.marked")


def instant(text: str) -> int:
    """RFC 3339 with an offset, cut to ms since 1970 UTC."""
    found = INSTANT.fullmatch(text)
    assert found is not None, text
    day, clock, fraction, sign, hours, minutes = found.groups()
    local = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC)
    ms = (local - EPOCH) // timedelta(milliseconds=1) + int(((fraction or "") + "000")[:3])
    offset = (int(hours) * 60 + int(minutes)) * 60_000 if sign else 0
    return ms + offset if sign == "-" else ms - offset


def written(ms: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`"""
    return (EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def _json(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_json(key)}:{_json(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Fact:
    """One fact. In `data` nulls are dropped, instants are ms, scores Decimal. `order`: the greatest is the latest."""

    kind: str
    time: int
    source: str
    id: str
    data: Mapping[str, Any]
    digest: str

    @property
    def order(self) -> tuple[int, str, str, str]:
        return (self.time, self.source, self.id, self.digest)

    @property
    def acted_at(self) -> int:
        """When it was an act: a stretch of study at its end, an exam when it was sat."""
        own = {"study.recorded": "ended_at", "exam.marked": "sat_at"}.get(self.kind)
        return int(self.data[own]) if own else self.time


def fact_of(event: Mapping[str, Any]) -> Fact:
    data: dict[str, Any] = {}
    for name, value in event["data"].items():
        if value is None:
            continue
        if name in ("started_at", "ended_at"):
            value = instant(value) // 1000 * 1000
        elif name == "sat_at":
            value = instant(value)
        elif name == "score":
            value = Decimal(str(value))
        elif name == "birth_year":
            value = int(value)
        data[name] = value
    time = instant(event["time"])
    told = {name: written(value) if name in ("started_at", "ended_at", "sat_at") else value for name, value in data.items()}
    content = {"type": event["type"], "subject": event["subject"], "programme": event["programme"], "time": written(time), "data": told}
    digest = hashlib.sha256(_json(content).encode()).hexdigest()
    kind = event["type"].removeprefix("chalkstream.").removesuffix(".v1")
    return Fact(kind, time, event["source"], event["id"], data, digest)


def facts_of(events: Iterable[Mapping[str, Any]]) -> list[Fact]:
    """The set of facts, in the order of 'latest' (the latest is the last): the same source, id and content is one fact."""
    return sorted({(fact.source, fact.id, fact.digest): fact for fact in map(fact_of, events)}.values(), key=lambda fact: fact.order)


def counts(rules: Rules, fact: Fact) -> bool:
    """The page's table "What counts when"."""
    if fact.kind == "study.recorded" and not rules.inside(fact.data["started_at"]):
        return False
    if fact.kind == "exam.marked" and not rules.inside(fact.data["sat_at"]):
        return False
    if fact.kind in TO_THE_END and not rules.before_the_end(fact.time):
        return False
    return not (fact.kind in RULED_BEFORE_FINAL and fact.time >= rules.results_final)
