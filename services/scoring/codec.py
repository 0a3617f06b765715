"""Kafka records to facts, and scoring's answers to Kafka records. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from schemas.progress import Origin, Rejected, RejectedError
from schemas.reading import Event, read_activity
from schemas.verdicts import Verdict
from services.scoring.core.facts import Fact, fact_of

_encode = msgspec.json.Encoder().encode


class Refused(msgspec.Struct, frozen=True):
    """A record that can't be counted, and every reason why."""

    verdicts: Sequence[Verdict]


def decode(key: bytes | None, value: bytes | None, timestamp_ms: int, partition: int, partitions: int) -> tuple[str, str, Fact] | Refused:
    """One record of `learning.activity` as (programme, learner, fact), or why it can't be one."""
    event = read_activity(key, value, timestamp_ms, partition, partitions)
    if isinstance(event, Event):
        return event.programme, event.subject, fact_of(event)
    return Refused(event)


def refusal(refused: Refused, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None, at: str) -> bytes:
    """The record of `learning.rejected` for a record that was refused."""
    raw = value or b""
    encoding: str | None
    try:
        text, encoding = raw.decode(), None
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(raw).decode(), "base64"
    return _encode(
        Rejected(
            errors=[RejectedError(v.pointer, v.code, v.detail) for v in refused.verdicts],
            origin=Origin(topic, partition, offset),
            key=None if key is None else key.decode(errors="replace"),
            record=text,
            encoding=encoding,
            rejected_at=at,
        )
    )
