"""One learner in one programme, held in small cells by name, so that an event rewrites only what it touches.

| cell             | holds                                                                                   |
|------------------|-----------------------------------------------------------------------------------------|
| `sum`            | first, first starting and last act; enrolment, registration, class, mode, withdrawal    |
| `day:2023-06-01` | the counting intervals that reach into the local day; its first and last act            |
| `credit:2023-06` | credited seconds per day of the month and course                                        |
| `course:ID`      | a known course's selection, submissions, grades, process mark, exams and last act       |
| `posts:ID`       | a known course's posts                                                                  |
| `works`, `cases`, `follow` | the learner's works, plagiarism rulings, follow-ups                           |

A cell is a function of the set of facts, and is written in one canonical way: equal facts give equal bytes. Instants are
ms, intervals whole seconds, scores 1/10000.
"""

from __future__ import annotations

from bisect import insort
from typing import Any, TypeVar

import msgspec

from services.scoring.core.facts import Stamp

LAYOUT = 2
"""Raised with every change of what cells hold: cells of another layout are not read, the log is (docs/operators)."""


class Summary(msgspec.Struct, array_like=True):
    """Stamped values are the latest of their kind; `enrolled` and `registered` the earliest times."""

    first_act: int | None = None
    first_start: int | None = None
    last_act: int | None = None
    enrolled: int | None = None
    registered: int | None = None
    class_: tuple[Stamp, str] | None = None
    mode: tuple[Stamp, str] | None = None
    person: tuple[Stamp, int | None, str | None] | None = None
    withdrawn: Stamp | None = None
    reinstated: Stamp | None = None


class Day(msgspec.Struct, array_like=True):
    """`spans` are (start, course, end) uncut, in the order of their claim to a second when sorted."""

    spans: set[tuple[int, str, int]] = msgspec.field(default_factory=set)
    first_act: int | None = None
    last_act: int | None = None


class Credit(msgspec.Struct, array_like=True):
    """By day of the month (`01`), by course."""

    days: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)


class CourseCell(msgspec.Struct, array_like=True):
    """`selected` holds the counting selections after the last counting drop: none means not selected.

    `submitted`: earliest counting submission by assignment. `exams`: by attempt (stamp, form, score, sat_at).
    """

    last_act: int | None = None
    selected: set[Stamp] = msgspec.field(default_factory=set)
    dropped: Stamp | None = None
    submitted: dict[str, int] = msgspec.field(default_factory=dict)
    grades: dict[str, tuple[Stamp, int]] = msgspec.field(default_factory=dict)
    process: tuple[Stamp, int] | None = None
    chosen: tuple[Stamp, str] | None = None
    exams: dict[str, tuple[Stamp, str, int, int]] = msgspec.field(default_factory=dict)


class Posts(msgspec.Struct, array_like=True):
    """Live posts by id (stamp, kind); removed ones by id with the earliest removal."""

    live: dict[str, tuple[Stamp, str]] = msgspec.field(default_factory=dict)
    removed: dict[str, int] = msgspec.field(default_factory=dict)


class Works(msgspec.Struct, array_like=True):
    """By work: latest publication (stamp, kind, course or '', activity or ''), latest review, earliest removal."""

    published: dict[str, tuple[Stamp, str, str, str]] = msgspec.field(default_factory=dict)
    reviews: dict[str, tuple[Stamp, str]] = msgspec.field(default_factory=dict)
    removed: dict[str, int] = msgspec.field(default_factory=dict)


class Cases(msgspec.Struct, array_like=True):
    """Every ruling of every case: (stamp, verdict)."""

    rulings: dict[str, set[tuple[Stamp, str]]] = msgspec.field(default_factory=dict)


class FollowUps(msgspec.Struct, array_like=True):
    """(stamp, kind of flag, ref or '', outcome)."""

    facts: set[tuple[Stamp, str, str, str]] = msgspec.field(default_factory=set)


_KINDS: dict[str, type[msgspec.Struct]] = {
    "sum": Summary,
    "day": Day,
    "credit": Credit,
    "course": CourseCell,
    "posts": Posts,
    "works": Works,
    "cases": Cases,
    "follow": FollowUps,
}
_DECODERS = {prefix: msgspec.msgpack.Decoder(kind) for prefix, kind in _KINDS.items()}
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_Cell = TypeVar("_Cell", bound=msgspec.Struct)


class Learner:
    """The cells of one learner; they are decoded when first asked for.

    `standing` is what `result.standing_of` keeps of them; whoever changes a cell says so with `touched`. `changed` are the cells
    touched since it was last brought up to date, `credit_from` the first local day whose credited seconds changed since.
    """

    __slots__ = ("_cells", "_months", "_raw", "_totals", "changed", "credit_from", "learner_id", "standing")

    def __init__(self, learner_id: str = "") -> None:
        self.learner_id = learner_id
        self._raw: dict[str, bytes] = {}
        self._cells: dict[str, msgspec.Struct] = {}
        self._totals: dict[str, int] | None = None
        self._months: list[str] = []
        self.standing: Any = None
        self.changed: set[str] = set()
        self.credit_from: str | None = None

    @classmethod
    def new(cls, learner_id: str = "") -> Learner:
        return cls(learner_id)

    def names(self) -> list[str]:
        """The names of all cells, sorted."""
        return sorted(self._raw.keys() | self._cells.keys())

    def load(self, name: str, data: bytes) -> None:
        """Take over a cell's bytes. They are looked at when the cell is needed (msgspec.MsgspecError where they are none)."""
        self._raw[name] = data
        self._cells.pop(name, None)
        self.standing = None
        if name.startswith("credit:"):
            self._totals = None
            if name not in self._months:
                insort(self._months, name)

    def encode(self, name: str) -> bytes:
        """A cell's canonical bytes. Raises KeyError where there is no such cell."""
        cell = self._cells.get(name)
        return self._raw[name] if cell is None else _ENCODER.encode(cell)

    def touched(self, names: set[str]) -> None:
        """What was derived from these cells no longer holds."""
        if self.standing is not None:
            self.changed |= names

    def find(self, name: str, kind: type[_Cell]) -> _Cell | None:
        """The cell, or None where no fact made it."""
        cell = self._cells.get(name)
        if cell is None:
            raw = self._raw.pop(name, None)
            if raw is None:
                return None
            cell = self._cells[name] = _DECODERS[name.partition(":")[0]].decode(raw)
        return cell  # type: ignore[return-value]  # a name's prefix says its kind; a cast would cost on the hot path

    def get(self, name: str, kind: type[_Cell]) -> _Cell:
        """The cell, made empty where no fact made it yet."""
        cell = self.find(name, kind)
        if cell is None:
            cell = kind()
            self._cells[name] = cell
            if kind is Credit:
                insort(self._months, name)
        return cell

    # -- credited seconds ---------------------------------------------------------------------------------------------

    def totals(self) -> dict[str, int]:
        """Credited seconds by course over all days, before the courses' own caps."""
        if self._totals is None:
            totals: dict[str, int] = {}
            for month in self.months():
                for courses in self.get(month, Credit).days.values():
                    for course_id, seconds in courses.items():
                        totals[course_id] = totals.get(course_id, 0) + seconds
            self._totals = totals
        return self._totals

    def months(self) -> list[str]:
        """The names of the credit cells, ascending."""
        return self._months

    def credit_of(self, day: str) -> dict[str, int]:
        """Credited seconds of a local day by course."""
        month = self.find("credit:" + day[:7], Credit)
        return month.days.get(day[8:], {}) if month else {}

    def set_credit(self, day: str, courses: dict[str, int]) -> bool:
        """Whether this changed anything."""
        before = self.credit_of(day)
        if before == courses:
            return False
        if self.credit_from is None or day < self.credit_from:
            self.credit_from = day
        self.get("credit:" + day[:7], Credit).days[day[8:]] = courses  # never empty: a day's spans only grow
        if self._totals is not None:
            for course_id, seconds in before.items():
                self._totals[course_id] -= seconds
            for course_id, seconds in courses.items():
                self._totals[course_id] = self._totals.get(course_id, 0) + seconds
        return True
