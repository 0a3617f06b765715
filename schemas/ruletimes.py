"""Warnings about a rule file's calendar, lengths, flags and reminders: what never happens, or always does (see `rulewarnings`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

from schemas.rulemodel import Reminders, RuleFile, Steps
from schemas.rulewords import near
from schemas.ruleyaml import Where

Said = Iterator[tuple[Where, str]]
LEVELS = ("learner", "class", "school", "county", "city", "province")
FAR = timedelta(days=90)
"""A unit's phase may lie around the programme; one this far away has a wrong year."""
DAY_MINUTES = 24 * 60
LEAST_LOUD_MINUTES = 60


def time_warnings(rules: RuleFile) -> list[tuple[Where, str]]:
    """What looks like a mistake in anything that has to do with time."""
    looks = (_lengths, _phases, _steps, _idle_kinds, _overdue, _ownership, _reminders)
    return [one for look in looks for one in look(rules)]


def short(hundredths: int) -> str:
    """1/100 as people write it: 3250 -> `32.5`, 3200 -> `32`."""
    whole, part = divmod(hundredths, 100)
    return f"{whole}.{part:02d}".rstrip("0") if part else str(whole)


def days_in(rules: RuleFile) -> int:
    """Local days from `starts` to `ends`, both counted."""
    return (rules.calendar.ends - rules.calendar.starts).days + 1


def _lengths(rules: RuleFile) -> Said:
    cap, longest = rules.daily_cap_minutes, rules.longest_interval_minutes
    if cap is not None:
        if cap * 60 < 100:
            yield ("daily_cap_minutes",), "leaves not one second a day: nobody gets credit for study"
        elif cap < longest:
            yield ("daily_cap_minutes",), f"is shorter than one interval of up to {short(longest)} minutes: its end never counts"
        elif cap >= DAY_MINUTES * 100:
            yield ("daily_cap_minutes",), "is no limit: a day has 1440 minutes"
    if longest * 60 < 100:
        yield ("longest_interval_minutes",), "is shorter than a second: the door refuses every study interval"
    elif longest > DAY_MINUTES * 100:
        yield ("longest_interval_minutes",), "is longer than 24 hours, beyond which every interval is refused"


def _phases(rules: RuleFile) -> Said:
    days, phases = rules.calendar, rules.calendar.phases
    for index, phase in enumerate(phases):
        where = ("calendar", "phases", index)
        if phase.level not in LEVELS:
            yield (*where, "level"), f"{phase.level} is no level ({', '.join(LEVELS)}){near(phase.level, LEVELS)}"
        elif phase.level == "learner" and not days.opens <= phase.due <= days.ends:
            yield (*where, "due"), f"a learner can do nothing then: the programme is open from {days.opens} to {days.ends}"
        if not days.opens - FAR <= phase.due <= days.results_final + FAR:
            yield (*where, "due"), f"is more than {FAR.days} days outside the calendar: a wrong year?"
    for index, (before, phase) in enumerate(pairwise(phases), 1):
        if phase.due < before.due:
            yield ("calendar", "phases", index, "due"), f"is before the phase above, {before.id}, of {before.due}"


def _steps(rules: RuleFile) -> Said:
    attention, length = rules.attention, days_in(rules) * 100
    opened = (rules.calendar.ends - rules.calendar.opens).days * 100 + 100
    within = attention.registration.within_days if attention.registration else 0
    for name, least, room in (("not_registered", within, opened), ("not_started", 0, length), ("inactive", 0, length)):
        steps: Steps | None = getattr(attention, name)
        if steps is not None:
            yield from _rising(steps, name)
            if least + steps.notice_days >= room:
                text = f"no flag can open: the programme ends before {short(least + steps.notice_days)} days are over"
                yield ("attention", name, "notice_days"), text
    if attention.assignment_overdue is not None:
        yield from _rising(attention.assignment_overdue, "assignment_overdue")
    exam = attention.exam_due
    if exam is not None:
        if exam.notice_days == 0:
            yield ("attention", "exam_due", "notice_days"), "no flag can open: it would be raised when the programme has ended"
        yield from _order("exam_due", [("notice_days", exam.notice_days), ("warning_days", exam.warning_days),
                                       ("escalation_days", exam.escalation_days)], falling=True)  # fmt: skip
    behind = attention.behind
    if behind is not None:
        steps_of = [(name, getattr(behind, name)) for name in ("tolerance_percent", "warning_percent", "escalation_percent")]
        yield from _order("behind", steps_of, falling=False)
        for name, percent in steps_of:
            if percent >= 100_00:
                text = "no flag can open" if name == "tolerance_percent" else "is never reached"
                yield ("attention", "behind", name), f"{text}: nobody is more than 100 points of 100 under the calendar"
    if attention.registration is not None and attention.not_registered is None:
        yield ("attention", "registration"), "has no effect without attention.not_registered"


def _rising(steps: Steps, kind: str) -> Said:
    given = [(name, getattr(steps, name)) for name in ("notice_days", "warning_days", "escalation_days")]
    yield from _order(kind, given, falling=False)


def _order(kind: str, given: list[tuple[str, int]], falling: bool) -> Said:
    for (before, low), (name, high) in pairwise(given):
        if (high > low) if falling else (high < low):
            way = "longer before the end than" if falling else "less than"
            yield ("attention", kind, name), f"{short(high)} is {way} {before}, {short(low)}: one of the steps never shows"


def _idle_kinds(rules: RuleFile) -> Said:
    """Kinds of flag that no learner can have (RULES, "Kinds of flag")."""
    attention = rules.attention
    items = {item.item for scheme in (rules.scoring.online, rules.scoring.disc) if scheme for item in scheme.items}
    timed = rules.credits == "proportional" or "study" in items
    for kind in ("not_started", "inactive", "behind"):
        if getattr(attention, kind) is not None and not timed:
            yield ("attention", kind), "no flag can open: no mode has a study item, and credits are not proportional"
    for kind, item in (("assignment_overdue", "assignments"), ("exam_due", "exam")):
        if getattr(attention, kind) is not None and item not in items:
            yield ("attention", kind), f"no flag can open: no mode has an item {item}"
    if attention.ownership is not None and not _kinds(rules):
        yield ("attention", "ownership"), "has no effect: every kind of flag is off"


def _kinds(rules: RuleFile) -> list[str]:
    """The kinds of flag that are on."""
    attention = rules.attention
    kinds = ("not_registered", "not_started", "inactive", "behind", "exam_due", "assignment_overdue", "plagiarism_suspected")
    return [kind for kind in kinds if getattr(attention, kind) is not None]


def _overdue(rules: RuleFile) -> Said:
    overdue, days = rules.attention.assignment_overdue, rules.calendar
    if overdue is None:
        return
    where: Where = ("attention", "assignment_overdue", "due")
    for course_id, day in overdue.due.items():
        if day < days.starts:
            yield (*where, course_id), f"{day} is before the programme starts, {days.starts}"
        elif (day - days.starts).days * 100 + 100 + overdue.notice_days >= days_in(rules) * 100:
            ending = "outside the calendar" if day > days.ends else "too late"
            yield (*where, course_id), f"{day} is {ending}: no flag can open before the programme's end, {days.ends}"
    for index, course in enumerate(rules.courses):
        if course.id not in overdue.due:
            yield ("courses", index, "id"), f"{course.id} has no due day in attention.assignment_overdue: its assignments are never overdue"


def _ownership(rules: RuleFile) -> Said:
    ownership = rules.attention.ownership
    if ownership is not None and ownership.city_after_days < ownership.county_after_days:
        yield ("attention", "ownership", "city_after_days"), "is less than county_after_days: the county never owns a flag"


def _reminders(rules: RuleFile) -> Said:
    reminders = rules.reminders
    if reminders is None:
        return
    if reminders.most_in_30_days == 0:
        yield ("reminders", "most_in_30_days"), "is 0: no reminder can ever be sent"
    if not _kinds(rules):
        yield ("reminders",), "has no effect: every kind of flag is off"
    if reminders.quiet_from == reminders.quiet_to:
        yield ("reminders", "quiet_to"), "is quiet_from: there is no quiet time at all"
    elif loud_minutes(reminders) < LEAST_LOUD_MINUTES:
        yield ("reminders", "quiet_to"), f"leaves {loud_minutes(reminders)} minutes a day in which a reminder can be sent"
    if reminders.least_days_between >= days_in(rules) * 100:
        yield ("reminders", "least_days_between"), "is longer than the programme: a learner is reminded at most once"


def loud_minutes(reminders: Reminders) -> int:
    """Minutes of a day that are not quiet."""
    quiet = (reminders.quiet_to - reminders.quiet_from) % DAY_MINUTES
    return DAY_MINUTES - quiet
