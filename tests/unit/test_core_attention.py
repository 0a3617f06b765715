"""Flags at their edges, and what the log says when they end."""

from __future__ import annotations

import pytest
from core_world import CHOSEN, A, B, at, event, flags_of, hours_of, learner_of, progress_of, study

from schemas.programme import Programme
from schemas.progress import instant
from schemas.reading import Event
from services.scoring.core.attention import changes, reminder_id, reminder_of
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold

REGISTERED = event("learner.registered", "2023-06-01 09:00", class_id="k1", mode="online")
MATHS = event("course.selected", "2023-06-01 09:00", course_id="c-maths")
VISIT = event("platform.visited", "2023-06-05 10:00")


def lines(programme: Programme, before: list[Event], then: str, after: list[Event], now: str) -> list[tuple[str, str, str]]:
    """(kind, ref, change) logged at `now`, having published at `then`."""
    learner = learner_of(programme, before)
    flags = evaluate(programme, learner, at(then)).progress.flags
    fold(programme, learner, map(fact_of, after))
    progress = evaluate(programme, learner, at(now)).progress
    return [(line.kind, line.ref, line.change) for line in changes(programme, learner, flags, progress, at(now))]


def test_severity_and_owner_rise_at_their_moments() -> None:
    facts = [REGISTERED, VISIT]

    def seen(text: str, before: int = 0) -> tuple[str, str]:
        flag = flags_of(B, facts, at(text) - before)["inactive", ""]
        return flag.severity, flag.owner_level

    assert seen("2023-06-12 10:00", 1) == ("notice", "school")
    assert seen("2023-06-12 10:00") == ("warning", "school")
    assert seen("2023-06-15 10:00", 1) == ("warning", "school")
    assert seen("2023-06-15 10:00") == ("warning", "county")
    assert seen("2023-06-19 10:00") == ("escalation", "county")
    assert seen("2023-06-22 10:00") == ("escalation", "city")


def test_next_change_names_each_of_them() -> None:
    learner = learner_of(B, [REGISTERED, VISIT])
    now, met = at("2023-06-05 10:00"), []
    while now < at("2023-06-23 00:00"):
        change = evaluate(B, learner, now).next_change_ms
        assert change is not None
        now = change
        met.append(now)
    for text in ("2023-06-08", "2023-06-12", "2023-06-15", "2023-06-19", "2023-06-22"):
        assert at(text + " 10:00") in met
    assert evaluate(B, learner, B.ends_ms).next_change_ms == B.results_final_ms
    assert evaluate(B, learner, B.results_final_ms).next_change_ms is None
    assert evaluate(B, learner, B.results_final_ms).progress.result == "failed"


def test_a_follow_up_keeps_the_flag_at_school() -> None:
    def follow_up(time: str, flag: str = "inactive", **ref: str) -> Event:
        return event("follow_up.recorded", time, flag=flag, channel="phone", outcome="promised", staff_id="s1", **ref)

    facts = [REGISTERED, VISIT, follow_up("2023-06-14 10:00"), follow_up("2023-06-05 09:59"), follow_up("2023-06-14 11:00", "behind")]
    flag = flags_of(B, facts, "2023-06-20 10:00")["inactive", ""]
    assert (flag.owner_level, flag.follow_ups, flag.last_outcome) == ("school", 1, "promised")
    assert flag.last_follow_up_at == instant(at("2023-06-14 10:00"))
    assert flags_of(B, facts, "2023-06-21 10:00")["inactive", ""].owner_level == "county"
    other = [REGISTERED, VISIT, follow_up("2023-06-14 10:00", ref="c-maths")]
    assert flags_of(B, other, "2023-06-20 10:00")["inactive", ""].follow_ups == 0


def test_no_flag_for_the_withdrawn_and_a_fresh_start_for_the_reinstated() -> None:
    withdrawn = [REGISTERED, VISIT, event("learner.withdrawn", "2023-06-20 10:00")]
    assert flags_of(B, withdrawn, "2023-06-30 10:00") == {}
    back = [*withdrawn, event("learner.reinstated", "2023-06-25 10:00")]
    assert flags_of(B, back, at("2023-06-28 10:00") - 1) == {}
    assert flags_of(B, back, "2023-06-28 10:00")["inactive", ""].raised_at == instant(at("2023-06-28 10:00"))
    assert not progress_of(B, back).withdrawn
    assert progress_of(B, withdrawn).withdrawn


def test_behind_at_midnights() -> None:
    """16 hours in 214 days: more than 15 points under from the 34th day on (33/214 = 15.4 %)."""
    facts = [REGISTERED, MATHS, event("platform.visited", "2023-07-01 10:00")]
    key = ("behind", "")
    assert key not in flags_of(B, facts, at("2023-07-04 00:00") - 1)
    assert flags_of(B, facts, "2023-07-04 00:00")[key].raised_at == instant(at("2023-07-04 00:00"))
    assert flags_of(B, facts, "2023-08-04 12:00")[key].severity == "notice"
    assert flags_of(B, facts, "2023-08-05 12:00")[key].severity == "warning"  # 65/214 = 30.4 %
    caught_up = [*facts, *hours_of("c-maths", 1, 8, "2023-08")]
    assert key in flags_of(B, caught_up, "2023-08-01 23:59")
    assert key not in flags_of(B, caught_up, "2023-08-02 00:00")
    assert key in flags_of(B, caught_up, "2023-11-30 00:00")
    assert flags_of(B, caught_up, "2023-12-30 00:00")[key].raised_at > instant(at("2023-10-01 00:00"))


def test_assignment_overdue_and_selection() -> None:
    key = ("assignment_overdue", "c-maths")
    facts = [REGISTERED, MATHS]
    assert key not in flags_of(B, facts, at("2023-11-01 00:00") - 1)
    assert flags_of(B, facts, "2023-11-01 00:00")[key].severity == "notice"
    late = [REGISTERED, MATHS, event("course.dropped", "2023-11-02 10:00", course_id="c-maths")]
    assert key not in flags_of(B, late, "2023-11-05 00:00")
    again = [*late, event("course.selected", "2023-11-03 10:00", course_id="c-maths")]
    assert flags_of(B, again, "2023-11-05 00:00")[key].raised_at == instant(at("2023-11-03 10:00"))

    def submitted(name: str, time: str) -> Event:
        return event("assignment.submitted", time, course_id="c-maths", assignment_id=name, submission_id=name)

    one = submitted("a1", "2023-10-30 10:00")
    after = [submitted("a2", "2023-11-04 10:00")]
    assert lines(B, [*facts, one], "2023-11-03 00:00", after, "2023-11-04 12:00")[0] == (*key, "cleared")
    before = [submitted("a2", "2023-10-31 23:00")]
    assert lines(B, [*facts, one], "2023-11-03 00:00", before, "2023-11-04 12:00")[0] == (*key, "retracted")


def test_exam_due_near_the_end() -> None:
    disc = event("learner.registered", "2023-06-01 09:00", class_id="k1", mode="disc")
    key = ("exam_due", "c-maths")
    assert key not in flags_of(B, [disc, MATHS], at("2023-12-18 00:00") - 1)
    assert flags_of(B, [disc, MATHS], "2023-12-18 00:00")[key].severity == "notice"
    assert flags_of(B, [disc, MATHS], "2023-12-25 00:00")[key].severity == "warning"
    assert flags_of(B, [disc, MATHS], "2023-12-29 00:00")[key].severity == "escalation"
    assert flags_of(B, [disc, MATHS], "2024-01-01 00:00") == {}
    assert key not in flags_of(B, [REGISTERED, MATHS], "2023-12-29 00:00")  # the gate is not met

    def sat(time: str) -> Event:
        return event("exam.marked", "2023-12-20 10:00", course_id="c-maths", attempt_id="x", form="paper", score="0.1", sat_at=time)

    assert (*key, "retracted") in lines(B, [disc, MATHS], "2023-12-19 00:00", [sat("2023-12-17 09:00")], "2023-12-20 11:00")
    assert (*key, "cleared") in lines(B, [disc, MATHS], "2023-12-19 00:00", [sat("2023-12-19 09:00")], "2023-12-20 11:00")


def test_suspicion_is_open_whatever_the_calendar_says() -> None:
    def ruled(time: str, verdict: str) -> Event:
        return event("plagiarism.ruled", time, case_id="k9", submission_id="s1", verdict=verdict)

    key = ("plagiarism_suspected", "k9")
    facts = [ruled("2023-06-10 10:00", "suspected"), ruled("2023-06-11 10:00", "suspected")]
    assert flags_of(B, facts, "2024-03-01 10:00")[key].raised_at == instant(at("2023-06-10 10:00"))
    assert flags_of(B, facts, "2024-03-01 10:00")[key].severity == "warning"
    cleared = [*facts, ruled("2023-06-12 10:00", "cleared"), ruled("2023-06-13 10:00", "suspected")]
    assert flags_of(B, cleared, "2024-03-01 10:00")[key].raised_at == instant(at("2023-06-13 10:00"))
    done = [ruled("2023-06-14 10:00", "cleared")]
    assert lines(B, facts, "2023-06-11 00:00", done, "2023-06-14 11:00") == [(*key, "cleared")]
    assert lines(B, facts[1:], "2023-06-12 00:00", [ruled("2023-06-12 10:00", "confirmed")], "2023-06-13 11:00") == [(*key, "cleared")]


@pytest.mark.parametrize(
    ("late", "change"),
    [
        (event("learner.registered", "2023-06-02 10:00", class_id="k1"), "retracted"),
        (event("learner.registered", "2023-06-04 10:00", class_id="k1"), "cleared"),
        (event("learner.withdrawn", "2023-06-02 10:00"), "retracted"),
        (event("learner.withdrawn", "2023-06-04 10:00"), "cleared"),
    ],
)
def test_not_registered_cleared_or_retracted(late: Event, change: str) -> None:
    enrolled = [event("learner.enrolled", "2023-06-01 09:00", class_id="k1")]
    assert lines(B, enrolled, "2023-06-03 12:00", [late], "2023-06-04 12:00") == [("not_registered", "", change)]


@pytest.mark.parametrize(
    ("acts", "change"),
    [
        (["2023-06-09 10:00"], "cleared"),
        (["2023-06-07 10:00"], "retracted"),
        (["2023-06-07 10:00", "2023-06-09 10:00"], "retracted"),
        (["2023-06-05 10:01", "2023-06-09 10:00"], "retracted"),
        (["2023-06-08 10:00", "2023-06-09 10:00"], "retracted"),
        (["2023-06-08 10:01", "2023-06-09 10:00"], "cleared"),
    ],
)
def test_inactive_cleared_or_retracted(acts: list[str], change: str) -> None:
    late = [event("platform.visited", time) for time in acts]
    assert lines(B, [REGISTERED, VISIT], "2023-06-08 12:00", late, "2023-06-09 12:00") == [("inactive", "", change)]


def test_behind_cleared_or_retracted() -> None:
    facts = [REGISTERED, MATHS, event("platform.visited", "2023-07-03 10:00")]
    early, late = hours_of("c-maths", 10, 8), hours_of("c-maths", 4, 8, "2023-07")
    assert ("behind", "", "retracted") in lines(B, facts, "2023-07-04 01:00", early, "2023-07-05 01:00")
    assert ("behind", "", "cleared") in lines(B, facts, "2023-07-04 01:00", late, "2023-07-05 01:00")


def test_the_log_of_a_rising_flag_and_its_reminders() -> None:
    learner = learner_of(B, [REGISTERED, VISIT])
    flags, said, ids = [], [], []
    for text in ("2023-06-07", "2023-06-08", "2023-06-12", "2023-06-15", "2023-06-22"):
        now = at(text + " 10:00")
        progress = evaluate(B, learner, now).progress
        said.append([line.change for line in changes(B, learner, flags, progress, now)])
        reminder = reminder_of(B, flags, progress, now)
        ids.append(reminder and reminder.reminder_id)
        flags = progress.flags
    assert said == [[], ["raised"], ["severity"], ["owner"], ["severity", "owner"]]
    assert [bool(id) for id in ids] == [False, True, True, False, True]
    assert ids[4] == reminder_id(B.id, "L1", flags[0])
    assert all(id is None or len(id) == 32 for id in ids)


def test_plan_a_has_flags_of_time_without_points() -> None:
    facts = [event("learner.registered", "2023-10-20 09:00", class_id="k1"), study("p-meaning", "2023-11-02", "10:00", "10:30")]
    assert set(flags_of(A, facts, "2023-11-05 10:30")) == {("inactive", "")}
    assert ("behind", "") in flags_of(A, facts, "2023-12-20 10:30")


def test_a_disc_learner_is_not_asked_for_time() -> None:
    disc = event("learner.registered", "2023-06-01 09:00", class_id="k1", mode="disc")
    assert flags_of(B, [disc, MATHS, VISIT], "2023-10-01 10:00") == {}
    assert flags_of(CHOSEN, [disc], "2023-06-07 10:00") == {}
