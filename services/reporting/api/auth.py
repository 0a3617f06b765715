"""Who is calling: a person with a session, or a program with a bearer token of kind `reporting`. The answer is a `Scope`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.reporting.api.problems import Problem
from services.reporting.api.scope import Scope
from services.reporting.deps import Deps
from services.reporting.identity.sessions import same_origin
from services.reporting.identity.store import Account
from services.shared.tokens import bearer

SAFE = ("GET", "HEAD", "OPTIONS")


def deps_of(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


def scope_of_account(account: Account) -> Scope:
    return Scope(account.unit_id, frozenset(), account.username, account.name, account.language, "session")


def session_scope(request: Request) -> Scope | None:
    """The scope of the logged-in person, or None. For the console: it shows its login form instead of a 401."""
    account = deps_of(request).sessions.read(request)
    return None if account is None else scope_of_account(account)


def caller(
    request: Request,
    _: Annotated[
        HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False, description="a token of kind `reporting`"))
    ] = None,
) -> Scope:
    """The caller's scope. 401 without a login or token; 403 for a POST by cookie that does not come from our own pages."""
    header = request.headers.get("authorization", "")
    if header:
        token = bearer(header)
        found = deps_of(request).tokens.find(token) if token else None
        if found is None or found.kind != "reporting":
            raise Problem(401, "This token is not known here, or is not one for reporting", headers={"WWW-Authenticate": "Bearer"})
        name = f"token-{found.token_id}"
        return Scope(found.unit_id, found.roles, name, name, via="token")
    scope = session_scope(request)
    if scope is None:
        raise Problem(401, "Log in, or send a bearer token", headers={"WWW-Authenticate": "Bearer"})
    if request.method not in SAFE and not same_origin(request):
        raise Problem(403, "A change by a logged-in person must come from our own pages (Origin)")
    return scope


def reminder_service(scope: Annotated[Scope, Depends(caller)]) -> Scope:
    """A caller with the role `reminders`; else 403."""
    if not scope.may("reminders"):
        raise Problem(403, "This needs the role 'reminders'")
    return scope


Caller = Annotated[Scope, Depends(caller)]
ReminderService = Annotated[Scope, Depends(reminder_service)]
D = Annotated[Deps, Depends(deps_of)]
