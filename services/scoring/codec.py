"""Kafka records to facts, and scoring's answers to Kafka records. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from schemas.progress import Origin, Rejected, RejectedError
from schemas.reading import Event, read_activity, read_interval
from schemas.verdicts import Verdict
from services.scoring.core.facts import Fact, Interval, fact_of

MOST_BYTES = 1 << 21
"""Of a record that is told in learning.rejected; a compressed batch may hold larger ones than the topic takes."""
MOST_KEY = 1024
MOST_ERRORS, MOST_TEXT = 500, 200

_encode = msgspec.json.Encoder().encode


Read = tuple[str, str, Fact | Interval]


class Refused(msgspec.Struct, frozen=True):
    """A record that can't be counted, and every reason why."""

    verdicts: Sequence[Verdict]


def decode(key: bytes | None, value: bytes | None, timestamp_ms: int, partition: int, partitions: int) -> Read | Refused:
    """One record of `learning.activity` as (programme, learner, fact), or why it can't be one."""
    interval = read_interval(key, value, timestamp_ms, partition, partitions)
    if interval is not None:
        return interval
    event = read_activity(key, value, timestamp_ms, partition, partitions)
    if isinstance(event, Event):
        return event.programme, event.subject, fact_of(event)
    return Refused(event)


def refusal(refused: Refused, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None, at: str) -> bytes:
    """The record of `learning.rejected` for a record that was refused.

    However large that was, this one fits into its topic: what is cut is said in the last error's detail.
    """
    whole = value or b""
    raw = whole[:MOST_BYTES]
    encoding: str | None
    try:
        text, encoding = raw.decode(), None
    except UnicodeDecodeError:
        text, encoding = "", "base64"
    if encoding or len(_encode(text)) > MOST_BYTES * 4 // 3:  # a control character takes six bytes in JSON
        text, encoding = base64.b64encode(raw).decode(), "base64"
    errors = [RejectedError(_short(v.pointer), v.code, _short(v.detail)) for v in refused.verdicts[:MOST_ERRORS]]
    left_out = []
    if len(refused.verdicts) > len(errors):
        left_out.append(f"{len(refused.verdicts) - len(errors)} more errors are left out")
    if len(raw) < len(whole):
        left_out.append(f"of the record's {len(whole)} bytes {len(raw)} are kept")
    if left_out:
        last = errors[-1]
        errors[-1] = RejectedError(last.pointer, last.code, "; ".join([last.detail, *left_out]))
    return _encode(
        Rejected(
            errors=errors,
            origin=Origin(topic, partition, offset),
            key=None if key is None else key[:MOST_KEY].decode(errors="replace"),
            record=text,
            encoding=encoding,
            rejected_at=at,
        )
    )


def _short(text: str) -> str:
    """Fit to be written: a field's name may be of any length, and hold a lone surrogate, which UTF-8 can't."""
    cut = text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "…"
    return cut.encode("utf-8", "replace").decode()
