"""Errors of whole requests as RFC 9457 problems, never with the caller's input in them."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from clickhouse_driver.errors import Error as ClickHouseError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from services.reporting.api.cursors import BadCursor
from services.reporting.api.facts import BadFact, KeyTaken, LogUnavailable
from services.reporting.api.pool import Unavailable
from services.reporting.api.scope import NotVisible
from services.reporting.identity.store import Throttled

log = structlog.get_logger()

HtmlError = Callable[[Request, int, str], Response]
"""The console's own page for an error (status, what happened); set as `app.state.html_error`, used outside `/v1`."""


class Problem(HTTPException):
    """Answered as `application/problem+json`; `errors` are `{pointer or parameter, code, detail}`."""

    def __init__(self, status: int, detail: str, errors: list[dict[str, Any]] | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.errors = errors


def problem(status: int, detail: str, errors: list[dict[str, Any]] | None = None, headers: dict[str, str] | None = None) -> JSONResponse:
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _answer(
    request: Request, status: int, detail: str, errors: list[dict[str, Any]] | None = None, headers: dict[str, str] | None = None
) -> Response:
    html: HtmlError | None = getattr(request.app.state, "html_error", None)
    if html is not None and not request.url.path.startswith("/v1") and "text/html" in request.headers.get("accept", ""):
        return html(request, status, detail)
    return problem(status, detail, errors, headers)


def install(app: FastAPI) -> None:
    """Handlers for everything that our code raises."""

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        return _answer(request, error.status_code, str(error.detail), getattr(error, "errors", None), headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [
            {"in": str(item["loc"][0]), "pointer": "/" + "/".join(str(part) for part in item["loc"][1:]), "detail": item["msg"]}
            for item in error.errors()
        ]
        return _answer(request, 422, "The request has parameters or fields that are not as expected", errors)

    async def ours(request: Request, error: Exception) -> Response:
        if isinstance(error, NotVisible):
            return _answer(request, 404, "There is no such thing here, or it is not yours to see")
        if isinstance(error, BadCursor):
            return _answer(request, 400, str(error))
        if isinstance(error, KeyTaken):
            return _answer(request, 409, str(error))
        if isinstance(error, BadFact):
            return _answer(request, 422, "This would be no sound fact", [v._asdict() for v in error.verdicts])
        if isinstance(error, Throttled):
            return _answer(request, 429, str(error), headers={"Retry-After": str(error.retry_after)})
        log.warning("unavailable", error=type(error).__name__, path=request.url.path)
        return _answer(request, 503, str(error), headers={"Retry-After": "1"})

    async def crash(request: Request, error: Exception) -> Response:
        log.error("failed", path=request.scope.get("route") and request.scope["route"].path, exc_info=error)
        return _answer(request, 500, "Something went wrong here; it has been logged")

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    for kind in (NotVisible, BadCursor, KeyTaken, BadFact, Throttled, Unavailable, LogUnavailable):
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(ClickHouseError, crash)
    app.add_exception_handler(Exception, crash)
