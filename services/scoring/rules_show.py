"""`chalk rules show`: a programme's rules in words, for admins and analysts who read no YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from schemas.programme import DAY_MS, Criteria, Mode, Programme, ThresholdsMs
from schemas.ruletimes import short

_ITEMS = {"study": "study", "assignments": "assignments", "interaction": "interaction", "works": "works", "process": "process mark"}


def show(console: Console, programme: Programme) -> None:
    """Everything that the programme's file says, in the order in which it matters to a learner."""
    heading(console, programme)
    console.print(_calendar(programme))
    console.print(_courses(programme))
    for name in ("online", "disc"):
        mode = programme.modes.get(name)
        if mode is not None:
            console.print(_mode(name, mode, programme))
    _lines(console, "Credits, results and modes", [*_credits(programme), *_results(programme), *_modes(programme)])
    _lines(console, "Study time", _time(programme))
    console.print(_attention(programme))
    _lines(console, "Who owns a flag, reminders, tutors", [*_ownership(programme), *_reminders(programme), *_tutors(programme)])
    for text in programme.warnings:
        console.print(f"warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def heading(console: Console, programme: Programme) -> None:
    """Two lines that say which programme this is."""
    console.print(f"[bold]{programme.id}[/]  {_title(programme.title)}", highlight=False)
    console.print(
        f"  rules_version {programme.rules_version}; opens {programme.opens}, runs {programme.starts} to {programme.ends}, "
        f"results final {programme.results_final} ({programme.time_zone})",
        highlight=False,
    )


def _title(title: Mapping[str, str]) -> str:
    return f"{title['zh']} / {title['en']}".replace("[", "(").replace("]", ")")  # rich reads brackets as styles


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", title_style="bold")


def _lines(console: Console, title: str, lines: Iterator[str] | list[str]) -> None:
    console.print(title, style="bold")
    for line in lines:
        console.print(f"  • {line}", markup=False, highlight=False, soft_wrap=True)


def _calendar(p: Programme) -> Table:
    days = [
        (p.opens, 0, "opens: events are accepted from here", ""),
        (p.starts, 1, "starts: study counts from here", ""),
        (p.ends, 3, "ends: the last day that study and exams count", ""),
        (p.results_final, 4, "results are final: who has not passed when this day begins has failed", ""),
    ]
    days += [(phase.due, 2, f"due: {_title(phase.title)}", phase.level) for phase in p.phases]
    table = _table(f"Calendar (days of {p.time_zone})", "day", "what", "by whom")
    for day, _, text, level in sorted(days):
        table.add_row(day, text, level)
    return table


def _courses(p: Programme) -> Table:
    choice = "every course is everybody's" if p.select_all else "learners select their courses"
    table = _table(f"Courses ({choice})", "module", "course", "title", "hours", "credits", "assignments due")
    for column in table.columns[3:5]:
        column.justify = "right"
    for course in p.courses.values():
        over = p.attention.overdue_ms.get(course.id)
        due = "" if over is None else p.day_of(over - 1)
        table.add_row(course.module, course.id, _title(course.title), short(course.hours), short(course.credits), due)
    courses = p.courses.values()
    table.add_section()
    table.add_row("", "", f"{len(courses)} together", short(sum(c.hours for c in courses)), short(sum(c.credits for c in courses)), "")
    for activity in p.activities.values():
        table.add_row("activity", activity.id, _title(activity.title), "", "", "")
    return table


def _mode(name: str, mode: Mode, p: Programme) -> Table:
    title = {"online": "网上学习 / online", "disc": "光盘学习 / disc"}[name]
    table = _table(f"Points of a course, mode {title}: passed from {short(mode.pass_at)} points", "item", "how points are made", "at most")
    table.columns[2].justify = "right"
    total = 0
    for item, text, most in _items(mode, p):
        table.add_row(item, text, short(most))
        total += most
    table.add_section()
    table.add_row("", "together", short(total))
    return table


def _items(mode: Mode, p: Programme) -> Iterator[tuple[str, str, int]]:
    """(item, how its points are made, the most of them in 1/100)."""
    if mode.study:
        hours = short(p.study_hours(mode.study.seconds))
        text = f"in proportion to the credited time, all of them at {hours} hours"
        if mode.study.threshold:
            text = f"all of them once {hours} hours are credited, none before"
        yield "study", text, mode.study.points
    if mode.assignments:
        rule = mode.assignments
        yield "assignments", f"the best {rule.count}, each {short(rule.points_each)} × its score", rule.count * rule.points_each
    if mode.interaction:
        asked = mode.interaction
        text = f"{short(asked.points_each)} for each of up to {asked.questions} questions and {asked.replies} replies that were not removed"
        yield "interaction", text, (asked.questions + asked.replies) * asked.points_each
    if mode.works:
        works = mode.works
        text = f"{short(works.points_each)} for each of up to {works.count}: {', '.join(sorted(works.kinds))}; returned ones do not count"
        yield "works", text, works.count * works.points_each
    if mode.process:
        yield "process mark", "× the score of the latest mark", mode.process.points
    if mode.exam:
        exam = mode.exam
        text = "× the score of the best attempt"
        either = f"in the form the learner has chosen ({' or '.join(exam.forms)}), else paper"
        text += f", {exam.forms[0] if len(exam.forms) == 1 else either}"
        if exam.gate_items is not None:
            names = ", ".join(text for item, text in _ITEMS.items() if item in exam.gate_items)
            text += f".\nGate: 0 while {names} together are below {short(exam.gate_at_least)}; counts at once when they are not"
        yield "exam", text, exam.points


def _credits(p: Programme) -> Iterator[str]:
    if p.credits_on_pass:
        yield "Credits of a course: all of them once it is passed."
    else:
        yield "Credits of a course: in proportion to credited time over its hours, cut to 1/100."


def _results(p: Programme) -> Iterator[str]:
    if p.plagiarism_fails:
        yield "Failed: while a case of plagiarism stands confirmed."
    yield f"Passed: {'; and '.join(_criteria(p.passed, p))}."
    if p.excellent is not None:
        yield f"Excellent: passed, and {'; and '.join(_criteria(p.excellent, p))}."
    yield f"Failed: everybody who has not passed when {p.results_final} begins."


def _criteria(criteria: Criteria, p: Programme) -> Iterator[str]:
    if criteria.every_selected:
        yield "every selected course is passed (at least one)"
    if criteria.credited_seconds is not None:
        yield f"{short(p.study_hours(criteria.credited_seconds))} hours are credited"
    if criteria.accepted_works is not None:
        activity, count = criteria.accepted_works
        yield f"{count} work{'s' if count != 1 else ''} of {_title(p.activities[activity].title)} accepted"
    if criteria.mean_total is not None:
        yield f"the mean total of the selected courses is at least {short(criteria.mean_total)}"


def _modes(p: Programme) -> Iterator[str]:
    ages = p.online_ages
    if ages is None:
        yield "Mode: as the latest fact says, else online."
    else:
        yield (
            f"Mode: as the latest fact says, else by age at the end of {p.year}: men younger than {short(ages.male_younger_than)}"
            f" and women up to {short(ages.female_up_to)} online, others disc; online where year of birth or gender is not known."
        )


def _time(p: Programme) -> Iterator[str]:
    yield f"A study hour has {_minutes(p.study_hour // 100)}."
    yield f"The door takes single intervals of up to {_minutes(p.longest_interval_seconds)}; a second is credited once, whatever overlaps."
    yield "No daily limit." if p.daily_cap_seconds is None else f"At most {_minutes(p.daily_cap_seconds)} are credited a day."
    if p.cap_at_course_hours:
        yield "A course credits at most its own hours."


def _minutes(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} minutes" + (f" {rest} s" if rest else "")


def _days(ms: int) -> str:
    return short(ms * 100 // DAY_MS) + " d"


def _attention(p: Programme) -> Table:
    rules = p.attention
    table = _table("Needs attention (a kind that is not listed is off)", "flag", "when", "notice", "warning", "escalation")
    after: list[tuple[str, str, ThresholdsMs | None]] = [
        ("not_registered", f"after enrolment + {_days(rules.within_ms)} without registration", rules.not_registered),
        ("not_started", "after registration and the programme's start, without any activity", rules.not_started),
        ("inactive", "after the last activity", rules.inactive),
        ("assignment_overdue", "after the course's due day, with assignments missing", rules.assignment_overdue),
    ]
    for kind, text, steps in after:
        if steps is not None:
            table.add_row(kind, text, *(f"+ {_days(ms)}" for ms in (steps.notice_ms, steps.warning_ms, steps.escalation_ms)))
    if rules.exam_due is not None:
        steps = rules.exam_due
        text = f"before the end of {p.ends}, gate met and no exam sat"
        table.add_row("exam_due", text, *(f"- {_days(ms)}" for ms in (steps.notice_ms, steps.warning_ms, steps.escalation_ms)))
    if rules.behind is not None:
        percents = (rules.behind.tolerance, rules.behind.warning, rules.behind.escalation)
        text = "share of the needed study time, so many points of 100 under the calendar's"
        table.add_row("behind", text, *(f"> {short(percent)}" for percent in percents))
    if rules.plagiarism_suspected:
        table.add_row("plagiarism_suspected", "while a case's latest ruling is suspected", "", "at once", "")
    return table


def _ownership(p: Programme) -> Iterator[str]:
    rules = p.attention
    if rules.county_after_ms is None or rules.city_after_ms is None:
        yield "A flag is the school's."
    else:
        yield (
            f"A flag is the school's; the county's {_days(rules.county_after_ms)} and the city's {_days(rules.city_after_ms)} after it was"
            " raised or last followed up."
        )


def _reminders(p: Programme) -> Iterator[str]:
    rules = p.reminders
    if rules is None:
        yield "No reminders."
        return
    times = [f"{at // 60:02d}:{at % 60:02d}" for at in (rules.quiet_from, rules.quiet_to)]
    quiet = "at any time of day" if rules.quiet_from == rules.quiet_to else f"not from {times[0]} to {times[1]}"
    yield f"Reminders: {quiet}, {_days(rules.least_between_ms)} or more apart, at most {rules.most_in_30_days} in 30 days."


def _tutors(p: Programme) -> Iterator[str]:
    rules = p.tutors
    if rules is not None:
        steps = ", ".join(f"from {first} learners {tutors}" for first, tutors in rules.school)
        yield f"Tutors of a school: {steps}; each with {rules.at_least} to {rules.at_most} learners."
