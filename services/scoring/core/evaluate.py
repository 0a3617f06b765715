"""From a learner's cells and a moment to what is published about them."""

from __future__ import annotations

from typing import NamedTuple

from schemas.programme import Course, Programme
from schemas.progress import CourseProgress, DayProgress, LearnerProgress, instant_or_none, money
from services.scoring.core.explain import explanation
from services.scoring.core.flags import open_flags
from services.scoring.core.result import Standing
from services.scoring.core.state import CourseCell, Day, Learner


class Evaluation(NamedTuple):
    """`progress` has version and updated_at blank. `next_change_ms`: the next moment after now at which time alone may
    change it; None: never."""

    progress: LearnerProgress
    next_change_ms: int | None


def evaluate(programme: Programme, learner: Learner, now_ms: int) -> Evaluation:
    """The learner's totals, courses and open flags at a moment, by all facts in the cells."""
    standing = Standing(programme, learner)
    flags, next_change = open_flags(standing, now_ms)
    summary = standing.summary
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
        courses_passed=sum(marks.passed for marks in standing.marks.values()),
        credited_seconds=standing.seconds,
        study_hours=money(programme.study_hours(standing.seconds)),
        credits=money(standing.credits),
        result=standing.result(now_ms),
        rules_version=programme.rules_version,
        courses=[_course(standing, course) for course in standing.courses],
        flags=flags,
    )
    return Evaluation(progress, next_change)


def _course(standing: Standing, course: Course) -> CourseProgress:
    """The course's row; kept beside its marks in the learner's cache, with which it is forgotten."""
    known: dict[str, object] = standing.learner.cache[course.id]
    row = known.get("row")
    if isinstance(row, CourseProgress):
        return row
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
    known["row"] = row
    return row


def day_progress(programme: Programme, learner: Learner, day: str) -> DayProgress:
    """A local day of the learner: credited seconds on any course after overlap and daily cap, and whether there was an act."""
    cell = learner.find("day:" + day, Day)
    seconds = sum(learner.credit_of(day).values())
    return DayProgress(programme.id, learner.learner_id, day, seconds, cell is not None and cell.first_act is not None)
