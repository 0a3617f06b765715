"""Kafka records to rows of `store`. Pure.

Rows are tuples in the order of `COLUMNS[table]`; instants are integer milliseconds, points, credits and hours integers of 1/100.
Records that scoring wrote are trusted to have their form: one that has not raises `msgspec.MsgspecError`, which ends the process.
Those of `learning.activity`: see `activity`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from schemas.instant_parts import quick_ms
from schemas.programme import Programme
from schemas.progress import (
    AttentionChange,
    DayProgress,
    LearnerProgress,
    Rejected,
    Reminder,
    Version,
    Watermark,
    cents,
    decode,
    instant_ms,
)
from schemas.reading import Event, read_directory
from schemas.verdicts import Bad
from services.reporting.loader import activity
from services.reporting.loader.activity import storable
from services.reporting.loader.quick import pack_days
from services.shared.directory import Directory
from services.shared.packed import Row, Rows
from services.shared.record import Record

PROGRESS, DAYS = "store.progress", "store.days"

COLUMNS: dict[str, tuple[str, ...]] = {
    **activity.COLUMNS,
    PROGRESS: (
        "programme", "learner_id", "class_id", "mode", "registered_at", "started_at", "first_active_at", "last_active_at", "withdrawn",
        "courses_selected", "courses_passed", "credited_seconds", "study_hours_100", "credits_100", "result", "rules_version",
        "course_id", "course_credited_seconds", "course_study_points_100", "course_assignment_points_100",
        "course_interaction_points_100", "course_works_points_100", "course_process_points_100", "course_exam_points_100",
        "course_total_points_100", "course_gate_points_100", "course_gate_met", "course_exam_before_gate", "course_passed",
        "course_credits_100", "course_last_active_at", "course_explanation",
        "flag_kind", "flag_ref", "flag_severity", "flag_raised_at", "flag_owner_level", "flag_follow_ups", "flag_last_follow_up_at",
        "flag_last_outcome", "updated_at", "log_partition", "log_offset", "version", "is_deleted",
    ),
    DAYS: ("programme", "learner_id", "day", "credited_seconds", "active", "log_partition", "log_offset", "version", "is_deleted"),
    "store.attention_log": (
        "programme", "learner_id", "class_id", "school_id", "county_id", "city_id", "province_id", "mode", "kind", "ref", "change",
        "raised_at", "severity", "owner_level", "changed_at", "log_partition", "log_offset",
    ),
    "store.reminders": (
        "reminder_id", "programme", "learner_id", "kind", "ref", "severity", "raised_at", "flag_kind", "flag_ref", "flag_severity",
        "flag_raised_at", "due_at", "log_partition", "log_offset",
    ),
    "store.rejected": ("topic", "log_partition", "log_offset", "pointer", "code", "detail", "rejected_at"),
    "store.units": ("unit_id", "parent_id", "level", "name", "declared_at", "version"),
    "store.staff": ("programme", "staff_id", "role", "unit_id", "assigned", "changed_at", "version"),
    "store.courses": ("programme", "course_id", "version", "is_deleted"),
    "store.watermarks": ("kind", "partition", "applied", "as_of", "version"),
    "store.clock": ("id", "start_at", "speed", "anchor_at", "version"),
}  # fmt: skip


FIRST_DAY = "1970-01-01"
"""The first that ClickHouse's `Date` has; west of Greenwich an act in the first hours of 1970 lies on a local day before it."""


class Replacing(NamedTuple):
    """A row of a table whose rows are replaced by version; `row` None: a tombstone, whose version is its predecessor's plus one."""

    key: tuple[str, ...]
    partition: int
    offset: int
    version: int
    row: Row | None


def _ms(text: str) -> int:
    try:
        return quick_ms(text)
    except Bad:  # what scoring works out may lie beyond what an event may say
        return instant_ms(text)


def _maybe(text: str | None) -> int | None:
    return None if text is None else _ms(text)


@lru_cache(maxsize=1 << 14)
def _cents(text: str) -> int:
    return cents(text)


@lru_cache(maxsize=1 << 12)
def _day(text: str) -> date:
    return date.fromisoformat(text)


def packed(version: Version) -> int:
    """`[epoch, offset, tick_ms]` as one integer that orders alike."""
    epoch, offset, tick_ms = version
    return epoch << 96 | offset << 48 | tick_ms


def _key(key: bytes | None, parts: int) -> tuple[str, ...]:
    found = tuple((key or b"").decode().split("|"))
    if len(found) != parts:
        raise ValueError(f"key {key!r}: expected {parts} parts separated by |")
    return found


def progress_row(key: bytes | None, value: bytes | None, partition: int, offset: int) -> Replacing:
    """A record of `learning.progress`."""
    if value is None:
        return Replacing(_key(key, 2), partition, offset, 0, None)
    p = decode(LearnerProgress, value)
    c, f = p.courses, p.flags
    version = packed(p.version)
    row = (
        p.programme, p.learner_id, p.class_id, p.mode, _maybe(p.registered_at), _maybe(p.started_at), _maybe(p.first_active_at),
        _maybe(p.last_active_at), int(p.withdrawn), p.courses_selected, p.courses_passed, p.credited_seconds, _cents(p.study_hours),
        _cents(p.credits), p.result, p.rules_version,
        [x.course_id for x in c], [x.credited_seconds for x in c], [_cents(x.study_points) for x in c],
        [_cents(x.assignment_points) for x in c], [_cents(x.interaction_points) for x in c], [_cents(x.works_points) for x in c],
        [_cents(x.process_points) for x in c], [_cents(x.exam_points) for x in c], [_cents(x.total_points) for x in c],
        [_cents(x.gate_points) for x in c], [int(x.gate_met) for x in c], [int(x.exam_before_gate) for x in c],
        [int(x.passed) for x in c], [_cents(x.credits) for x in c], [_maybe(x.last_active_at) for x in c], [x.explanation for x in c],
        [x.kind for x in f], [x.ref for x in f], [x.severity for x in f], [_ms(x.raised_at) for x in f], [x.owner_level for x in f],
        [x.follow_ups for x in f], [_maybe(x.last_follow_up_at) for x in f], [x.last_outcome or "" for x in f],
        _ms(p.updated_at), partition, offset, version, 0,
    )  # fmt: skip
    return Replacing((p.programme, p.learner_id), partition, offset, version, row)


def day_row(key: bytes | None, value: bytes | None, partition: int, offset: int) -> Replacing:
    """A record of `learning.days`."""
    if value is None:
        return Replacing(_key(key, 3), partition, offset, 0, None)
    d = decode(DayProgress, value)
    version = packed(d.version)
    row = (d.programme, d.learner_id, _day(d.day), d.credited_seconds, int(d.active), partition, offset, version, 0)
    return Replacing((d.programme, d.learner_id, d.day), partition, offset, version, row)


def add_days(rows: dict[str, Rows], replacing: dict[str, list[Replacing]], records: Sequence[Record], partition: int) -> None:
    """Records of `learning.days`: what is as scoring writes it among `rows`, in whatever order it is stored, since it has its version; the
    others, tombstones among them, as what replaces it."""
    packed, left = pack_days(records, partition)
    if packed.count:
        rows.setdefault(DAYS, []).append(packed)
    for record in left:
        day = day_row(record.key, record.value, partition, record.offset)
        if day.key[2] >= FIRST_DAY:  # else it would take the place of the first day
            replacing.setdefault(DAYS, []).append(day)


def attention_row(value: bytes, partition: int, offset: int) -> Row:
    a = decode(AttentionChange, value)
    return (
        a.programme, a.learner_id, a.class_id, a.school_id, a.county_id, a.city_id, a.province_id, a.mode, a.kind, a.ref, a.change,
        _ms(a.raised_at), a.severity, a.owner_level, _ms(a.changed_at), partition, offset,
    )  # fmt: skip


def reminder_row(value: bytes, partition: int, offset: int) -> Row:
    r = decode(Reminder, value)
    return (
        r.reminder_id, r.programme, r.learner_id, r.kind, r.ref, r.severity, _ms(r.raised_at), [x.kind for x in r.flags],
        [x.ref for x in r.flags], [x.severity for x in r.flags], [_ms(x.raised_at) for x in r.flags], _ms(r.due_at), partition, offset,
    )  # fmt: skip


def rejected_row(value: bytes) -> Row:
    r = decode(Rejected, value)
    origin = r.origin
    pointers, codes, details = ([storable(getattr(e, name)) for e in r.errors] for name in ("pointer", "code", "detail"))
    return (origin.topic, origin.partition, origin.offset, pointers, codes, details, _ms(r.rejected_at))


def watermark(value: bytes) -> Watermark:
    return decode(Watermark, value)


def watermark_row(kind: str, partition: int, applied: int, as_of_ms: int, epoch: int = 0) -> Row:
    return (kind, partition, applied, as_of_ms, epoch << 112 | applied << 48 | as_of_ms)


# -- organisation.directory and rule files -------------------------------------------------------------------------------


def directory_row(
    directory: Directory, key: bytes | None, value: bytes | None, timestamp_ms: int, partition: int, partitions: int, offset: int
) -> tuple[str, Row] | None:
    """Fold a record into `directory`; (table, row) where it changed what holds.

    All records of one unit lie in one partition, so the offset that settled it is a version: a repeated load gives the same.
    """
    event = read_directory(key, value, timestamp_ms, partition, partitions)
    if not isinstance(event, Event):
        return None
    if not directory.fold(event):
        return None
    data = event.data
    if event.type.startswith("chalkstream.unit."):
        return "store.units", (data.unit_id, data.parent_id or "", data.level, data.name, event.time_ms, offset + 1)
    assigned = int(event.type.startswith("chalkstream.staff.assigned."))
    return "store.staff", (event.programme, data.staff_id, data.role, data.unit_id, assigned, event.time_ms, offset + 1)


def course_rows(programmes: Mapping[str, Programme], stored: set[tuple[str, str]], version: int) -> list[Row]:
    """Rows that make store.courses what the rule files say; `stored` is what it says now."""
    known = {(name, "") for name in programmes} | {(name, course) for name, rules in programmes.items() for course in rules.courses}
    return [(*pair, version, 0) for pair in sorted(known - stored)] + [(*pair, version, 1) for pair in sorted(stored - known)]
