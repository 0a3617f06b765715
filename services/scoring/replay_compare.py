"""The read models of two generations beside each other: whom another rule file has really changed. Reads ClickHouse, writes nothing.

Both may be alive: a learner whose rows differ counts once both generations have got past the moment of a look and the two rows are
the same again at the next one. What differs is found by digests inside ClickHouse; only learners that differ are fetched.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clickhouse_driver import Client

from schemas.progress import CourseProgress, Flag, LearnerProgress, instant_or_none, money
from services.scoring.rules_diff import Change, Changed, Summary, compared
from services.shared.generation import LIVE, Generation

Key = tuple[str, str]
CHUNK = 500
LOOKS = 6
MOST_DAYS = 100_000
IGNORED = (
    "programme", "learner_id", "rules_version", "course_explanation", "updated_at", "log_partition", "log_offset", "version", "is_deleted",
)  # fmt: skip
"""Columns of `store.progress` that say who and when; and what repeats the rules (see `rules_diff.IGNORED`)."""

_INSTANTS = ("registered_at", "started_at", "first_active_at", "last_active_at")
_COURSE = (
    "course_id", "course_credited_seconds", "course_study_points_100", "course_assignment_points_100", "course_interaction_points_100",
    "course_works_points_100", "course_process_points_100", "course_exam_points_100", "course_total_points_100",
    "course_gate_points_100", "course_gate_met", "course_exam_before_gate", "course_passed", "course_credits_100",
)  # fmt: skip
_FLAG = ("flag_kind", "flag_ref", "flag_severity", "flag_owner_level", "flag_follow_ups", "flag_last_outcome")


class Claim(NamedTuple):
    """How far a generation's tables reach in one partition: next offset of the log, and the moment (ms) up to which all is in."""

    applied: int
    as_of_ms: int
    epoch: int


def claims(client: Client, generation: Generation) -> dict[int, Claim]:
    """By partition; what nobody has claimed yet has zeros or is not there."""
    table = generation.table("store.watermarks")
    found = client.execute(
        f"SELECT partition, applied, toUnixTimestamp64Milli(as_of), toUInt64(bitShiftRight(version, 112)) FROM {table} FINAL"
        " WHERE kind = 'scoring'"
    )
    return {int(partition): Claim(int(applied), int(as_of), int(epoch)) for partition, applied, as_of, epoch in found}


def behind(have: dict[int, Claim], target: dict[int, Claim]) -> dict[int, Claim]:
    """The partitions of `target` that `have` has not reached."""
    nothing = Claim(0, 0, 0)
    return {
        number: want
        for number, want in target.items()
        if (at := have.get(number, nothing)).applied < want.applied or at.as_of_ms < want.as_of_ms
    }


class Row(NamedTuple):
    version: int
    progress: LearnerProgress


@dataclass
class Programme:
    """What differs in one programme. `only_old`, `only_new`: learners of whom one side has no row (their id and result)."""

    summary: Summary = field(default_factory=Summary)
    changed: list[Changed] = field(default_factory=list)
    only_old: list[tuple[str, str]] = field(default_factory=list)
    only_new: list[tuple[str, str]] = field(default_factory=list)
    days: int = 0

    @property
    def differs(self) -> bool:
        return bool(self.changed or self.only_old or self.only_new or self.days)


@dataclass
class Found:
    """By programme; `unsettled`: learners that still changed at the last look; `late`: the live read model did not get as far."""

    programmes: dict[str, Programme] = field(default_factory=dict)
    unsettled: int = 0
    late: bool = False
    as_of_ms: int = 0
    seconds: float = 0.0

    def of(self, programme: str) -> Programme:
        return self.programmes.setdefault(programme, Programme())

    @property
    def differs(self) -> bool:
        return any(one.differs for one in self.programmes.values())


Told = Callable[[int, int], None]
"""Learners fetched, of so many."""


def compare(client: Client, shadow: Generation, patience: float = 20.0, told: Told = lambda done, of: None) -> Found:
    """Compare the shadow's learners with the live ones'. Waits up to `patience` seconds, each time, for both to reach a moment."""
    started = time.monotonic()
    found = Found()
    pending = differing(client, shadow)
    seen: dict[Key, tuple[Row | None, Row | None]] = {}
    settled: dict[Key, tuple[Row | None, Row | None]] = {}
    for look in range(LOOKS):
        if not pending:
            break
        found.late = not _level(client, shadow, patience)
        now: dict[Key, tuple[Row | None, Row | None]] = {}
        for keys in _chunks(sorted(pending)):
            old, new = fetch(client, LIVE, keys), fetch(client, shadow, keys)
            now |= {key: (old.get(key), new.get(key)) for key in keys}
            told(len(now), len(pending))
        still = {key for key, pair in now.items() if _differ(*pair)}
        for key in still:
            if look and _versions(now[key]) == _versions(seen[key]):
                settled[key] = now[key]
        pending = still - settled.keys()
        seen = now
    found.unsettled = len(pending)
    for key, pair in sorted((settled | {key: seen[key] for key in pending}).items()):
        _note(found.of(key[0]), key[1], *pair)
    _count_the_others(client, shadow, found)
    for programme, days in differing_days(client, shadow, patience).items():
        found.of(programme).days = days
    found.as_of_ms = min((claim.as_of_ms for claim in claims(client, shadow).values()), default=0)
    found.seconds = time.monotonic() - started
    return found


def _level(client: Client, shadow: Generation, patience: float) -> bool:
    """Wait until both have reached what either claims now. False where one did not."""
    until = time.monotonic() + patience
    one, other = claims(client, LIVE), claims(client, shadow)
    target = {
        number: Claim(*(max(pair) for pair in zip(one.get(number, Claim(0, 0, 0)), other.get(number, Claim(0, 0, 0)), strict=True)))
        for number in one.keys() | other.keys()
    }
    while behind(claims(client, LIVE), target) or behind(claims(client, shadow), target):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def differing(client: Client, shadow: Generation) -> set[Key]:
    """Learners whose rows differ in any column but those in IGNORED, or of whom one side has none."""
    names = [
        str(name)
        for (name,) in client.execute(
            "SELECT name FROM system.columns WHERE database = 'store' AND table = 'progress' ORDER BY position",
        )
        if name not in IGNORED
    ]
    digest = f"sipHash128(toString(tuple({', '.join(names)})))"

    def side(generation: Generation) -> str:
        return f"(SELECT programme, learner_id, {digest} AS said FROM {generation.table('store.progress')} FINAL)"

    key = "programme, learner_id"
    return {(str(programme), str(learner)) for programme, learner in _unlike(client, side(LIVE), side(shadow), key, key)}


def differing_days(client: Client, shadow: Generation, patience: float) -> dict[str, int]:
    """Programme -> learners' days that differ, and were the same at two looks. A day without a row and one that says nothing are alike.

    Beyond MOST_DAYS one look has to do: some that were being written count as well then, among so many.
    """

    def side(generation: Generation) -> str:
        table = generation.table("store.days")
        return f"(SELECT programme, learner_id, day, version, (credited_seconds, active) AS said FROM {table} FINAL)"

    key, sides = "programme, learner_id, day", (side(LIVE), side(shadow))
    counts = {str(name): int(count) for name, count in _unlike(client, *sides, key, "programme, count()", "GROUP BY programme")}
    if not counts or sum(counts.values()) > MOST_DAYS:
        return counts
    rows = f"{key}, a.version, b.version"
    seen, now = set[tuple[Any, ...]](), set(_unlike(client, *sides, key, rows))
    for _ in range(LOOKS):
        if not now - seen:
            break
        _level(client, shadow, patience)
        seen, now = now, set(_unlike(client, *sides, key, rows))
    return dict(Counter(str(row[0]) for row in now & seen))


def _unlike(client: Client, one: str, other: str, key: str, what: str, then: str = "") -> list[tuple[Any, ...]]:
    sql = f"SELECT {what} FROM {one} AS a FULL OUTER JOIN {other} AS b USING ({key}) WHERE a.said != b.said {then}"
    return list(client.execute(f"{sql} SETTINGS join_use_nulls = 0"))


def _count_the_others(client: Client, shadow: Generation, found: Found) -> None:
    """Learners alike on both sides: their number, and their results."""
    sql = f"SELECT programme, result, count() FROM {LIVE.table('store.progress')} FINAL GROUP BY programme, result"
    for programme, result, count in client.execute(sql):
        one = found.of(str(programme))
        here = sum(count for (old, _), count in one.summary.results.items() if old == result)
        alike = int(count) - here - sum(gone == result for _, gone in one.only_old)
        if alike > 0:
            one.summary.results[str(result), str(result)] += alike
            one.summary.learners += alike


def _versions(pair: tuple[Row | None, Row | None]) -> tuple[int, int]:
    return tuple(0 if row is None else row.version for row in pair)  # type: ignore[return-value]


def _differ(old: Row | None, new: Row | None) -> bool:
    if old is None or new is None:
        return old is not new
    return bool(compared(old.progress, new.progress))


def _note(into: Programme, learner_id: str, old: Row | None, new: Row | None) -> None:
    if old is None or new is None:
        if old is not None:
            into.only_old.append((learner_id, old.progress.result))
        if new is not None:
            into.only_new.append((learner_id, new.progress.result))
        return
    changes: list[Change] = compared(old.progress, new.progress)
    into.summary.count(old.progress, new.progress, changes)
    into.changed.append(Changed(learner_id, old.progress.class_id, tuple(changes)))


def fetch(client: Client, generation: Generation, keys: Sequence[Key]) -> dict[Key, Row]:
    """What a generation's table says of these learners."""
    columns = [
        "programme", "learner_id", "class_id", "mode", *(f"toUnixTimestamp64Milli({name})" for name in _INSTANTS), "withdrawn",
        "courses_selected", "courses_passed", "credited_seconds", "study_hours_100", "credits_100", "result", "rules_version", "version",
        *_COURSE, "arrayMap(at -> toUnixTimestamp64Milli(at), course_last_active_at)", "course_explanation",
        *_FLAG, "arrayMap(at -> toUnixTimestamp64Milli(at), flag_raised_at)",
        "arrayMap(at -> toUnixTimestamp64Milli(at), flag_last_follow_up_at)",
    ]  # fmt: skip
    found: dict[Key, Row] = {}
    for programme in sorted({key[0] for key in keys}):
        params = {"programme": programme, "ids": [key[1] for key in keys if key[0] == programme]}
        table = generation.table("store.progress")
        for row in client.execute(
            f"SELECT {', '.join(columns)} FROM {table} FINAL WHERE programme = %(programme)s AND learner_id IN %(ids)s", params
        ):
            found[row[0], row[1]] = _row(row)
    return found


def _row(row: Sequence[Any]) -> Row:
    head, rest = row[:17], row[17:]
    courses, flags = rest[: len(_COURSE) + 2], rest[len(_COURSE) + 2 :]
    values: list[Any] = [
        *head[:4],
        *map(instant_or_none, head[4:8]),
        bool(head[8]),
        *head[9:12],
        money(head[12]),
        money(head[13]),
        *head[14:16],
    ]
    values += [[_course(one) for one in zip(*courses, strict=True)], [_flag(one) for one in zip(*flags, strict=True)]]
    return Row(int(head[16]), LearnerProgress(*values))  # in the order of its fields


def _course(cells: Sequence[Any]) -> CourseProgress:
    course_id, seconds, *points, gate_met, before, passed, credits, last, explanation = cells
    values: list[Any] = [course_id, seconds, *map(money, points), bool(gate_met), bool(before), bool(passed)]
    values += [money(credits), instant_or_none(last), explanation]
    return CourseProgress(*values)


def _flag(cells: Sequence[Any]) -> Flag:
    kind, ref, severity, owner, follow_ups, outcome, raised, followed = cells
    return Flag(kind, ref, severity, str(instant_or_none(raised)), owner, follow_ups, instant_or_none(followed), outcome or None)


def _chunks(keys: list[Key]) -> Iterator[list[Key]]:
    for at in range(0, len(keys), CHUNK):
        yield keys[at : at + CHUNK]


def learners_stored(client: Client, generation: Generation) -> int:
    """Learners that a generation's table has rows of; rows not yet merged count again."""
    return int(client.execute(f"SELECT count() FROM {generation.table('store.progress')}")[0][0])


def names(keys: Iterable[tuple[str, str]], most: int) -> str:
    """Learner ids for a line of text."""
    ids = [one for one, _ in keys]
    return ", ".join(ids[:most]) + (f" and {len(ids) - most:,} more" if len(ids) > most else "")
