"""JSON exactly as RFC 8259 has it, read without losing anything: decimals stay decimals, and NaN is not JSON.

The standard library's C scanner does the work; the hooks below close its gaps. Where a key comes twice the last one wins.
Lone surrogates in escapes (`"\\ud800"`) are let through: the fields that are judged refuse them one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import NoReturn

MAX_DEPTH = 64
_BLANK = re.compile(r"[ \t\n\r]*")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)([0-9]+))?")


class NotJson(ValueError):
    """The text is not RFC 8259 JSON, or nests deeper than MAX_DEPTH; the message says what and where."""


def _constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")


def _decimal(text: str) -> Decimal:
    """Exact. An exponent beyond what Decimal holds becomes the nearest thing that is judged alike (never accepted as a score)."""
    try:
        return Decimal(text)
    except InvalidOperation:
        found = _NUMBER.fullmatch(text)
        assert found is not None
        sign, whole, part, exponent_sign, _ = found.groups()
        if not (whole + (part or "")).strip("0"):
            return Decimal(0)
        return Decimal(f"{sign}1e{'-' if exponent_sign == '-' else ''}999999")


def _whole(text: str) -> int | Decimal:
    # int() refuses more than 4,300 digits and takes quadratic time below; Decimal does neither
    return int(text) if len(text) < 40 else Decimal(text)


_DECODER = json.JSONDecoder(parse_float=_decimal, parse_int=_whole, parse_constant=_constant)
_SCAN: Callable[[str, int], tuple[object, int]] = _DECODER.scan_once  # type: ignore[attr-defined]  # undocumented, but stable since 2.6


def _value(text: str, at: int) -> tuple[object, int]:
    try:
        return _SCAN(text, at)
    except StopIteration as stop:
        raise NotJson(f"a JSON value is expected at character {stop.value}") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise NotJson(f"nested deeper than {MAX_DEPTH}") from None


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None
    return found.end()


def depth(text: str) -> int:
    """How deep sound JSON text nests: 1 for `{}`, 0 for a number."""
    deepest = now = 0
    for char in re.sub(r"[^\[\]{}]+", "", _TEXT.sub("", text)):
        if char in "[{":
            now += 1
            deepest = max(deepest, now)
        else:
            now -= 1
    return deepest


def _check_depth(text: str, allowed: int) -> None:
    # counting is far cheaper than walking, and events hardly have two brackets
    if text.count("{") + text.count("[") > allowed and depth(text) > allowed:
        raise NotJson(f"nested deeper than {MAX_DEPTH}")


def parse(text: str) -> object:
    """The value of one JSON text. Raises NotJson."""
    value, end = _value(text, _skip(text, 0))
    if _skip(text, end) != len(text):
        raise NotJson(f"nothing is expected after the value at character {end}")
    _check_depth(text, MAX_DEPTH)
    return value


def split_array(text: str) -> list[tuple[object, str]] | None:
    """(value, its text as received) of every item of a JSON array, in one pass; None: the text is JSON, but no array.

    Raises NotJson, also where any item nests deeper than the whole text may.
    """
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        parse(text)
        return None
    items: list[tuple[object, str]] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        at += 1
    else:
        while True:
            value, end = _value(text, at)
            raw = text[at:end]
            _check_depth(raw, MAX_DEPTH - 1)
            items.append((value, raw))
            at = _skip(text, end)
            mark = text[at : at + 1]
            at = _skip(text, at + 1)
            if mark == "]":
                break
            if mark != ",":
                raise NotJson(f"a comma or the array's end is expected at character {end}")
    if _skip(text, at) != len(text):
        raise NotJson(f"nothing is expected after the array at character {at}")
    return items
