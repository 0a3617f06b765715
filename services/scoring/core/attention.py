"""What is logged and reminded of when the open flags of a learner are no longer those last published.

Published lines stay. A flag whose `raised_at` moved ends and is raised again. One that ends was `retracted` where the facts
known now, as far as they had happened by its `raised_at`, say that it was not open then; else it was `cleared`. Where a
later fact overwrote what was known then (a regrade), the flag gets the benefit of the doubt: cleared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from schemas.programme import Programme, ThresholdsMs
from schemas.progress import SEVERITIES, AttentionChange, Flag, FlagBrief, LearnerProgress, Reminder, instant, instant_ms
from services.scoring.core.behind import Behind
from services.scoring.core.flags import counts_time, latest, selected_at
from services.scoring.core.marks import attempts
from services.scoring.core.result import Standing, standing_of
from services.scoring.core.state import Cases, CourseCell, Day, Learner, Posts, Works


def changes(programme: Programme, learner: Learner, before: list[Flag], progress: LearnerProgress, now_ms: int) -> list[AttentionChange]:
    """The log's new lines, from the flags last published to those of `progress`; the unit ids are the engine's to fill in."""
    if before == progress.flags:
        return []
    old = {(flag.kind, flag.ref): flag for flag in before}
    new = {(flag.kind, flag.ref): flag for flag in progress.flags}
    lines: list[AttentionChange] = []

    def log(flag: Flag, change: str) -> None:
        lines.append(
            AttentionChange(
                programme=programme.id,
                learner_id=learner.learner_id,
                class_id=progress.class_id,
                mode=progress.mode,
                kind=flag.kind,
                ref=flag.ref,
                change=change,
                raised_at=flag.raised_at,
                severity=flag.severity,
                owner_level=flag.owner_level,
                changed_at=instant(now_ms),
            )
        )

    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was is not None and (now is None or now.raised_at != was.raised_at):
            log(was, "cleared" if was_open(programme, learner, was) else "retracted")
            was = None
        if now is None:
            continue
        if was is None:
            log(now, "raised")
            continue
        if now.severity != was.severity:
            log(now, "severity")
        if now.owner_level != was.owner_level:
            log(now, "owner")
    return lines


def reminder_of(programme: Programme, before: list[Flag], progress: LearnerProgress, now_ms: int) -> Reminder | None:
    """The reminder that becomes due because a flag was raised or rose in severity; of several the most severe names it."""
    if programme.reminders is None or progress.withdrawn or progress.result != "in_progress":
        return None
    known = {(flag.kind, flag.ref, flag.raised_at): SEVERITIES.index(flag.severity) for flag in before}
    risen = [flag for flag in progress.flags if SEVERITIES.index(flag.severity) > known.get((flag.kind, flag.ref, flag.raised_at), -1)]
    if not risen:
        return None
    cause = min(risen, key=lambda flag: (-SEVERITIES.index(flag.severity), flag.kind, flag.ref))
    return Reminder(
        reminder_id=reminder_id(programme.id, progress.learner_id, cause),
        programme=programme.id,
        learner_id=progress.learner_id,
        kind=cause.kind,
        ref=cause.ref,
        severity=cause.severity,
        raised_at=cause.raised_at,
        flags=[FlagBrief(flag.kind, flag.ref, flag.severity, flag.raised_at) for flag in progress.flags],
        due_at=instant(now_ms),
    )


def reminder_id(programme_id: str, learner_id: str, flag: Flag) -> str:
    """The same flag at the same severity is the same reminder, whoever makes it due."""
    parts = (programme_id, learner_id, flag.kind, flag.ref, flag.raised_at, flag.severity)
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


# -- was it open then? ------------------------------------------------------------------------------------------------


def was_open(programme: Programme, learner: Learner, flag: Flag) -> bool:
    """Whether a flag that was published was open at its `raised_at` by the facts now; True where nothing says otherwise."""
    raised_at = instant_ms(flag.raised_at)
    then = Standing(programme, learner, until=raised_at)
    if _withdrawn_at(then, raised_at):
        return False
    if flag.kind == "plagiarism_suspected":
        return _suspected_at(learner, flag.ref, raised_at)
    if then.plagiarised or not _WAS_OPEN[flag.kind](then, flag.ref, raised_at):
        return False
    return then.judged(raised_at) is None  # last, because it may take every course's marks


def _withdrawn_at(then: Standing, moment: int) -> bool:
    withdrawn, reinstated = then.summary.withdrawn, then.summary.reinstated
    if withdrawn is None or withdrawn[0] > moment:
        return False
    return reinstated is None or reinstated < withdrawn or reinstated[0] > moment


def _suspected_at(learner: Learner, case_id: str, moment: int) -> bool:
    cases = learner.find("cases", Cases)
    rulings = cases.rulings.get(case_id, set()) if cases else set()
    known = [ruling for ruling in rulings if ruling[0][0] <= moment]
    return bool(known) and max(known)[1] == "suspected"


def _by(moment: int, happened: int | None) -> bool:
    return happened is not None and happened <= moment


def _back(then: Standing, moment: int) -> int | None:
    """The latest reinstatement, if it had happened."""
    return then.reinstated if _by(moment, then.reinstated) else None


def _mode_had_changed(then: Standing, moment: int) -> bool:
    return then.summary.mode is None or then.summary.mode[0][0] <= moment


def _raised_by(steps: ThresholdsMs | None, base: int, moment: int) -> bool:
    return steps is not None and base + steps.notice_ms <= moment


def _not_registered(then: Standing, ref: str, moment: int) -> bool:
    rules, enrolled = then.programme.attention, then.summary.enrolled
    if _by(moment, then.summary.registered) or enrolled is None:
        return False
    return _raised_by(rules.not_registered, latest(enrolled + rules.within_ms, _back(then, moment)), moment)


def _not_started(then: Standing, ref: str, moment: int) -> bool:
    registered = then.summary.registered
    if _by(moment, then.summary.first_start) or registered is None or not _by(moment, registered):
        return False
    if not counts_time(then) and _mode_had_changed(then, moment):
        return False
    base = latest(registered, then.programme.starts_ms, _back(then, moment))
    return _raised_by(then.programme.attention.not_started, base, moment)


def _inactive(then: Standing, ref: str, moment: int) -> bool:
    """An act between the base that the flag had and its raising says no; days know their first and last act."""
    programme, steps = then.programme, then.programme.attention.inactive
    if steps is None or not _by(moment, then.summary.first_start):
        return False
    if not counts_time(then) and _mode_had_changed(then, moment):
        return False
    base = moment - steps.notice_ms
    day, last = programme.day_of(base), programme.day_of(moment)
    while day <= last:
        cell = then.learner.find("day:" + day, Day)
        if cell and any(act is not None and base < act <= moment for act in (cell.first_act, cell.last_act)):
            return False
        day = programme.day_after(day)
    return _raised_by(steps, latest(programme.starts_ms, _back(then, moment)), moment)


def _behind(then: Standing, ref: str, moment: int) -> bool:
    """By today's selection, as the flag itself is judged; a day's credited seconds are known exactly."""
    programme = then.programme
    if not then.courses or not _by(moment, then.summary.registered) or moment not in programme.midnights_ms:
        return False
    if not counts_time(then) and _mode_had_changed(then, moment):
        return False
    return Behind(then, until=moment).level_at(programme.midnights_ms.index(moment)) is not None


def _course_was_due(then: Standing, course_id: str, moment: int) -> bool:
    """Selected and not passed, as far as is known."""
    if not then.programme.select_all:
        cell = then.learner.find("course:" + course_id, CourseCell)
        selected = selected_at(then, course_id)
        dropped = cell.dropped[0] if cell and cell.dropped else None
        if not _by(moment, selected) and (dropped is None or dropped <= moment):
            return False
    return not any(course.id == course_id for course in then.courses) or not then.marks[course_id].passed


def _assignment_overdue(then: Standing, ref: str, moment: int) -> bool:
    rules, mode = then.programme.attention, then.mode
    if ref not in rules.overdue_ms or not _course_was_due(then, ref, moment):
        return False
    if mode is None or mode.assignments is None:
        return not _mode_had_changed(then, moment)
    cell = then.learner.find("course:" + ref, CourseCell)
    if cell and sum(at <= moment for at in cell.submitted.values()) >= mode.assignments.count:
        return False
    selected = selected_at(then, ref)
    base = latest(rules.overdue_ms[ref], selected if _by(moment, selected) else None, _back(then, moment))
    return _raised_by(rules.assignment_overdue, base, moment)


def _exam_due(then: Standing, ref: str, moment: int) -> bool:
    mode, steps = then.mode, then.programme.attention.exam_due
    if steps is None or not _course_was_due(then, ref, moment):
        return False
    if mode is None or mode.exam is None:
        return not _mode_had_changed(then, moment)
    cell = then.learner.find("course:" + ref, CourseCell)
    if cell and attempts(mode.exam, cell, moment):
        return False
    now = standing_of(then.programme, then.learner).marks.get(ref)
    if now is not None and not now.gate_met and _last_mark(then.learner, ref) <= moment:
        return False
    return latest(then.programme.ends_ms - steps.notice_ms, _back(then, moment)) <= moment


def _last_mark(learner: Learner, course_id: str) -> int:
    """The latest moment at which something that can lower a gate was said of the course."""
    moments = [0]
    cell = learner.find("course:" + course_id, CourseCell)
    if cell:
        moments += [stamp[0] for stamp, _ in cell.grades.values()]
        moments += [cell.process[0][0]] if cell.process else []
    posts = learner.find("posts:" + course_id, Posts)
    moments += posts.removed.values() if posts else []
    works = learner.find("works", Works)
    if works:
        moments += [*works.removed.values(), *(stamp[0] for stamp, _ in works.reviews.values())]
    return max(moments)


_WAS_OPEN: dict[str, Callable[[Standing, str, int], bool]] = {
    "not_registered": _not_registered,
    "not_started": _not_started,
    "inactive": _inactive,
    "behind": _behind,
    "assignment_overdue": _assignment_overdue,
    "exam_due": _exam_due,
}
