"""The route of the account (CONTRACTS section 5)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from services.reporting.api.auth import Caller, D
from services.reporting.api.explain import answer, explain
from services.reporting.api.figures import OneLook
from services.reporting.api.responses import Answer
from services.scoring.core.account.whole import MOST

router = APIRouter(prefix="/v1", default_response_class=Answer)

Course = Annotated[str | None, Query(max_length=64, description="only this course")]
Facts = Annotated[int, Query(ge=0, le=2000, description="how many facts an item lists one by one; the others are summed up")]


@router.get("/programmes/{programme}/learners/{learner_id}/explain")
def explained(deps: D, scope: Caller, programme: str, learner_id: str, course: Course = None, facts: Facts = MOST) -> Answer:
    """Each rule, the facts that counted and those that did not and why, the points, and what would be enough to pass."""
    rules = deps.queries.programme(programme)
    told = explain(OneLook(deps.queries), rules, scope, learner_id, course, deps.clock.now(), facts)
    return Answer({**answer(rules, told), "name": deps.identity.names([learner_id]).get(learner_id)})
