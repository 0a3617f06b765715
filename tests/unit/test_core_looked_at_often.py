"""Whoever is looked at between facts, at whatever moments, is found as one whose facts came all at once and who is looked at once."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from test_core_properties import FACTS, HIGH, LOW, PROGRAMMES, QUICK

from schemas.programme import Programme
from schemas.reading import Event
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner


def fresh(programme: Programme, facts: list[Event], now: int) -> object:
    learner = Learner.new("L1")
    fold(programme, learner, [fact_of(fact) for fact in facts])
    found = evaluate(programme, learner, now)
    return found.progress, found.next_change_ms


@PROGRAMMES
@QUICK
@given(facts=FACTS, seed=st.integers(0, 9999))
def test_looking_in_between_changes_nothing(programme: Programme, facts: list[Event], seed: int) -> None:
    chance = random.Random(seed)
    learner, now = Learner.new("L1"), LOW
    for number, fact in enumerate(facts):
        fold(programme, learner, [fact_of(fact)])
        if chance.random() < 0.4:  # several facts may come between two looks
            continue
        now = chance.choice([now, chance.randint(LOW, HIGH), max(now, chance.choice(programme.midnights_ms))])
        found = evaluate(programme, learner, now)
        if chance.random() < 0.5 or number > len(facts) - 3:
            assert (found.progress, found.next_change_ms) == fresh(programme, facts[: number + 1], now)
