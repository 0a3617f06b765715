"""Routes of the catalogue, the calendar and the tutors (CONTRACTS section 5)."""

from __future__ import annotations

from fastapi import APIRouter

from services.reporting.api.auth import Caller, D
from services.reporting.api.calendar import unit_calendar
from services.reporting.api.catalogue import catalogue
from services.reporting.api.figures import OneLook
from services.reporting.api.responses import Answer
from services.reporting.api.staffing import staffing

router = APIRouter(prefix="/v1", default_response_class=Answer)


@router.get("/programmes/{programme}")
def programme(deps: D, scope: Caller, programme: str) -> Answer:
    """The catalogue: modules, courses, activities, calendar, and how points, credits and results are made."""
    rules = deps.queries.programme(programme)
    return Answer({**catalogue(rules), "as_of": deps.queries.as_of("unit_progress")})


@router.get("/programmes/{programme}/units/{unit_id}/calendar")
def calendar(deps: D, scope: Caller, programme: str, unit_id: str) -> Answer:
    """What is due when, by whom, and how far the unit and each of its children has come with it."""
    rules = deps.queries.programme(programme)
    return Answer({"programme": rules.id, **unit_calendar(OneLook(deps.queries), rules, scope, unit_id, deps.clock.now())})


@router.get("/programmes/{programme}/units/{unit_id}/tutors")
def tutors(deps: D, scope: Caller, programme: str, unit_id: str) -> Answer:
    """The tutors that the unit's schools have and have to have."""
    rules = deps.queries.programme(programme)
    return Answer({"programme": rules.id, **staffing(OneLook(deps.queries), rules, scope, unit_id)})
