"""What another rule file would change: every learner folded under both, and what would be published of them compared. No I/O.

Facts are judged as scoring judges them (`codec`), so by nothing that a rule file says: what the two files allow at the door only
decides what gets into the log. Compared is every column of `learning.progress` (totals, courses, flags) but those in `IGNORED`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.programme import Programme
from schemas.progress import CourseProgress, Flag, LearnerProgress
from services.scoring.codec import gather
from services.scoring.core.evaluate import evaluate
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from services.shared.record import Record

IGNORED = frozenset({"programme", "learner_id", "rules_version", "version", "updated_at", "courses", "flags", "explanation"})
"""`rules_version` differs for everybody; `explanation` repeats the rules' limits beside figures that are compared themselves."""

Value = str | int | bool | None


class Change(NamedTuple):
    """One thing that differs. `part` is learner, course or flag, `ref` the course, or the flag's kind and ref (`exam_due c-ict`).

    A course or flag that one side does not have has the column '' and None on that side; the other side has its total or severity.
    """

    part: str
    ref: str
    column: str
    old: Value
    new: Value


class Changed(NamedTuple):
    """A learner of whom something would change."""

    learner_id: str
    class_id: str
    changes: tuple[Change, ...]


@dataclass
class Summary:
    """Counts over everybody compared. `results` has (old, new), also where they are equal; `columns` counts changes by (part, column)."""

    learners: int = 0
    records: int = 0
    refused: int = 0
    other_programmes: int = 0
    results: Counter[tuple[str, str]] = field(default_factory=Counter)
    totals: int = 0
    credits: int = 0
    passes_gained: int = 0
    passes_lost: int = 0
    flags: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, opened|closed|severity|owner|raised_at|follow_ups)
    columns: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def results_changed(self) -> int:
        """Learners whose result differs."""
        return sum(count for (old, new), count in self.results.items() if old != new)

    def count(self, old: LearnerProgress, new: LearnerProgress, changes: Sequence[Change]) -> None:
        """One learner more, compared."""
        self.learners += 1
        self.results[old.result, new.result] += 1
        self.totals += any(change.column in ("total_points", "") for change in changes if change.part == "course")
        self.credits += old.credits != new.credits
        passed, passes = ({row.course_id for row in one.courses if row.passed} for one in (old, new))
        self.passes_gained += len(passes - passed)
        self.passes_lost += len(passed - passes)
        for change in changes:
            self.columns[change.part, change.column] += 1
            if change.part == "flag":
                what = change.column or ("opened" if change.old is None else "closed")
                self.flags[change.ref.split(" ")[0], what] += 1


class Comparison:
    """Learners under two rule files. Feed it whole partitions: `take` their records, then `close`, which forgets their learners."""

    def __init__(self, old: Programme, new: Programme, now_ms: int) -> None:
        if old.id != new.id:
            raise ValueError(f"rules of two programmes: {old.id} and {new.id}")
        self.old, self.new, self._now = old, new, now_ms
        self.summary = Summary()
        self.changed: list[Changed] = []
        self._learners: dict[str, tuple[Learner, Learner]] = {}

    def take(self, records: Sequence[Record], partition: int, partitions: int) -> None:
        """Fold a batch under both rule files."""
        self.summary.records += len(records)
        told = gather(records, partition, partitions)
        self.summary.refused += len(told.refused)
        for (programme, learner_id), new in told.facts.items():
            if programme != self.old.id:
                self.summary.other_programmes += len(new)
                continue
            pair = self._learners.get(learner_id)
            if pair is None:
                pair = self._learners[learner_id] = Learner.new(learner_id), Learner.new(learner_id)
            fold(self.old, pair[0], new)
            fold(self.new, pair[1], new)

    def close(self) -> None:
        """Compare the learners taken so far and forget them; keeps what changes."""
        while self._learners:
            learner_id, (before, after) = self._learners.popitem()
            one = evaluate(self.old, before, self._now).progress
            other = evaluate(self.new, after, self._now).progress
            changes = compared(one, other)
            self.summary.count(one, other, changes)
            if changes:
                self.changed.append(Changed(learner_id, one.class_id, tuple(changes)))
        self.changed.sort()


def compared(old: LearnerProgress, new: LearnerProgress) -> list[Change]:
    """Everything that differs between two states of one learner; courses and flags in the order of their names."""
    changes = _columns("learner", "", old, new)
    courses_old, courses_new = ({row.course_id: row for row in one.courses} for one in (old, new))
    for course_id in sorted(courses_old.keys() | courses_new.keys()):
        changes += _rows("course", course_id, courses_old.get(course_id), courses_new.get(course_id), "total_points")
    flags_old, flags_new = ({f"{flag.kind} {flag.ref}".strip(): flag for flag in one.flags} for one in (old, new))
    for name in sorted(flags_old.keys() | flags_new.keys()):
        changes += _rows("flag", name, flags_old.get(name), flags_new.get(name), "severity")
    return changes


def _rows(part: str, ref: str, old: CourseProgress | Flag | None, new: CourseProgress | Flag | None, stands_for: str) -> list[Change]:
    if old is not None and new is not None:
        return _columns(part, ref, old, new)
    return [Change(part, ref, "", getattr(old, stands_for, None), getattr(new, stands_for, None))]


def _columns(part: str, ref: str, old: object, new: object) -> list[Change]:
    if old == new:
        return []
    names = [name for name in old.__struct_fields__ if name not in IGNORED]  # type: ignore[attr-defined]
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    return [Change(part, ref, name, before, after) for name, before, after in pairs if before != after]
