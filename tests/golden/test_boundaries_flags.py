"""Flags at the instants at which they open, grow, change hands and end; the engine is told to look at each of them."""

from __future__ import annotations

import pytest

from schemas.progress import Flag
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from tests.golden.doors import (
    DISC,
    ONLINE,
    VISIT,
    A,
    B,
    at,
    exam,
    flags,
    follow_up,
    graded,
    learner_of,
    posts,
    process,
    programme,
    read,
    record,
    ruled,
    seconds,
    selected,
    submitted,
    told,
    turns,
    utc,
)

NEVER = "2023-06-01 09:00"


def grades(found: tuple[Flag | None, Flag | None]) -> tuple[str | None, str | None]:
    before, then = found
    return before.severity if before else None, then.severity if then else None


def owners(found: tuple[Flag | None, Flag | None]) -> tuple[str | None, str | None]:
    before, then = found
    return before.owner_level if before else None, then.owner_level if then else None


# -- from a base, with thresholds -------------------------------------------------------------------------------------

ENROLLED = record("learner.enrolled", NEVER, class_id="k1")
RISING = [  # base, then notice, warning and escalation by the plan's days
    ([ENROLLED], ("not_registered", ""), ["2023-06-03 09:00", "2023-06-06 09:00", "2023-06-10 09:00"]),  # base 3 June; 0, 3, 7
    ([ONLINE], ("not_started", ""), ["2023-06-04 09:00", "2023-06-08 09:00", "2023-06-15 09:00"]),  # base 1 June; 3, 7, 14
    ([ONLINE, VISIT], ("inactive", ""), ["2023-06-08 10:00", "2023-06-12 10:00", "2023-06-19 10:00"]),  # base 5 June
    ([ONLINE, selected("c-maths")], ("assignment_overdue", "c-maths"), ["2023-11-01 00:00", "2023-11-08 00:00", "2023-11-15 00:00"]),
    ([ONLINE, selected("c-ict")], ("assignment_overdue", "c-ict"), ["2023-12-01 00:00", "2023-12-08 00:00", "2023-12-15 00:00"]),
    ([DISC, selected("c-maths")], ("exam_due", "c-maths"), ["2023-12-18 00:00", "2023-12-25 00:00", "2023-12-29 00:00"]),  # end - 14, 7, 3
]


@pytest.mark.parametrize(("facts", "key", "moments"), RISING, ids=[f"{kind}-{ref}" for _, (kind, ref), _ in RISING])
def test_a_flag_rises_at_its_moments(facts: list[bytes], key: tuple[str, str], moments: list[str]) -> None:
    steps = [None, "notice", "warning", "escalation"]
    for moment, before, then in zip(moments, steps, steps[1:], strict=False):
        found = turns(B, facts, key, moment)
        assert grades(found) == (before, then)
        assert found[1] is not None and found[1].raised_at == utc(moments[0])


@pytest.mark.parametrize(("facts", "key", "moments"), RISING[:4], ids=[kind for _, (kind, _), _ in RISING[:4]])
def test_the_owner_changes_seven_and_fourteen_days_after_the_flag_was_raised(
    facts: list[bytes], key: tuple[str, str], moments: list[str]
) -> None:
    day, _, hour = moments[0].partition(" ")
    month, number = day[:8], int(day[8:])
    assert owners(turns(B, facts, key, f"{month}{number + 7:02d} {hour}")) == ("school", "county")
    assert owners(turns(B, facts, key, f"{month}{number + 14:02d} {hour}")) == ("county", "city")


def test_the_later_of_two_bases() -> None:
    key = ("not_started", "")
    early = [record("learner.registered", "2023-05-25 12:00", class_id="k1", mode="online")]
    assert grades(turns(B, early, key, "2023-06-04 00:00")) == (None, "notice")  # starts + 3 days
    again = [*early, record("learner.registered", "2023-06-10 12:00", class_id="k1", mode="online")]
    assert grades(turns(B, again, key, "2023-06-04 00:00")) == (None, "notice")  # the earliest registration holds
    visited = [*early, record("platform.visited", "2023-05-25 13:00")]
    assert grades(turns(B, visited, ("inactive", ""), "2023-06-04 00:00")) == (None, "notice")
    twice = [ENROLLED, record("learner.enrolled", "2023-06-02 09:00", class_id="k2")]
    assert grades(turns(B, twice, ("not_registered", ""), "2023-06-03 09:00")) == (None, "notice")  # first enrolled


def test_selecting_and_dropping_start_nobody() -> None:
    facts = [ONLINE, selected(time="2023-06-03 09:00"), record("course.dropped", "2023-06-03 10:00", course_id="c-reading")]
    assert set(flags(B, facts, "2023-06-04 09:00")) == {("not_started", "")}
    assert flags(B, [*facts, VISIT], "2023-06-06 09:00") == {}
    # but whoever has started is active by them
    started = [ONLINE, VISIT, selected(time="2023-06-07 10:00")]
    assert grades(turns(B, started, ("inactive", ""), "2023-06-10 10:00")) == (None, "notice")


# -- when none is open ------------------------------------------------------------------------------------------------


def test_no_flag_before_opens_or_from_the_end_on() -> None:
    early = [record("learner.enrolled", "2023-05-10 09:00", class_id="k1")]
    before, then = turns(B, early, ("not_registered", ""), "2023-05-20 00:00")
    assert before is None
    assert then is not None
    assert (then.raised_at, then.severity, then.owner_level) == (utc("2023-05-12 09:00"), "escalation", "county")  # base 12 May
    assert grades(turns(B, early, ("not_registered", ""), "2024-01-01 00:00")) == ("escalation", None)
    for facts, key, _ in RISING[1:]:
        assert grades(turns(B, facts, key, "2024-01-01 00:00")) == ("escalation", None), key


@pytest.mark.parametrize(("score", "open_"), [("0.5499", True), ("0.55", False)])
def test_no_flag_with_a_result(score: str, open_: bool) -> None:
    """59.99 is in progress and 60.00 passed; plan B's disc learner would get `exam_due` on another course, too."""
    facts = [DISC, selected("c-maths"), selected(), process("0.8"), exam(score, "paper")]
    facts += [process("0.8", course="c-maths"), exam("0.55", "paper", course="c-maths")]
    facts += [record("learner.transferred", "2023-07-05 10:00", class_id="k1", mode="disc")]
    progress = told(B, facts, "2023-12-20 00:00")
    assert progress.result == ("in_progress" if open_ else "passed")
    undecided = [*facts, selected("c-ict")]
    assert set(flags(B, undecided, "2023-12-20 00:00")) == {("exam_due", "c-ict")}
    confirmed = [*undecided, ruled("confirmed", "2023-12-19 10:00")]
    assert flags(B, confirmed, "2023-12-20 00:00") == {}


def test_a_flag_ends_with_the_result() -> None:
    """Plan A passes by hours and an article: nobody is asked to be active after that."""
    facts: list[bytes] = [record("learner.registered", "2023-11-01 09:00", class_id="k1")]
    first = 2
    for course in A.courses.values():
        facts += seconds(course.id, course.seconds, first, "2023-11")
        first += -(-course.seconds // 28_800)
    facts.append(record("work.published", "2023-12-01 10:00", work_id="w", kind="research_article", activity_id="research"))
    assert set(flags(A, facts, "2023-12-10 00:00")) == {("inactive", "")}
    accepted = record("work.reviewed", "2023-12-09 10:00", work_id="w", verdict="accepted")
    assert flags(A, [*facts, accepted], "2023-12-10 00:00") == {}
    returned = record("work.reviewed", "2023-12-09 11:00", work_id="w", verdict="returned")
    assert set(flags(A, [*facts, accepted, returned], "2023-12-10 00:00")) == {("inactive", "")}


def test_withdrawn_and_reinstated() -> None:
    gone = record("learner.withdrawn", "2023-06-20 10:00")
    back = record("learner.reinstated", "2023-06-25 10:00")
    suspected = ruled("suspected", "2023-06-11 10:00")
    assert set(flags(B, [ONLINE, VISIT, suspected], "2023-06-30 10:00")) == {("inactive", ""), ("plagiarism_suspected", "k9")}
    assert flags(B, [ONLINE, VISIT, suspected, gone], "2023-06-30 10:00") == {}
    found = turns(B, [ONLINE, VISIT, gone, back], ("inactive", ""), "2023-06-28 10:00")
    assert grades(found) == (None, "notice")
    assert found[1] is not None and found[1].raised_at == utc("2023-06-28 10:00")
    # whether or not a withdrawal came before it
    assert grades(turns(B, [ONLINE, VISIT, back], ("inactive", ""), "2023-06-28 10:00")) == (None, "notice")
    assert grades(turns(B, [ENROLLED, back], ("not_registered", ""), "2023-06-25 10:00")) == (None, "notice")
    assert grades(turns(B, [ONLINE, back], ("not_started", ""), "2023-06-28 10:00")) == (None, "notice")
    late = record("learner.reinstated", "2023-12-20 10:00")
    assert grades(turns(B, [DISC, selected("c-maths"), late], ("exam_due", "c-maths"), "2023-12-20 10:00")) == (None, "notice")
    november = record("learner.reinstated", "2023-11-05 10:00")
    key = ("assignment_overdue", "c-maths")
    assert grades(turns(B, [ONLINE, selected("c-maths"), november], key, "2023-11-05 10:00")) == (None, "notice")
    assert grades(turns(B, [ONLINE, selected("c-maths"), november], key, "2023-11-12 10:00")) == ("notice", "warning")


def test_a_mode_without_the_item_has_no_such_flag() -> None:
    assert flags(B, [DISC, selected("c-maths"), VISIT], "2023-11-20 00:00") == {}  # no study, no assignments
    assert ("exam_due", "c-maths") not in flags(B, [ONLINE, selected("c-maths")], "2023-12-30 00:00")  # the gate is not met


# -- course flags -----------------------------------------------------------------------------------------------------

OVERDUE = ("assignment_overdue", "c-maths")


@pytest.mark.parametrize(
    ("names", "open_"), [([], True), (["a1"], True), (["a1", "a1"], True), (["a1", "a2"], False), (["a1", "a2", "a3"], False)]
)
def test_overdue_until_enough_distinct_assignments_are_in(names: list[str], open_: bool) -> None:
    facts = [ONLINE, selected("c-maths"), *[submitted(name, f"2023-10-{10 + n} 10:00", "c-maths") for n, name in enumerate(names)]]
    assert (OVERDUE in flags(B, facts, "2023-11-01 00:00")) == open_


def test_overdue_counts_from_the_last_selection_where_that_is_later() -> None:
    drop = record("course.dropped", "2023-11-02 10:00", course_id="c-maths")
    facts = [ONLINE, selected("c-maths"), drop]
    assert OVERDUE not in flags(B, facts, "2023-11-10 00:00")
    # of the selections after the last drop the first
    facts += [selected("c-maths", "2023-11-03 10:00"), selected("c-maths", "2023-11-06 10:00")]
    assert grades(turns(B, facts, OVERDUE, "2023-11-03 10:00")) == (None, "notice")
    assert grades(turns(B, facts, OVERDUE, "2023-11-10 10:00")) == ("notice", "warning")


def test_overdue_and_exam_due_end_when_the_course_is_passed_or_tried() -> None:
    base = [DISC, selected("c-maths"), selected()]
    assert set(flags(B, base, "2023-12-20 00:00")) == {("exam_due", "c-maths"), ("exam_due", "c-reading")}
    tried = exam("0.1", "paper", sat="2023-12-19 09:00", time="2023-12-19 10:00", course="c-maths")
    assert set(flags(B, [*base, tried], "2023-12-20 00:00")) == {("exam_due", "c-reading")}
    other_form = exam("0.9", "online", sat="2023-12-19 09:00", time="2023-12-19 10:00")
    assert set(flags(B, [*base, tried, other_form], "2023-12-20 00:00")) == {("exam_due", "c-reading")}
    # online: passed by work and exam without enough submissions
    online = [ONLINE, selected("c-maths"), selected(), *seconds("c-maths", 57_600), *posts("question", 4, "c-maths")]
    online += [*posts("reply", 6, "c-maths"), graded("a1", "1", course="c-maths")]
    due = set(flags(B, online, "2023-12-20 00:00"))
    assert {OVERDUE, ("exam_due", "c-maths"), ("assignment_overdue", "c-reading")} <= due  # the gate is met: 32.50
    done = set(flags(B, [*online, exam("0.9", course="c-maths")], "2023-12-20 00:00"))
    assert not {OVERDUE, ("exam_due", "c-maths")} & done
    assert ("assignment_overdue", "c-reading") in done


# -- plagiarism -------------------------------------------------------------------------------------------------------

CASE = ("plagiarism_suspected", "k9")


def test_a_suspicion_is_a_warning_from_its_first_ruling_on_and_knows_no_calendar() -> None:
    facts = [ruled("suspected", "2023-06-10 10:00"), ruled("suspected", "2023-06-12 10:00")]
    assert grades(turns(B, facts, CASE, "2023-06-10 10:00")) == (None, "warning")
    assert owners(turns(B, facts, CASE, "2023-06-17 10:00")) == ("school", "county")
    assert owners(turns(B, facts, CASE, "2023-06-24 10:00")) == ("county", "city")
    for moment in ("2023-12-31 00:00", "2024-01-01 00:00", "2024-03-01 00:00"):
        found = flags(B, facts, moment)[CASE]
        assert (found.severity, found.raised_at) == ("warning", utc("2023-06-10 10:00"))
    for verdict in ("cleared", "confirmed"):
        ended = [*facts, ruled(verdict, "2023-06-14 10:00")]
        assert CASE not in flags(B, ended, "2023-06-15 10:00")
        again = [*ended, ruled("suspected", "2023-06-20 10:00"), ruled("suspected", "2023-06-21 10:00")]
        assert flags(B, again, "2023-06-25 10:00")[CASE].raised_at == utc("2023-06-20 10:00")


# -- ownership and follow-ups -----------------------------------------------------------------------------------------

INACTIVE = ("inactive", "")
OPEN = [ONLINE, VISIT]  # base 5 June 10:00, raised 8 June 10:00


@pytest.mark.parametrize(("time", "counted"), [("2023-06-05 09:59:59.999", 0), ("2023-06-05 10:00", 1), ("2023-06-08 10:00", 1)])
def test_follow_ups_count_from_the_base_on(time: str, counted: int) -> None:
    assert flags(B, [*OPEN, follow_up("inactive", time)], "2023-06-10 10:00")[INACTIVE].follow_ups == counted


def test_a_follow_up_gives_the_flag_back_to_the_school() -> None:
    facts = [*OPEN, follow_up("inactive", "2023-06-16 12:00")]
    before = flags(B, facts[:-1], "2023-06-16 12:00")[INACTIVE]
    after = flags(B, facts, "2023-06-16 12:00")[INACTIVE]
    assert (before.owner_level, before.follow_ups, before.last_outcome) == ("county", 0, None)
    assert (after.owner_level, after.follow_ups, after.last_outcome) == ("school", 1, "promised")
    assert after.last_follow_up_at == utc("2023-06-16 12:00")
    assert owners(turns(B, facts, INACTIVE, "2023-06-23 12:00")) == ("school", "county")
    assert owners(turns(B, facts, INACTIVE, "2023-06-30 12:00")) == ("county", "city")
    # one before it was raised puts nothing off
    early = [*OPEN, follow_up("inactive", "2023-06-06 12:00")]
    assert owners(turns(B, early, INACTIVE, "2023-06-15 10:00")) == ("school", "county")


def test_the_last_follow_up_is_the_latest_not_the_last_to_arrive() -> None:
    calls = [follow_up("inactive", "2023-06-12 12:00", "reached"), follow_up("inactive", "2023-06-10 12:00", "no_answer")]
    found = flags(B, [*OPEN, *calls], "2023-06-13 10:00")[INACTIVE]
    assert (found.follow_ups, found.last_outcome, found.last_follow_up_at) == (2, "reached", utc("2023-06-12 12:00"))


def test_a_follow_up_is_of_its_kind_and_of_its_ref_or_of_none() -> None:
    base = [ONLINE, VISIT, selected("c-maths"), selected("c-reading")]
    calls = [follow_up("assignment_overdue", "2023-11-02 10:00", ref="c-maths")]
    found = flags(B, [*base, *calls], "2023-11-08 10:00")
    assert (found[OVERDUE].owner_level, found[OVERDUE].follow_ups) == ("school", 1)
    assert (found["assignment_overdue", "c-reading"].owner_level, found["assignment_overdue", "c-reading"].follow_ups) == ("county", 0)
    assert found[INACTIVE].follow_ups == 0
    calls.append(follow_up("assignment_overdue", "2023-11-03 10:00"))  # without a ref it is about both
    found = flags(B, [*base, *calls], "2023-11-08 10:00")
    assert [found["assignment_overdue", course].follow_ups for course in ("c-maths", "c-reading")] == [2, 1]
    assert flags(B, [*OPEN, follow_up("inactive", "2023-06-09 10:00", ref="c-maths")], "2023-06-10 10:00")[INACTIVE].follow_ups == 0


def test_without_ownership_rules_the_owner_stays_the_school() -> None:
    rules = programme(attention="{inactive: {notice_days: 3, warning_days: 7, escalation_days: 14}}")
    found = flags(rules, OPEN, "2023-06-20 10:00")
    assert [(flag.kind, flag.severity, flag.owner_level) for flag in found.values()] == [("inactive", "escalation", "school")]


# -- behind -----------------------------------------------------------------------------------------------------------
# `edges` runs 20 days, 5 points of 100 a day; c1 and c2 have 36,000 s each, 1 % of one course is 360 s.

BEHIND = ("behind", "")
REGISTERED = record("learner.registered", "2023-05-30 09:00", class_id="k1", mode="online")
ONE_COURSE = [REGISTERED, selected("c1", "2023-05-30 09:00")]


def behind(records: list[bytes], moment: str | int) -> tuple[str, str] | None:
    found = flags(programme(), records, moment).get(BEHIND)
    return (found.severity, found.raised_at) if found else None


def test_behind_by_exactly_the_tolerance_is_not_behind() -> None:
    assert behind(ONE_COURSE, "2023-06-04 00:00") is None  # 3 of 20 days: 15 points
    before, then = turns(programme(), ONE_COURSE, BEHIND, "2023-06-05 00:00")  # 20 points
    assert grades((before, then)) == (None, "notice")
    assert behind(ONE_COURSE, "2023-06-07 12:00") == ("notice", utc("2023-06-05 00:00"))  # 30 exactly
    assert grades(turns(programme(), ONE_COURSE, BEHIND, "2023-06-08 00:00")) == ("notice", "warning")  # 35
    assert behind(ONE_COURSE, "2023-06-11 12:00") == ("warning", utc("2023-06-05 00:00"))  # 50 exactly
    assert grades(turns(programme(), ONE_COURSE, BEHIND, "2023-06-12 00:00")) == ("warning", "escalation")  # 55
    assert grades(turns(programme(), ONE_COURSE, BEHIND, "2023-06-21 00:00")) == ("escalation", None)  # the end


@pytest.mark.parametrize(("studied", "open_"), [(1799, True), (1800, False), (1801, False)])
def test_behind_to_the_second(studied: int, open_: bool) -> None:
    """At 5 June 20 points have gone; 1,800 s of 36,000 are 5 of them, 15 are left: not more than the tolerance."""
    facts = [*ONE_COURSE, *seconds("c1", studied)]
    assert (behind(facts, "2023-06-05 00:00") is not None) == open_
    assert behind(facts, "2023-06-06 00:00") is not None


def test_only_what_lies_before_the_midnight_counts_for_it() -> None:
    night = study_over_midnight()
    assert behind([*ONE_COURSE, night], "2023-06-05 00:00") is not None  # 900 s of the 1,800 lie after it
    before = record(
        "study.recorded", "2023-06-05 00:00", course_id="c1", started_at="2023-06-04 23:30", ended_at="2023-06-05 00:00", channel="online"
    )
    assert behind([*ONE_COURSE, before], "2023-06-05 00:00") is None


def study_over_midnight() -> bytes:
    return record(
        "study.recorded", "2023-06-05 00:15", course_id="c1", started_at="2023-06-04 23:45", ended_at="2023-06-05 00:15", channel="online"
    )


def test_a_course_counts_at_most_its_own_hours() -> None:
    """Two courses: 72,000 s are needed. 10.5 h on c1 are 10 of them: 50 points at 17 June, when 80 have gone."""
    both = [*ONE_COURSE, selected("c2", "2023-05-30 09:00")]
    full = [*both, *seconds("c1", 36_000)]
    more = [*both, *seconds("c1", 36_000 + 9_000)]
    for facts in (full, more):
        assert behind(facts, "2023-06-14 00:00") is None  # 65 - 50 = 15
        assert behind(facts, "2023-06-15 00:00") == ("notice", utc("2023-06-15 00:00"))
        assert behind(facts, "2023-06-18 00:00") == ("warning", utc("2023-06-15 00:00"))  # 85 - 50


def test_behind_begins_anew_after_catching_up() -> None:
    facts = [*ONE_COURSE, *seconds("c1", 3600, 5)]  # 5 June: 10 points
    assert behind(facts, "2023-06-05 12:00") == ("notice", utc("2023-06-05 00:00"))
    assert behind(facts, "2023-06-06 00:00") is None  # 25 - 10 = 15
    assert behind(facts, "2023-06-07 00:00") == ("notice", utc("2023-06-07 00:00"))
    assert behind(facts, "2023-06-10 12:00") == ("warning", utc("2023-06-07 00:00"))  # 45 - 10


def test_study_that_lies_ahead_puts_no_look_off() -> None:
    """Events may be 5 minutes ahead: what is credited after a midnight counts for none before it, nor for when to look."""
    facts = [*ONE_COURSE, *seconds("c1", 3600, 5)]
    assert grades(turns(programme(), facts, BEHIND, "2023-06-05 00:00")) == (None, "notice")
    assert grades(turns(programme(), facts, BEHIND, "2023-06-06 00:00")) == ("notice", None)


@pytest.mark.parametrize(
    ("registered", "raised"),
    [
        ("2023-06-07 23:59:59.999", "2023-06-08 00:00"),
        ("2023-06-08 00:00", "2023-06-09 00:00"),
        ("2023-06-08 00:00:00.001", "2023-06-09 00:00"),
    ],
)
def test_behind_needs_a_registration_before_the_midnight(registered: str, raised: str) -> None:
    facts = [record("learner.registered", registered, class_id="k1", mode="online"), selected("c1", "2023-06-07 09:00")]
    assert behind(facts, "2023-06-10 00:00") == ("warning", utc(raised))


@pytest.mark.parametrize(
    ("reinstated", "raised"), [("2023-06-07 23:59:59.999", "2023-06-08 00:00"), ("2023-06-08 00:00", "2023-06-09 00:00")]
)
def test_behind_begins_after_the_reinstatement(reinstated: str, raised: str) -> None:
    facts = [*ONE_COURSE, record("learner.reinstated", reinstated)]
    assert behind(facts, "2023-06-10 00:00") == ("warning", utc(raised))
    assert behind(facts, at(raised) - 1) is None  # no midnight since


def test_behind_begins_after_the_later_of_registration_and_reinstatement() -> None:
    back = record("learner.reinstated", "2023-06-06 12:00")
    registered = record("learner.registered", "2023-06-08 12:00", class_id="k1", mode="online")
    assert behind([back, registered, selected("c1", "2023-06-07 09:00")], "2023-06-10 00:00") == ("warning", utc("2023-06-09 00:00"))


def test_behind_is_judged_with_todays_selection_and_needs_one() -> None:
    assert behind([REGISTERED], "2023-06-15 00:00") is None
    facts = [*ONE_COURSE, *seconds("c1", 36_000 - 3600)]
    assert behind(facts, "2023-06-15 00:00") is None  # 70 - 90
    second = [*facts, selected("c2", "2023-06-14 09:00")]
    assert behind(second, "2023-06-15 00:00") == ("notice", utc("2023-06-14 00:00"))  # at 14 June already 65 - 45, of both
    assert behind([*second, record("course.dropped", "2023-06-14 10:00", course_id="c2")], "2023-06-15 00:00") is None


def test_what_is_found_at_a_midnight_is_found_anew_when_earlier_days_change() -> None:
    """At 12 June 55 points have gone. 18,000 s of 3 June arrive, in one batch behind a half hour of 12 June itself: 50 + 0 points."""
    rules, now = programme(), at("2023-06-12 12:00")
    learner = learner_of(rules, ONE_COURSE)
    assert [flag.severity for flag in evaluate(rules, learner, now).progress.flags if flag.kind == "behind"] == ["escalation"]
    today = record(
        "study.recorded", "2023-06-12 09:30", course_id="c1", started_at="2023-06-12 09:00", ended_at="2023-06-12 09:30", channel="online"
    )
    fold(rules, learner, [fact_of(read(value)) for value in (today, *seconds("c1", 18_000, 3))])
    assert [flag for flag in evaluate(rules, learner, now).progress.flags if flag.kind == "behind"] == []


def test_what_is_told_to_look_at_never_skips_a_change() -> None:
    """From moment to moment as the engine goes: every difference between two days shows at the very millisecond it is due."""
    for rules, facts, start, end in (
        (B, [*OPEN, selected("c-maths"), follow_up("inactive", "2023-06-16 12:00")], "2023-06-05 10:00", "2024-01-16 00:00"),
        (programme(), [*ONE_COURSE, *seconds("c1", 3600, 5)], "2023-05-30 09:00", "2023-07-02 00:00"),
    ):
        learner, now, seen = learner_of(rules, facts), at(start), []
        while True:
            found = evaluate(rules, learner, now)
            seen.append((now, found.progress))
            if found.next_change_ms is None:
                break
            assert found.next_change_ms > now
            assert evaluate(rules, learner, found.next_change_ms - 1).progress == found.progress
            now = found.next_change_ms
        assert seen[-1][1].result == "failed"
        assert at(end) > seen[-1][0] >= rules.results_final_ms
        changes = [moment for (moment, progress), (_, last) in zip(seen[1:], seen, strict=False) if progress != last]
        assert len(changes) >= 6
