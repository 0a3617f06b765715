"""What a sound rule file may say, but hardly means: said as a warning, never refused (CONTRACTS promise what is refused).

Here: points, passes, credits and results, so what nobody can reach or everybody has. Calendar, flags and reminders: `ruletimes`.
Numbers are of 1/100 as in the model. A warning is only given where the file alone proves it, whatever learners do.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.rulemodel import Conditions, ExamItem, InteractionItem, Item, RuleFile, Scheme, StudyItem
from schemas.ruletimes import days_in, short, time_warnings
from schemas.ruleyaml import Where

Said = Iterator[tuple[Where, str]]
HUNDRED = 100_00
YOUNGEST, OLDEST = 18_00, 100_00
"""Ages of teachers, in 1/100 years: a mode rule beyond them sends everybody the same way."""
LONGEST_DAY_MINUTES = 25 * 60 * 100
"""A local day has at most 25 hours."""


def warnings_of(rules: RuleFile) -> list[tuple[Where, str]]:
    """What looks like a mistake, each with the place that it is said of."""
    return [*_courses(rules), *_modes(rules), *_mode_rule(rules), *_result(rules), *_titles(rules), *time_warnings(rules)]


def schemes(rules: RuleFile) -> list[tuple[str, Scheme]]:
    """The modes that are scored."""
    return [(mode, scheme) for mode, scheme in (("online", rules.scoring.online), ("disc", rules.scoring.disc)) if scheme is not None]


def most(item: Item) -> int:
    """The most points that an item can give."""
    if isinstance(item, InteractionItem):
        return (item.questions + item.replies) * item.points_each
    if item.item == "assignments" or item.item == "works":
        return item.count * item.points_each
    return item.points


def _gated(scheme: Scheme) -> tuple[ExamItem | None, int]:
    """The mode's exam, and the most that its gate's items give together (0 without a gate)."""
    exam = next((item for item in scheme.items if isinstance(item, ExamItem)), None)
    if exam is None or exam.gate is None:
        return exam, 0
    return exam, sum(most(item) for item in scheme.items if item.item in exam.gate.items)


def reachable(scheme: Scheme) -> tuple[int, int]:
    """The greatest total of a course, with the exam (where its gate can be met) and without."""
    exam, through = _gated(scheme)
    without = sum(most(item) for item in scheme.items if not isinstance(item, ExamItem))
    closed = exam is None or (exam.gate is not None and through < exam.gate.at_least)
    return (without if closed or exam is None else without + exam.points), without


def _courses(rules: RuleFile) -> Said:
    if not rules.courses:
        yield ("courses",), "is empty: nobody can study anything that counts"
    for index, course in enumerate(rules.courses):
        if course.credits == 0:
            when = "passing it" if rules.credits == "on_pass" else "studying it"
            yield ("courses", index, "credits"), f"is 0: {when} gives no credits"
    used = {works.activity for conditions in _conditions(rules) if (works := conditions[1].accepted_works)}
    for index, activity in enumerate(rules.activities):
        if activity.id not in used:
            yield ("activities", index, "id"), f"no condition of result counts works of {activity.id}"


def _modes(rules: RuleFile) -> Said:
    for mode, scheme in schemes(rules):
        where: Where = ("scoring", mode)
        total = sum(most(item) for item in scheme.items)
        if scheme.items and total != HUNDRED:
            yield (*where, "items"), f"the items of mode {mode} give {short(total)} points together, not 100"
        for index, item in enumerate(scheme.items):
            place = (*where, "items", index)
            if most(item) == 0:
                yield place, f"{item.item} gives no points"
            if isinstance(item, StudyItem):
                yield from _study(rules, item, place)
            if isinstance(item, ExamItem):
                yield from _exam(scheme, item, mode, place)
        yield from _pass(scheme, mode, (*where, "pass", "total_at_least"))


def _study(rules: RuleFile, item: StudyItem, place: Where) -> Said:
    shorter = [course for course in rules.courses if course.hours < item.hours]
    if shorter:  # where courses are capped this is refused
        names = ", ".join(course.id for course in shorter[:3]) + (", …" if len(shorter) > 3 else "")
        yield (*place, "hours"), f"{short(item.hours)} hours are more than {names} has: its learners need time beyond the course"
    yield from _too_long(rules, item.hours, (*place, "hours"))


def _too_long(rules: RuleFile, hours: int, place: Where) -> Said:
    """Hours that do not fit between starts and ends under the daily cap. Hours and minutes are both in 1/100."""
    a_day = min(LONGEST_DAY_MINUTES, LONGEST_DAY_MINUTES if rules.daily_cap_minutes is None else rules.daily_cap_minutes)
    if hours * rules.study_hour_minutes > a_day * days_in(rules) * 100:
        cap = "" if rules.daily_cap_minutes is None else f" of at most {short(rules.daily_cap_minutes)} credited minutes"
        yield place, f"can't be reached: the programme has {days_in(rules)} days{cap}"


def _exam(scheme: Scheme, item: ExamItem, mode: str, place: Where) -> Said:
    if mode == "online" and len(item.forms) > 1:
        yield (*place, "forms"), "a learner who has chosen no form sits the paper exam, also in mode online"
    if item.gate is None:
        return
    through = _gated(scheme)[1]
    if item.gate.at_least > through:
        text = f"can't be met: its items give at most {short(through)} points, so nobody's exam counts"
        yield (*place, "gate", "at_least"), text
    elif item.gate.at_least == 0:
        yield (*place, "gate", "at_least"), "is always met: 0 points are enough"


def _pass(scheme: Scheme, mode: str, place: Where) -> Said:
    mark = scheme.pass_.total_at_least
    best, without_exam = reachable(scheme)
    if mark == 0:
        yield place, "is always reached: every selected course is passed at once"
    elif mark > best:
        yield place, f"can't be reached: a course of mode {mode} gives at most {short(best)} points"
    elif mark <= without_exam and best > without_exam:
        yield place, f"is reached without the exam: the other items give up to {short(without_exam)} points"


def _mode_rule(rules: RuleFile) -> Said:
    if rules.mode_rule is None:
        return
    ages = rules.mode_rule.online
    scored = {mode for mode, _ in schemes(rules)}
    if not scored:
        return
    all_online = ages.male_younger_than > OLDEST and ages.female_up_to >= OLDEST
    all_disc = ages.male_younger_than <= YOUNGEST and ages.female_up_to < YOUNGEST
    if all_online or all_disc:
        yield ("mode_rule", "online"), f"every teacher is {'online' if all_online else 'disc'} at these ages"
    for mode, never in (("disc", all_online), ("online", False)):
        if mode not in scored and not never:
            yield ("mode_rule",), f"sends learners to mode {mode}, which scoring does not have: they can pass no course"


def _conditions(rules: RuleFile) -> list[tuple[str, Conditions]]:
    return [(name, one) for name, one in (("passed", rules.result.passed), ("excellent", rules.result.excellent)) if one is not None]


def _result(rules: RuleFile) -> Said:
    given = schemes(rules)
    best = max((reachable(scheme)[0] for _, scheme in given), default=0)
    for name, one in _conditions(rules):
        where: Where = ("result", name)
        if one.courses is not None and not given:
            yield (*where, "courses"), "can't be met: no mode is scored, so no course is ever passed"
        if one.credited_hours is not None:
            together = sum(course.hours for course in rules.courses)
            if rules.cap_at_course_hours and one.credited_hours > together:
                yield (*where, "credited_hours"), f"can't be reached: the courses credit at most {short(together)} hours together"
            yield from _too_long(rules, one.credited_hours, (*where, "credited_hours"))
        if one.accepted_works is not None and one.accepted_works.count == 0:
            yield (*where, "accepted_works", "count"), "is always met: 0 works are enough"
        if one.mean_total_at_least is not None:
            place = (*where, "mean_total_at_least")
            if one.mean_total_at_least > best:
                yield place, f"can't be reached: a course gives at most {short(best)} points"
            elif one.mean_total_at_least == 0:
                yield place, "is always met once a course is selected"
            elif name == "excellent" and rules.result.passed.courses is not None:
                marks = [scheme.pass_.total_at_least for _, scheme in given]
                if one.mean_total_at_least <= min(marks):
                    yield place, "is met by everybody who has passed every course: nobody is only passed"


def _titles(rules: RuleFile) -> Said:
    named: list[tuple[Where, object]] = [((), rules)]
    named += [(("courses", at), one) for at, one in enumerate(rules.courses)]
    named += [(("activities", at), one) for at, one in enumerate(rules.activities)]
    named += [(("calendar", "phases", at), one) for at, one in enumerate(rules.calendar.phases)]
    for where, one in named:
        for language in ("zh", "en"):
            if not getattr(one.title, language).strip():  # type: ignore[attr-defined]
                yield (*where, "title", language), "is empty"
