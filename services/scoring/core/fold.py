"""Facts into cells. The same set of facts gives the same cells, in whatever order and however often they come.

What does not count by its time (RULES, "What counts when") never reaches a cell, so 'latest' is taken among what counts.
Marks of courses that the rules don't know are not kept: a new rule file is a rebuild. Each handler returns nothing and adds
to `changed` the names of the cells that it changed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from operator import itemgetter

from schemas.programme import Programme
from services.scoring.core.facts import Fact, Interval
from services.scoring.core.state import Cases, CourseCell, Day, FollowUps, Learner, Posts, Summary, Works
from services.scoring.core.study import credited

_END = itemgetter(2)


def fold(programme: Programme, learner: Learner, facts: Iterable[Fact | Interval]) -> set[str]:
    """Take facts of this learner in this programme into the cells; answers the names of the cells that changed."""
    changed: set[str] = set()
    restudied: dict[str, tuple[int, int]] = {}  # local day -> its first instant and the next day's
    if learner.find("sum", Summary) is None:  # any fact gives the learner a row
        facts = list(facts)
        if facts:
            learner.get("sum", Summary)
            changed.add("sum")
    studied: list[Interval] = []
    for fact in facts:
        if isinstance(fact, tuple):
            studied.append(fact)
        else:
            handler = _HANDLERS.get(fact.kind)
            if handler is not None:
                handler(programme, learner, fact, changed)
    if studied:
        _study(programme, learner, studied, changed, restudied)
    for day, (begins, ends) in restudied.items():
        spans = learner.get("day:" + day, Day).spans
        if learner.set_credit(day, credited(spans, begins // 1000, ends // 1000, programme.daily_cap_seconds)):
            changed.add("credit:" + day[:7])
    learner.touched(changed)
    return changed


def _act(programme: Programme, learner: Learner, at_ms: int, changed: set[str], course_id: str = "", starts: bool = True) -> None:
    """An act of the learner at `at_ms`, on a course where it names one; `starts` where it makes them one who started."""
    _acted(learner, at_ms, at_ms, starts, changed)
    name = "day:" + programme.day_of(at_ms)
    _acted_on_day(learner.get(name, Day), name, at_ms, at_ms, changed)
    if course_id in programme.courses:
        _acted_on_course(learner, course_id, at_ms, changed)


def _acted(learner: Learner, first: int, last: int, starts: bool, changed: set[str]) -> None:
    summary = learner.get("sum", Summary)
    if summary.first_act is None or first < summary.first_act:
        summary.first_act = first
        changed.add("sum")
    if summary.last_act is None or last > summary.last_act:
        summary.last_act = last
        changed.add("sum")
    if starts and (summary.first_start is None or first < summary.first_start):
        summary.first_start = first
        changed.add("sum")


def _acted_on_day(cell: Day, name: str, first: int, last: int, changed: set[str]) -> None:
    if cell.first_act is None or first < cell.first_act:
        cell.first_act = first
        changed.add(name)
    if cell.last_act is None or last > cell.last_act:
        cell.last_act = last
        changed.add(name)


def _acted_on_course(learner: Learner, course_id: str, last: int, changed: set[str]) -> None:
    name = "course:" + course_id
    cell = learner.get(name, CourseCell)
    if cell.last_act is None or last > cell.last_act:
        cell.last_act = last
        changed.add(name)


def _study(
    programme: Programme, learner: Learner, intervals: list[Interval], changed: set[str], restudied: dict[str, tuple[int, int]]
) -> None:
    """All of a batch's study at once, day by day: of the acts at the ends of the intervals the extremes are enough."""
    intervals.sort()
    lasts: dict[str, int] = {}
    for _, course_id, end in intervals:
        if end > lasts.get(course_id, -1):
            lasts[course_id] = end
    _acted(learner, min(map(_END, intervals)) * 1000, max(lasts.values()) * 1000, True, changed)
    for course_id, last in lasts.items():
        if course_id in programme.courses:
            _acted_on_course(learner, course_id, last * 1000, changed)
    around, starts_ms, programme_ends = programme.days.around, programme.starts_ms, programme.ends_ms
    at = 0
    while at < len(intervals):
        day, begins, ends = around(intervals[at][0] * 1000)
        upto = bisect_left(intervals, (ends // 1000,), at)  # days begin at whole seconds
        of_day, at = intervals[at:upto], upto
        counting = of_day if starts_ms <= begins < programme_ends else []  # the programme begins and ends with a day
        first, last = min(map(_END, of_day)) * 1000, max(map(_END, of_day)) * 1000
        if last < ends:
            _acted_on_day(learner.get("day:" + day, Day), "day:" + day, first, last, changed)
        else:
            for _, _, end in of_day:
                name = "day:" + programme.day_of(end * 1000)
                _acted_on_day(learner.get(name, Day), name, end * 1000, end * 1000, changed)
        while counting:
            spans = learner.get("day:" + day, Day).spans
            before = len(spans)
            spans.update(counting)
            if len(spans) > before:
                changed.add("day:" + day)
                restudied[day] = (begins, ends)
            counting = [interval for interval in counting if interval[2] * 1000 > ends] if last > ends else []
            day, begins, ends = around(ends)


def _open(programme: Programme, fact: Fact) -> bool:
    """Own time in [opens, the end)."""
    return programme.opens_ms <= fact.time_ms < programme.ends_ms


# -- the learner ------------------------------------------------------------------------------------------------------


def _membership(learner: Learner, fact: Fact, changed: set[str]) -> Summary:
    """Class and mode: the latest among enrolled, registered and transferred, for the mode of those that carry one."""
    summary = learner.get("sum", Summary)
    stamp = fact.stamp
    if summary.class_ is None or stamp > summary.class_[0]:
        summary.class_ = (stamp, fact.data.class_id)
        changed.add("sum")
    if fact.data.mode is not None and (summary.mode is None or stamp > summary.mode[0]):
        summary.mode = (stamp, fact.data.mode)
        changed.add("sum")
    return summary


def _enrolled(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    summary = _membership(learner, fact, changed)
    if summary.enrolled is None or fact.time_ms < summary.enrolled:
        summary.enrolled = fact.time_ms
        changed.add("sum")
    stamp = fact.stamp
    if summary.person is None or stamp > summary.person[0]:
        summary.person = (stamp, fact.data.birth_year, fact.data.gender)
        changed.add("sum")


def _registered(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    summary = _membership(learner, fact, changed)
    if summary.registered is None or fact.time_ms < summary.registered:
        summary.registered = fact.time_ms
        changed.add("sum")
    _act(programme, learner, fact.time_ms, changed, starts=False)


def _transferred(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    _membership(learner, fact, changed)


def _withdrawn(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    summary = learner.get("sum", Summary)
    stamp = fact.stamp
    if summary.withdrawn is None or stamp > summary.withdrawn:
        summary.withdrawn = stamp
        changed.add("sum")


def _reinstated(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    summary = learner.get("sum", Summary)
    stamp = fact.stamp
    if summary.reinstated is None or stamp > summary.reinstated:
        summary.reinstated = stamp
        changed.add("sum")


def _visited(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    _act(programme, learner, fact.time_ms, changed)


# -- courses ----------------------------------------------------------------------------------------------------------


def _selection(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    """Kept are the last drop and the selections after it: a drop that arrives later may still lie between those."""
    course_id = fact.data.course_id
    _act(programme, learner, fact.time_ms, changed, course_id, starts=False)
    if programme.select_all or course_id not in programme.courses or not _open(programme, fact):
        return
    name = "course:" + course_id
    cell = learner.get(name, CourseCell)
    stamp = fact.stamp
    if fact.kind == "course.dropped":
        if cell.dropped is None or stamp > cell.dropped:
            cell.dropped = stamp
            cell.selected = {selected for selected in cell.selected if selected > stamp}
            changed.add(name)
    elif (cell.dropped is None or stamp > cell.dropped) and stamp not in cell.selected:
        cell.selected.add(stamp)
        changed.add(name)


def _submitted(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    data = fact.data
    _act(programme, learner, fact.time_ms, changed, data.course_id)
    if data.course_id not in programme.courses or not _open(programme, fact):
        return
    name = "course:" + data.course_id
    cell = learner.get(name, CourseCell)
    known = cell.submitted.get(data.assignment_id)
    if known is None or fact.time_ms < known:
        cell.submitted[data.assignment_id] = fact.time_ms
        changed.add(name)


def _graded(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    data = fact.data
    if data.course_id not in programme.courses or fact.time_ms >= programme.results_final_ms:
        return
    name = "course:" + data.course_id
    cell = learner.get(name, CourseCell)
    known, stamp = cell.grades.get(data.assignment_id), fact.stamp
    if known is None or stamp > known[0]:
        cell.grades[data.assignment_id] = (stamp, data.score)
        changed.add(name)


def _process(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    data = fact.data
    if data.course_id not in programme.courses or fact.time_ms >= programme.results_final_ms:
        return
    name = "course:" + data.course_id
    cell = learner.get(name, CourseCell)
    stamp = fact.stamp
    if cell.process is None or stamp > cell.process[0]:
        cell.process = (stamp, data.score)
        changed.add(name)


def _chosen(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    data = fact.data
    _act(programme, learner, fact.time_ms, changed, data.course_id)
    if data.course_id not in programme.courses or not _open(programme, fact):
        return
    name = "course:" + data.course_id
    cell = learner.get(name, CourseCell)
    stamp = fact.stamp
    if cell.chosen is None or stamp > cell.chosen[0]:
        cell.chosen = (stamp, data.form)
        changed.add(name)


def _exam(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    data = fact.data
    _act(programme, learner, data.sat_at, changed, data.course_id)
    inside = programme.starts_ms <= data.sat_at < programme.ends_ms
    if data.course_id not in programme.courses or not inside or fact.time_ms >= programme.results_final_ms:
        return
    name = "course:" + data.course_id
    cell = learner.get(name, CourseCell)
    known, stamp = cell.exams.get(data.attempt_id), fact.stamp
    if known is None or stamp > known[0]:
        cell.exams[data.attempt_id] = (stamp, data.form, data.score, data.sat_at)
        changed.add(name)


def _posted(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    data = fact.data
    _act(programme, learner, fact.time_ms, changed, data.course_id)
    if data.course_id not in programme.courses or not _open(programme, fact):
        return
    name = "posts:" + data.course_id
    cell = learner.get(name, Posts)
    if data.post_id in cell.removed:
        return
    known, stamp = cell.live.get(data.post_id), fact.stamp
    if known is None or stamp > known[0]:
        cell.live[data.post_id] = (stamp, data.kind)
        changed.add(name)


def _post_removed(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    data = fact.data
    if data.course_id not in programme.courses:
        return
    name = "posts:" + data.course_id
    cell = learner.get(name, Posts)
    known = cell.removed.get(data.post_id)
    if known is None or fact.time_ms < known:
        cell.removed[data.post_id] = fact.time_ms
        cell.live.pop(data.post_id, None)
        changed.add(name)


# -- works, cases, follow-ups -----------------------------------------------------------------------------------------


def _work(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    data = fact.data
    _act(programme, learner, fact.time_ms, changed, data.course_id or "")
    if not _open(programme, fact):
        return
    cell = learner.get("works", Works)
    known, stamp = cell.published.get(data.work_id), fact.stamp
    if known is None or stamp > known[0]:
        cell.published[data.work_id] = (stamp, data.kind, data.course_id or "", data.activity_id or "")
        changed.add("works")


def _reviewed(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    if fact.time_ms >= programme.results_final_ms:
        return
    cell = learner.get("works", Works)
    known, stamp = cell.reviews.get(fact.data.work_id), fact.stamp
    if known is None or stamp > known[0]:
        cell.reviews[fact.data.work_id] = (stamp, fact.data.verdict)
        changed.add("works")


def _work_removed(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    cell = learner.get("works", Works)
    known = cell.removed.get(fact.data.work_id)
    if known is None or fact.time_ms < known:
        cell.removed[fact.data.work_id] = fact.time_ms
        changed.add("works")


def _ruled(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    rulings = learner.get("cases", Cases).rulings.setdefault(fact.data.case_id, set())
    ruling = (fact.stamp, fact.data.verdict)
    if ruling not in rulings:
        rulings.add(ruling)
        changed.add("cases")


def _followed_up(programme: Programme, learner: Learner, fact: Fact, changed: set[str]) -> None:
    facts = learner.get("follow", FollowUps).facts
    follow_up = (fact.stamp, fact.data.flag, fact.data.ref or "", fact.data.outcome)
    if follow_up not in facts:
        facts.add(follow_up)
        changed.add("follow")


Handler = Callable[[Programme, Learner, Fact, set[str]], None]

_HANDLERS: dict[str, Handler] = {
    "learner.enrolled": _enrolled,
    "learner.registered": _registered,
    "learner.transferred": _transferred,
    "learner.withdrawn": _withdrawn,
    "learner.reinstated": _reinstated,
    "platform.visited": _visited,
    "course.selected": _selection,
    "course.dropped": _selection,
    "assignment.submitted": _submitted,
    "assignment.graded": _graded,
    "process.marked": _process,
    "assessment.chosen": _chosen,
    "exam.marked": _exam,
    "post.published": _posted,
    "post.removed": _post_removed,
    "work.published": _work,
    "work.reviewed": _reviewed,
    "work.removed": _work_removed,
    "plagiarism.ruled": _ruled,
    "follow_up.recorded": _followed_up,
}
"""Reminders' and certificates' facts change nothing here: they only give the learner a row."""
