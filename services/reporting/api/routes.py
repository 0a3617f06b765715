"""The JSON routes under `/v1` (CONTRACTS section 5). Every one takes its caller's `Scope` and hands it to the query."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from services.reporting.api.auth import Caller, D
from services.reporting.api.problems import Problem
from services.reporting.api.queries import MOST, SORTS, Page
from services.reporting.api.responses import Answer

router = APIRouter(prefix="/v1", default_response_class=Answer)

Result = Literal["in_progress", "passed", "excellent", "failed"]
Kind = Literal["not_registered", "not_started", "inactive", "behind", "assignment_overdue", "exam_due", "plagiarism_suspected"]
Severity = Literal["notice", "warning", "escalation"]
Owner = Literal["school", "county", "city"]
Sort = Annotated[
    str | None,
    Query(pattern="^-?(" + "|".join(SORTS) + ")$", description="one of " + ", ".join(SORTS) + "; a leading - turns it round"),
]
Unit = Annotated[str | None, Query(max_length=64, description="only learners of this unit and below")]
Search = Annotated[str | None, Query(max_length=100, description="part of a learner's id or name")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before")]
Limit = Annotated[int, Query(ge=1, le=MOST)]


def _page(page: Page, name: str) -> Answer:
    return Answer({name: page.rows, "total": page.total, "next_cursor": page.next_cursor, "as_of": page.as_of})


def _named(deps: D, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with `name` from the identity store (null where it knows none)."""
    names = deps.identity.names(row["learner_id"] for row in rows)
    return [{**row, "name": names.get(row["learner_id"])} for row in rows]


@router.get("/programmes")
def programmes(deps: D, scope: Caller) -> Answer:
    """Every programme's public rules, and the caller's own unit to start from."""
    as_of = deps.queries.as_of("unit_progress")
    path = deps.queries.unit_path(scope.unit_id) if not scope.everything else []
    roots = path[-1:] if path else []
    if scope.everything:
        roots = deps.queries.provinces()
    return Answer({"programmes": deps.queries.programmes(), "units": roots, "as_of": as_of})


@router.get("/programmes/{programme}/units/{unit_id}")
def unit(deps: D, scope: Caller, programme: str, unit_id: str) -> Answer:
    """One unit's totals."""
    return Answer(deps.queries.unit(programme, scope, unit_id))


@router.get("/programmes/{programme}/units/{unit_id}/children")
def children(deps: D, scope: Caller, programme: str, unit_id: str) -> Answer:
    """Totals of each unit one level below that has learners."""
    page = deps.queries.children(programme, scope, unit_id)
    return Answer({"children": page.rows, "as_of": page.as_of})


@router.get("/programmes/{programme}/units/{unit_id}/trend")
def trend(deps: D, scope: Caller, programme: str, unit_id: str, days: Annotated[int, Query(ge=1, le=400)] = 30) -> Answer:
    """The last `days` local days, oldest first."""
    page = deps.queries.trend(programme, scope, unit_id, days)
    return Answer({"days": page.rows, "as_of": page.as_of})


@router.get("/programmes/{programme}/learners")
def learners(
    deps: D,
    scope: Caller,
    programme: str,
    unit: Unit = None,
    result: Result | None = None,
    flag: Kind | None = None,
    q: Search = None,
    sort: Sort = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    withdrawn: bool | None = None,
) -> Answer:
    """The caller's learners, withdrawn ones too unless `withdrawn=false`."""
    page = deps.queries.learners(programme, scope, unit, result, flag, q, sort, cursor, limit, withdrawn)
    return _page(Page(_named(deps, page.rows), page.as_of, page.total, page.next_cursor), "learners")


@router.get("/programmes/{programme}/learners/{learner_id}")
def learner(deps: D, scope: Caller, programme: str, learner_id: str) -> Answer:
    """One learner: totals, courses, open flags, days and timeline."""
    row = deps.queries.learner(programme, scope, learner_id)
    row["name"] = deps.identity.names([learner_id]).get(learner_id)
    row["timeline"] = deps.queries.timeline(programme, scope, learner_id)
    row["days"] = deps.queries.days(programme, scope, learner_id)
    return Answer(row)


@router.get("/programmes/{programme}/attention")
def attention(
    deps: D,
    scope: Caller,
    programme: str,
    unit: Unit = None,
    kind: Kind | None = None,
    severity: Severity | None = None,
    owner: Owner | None = None,
    q: Search = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Answer:
    """The flags open now, worst first, then longest open."""
    page = deps.queries.attention(programme, scope, unit, kind, severity, owner, cursor, limit, q)
    return _page(Page(_named(deps, page.rows), page.as_of, page.total, page.next_cursor), "attention")


@router.get("/freshness")
def freshness(deps: D, scope: Caller) -> Answer:
    """How fresh each relation is: to be compared with the `applied` that ingest and the POSTs here answer."""
    return Answer({"relations": list(deps.queries.freshness().values())})


@router.get("/live")
def live(request: Request, deps: D, scope: Caller) -> StreamingResponse:
    """Server-sent events: `fresh` with `{as_of, applied, lag_seconds}` whenever there is something new, at most twice a second."""
    if deps.live.stopping:
        raise Problem(503, "Going down", headers={"Retry-After": "2"})
    return StreamingResponse(
        deps.live.stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
