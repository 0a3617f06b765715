"""Helpers of the core's tests: events from a few words, a learner from events, and two small programmes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from itertools import count
from pathlib import Path

from schemas.programme import Programme, load_programmes, load_text
from schemas.progress import CourseProgress, Flag, LearnerProgress
from schemas.reading import Event, read_item
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner

ROOT = Path(__file__).resolve().parents[2]
PROGRAMMES = load_programmes(ROOT / "schemas" / "programmes")
A = PROGRAMMES["guopei-shaanxi-2023"]
B = PROGRAMMES["zhuozhou-2023"]
_ids = count(1)


def at(text: str) -> int:
    """`2023-06-05 10:00`, Shanghai time, as ms."""
    return int(datetime.fromisoformat(text + "+08:00").timestamp() * 1000)


def instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(timespec="milliseconds")


def event(kind: str, time: str | int, /, id: str = "", source: str = "/p", **data: object) -> Event:
    """A sound event as the door would read it; `time`, started_at, ended_at, sat_at in the short form of `at` or ms."""
    ms = at(time) if isinstance(time, str) else time
    for name in ("started_at", "ended_at", "sat_at"):
        value = data.get(name)
        if value is not None:
            data[name] = instant(at(value) if isinstance(value, str) else int(str(value)))
    if "score" in data:
        data["score"] = Decimal(str(data["score"]))
    found = read_item(
        {
            "specversion": "1.0",
            "id": id or f"e{next(_ids)}",
            "source": source,
            "type": f"chalkstream.{kind}.v1",
            "subject": "L1",
            "time": instant(ms),
            "programme": "p",
            "data": data,
        }
    )
    assert isinstance(found, Event), found
    return found


def study(course: str, day: str, start: str, end: str) -> Event:
    """An interval on one local day; 24:00 is the next midnight."""
    until = f"{day} {end}" if end != "24:00" else f"{day} 23:59:59.999"
    finish = at(until) + (1 if end == "24:00" else 0)
    return event("study.recorded", finish, course_id=course, started_at=f"{day} {start}", ended_at=finish, channel="online")


def hours_of(course: str, first_day: int, hours: int, month: str = "2023-06") -> list[Event]:
    """Whole hours of study in half hours, at most 8 a day, from 08:00."""
    made = []
    for n in range(hours * 2):
        day, slot = divmod(n, 16)
        start, end = 8 * 60 + slot * 30, 8 * 60 + slot * 30 + 30
        text = f"{month}-{first_day + day:02d}"
        made.append(study(course, text, f"{start // 60:02d}:{start % 60:02d}", f"{end // 60:02d}:{end % 60:02d}"))
    return made


def learner_of(programme: Programme, events: Iterable[Event]) -> Learner:
    learner = Learner.new("L1")
    fold(programme, learner, map(fact_of, events))
    return learner


def progress_of(programme: Programme, events: Iterable[Event], now: str | int = "2023-06-02 00:00") -> LearnerProgress:
    return evaluate(programme, learner_of(programme, events), at(now) if isinstance(now, str) else now).progress


def course_of(progress: LearnerProgress, course: str) -> CourseProgress:
    return next(row for row in progress.courses if row.course_id == course)


def flags_of(programme: Programme, events: Iterable[Event], now: str | int) -> dict[tuple[str, str], Flag]:
    return {(flag.kind, flag.ref): flag for flag in progress_of(programme, events, now).flags}


SMALL = """
id: small
rules_version: 7
title: {zh: 小, en: small}
time_zone: Asia/Shanghai
calendar: {opens: 2023-05-29, starts: 2023-06-01, ends: 2023-06-14, results_final: 2023-06-17}
study_hour_minutes: 60
daily_cap_minutes: 40
selection: chosen
courses:
  - {id: c1, title: {zh: 一, en: one}, hours: 0.5, credits: 2.5}
  - {id: c2, title: {zh: 二, en: two}, hours: 0.75, credits: 4}
activities: [{id: act, title: {zh: 研, en: research}}]
scoring:
  online:
    items:
      - {item: study, award: proportional, hours: 0.5, points: 15}
      - {item: assignments, count: 1, points_each: 7.5}
      - {item: interaction, questions: 1, replies: 2, points_each: 1.5}
      - {item: works, count: 1, points_each: 5, kinds: [lesson_design, teaching_case]}
      - {item: exam, points: 50, forms: [online], gate: {items: [study, assignments, interaction], at_least: 12}}
    pass: {total_at_least: 40}
  disc:
    items:
      - {item: process, points: 20}
      - {item: exam, points: 80, forms: [paper, online]}
    pass: {total_at_least: 60}
mode_rule: {online: {male_younger_than: 50, female_up_to: 45}, at: year_end}
credits: on_pass
result:
  passed: {courses: every_selected}
  excellent: {mean_total_at_least: 60}
attention:
  registration: {within_days: 1, from: enrolled}
  not_registered: {notice_days: 0, warning_days: 1.5, escalation_days: 3}
  not_started: {notice_days: 1, warning_days: 2, escalation_days: 4}
  inactive: {notice_days: 1, warning_days: 2, escalation_days: 4}
  behind: {tolerance_percent: 15, warning_percent: 30, escalation_percent: 50}
  exam_due: {notice_days: 6, warning_days: 3, escalation_days: 1.25}
  assignment_overdue: {due: {c1: 2023-06-05, c2: 2023-06-08}, notice_days: 0.5, warning_days: 2, escalation_days: 3}
  plagiarism_suspected: {}
  ownership: {county_after_days: 1.5, city_after_days: 3}
reminders: {quiet_from: "21:00", quiet_to: "08:00", least_days_between: 3, most_in_30_days: 6}
"""

SMALL_ALL = (
    SMALL.replace("selection: chosen", "selection: all\ncap_at_course_hours: true")
    .replace("credits: on_pass", "credits: proportional")
    .replace("passed: {courses: every_selected}", "passed: {credited_hours: 1, accepted_works: {activity: act, count: 1}}")
)
CHOSEN = load_text(SMALL)
ALL = load_text(SMALL_ALL)
