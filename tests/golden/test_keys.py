"""What a fact is about (CONTRACTS, "Types"): where keys end, what is one fact and what is another."""

from __future__ import annotations

import json

from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from tests.golden.doors import (
    DISC,
    ONLINE,
    VISIT,
    B,
    exam,
    flags,
    follow_up,
    graded,
    post,
    process,
    programme,
    read,
    record,
    row,
    ruled,
    selected,
    study,
    submitted,
    told,
    utc,
    work,
)

NOW = "2023-08-01 00:00"
TWO = [selected("c-maths"), selected("c-reading")]


def test_posts_assignments_and_attempts_lie_inside_the_course() -> None:
    facts = [
        ONLINE,
        *TWO,
        post("q", "question"),
        post("q", "question", course="c-maths"),
        graded("a1", "1"),
        graded("a1", "0.5", course="c-maths"),
    ]
    progress = told(B, facts, NOW)
    assert [(row(progress, course).interaction_points, row(progress, course).assignment_points) for course in ("c-maths", "c-reading")] == [
        ("1.00", "3.75"),
        ("1.00", "7.50"),
    ]
    gone = record("post.removed", "2023-06-12 10:00", course_id="c-maths", post_id="q")
    progress = told(B, [*facts, gone], NOW)
    assert [row(progress, course).interaction_points for course in ("c-maths", "c-reading")] == ["0.00", "1.00"]
    sat = [DISC, *TWO, exam("0.5", "paper", "x1"), exam("0.25", "paper", "x1", course="c-maths"), process("1", course="c-maths")]
    progress = told(B, sat, NOW)
    assert [(row(progress, course).exam_points, row(progress, course).process_points) for course in ("c-maths", "c-reading")] == [
        ("20.00", "20.00"),
        ("40.00", "0.00"),
    ]


def test_works_and_cases_are_known_by_their_id_alone() -> None:
    """The latest publication says on which course a work is; it is never on two."""
    facts = [ONLINE, *TWO, work("w", course_id="c-reading"), work("w", time="2023-06-12 10:00", course_id="c-maths")]
    progress = told(B, facts, NOW)
    assert [row(progress, course).works_points for course in ("c-maths", "c-reading")] == ["5.00", "0.00"]
    two = [ruled("confirmed", "2023-07-01 10:00", "k1"), ruled("cleared", "2023-07-02 10:00", "k2")]
    assert told(B, [ONLINE, *two], NOW).result == "failed"
    assert told(B, [ONLINE, *two, ruled("cleared", "2023-07-03 10:00", "k1")], NOW).result == "in_progress"


def test_one_source_and_id_with_another_content_is_another_fact() -> None:
    calls = [follow_up("inactive", "2023-06-10 10:00", "reached"), follow_up("inactive", "2023-06-10 10:00", "promised")]
    same_id = [json.dumps({**json.loads(call), "id": "one"}).encode() for call in calls]
    assert flags(B, [ONLINE, VISIT, *same_id], "2023-06-12 10:00")["inactive", ""].follow_ups == 2
    assert flags(B, [ONLINE, VISIT, same_id[0], same_id[0]], "2023-06-12 10:00")["inactive", ""].follow_ups == 1
    # the same content under another id is another contact, too; but the same interval is one interval
    other_id = json.dumps({**json.loads(same_id[0]), "id": "two"}).encode()
    assert flags(B, [ONLINE, VISIT, same_id[0], other_id], "2023-06-12 10:00")["inactive", ""].follow_ups == 2


def test_null_is_absent_and_attributes_beyond_the_contract_are_no_content() -> None:
    call = json.loads(follow_up("inactive", "2023-06-10 10:00"))
    call["id"] = "one"
    with_null = {
        **call,
        "data": {**call["data"], "ref": None, "note": None},
        "traceparent": "00-1-2-00",
        "datacontenttype": "application/json",
    }
    both = [json.dumps(one).encode() for one in (call, with_null)]
    assert flags(B, [ONLINE, VISIT, *both], "2023-06-12 10:00")["inactive", ""].follow_ups == 1


def test_what_is_said_twice_at_different_times_is_kept_in_one_way() -> None:
    """`told` compares the kept bytes, too: of removals and submissions the earliest is kept, whichever arrived first."""
    twice = [
        *(record("post.removed", f"2023-06-{day} 10:00", course_id="c-reading", post_id="q") for day in (14, 12, 13)),
        *(record("work.removed", f"2023-06-{day} 10:00", work_id="w") for day in (14, 12, 13)),
        *(submitted("a1", f"2023-06-{day} 10:00") for day in (14, 12, 13)),
        *(record("platform.visited", f"2023-06-15 {hour}:00") for hour in (12, 10, 14, 11)),
        *(record("learner.enrolled", f"2023-06-{day} 10:00", class_id=f"k{day}") for day in (14, 12, 13)),
    ]
    facts = [ONLINE, selected(), post("q", "question"), work("w"), *twice]
    progress = told(B, facts, NOW)
    assert (row(progress).interaction_points, row(progress).works_points, progress.class_id) == ("0.00", "0.00", "k14")
    assert json.loads(row(progress).explanation)["items"]["assignments"]["submitted"] == 1


def test_a_course_that_the_rules_do_not_know_has_no_row() -> None:
    facts = [ONLINE, *TWO, selected("c-gone"), submitted("a1", "2023-06-10 10:00", "c-gone"), graded("a1", "1", course="c-gone"),
             post("q", "question", course="c-gone"), study("c-gone", "2023-06-12 10:00", "2023-06-12 10:20")]  # fmt: skip
    progress = told(B, facts, NOW)
    assert ([one.course_id for one in progress.courses], progress.courses_selected) == (["c-reading", "c-maths"], 2)
    assert (progress.credited_seconds, progress.last_active_at) == (0, utc("2023-06-12 10:20"))


def test_follow_ups_of_flags_without_a_base_count_from_when_they_were_raised() -> None:
    start = [record("learner.registered", "2023-05-30 09:00", class_id="k1", mode="online"), selected("c1", "2023-05-30 09:00")]
    for time, counted in (("2023-06-04 23:59:59.999", 0), ("2023-06-05 00:00", 1)):  # behind is raised on 5 June
        assert flags(programme(), [*start, follow_up("behind", time)], "2023-06-07 00:00")["behind", ""].follow_ups == counted
    for time, counted in (("2023-12-17 23:59:59.999", 0), ("2023-12-18 00:00", 1)):  # the end - 14 days
        facts = [DISC, selected("c-maths"), follow_up("exam_due", time, ref="c-maths")]
        assert flags(B, facts, "2023-12-20 00:00")["exam_due", "c-maths"].follow_ups == counted
    for time, counted in (("2023-06-09 23:59:59.999", 0), ("2023-06-10 00:00", 1)):
        facts = [ONLINE, ruled("suspected", "2023-06-10 00:00"), follow_up("plagiarism_suspected", time, ref="k9")]
        assert flags(B, facts, "2023-06-12 00:00")["plagiarism_suspected", "k9"].follow_ups == counted


def test_a_transfer_moves_the_learner_and_leaves_the_flag() -> None:
    facts = [ONLINE, VISIT, record("learner.transferred", "2023-06-09 10:00", class_id="k7")]
    progress = told(B, facts, "2023-06-16 10:00")
    assert (progress.class_id, progress.mode) == ("k7", "online")
    assert [(flag.kind, flag.raised_at, flag.owner_level) for flag in progress.flags] == [("inactive", utc("2023-06-08 10:00"), "county")]


def test_a_drop_takes_every_selection_before_it() -> None:
    drop = record("course.dropped", "2023-06-03 09:00", course_id="c-reading")
    twice = [selected(), selected(time="2023-06-02 09:00")]
    assert told(B, [ONLINE, *twice, drop], NOW).courses_selected == 0
    assert told(B, [ONLINE, *twice, drop, selected(time="2023-06-04 09:00")], NOW).courses_selected == 1


def test_one_assignment_handed_in_twice_is_one() -> None:
    again = [
        record("assignment.submitted", "2023-10-10 10:00", course_id="c-reading", assignment_id="a1", submission_id=name) for name in "xyz"
    ]
    assert ("assignment_overdue", "c-reading") in flags(B, [ONLINE, selected(), *again], "2023-11-01 00:00")


def test_the_gate_has_something_to_hold_back_only_with_an_attempt() -> None:
    found = row(told(B, [ONLINE, selected()], NOW))
    assert (found.gate_met, found.exam_before_gate) == (False, False)
    assert row(told(B, [ONLINE, selected(), exam("0.1")], NOW)).exam_before_gate


def test_where_there_is_one_form_a_choice_changes_nothing() -> None:
    choice = record("assessment.chosen", "2023-06-10 10:00", course_id="c1", form="paper")
    sat = exam("0.5", sat="2023-06-19 09:00", time="2023-06-20 09:00", course="c1")
    assert row(told(programme(), [ONLINE, selected("c1"), choice, sat], NOW), "c1").exam_points == "25.00"


def test_any_fact_gives_a_row() -> None:
    """And its cell is named, so that it is written."""
    certificate = record("certificate.issued", "2023-06-10 10:00", certificate_id="z")
    assert fold(B, Learner.new("L1"), [fact_of(read(certificate))]) == {"sum"}
    progress = told(B, [certificate], NOW)
    assert (progress.class_id, progress.mode, progress.result, progress.last_active_at) == ("", "online", "in_progress", None)
