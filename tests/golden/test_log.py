"""The log of flags and the reminders, look by look: `raised`, `severity`, `owner`, `cleared`, `retracted` (RULES, "The log of flags")."""

from __future__ import annotations

import pytest

from schemas.programme import Programme
from schemas.progress import Flag, Reminder
from services.scoring.core.attention import changes, reminder_of
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from tests.golden.doors import (
    DISC,
    ONLINE,
    VISIT,
    A,
    B,
    at,
    exam,
    follow_up,
    graded,
    posts,
    process,
    programme,
    read,
    record,
    ruled,
    seconds,
    selected,
    submitted,
    utc,
)

Look = tuple[str, list[bytes]]


class Watch:
    """A learner as the engine goes along with one: facts arrive, one looks, what changed is logged and reminded of."""

    def __init__(self, rules: Programme) -> None:
        self.rules = rules
        self.learner = Learner.new("L1")
        self.flags: list[Flag] = []

    def look(self, moment: str, arrived: list[bytes]) -> tuple[list[tuple[str, str, str, str]], Reminder | None]:
        """(kind, ref, change, raised_at) logged at the moment, and the reminder that became due."""
        fold(self.rules, self.learner, [fact_of(read(value)) for value in arrived])
        progress = evaluate(self.rules, self.learner, at(moment)).progress
        lines = changes(self.rules, self.learner, self.flags, progress, at(moment))
        reminder = reminder_of(self.rules, self.flags, progress, at(moment))
        self.flags = progress.flags
        assert all(line.changed_at == utc(moment) for line in lines)
        assert changes(self.rules, self.learner, self.flags, progress, at(moment)) == []
        return [(line.kind, line.ref, line.change, line.raised_at) for line in lines], reminder


def logged(rules: Programme, *looks: Look) -> list[tuple[str, str, str]]:
    """(kind, change, raised_at) of all looks."""
    watch = Watch(rules)
    return [(kind, change, raised) for moment, arrived in looks for kind, _, change, raised in watch.look(moment, arrived)[0]]


def last(rules: Programme, kind: str, *looks: Look) -> str:
    """What the log says last of the only flag of a kind, which was raised at the first look."""
    found = [(change, raised) for of, change, raised in logged(rules, *looks) if of == kind]
    assert found[0][0] == "raised"
    assert {raised for _, raised in found} == {found[0][1]}
    assert len(found) == 2, found
    return found[1][0]


def test_a_flag_grows_and_changes_hands() -> None:
    days = ["07", "08", "12", "15", "19", "22"]
    looks = [(f"2023-06-{day} 10:00", [ONLINE, VISIT] if day == "07" else []) for day in days]
    raised = utc("2023-06-08 10:00")
    assert logged(B, *looks) == [("inactive", change, raised) for change in ("raised", "severity", "owner", "severity", "owner")]
    # who looks seldom logs both at once
    assert logged(B, looks[0], looks[1], ("2023-06-22 10:00", [])) == [
        ("inactive", change, raised) for change in ("raised", "severity", "owner")
    ]


def test_a_follow_up_is_logged_as_the_owners_change() -> None:
    watch = Watch(B)
    watch.look("2023-06-15 10:00", [ONLINE, VISIT])
    lines, _ = watch.look("2023-06-16 10:00", [follow_up("inactive", "2023-06-16 09:00")])
    assert lines == [("inactive", "", "owner", utc("2023-06-08 10:00"))]
    assert [flag.owner_level for flag in watch.flags] == ["school"]


@pytest.mark.parametrize(
    ("time", "change"),
    [
        ("2023-06-02 10:00", "retracted"),
        ("2023-06-04 09:00", "retracted"),
        ("2023-06-04 09:00:00.001", "cleared"),
        ("2023-06-04 13:00", "cleared"),
    ],
)
def test_not_started_but_had(time: str, change: str) -> None:
    """Registered 1 June 09:00, raised 4 June 09:00, looked at 12:00; then an act is told."""
    for act in (record("platform.visited", time), submitted("a1", time), exam("0.5", sat=time, time="2023-06-04 14:00")):
        found = last(B, "not_started", ("2023-06-04 12:00", [ONLINE]), ("2023-06-04 15:00", [act]))
        assert found == change
    for no_start in (selected(time=time), record("course.dropped", time, course_id="c-maths"), graded("a1", "1", time)):
        assert logged(B, ("2023-06-04 12:00", [ONLINE]), ("2023-06-04 15:00", [no_start])) == [
            ("not_started", "raised", utc("2023-06-04 09:00"))
        ]


@pytest.mark.parametrize(
    ("time", "change"), [("2023-06-03 08:00", "retracted"), ("2023-06-03 09:00", "retracted"), ("2023-06-03 09:00:00.001", "cleared")]
)
def test_not_registered_but_had(time: str, change: str) -> None:
    enrolled = record("learner.enrolled", "2023-06-01 09:00", class_id="k1")
    registered = record("learner.registered", time, class_id="k1")
    assert last(B, "not_registered", ("2023-06-03 12:00", [enrolled]), ("2023-06-03 13:00", [registered])) == change


@pytest.mark.parametrize(
    ("times", "change"),
    [
        (["2023-06-06 10:00"], "retracted"),
        (["2023-06-08 09:59"], "retracted"),
        (["2023-06-08 10:00"], "retracted"),
        (["2023-06-08 10:00:00.001"], "cleared"),
        (["2023-06-07 09:00", "2023-06-07 12:00", "2023-06-07 23:00"], "retracted"),
        (["2023-06-08 09:00", "2023-06-08 11:00"], "retracted"),
        (["2023-06-04 10:00", "2023-06-08 11:00"], "cleared"),
    ],
)
def test_inactive_but_was_not(times: list[str], change: str) -> None:
    """Last act 5 June 10:00, raised 8 June 10:00; an act after the old base and until then makes it untrue."""
    acts = [record("platform.visited", time) for time in times]
    assert last(B, "inactive", ("2023-06-08 10:30", [ONLINE, VISIT]), ("2023-06-08 12:00", acts)) == change


SUBMITTED = [ONLINE, selected("c-maths"), submitted("a1", "2023-10-20 10:00", "c-maths"), record("platform.visited", "2023-10-31 12:00")]


@pytest.mark.parametrize(
    ("time", "change"), [("2023-10-31 23:59", "retracted"), ("2023-11-01 00:00", "retracted"), ("2023-11-01 00:00:00.001", "cleared")]
)
def test_overdue_but_handed_in(time: str, change: str) -> None:
    handed = submitted("a2", time, "c-maths")
    assert last(B, "assignment_overdue", ("2023-11-01 12:00", SUBMITTED), ("2023-11-01 13:00", [handed])) == change


@pytest.mark.parametrize(("time", "change"), [("2023-10-31 23:59", "retracted"), ("2023-11-01 00:00:00.001", "cleared")])
def test_overdue_but_dropped(time: str, change: str) -> None:
    dropped = record("course.dropped", time, course_id="c-maths")
    assert last(B, "assignment_overdue", ("2023-11-01 12:00", SUBMITTED), ("2023-11-01 13:00", [dropped])) == change


@pytest.mark.parametrize(
    ("sat", "change"), [("2023-12-17 23:59", "retracted"), ("2023-12-18 00:00", "retracted"), ("2023-12-18 00:00:00.001", "cleared")]
)
def test_exam_due_but_sat(sat: str, change: str) -> None:
    sitting = exam("0.1", "paper", sat=sat, time="2023-12-19 10:00", course="c-maths")
    assert last(B, "exam_due", ("2023-12-18 12:00", [DISC, selected("c-maths")]), ("2023-12-19 11:00", [sitting])) == change


@pytest.mark.parametrize("kind", ["not_started", "inactive", "plagiarism_suspected"])
def test_withdrawn_before_or_after(kind: str) -> None:
    facts = {"not_started": [ONLINE], "inactive": [ONLINE, VISIT], "plagiarism_suspected": [ruled("suspected", "2023-06-08 10:00")]}[kind]
    before, after = (record("learner.withdrawn", time) for time in ("2023-06-03 10:00", "2023-06-09 10:00"))
    for fact, change in ((before, "retracted"), (after, "cleared")):
        assert last(B, kind, ("2023-06-08 10:00", facts), ("2023-06-09 12:00", [fact])) == change


def test_passed_before_or_after() -> None:
    """Plan A: an article accepted before the flag was raised, and told after it."""
    facts: list[bytes] = [record("learner.registered", "2023-11-01 09:00", class_id="k1")]
    first = 2
    for course in A.courses.values():
        facts += seconds(course.id, course.seconds, first, "2023-11")
        first += -(-course.seconds // 28_800)
    facts.append(record("work.published", "2023-12-01 10:00", work_id="w", kind="research_article", activity_id="research"))
    for time, change in (("2023-12-03 10:00", "retracted"), ("2023-12-05 10:00", "cleared")):
        accepted = record("work.reviewed", time, work_id="w", verdict="accepted")
        assert last(A, "inactive", ("2023-12-04 11:00", facts), ("2023-12-05 12:00", [accepted])) == change


def test_failed_by_a_ruling_before_or_after() -> None:
    for time, change in (("2023-06-07 10:00", "retracted"), ("2023-06-09 10:00", "cleared")):
        assert last(B, "inactive", ("2023-06-08 11:00", [ONLINE, VISIT]), ("2023-06-09 12:00", [ruled("confirmed", time)])) == change


def test_a_suspicion_that_is_decided() -> None:
    suspected = ruled("suspected", "2023-06-10 10:00", source="/a")
    assert (
        last(B, "plagiarism_suspected", ("2023-06-10 11:00", [suspected]), ("2023-06-12 11:00", [ruled("cleared", "2023-06-12 10:00")]))
        == "cleared"
    )
    same = ruled("cleared", "2023-06-10 10:00", source="/b")  # by then already decided
    assert last(B, "plagiarism_suspected", ("2023-06-10 11:00", [suspected]), ("2023-06-12 11:00", [same])) == "retracted"


def test_behind_but_had_studied() -> None:
    start = [record("learner.registered", "2023-05-30 09:00", class_id="k1", mode="online"), selected("c1", "2023-05-30 09:00")]
    early, late_ = seconds("c1", 7200, 3), seconds("c1", 7200, 5)
    assert last(programme(), "behind", ("2023-06-05 12:00", start), ("2023-06-06 12:00", early)) == "retracted"
    assert last(programme(), "behind", ("2023-06-05 12:00", start), ("2023-06-06 12:00", late_)) == "cleared"


def test_the_end_clears_what_is_open() -> None:
    facts = [ONLINE, VISIT, selected("c-maths"), ruled("suspected", "2023-12-01 10:00")]
    watch = Watch(B)
    watch.look("2023-12-31 10:00", facts)
    lines, _ = watch.look("2024-01-01 00:00", [])
    assert {(kind, change) for kind, _, change, _ in lines} == {
        ("inactive", "cleared"),
        ("behind", "cleared"),
        ("assignment_overdue", "cleared"),
    }
    assert [flag.kind for flag in watch.flags] == ["plagiarism_suspected"]


def test_a_flag_whose_raising_moves_ends_and_is_raised_again() -> None:
    base = [ONLINE, VISIT, record("course.dropped", "2023-11-01 09:00", course_id="c-maths"), selected("c-maths", "2023-11-05 10:00")]
    watch = Watch(B)
    watch.look("2023-11-06 10:00", base)
    lines, _ = watch.look("2023-11-06 11:00", [selected("c-maths", "2023-11-03 10:00")])
    assert lines == [
        ("assignment_overdue", "c-maths", "cleared", utc("2023-11-05 10:00")),  # it was open then, and longer
        ("assignment_overdue", "c-maths", "raised", utc("2023-11-03 10:00")),
    ]


# -- reminders --------------------------------------------------------------------------------------------------------


def test_a_reminder_is_due_for_a_raise_and_for_each_severity_and_not_for_an_owner() -> None:
    watch = Watch(B)
    due: dict[str, Reminder] = {}
    for day in ("07", "08", "12", "15", "19", "22"):
        _, reminder = watch.look(f"2023-06-{day} 10:00", [ONLINE, VISIT] if day == "07" else [])
        if reminder is not None:
            due[day] = reminder
    assert {day: (one.kind, one.severity, one.due_at, len(one.flags)) for day, one in due.items()} == {
        "08": ("inactive", "notice", utc("2023-06-08 10:00"), 1),
        "12": ("inactive", "warning", utc("2023-06-12 10:00"), 1),
        "19": ("inactive", "escalation", utc("2023-06-19 10:00"), 1),
    }  # on the 15th and the 22nd only the owner changed
    assert len({one.reminder_id for one in due.values()}) == 3
    # a rebuild that looks at other moments finds the same flag at the same severity: the same reminder
    again = Watch(B)
    _, reminder = again.look("2023-06-13 17:00", [ONLINE, VISIT])
    assert reminder is not None and reminder.reminder_id == due["12"].reminder_id


def test_of_several_flags_the_most_severe_names_the_reminder_and_all_are_listed() -> None:
    _, reminder = Watch(B).look("2023-11-02 10:00", [ONLINE, selected("c-maths"), record("platform.visited", "2023-10-25 10:00")])
    assert reminder is not None
    # behind: nothing of 16 hours when 154 of 214 days have gone; inactive for 8 days; overdue since yesterday
    assert [(flag.kind, flag.severity) for flag in reminder.flags] == [
        ("assignment_overdue", "notice"),
        ("behind", "escalation"),
        ("inactive", "warning"),
    ]
    assert (reminder.kind, reminder.severity) == ("behind", "escalation")


def test_a_flag_that_ends_or_stays_makes_no_reminder_due() -> None:
    watch = Watch(B)
    assert watch.look("2023-06-08 10:00", [ONLINE, VISIT])[1] is not None
    assert watch.look("2023-06-08 11:00", [])[1] is None
    assert watch.look("2023-06-08 12:00", [record("platform.visited", "2023-06-08 11:30")])[1] is None
    assert watch.look("2023-06-11 11:30", [])[1] is not None  # raised again


@pytest.mark.parametrize("verdict", ["suspected", "confirmed"])
def test_nobody_with_a_result_is_reminded_and_no_one_who_left(verdict: str) -> None:
    passed = [DISC, selected(), process("0.8"), exam("0.55", "paper")]
    _, reminder = Watch(B).look("2023-08-01 10:00", [*passed, ruled("suspected", "2023-07-20 10:00")])
    assert reminder is None  # passed, though a suspicion is open
    failed = [ONLINE, VISIT, ruled("confirmed", "2023-07-01 10:00", "k1"), ruled("suspected", "2023-07-20 10:00")]
    assert Watch(B).look("2023-08-01 10:00", failed)[1] is None
    left = [ONLINE, VISIT, record("learner.withdrawn", "2023-06-20 10:00"), ruled(verdict, "2023-07-20 10:00")]
    assert Watch(B).look("2023-08-01 10:00", left)[1] is None
    assert Watch(programme()).look("2023-06-10 10:00", [ONLINE, VISIT])[1] is None  # a programme without `reminders`
    everybody = [ONLINE, VISIT, *posts("question", 1)]
    assert Watch(B).look("2023-08-01 10:00", everybody)[1] is not None
