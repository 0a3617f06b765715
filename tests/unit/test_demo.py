"""The simulated province, the lives in it, and the demo's own knowledge of the rules (which demo-check trusts)."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import people, simulate
from deploy.demo.knowledge import tally
from deploy.demo.plans import Plan, read_plans
from deploy.demo.sheet import Interval, Known, Tally, credited, instant, known, pieces
from deploy.demo.units import sum_units

ROOT = Path(__file__).resolve().parents[2]
START = instant("2023-12-04T21:30:00+08:00")


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return read_plans(ROOT / "schemas" / "programmes")


@pytest.fixture(scope="module")
def plan_b(plans: dict[str, Plan]) -> Plan:
    return plans[people.PLAN_B]


class Facts:
    """Builds one learner's facts with ids of their own."""

    def __init__(self) -> None:
        self.all: list[Known] = []

    def add(self, time: str, kind: str, /, **data: Any) -> Facts:
        self.all.append(Known(instant(time), "/p", f"e{len(self.all)}", kind, data))
        return self

    def study(self, course: str, start: str, end: str) -> Facts:
        return self.add(end, "study.recorded", course_id=course, started_at=start, ended_at=end, channel="online")

    def at(self, plan: Plan, now: str) -> Tally:
        return tally(plan, "t1", self.all, instant(now))


def full_study(facts: Facts, course: str) -> Facts:
    """32 half hours, one a day from 10 June on: the 16 hours of plan B."""
    for number in range(32):
        day = f"2023-{6 + (9 + number) // 30:02d}-{(9 + number) % 30 + 1:02d}"
        facts.study(course, f"{day}T10:00:00+08:00", f"{day}T10:30:00+08:00")
    return facts


def test_population_is_deterministic_and_hangs_together() -> None:
    one, two = people.populate(600, 7), people.populate(600, 7)
    assert one == two
    assert len(one.teachers) == 600
    units = {unit.unit_id: unit for unit in one.units}
    levels = ["province", "city", "county", "school", "class"]
    for unit in one.units:
        assert (unit.parent_id == "") == (unit.level == "province")
        if unit.parent_id:
            assert levels.index(units[unit.parent_id].level) == levels.index(unit.level) - 1
    assert len(units) == len(one.units)
    assert {teacher.class_id for teacher in one.teachers} == {unit.unit_id for unit in one.units if unit.level == "class"}
    assert len({teacher.learner_id for teacher in one.teachers}) == 600
    assert {(account.programme, account.level) for account in one.accounts} == {
        (plan, level) for plan in (people.PLAN_A, people.PLAN_B) for level in levels[:4]
    }
    assert all(account.unit_id in units for account in one.accounts)


def test_events_carry_no_personal_data(plans: dict[str, Plan]) -> None:
    population = people.populate(60)
    text = ""
    for group in simulate.by_class(population):
        past, _ = simulate.history(simulate.lives(group, plans, 1, START // 1000), START // 1000)
        text += "".join(str(sent.event) for sent in past)
    for teacher in population.teachers:
        assert teacher.name not in text or len(teacher.name) < 2
        assert teacher.phone not in text
        assert teacher.email not in text


def test_history_is_deterministic_has_all_sorts_and_ends_at_the_start(plans: dict[str, Plan]) -> None:
    population = people.populate(200)
    runs = [
        [simulate.history(simulate.lives(group, plans, 5, START // 1000), START // 1000) for group in simulate.by_class(population)]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    past = [sent for group, _ in runs[0] for sent in group]
    ahead = [sent for _, group in runs[0] for sent in group]
    assert all(sent.at * 1000 < START for sent in past)
    assert all(sent.at * 1000 >= START for sent in ahead)
    assert 35 < len(past) / 200 < 75
    kinds = Counter(sent.event["type"] for sent in past)
    assert len(kinds) >= 18
    ids = Counter((sent.event["source"], sent.event["id"]) for sent in past)
    twice = [sent.event for sent in past if ids[sent.event["source"], sent.event["id"]] > 1]
    assert twice
    assert any(not sent.sound for sent in past)
    assert any(later.at < earlier.at - 86_400 for earlier, later in itertools.pairwise(past))
    by_id: dict[str, dict[str, Any]] = {}
    for sent in past:  # a resend is exactly what was sent before
        assert by_id.setdefault(sent.event["id"], sent.event) == sent.event
    opens = {programme: plan.opens // 1000 for programme, plan in plans.items()}
    assert all(sent.at >= opens[sent.event["programme"]] for sent in past)


def test_plan_b_has_passed_and_plan_a_is_under_way(plans: dict[str, Plan]) -> None:
    population = people.populate(300)
    tallies = []
    for group in simulate.by_class(population):
        past, _ = simulate.history(simulate.lives(group, plans, 5, START // 1000), START // 1000)
        facts: dict[str, list[Known]] = {}
        for sent in past:
            if sent.sound:
                facts.setdefault(sent.event["subject"], []).append(known(sent.event))
        tallies += [tally(plans[group[0].programme], learner, mine, START) for learner, mine in facts.items()]
    results = Counter((one.programme, one.result in ("passed", "excellent")) for one in tallies)
    assert results[people.PLAN_B, True] >= 15
    assert results[people.PLAN_A, False] >= 150
    kinds = {flag.kind for one in tallies for flag in one.flags}
    assert {"not_registered", "not_started", "inactive"} <= kinds
    sums = sum_units(population.units, tallies, START)
    roots = sums[people.PLAN_A, "shaanxi"].learners + sums[people.PLAN_B, "hebei"].learners
    assert roots == len([one for one in tallies if not one.withdrawn])


def test_study_time_agrees_with_counting_seconds_one_by_one(plan_b: Plan) -> None:
    rng = random.Random(11)
    base = instant("2023-10-01T22:30:00+08:00") // 1000
    for _ in range(60):
        intervals = []
        for _ in range(rng.randrange(1, 14)):
            start = base + rng.randrange(0, 7200)
            intervals.append(Interval(start, rng.choice("abc"), start + rng.randrange(1, 1800)))
        owner: dict[int, str] = {}
        for interval in sorted(intervals, reverse=True):  # the smallest writes last
            for second in range(interval.start, interval.end):
                owner[second] = interval.course
        counted = Counter(owner.values())
        kept: Counter[str] = Counter()
        for start, course, end in pieces(intervals):
            kept[course] += end - start
        assert kept == counted
        days = credited(plan_b, intervals)
        midnight = instant("2023-10-02T00:00:00+08:00") // 1000
        assert sum(p.end - p.start for p in days.get(date(2023, 10, 1), [])) == sum(second < midnight for second in owner)


def test_overlap_of_the_worked_example(plan_b: Plan) -> None:
    one, two = list(plan_b.courses)[:2]
    facts = Facts().add("2023-06-05T09:00:00+08:00", "course.selected", course_id=one)
    facts.add("2023-06-05T09:00:01+08:00", "course.selected", course_id=two)
    facts.study(one, "2023-06-06T10:00:00+08:00", "2023-06-06T10:20:00+08:00").study(
        two, "2023-06-06T10:10:00+08:00", "2023-06-06T10:30:00+08:00"
    )
    out = facts.at(plan_b, "2023-06-07T00:00:00+08:00")
    assert (out.courses[one].credited_seconds, out.courses[two].credited_seconds) == (1200, 600)
    facts.study(two, "2023-06-06T09:55:00+08:00", "2023-06-06T10:15:00+08:00")
    out = facts.at(plan_b, "2023-06-07T00:00:00+08:00")
    assert (out.courses[one].credited_seconds, out.courses[two].credited_seconds) == (300, 1800)


def test_points_gate_and_exam_of_the_worked_examples(plan_b: Plan) -> None:
    c = next(iter(plan_b.courses))
    facts = full_study(Facts().add("2023-06-02T09:00:00+08:00", "course.selected", course_id=c), c)
    for name, score in (("a1", 0.9), ("a2", 0.8), ("a3", 1.0)):
        facts.add("2023-08-01T09:00:00+08:00", "assignment.graded", course_id=c, assignment_id=name, score=score, grader_id="s")
    assert facts.at(plan_b, "2023-09-01T00:00:00+08:00").courses[c].points["assignments"] == Decimal("14.25")
    facts.add("2023-08-02T09:00:00+08:00", "assignment.graded", course_id=c, assignment_id="a3", score=0.5, grader_id="s")
    assert facts.at(plan_b, "2023-09-01T00:00:00+08:00").courses[c].points["assignments"] == Decimal("12.75")

    facts = full_study(Facts().add("2023-06-02T09:00:00+08:00", "course.selected", course_id=c), c)
    facts.add("2023-08-01T09:00:00+08:00", "assignment.graded", course_id=c, assignment_id="a1", score=1, grader_id="s")
    for number in range(9):
        kind = "question" if number < 4 else "reply"
        facts.add("2023-08-02T09:00:00+08:00", "post.published", course_id=c, post_id=f"p{number}", kind=kind)
    sat = "2023-08-03T09:00:00+08:00"
    facts.add(sat, "exam.marked", course_id=c, attempt_id="x", form="online", score=0.9, sat_at=sat)
    course = facts.at(plan_b, "2023-09-01T00:00:00+08:00").courses[c]
    assert (course.gate_points, course.gate_met, course.exam_before_gate, course.total) == (Decimal("31.50"), False, True, Decimal("31.50"))
    facts.add("2023-08-04T09:00:00+08:00", "post.published", course_id=c, post_id="p9", kind="reply")
    out = facts.at(plan_b, "2023-09-01T00:00:00+08:00")
    assert (out.courses[c].gate_met, out.courses[c].total, out.result) == (True, Decimal("77.50"), "passed")
    facts.add("2023-08-05T09:00:00+08:00", "plagiarism.ruled", case_id="k", submission_id="s", verdict="confirmed")
    assert facts.at(plan_b, "2023-09-01T00:00:00+08:00").result == "failed"


def test_disc_learner_of_the_worked_example(plan_b: Plan) -> None:
    c = next(iter(plan_b.courses))
    facts = Facts().add("2023-06-01T09:00:00+08:00", "learner.enrolled", class_id="k1", birth_year=1965, gender="male")
    facts.add("2023-06-02T09:00:00+08:00", "course.selected", course_id=c)
    facts.add("2023-07-02T09:00:00+08:00", "process.marked", course_id=c, score=0.8, marker_id="s")
    sat = "2023-08-03T09:00:00+08:00"
    facts.add(sat, "exam.marked", course_id=c, attempt_id="x", form="paper", score=0.55, sat_at=sat)
    out = facts.at(plan_b, "2023-09-01T00:00:00+08:00")
    assert (out.mode, out.courses[c].total, out.courses[c].passed) == ("disc", Decimal("60.00"), True)
    facts.add("2023-08-04T09:00:00+08:00", "assessment.chosen", course_id=c, form="online")
    assert facts.at(plan_b, "2023-09-01T00:00:00+08:00").courses[c].total == Decimal("16.00")


def test_hours_of_plan_a(plans: dict[str, Plan]) -> None:
    plan = plans[people.PLAN_A]
    c = next(iter(plan.courses))
    facts = Facts().study(c, "2023-11-06T10:00:00+08:00", "2023-11-06T10:30:00+08:00")
    facts.study(c, "2023-11-07T10:00:00+08:00", "2023-11-07T10:14:59+08:00")
    assert facts.at(plan, "2023-11-08T00:00:00+08:00").study_hours == Decimal("0.99")
    facts.study(c, "2023-11-07T10:14:59+08:00", "2023-11-07T10:15:00+08:00")
    assert facts.at(plan, "2023-11-08T00:00:00+08:00").study_hours == Decimal("1.00")


def test_flags_of_the_worked_examples(plan_b: Plan) -> None:
    facts = Facts().add("2023-06-01T09:00:00+08:00", "learner.enrolled", class_id="k1")
    assert not facts.at(plan_b, "2023-06-03T08:59:59+08:00").flags
    [flag] = facts.at(plan_b, "2023-06-03T09:00:00+08:00").flags
    assert (flag.kind, flag.severity, flag.raised_at) == ("not_registered", "notice", instant("2023-06-03T09:00:00+08:00"))

    facts = Facts().add("2023-05-29T09:00:00+08:00", "learner.registered", class_id="k1")
    [flag] = [one for one in facts.at(plan_b, "2023-06-05T09:00:00+08:00").flags if one.kind == "not_started"]
    assert flag.raised_at == instant("2023-06-04T00:00:00+08:00")

    facts = Facts().add("2023-06-05T10:00:00+08:00", "platform.visited")
    for now, severity in (("2023-06-08T10:00:00", "notice"), ("2023-06-12T10:00:00", "warning"), ("2023-06-19T10:00:00", "escalation")):
        [flag] = [one for one in facts.at(plan_b, now + "+08:00").flags if one.kind == "inactive"]
        assert (flag.severity, flag.raised_at) == (severity, instant("2023-06-08T10:00:00+08:00"))
    assert flag.owner == "county"  # 11 days after it was raised
    facts.add("2023-06-16T10:00:00+08:00", "follow_up.recorded", flag="inactive", channel="phone", outcome="promised", staff_id="s")
    [flag] = [one for one in facts.at(plan_b, "2023-06-19T10:00:00+08:00").flags if one.kind == "inactive"]
    assert (flag.owner, flag.follow_ups, flag.last_outcome) == ("school", 1, "promised")
    facts.add("2023-06-07T09:00:00+08:00", "platform.visited")
    [flag] = [one for one in facts.at(plan_b, "2023-06-10T10:00:00+08:00").flags if one.kind == "inactive"]
    assert flag.raised_at == instant("2023-06-10T09:00:00+08:00")
