"""What is said about one event that is not taken: where, by which code of the contract, and in words."""

from __future__ import annotations

from typing import NamedTuple

CODES = (
    "missing",
    "unknown_field",
    "wrong_type",
    "out_of_range",
    "bad_format",
    "too_many_decimals",
    "unknown_type",
    "unknown_programme",
    "unknown_course",
    "unknown_activity",
    "too_early",
    "in_future",
    "empty_interval",
    "too_long",
    "not_allowed",
    "too_large",
    "not_json",
    "wrong_partition",
)


class Verdict(NamedTuple):
    """One error. Tuples compare by pointer, then code: the order in which the contract lists them."""

    pointer: str  # RFC 6901, "" for the whole item
    code: str  # one of CODES
    detail: str  # for people: what is expected; never repeats the value, which may be personal


class Bad(ValueError):
    """A value is wrong in the way that `code` names; raised by the parsers of single values."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def pointer(*names: str | int) -> str:
    """The RFC 6901 pointer of a path of names; () is ""."""
    return "".join("/" + str(name).replace("~", "~0").replace("/", "~1") for name in names)


def in_order(verdicts: list[Verdict]) -> list[Verdict]:
    """By pointer, then code, each pair once."""
    unique = {(verdict.pointer, verdict.code): verdict for verdict in reversed(verdicts)}
    return sorted(unique.values())
