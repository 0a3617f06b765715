"""The rule file's model: the public field names, what each may hold, and what is refused.

Numbers are read exactly from their text: `Hundredths` is an int of 1/100 of what is written, `Whole` a whole number.
What needs several fields is in `rulechecks`; reading, lines and messages are in `rulefile`.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas.ruleyaml import Plain

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
_LARGEST = Decimal(1_000_000_000)


def _number(value: object, decimals: int) -> int:
    if not isinstance(value, Plain) or not _NUMBER.fullmatch(value):
        raise ValueError("must be a number (without quotes)")
    number = Decimal(value)
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"must be between 0 and {_LARGEST}")
    scaled = number.scaleb(decimals)
    if scaled != int(scaled):
        raise ValueError("must be a whole number" if decimals == 0 else f"has more than {decimals} decimals")
    return int(scaled)


def _hundredths(value: object) -> int:
    return _number(value, 2)


def _whole(value: object) -> int:
    return _number(value, 0)


def _yes(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Plain) and value in ("true", "false"):
        return value == "true"
    raise ValueError("must be true or false")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return str(value)


def _day(value: object) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        day = date.fromisoformat(value)
        if 1970 <= day.year <= 2099:
            return day
    raise ValueError("must be a day YYYY-MM-DD from 1970 to 2099")


def _minute(value: object) -> int:
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if not found:
        raise ValueError('must be a time of day "HH:MM"')
    return int(found[1]) * 60 + int(found[2])


def _zone(value: object) -> str:
    try:
        return ZoneInfo(_text(value)).key
    except Exception as error:
        raise ValueError("is not a known time zone") from error


def _identifier(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ValueError("must be 1 to 64 of A-Z a-z 0-9 . _ -")
    return text


Hundredths = Annotated[int, BeforeValidator(_hundredths)]
Whole = Annotated[int, BeforeValidator(_whole)]
Yes = Annotated[bool, BeforeValidator(_yes)]
Text = Annotated[str, BeforeValidator(_text)]
Id = Annotated[str, BeforeValidator(_identifier)]
Day = Annotated[date, BeforeValidator(_day)]
Minute = Annotated[int, BeforeValidator(_minute)]
Zone = Annotated[str, BeforeValidator(_zone)]
Form = Literal["online", "paper"]
WorkKind = Literal["classroom_record", "lesson_design", "teaching_narrative", "teaching_case", "research_article"]
GateItem = Literal["study", "assignments", "interaction", "works", "process"]
Some = Field(min_length=1)


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Title(Part):
    zh: Text
    en: Text


class Phase(Part):
    id: Id
    title: Title
    due: Day
    level: Text


class Calendar(Part):
    opens: Day
    starts: Day
    ends: Day
    results_final: Day
    phases: list[Phase] = []


class Course(Part):
    id: Id
    title: Title
    module: Text = ""
    hours: Hundredths
    credits: Hundredths = 0


class Activity(Part):
    id: Id
    title: Title


class StudyItem(Part):
    item: Literal["study"]
    award: Literal["threshold", "proportional"]
    hours: Hundredths
    points: Hundredths


class AssignmentsItem(Part):
    item: Literal["assignments"]
    count: Whole
    points_each: Hundredths


class InteractionItem(Part):
    item: Literal["interaction"]
    questions: Whole
    replies: Whole
    points_each: Hundredths


class WorksItem(Part):
    item: Literal["works"]
    count: Whole
    points_each: Hundredths
    kinds: Annotated[list[WorkKind], Some]


class ProcessItem(Part):
    item: Literal["process"]
    points: Hundredths


class Gate(Part):
    items: Annotated[list[GateItem], Some]
    at_least: Hundredths


class ExamItem(Part):
    item: Literal["exam"]
    points: Hundredths
    forms: Annotated[list[Form], Some]
    gate: Gate | None = None


Item = Annotated[StudyItem | AssignmentsItem | InteractionItem | WorksItem | ProcessItem | ExamItem, Field(discriminator="item")]


class Pass(Part):
    total_at_least: Hundredths


class Scheme(Part):
    items: list[Item] = []
    pass_: Annotated[Pass, Field(alias="pass")]


class Scoring(Part):
    online: Scheme | None = None
    disc: Scheme | None = None


class OnlineAges(Part):
    male_younger_than: Hundredths
    female_up_to: Hundredths


class ModeRule(Part):
    online: OnlineAges
    at: Literal["year_end"]


class AcceptedWorks(Part):
    activity: Id
    count: Whole


class Conditions(Part):
    """All that are given must hold."""

    courses: Literal["every_selected"] | None = None
    credited_hours: Hundredths | None = None
    accepted_works: AcceptedWorks | None = None
    mean_total_at_least: Hundredths | None = None


class Result(Part):
    passed: Conditions
    excellent: Conditions | None = None
    plagiarism_fails: Yes = True


class Registration(Part):
    within_days: Hundredths
    from_: Annotated[Literal["enrolled"], Field(alias="from")]


class Steps(Part):
    notice_days: Hundredths
    warning_days: Hundredths
    escalation_days: Hundredths


class Behind(Part):
    tolerance_percent: Hundredths
    warning_percent: Hundredths
    escalation_percent: Hundredths


class Overdue(Steps):
    due: dict[Text, Day]


class Nothing(Part):
    pass


class Ownership(Part):
    county_after_days: Hundredths
    city_after_days: Hundredths


class Attention(Part):
    registration: Registration | None = None
    not_registered: Steps | None = None
    not_started: Steps | None = None
    inactive: Steps | None = None
    behind: Behind | None = None
    exam_due: Steps | None = None
    assignment_overdue: Overdue | None = None
    plagiarism_suspected: Nothing | None = None
    ownership: Ownership | None = None


class Reminders(Part):
    quiet_from: Minute
    quiet_to: Minute
    least_days_between: Hundredths
    most_in_30_days: Whole


class Load(Part):
    """Learners that one tutor looks after."""

    at_least: Whole
    at_most: Whole


class SchoolTutors(Part):
    """A school of so many learners or more has so many tutors."""

    from_learners: Whole
    tutors: Whole


class Tutors(Part):
    learners_each: Load
    school: Annotated[list[SchoolTutors], Some]

    @model_validator(mode="after")
    def _rising(self) -> Tutors:
        if not 0 < self.learners_each.at_least <= self.learners_each.at_most:
            raise ValueError("learners_each: 0 < at_least <= at_most must hold")
        for before, after in pairwise(self.school):
            if not (before.from_learners < after.from_learners and before.tutors <= after.tutors):
                raise ValueError("school: from_learners must rise, and tutors must not fall")
        return self


class RuleFile(Part):
    id: Id
    rules_version: Whole
    title: Title
    time_zone: Zone
    calendar: Calendar
    study_hour_minutes: Hundredths
    longest_interval_minutes: Hundredths = 3000
    daily_cap_minutes: Hundredths | None = None
    selection: Literal["chosen", "all"]
    cap_at_course_hours: Yes = False
    courses: list[Course] = []
    activities: list[Activity] = []
    scoring: Scoring = Scoring()
    mode_rule: ModeRule | None = None
    credits: Literal["on_pass", "proportional"]
    result: Result
    attention: Attention = Attention()
    reminders: Reminders | None = None
    tutors: Tutors | None = None
