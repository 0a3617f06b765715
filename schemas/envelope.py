"""The CloudEvents 1.0 envelope and the kinds of single values, each of which names the contract's code when it refuses.

Models are strict and frozen. A refusal carries either one of pydantic's own error types, which `reading` translates, or a
code of the contract (several joined by `+`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from schemas.instants import parse_instant
from schemas.verdicts import Bad

AHEAD_MS = 5 * 60 * 1000  # how far clocks may differ
SCORE_UNIT = 10_000  # scores are whole numbers of 1/10000 inside


class Frozen(BaseModel):
    """Base of everything that crosses a boundary."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def _instant(value: Any) -> int:
    if type(value) is not str:
        raise PydanticCustomError("wrong_type", "An RFC 3339 instant, as text, is expected")
    try:
        return parse_instant(value)
    except Bad as bad:
        raise PydanticCustomError(bad.code, bad.detail) from None


def _whole_second(value: Any) -> int:
    return _instant(value) // 1000


def shifted(value: Decimal, places: int) -> int | None:
    """`value` x 10^places as an int, or None where it has more decimals. Exact; for values in [0, 1] of any exponent."""
    if not value:
        return 0
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # JSON has neither infinities nor NaN
    drop = -places - exponent
    if drop <= 0:
        return int("".join(map(str, digits)) + "0" * -drop)
    if drop >= len(digits) or any(digits[-drop:]):
        return None
    return int("".join(map(str, digits[:-drop])))


def is_whole(value: Decimal) -> bool:
    """Whether there is nothing behind the point. Cheap for any exponent and any number of digits."""
    if not value:
        return True
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    return exponent >= 0 or (-exponent < len(digits) and not any(digits[exponent:]))


def _score(value: Any) -> int:
    kind = type(value)
    if kind is not Decimal and kind is not int:
        raise PydanticCustomError("wrong_type", "A number in [0, 1] is expected")
    if not 0 <= value <= 1:
        raise PydanticCustomError("out_of_range", "A number in [0, 1] is expected")
    if kind is int:
        return int(value) * SCORE_UNIT
    number = shifted(value, 4)
    if number is None:
        raise PydanticCustomError("too_many_decimals", "A number with at most 4 decimals is expected")
    return number


def _year(value: Any) -> int:
    if type(value) is not int and not (type(value) is Decimal and is_whole(value)):
        raise PydanticCustomError("wrong_type", "A whole number is expected")
    if not 1900 <= value <= 2100:
        raise PydanticCustomError("out_of_range", "A year from 1900 to 2100 is expected")
    return int(value)


_PCHAR = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_NO_COLON = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=@]|%[0-9A-Fa-f]{2})"
_NAME = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})"
_H16 = r"[0-9A-Fa-f]{1,4}"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LS32 = rf"(?:{_H16}:{_H16}|{_OCTET}(?:\.{_OCTET}){{3}})"
_IPV6 = "|".join(
    [rf"(?:{_H16}:){{6}}{_LS32}", rf"::(?:{_H16}:){{5}}{_LS32}"]
    + [rf"(?:(?:{_H16}:){{0,{n}}}{_H16})?::(?:{_H16}:){{{4 - n}}}{_LS32}" for n in range(5)]
    + [rf"(?:(?:{_H16}:){{0,5}}{_H16})?::{_H16}", rf"(?:(?:{_H16}:){{0,6}}{_H16})?::"]
)
_HOST = rf"(?:\[(?:{_IPV6}|[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+)\]|{_NAME}*)"
_AUTHORITY = rf"//(?:(?:{_NAME}|:)*@)?{_HOST}(?::[0-9]*)?"
_SEGMENTS = rf"(?:/{_PCHAR}*)*"
_ABSOLUTE = rf"/(?:{_PCHAR}+{_SEGMENTS})?"
URI_REFERENCE = re.compile(
    rf"(?:[A-Za-z][A-Za-z0-9+\-.]*:(?:{_AUTHORITY}{_SEGMENTS}|{_ABSOLUTE}|{_PCHAR}+{_SEGMENTS}|)"
    rf"|{_AUTHORITY}{_SEGMENTS}|{_ABSOLUTE}|{_NO_COLON}+{_SEGMENTS}|)"
    rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?])*)?"
)  # RFC 3986, appendix A


def _codes(long: bool, odd: bool, expected: str) -> PydanticCustomError:
    codes = "+".join(code for code, holds in (("bad_format", odd), ("out_of_range", long)) if holds)
    return PydanticCustomError(codes, expected)


def _event_id(value: Any) -> str:
    if type(value) is not str:
        raise PydanticCustomError("wrong_type", "A text is expected")
    wrong_length, odd = not 1 <= len(value) <= 128, not value.isprintable()
    if wrong_length or odd:
        raise _codes(wrong_length, odd, "1 to 128 printable characters are expected")
    return value


GOOD_SOURCES: set[str] = set()
"""Sources met that are sound: platforms are few, their names are checked once."""


def _source(value: Any) -> str:
    if type(value) is not str:
        raise PydanticCustomError("wrong_type", "A text is expected")
    if value in GOOD_SOURCES:
        return value
    wrong_length, odd = not 1 <= len(value) <= 256, URI_REFERENCE.fullmatch(value) is None
    if wrong_length or odd:
        raise _codes(wrong_length, odd, "A URI reference (RFC 3986) of 1 to 256 characters is expected")
    if len(GOOD_SOURCES) < 1000:
        GOOD_SOURCES.add(value)
    return value


def _sized(least: int, most: int) -> Callable[[str], str]:
    """A text of so many characters; unlike pydantic's own check it says both what is wrong with length and with Unicode."""

    def check(value: str) -> str:
        wrong_length = not least <= len(value) <= most
        odd = not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value)
        if wrong_length or odd:
            raise _codes(wrong_length, odd, f"Unicode text of {least} to {most} characters is expected")
        return value

    return check


def _length(least: int, most: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "minLength": least, "maxLength": most})


ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
EventId = Annotated[str, PlainValidator(_event_id), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 128})]
Source = Annotated[
    str, PlainValidator(_source), WithJsonSchema({"type": "string", "format": "uri-reference", "minLength": 1, "maxLength": 256})
]
Instant = Annotated[int, PlainValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
WholeSecond = Annotated[
    int, PlainValidator(_whole_second), WithJsonSchema({"type": "string", "format": "date-time", "description": "cut to whole seconds"})
]
Score = Annotated[int, PlainValidator(_score), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.0001})]
Year = Annotated[int, PlainValidator(_year), WithJsonSchema({"type": "integer", "minimum": 1900, "maximum": 2100})]
Name = Annotated[str, AfterValidator(_sized(1, 200)), _length(1, 200)]
Fingerprint = Annotated[str, AfterValidator(_sized(1, 256)), _length(1, 256)]
Note = Annotated[str, AfterValidator(_sized(0, 500)), _length(0, 500)]


class Envelope(BaseModel):
    """What every event carries. Other attributes are accepted and kept in the record, but not judged."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    specversion: Literal["1.0"] = Field(description="CloudEvents version")
    id: EventId = Field(description="with `source` the idempotency key, across all programmes")
    source: Source = Field(description="the emitting platform")
    type: str = Field(description="the event's type and version")
    subject: Id = Field(description="the learner's pseudonymous id; for unit.* and staff.* the unit's or staff member's")
    time: Instant = Field(description="when it happened; cut to milliseconds")
    datacontenttype: Literal["application/json"] | None = Field(None, description="application/json or absent")


class ProgrammeEnvelope(Envelope):
    """The envelope of everything that happens inside a programme: all but `unit.*`."""

    programme: Id = Field(description="the programme's id")
