"""Whole-request refusals as RFC 9457 problems. Nothing of what was sent is echoed."""

from __future__ import annotations

import json
from http import HTTPStatus

from fastapi import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that is refused as a whole: HTTP status, what is wrong in words, and what a client may do about it."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}

    def response(self) -> Response:
        title = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return Response(json.dumps(body), self.status, self.headers, MEDIA_TYPE)


def unavailable(detail: str, retry_after_seconds: int = 1) -> Problem:
    """503: nothing is promised about the request; the whole of it may be sent again."""
    return Problem(503, detail, {"Retry-After": str(retry_after_seconds)})
