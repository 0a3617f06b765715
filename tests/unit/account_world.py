"""What the tests of the account share: events from a few words, two small programmes, and random lives of one learner."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

from hypothesis import strategies as st

from schemas.programme import load_text
from schemas.reading import Event, read_item
from services.scoring.core.account.model import Record

HOUR = 3_600_000
_ids = count(1)

RULES = """
id: acc
rules_version: 3
title: {zh: 小, en: small}
time_zone: Asia/Shanghai
calendar: {opens: 2023-05-29, starts: 2023-06-01, ends: 2023-06-20, results_final: 2023-06-24}
study_hour_minutes: 60
daily_cap_minutes: 50
selection: chosen
courses:
  - {id: c1, title: {zh: 一, en: one}, hours: 0.75, credits: 2.5}
  - {id: c2, title: {zh: 二, en: two}, hours: 1, credits: 4}
activities: [{id: act, title: {zh: 研, en: research}}, {id: idle, title: {zh: 闲, en: idle}}]
scoring:
  online:
    items:
      - {item: study, award: threshold, hours: 0.5, points: 15}
      - {item: assignments, count: 2, points_each: 7.5}
      - {item: interaction, questions: 1, replies: 2, points_each: 1.5}
      - {item: works, count: 1, points_each: 5, kinds: [lesson_design, teaching_case]}
      - {item: exam, points: 50, forms: [online], gate: {items: [study, assignments, interaction], at_least: 24}}
    pass: {total_at_least: 60}
  disc:
    items:
      - {item: process, points: 20}
      - {item: exam, points: 80, forms: [paper, online]}
    pass: {total_at_least: 60}
mode_rule: {online: {male_younger_than: 50, female_up_to: 45}, at: year_end}
credits: on_pass
result:
  passed: {courses: every_selected}
  excellent: {mean_total_at_least: 80}
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
"""
CHOSEN = load_text(RULES)
RULES_ALL = (
    RULES.replace("selection: chosen", "selection: all\ncap_at_course_hours: true")
    .replace("award: threshold", "award: proportional")
    .replace("daily_cap_minutes: 50\n", "")
    .replace("credits: on_pass", "credits: proportional")
    .replace("passed: {courses: every_selected}", "passed: {credited_hours: 1.25, accepted_works: {activity: act, count: 1}}")
)
ALL = load_text(RULES_ALL)
HOURS = load_text(
    RULES[: RULES.index("scoring:")]
    + "scoring: {}\ncredits: proportional\nresult: {passed: {credited_hours: 1}}\n"
    + "attention: {inactive: {notice_days: 1, warning_days: 2, escalation_days: 4}}\n"
)
"""As plan A: hours alone, no points."""
PROGRAMMES = {"chosen": CHOSEN, "all": ALL, "hours": HOURS}


def at(text: str) -> int:
    """`2023-06-05 10:00`, Shanghai time, as ms."""
    return int(datetime.fromisoformat(text + "+08:00").timestamp() * 1000)


def instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def event(kind: str, time: str | int, /, id: str = "", source: str = "/p", **data: Any) -> Event:
    """A sound event as the door would read it; instants in the short form of `at`, or ms."""
    ms = at(time) if isinstance(time, str) else time
    for name in ("started_at", "ended_at", "sat_at"):
        if data.get(name) is not None:
            data[name] = instant(at(data[name]) if isinstance(data[name], str) else data[name])
    if "score" in data:
        data["score"] = Decimal(str(data["score"]))
    found = read_item(
        {
            "specversion": "1.0",
            "id": id or f"a{next(_ids)}",
            "source": source,
            "type": f"chalkstream.{kind}.v1",
            "subject": "L1",
            "time": instant(ms),
            "programme": "acc",
            "data": data,
        }
    )
    assert isinstance(found, Event), found
    return found


def study(course: str, day: str, start: str, end: str, **more: Any) -> Event:
    """An interval on one local day."""
    return event(
        "study.recorded", f"{day} {end}", course_id=course, started_at=f"{day} {start}", ended_at=f"{day} {end}", channel="online", **more
    )


def records(events: list[Event]) -> list[Record]:
    return [Record(one, 0, n) for n, one in enumerate(events)]


# -- random lives -----------------------------------------------------------------------------------------------------

LOW, HIGH = CHOSEN.opens_ms - 24 * HOUR, CHOSEN.results_final_ms + 24 * HOUR
# coarse moments, so that ties, deadlines and midnights are met often
MOMENTS = st.integers(0, (HIGH - LOW) // (12 * HOUR)).map(lambda n: LOW + n * 12 * HOUR) | st.integers(LOW // 60_000, HIGH // 60_000).map(
    lambda minute: minute * 60_000
)
_COURSES = st.sampled_from(["c1", "c1", "c1", "c2", "gone"])
_SCORES = st.sampled_from(["0", "0.3333", "0.75", "0.8", "0.9999", "1"])
_FORMS = st.sampled_from(["online", "paper"])
_TWO = st.sampled_from(["1", "2", "3"])
_CLASS = {"class_id": st.sampled_from(["k1", "k2"]), "mode": st.sampled_from([None, None, "online", "disc"])}
_SHAPES: dict[str, dict[str, Any]] = {
    "learner.enrolled": _CLASS
    | {"birth_year": st.sampled_from([None, 1973, 1974, 1977, 1978]), "gender": st.sampled_from([None, "male", "female"])},
    "learner.registered": _CLASS,
    "learner.transferred": _CLASS,
    "learner.withdrawn": {},
    "learner.reinstated": {},
    "course.selected": {"course_id": _COURSES},
    "course.dropped": {"course_id": _COURSES},
    "platform.visited": {},
    "assignment.submitted": {"course_id": _COURSES, "assignment_id": _TWO, "submission_id": _TWO},
    "assignment.graded": {"course_id": _COURSES, "assignment_id": _TWO, "score": _SCORES, "grader_id": st.just("t")},
    "post.published": {"course_id": _COURSES, "post_id": st.sampled_from("abcde"), "kind": st.sampled_from(["question", "reply"])},
    "post.removed": {"course_id": _COURSES, "post_id": st.sampled_from("abcde")},
    "work.reviewed": {"work_id": _TWO, "verdict": st.sampled_from(["accepted", "returned"])},
    "work.removed": {"work_id": _TWO},
    "process.marked": {"course_id": _COURSES, "score": _SCORES, "marker_id": st.just("m")},
    "assessment.chosen": {"course_id": _COURSES, "form": _FORMS},
    "plagiarism.ruled": {"case_id": _TWO, "submission_id": _TWO, "verdict": st.sampled_from(["suspected", "confirmed", "cleared"])},
    "follow_up.recorded": {
        "flag": st.sampled_from(["inactive", "behind", "not_started", "not_registered", "exam_due", "assignment_overdue"]),
        "ref": st.sampled_from([None, "c1"]),
        "channel": st.just("phone"),
        "outcome": st.sampled_from(["reached", "promised"]),
        "staff_id": st.just("s"),
    },
    "reminder.delivered": {"reminder_id": _TWO, "channel": st.just("sms")},
    "certificate.issued": {"certificate_id": st.just("z")},
}
KINDS = [*_SHAPES, *["study.recorded"] * 8, *["exam.marked"] * 2, "work.published", "work.published", *["assignment.graded"] * 2]
_WHERE = st.sampled_from([{"course_id": "c1"}, {"course_id": "c2"}, {"course_id": "gone"}, {"activity_id": "act"}, {"activity_id": "idle"}])


@st.composite
def events(draw: st.DrawFn) -> Event:
    kind = draw(st.sampled_from(KINDS))
    time = draw(MOMENTS)
    id, source = draw(st.sampled_from("123456789")), draw(st.sampled_from(["/p", "/q"]))
    if kind == "study.recorded":
        start = time + 1000 * draw(st.sampled_from([-600, -1, 0, 0, 1, 300]))
        data: dict[str, Any] = {"course_id": draw(_COURSES), "started_at": start, "channel": draw(st.sampled_from(["online", "live"]))}
        data["ended_at"] = start + 1000 * draw(st.sampled_from([1, 299, 600, 900, 1800]))
    elif kind == "exam.marked":
        data = {"course_id": draw(_COURSES), "attempt_id": draw(_TWO), "form": draw(_FORMS), "score": draw(_SCORES)}
        data["sat_at"] = time - draw(st.sampled_from([0, 1, 48 * HOUR]))
    elif kind == "work.published":
        data = {"work_id": draw(_TWO), "kind": draw(st.sampled_from(["lesson_design", "teaching_case", "research_article"]))}
        data |= draw(_WHERE)
    else:
        data = {field: draw(strategy) for field, strategy in _SHAPES[kind].items()}
    return event(kind, time, id, source, **data)


_JOINED = [event("learner.registered", LOW + 72 * HOUR, class_id="k1"), event("course.selected", LOW + 72 * HOUR, course_id="c1")]
_MIDDAY = CHOSEN.starts_ms + 60 * HOUR
_DISC = [
    event("learner.transferred", LOW + 72 * HOUR, class_id="k1", mode="disc"),
    event("process.marked", _MIDDAY, course_id="c1", score="1", marker_id="m"),
    event("exam.marked", _MIDDAY, course_id="c1", attempt_id="9", form="paper", score="0.6", sat_at=_MIDDAY),
]
_ONLINE = [
    event("study.recorded", _MIDDAY, course_id="c1", started_at=_MIDDAY, ended_at=_MIDDAY + 1_800_000, channel="online"),
    event("assignment.graded", _MIDDAY, course_id="c1", assignment_id="1", score="1", grader_id="t"),
    event("work.published", _MIDDAY, work_id="9", kind="research_article", activity_id="act"),
    event("work.reviewed", _MIDDAY, work_id="9", verdict="accepted"),
]
_STARTS = st.sampled_from([[], _JOINED, _JOINED, _JOINED + _DISC, _JOINED + _ONLINE, _JOINED + _ONLINE])
LIVES = st.tuples(_STARTS, st.lists(events(), max_size=45)).map(lambda parts: [*parts[0], *parts[1]])
