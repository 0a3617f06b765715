"""One learner's points in one course (RULES, "Points"), from the course's cells and its credited seconds.

Points and credits are ints of 1/100, scores of 1/10000; every product rounds half up to 1/100 on its own. `until` (ms) looks
only at facts up to then: what a fact later overwrote is not known any more, so the answer is a lower bound.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.programme import Course, Exam, Mode, Programme
from services.scoring.core.state import CourseCell, Learner, Posts, Works

SCORE_UNIT = 10_000


class Marks(NamedTuple):
    """Points by item, and the counts that they come from."""

    seconds: int
    study: int
    assignments: int
    interaction: int
    works: int
    process: int
    exam: int
    total: int
    gate_points: int
    gate_met: bool
    exam_before_gate: bool
    passed: bool
    credits: int
    submitted: int
    graded: int
    questions: int
    replies: int
    works_live: int
    attempts: int
    form: str
    best_score: int
    process_score: int | None


def times(points: int, score: int) -> int:
    """points x score, rounded half up to 1/100."""
    return (points * score + SCORE_UNIT // 2) // SCORE_UNIT


def form_of(exam: Exam, cell: CourseCell) -> str:
    """The form of exam that counts for the learner in this course."""
    if len(exam.forms) == 1:
        return exam.forms[0]
    return cell.chosen[1] if cell.chosen else "paper"


def attempts(exam: Exam, cell: CourseCell, until: int | None = None) -> list[tuple[int, int]]:
    """(sat_at, score) of the counting attempts of the learner's form, `until` then by the moment at which they were sat."""
    form = form_of(exam, cell)
    return [(sat, score) for _, of, score, sat in cell.exams.values() if of == form and (until is None or sat <= until)]


def live_works(works: Works, mode: Mode, course_id: str, until: int | None = None) -> int:
    """How many live works of the item's kinds are on the course: published, not removed, not returned by the latest review."""
    if mode.works is None:
        return 0
    count = 0
    for work_id, (stamp, kind, course, _) in works.published.items():
        if course != course_id or kind not in mode.works.kinds or work_id in works.removed:
            continue
        review = works.reviews.get(work_id)
        if review is not None and review[1] == "returned":
            continue
        count += until is None or (stamp[0] <= until and (review is None or review[0][0] <= until))
    return count


def credits_of(programme: Programme, course: Course, seconds: int, passed: bool) -> int:
    if programme.credits_on_pass:
        return course.credits if passed else 0
    return min(course.credits * seconds // course.seconds, course.credits)


_NO_CELL = CourseCell()
_NO_POSTS = Posts()
_NO_WORKS = Works()


def marks_of(programme: Programme, learner: Learner, mode: Mode | None, course: Course, seconds: int, until: int | None = None) -> Marks:
    """The learner's marks in a course; `seconds` are credited there, before the course's cap. `mode` None: nothing scores."""
    cell = learner.find("course:" + course.id, CourseCell) or _NO_CELL
    posts = learner.find("posts:" + course.id, Posts) or _NO_POSTS
    works = learner.find("works", Works) or _NO_WORKS
    if programme.cap_at_course_hours:
        seconds = min(seconds, course.seconds)

    kinds = [kind for stamp, kind in posts.live.values() if until is None or stamp[0] <= until]
    questions = kinds.count("question")
    replies = len(kinds) - questions
    scores = [score for stamp, score in cell.grades.values() if until is None or stamp[0] <= until]
    submitted = len(cell.submitted) if until is None else sum(at <= until for at in cell.submitted.values())
    study = assignments = interaction = works_points = process = exam = gate_points = live = tried = best = 0
    process_score: int | None = None
    gate_met, before_gate, passed, form = True, False, False, ""

    if mode is not None:
        if mode.study is not None:
            item = mode.study
            if seconds >= item.seconds:
                study = item.points
            elif not item.threshold:
                study = min((2 * item.points * seconds + item.seconds) // (2 * item.seconds), item.points)
        if mode.assignments is not None:
            counting = sorted(scores, reverse=True)[: mode.assignments.count]
            assignments = sum(times(mode.assignments.points_each, score) for score in counting)
        if mode.interaction is not None:
            counted = min(questions, mode.interaction.questions) + min(replies, mode.interaction.replies)
            interaction = counted * mode.interaction.points_each
        if mode.works is not None:
            live = live_works(works, mode, course.id, until)
            works_points = min(live, mode.works.count) * mode.works.points_each
        if mode.process is not None and cell.process and (until is None or cell.process[0][0] <= until):
            process_score = cell.process[1]
            process = times(mode.process.points, process_score)
        if mode.exam is not None:
            form = form_of(mode.exam, cell)
            sat = attempts(mode.exam, cell, until)
            tried = len(sat)
            best = max((score for _, score in sat), default=0)
            gate = mode.exam.gate_items
            if gate is not None:
                gate_points = (
                    study * ("study" in gate)
                    + assignments * ("assignments" in gate)
                    + interaction * ("interaction" in gate)
                    + works_points * ("works" in gate)
                    + process * ("process" in gate)
                )
                gate_met = gate_points >= mode.exam.gate_at_least
            if gate_met:
                exam = times(mode.exam.points, best)
            before_gate = tried > 0 and not gate_met
    total = study + assignments + interaction + works_points + process + exam
    if mode is not None:
        passed = total >= mode.pass_at
    return Marks(
        seconds,
        study,
        assignments,
        interaction,
        works_points,
        process,
        exam,
        total,
        gate_points,
        gate_met,
        before_gate,
        passed,
        credits_of(programme, course, seconds, passed),
        submitted,
        len(scores),
        questions,
        replies,
        live,
        tried,
        form,
        best,
        process_score,
    )
