"""A well-known fault: an active learner is flagged, because a filter (course, window, what earns) ran before the maximum.

Here `last_active_at` and `inactive` look at every act of the learner: on any course or none, earning or not, counting or not.
"""

from __future__ import annotations

import pytest

from tests.golden.doors import (
    B,
    at,
    exam,
    flags,
    follow_up,
    graded,
    post,
    process,
    record,
    row,
    ruled,
    selected,
    study,
    submitted,
    told,
    turns,
    utc,
    work,
)

NOW = "2023-06-15 12:00"
ACT = "2023-06-14 09:00"  # yesterday
INACTIVE = ("inactive", "")
BASE = [
    record("learner.registered", "2023-06-01 09:00", class_id="k1", mode="online"),
    selected(),
    study("c-reading", "2023-06-05 10:00", "2023-06-05 10:20"),
]
DROPPED = [selected("c-ict", "2023-06-02 09:00"), record("course.dropped", "2023-06-03 09:00", course_id="c-ict")]
FULL_DAY = [
    study("c-reading", f"2023-06-14 0{hour}:{half}0:00", f"2023-06-14 0{hour}:{half + 2}9:59") for hour in range(8) for half in (0, 3)
]

ACTS = {
    "a visit": [record("platform.visited", ACT)],
    "study of a course not selected": [study("c-maths", "2023-06-14 08:40", ACT)],
    "study of a course that the rules do not know": [study("c-gone", "2023-06-14 08:40", ACT)],
    "study of a dropped course": [*DROPPED, study("c-ict", "2023-06-14 08:40", ACT)],
    "study that another interval covers": [study("c-maths", "2023-06-14 08:30", ACT), study("c-maths", "2023-06-14 08:40", ACT)],
    "study beyond the daily cap": [*FULL_DAY, study("c-reading", "2023-06-14 08:30", ACT)],
    "selecting another course": [selected("c-maths", ACT)],
    "dropping another course": [record("course.dropped", ACT, course_id="c-maths")],
    "registering again": [record("learner.registered", ACT, class_id="k1", mode="online")],
    "work handed in on a course not selected": [submitted("a1", ACT, "c-maths")],
    "a post on a course not selected": [post("q", "question", ACT, "c-maths")],
    "a post that was removed": [post("q", "question", ACT), record("post.removed", "2023-06-14 10:00", course_id="c-reading", post_id="q")],
    "a work of a kind that earns nothing": [work("w", "research_article", ACT, course_id="c-maths")],
    "a work that was removed": [work("w", time=ACT), record("work.removed", "2023-06-14 10:00", work_id="w")],
    "a choice of form": [record("assessment.chosen", ACT, course_id="c-maths", form="paper")],
    "an exam held back by the gate": [exam("0.9", sat=ACT, time="2023-06-15 09:00")],
    "an exam whose ruling comes too late to count": [exam("0.9", sat=ACT, time="2024-02-01 09:00", course="c-maths")],
}
ON_READING = {"study beyond the daily cap", "a post that was removed", "a work that was removed", "an exam held back by the gate"}


@pytest.mark.parametrize("name", ACTS)
def test_whoever_was_active_yesterday_is_not_inactive(name: str) -> None:
    facts = [*BASE, *ACTS[name]]
    progress = told(B, facts, NOW)
    assert progress.last_active_at == utc(ACT)
    assert INACTIVE not in {(flag.kind, flag.ref) for flag in progress.flags}
    assert row(progress).last_active_at == utc(ACT if name in ON_READING else "2023-06-05 10:20")  # a course's own acts alone
    before, then = turns(B, facts, INACTIVE, "2023-06-17 09:00")  # three days after that act
    assert before is None
    assert then is not None and then.raised_at == utc("2023-06-17 09:00")


def test_dropping_the_only_course_takes_its_row_and_not_the_act() -> None:
    progress = told(B, [*BASE, record("course.dropped", ACT, course_id="c-reading")], NOW)
    assert (progress.courses, progress.last_active_at) == ([], utc(ACT))
    assert INACTIVE not in {(flag.kind, flag.ref) for flag in progress.flags}


NO_ACTS = {
    "a grade": [graded("a1", "1", ACT)],
    "a process mark": [process("1", ACT)],
    "a review": [record("work.reviewed", ACT, work_id="w", verdict="accepted")],
    "a removal": [record("post.removed", ACT, course_id="c-reading", post_id="q")],
    "an enrolment": [record("learner.enrolled", ACT, class_id="k1")],
    "a transfer": [record("learner.transferred", ACT, class_id="k2")],
    "a ruling": [ruled("cleared", ACT)],
    "a follow-up": [follow_up("inactive", ACT)],
    "a reminder": [record("reminder.delivered", ACT, reminder_id="r", channel="sms")],
    "a certificate": [record("certificate.issued", ACT, certificate_id="z")],
    "an old act that arrives now": [record("platform.visited", "2023-06-04 09:00")],
}


@pytest.mark.parametrize("name", NO_ACTS)
def test_what_others_do_is_no_activity_of_the_learner(name: str) -> None:
    progress = told(B, [*BASE, *NO_ACTS[name]], NOW)
    assert progress.last_active_at == utc("2023-06-05 10:20")
    assert {(flag.kind, flag.ref): flag.raised_at for flag in progress.flags}[INACTIVE] == utc("2023-06-08 10:20")


def test_acts_outside_the_programme_are_acts() -> None:
    early = record("platform.visited", "2023-04-01 09:00")
    late = record("platform.visited", "2024-02-01 09:00")
    progress = told(B, [*BASE, early, late], "2024-02-02 00:00")
    assert (progress.first_active_at, progress.last_active_at) == (utc("2023-04-01 09:00"), utc("2024-02-01 09:00"))
    assert progress.started_at == utc("2023-04-01 09:00")
    # study that began before the start earns nothing, and is an act at its end
    eve = study("c-reading", "2023-05-31 23:50", "2023-06-01 00:10")
    assert told(B, [eve], NOW).last_active_at == utc("2023-06-01 00:10")
    assert flags(B, [eve], at("2023-06-04 00:10") - 1) == {}
    assert set(flags(B, [eve], "2023-06-04 00:10")) == {INACTIVE}
