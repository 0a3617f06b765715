"""Cursors of pages: the sort keys of a page's last row, so that pages neither skip nor repeat where rows come and go between."""

from __future__ import annotations

import base64
import binascii
import json


class BadCursor(ValueError):
    """Not a cursor of this list and sort."""


def encode(sort: str, values: list[int | str]) -> str:
    text = json.dumps([sort, *values], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, sort: str, types: list[type]) -> list[int | str]:
    """The values; raises `BadCursor`."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise BadCursor("cursor: not one that this list gave") from error
    if not isinstance(found, list) or len(found) != len(types) + 1 or found[0] != sort:
        raise BadCursor("cursor: of another list or another sort; start again without it")
    if [type(value) for value in found[1:]] != types:
        raise BadCursor("cursor: not one that this list gave")
    return found[1:]
