"""From a learner's cells and a moment to what is published about them."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from schemas.programme import Course, Programme
from schemas.progress import CourseProgress, DayProgress, LearnerProgress, instant_or_none, money
from services.scoring.core.explain import explanation
from services.scoring.core.flags import open_flags
from services.scoring.core.result import Standing, standing_of
from services.scoring.core.state import CourseCell, Day, Learner

_encode = msgspec.json.Encoder().encode


class Evaluation(NamedTuple):
    """`progress` has version and updated_at blank. `next_change_ms`: the next moment after now at which time alone may
    change it; None: never. `digest` is of all that `progress` says but for those two."""

    progress: LearnerProgress
    next_change_ms: int | None
    digest: bytes
    courses: list[msgspec.Raw]


def encoded(evaluation: Evaluation) -> bytes:
    """The topic's bytes of `progress`; courses that did not change are not encoded again."""
    return _encode(msgspec.structs.replace(evaluation.progress, courses=evaluation.courses))


def evaluate(programme: Programme, learner: Learner, now_ms: int) -> Evaluation:
    """The learner's totals, courses and open flags at a moment, by all facts in the cells."""
    standing = standing_of(programme, learner)
    flags, next_change = open_flags(standing, now_ms)
    summary = standing.summary
    rows = [_course(standing, course) for course in standing.courses]
    progress = LearnerProgress(
        programme=programme.id,
        learner_id=learner.learner_id,
        class_id=summary.class_[1] if summary.class_ else "",
        mode=standing.mode_name,
        registered_at=instant_or_none(summary.registered),
        started_at=instant_or_none(summary.first_start),
        first_active_at=instant_or_none(summary.first_act),
        last_active_at=instant_or_none(summary.last_act),
        withdrawn=standing.withdrawn,
        courses_selected=len(standing.courses),
        courses_passed=standing.passed,
        credited_seconds=standing.seconds,
        study_hours=money(programme.study_hours(standing.seconds)),
        credits=money(standing.credits),
        result=standing.result(now_ms),
        rules_version=programme.rules_version,
        courses=[],
        flags=flags,
    )
    digest = hashlib.blake2b(_encode(progress), digest_size=16)
    for row in rows:
        digest.update(row.digest)
    progress.courses = [row.progress for row in rows]
    return Evaluation(progress, next_change, digest.digest(), [row.raw for row in rows])


class Row(NamedTuple):
    """A course's row, its bytes, and their digest."""

    progress: CourseProgress
    raw: msgspec.Raw
    digest: bytes


def _course(standing: Standing, course: Course) -> Row:
    """Kept beside the course's marks, with which it is forgotten."""
    known = standing.kept[course.id]
    kept: Row | None = known.get("row")
    if kept is not None:
        return kept
    marks = standing.marks[course.id]
    cell = standing.learner.find("course:" + course.id, CourseCell)
    row = CourseProgress(
        course_id=course.id,
        credited_seconds=marks.seconds,
        study_points=money(marks.study),
        assignment_points=money(marks.assignments),
        interaction_points=money(marks.interaction),
        works_points=money(marks.works),
        process_points=money(marks.process),
        exam_points=money(marks.exam),
        total_points=money(marks.total),
        gate_points=money(marks.gate_points),
        gate_met=marks.gate_met,
        exam_before_gate=marks.exam_before_gate,
        passed=marks.passed,
        credits=money(marks.credits),
        last_active_at=instant_or_none(cell.last_act if cell else None),
        explanation=explanation(standing.mode_name, standing.mode, course, marks),
    )
    raw = _encode(row)
    kept = known["row"] = Row(row, msgspec.Raw(raw), hashlib.blake2b(raw, digest_size=16).digest())
    return kept


def day_progress(programme: Programme, learner: Learner, day: str) -> DayProgress:
    """A local day of the learner: credited seconds on any course after overlap and daily cap, and whether there was an act."""
    cell = learner.find("day:" + day, Day)
    seconds = sum(learner.credit_of(day).values())
    return DayProgress(programme.id, learner.learner_id, day, seconds, cell is not None and cell.first_act is not None)
