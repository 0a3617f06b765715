"""What an account of a learner consists of: every fact with its fate, every rule with its points.

Instants are ms, intervals whole seconds, points and credits ints of 1/100, scores of 1/10000. Codes are public words (docs/contracts.md,
"Why a fact counts or not"); whoever shows them finds the sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.reading import Event
from services.scoring.core.facts import Fact, Stamp, kind_of

SHOWN_CAUSES = 3
"""How many of the facts that took seconds from an interval are named; the seconds themselves are exact."""


class AccountError(AssertionError):
    """The parts of an account do not add up to what the rules publish: a fault in this code, never shown as an answer."""


@dataclass(frozen=True, slots=True)
class Record:
    """A fact of one learner and where it lies in `learning.activity` (-1 where that is not known)."""

    event: Event
    partition: int = -1
    offset: int = -1

    @property
    def kind(self) -> str:
        return kind_of(self.event.type)

    @property
    def data(self) -> Any:
        return self.event.data

    @property
    def time_ms(self) -> int:
        return self.event.time_ms

    @property
    def stamp(self) -> Stamp:
        """Orders the facts of one key: the greatest is the latest."""
        return Fact(self.event).stamp


class Why(NamedTuple):
    """A reason. `seconds`: how much of the interval it took; `by`: the facts that did it, at most SHOWN_CAUSES."""

    code: str
    seconds: int = 0
    by: tuple[Record, ...] = ()


class Line(NamedTuple):
    """A fact and its fate. `counts` is `yes`, `partly` or `no`.

    `seconds` (credited) is None but for study; `points` is None where the fact itself carries none: a submission's come with its grade,
    study's with the sum of its seconds.
    """

    record: Record
    counts: str
    seconds: int | None = None
    points: int | None = None
    why: tuple[Why, ...] = ()


class Rest(NamedTuple):
    """The facts that are not listed one by one, and what they carry together."""

    facts: int = 0
    seconds: int = 0
    points: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What an item could still give. `points`: at most; `more`: by what (`seconds`, `assignments`, `questions`, `replies`, `works`)."""

    points: int
    more: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that facts are about. Where the learner's mode does not score it, `scored` is False and points and limit are 0.

    `figures` are its counts, seconds and scores by name.
    """

    name: str
    scored: bool
    points: int
    limit: int
    figures: Mapping[str, int | str | None]
    lines: tuple[Line, ...]
    rest: Rest
    facts: int
    room: Room | None = None


class Condition(NamedTuple):
    """What has to hold: `have` against `need` (courses, seconds, works, or points of 1/100), `of` names an activity or case."""

    kind: str
    have: int
    need: int
    met: bool
    of: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """`items` may open the exam at `at_least` points."""

    items: tuple[str, ...]
    points: int
    at_least: int
    met: bool


@dataclass(frozen=True, slots=True)
class Enough:
    """What would be enough to pass a course, by what can still happen from now on.

    `short` points are missing to the pass, `gate_short` to the gate. `exam_score`: the smallest score (1/10000) that passes, where the gate
    is not met yet as if it were met without a point to spare; 0: no exam is needed then; None: no score passes, or there is no exam.
    `exam_kept`: the score of an attempt that waits for the gate, and would pass then. `gate_ways` and `pass_ways`: each is a set of
    additions (`seconds`, `assignments` at full marks, `questions`, `replies`, `works`) that is enough by itself. `most` is the highest
    total within reach, `possible` whether it passes; `blocked` says why not: `ended`, `gate`, `time` (study does not fit in) or `points`.
    """

    short: int
    gate_short: int
    exam_score: int | None
    exam_kept: int | None
    gate_ways: tuple[Mapping[str, int], ...]
    pass_ways: tuple[Mapping[str, int], ...]
    most: int
    possible: bool
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class CourseAccount:
    """One course. `known` to the rules, `selected` by the learner; where it is not both, nothing in it counts and the totals are 0.

    `seconds_before_cap` are credited by the days; what lies above the course's hours is `cap_cut`.
    """

    course_id: str
    known: bool
    selected: bool
    seconds_before_cap: int
    cap_cut: int
    seconds: int
    items: tuple[Item, ...]
    total: int
    pass_at: int | None
    passed: bool
    credits: int
    gate: Gate | None
    enough: Enough | None


@dataclass(frozen=True, slots=True)
class FlagAccount:
    """An open flag with what it rests on. `base_at` is None where there is none; `next_severity` what it becomes at `next_severity_at`
    if nothing happens, `next_owner` likewise; `facts` the condition's numbers and instants by name."""

    kind: str
    ref: str
    severity: str
    raised_at: int
    base_at: int | None
    next_severity: str | None
    next_severity_at: int | None
    owner_level: str
    next_owner: str | None
    next_owner_at: int | None
    follow_ups: int
    facts: Mapping[str, int | str | None]


class Said(NamedTuple):
    """A value and why: `by` is `fact` (then `record` said it), `rule` or `default`; `facts` are the numbers that the rule looked at."""

    value: str
    by: str
    record: Record | None = None
    facts: Mapping[str, int | str | None] = {}


@dataclass(frozen=True, slots=True)
class Account:
    """Everything about one learner in one programme at `now_ms`. `items`: what facts outside courses are about."""

    programme: str
    learner_id: str
    rules_version: int
    now_ms: int
    facts: int
    repeated: int
    mode: Said
    class_: Said
    withdrawn: bool
    result: str
    passed: tuple[Condition, ...]
    excellent: tuple[Condition, ...]
    possible: bool
    results_final_ms: int
    seconds: int
    credits: int
    acts: Mapping[str, int | None]
    items: tuple[Item, ...]
    courses: tuple[CourseAccount, ...]
    flags: tuple[FlagAccount, ...]


# -- lines ------------------------------------------------------------------------------------------------------------


def no(record: Record, code: str, *by: Record) -> Line:
    """A fact that does not count, and why."""
    return Line(record, "no", why=(Why(code, 0, by),))


def yes(record: Record, points: int | None = None, code: str = "", *by: Record) -> Line:
    """A fact that counts; `code` says as what, where that is not plain."""
    return Line(record, "yes", points=points, why=(Why(code, 0, by),) if code else ())


def latest_of(records: Iterable[Record], key: Callable[[Record], str]) -> tuple[dict[str, Record], list[Line]]:
    """The latest record of each key, and the lines of those it superseded."""
    final: dict[str, Record] = {}
    older: list[Record] = []
    for record in records:
        known = final.get(key(record))
        if known is None:
            final[key(record)] = record
        elif record.stamp > known.stamp:
            final[key(record)] = record
            older.append(known)
        else:
            older.append(record)
    return final, [no(record, "superseded", final[key(record)]) for record in older]


def own_time(record: Record) -> int:
    """When it happened, for the order on a page: an interval's start, an exam's sitting, else `time`."""
    if record.kind == "study.recorded":
        return int(record.data.started_at) * 1000
    return int(record.data.sat_at) if record.kind == "exam.marked" else record.time_ms


def listed(lines: list[Line], most: int) -> tuple[tuple[Line, ...], Rest]:
    """At most `most` lines in order of time, and the sum of the others.

    First those that earn points, then those that do not count whole, then the latest of the rest: what a reader asks about.
    """
    shared = Counter((line.record.event.source, line.record.event.id) for line in lines)

    def place(line: Line) -> tuple[int, str, str, str]:
        event = line.record.event
        digest = event.digest if shared[event.source, event.id] > 1 else ""  # costs too much to ask of everybody
        return (own_time(line.record), event.source, event.id, digest)

    lines = sorted(lines, key=place)
    if len(lines) <= most:
        return tuple(lines), Rest()
    order = sorted(range(len(lines)), key=lambda n: (0 if lines[n].points else 1 if lines[n].counts != "yes" else 2, -n))
    keep = set(order[:most])
    left = [lines[n] for n in order[most:]]
    rest = Rest(len(left), sum(line.seconds or 0 for line in left), sum(line.points or 0 for line in left))
    return tuple(line for n, line in enumerate(lines) if n in keep), rest
