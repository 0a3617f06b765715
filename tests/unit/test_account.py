"""The account of a learner: the worked examples of the rules page, each with its reasons; and that every account adds up."""

from __future__ import annotations

import random
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from account_world import ALL, CHOSEN, HIGH, HOURS, LIVES, LOW, MOMENTS, PROGRAMMES, RULES_ALL, at, event, records, study
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.programme import Programme, load_programmes, load_text
from schemas.progress import cents
from schemas.reading import Event
from services.scoring.core.account.model import Account, CourseAccount, Item, Line, Record
from services.scoring.core.account.whole import AccountError, UnknownCourse, account
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from services.shared.settings import ROOT

PLANS = load_programmes(ROOT / "schemas" / "programmes")
A, B = PLANS["guopei-shaanxi-2023"], PLANS["zhuozhou-2023"]
EACH = pytest.mark.parametrize("programme", PROGRAMMES.values(), ids=PROGRAMMES)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def told(programme: Programme, events: list[Event], now: str | int, course: str | None = None, most: int = 200) -> Account:
    return account(programme, "L1", records(events), at(now) if isinstance(now, str) else now, course, most)


def one(found: Account, course: str) -> CourseAccount:
    return next(row for row in found.courses if row.course_id == course)


def item(course: CourseAccount, name: str) -> Item:
    return next(part for part in course.items if part.name == name)


def fates(lines: tuple[Line, ...]) -> dict[str, tuple[str, int | None, list[str]]]:
    """Event id -> (counts, seconds or points, codes)."""
    return {
        line.record.event.id: (line.counts, line.seconds if line.seconds is not None else line.points, [why.code for why in line.why])
        for line in lines
    }


def chosen(course: str, mode: str = "online") -> list[Event]:
    return [
        event("learner.registered", "2023-06-02 09:00", class_id="k1", mode=mode),
        event("course.selected", "2023-06-02 09:00", course_id=course),
    ]


# -- examples ---------------------------------------------------------------------------------------------------------


def test_example_1_says_who_took_the_seconds() -> None:
    events = [
        *chosen("c-reading"),
        event("course.selected", "2023-06-02 09:00", course_id="c-maths"),
        study("c-reading", "2023-06-05", "10:00", "10:20", id="one"),
        study("c-maths", "2023-06-05", "10:10", "10:30", id="two"),
    ]
    found = told(B, events, "2023-06-06 00:00")
    assert fates(item(one(found, "c-reading"), "study").lines) == {"one": ("yes", 1_200, [])}
    (line,) = item(one(found, "c-maths"), "study").lines
    assert (line.counts, line.seconds, line.why[0].code, line.why[0].seconds) == ("partly", 600, "overlapped", 600)
    assert [cause.event.id for cause in line.why[0].by] == ["one"]
    late = told(B, [*events, study("c-maths", "2023-06-05", "09:55", "10:15", id="three")], "2023-06-06 00:00")
    assert fates(item(one(late, "c-reading"), "study").lines) == {"one": ("partly", 300, ["overlapped"])}
    assert fates(item(one(late, "c-maths"), "study").lines) == {"three": ("yes", 1_200, []), "two": ("partly", 600, ["overlapped"])}
    assert one(late, "c-maths").seconds == 1_800


def test_example_2_names_the_grade_beyond_the_best_and_the_regrade() -> None:
    graded = [
        event("assignment.graded", f"2023-06-05 10:0{n}", f"g{n}", course_id="c-reading", assignment_id=f"a{n}", score=score, grader_id="t")
        for n, score in enumerate(("0.9", "0.8", "1.0"))
    ]
    events = [*chosen("c-reading"), *graded]
    before = item(one(told(B, events, "2023-06-06 00:00"), "c-reading"), "assignments")
    assert before.points == 1_425
    assert fates(before.lines) == {"g0": ("yes", 675, []), "g1": ("no", None, ["over_count"]), "g2": ("yes", 750, [])}
    again = event("assignment.graded", "2023-06-05 11:00", "g9", course_id="c-reading", assignment_id="a2", score="0.5", grader_id="t")
    after = item(one(told(B, [*events, again], "2023-06-06 00:00"), "c-reading"), "assignments")
    assert after.points == 1_275
    assert fates(after.lines) == {
        "g0": ("yes", 675, []), "g1": ("yes", 600, []), "g2": ("no", None, ["superseded"]), "g9": ("no", None, ["over_count"]),
    }  # fmt: skip
    assert [by.event.id for line in after.lines if line.record.event.id == "g2" for by in line.why[0].by] == ["g9"]


def whole_study(course: str) -> list[Event]:
    """16 hours."""
    return [
        study(
            course, f"2023-06-{5 + n // 16:02d}", f"{8 + n % 16 // 2:02d}:{n % 2 * 3}0", f"{8 + (n % 16 + 1) // 2:02d}:{(n + 1) % 2 * 3}0"
        )
        for n in range(32)
    ]


def posts(course: str, questions: int, replies: int) -> list[Event]:
    kinds = ["question"] * questions + ["reply"] * replies
    return [
        event("post.published", f"2023-06-05 09:{n:02d}", f"p{n}", course_id=course, post_id=f"p{n}", kind=kind)
        for n, kind in enumerate(kinds)
    ]


def exam(course: str, day: str, id: str, form: str, score: str) -> Event:
    """Sat at nine, marked at ten."""
    marked, sat = f"{day} 10:00", f"{day} 09:00"
    return event("exam.marked", marked, id, course_id=course, attempt_id=id, form=form, score=score, sat_at=sat)


def test_example_3_half_a_point_short_of_the_gate_says_what_is_enough() -> None:
    grade = event("assignment.graded", "2023-06-07 10:00", course_id="c-reading", assignment_id="a", score="1", grader_id="t")
    sat = exam("c-reading", "2023-06-08", "sat", "online", "0.9")
    events = [*chosen("c-reading"), *whole_study("c-reading"), grade, *posts("c-reading", 4, 5), sat]
    course = one(told(B, events, "2023-06-09 00:00"), "c-reading")
    assert course.gate is not None
    assert (course.gate.points, course.gate.at_least, course.gate.met, course.total) == (3_150, 3_200, False, 3_150)
    assert fates(item(course, "exam").lines) == {"sat": ("no", None, ["before_gate"])}
    assert course.enough is not None
    assert course.enough.gate_short == 50
    assert course.enough.gate_ways == ({"replies": 1}, {"assignments": 1})
    assert (course.enough.exam_score, course.enough.exam_kept) == (5_599, 9_000)  # 60 - 32 = 28 of 50; 27.995 rounds up
    more = event("post.published", "2023-06-08 12:00", course_id="c-reading", post_id="sixth", kind="reply")
    met = one(told(B, [*events, more], "2023-06-09 00:00"), "c-reading")
    assert (met.total, met.passed, met.credits) == (7_750, True, 400)
    assert fates(item(met, "exam").lines) == {"sat": ("yes", 4_500, [])}


def test_example_5_the_other_form_does_not_count_until_it_is_chosen() -> None:
    events = [
        *chosen("c-reading", "disc"),
        event("process.marked", "2023-06-07 10:00", "mark", course_id="c-reading", score="0.8", marker_id="m"),
        exam("c-reading", "2023-06-08", "paper", "paper", "0.5499"),
        exam("c-reading", "2023-06-08", "online", "online", "0.9"),
    ]
    course = one(told(B, events, "2023-06-09 00:00"), "c-reading")
    assert (course.total, course.passed) == (5_999, False)
    assert fates(item(course, "exam").lines) == {"paper": ("yes", 4_399, []), "online": ("no", None, ["other_form"])}
    assert course.enough is not None
    assert course.enough.exam_score == 5_500
    choice = event("assessment.chosen", "2023-06-09 10:00", "choice", course_id="c-reading", form="online")
    assert fates(item(one(told(B, [*events, choice], "2023-06-10 00:00"), "c-reading"), "exam").lines) == {
        "choice": ("yes", None, ["sets_form"]), "paper": ("no", None, ["other_form"]), "online": ("yes", 7_200, []),
    }  # fmt: skip


def test_example_6_what_lies_above_a_courses_hours_is_a_line_of_its_own() -> None:
    events = [
        event("learner.registered", "2023-11-02 09:00", class_id="k1"),
        *(study("p-meaning", "2023-11-03", f"{10 + n}:00", f"{10 + n}:30") for n in range(3)),
        study("p-meaning", "2023-11-03", "13:00", "13:10"),
    ]
    course = one(told(A, events, "2023-11-04 00:00", "p-meaning"), "p-meaning")
    assert (course.seconds_before_cap, course.cap_cut, course.seconds, course.credits) == (6_000, 600, 5_400, 200)
    assert course.enough is None
    assert course.pass_at is None


def test_the_daily_cap_takes_what_comes_last_in_the_day() -> None:
    events = [
        *chosen("c1"),
        study("c1", "2023-06-03", "08:00", "08:30", id="early"),
        study("c1", "2023-06-03", "12:00", "12:30", id="noon"),
        study("c1", "2023-06-03", "20:00", "20:30", id="late"),
    ]
    assert fates(item(one(told(CHOSEN, events, "2023-06-04 00:00"), "c1"), "study").lines) == {
        "early": ("yes", 1_800, []), "noon": ("partly", 1_200, ["over_daily_cap"]), "late": ("no", 0, ["over_daily_cap"]),
    }  # fmt: skip


def test_facts_outside_their_time_say_so() -> None:
    day = "2023-05-30"  # open, not started
    events = [
        *chosen("c1"),
        study("c1", day, "10:00", "10:10", id="soon"),
        study("c1", "2023-06-21", "10:00", "10:10", id="over"),
        event("post.published", "2023-05-28 10:00", "shut", course_id="c1", post_id="x", kind="reply"),
        event("post.published", "2023-06-21 10:00", "late", course_id="c1", post_id="y", kind="reply"),
        event("post.published", "2023-06-21 00:00", "edge", course_id="c1", post_id="z", kind="reply"),
        event("post.published", "2023-06-20 23:59", "last", course_id="c1", post_id="l", kind="reply"),
        event("post.published", "2023-05-29 00:00", "open", course_id="c1", post_id="o", kind="reply"),
        event("assignment.graded", "2023-06-24 00:00", "final", course_id="c1", assignment_id="1", score="1", grader_id="t"),
        event(
            "exam.marked", "2023-06-22 10:00", "sat", course_id="c1", attempt_id="1", form="online", score="1", sat_at="2023-06-21 00:00"
        ),
    ]
    found = one(told(CHOSEN, events, "2023-06-25 00:00"), "c1")
    fate = {id: codes for part in found.items for id, (_, _, codes) in fates(part.lines).items()}
    assert fate["soon"] == ["before_start"]
    assert fate["over"] == ["after_end"]
    assert fate["shut"] == ["before_open"]
    assert fate["late"] == fate["edge"] == ["after_end"]
    assert fate["last"] == fate["open"] == []
    assert fate["final"] == ["after_results_final"]
    assert fate["sat"] == ["after_end"]


def test_works_returned_removed_of_another_kind_and_not_accepted() -> None:
    events = [
        *chosen("c1"),
        *(
            event("work.published", f"2023-06-05 10:0{n}", work, work_id=work, kind=kind, **where)
            for n, (work, kind, where) in enumerate(
                [
                    ("back", "lesson_design", {"course_id": "c1"}),
                    ("gone", "lesson_design", {"course_id": "c1"}),
                    ("odd", "research_article", {"course_id": "c1"}),
                    ("good", "lesson_design", {"course_id": "c1"}),
                    ("extra", "teaching_case", {"course_id": "c1"}),
                    ("article", "research_article", {"activity_id": "act"}),
                ]
            )
        ),
        event("work.reviewed", "2023-06-06 10:00", "r1", work_id="back", verdict="returned"),
        event("work.removed", "2023-06-06 10:00", "r2", work_id="gone"),
        event("work.reviewed", "2023-06-06 10:00", "r3", work_id="never", verdict="accepted"),
    ]
    found = told(CHOSEN, events, "2023-06-07 00:00")
    assert fates(item(one(found, "c1"), "works").lines) == {
        "back": ("no", None, ["returned"]), "gone": ("no", None, ["removed"]), "odd": ("no", None, ["other_kind"]),
        "good": ("yes", 500, []), "extra": ("no", None, ["over_count"]),
        "r1": ("yes", None, ["returned"]), "r2": ("yes", None, ["removes"]),
    }  # fmt: skip
    outside = {part.name: fates(part.lines) for part in found.items}
    assert outside["activity:act"] == {"article": ("no", None, ["not_accepted"])}
    assert outside["works"] == {"r3": ("no", None, ["no_such_work"])}


def test_mode_says_whether_a_fact_or_the_rule_gave_it() -> None:
    enrolled = event("learner.enrolled", "2023-05-30 09:00", class_id="k1", birth_year=1977, gender="female")
    by_rule = told(CHOSEN, [enrolled], "2023-06-02 00:00").mode
    assert (by_rule.value, by_rule.by, by_rule.facts) == ("disc", "rule", {"age": 46, "gender": "female", "online_limit": 4_500})
    registered = event("learner.registered", "2023-05-31 09:00", "said", class_id="k2", mode="online")
    by_fact = told(CHOSEN, [enrolled, registered], "2023-06-02 00:00")
    assert (by_fact.mode.value, by_fact.mode.by) == ("online", "fact")
    assert by_fact.mode.record is not None
    assert by_fact.mode.record.event.id == "said"
    assert by_fact.class_.value == "k2"
    assert told(CHOSEN, [], "2023-06-02 00:00").mode.by == "default"
    # where no rule looks at ages, no fact is said to have given one
    membership = next(part for part in told(HOURS, [enrolled], "2023-06-02 00:00").items if part.name == "membership")
    assert [why.code for line in membership.lines for why in line.why] == (
        ["gives_class", "gives_age", "gives_enrolment"] if HOURS.online_ages else ["gives_class", "gives_enrolment"]
    )


def test_a_flag_says_what_it_rests_on_and_what_comes_next() -> None:
    found = told(CHOSEN, [*chosen("c1"), study("c1", "2023-06-03", "10:00", "10:30")], "2023-06-05 12:00")
    inactive = next(flag for flag in found.flags if flag.kind == "inactive")
    assert (inactive.base_at, inactive.raised_at, inactive.severity) == (at("2023-06-03 10:30"), at("2023-06-04 10:30"), "warning")
    assert (inactive.next_severity, inactive.next_severity_at) == ("escalation", at("2023-06-07 10:30"))
    assert (inactive.owner_level, inactive.next_owner, inactive.next_owner_at) == ("school", "county", at("2023-06-05 22:30"))
    assert inactive.facts["last_active_at"] == at("2023-06-03 10:30")


def test_conditions_have_what_is_there_and_what_is_needed() -> None:
    found = told(HOURS, [*chosen("c1"), study("c1", "2023-06-03", "10:00", "10:30")], "2023-06-04 00:00")
    assert [tuple(condition)[:4] for condition in found.passed] == [
        ("credited_seconds", 1_800, 3_600, False),
        ("no_confirmed_plagiarism", 0, 0, True),
    ]
    assert found.possible
    late = told(HOURS, [*chosen("c1"), study("c1", "2023-06-03", "10:00", "10:30")], "2023-06-20 23:50")
    assert not late.possible  # ten minutes are left, thirty are needed
    assert told(HOURS, chosen("c1"), "2023-06-24 00:00").result == "failed"


def test_what_is_possible_is_bounded_by_days_caps_and_courses() -> None:
    """HOURS: 50 minutes a day, an hour in all; ALL: an hour and a quarter, of two courses of 45 and 60 minutes that are capped."""
    studied = [*chosen("c1"), study("c1", "2023-06-03", "10:00", "10:30")]
    today = study("c1", "2023-06-20", "08:00", "08:25")
    assert told(HOURS, [*chosen("c1"), study("c1", "2023-06-03", "10:00", "10:10"), today], "2023-06-20 09:00").possible  # 35 + 25
    assert not told(HOURS, [*chosen("c1"), study("c1", "2023-06-03", "10:00", "10:09"), today], "2023-06-20 09:00").possible  # 34 + 25
    assert told(HOURS, studied, "2023-06-20 23:30").possible  # 30 + 30
    assert not told(HOURS, studied, "2023-06-20 23:30:01").possible
    registered = [event("learner.registered", "2023-06-02 09:00", class_id="k1")]
    assert told(ALL, registered, "2023-06-10 00:00").possible
    assert told(CHOSEN, registered, "2023-06-10 00:00").possible  # no course yet: one can still be selected
    assert not told(CHOSEN, registered, "2023-06-21 00:00").possible
    long = load_text(RULES_ALL.replace("credited_hours: 1.25", "credited_hours: 1.8"))
    assert not told(long, registered, "2023-06-02 00:00").possible  # the courses give an hour and three quarters


def test_after_the_end_only_rulings_can_still_change_a_result() -> None:
    whole = [study("c1", "2023-06-03", f"1{n}:00", f"1{n}:30") for n in range(2)] + [study("c2", "2023-06-04", "10:00", "10:30")]
    base = [event("learner.registered", "2023-06-02 09:00", class_id="k1"), *whole]
    article = event("work.published", "2023-06-05 10:00", work_id="w", kind="research_article", activity_id="act")
    after, final = "2023-06-21 00:00", "2023-06-24 00:00"
    assert not told(ALL, base, after).possible
    assert told(ALL, [*base, article], after).possible  # it waits for its review
    assert not told(ALL, [*base, article], final).possible
    returned = event("work.reviewed", "2023-06-06 10:00", work_id="w", verdict="returned")
    assert told(ALL, [*base, article, returned], after).possible  # a later review may accept it
    gone = event("work.removed", "2023-06-06 10:00", work_id="w")
    assert not told(ALL, [*base, article, gone], after).possible

    course = one(told(CHOSEN, [*chosen("c1"), *whole[:2]], after), "c1")
    assert course.enough is not None  # 15 for study, 15 for grades, 0 for posts, 0 for works, 50 for an exam that was sat
    assert (course.enough.most, course.enough.possible) == (8_000, True)
    assert course.enough.pass_ways == course.enough.gate_ways == ()
    lesson = event("work.published", "2023-06-05 10:00", work_id="l", kind="lesson_design", course_id="c1")
    back = event("work.reviewed", "2023-06-06 10:00", work_id="l", verdict="returned")
    course = one(told(CHOSEN, [*chosen("c1"), *whole[:2], lesson, back], after), "c1")
    assert course.enough is not None
    assert course.enough.most == 8_500
    course = one(told(CHOSEN, [*chosen("c1"), *whole[:2]], final), "c1")
    assert course.enough is not None
    assert (course.enough.most, course.enough.possible, course.enough.blocked) == (1_500, False, "ended")
    nothing = one(told(CHOSEN, chosen("c1"), after), "c1")
    assert nothing.enough is not None
    assert (nothing.enough.most, nothing.enough.blocked) == (1_500, "ended")  # the gate of 24 stays shut


def test_time_that_does_not_hold_the_study_is_said_and_no_way_asks_for_it() -> None:
    course = one(told(CHOSEN, chosen("c1"), "2023-06-20 23:45"), "c1")
    assert course.enough is not None  # 30 minutes are needed, 15 are left: at most 15 + 4.5 for a gate of 24
    assert (course.enough.possible, course.enough.blocked, course.enough.gate_ways) == (False, "time", ())
    course = one(told(CHOSEN, chosen("c1"), "2023-06-20 23:30"), "c1")
    assert course.enough is not None
    assert course.enough.possible
    assert course.enough.gate_ways == ({"assignments": 2, "seconds": 1_800},)


def test_ownership_counts_from_the_last_follow_up() -> None:
    contact = event("follow_up.recorded", "2023-06-05 10:00", flag="inactive", channel="phone", outcome="reached", staff_id="s")
    at_base = event("follow_up.recorded", "2023-06-03 10:30", flag="inactive", channel="phone", outcome="reached", staff_id="s")
    before = event("follow_up.recorded", "2023-06-03 10:29", flag="inactive", channel="phone", outcome="reached", staff_id="s")
    found = told(CHOSEN, [*chosen("c1"), study("c1", "2023-06-03", "10:00", "10:30"), contact, at_base, before], "2023-06-05 12:00")
    flag = next(flag for flag in found.flags if flag.kind == "inactive")
    assert (flag.follow_ups, flag.next_owner, flag.next_owner_at) == (2, "county", at("2023-06-06 22:00"))
    lines = fates(next(part for part in found.items if part.name == "follow_ups").lines)
    assert (lines[at_base.id][2], lines[before.id][2]) == (["of_open_flag"], ["no_open_flag"])
    exactly = told(CHOSEN, [*chosen("c1"), study("c1", "2023-06-03", "10:00", "10:30")], "2023-06-05 10:30")
    flag = next(flag for flag in exactly.flags if flag.kind == "inactive")
    assert (flag.severity, flag.next_severity) == ("warning", "escalation")


def test_behind_says_both_shares_at_the_latest_midnight() -> None:
    events = [*chosen("c1"), study("c1", "2023-06-03", "10:00", "10:08"), study("c1", "2023-06-08", "08:00", "08:30")]
    found = told(CHOSEN, events, "2023-06-08 12:00")
    flag = next(flag for flag in found.flags if flag.kind == "behind")
    assert flag.facts["midnight_at"] == at("2023-06-08 00:00")
    # 7 of 20 days; 480 of 2,700 s: what was studied today does not count at last midnight
    assert (flag.facts["elapsed_percent"], flag.facts["credited_percent"], flag.facts["credited"]) == (3_500, 1_777, 480)


def test_a_repeated_fact_is_named_by_the_record_accepted_first() -> None:
    post = event("post.published", "2023-06-05 10:00", course_id="c1", post_id="x", kind="reply")
    given_ = [*records(chosen("c1")), Record(post, 0, 9), Record(post, 0, 7)]
    for order in (given_, given_[::-1]):
        found = account(CHOSEN, "L1", order, at("2023-06-06 00:00"))
        assert found.repeated == 1
        assert [line.record.offset for line in item(one(found, "c1"), "interaction").lines] == [7]


def test_what_is_listed_first_is_what_earns_then_what_does_not_count() -> None:
    replies = [event("post.published", f"2023-06-05 10:0{n}", f"p{n}", course_id="c1", post_id=f"p{n}", kind="reply") for n in range(5)]
    found = item(one(told(CHOSEN, [*chosen("c1"), *replies], "2023-06-06 00:00", most=3), "c1"), "interaction")
    assert [line.record.event.id for line in found.lines] == ["p0", "p1", "p4"]
    assert (found.rest.facts, found.rest.points, found.facts) == (2, 0, 5)
    assert item(one(told(CHOSEN, [*chosen("c1"), *replies], "2023-06-06 00:00", most=1), "c1"), "interaction").rest.points == 150


def test_a_tie_in_time_goes_to_the_greater_id() -> None:
    first, second = (
        event("process.marked", "2023-06-05 10:00", id, course_id="c1", score=score, marker_id="m")
        for id, score in (("a", "1"), ("b", "0.5"))
    )
    for order in ([first, second], [second, first]):
        found = item(one(told(CHOSEN, [*chosen("c1", "disc"), *order], "2023-06-06 00:00"), "c1"), "process")
        assert fates(found.lines) == {"a": ("no", None, ["superseded"]), "b": ("yes", 1_000, [])}


def test_a_submission_waits_for_its_grade_and_counts_once() -> None:
    events = [
        *chosen("c1"),
        event("assignment.submitted", "2023-06-05 10:00", "s1", course_id="c1", assignment_id="a", submission_id="1"),
        event("assignment.submitted", "2023-06-05 11:00", "s2", course_id="c1", assignment_id="a", submission_id="2"),
        event("assignment.submitted", "2023-06-05 12:00", "s3", course_id="c1", assignment_id="b", submission_id="3"),
        event("assignment.graded", "2023-06-06 10:00", "g", course_id="c1", assignment_id="b", score="1", grader_id="t"),
    ]
    found = item(one(told(CHOSEN, events, "2023-06-07 00:00"), "c1"), "assignments")
    assert fates(found.lines) == {
        "s1": ("yes", None, ["awaits_grade"]), "s2": ("no", None, ["handed_in_before"]), "s3": ("yes", None, ["graded"]),
        "g": ("yes", 750, []),
    }  # fmt: skip
    assert found.figures == {"graded": 1, "count": 2, "awaiting": 1}


def test_an_unselected_and_an_unknown_course_have_facts_and_no_totals() -> None:
    events = [
        *chosen("c1"),
        study("c2", "2023-06-03", "10:00", "10:30", id="other"),
        study("nope", "2023-06-03", "11:00", "11:10", id="unknown"),
    ]
    found = told(CHOSEN, events, "2023-06-04 00:00")
    assert [(row.course_id, row.known, row.selected, row.total) for row in found.courses] == [
        ("c1", True, True, 0), ("c2", True, False, 0), ("nope", False, False, 0),
    ]  # fmt: skip
    assert fates(item(one(found, "c2"), "study").lines) == {"other": ("no", 1_800, ["course_not_selected"])}
    assert fates(item(one(found, "nope"), "study").lines) == {"unknown": ("no", 600, ["unknown_course"])}
    assert [row.course_id for row in told(CHOSEN, events, "2023-06-04 00:00", "c2").courses] == ["c2"]
    with pytest.raises(UnknownCourse):
        told(CHOSEN, events, "2023-06-04 00:00", "nothing")


def test_parts_that_do_not_add_up_are_never_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [*chosen("c1"), event("post.published", "2023-06-05 10:00", course_id="c1", post_id="x", kind="reply")]
    told(CHOSEN, events, "2023-06-06 00:00")
    monkeypatch.setattr("services.scoring.core.account.marks.yes", lambda record, points=None, code="", *by: Line(record, "yes", None, 1))
    with pytest.raises(AccountError, match="interaction"):
        told(CHOSEN, events, "2023-06-06 00:00")


# -- every account ----------------------------------------------------------------------------------------------------


def lines_of(found: Account) -> list[Line]:
    return [line for part in (*found.items, *(part for course in found.courses for part in course.items)) for line in part.lines]


def totals(programme: Programme, events: list[Event], now: int) -> object:
    learner = Learner.new("L1")
    fold(programme, learner, [fact_of(e) for e in events])
    progress = evaluate(programme, learner, now).progress
    names = ("course_id", "credited_seconds", "study_points", "assignment_points", "interaction_points", "works_points", "process_points")
    names = (*names, "exam_points", "total_points", "gate_points", "gate_met", "passed", "credits")
    rows = [tuple(getattr(row, name) for name in names) for row in progress.courses]
    return rows, progress.mode, progress.class_id, progress.withdrawn, progress.credited_seconds, progress.credits, progress.result


@EACH
@QUICK
@given(events=LIVES, now=MOMENTS, most=st.integers(0, 4))
def test_every_account_adds_up_to_what_is_published(programme: Programme, events: list[Event], now: int, most: int) -> None:
    found = told(programme, events, now, most=10_000)
    learner = Learner.new("L1")
    fold(programme, learner, [fact_of(e) for e in events])
    progress = evaluate(programme, learner, now).progress
    rows = {row.course_id: row for row in progress.courses}
    assert {course.course_id for course in found.courses if course.selected} == set(rows)
    for course in found.courses:
        by_item = {part.name: part for part in course.items}
        credited = sum(line.seconds or 0 for line in by_item["study"].lines) if "study" in by_item else 0
        assert course.seconds_before_cap == credited
        assert course.total == sum(part.points for part in course.items)
        for name, part in by_item.items():
            if name != "study":
                assert part.points == sum(line.points or 0 for line in part.lines)
            assert part.points <= part.limit
            if part.scored:
                assert part.room is not None
                top = part.points + part.room.points
                assert part.points <= top <= part.limit
                assert now >= programme.ends_ms or top == part.limit
                assert now < programme.results_final_ms or top == part.points
        if course.selected:
            row = rows[course.course_id]
            assert (course.total, course.seconds, course.credits) == (cents(row.total_points), row.credited_seconds, cents(row.credits))
            assert credited - course.cap_cut == row.credited_seconds
            assert course.passed == row.passed
    assert found.seconds == progress.credited_seconds
    assert found.result == progress.result
    assert [(flag.kind, flag.ref) for flag in found.flags] == [(flag.kind, flag.ref) for flag in progress.flags]

    # the same with few facts listed: what is left out is summed up exactly
    short = told(programme, events, now, most=most)
    for whole, cut in zip(found.courses, short.courses, strict=True):
        for full, part in zip(whole.items, cut.items, strict=True):
            assert (part.name, part.points, part.facts) == (full.name, full.points, len(full.lines))
            assert len(part.lines) == min(most, len(full.lines))
            assert len(part.lines) + part.rest.facts == len(full.lines)
            assert sum(line.seconds or 0 for line in part.lines) + part.rest.seconds == sum(line.seconds or 0 for line in full.lines)
            assert sum(line.points or 0 for line in part.lines) + part.rest.points == sum(line.points or 0 for line in full.lines)


@EACH
@QUICK
@given(events=LIVES, now=MOMENTS)
def test_every_fact_has_exactly_one_line_with_a_reason_where_it_does_not_count(programme: Programme, events: list[Event], now: int) -> None:
    found = told(programme, events, now, most=10_000)
    lines = lines_of(found)
    facts = {(e.source, e.id, e.digest) for e in events}
    assert sorted((one.record.event.source, one.record.event.id, one.record.event.digest) for one in lines) == sorted(facts)
    assert found.facts == len(facts)
    assert found.repeated == len(events) - len(facts)
    for line in lines:
        assert line.counts in ("yes", "partly", "no")
        assert line.why or line.counts == "yes"
        if line.counts == "no":
            assert not line.points


@EACH
@QUICK
@given(events=LIVES, now=MOMENTS, seed=st.integers(0, 9999))
def test_order_and_repetition_change_nothing(programme: Programme, events: list[Event], now: int, seed: int) -> None:
    chance = random.Random(seed)
    given_ = records(events)
    once = account(programme, "L1", given_, now)
    again = [*given_, *chance.sample(given_, len(given_) // 2)]
    chance.shuffle(again)
    other = account(programme, "L1", again, now)
    assert other.courses == once.courses
    assert other.flags == once.flags
    assert {part.name: part for part in other.items} == {part.name: part for part in once.items}


@EACH
@QUICK
@given(events=LIVES, now=MOMENTS)
def test_what_does_not_count_makes_no_difference(programme: Programme, events: list[Event], now: int) -> None:
    lines = lines_of(told(programme, events, now, most=10_000))
    counting = [line.record.event for line in lines if line.counts != "no" or any(why.code in KEPT for why in line.why)]
    assert totals(programme, counting, now) == totals(programme, events, now)


KEPT = ("course_not_selected", "unknown_course")
"""Study on such a course counts for nothing, but takes its seconds from others."""


@EACH
@QUICK
@given(events=LIVES)
def test_each_interval_is_credited_as_a_second_by_second_count_says(programme: Programme, events: list[Event]) -> None:
    lines = [line for line in lines_of(told(programme, events, HIGH, most=10_000)) if line.record.kind == "study.recorded"]
    spans: dict[tuple[int, str, int], int] = {}
    for line in lines:
        data = line.record.data
        if line.why[:1] and line.why[0].code in ("before_start", "after_end", "duplicate"):
            assert line.seconds == 0
            continue
        spans[data.started_at, data.course_id, data.ended_at] = line.seconds or 0
    owner: dict[int, tuple[int, str, int]] = {}
    for span in spans:
        for second in range(span[0], span[2]):
            owner[second] = min(owner.get(second, span), span)
    used: dict[str, int] = {}
    credited = dict.fromkeys(spans, 0)
    for second in sorted(owner):
        day = datetime.fromtimestamp(second, ZoneInfo(programme.time_zone)).strftime("%Y-%m-%d")
        if programme.daily_cap_seconds is None or used.get(day, 0) < programme.daily_cap_seconds:
            used[day] = used.get(day, 0) + 1
            credited[owner[second]] += 1
    assert credited == spans
    for line in lines:
        for why in line.why:
            if why.code == "overlapped":
                taken = [cause.data for cause in why.by]
                assert all(data.started_at <= line.record.data.started_at for data in taken)
                assert len(taken) >= 1


# -- enough -----------------------------------------------------------------------------------------------------------

HALF = LOW + (HIGH - LOW) // 2


def added(course: str, form: str, way: dict[str, int], graded: set[str], now: int) -> list[Event]:
    """Facts that do what a way says, from the day after `now` on."""
    made: list[Event] = []
    begins = CHOSEN.day_start_ms(CHOSEN.day_after(CHOSEN.day_of(now)))
    left, day = way.get("seconds", 0), 0
    while left > 0:
        some = min(left, 1_800)
        start = begins + day * 24 * 3_600_000
        made.append(event("study.recorded", start, course_id=course, started_at=start, ended_at=start + some * 1000, channel="online"))
        left, day = left - some, day + 1
    fresh = [f"new{n}" for n in range(way.get("assignments", 0))]
    made += [event("assignment.graded", begins, course_id=course, assignment_id=name, score="1", grader_id="t") for name in fresh]
    for kind in ("question", "reply"):
        number = way.get("questions" if kind == "question" else "replies", 0)
        made += [event("post.published", begins, course_id=course, post_id=f"{kind}{n}", kind=kind) for n in range(number)]
    made += [event("work.published", begins, work_id=f"new{n}", kind="lesson_design", course_id=course) for n in range(way.get("works", 0))]
    return made


@pytest.mark.parametrize("programme", [PROGRAMMES["chosen"], PROGRAMMES["all"]], ids=["chosen", "all"])
@QUICK
@given(events=LIVES)
def test_what_is_said_to_be_enough_is_enough_and_less_is_not(programme: Programme, events: list[Event]) -> None:
    events = [e for e in events if e.time_ms < HALF and getattr(e.data, "ended_at", 0) * 1000 < HALF]
    for course in told(programme, events, HALF).courses:
        enough = course.enough
        if enough is None or course.passed:
            assert enough is None or enough.possible
            continue
        name = course.course_id
        mode = programme.modes[told(programme, events, HALF).mode.value]
        for way in enough.gate_ways:
            more = added(name, "online", dict(way), set(), HALF)
            after = one(told(programme, [*events, *more], HALF, name), name)
            assert after.gate is not None
            assert after.gate.met, way
            if enough.exam_kept is not None:
                assert after.passed
            if len(way) == 1:
                (key, n), *_ = way.items()
                less = added(name, "online", {key: n - 1}, set(), HALF)
                before = one(told(programme, [*events, *less], HALF, name), name)
                assert before.gate is not None
                assert not before.gate.met
        for way in enough.pass_ways:
            more = added(name, "online", dict(way), set(), HALF)
            assert one(told(programme, [*events, *more], HALF, name), name).passed, way
        if enough.exam_score is not None and (course.gate is None or course.gate.met):
            assert mode.exam is not None
            form = mode.exam.forms[0] if len(mode.exam.forms) == 1 else "paper"
            for line in item(course, "exam").lines:
                if line.why[:1] and line.why[0].code == "sets_form":
                    form = line.record.data.form

            def sat(score: int, form: str = form, name: str = name) -> bool:
                text = f"{score / 10_000:.4f}"
                mark = event("exam.marked", HALF, course_id=name, attempt_id="new", form=form, score=text, sat_at=HALF)
                return one(told(programme, [*events, mark], HALF, name), name).passed

            assert sat(enough.exam_score)
            assert not sat(enough.exam_score - 1)
        elif mode.exam is not None and course.gate is not None and course.gate.met:
            assert not enough.pass_ways or enough.exam_score is None
