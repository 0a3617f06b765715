"""The routes that write: follow-ups, and the reminder service's door. What they take becomes facts in `learning.activity`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from services.reporting.api.auth import Caller, D, ReminderService
from services.reporting.api.facts import LONGEST_ID
from services.reporting.api.problems import Problem
from services.reporting.api.responses import Answer
from services.reporting.api.routes import Kind
from services.reporting.api.scope import Scope

router = APIRouter(prefix="/v1", default_response_class=Answer)

Channel = Literal["phone", "sms", "wechat", "visit", "email", "other"]
Outcome = Literal["reached", "no_answer", "wrong_contact", "promised", "other"]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="1-128 printable characters; the same request again with the same key is the same fact"),
]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class FollowUp(Strict):
    """A contact with one or many flagged learners. `staff_id` only by a token: a logged-in person is who they are."""

    learners: Annotated[list[Id], Field(min_length=1, max_length=500, validation_alias=AliasChoices("learners", "learner_ids"))]
    flag: Kind
    ref: Id | None = None
    channel: Channel
    outcome: Outcome
    staff_id: Id | None = None
    note: Annotated[str, Field(max_length=500)] | None = None


class Lease(Strict):
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    lease_seconds: Annotated[int, Field(ge=1, le=7 * 86_400)] = 300


class Delivered(Strict):
    channel: Channel


class Failed(Strict):
    channel: Channel
    reason: Annotated[str, Field(min_length=1, max_length=500)]


def checked_key(key: str | None) -> str | None:
    """The key as sent, or a 400 where it can't be an event's id."""
    if key is not None and not (1 <= len(key) <= LONGEST_ID and key.isprintable()):
        raise Problem(400, f"Idempotency-Key: expected 1 to {LONGEST_ID} printable characters")
    return key


def staff_of(scope: Scope, given: str | None) -> str:
    """Who made the contact: a person by their login; a token says it, else the token's own name."""
    if given is not None and scope.via == "session" and given != scope.who:
        raise Problem(403, "staff_id: a logged-in person records their own contacts")
    return given or re.sub(r"[^A-Za-z0-9._-]", "-", scope.who)[:64] or "reporting"


def record_follow_ups(deps: D, scope: Scope, programme: str, follow_up: FollowUp, key: str) -> dict[str, Any]:
    """Writes one `follow_up.recorded` per learner. The console's form calls this, too.

    Returns `{recorded, items [{learner_id, id, status}], applied, as_of}`. Raises a 404 where one of the learners is not
    the caller's (nothing is written then), and what `Facts.record` raises.
    """
    deps.queries.programme(programme)
    learners = list(dict.fromkeys(follow_up.learners))
    hidden = set(learners) - deps.queries.visible_learners(programme, scope, learners)
    if hidden:
        pointers = [
            {"pointer": f"/learners/{n}", "code": "not_found", "detail": "no such learner here, or not yours to see"}
            for n, learner in enumerate(follow_up.learners)
            if learner in hidden
        ]
        raise Problem(404, "Nothing was recorded: some of the learners are not there, or not yours to see", pointers)
    data: dict[str, Any] = {
        "flag": follow_up.flag,
        "ref": follow_up.ref,
        "channel": follow_up.channel,
        "outcome": follow_up.outcome,
        "staff_id": staff_of(scope, follow_up.staff_id),
        "note": follow_up.note or None,
    }
    as_of = deps.queries.as_of("needs_attention")
    events, applied = deps.facts.record(key, programme, "follow_up.recorded", dict.fromkeys(learners, data))
    items = [{"learner_id": event["subject"], "id": event["id"], "status": "accepted"} for event in events]
    return {"recorded": len(events), "items": items, "applied": applied, "as_of": as_of}


@router.post("/programmes/{programme}/attention/follow-ups", status_code=202)
def follow_ups(deps: D, scope: Caller, programme: str, body: FollowUp, key: Key = None) -> Answer:
    """Records a contact with one or many learners. `applied` says what to wait for in `marts.freshness`."""
    if checked_key(key) is None:
        raise Problem(400, "Idempotency-Key: this header is required; it becomes the fact's id")
    return Answer(record_follow_ups(deps, scope, programme, body, key or ""), 202)


@router.post("/reminders:lease")
def lease(deps: D, scope: ReminderService, body: Lease) -> Answer:
    """Hands out reminders that may go out now, each to nobody else until its lease runs out."""
    as_of = deps.queries.as_of("needs_attention")
    rows = deps.reminders.lease(scope, body.limit, body.lease_seconds)
    return Answer({"reminders": rows, "as_of": as_of})


@router.post("/reminders/{reminder_id}:delivered", status_code=202)
def delivered(deps: D, scope: ReminderService, reminder_id: str, body: Delivered, key: Key = None) -> Answer:
    """The reminder reached its learner."""
    return Answer(deps.reminders.delivered(scope, reminder_id, body.channel, checked_key(key)), 202)


@router.post("/reminders/{reminder_id}:failed", status_code=202)
def failed(deps: D, scope: ReminderService, reminder_id: str, body: Failed, key: Key = None) -> Answer:
    """It did not reach them: due again after an hour of the clock, at most three times."""
    return Answer(deps.reminders.failed(scope, reminder_id, body.channel, body.reason, checked_key(key)), 202)
