"""What is refused in a rule file beyond the shape of its fields (RULES, "What is refused"): rules that need several of them.

The file may be sound in parts only (`ruleloose`): what is None there was refused already and is passed over, so that an
author sees everything at once, and nothing that only follows from another mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import pairwise

from schemas.rulemodel import Activity, Conditions, Course, ExamItem, RuleFile, Scheme, StudyItem, WorksItem
from schemas.rulewords import near
from schemas.ruleyaml import Where

Said = Iterator[tuple[Where, str]]
Sound = Callable[..., bool]
"""Whether nothing was refused yet at a place or below it."""


def refusals_of(rules: RuleFile, wrong: Set[Where] = frozenset()) -> list[tuple[Where, str]]:
    """What is wrong across fields, each with the place that it is said of; `wrong` are the places that were refused already."""

    def sound(*where: str | int) -> bool:
        return not any(place[: len(where)] == where for place in wrong)

    return [*_calendar(rules), *_lengths(rules), *_ids(rules), *_scoring(rules), *_result(rules, sound), *_attention(rules, sound)]


def _calendar(rules: RuleFile) -> Said:
    days = rules.calendar
    if days is None:
        return
    named = [("opens", days.opens), ("starts", days.starts), ("ends", days.ends), ("results_final", days.results_final)]
    known = [(name, day) for name, day in named if day is not None]
    for (_, before), (name, day) in pairwise(known):
        if day < before or (name == "results_final" and day == before):
            yield ("calendar", name), "opens <= starts <= ends < results_final must hold"


def _lengths(rules: RuleFile) -> Said:
    for name in ("study_hour_minutes", "longest_interval_minutes"):
        minutes = getattr(rules, name)
        if minutes is not None and minutes <= 0:
            yield (name,), "must be above 0"
    for index, course in enumerate(rules.courses or []):
        if course is not None:
            yield from _hours(rules, course.hours, "courses", index, "hours")


def _hours(rules: RuleFile, hours: int | None, *where: str | int) -> Said:
    if hours is None:
        return
    if hours <= 0:
        yield where, "must be above 0"
    elif rules.study_hour_minutes is not None and hours * rules.study_hour_minutes * 60 % 10_000:  # both are in 1/100
        yield where, "is no whole number of seconds"


def _ids(rules: RuleFile) -> Said:
    phases = rules.calendar.phases if rules.calendar else []
    for where, entries in ((("courses",), rules.courses), (("activities",), rules.activities), (("calendar", "phases"), phases)):
        known: set[str] = set()
        for index, entry in enumerate(entries or []):
            name = entry.id if entry is not None else None  # type: ignore[attr-defined]
            if name in known:
                yield (*where, index, "id"), f"{name} comes twice"
            elif name is not None:
                known.add(name)


def _scoring(rules: RuleFile) -> Said:
    for mode in ("online", "disc"):
        scheme: Scheme | None = getattr(rules.scoring, mode) if rules.scoring else None
        if scheme is None or scheme.items is None:
            continue
        kinds = [item.item if item is not None else None for item in scheme.items]
        for index, item in enumerate(scheme.items):
            where = ("scoring", mode, "items", index)
            if item is None:
                continue
            if item.item in kinds[:index]:
                yield (*where, "item"), f"a mode has at most one item of a kind, {item.item} comes twice"
            if isinstance(item, StudyItem):
                yield from _hours(rules, item.hours, *where, "hours")
                yield from _capped(rules, item.hours, *where, "hours")
            if isinstance(item, WorksItem) and _repeats(item.kinds):
                yield (*where, "kinds"), "a kind comes twice"
            if isinstance(item, ExamItem):
                yield from _exam(item, mode, kinds, where)


def _capped(rules: RuleFile, hours: int | None, *where: str | int) -> Said:
    courses = [course.hours for course in rules.courses or [] if course is not None and course.hours is not None]
    if rules.cap_at_course_hours and hours is not None and any(hours > most for most in courses):
        yield where, "is longer than a course, and courses are capped at their hours"


def _exam(item: ExamItem, mode: str, kinds: Iterable[str | None], where: Where) -> Said:
    if _repeats(item.forms):
        yield (*where, "forms"), "a form comes twice"
    if item.gate is None or item.gate.items is None:
        return
    if _repeats(item.gate.items):
        yield (*where, "gate", "items"), "an item comes twice"
    for wanted in item.gate.items:
        if wanted not in (None, *kinds) and None not in kinds:
            yield (*where, "gate", "items"), f"{wanted} is no item of mode {mode}"


def _repeats(values: Iterable[object] | None) -> bool:
    known = [value for value in values or [] if value is not None]
    return len(set(known)) < len(known)


def _known(entries: Sequence[Course | Activity] | None) -> list[str | None]:
    """The ids of courses or activities; one of them is None where an id is wrong, so that nobody knows what else there is."""
    return [None if entry is None else entry.id for entry in entries] if entries is not None else [None]


def _result(rules: RuleFile, sound: Sound) -> Said:
    activities = _known(rules.activities)
    for name in ("passed", "excellent"):
        conditions: Conditions | None = getattr(rules.result, name) if rules.result else None
        if conditions is None:
            continue
        if sound("result", name) and all(value is None for value in dict(conditions).values()):
            yield ("result", name), "needs at least one condition"
        works = conditions.accepted_works
        if works is not None and None not in (works.activity, *activities) and works.activity not in activities:
            yield ("result", name, "accepted_works", "activity"), f"unknown activity {works.activity}{near(works.activity, activities)}"
        yield from _hours(rules, conditions.credited_hours, "result", name, "credited_hours")


def _attention(rules: RuleFile, sound: Sound) -> Said:
    attention = rules.attention
    if attention is None:
        return
    if attention.not_registered and not attention.registration and sound("attention", "registration"):
        yield ("attention", "not_registered"), "needs attention.registration"
    overdue = attention.assignment_overdue
    courses = _known(rules.courses)
    for course_id in (overdue.due or {}) if overdue else ():
        if course_id not in courses and None not in courses:
            yield ("attention", "assignment_overdue", "due", course_id), f"unknown course {course_id}{near(course_id, courses)}"
