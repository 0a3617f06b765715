"""The product against the reference, on programmes and event sets of every shape. `make test-deep` runs the same far longer."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.properties import checks, reference
from tests.properties.deep import run
from tests.properties.worlds import World, nth, worlds

GENERATE = settings(
    max_examples=180,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
KINDS = ("not_registered", "not_started", "inactive", "behind", "assignment_overdue", "exam_due")


@pytest.mark.parametrize("name", checks.CHECKS)
@GENERATE
@given(world=worlds())
def test_every_world(name: str, world: World) -> None:
    checks.CHECKS[name](world)


def test_numbered_worlds() -> None:
    """What the long run goes on with."""
    assert run(first=0, sets=250, workers=2, say=lambda text: None) == []


def test_what_worlds_reach() -> None:
    """The checks are worth as much as what they meet: every result, flag, severity, owner, item and reason to earn nothing."""
    met: Counter[str] = Counter()
    for number in range(500):
        world = nth(number)
        plain = reference.Learner(world.rules, world.events)
        for now in world.moments:
            answer = plain.at(now)
            met[answer["progress"]["result"]] += 1
            for (kind, ref), flag in answer["flags"].items():
                met[f"{kind} {flag['severity']}"] += 1
                met[flag["owner_level"]] += 1
                met["followed up"] += flag["follow_ups"] > 0
                met["ref"] += ref != ""
        facts = plain.facts
        met[facts.mode] += 1
        met["withdrawn"] += facts.withdrawn
        met["reinstated"] += facts.reinstated_at is not None
        met["nothing scored"] += not facts.rules.is_scored(facts.mode)
        met["does not count"] += len(facts.all) > len(facts.counting)
        met["duplicate"] += len(world.events) > len(facts.all)
        met["same time"] += len({fact.time for fact in facts.all}) < len(facts.all)
        met["same id, other content"] += len({(fact.source, fact.id) for fact in facts.all}) < len(facts.all)
        for row in facts.courses.values():
            met["course passed"] += row["passed"]
            met["gate not met"] += not row["gate_met"]
            met["exam before gate"] += row["exam_before_gate"]
            met["credits"] += row["credits"] > 0
            for item, points in row["points"].items():
                met["points for " + item] += points > 0
    steps = [f"{kind} {severity}" for kind in KINDS for severity in ("notice", "warning", "escalation")]
    wanted = ["in_progress", "passed", "failed", "excellent", *steps, "plagiarism_suspected warning", "school", "county", "city", "ref"]
    wanted += ["followed up", "online", "disc", "withdrawn", "reinstated", "nothing scored", "does not count", "duplicate", "same time"]
    wanted += ["same id, other content", "course passed", "gate not met", "exam before gate", "credits"]
    wanted += [f"points for {item}" for item in ("study", "assignments", "interaction", "works", "process", "exam")]
    assert [name for name in wanted if not met[name]] == []
