"""The core against the rules written plainly, on random sets of facts; and that order and repetition change no byte."""

from __future__ import annotations

import random
from typing import Any

import pytest
from core_plain import Plain
from core_world import ALL, CHOSEN, event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.programme import Programme
from schemas.progress import cents, instant_ms, instant_or_none
from schemas.reading import Event
from services.scoring.core.attention import changes, reminder_of
from services.scoring.core.evaluate import day_progress, evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner

HOUR = 3_600_000
PROGRAMMES = pytest.mark.parametrize("programme", [CHOSEN, ALL], ids=["chosen", "all"])
LOW, HIGH = CHOSEN.opens_ms - 2 * 24 * HOUR, CHOSEN.results_final_ms + 2 * 24 * HOUR
# coarse moments, so that ties, deadlines and midnights are met often
MOMENTS = st.integers(0, (HIGH - LOW) // (12 * HOUR)).map(lambda n: LOW + n * 12 * HOUR) | st.integers(LOW // 60_000, HIGH // 60_000).map(
    lambda minute: minute * 60_000
)
COURSES = st.sampled_from(["c1", "c1", "c2", "zz"])
SCORES = st.sampled_from(["0", "0.3333", "0.5", "0.75", "0.8", "0.9999", "1"])
FORMS = st.sampled_from(["online", "paper"])
CLASS = {"class_id": st.sampled_from(["k1", "k2"]), "mode": st.sampled_from([None, "online", "disc"])}
TWO = st.sampled_from(["1", "2"])

SHAPES: dict[str, dict[str, Any]] = {
    "learner.enrolled": CLASS
    | {"birth_year": st.sampled_from([None, 1973, 1974, 1977, 1978]), "gender": st.sampled_from(["male", "female"])},
    "learner.registered": CLASS,
    "learner.transferred": CLASS,
    "learner.withdrawn": {},
    "learner.reinstated": {},
    "course.selected": {"course_id": COURSES},
    "course.dropped": {"course_id": COURSES},
    "platform.visited": {},
    "assignment.submitted": {"course_id": COURSES, "assignment_id": TWO, "submission_id": TWO},
    "assignment.graded": {"course_id": COURSES, "assignment_id": TWO, "score": SCORES, "grader_id": st.just("t")},
    "post.published": {"course_id": COURSES, "post_id": st.sampled_from("abcd"), "kind": st.sampled_from(["question", "reply"])},
    "post.removed": {"course_id": COURSES, "post_id": st.sampled_from("abcd")},
    "work.reviewed": {"work_id": TWO, "verdict": st.sampled_from(["accepted", "returned"])},
    "work.removed": {"work_id": TWO},
    "process.marked": {"course_id": COURSES, "score": SCORES, "marker_id": st.just("m")},
    "assessment.chosen": {"course_id": COURSES, "form": FORMS},
    "plagiarism.ruled": {"case_id": TWO, "submission_id": TWO, "verdict": st.sampled_from(["suspected", "confirmed", "cleared"])},
    "follow_up.recorded": {
        "flag": st.sampled_from(["inactive", "behind", "not_started", "not_registered", "exam_due", "assignment_overdue"]),
        "ref": st.sampled_from([None, "c1"]),
        "channel": st.just("phone"),
        "outcome": st.sampled_from(["reached", "promised"]),
        "staff_id": st.just("s"),
    },
    "certificate.issued": {"certificate_id": st.just("z")},
}

KINDS = [*SHAPES, *["study.recorded"] * 6, *["exam.marked"] * 2, "work.published", "course.selected", "learner.registered"]


@st.composite
def events(draw: st.DrawFn) -> Event:
    kind = draw(
        st.sampled_from([*SHAPES, *["study.recorded"] * 6, *["exam.marked"] * 2, "work.published", "course.selected", "learner.registered"])
    )
    time = draw(MOMENTS)
    id, source = draw(st.sampled_from("12345")), draw(st.sampled_from(["/p", "/q"]))
    if kind == "study.recorded":
        start = time + 1000 * draw(st.sampled_from([-600, -1, 0, 0, 1, 300]))
        data: dict[str, Any] = {"course_id": draw(COURSES), "started_at": start, "channel": "online"}
        data["ended_at"] = start + 1000 * draw(st.sampled_from([1, 299, 600, 900, 1800]))
    elif kind == "exam.marked":
        data = {"course_id": draw(COURSES), "attempt_id": draw(TWO), "form": draw(FORMS), "score": draw(SCORES)}
        data["sat_at"] = time - draw(st.sampled_from([0, 1, 48 * HOUR]))
    elif kind == "work.published":
        data = {"work_id": draw(TWO), "kind": draw(st.sampled_from(["lesson_design", "teaching_case", "research_article"]))}
        data |= draw(st.sampled_from([{"course_id": "c1"}, {"course_id": "c2"}, {"activity_id": "act"}]))
    else:
        data = {field: draw(strategy) for field, strategy in SHAPES[kind].items()}
    return event(kind, time, id, source, **data)


REGISTERED = event("learner.registered", LOW + 72 * HOUR, class_id="k1")
ON_DISC = event("learner.transferred", LOW + 72 * HOUR, class_id="k1", mode="disc")
CHOICE = event("course.selected", LOW + 72 * HOUR, course_id="c1")
MIDDAY = CHOSEN.starts_ms + 60 * HOUR
PROCESS = event("process.marked", MIDDAY, course_id="c1", score="1", marker_id="m")
PAPER = event("exam.marked", MIDDAY, course_id="c1", attempt_id="9", form="paper", score="0.6", sat_at=MIDDAY)
STUDY = event("study.recorded", MIDDAY, course_id="c1", started_at=MIDDAY, ended_at=MIDDAY + 1_800_000, channel="online")
ARTICLE = event("work.published", MIDDAY, work_id="9", kind="research_article", activity_id="act")
ACCEPTED = event("work.reviewed", MIDDAY, work_id="9", verdict="accepted")
STARTS = st.sampled_from(
    [
        [],
        [REGISTERED, CHOICE],
        [REGISTERED, CHOICE, ON_DISC, PROCESS, PAPER],
        [REGISTERED, CHOICE, STUDY, ARTICLE, ACCEPTED],
    ]
)
FACTS = st.tuples(STARTS, st.lists(events(), max_size=40)).map(lambda parts: parts[0] + parts[1])
QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def folded(programme: Programme, facts: list[Event], sizes: random.Random | None = None) -> Learner:
    learner = Learner.new("L1")
    todo = list(facts) or []
    while todo:
        size = sizes.randint(1, 5) if sizes else len(todo)
        fold(programme, learner, [fact_of(e) for e in todo[:size]])
        todo = todo[size:]
    return learner


def cells(learner: Learner) -> dict[str, bytes]:
    return {name: learner.encode(name) for name in learner.names()}


@PROGRAMMES
@QUICK
@given(facts=FACTS, seed=st.integers(0, 9999))
def test_order_and_repetition_change_no_byte(programme: Programme, facts: list[Event], seed: int) -> None:
    chance = random.Random(seed)
    once = folded(programme, facts)
    again = [*facts, *chance.sample(facts, len(facts) // 2)]
    chance.shuffle(again)
    other = folded(programme, again, chance)
    assert cells(once) == cells(other)
    assert fold(programme, other, [fact_of(e) for e in again]) == set()
    loaded = Learner.new("L1")
    for name, data in cells(once).items():
        loaded.load(name, data)
    assert cells(loaded) == cells(once)
    now = chance.randint(LOW, HIGH)
    assert evaluate(programme, loaded, now) == evaluate(programme, other, now) == evaluate(programme, once, now)


@PROGRAMMES
@QUICK
@given(facts=FACTS, seed=st.integers(0, 9999))
def test_changed_cells_are_named(programme: Programme, facts: list[Event], seed: int) -> None:
    learner = Learner.new("L1")
    before: dict[str, bytes] = {}
    for fact in facts:
        named = fold(programme, learner, [fact_of(fact)])
        after = cells(learner)
        assert named == {name for name in after if before.get(name) != after[name]}
        before = after


@PROGRAMMES
@QUICK
@given(facts=FACTS, now=MOMENTS)
def test_totals_and_flags_as_the_plain_rules_say(programme: Programme, facts: list[Event], now: int) -> None:
    learner = folded(programme, facts)
    plain = Plain(programme, facts).prepare()
    progress = evaluate(programme, learner, now).progress
    assert progress.mode == plain.mode()
    assert progress.withdrawn == plain.withdrawn()
    assert [row.course_id for row in progress.courses] == plain.selected()
    for row in progress.courses:
        expected = plain.rows[row.course_id]
        assert row.credited_seconds == expected["seconds"]
        for field in ("study", "assignment", "interaction", "works", "process", "exam", "total"):
            assert cents(getattr(row, field + "_points")) == expected[field], field
        assert (cents(row.gate_points), row.gate_met, row.exam_before_gate) == (
            expected["gate_points"],
            expected["gate_met"],
            expected["before"],
        )
        assert (row.passed, cents(row.credits)) == (expected["passed"], expected["credits"])
        assert row.last_active_at == instant_or_none(max(plain.acts(row.course_id), default=None))
        assert len(row.explanation.encode()) <= 2048
    assert progress.result == plain.result(now)
    assert progress.first_active_at == instant_or_none(min(plain.acts(), default=None))
    assert progress.last_active_at == instant_or_none(max(plain.acts(), default=None))
    assert progress.started_at == instant_or_none(min(plain.acts(starting=True), default=None))
    for name in learner.names():
        if name.startswith("day:"):
            day = day_progress(programme, learner, name[4:])
            assert day.credited_seconds == sum(s for (d, _), s in plain.credited.items() if d == day.day)
            assert day.active == any(plain.day(act) == day.day for act in plain.acts())
    found = {(f.kind, f.ref): (instant_ms(f.raised_at), f.severity, f.owner_level, f.follow_ups) for f in progress.flags}
    assert found == plain.flags(now)


@PROGRAMMES
@QUICK
@given(facts=FACTS, now=MOMENTS, seed=st.integers(0, 9999))
def test_nothing_changes_before_the_next_change(programme: Programme, facts: list[Event], now: int, seed: int) -> None:
    chance = random.Random(seed)
    learner = folded(programme, facts)
    evaluation = evaluate(programme, learner, now)
    for _ in range(200):
        until = evaluation.next_change_ms
        assert until is None or until > now
        last = (until or now + 40 * 24 * HOUR) - 1
        for moment in {last, chance.randint(now, last), chance.randint(now, last)}:
            assert evaluate(programme, learner, moment).progress == evaluation.progress
        if until is None:
            return
        now = until
        evaluation = evaluate(programme, learner, now)
    raise AssertionError("a learner is looked at again and again")


@PROGRAMMES
@QUICK
@given(facts=FACTS, seed=st.integers(0, 9999))
def test_the_log_adds_up_to_the_open_flags(programme: Programme, facts: list[Event], seed: int) -> None:
    chance = random.Random(seed)
    learner, flags, log = Learner.new("L1"), [], {}
    now = LOW
    for fact in facts:
        now += chance.randint(0, 2 * (HIGH - LOW) // (len(facts) + 1))
        fold(programme, learner, [fact_of(fact)])
        progress = evaluate(programme, learner, now).progress
        lines = changes(programme, learner, flags, progress, now)
        for line in lines:
            if line.change in ("cleared", "retracted"):
                assert log.pop((line.kind, line.ref))[0] == line.raised_at
            else:
                assert ((line.kind, line.ref) in log) == (line.change != "raised")
                log[line.kind, line.ref] = (line.raised_at, line.severity, line.owner_level)
        assert log == {(f.kind, f.ref): (f.raised_at, f.severity, f.owner_level) for f in progress.flags}
        reminder = reminder_of(programme, flags, progress, now)
        assert reminder is None or any(line.change in ("raised", "severity") for line in lines)
        flags = progress.flags
        assert changes(programme, learner, flags, progress, now) == []
