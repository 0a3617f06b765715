"""The account of a learner: each rule, the facts that counted and those that did not and why, the points; and that it adds up.

The totals come from the very core that scores (`fold`, `evaluate`); the fates of the facts are found beside it, fact by fact, and both are
put against each other. An account whose parts do not add up to the published totals is never given out (AccountError).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from schemas.programme import Mode, Programme
from schemas.progress import Flag, LearnerProgress, cents
from services.scoring.core.account.course import bare, course_account, same
from services.scoring.core.account.learner import (
    MEMBERSHIP,
    STATUS,
    Member,
    acts_of,
    case_lines,
    conditions,
    flag_account,
    follow_up_lines,
)
from services.scoring.core.account.marks import opened
from services.scoring.core.account.model import Account, AccountError, Condition, CourseAccount, FlagAccount, Item, Line, Record, no
from services.scoring.core.account.study import seconds_left, study_lines
from services.scoring.core.account.works import WorksOf
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner

MOST = 200


class UnknownCourse(LookupError):
    """A course that neither the rules nor any fact of the learner know."""


def account(
    programme: Programme, learner_id: str, records: Iterable[Record], now_ms: int, course_id: str | None = None, most: int = MOST
) -> Account:
    """The account of one learner at `now_ms` by these facts; with `course_id` only that course's part (the rest of it is whole).

    An item lists at most `most` facts one by one; the others are summed up in its `rest`. Raises UnknownCourse, AccountError.
    """
    return _Accountant(programme, learner_id, list(records), now_ms, most).account(course_id)


class _Accountant:
    """The facts sorted by kind and course, and what the scoring core says of them."""

    def __init__(self, programme: Programme, learner_id: str, given: list[Record], now_ms: int, most: int) -> None:
        self.programme, self.now, self.most = programme, now_ms, most
        self.records = _once(given)
        self.repeated = len(given) - len(self.records)
        learner = Learner.new(learner_id)
        fold(programme, learner, [fact_of(record.event) for record in self.records])
        self.progress: LearnerProgress = evaluate(programme, learner, now_ms).progress
        self.mode: Mode | None = programme.modes.get(self.progress.mode)
        self.rows = {row.course_id: row for row in self.progress.courses}

        self.of: dict[tuple[str, str], list[Record]] = defaultdict(list)
        for record in self.records:
            self.of[record.kind, getattr(record.data, "course_id", None) or ""].append(record)
        self.study, self.credit = study_lines(programme, self.kind("study.recorded"))
        self.works = WorksOf(programme, self.kind("work.published"), self.kind("work.reviewed"), self.kind("work.removed"))
        self.seconds_left = seconds_left(programme, self.credit, now_ms)
        self.member = Member(programme, self.records)

    def kind(self, *kinds: str) -> list[Record]:
        """The facts of these kinds, on whichever course."""
        return [record for (kind, _), records in self.of.items() if kind in kinds for record in records]

    def account(self, wanted: str | None) -> Account:
        programme, progress = self.programme, self.progress
        spoken = {course for _, course in self.of if course} | {course for course, _ in self.works.places if course}
        others = [course for course in programme.courses if course not in self.rows and course in spoken]
        unknown = sorted(course for course in spoken if course not in programme.courses)
        if wanted is not None and wanted not in programme.courses and wanted not in spoken:
            raise UnknownCourse(wanted)
        courses = [self._course(course_id) for course_id in (*self.rows, *others, *unknown)]
        if wanted is not None and wanted in programme.courses and wanted not in spoken | self.rows.keys():
            courses.append(self._course(wanted))
        selected = [course for course in courses if course.selected]

        cases = case_lines(self.kind("plagiarism.ruled"))
        seconds = sum(course.seconds for course in selected)
        accepted = self._accepted()
        passed = conditions(programme.passed, programme, selected, seconds, accepted, cases)
        excellent = conditions(programme.excellent, programme, selected, seconds, accepted, cases) if programme.excellent else ()
        self._check(selected, seconds, passed, excellent)
        flags = tuple(flag_account(programme, flag, self._flag_facts(flag), self.now) for flag in progress.flags)
        return Account(
            programme=programme.id,
            learner_id=progress.learner_id,
            rules_version=programme.rules_version,
            now_ms=self.now,
            facts=len(self.records),
            repeated=self.repeated,
            mode=self.member.mode(),
            class_=self.member.class_(),
            withdrawn=progress.withdrawn,
            result=progress.result,
            passed=passed,
            excellent=excellent,
            possible=self._possible(selected, passed),
            results_final_ms=programme.results_final_ms,
            seconds=seconds,
            credits=sum(course.credits for course in selected),
            acts=acts_of(self.records),
            items=tuple(self._outside(flags, cases)),
            courses=tuple(course for course in courses if wanted in (None, course.course_id)),
            flags=flags,
        )

    def _course(self, course_id: str) -> CourseAccount:
        def of(kind: str) -> list[Record]:
            return self.of.get((kind, course_id), [])

        row, study = self.rows.get(course_id), self.study.get(course_id, ())
        return course_account(self.programme, self.mode, course_id, row, of, study, self.works, self.now, self.seconds_left, self.most)

    def _outside(self, flags: Sequence[FlagAccount], cases: list[Line]) -> Iterable[Item]:
        """What facts outside courses are about."""
        wanted = {c.accepted_works[0] for c in (self.programme.passed, self.programme.excellent) if c and c.accepted_works}
        yield bare("membership", self.member.lines(), self.most)
        activities = {activity for _, activity in self.works.places if activity} | wanted
        for activity in sorted(activities):
            lines = self.works.activity_lines(activity, activity in wanted)
            yield bare(f"activity:{activity}", lines, self.most)
        loose = self.works.loose_lines()
        if loose:
            yield bare("works", loose, self.most)
        if cases:
            yield bare("plagiarism", cases, self.most)
        follow_ups = follow_up_lines(self.kind("follow_up.recorded"), flags)
        if follow_ups:
            yield bare("follow_ups", follow_ups, self.most)
        told = {*MEMBERSHIP, *STATUS, "plagiarism.ruled", "follow_up.recorded", "work.published", "work.reviewed", "work.removed"}
        rest = [record for (kind, course), records in self.of.items() if not course and kind not in told for record in records]
        if rest:
            yield bare("other", [no(record, "earns_nothing") for record in rest], self.most)

    def _accepted(self) -> dict[str, int]:
        activities = {activity for _, activity in self.works.places if activity}
        found = {}
        for activity in activities:
            lines = self.works.activity_lines(activity, True)
            found[activity] = sum(line.counts == "yes" and line.record.kind == "work.published" for line in lines)
        return found

    def _possible(self, courses: Sequence[CourseAccount], passed: Sequence[Condition]) -> bool:
        """Whether what can still happen could make the conditions hold, with the courses as they are selected now.

        A confirmed case of plagiarism is left aside: it can be cleared at any time.
        """
        programme, reach = self.programme, True
        for condition in passed:
            if condition.met or condition.kind == "no_confirmed_plagiarism":
                continue
            if self.now >= programme.results_final_ms:
                reach = False
            elif condition.kind == "every_selected":
                reach &= all(c.passed or (c.enough is not None and c.enough.possible) for c in courses)
                reach &= bool(courses) or self.now < programme.ends_ms
            elif condition.kind == "credited_seconds":
                most = condition.have + self.seconds_left
                if programme.cap_at_course_hours:
                    most = min(most, sum(programme.courses[c.course_id].seconds for c in courses))
                reach &= most >= condition.need
            elif condition.kind == "sum_of_totals":
                reach &= sum(c.enough.most if c.enough else c.total for c in courses) >= condition.need
            elif condition.kind == "accepted_works" and self.now >= programme.ends_ms:
                lines = self.works.activity_lines(condition.of, True)
                waiting = sum(line.why[0].code in ("not_accepted", "returned") for line in lines if line.record.kind == "work.published")
                reach &= condition.have + waiting >= condition.need
        return reach

    def _flag_facts(self, flag: Flag) -> dict[str, int | str | None]:
        """What an open flag's condition looked at; instants in ms under names that end in `_at`."""
        programme, member = self.programme, self.member
        facts: dict[str, int | str | None] = {"reinstated_at": member.reinstated.time_ms if member.reinstated else None}
        if flag.kind == "not_registered":
            facts["enrolled_at"] = member.enrolled.time_ms if member.enrolled else None
        elif flag.kind == "not_started":
            facts["registered_at"] = member.registered.time_ms if member.registered else None
            facts["starts_at"] = programme.starts_ms
        elif flag.kind == "inactive":
            facts["last_active_at"] = acts_of(self.records)["last_active_at"]
        elif flag.kind == "behind":
            facts |= self._behind()
        elif flag.kind == "assignment_overdue":
            submitted = opened(programme, self.of.get(("assignment.submitted", flag.ref), []), [])
            facts["due_at"] = programme.attention.overdue_ms[flag.ref]
            facts["submitted"] = len({record.data.assignment_id for record in submitted})
            facts["count"] = self.mode.assignments.count if self.mode and self.mode.assignments else None
        elif flag.kind == "exam_due":
            facts["ends_at"] = programme.ends_ms
        return facts

    def _behind(self) -> dict[str, int | str | None]:
        """Credited and elapsed share at the latest midnight, percents of 1/100."""
        programme = self.programme
        index = max(n for n, midnight in enumerate(programme.midnights_ms) if midnight <= self.now)
        midnight, today = programme.midnights_ms[index], programme.midnight_days[index]
        needed = credited = 0
        for course_id in self.rows:
            length = programme.courses[course_id].seconds
            needed += length
            credited += min(length, sum(courses.get(course_id, 0) for day, courses in self.credit.items() if day < today))
        length_ms = programme.ends_ms - programme.starts_ms
        return {
            "midnight_at": midnight,
            "credited": credited,
            "needed": needed,
            "elapsed_percent": (midnight - programme.starts_ms) * 10_000 // length_ms,
            "credited_percent": credited * 10_000 // needed,
        }

    # -- does it add up?

    def _check(self, courses: Sequence[CourseAccount], seconds: int, passed: Sequence[Condition], excellent: Sequence[Condition]) -> None:
        progress, member = self.progress, self.member
        same("credited seconds", seconds, progress.credited_seconds)
        same("credits", sum(course.credits for course in courses), cents(progress.credits))
        same("mode", member.mode().value, progress.mode)
        same("class", member.class_().value, progress.class_id)
        same("withdrawn", member.withdrawn, progress.withdrawn)
        holds = all(condition.met for condition in passed)
        result = "in_progress" if self.now < self.programme.results_final_ms else "failed"
        if any(condition.kind == "no_confirmed_plagiarism" and not condition.met for condition in passed):
            result = "failed"
        elif holds:
            result = "excellent" if excellent and all(condition.met for condition in excellent) else "passed"
        same("result", result, progress.result)


def _once(records: list[Record]) -> list[Record]:
    """Each fact (source, id, content) once: the record that was accepted first."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        known = found.setdefault((record.event.source, record.event.id), [])
        for n, one in enumerate(known):
            if one.event.digest == record.event.digest:
                if _accepted_at(record) < _accepted_at(one):
                    known[n] = record
                break
        else:
            known.append(record)
    return [record for records in found.values() for record in records]


def _accepted_at(record: Record) -> tuple[int, int, int]:
    return record.event.ingested_at_ms, record.partition, record.offset


__all__ = ["MOST", "Account", "AccountError", "Record", "UnknownCourse", "account"]
