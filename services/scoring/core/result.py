"""A learner as a whole: mode, selected courses and their marks, totals and result (RULES, "Points", last lines)."""

from __future__ import annotations

from schemas.programme import Course, Criteria, Mode, Programme
from services.scoring.core.marks import Marks, marks_of
from services.scoring.core.state import Cases, CourseCell, Credit, Learner, Summary, Works

_NOBODY = Summary()


class Standing:
    """What the facts (up to `until` ms, where given) say about a learner, apart from now.

    `earned` is None, `passed` or `excellent` by the conditions alone; `result` adds plagiarism and the calendar.
    """

    __slots__ = (
        "courses",
        "credits",
        "earned",
        "learner",
        "marks",
        "mode",
        "mode_name",
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
        summary = self.summary = learner.find("sum", Summary) or _NOBODY
        self.mode_name = mode_of(programme, summary)
        self.mode: Mode | None = programme.modes.get(self.mode_name)
        self.reinstated: int | None = summary.reinstated[0] if summary.reinstated else None
        self.withdrawn = is_withdrawn(summary)
        self.courses: list[Course] = [course for course in programme.courses.values() if is_selected(programme, learner, course.id)]
        totals = learner.totals() if until is None else seconds_before(programme, learner, programme.day_of(until))
        self.marks: dict[str, Marks] = {}
        for course in self.courses:
            seconds = totals.get(course.id, 0)
            self.marks[course.id] = _marks(programme, learner, self.mode_name, course, seconds, until)
        self.seconds = sum(marks.seconds for marks in self.marks.values())
        self.credits = sum(marks.credits for marks in self.marks.values())
        self.plagiarised = programme.plagiarism_fails and has_confirmed_case(learner, until)
        self.earned: str | None = None
        if self._holds(programme.passed, until):
            better = programme.excellent is not None and self._holds(programme.excellent, until)
            self.earned = "excellent" if better else "passed"

    def result(self, now: int) -> str:
        if self.plagiarised:
            return "failed"
        if self.earned:
            return self.earned
        return "failed" if now >= self.programme.results_final_ms else "in_progress"

    def _holds(self, criteria: Criteria, until: int | None) -> bool:
        if criteria.every_selected and not (self.courses and all(marks.passed for marks in self.marks.values())):
            return False
        if criteria.credited_seconds is not None and self.seconds < criteria.credited_seconds:
            return False
        if criteria.accepted_works is not None:
            activity, count = criteria.accepted_works
            if accepted_works(self.learner, activity, until) < count:
                return False
        if criteria.mean_total is not None:
            total = sum(marks.total for marks in self.marks.values())
            if not self.courses or total < criteria.mean_total * len(self.courses):
                return False
        return True


def _marks(programme: Programme, learner: Learner, mode_name: str, course: Course, seconds: int, until: int | None) -> Marks:
    """Marks, kept in the learner's cache while the course's cells, its seconds and the mode stay."""
    mode = programme.modes.get(mode_name)
    if until is not None:
        return marks_of(programme, learner, mode, course, seconds, until)
    known: dict[str, object] | None = learner.cache.get(course.id)
    if known is not None and known["key"] == (mode_name, seconds):
        marks = known["marks"]
        assert isinstance(marks, Marks)
        return marks
    marks = marks_of(programme, learner, mode, course, seconds)
    learner.cache[course.id] = {"key": (mode_name, seconds), "marks": marks}
    return marks


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
    for name in learner.months():
        month = name[7:]
        if month >= day[:7]:
            cell = learner.find(name, Credit)
            if cell is not None:
                found.extend((f"{month}-{date}", courses) for date, courses in cell.days.items() if f"{month}-{date}" >= day)
    return found
