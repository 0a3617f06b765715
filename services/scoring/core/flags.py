"""Flags: which are open at a moment, when that changes by itself (RULES, "Needs attention").

A `Candidate` is a flag whose condition holds by all facts; from its instants alone follow whether it is open, how severe
it is, who owns it, and every moment at which one of these changes. So nothing is scanned for: the next change is the
smallest of a few numbers. What the log says of flags that came and went is in `attention`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from schemas.programme import Course, Programme, ThresholdsMs
from schemas.progress import Flag, instant
from services.scoring.core.behind import Behind
from services.scoring.core.facts import Stamp
from services.scoring.core.result import Standing
from services.scoring.core.state import Cases, CourseCell, FollowUps, Learner


class Candidate(NamedTuple):
    """`warning_at` and `escalation_at` are None where the severity is `severity` whatever the time.

    Follow-ups count from `since` on.
    """

    kind: str
    ref: str
    raised_at: int
    since: int
    warning_at: int | None
    escalation_at: int | None
    severity: str = "notice"

    def severity_at(self, now: int) -> str:
        if self.escalation_at is not None and now >= self.escalation_at:
            return "escalation"
        if self.warning_at is not None and now >= self.warning_at:
            return "warning"
        return self.severity


def open_flags(standing: Standing, now: int) -> tuple[list[Flag], int | None]:
    """The flags open at `now`, by kind and ref, and the next moment at which time alone changes them or their result.

    That moment may be earlier than a real change, never later; None: nothing changes by itself any more.
    """
    programme = standing.programme
    moments: list[int] = []
    flags: list[Flag] = []
    result = standing.result(now)
    if result == "in_progress":
        moments.append(programme.results_final_ms)
    if not standing.withdrawn:
        if result == "in_progress" and now < programme.ends_ms:
            moments += (programme.opens_ms, programme.ends_ms)
            for candidate in _candidates(standing, now, moments):
                flag = _look(standing, candidate, now, moments)
                if now >= programme.opens_ms and flag is not None:
                    flags.append(flag)
        for candidate in _suspicions(standing):
            flag = _look(standing, candidate, now, moments)
            if flag is not None:
                flags.append(flag)
        flags.sort(key=lambda flag: (flag.kind, flag.ref))
    return flags, min((moment for moment in moments if moment > now), default=None)


def _look(standing: Standing, candidate: Candidate, now: int, moments: list[int]) -> Flag | None:
    """The candidate as a flag if it has been raised by `now`; adds the moments at which it changes."""
    programme = standing.programme
    moments.append(candidate.raised_at)
    if now < candidate.raised_at:
        return None
    for moment in (candidate.warning_at, candidate.escalation_at):
        if moment is not None:
            moments.append(moment)
    kind, ref, raised_at, severity = candidate.kind, candidate.ref, candidate.raised_at, candidate.severity_at(now)
    follow_ups = follow_ups_of(standing.learner, candidate)
    if not follow_ups:
        return Flag(kind, ref, severity, instant(raised_at), owner_at(programme, raised_at, now, moments))
    last, outcome = max(follow_ups)
    owner = owner_at(programme, max(raised_at, last[0]), now, moments)
    return Flag(kind, ref, severity, instant(raised_at), owner, len(follow_ups), instant(last[0]), outcome)


def owner_at(programme: Programme, heard: int, now: int, moments: list[int]) -> str:
    """Who owns a flag that was raised, or last followed up, at `heard`."""
    rules = programme.attention
    if rules.county_after_ms is None or rules.city_after_ms is None:
        return "school"
    county, city = heard + rules.county_after_ms, heard + rules.city_after_ms
    moments += (county, city)
    return "city" if now >= city else "county" if now >= county else "school"


def follow_ups_of(learner: Learner, candidate: Candidate) -> list[tuple[Stamp, str]]:
    """(stamp, outcome) of the flag's follow-ups: of its kind, with its ref or none, from `since` on."""
    cell = learner.find("follow", FollowUps)
    if cell is None:
        return []
    return [
        (stamp, outcome)
        for stamp, kind, ref, outcome in cell.facts
        if kind == candidate.kind and ref in ("", candidate.ref) and stamp[0] >= candidate.since
    ]


# -- conditions -------------------------------------------------------------------------------------------------------


def _steps(kind: str, ref: str, base: int, steps: ThresholdsMs) -> Candidate:
    return Candidate(kind, ref, base + steps.notice_ms, base, base + steps.warning_ms, base + steps.escalation_ms)


def latest(*moments: int | None) -> int:
    return max(moment for moment in moments if moment is not None)


def counts_time(standing: Standing) -> bool:
    """(a) of the table: study earns something in the learner's mode."""
    mode = standing.mode
    return not standing.programme.credits_on_pass or (mode is not None and mode.study is not None)


def _candidates(standing: Standing, now: int, moments: list[int]) -> list[Candidate]:
    """All but plagiarism; `behind` adds to `moments` when to look again."""
    programme, summary = standing.programme, standing.summary
    rules = programme.attention
    found: list[Candidate] = []
    if rules.not_registered and summary.enrolled is not None and summary.registered is None:
        base = latest(summary.enrolled + rules.within_ms, standing.reinstated)
        found.append(_steps("not_registered", "", base, rules.not_registered))
    if counts_time(standing):
        if summary.last_act is not None and summary.first_start is not None:
            if rules.inactive:
                base = latest(summary.last_act, programme.starts_ms, standing.reinstated)
                found.append(_steps("inactive", "", base, rules.inactive))
        elif rules.not_started and summary.registered is not None:
            base = latest(summary.registered, programme.starts_ms, standing.reinstated)
            found.append(_steps("not_started", "", base, rules.not_started))
        if rules.behind and summary.registered is not None and standing.courses:
            flag, again = Behind(standing).look(now)
            if flag is not None:
                raised_at, severity = flag
                found.append(Candidate("behind", "", raised_at, raised_at, None, None, severity))
            if again is not None:
                moments.append(again)
    for course in standing.courses:
        kept = standing.kept[course.id]
        if "candidates" not in kept:
            kept["candidates"] = _of_course(standing, course)
        found += kept["candidates"]
    return found


def _of_course(standing: Standing, course: Course) -> list[Candidate]:
    """What a selected course asks for until it is passed: assignments, then its exam."""
    rules, mode, marks = standing.programme.attention, standing.mode, standing.marks[course.id]
    found: list[Candidate] = []
    if mode is None or marks.passed:
        return found
    if rules.assignment_overdue and mode.assignments and course.id in rules.overdue_ms and marks.submitted < mode.assignments.count:
        base = latest(rules.overdue_ms[course.id], selected_at(standing, course.id), standing.reinstated)
        found.append(_steps("assignment_overdue", course.id, base, rules.assignment_overdue))
    if rules.exam_due and mode.exam and marks.gate_met and marks.attempts == 0:
        ends, steps = standing.programme.ends_ms, rules.exam_due
        raised_at = latest(ends - steps.notice_ms, standing.reinstated)
        found.append(Candidate("exam_due", course.id, raised_at, raised_at, ends - steps.warning_ms, ends - steps.escalation_ms))
    return found


def selected_at(standing: Standing, course_id: str) -> int | None:
    """The first counting selection after the last counting drop; None where every course is everybody's."""
    if standing.programme.select_all:
        return None
    cell = standing.learner.find("course:" + course_id, CourseCell)
    return min(cell.selected)[0] if cell and cell.selected else None


def suspected_at(rulings: set[tuple[Stamp, str]]) -> int | None:
    """When the case's present suspicion began: its first `suspected` since the last other ruling; None: no suspicion."""
    others = [ruling for ruling in rulings if ruling[1] != "suspected"]
    last_other = max(others, default=None)
    since = [stamp[0] for stamp, verdict in rulings if verdict == "suspected" and (last_other is None or stamp > last_other[0])]
    return min(since, default=None)


def _suspicions(standing: Standing) -> Iterator[Candidate]:
    if not standing.programme.attention.plagiarism_suspected:
        return
    cases = standing.learner.find("cases", Cases)
    for case_id, rulings in cases.rulings.items() if cases else ():
        raised_at = suspected_at(rulings)
        if raised_at is not None:
            yield Candidate("plagiarism_suspected", case_id, raised_at, raised_at, None, None, "warning")
