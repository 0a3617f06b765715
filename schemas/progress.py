"""What scoring publishes, in the form in which it lies in the topics (docs/architecture.md, "Topics").

Structs hold the wire form: decimals are text with two places (`"12.75"`), instants RFC 3339 text with milliseconds and Z
(so they sort as text), days `YYYY-MM-DD`, None where something has not happened. `cents`, `money`, `instant` and
`instant_ms` go between that and the integers that the code calculates with. A value of None under a key is a tombstone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from schemas.instants import rfc3339

Version = tuple[int, int, int]
BLANK: Version = (0, 0, 0)

SEVERITIES = ("notice", "warning", "escalation")
OWNERS = ("school", "county", "city")
KINDS = ("not_registered", "not_started", "inactive", "behind", "assignment_overdue", "exam_due", "plagiarism_suspected")


class Flag(msgspec.Struct, frozen=True):
    """A flag that is open; `ref` is a course or a case, '' where the kind has none."""

    kind: str
    ref: str
    severity: str
    raised_at: str
    owner_level: str
    follow_ups: int = 0
    last_follow_up_at: str | None = None
    last_outcome: str | None = None


ITEM_COLUMNS = {
    "study": "study_points",
    "assignments": "assignment_points",
    "interaction": "interaction_points",
    "works": "works_points",
    "process": "process_points",
    "exam": "exam_points",
}
"""An item of the rule file -> its column of a course's row."""


class CourseProgress(msgspec.Struct, frozen=True):
    """One selected course of a learner; points and credits are text of 1/100."""

    course_id: str
    credited_seconds: int
    study_points: str
    assignment_points: str
    interaction_points: str
    works_points: str
    process_points: str
    exam_points: str
    total_points: str
    gate_points: str
    gate_met: bool
    exam_before_gate: bool
    passed: bool
    credits: str
    last_active_at: str | None
    explanation: str


class LearnerProgress(msgspec.Struct):
    """A learner's absolute totals in one programme. `version` and `updated_at` are the engine's to fill in."""

    programme: str
    learner_id: str
    class_id: str
    mode: str
    registered_at: str | None
    started_at: str | None
    first_active_at: str | None
    last_active_at: str | None
    withdrawn: bool
    courses_selected: int
    courses_passed: int
    credited_seconds: int
    study_hours: str
    credits: str
    result: str
    rules_version: int
    courses: list[CourseProgress]
    flags: list[Flag]
    version: Version = BLANK
    updated_at: str = ""


class DayProgress(msgspec.Struct):
    """A learner's local day: credited seconds on any course, and whether there was an act."""

    programme: str
    learner_id: str
    day: str
    credited_seconds: int
    active: bool
    version: Version = BLANK
    updated_at: str = ""


class AttentionChange(msgspec.Struct):
    """One line of the log of flags; `change` is raised, severity, owner, cleared or retracted."""

    programme: str
    learner_id: str
    class_id: str
    mode: str
    kind: str
    ref: str
    change: str
    raised_at: str
    severity: str
    owner_level: str
    changed_at: str
    school_id: str = ""
    county_id: str = ""
    city_id: str = ""
    province_id: str = ""


class FlagBrief(msgspec.Struct, frozen=True):
    kind: str
    ref: str
    severity: str
    raised_at: str


class Reminder(msgspec.Struct):
    """A reminder that became due; kind to raised_at are of the flag that made it due, `flags` all that were open then."""

    reminder_id: str
    programme: str
    learner_id: str
    kind: str
    ref: str
    severity: str
    raised_at: str
    flags: list[FlagBrief]
    due_at: str


class RejectedError(msgspec.Struct, frozen=True):
    pointer: str
    code: str
    detail: str


class Origin(msgspec.Struct, frozen=True):
    topic: str
    partition: int
    offset: int


class Rejected(msgspec.Struct):
    """A record that could not be taken: `record` is its text, or base64 where `encoding` says so."""

    errors: list[RejectedError]
    origin: Origin
    key: str | None
    record: str
    rejected_at: str
    encoding: str | None = None


class Watermark(msgspec.Struct):
    """How far scoring has come on one partition; see docs/architecture.md for what it promises. `generation`: whose state it stands on."""

    partition: int
    applied: int
    as_of: str
    outputs: dict[str, int]
    epoch: int
    clock: str = "system"
    generation: str = ""


_ENCODER = msgspec.json.Encoder()
_T = TypeVar("_T", bound=msgspec.Struct)


def encode(value: msgspec.Struct) -> bytes:
    """The topic's bytes of any of the structs above."""
    return _ENCODER.encode(value)


def decode(kind: type[_T], value: bytes) -> _T:
    """The struct that a topic's bytes hold. Raises msgspec.MsgspecError (DecodeError, ValidationError) where they don't."""
    return msgspec.json.decode(value, type=kind)


def money(value: int) -> str:
    """1/100 as text with two places: 1275 -> '12.75'."""
    return _MONEY[value] if 0 <= value <= _MOST else f"{value // 100}.{value % 100:02d}"


_MOST = 10_000  # of points, 100.00
_MONEY = [f"{value // 100}.{value % 100:02d}" for value in range(_MOST + 1)]


def cents(text: str) -> int:
    """Text with two places as 1/100: '12.75' -> 1275."""
    whole, _, rest = text.partition(".")
    return int(whole) * 100 + int(rest)


instant = rfc3339
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_or_none(ms: int | None) -> str | None:
    return None if ms is None else instant(ms)


def instant_ms(text: str) -> int:
    """The inverse of `instant`."""
    since = datetime.fromisoformat(text) - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
