"""Programmes as the code uses them: rule files (`schemas/programmes/*.yaml`) turned into exact integers once, at start.

Units: `*_ms` milliseconds (instants since 1970 UTC, or lengths), `*_seconds` whole seconds, points, credits and percents
ints of 1/100. Days are `YYYY-MM-DD` in the programme's time zone. The programme runs in [starts_ms, ends_ms); events are
taken from opens_ms on; whoever has not passed at results_final_ms has failed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from schemas.days import Days
from schemas.rulefile import read_rules, read_warnings
from schemas.rulemodel import Conditions, ExamItem, Reminders, RuleFile, Scheme, Steps, Tutors
from schemas.ruleyaml import Document, RuleError, read_document

__all__ = ["Programme", "RuleError", "digest", "load_programme", "load_programmes", "programme_of"]

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Course:
    """`seconds` is the length of its hours; `hours` and `credits` are of 1/100."""

    id: str
    title: Mapping[str, str]
    module: str
    hours: int
    seconds: int
    credits: int


@dataclass(frozen=True, slots=True)
class Named:
    id: str
    title: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Phase:
    """`due` is the last local day, `due_ms` the instant at which that day is over; `level` says who owes it."""

    id: str
    title: Mapping[str, str]
    due: str
    due_ms: int
    level: str


@dataclass(frozen=True, slots=True)
class Study:
    threshold: bool
    seconds: int
    points: int


@dataclass(frozen=True, slots=True)
class Assignments:
    count: int
    points_each: int


@dataclass(frozen=True, slots=True)
class Interaction:
    questions: int
    replies: int
    points_each: int


@dataclass(frozen=True, slots=True)
class Works:
    count: int
    points_each: int
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class Process:
    points: int


@dataclass(frozen=True, slots=True)
class Exam:
    """Without a gate `gate_items` is None."""

    points: int
    forms: tuple[str, ...]
    gate_items: frozenset[str] | None
    gate_at_least: int


@dataclass(frozen=True, slots=True)
class Mode:
    """How a mode scores a course: at most one item of a kind, and the total that passes."""

    study: Study | None
    assignments: Assignments | None
    interaction: Interaction | None
    works: Works | None
    process: Process | None
    exam: Exam | None
    pass_at: int


@dataclass(frozen=True, slots=True)
class Criteria:
    """Conditions of a result, all of which must hold; None is no condition. `accepted_works` is (activity, count)."""

    every_selected: bool
    credited_seconds: int | None
    accepted_works: tuple[str, int] | None
    mean_total: int | None


@dataclass(frozen=True, slots=True)
class ThresholdsMs:
    """From a flag's base: when it opens, becomes a warning, becomes an escalation."""

    notice_ms: int
    warning_ms: int
    escalation_ms: int


@dataclass(frozen=True, slots=True)
class BehindPercents:
    tolerance: int
    warning: int
    escalation: int


@dataclass(frozen=True, slots=True)
class AttentionRules:
    """A kind that is None is off. `overdue_ms` has by course the instant at which its due day is over."""

    not_registered: ThresholdsMs | None
    within_ms: int
    not_started: ThresholdsMs | None
    inactive: ThresholdsMs | None
    behind: BehindPercents | None
    exam_due: ThresholdsMs | None
    assignment_overdue: ThresholdsMs | None
    overdue_ms: Mapping[str, int]
    plagiarism_suspected: bool
    county_after_ms: int | None
    city_after_ms: int | None


@dataclass(frozen=True, slots=True)
class ReminderRules:
    """Quiet from and to are minutes of the local day (equal: never quiet)."""

    quiet_from: int
    quiet_to: int
    least_between_ms: int
    most_in_30_days: int


@dataclass(frozen=True, slots=True)
class TutorRules:
    """How many learners a tutor looks after, and `school`: (from so many learners, tutors) in rising order."""

    at_least: int
    at_most: int
    school: tuple[tuple[int, int], ...]

    def required(self, learners: int) -> int:
        """Tutors that a school of so many learners has to have: those of its size, more where each had above `at_most`."""
        by_size = max((tutors for first, tutors in self.school if learners >= first), default=0)
        return max(by_size, -(-learners // self.at_most))


@dataclass(frozen=True, slots=True)
class OnlineAges:
    """In 1/100 years, as written in the file."""

    male_younger_than: int
    female_up_to: int


@dataclass(frozen=True, slots=True)
class Programme:
    """One programme's rules, exact. `study_hour` is the hour in 1/100 s; `digest` changes with every change of meaning."""

    id: str
    rules_version: int
    title: Mapping[str, str]
    time_zone: str
    opens: str
    starts: str
    ends: str
    results_final: str
    opens_ms: int
    starts_ms: int
    ends_ms: int
    results_final_ms: int
    phases: tuple[Phase, ...]
    study_hour: int
    longest_interval_seconds: int
    daily_cap_seconds: int | None
    select_all: bool
    cap_at_course_hours: bool
    courses: Mapping[str, Course]
    activities: Mapping[str, Named]
    modes: Mapping[str, Mode]
    online_ages: OnlineAges | None
    credits_on_pass: bool
    passed: Criteria
    excellent: Criteria | None
    plagiarism_fails: bool
    attention: AttentionRules
    reminders: ReminderRules | None
    digest: str
    midnights_ms: tuple[int, ...] = field(repr=False)
    """Every local midnight in [starts_ms, ends_ms), ascending; `midnight_days` has the day that begins there."""
    midnight_days: tuple[str, ...] = field(repr=False)
    days: Days = field(repr=False, compare=False)
    year: int = 0
    """The year in which `starts` lies: ages count at its end."""
    tutors: TutorRules | None = None
    warnings: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """What its rule file says but hardly means, as `path:line: field: reason`."""

    def day_of(self, ms: int) -> str:
        """The local day of an instant."""
        return self.days.day_of(ms)

    def day_start_ms(self, day: str) -> int:
        """The first instant of a local day."""
        return self.days.start_ms(day)

    def day_after(self, day: str) -> str:
        """The next local day."""
        return self.days.after(day)

    def study_hours(self, seconds: int) -> int:
        """Seconds as study hours in 1/100, cut, never rounded up."""
        return seconds * 10_000 // self.study_hour

    def mode_by_rule(self, birth_year: int | None, gender: str | None) -> str:
        """`online` or `disc` by the programme's mode rule; online where something is unknown."""
        ages = self.online_ages
        if ages is None or birth_year is None or gender is None:
            return "online"
        age = (self.year - birth_year) * 100
        return "online" if (age < ages.male_younger_than if gender == "male" else age <= ages.female_up_to) else "disc"


def _days_ms(hundredths: int) -> int:
    return hundredths * (DAY_MS // 100)


def _thresholds(steps: Steps | None) -> ThresholdsMs | None:
    if steps is None:
        return None
    return ThresholdsMs(_days_ms(steps.notice_days), _days_ms(steps.warning_days), _days_ms(steps.escalation_days))


def _reminders(rules: Reminders | None) -> ReminderRules | None:
    if rules is None:
        return None
    return ReminderRules(rules.quiet_from, rules.quiet_to, _days_ms(rules.least_days_between), rules.most_in_30_days)


def _mode(scheme: Scheme, hour: int) -> Mode:
    items = {item.item: item for item in scheme.items}

    def exam(item: ExamItem) -> Exam:
        gate = item.gate
        return Exam(item.points, tuple(item.forms), frozenset(gate.items) if gate else None, gate.at_least if gate else 0)

    made: dict[str, object] = {}
    for item in items.values():
        if item.item == "study":
            made["study"] = Study(item.award == "threshold", item.hours * hour // 10_000, item.points)
        elif item.item == "assignments":
            made["assignments"] = Assignments(item.count, item.points_each)
        elif item.item == "interaction":
            made["interaction"] = Interaction(item.questions, item.replies, item.points_each)
        elif item.item == "works":
            made["works"] = Works(item.count, item.points_each, frozenset(item.kinds))
        elif item.item == "process":
            made["process"] = Process(item.points)
        else:
            made["exam"] = exam(item)
    parts = {name: made.get(name) for name in ("study", "assignments", "interaction", "works", "process", "exam")}
    return Mode(**parts, pass_at=scheme.pass_.total_at_least)  # type: ignore[arg-type]


def _criteria(conditions: Conditions, hour: int) -> Criteria:
    works = conditions.accepted_works
    hours = conditions.credited_hours
    return Criteria(
        conditions.courses is not None,
        None if hours is None else hours * hour // 10_000,
        (works.activity, works.count) if works else None,
        conditions.mean_total_at_least,
    )


def _tutors(rules: Tutors | None) -> TutorRules | None:
    if rules is None:
        return None
    load = rules.learners_each
    return TutorRules(load.at_least, load.at_most, tuple((step.from_learners, step.tutors) for step in rules.school))


def programme_of(rules: RuleFile) -> Programme:
    """The exact form of a sound rule file."""
    calendar = rules.calendar
    margin = timedelta(days=400)  # facts outside lie within CONTRACTS' 1970 to 2100 and take the slower way
    first = max(min(calendar.opens - margin, calendar.results_final), date(1970, 1, 2))
    days = Days(rules.time_zone, first, calendar.results_final + margin)
    hour = rules.study_hour_minutes * 60  # minutes in 1/100 -> 1/100 s

    def start(day: date) -> int:
        return days.start_ms(day.isoformat())

    def end(day: date) -> int:
        return start(day + timedelta(days=1))

    attention = rules.attention
    overdue = attention.assignment_overdue
    ownership = attention.ownership
    behind = attention.behind
    cap = rules.daily_cap_minutes
    ages = rules.mode_rule.online if rules.mode_rule else None
    length = (calendar.ends - calendar.starts).days + 1
    text = json.dumps(rules.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    schemes = {"online": rules.scoring.online, "disc": rules.scoring.disc}
    return Programme(
        id=rules.id,
        rules_version=rules.rules_version,
        title=rules.title.model_dump(),
        time_zone=rules.time_zone,
        opens=calendar.opens.isoformat(),
        starts=calendar.starts.isoformat(),
        ends=calendar.ends.isoformat(),
        results_final=calendar.results_final.isoformat(),
        opens_ms=start(calendar.opens),
        starts_ms=start(calendar.starts),
        ends_ms=end(calendar.ends),
        results_final_ms=start(calendar.results_final),
        phases=tuple(Phase(p.id, p.title.model_dump(), p.due.isoformat(), end(p.due), p.level) for p in calendar.phases),
        study_hour=hour,
        longest_interval_seconds=rules.longest_interval_minutes * 60 // 100,
        daily_cap_seconds=None if cap is None else cap * 60 // 100,
        select_all=rules.selection == "all",
        cap_at_course_hours=rules.cap_at_course_hours,
        courses={c.id: Course(c.id, c.title.model_dump(), c.module, c.hours, c.hours * hour // 10_000, c.credits) for c in rules.courses},
        activities={a.id: Named(a.id, a.title.model_dump()) for a in rules.activities},
        modes={name: _mode(scheme, hour) for name, scheme in schemes.items() if scheme},
        online_ages=OnlineAges(ages.male_younger_than, ages.female_up_to) if ages else None,
        credits_on_pass=rules.credits == "on_pass",
        passed=_criteria(rules.result.passed, hour),
        excellent=_criteria(rules.result.excellent, hour) if rules.result.excellent else None,
        plagiarism_fails=rules.result.plagiarism_fails,
        attention=AttentionRules(
            not_registered=_thresholds(attention.not_registered),
            within_ms=_days_ms(attention.registration.within_days) if attention.registration else 0,
            not_started=_thresholds(attention.not_started),
            inactive=_thresholds(attention.inactive),
            behind=BehindPercents(behind.tolerance_percent, behind.warning_percent, behind.escalation_percent) if behind else None,
            exam_due=_thresholds(attention.exam_due),
            assignment_overdue=_thresholds(overdue),
            overdue_ms={course: end(day) for course, day in overdue.due.items()} if overdue else {},
            plagiarism_suspected=attention.plagiarism_suspected is not None,
            county_after_ms=_days_ms(ownership.county_after_days) if ownership else None,
            city_after_ms=_days_ms(ownership.city_after_days) if ownership else None,
        ),
        reminders=_reminders(rules.reminders),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        midnights_ms=tuple(start(calendar.starts + timedelta(days=n)) for n in range(length)),
        midnight_days=tuple((calendar.starts + timedelta(days=n)).isoformat() for n in range(length)),
        days=days,
        year=calendar.starts.year,
        tutors=_tutors(rules.tutors),
    )


def load_programme(path: Path) -> Programme:
    """The programme of one rule file, with what it is warned of. Raises RuleError (path, line, reason; all of its `problems`)."""
    return _loaded(read_document(path))


def _loaded(document: Document) -> Programme:
    rules = read_rules(document)
    said = tuple(f"{document.path}:{one.line}: {one.text}" for one in read_warnings(document, rules))
    return replace(programme_of(rules), warnings=said)


def load_text(text: str, path: str = "rules.yaml") -> Programme:
    """Like `load_programme`, from text that is already here."""
    return _loaded(Document(path, text))


def load_programmes(folder: Path | str) -> dict[str, Programme]:
    """Every `*.yaml` and `*.yml` of a folder by programme id, in the order of the ids.

    Raises RuleError (path, line, reason) for the first file that is wrong, or where two files have one id.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RuleError(folder, 0, "is no folder of rule files (CHALK_PROGRAMMES)")
    found: dict[str, Programme] = {}
    origin: dict[str, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and p.is_file()):
        document = read_document(path)
        programme = _loaded(document)
        if programme.id in found:
            raise RuleError(path, document.line(("id",)), f"id: {programme.id} is the id of {origin[programme.id]}, too")
        found[programme.id] = programme
        origin[programme.id] = path
    return dict(sorted(found.items()))


def digest(programmes: Mapping[str, Programme]) -> str:
    """SHA-256 (hex) of everything loaded; it changes where any rule changes, not where only comments or layout do."""
    return hashlib.sha256("".join(f"{key} {programmes[key].digest}\n" for key in sorted(programmes)).encode()).hexdigest()
