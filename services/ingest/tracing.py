"""A correlation id for every request: the caller's, or a new one; in every log line and in the answer."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_QUIET = ("/healthz", "/readyz", "/metrics")
_log = structlog.get_logger()


def correlation_id(headers: list[tuple[bytes, bytes]]) -> str:
    """`X-Request-Id`, else the trace id of `traceparent`, else a new one; a value that is not plain is not taken over."""
    found = {name: value.decode("latin-1") for name, value in headers if name in (b"x-request-id", b"traceparent")}
    given = found.get(b"x-request-id", "")
    if _ID.fullmatch(given):
        return given
    trace = _TRACEPARENT.fullmatch(found.get(b"traceparent", ""))
    return trace[1] if trace else uuid.uuid4().hex


class Tracing:
    """ASGI middleware. Logs method, path, status and time; never a header, a query or a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = correlation_id(scope["headers"])
        begun = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, answer)
        finally:
            if scope["path"] not in _QUIET:
                took = round((time.perf_counter() - begun) * 1000, 1)
                _log.info("request", method=scope["method"], path=scope["path"], status=status, ms=took)
            structlog.contextvars.clear_contextvars()
