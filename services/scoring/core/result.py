"""A learner as a whole: mode, selected courses and their marks, totals and result (RULES, "Points", last lines)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.programme import Course, Criteria, Mode, Programme
from services.scoring.core.marks import Marks, marks_of
from services.scoring.core.state import Cases, CourseCell, Credit, Learner, Summary, Works

_NOBODY = Summary()


class Standing:
    """What the facts (up to `until` ms, where given) say about a learner, apart from now.

    `earned` is None, `passed` or `excellent` by the conditions alone; `result` adds plagiarism and the calendar.
    `needed` are the selected courses' hours in seconds. `kept` has, by
    selected course, what others derive from its marks and cells, `lag` what `behind` does: they are forgotten with those.
    """

    __slots__ = (
        "courses",
        "credits",
        "earned",
        "kept",
        "lag",
        "learner",
        "marks",
        "mode",
        "mode_name",
        "needed",
        "passed",
        "plagiarised",
        "programme",
        "reinstated",
        "seconds",
        "summary",
        "withdrawn",
    )

    def __init__(self, programme: Programme, learner: Learner, until: int | None = None) -> None:
        self.programme = programme
        self.learner = learner
        self.lag: Any = None
        self._look_at_summary()
        self._select()
        self.plagiarised = programme.plagiarism_fails and has_confirmed_case(learner, until)
        self.kept: dict[str, dict[str, Any]] = {}
        self.marks: dict[str, Marks] = {}
        if until is None:
            totals = learner.totals()
            for course in self.courses:
                self._mark(course, totals.get(course.id, 0))
            self._sum_up()
        else:
            self.marks = _Then(programme, learner, self.mode, until)

    def _look_at_summary(self) -> None:
        summary = self.summary = self.learner.find("sum", Summary) or _NOBODY
        self.mode_name = mode_of(self.programme, summary)
        self.mode: Mode | None = self.programme.modes.get(self.mode_name)
        self.reinstated: int | None = summary.reinstated[0] if summary.reinstated else None
        self.withdrawn = is_withdrawn(summary)

    def _select(self) -> None:
        programme, learner = self.programme, self.learner
        self.courses: list[Course] = [course for course in programme.courses.values() if is_selected(programme, learner, course.id)]
        self.needed = sum(course.seconds for course in self.courses)

    def _mark(self, course: Course, seconds: int) -> None:
        self.marks[course.id] = marks_of(self.programme, self.learner, self.mode, course, seconds)
        self.kept[course.id] = {"seconds": seconds}

    def _sum_up(self) -> None:
        seconds = credits = passed = 0
        for marks in self.marks.values():
            seconds += marks.seconds
            credits += marks.credits
            passed += marks.passed
        self.seconds, self.credits, self.passed = seconds, credits, passed
        self.earned = self.judged()

    def judged(self, until: int | None = None) -> str | None:
        """`passed` or `excellent` by what is earned, None where it is not enough."""
        if not self._holds(self.programme.passed, until):
            return None
        better = self.programme.excellent is not None and self._holds(self.programme.excellent, until)
        return "excellent" if better else "passed"

    def refresh(self, names: set[str], credit_from: str | None) -> None:
        """Work out anew what depends on the cells of these names; credited seconds have changed from that local day on."""
        programme, learner = self.programme, self.learner
        everything = "works" in names
        touched = {name.partition(":")[2] for name in names if name.startswith(("course:", "posts:"))}
        if "sum" in names:
            before = (self.mode_name, self.reinstated)
            self._look_at_summary()
            everything = everything or before != (self.mode_name, self.reinstated)
        if "cases" in names:
            self.plagiarised = programme.plagiarism_fails and has_confirmed_case(learner)
        if not programme.select_all and any(is_selected(programme, learner, id) != (id in self.marks) for id in touched):
            self._select()
            selected = [course.id for course in self.courses]
            self.marks = {id: self.marks[id] for id in selected if id in self.marks}
            everything, self.lag = True, None
        if self.lag is not None and credit_from is not None and credit_from < self.lag.day:
            self.lag = None
        totals = learner.totals()
        for course in self.courses:
            seconds = totals.get(course.id, 0)
            if everything or course.id in touched or seconds != self.kept[course.id]["seconds"]:
                self._mark(course, seconds)
        self._sum_up()

    def result(self, now: int) -> str:
        if self.plagiarised:
            return "failed"
        if self.earned:
            return self.earned
        return "failed" if now >= self.programme.results_final_ms else "in_progress"

    def _holds(self, criteria: Criteria, until: int | None) -> bool:
        marks, courses = self.marks, self.courses
        if criteria.every_selected and not (courses and all(marks[course.id].passed for course in courses)):
            return False
        if criteria.credited_seconds is not None and sum(marks[course.id].seconds for course in courses) < criteria.credited_seconds:
            return False
        if criteria.accepted_works is not None:
            activity, count = criteria.accepted_works
            if accepted_works(self.learner, activity, until) < count:
                return False
        if criteria.mean_total is not None:
            total = sum(marks[course.id].total for course in courses)
            if not courses or total < criteria.mean_total * len(courses):
                return False
        return True


class _Then(dict[str, Marks]):
    """Marks of the selected courses by what had happened until a moment, each worked out when it is asked for."""

    def __init__(self, programme: Programme, learner: Learner, mode: Mode | None, until: int) -> None:
        super().__init__()
        self._programme, self._learner, self._mode, self._until = programme, learner, mode, until  # not the standing: that is a cycle
        self._seconds: dict[str, int] | None = None

    def __missing__(self, course_id: str) -> Marks:
        programme, learner, until = self._programme, self._learner, self._until
        if self._seconds is None:
            self._seconds = seconds_before(programme, learner, programme.day_of(until))
        course, seconds = programme.courses[course_id], self._seconds.get(course_id, 0)
        found = self[course_id] = marks_of(programme, learner, self._mode, course, seconds, until)
        return found


def standing_of(programme: Programme, learner: Learner) -> Standing:
    """The learner's standing by all facts. It is kept with the learner: only what depends on changed cells is worked out anew."""
    standing: Standing | None = learner.standing
    if standing is None or standing.programme is not programme:
        standing = learner.standing = Standing(programme, learner)
    elif learner.changed:
        standing.refresh(learner.changed, learner.credit_from)
    learner.changed.clear()
    learner.credit_from = None
    return standing


def mode_of(programme: Programme, summary: Summary) -> str:
    """The latest mode that a fact carries, else by the programme's rule from the latest enrolment, else online."""
    if summary.mode:
        return summary.mode[1]
    if summary.person:
        return programme.mode_by_rule(summary.person[1], summary.person[2])
    return "online"


def is_withdrawn(summary: Summary) -> bool:
    if summary.withdrawn is None:
        return False
    return summary.reinstated is None or summary.withdrawn > summary.reinstated


def is_selected(programme: Programme, learner: Learner, course_id: str) -> bool:
    if programme.select_all:
        return True
    cell = learner.find("course:" + course_id, CourseCell)
    return cell is not None and bool(cell.selected)


def has_confirmed_case(learner: Learner, until: int | None = None) -> bool:
    cases = learner.find("cases", Cases)
    if cases is None:
        return False
    for rulings in cases.rulings.values():
        known = [ruling for ruling in rulings if until is None or ruling[0][0] <= until]
        if known and max(known)[1] == "confirmed":
            return True
    return False


def accepted_works(learner: Learner, activity: str, until: int | None = None) -> int:
    """Live works of an activity whose latest review is `accepted`."""
    works = learner.find("works", Works)
    if works is None:
        return 0
    count = 0
    for work_id, (stamp, _, _, of) in works.published.items():
        review = works.reviews.get(work_id)
        if of == activity and work_id not in works.removed and review is not None and review[1] == "accepted":
            count += until is None or (stamp[0] <= until and review[0][0] <= until)
    return count


def seconds_before(programme: Programme, learner: Learner, day: str) -> dict[str, int]:
    """Credited seconds by course on the local days before `day`."""
    totals = dict(learner.totals())
    for _, courses in days_from(learner, day):
        for course_id, seconds in courses.items():
            totals[course_id] -= seconds
    return totals


def days_from(learner: Learner, day: str) -> list[tuple[str, dict[str, int]]]:
    """(day, seconds by course) of the credited days from `day` on; only their months are looked at."""
    found: list[tuple[str, dict[str, int]]] = []
    first = day[:7]
    for name in reversed(learner.months()):
        month = name[7:]
        if month < first:
            break
        cell = learner.find(name, Credit)
        if cell is not None:
            date = day[8:] if month == first else ""
            found.extend((f"{month}-{of}", courses) for of, courses in cell.days.items() if of >= date)
    return found


def days_before(learner: Learner, day: str) -> Iterator[tuple[str, dict[str, int]]]:
    """(day, seconds by course) of the credited days before `day`, the latest first."""
    last = day[:7]
    for name in reversed(learner.months()):
        month = name[7:]
        cell = learner.find(name, Credit) if month <= last else None
        if cell is not None:
            for date in sorted(cell.days, reverse=True):
                if month < last or date < day[8:]:
                    yield f"{month}-{date}", cell.days[date]
