"""How values become JSON: instants RFC 3339 with ms and Z, days `YYYY-MM-DD`, decimals as text (exact), marks true or false."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from schemas.instants import rfc3339


def two_places(hundredths: int) -> Decimal:
    """1/100 (points, credits, hours) as the decimal it is answered as."""
    return Decimal(hundredths).scaleb(-2)


def plain(value: Any) -> Any:
    """The value with everything JSON has no form for written as text."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return rfc3339(round(value.timestamp() * 1000))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value


def dump(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))


class Answer(Response):
    """A JSON answer of rows as `Queries` gives them."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return dump(content).encode()
