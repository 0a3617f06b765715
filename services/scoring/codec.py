"""Kafka records to facts, and scoring's answers to Kafka records. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from schemas.progress import Origin, Rejected, RejectedError
from schemas.quick import read_sound
from schemas.reading import Event, event_of, placed, read_activity
from schemas.verdicts import Verdict
from services.scoring.core.facts import Fact, Interval, fact_of
from services.scoring.store import Key
from services.shared.record import Record

MOST_BYTES = 1 << 21
"""Of a record that is told in learning.rejected; a compressed batch may hold larger ones than the topic takes."""
MOST_KEY = 1024
MOST_ERRORS, MOST_TEXT = 500, 200

_encode = msgspec.json.Encoder().encode


class Gathered(NamedTuple):
    """A batch by learner: the facts of each, in the order of the log, and the offset of the last; in the same order what is refused,
    with every reason why."""

    facts: dict[Key, list[Fact | Interval]]
    offsets: dict[Key, int]
    refused: list[tuple[Record, Sequence[Verdict]]]


class _Of:
    """What is known of a key while a batch is read: whose it is, where it is a learner's here; their programmes; the facts in the last."""

    __slots__ = ("facts", "learner", "offset", "programme", "programmes")

    def __init__(self, learner: str | None) -> None:
        self.learner = learner
        self.programme, self.offset = "", 0
        self.programmes: list[str] = []
        self.facts: list[Fact | Interval] = []


def gather(records: Iterable[Record], partition: int, partitions: int) -> Gathered:
    """Read records of one partition of `learning.activity`."""
    told = Gathered({}, {}, [])
    known: dict[bytes | None, _Of] = {}
    for record in records:
        key = record.key
        of = known.get(key)
        if of is None:
            of = known[key] = _Of(placed(key, partition, partitions))
        sound = read_sound(record.value, of.learner, record.timestamp)
        fact: Fact | Interval
        if sound is not None:
            programme, fact = sound.programme, sound.interval or Fact(event_of(sound))
        else:  # it is unusual, maybe unsound
            event = read_activity(key, record.value, record.timestamp, partition, partitions)
            if not isinstance(event, Event):
                told.refused.append((record, event))
                continue
            programme, fact = event.programme, fact_of(event)
        if programme != of.programme:
            assert of.learner is not None  # or nothing under this key is sound
            of.programme, of.facts = programme, told.facts.setdefault((programme, of.learner), [])
            of.programmes.append(programme)
        of.facts.append(fact)
        of.offset = record.offset
    for of in known.values():
        for programme in of.programmes:
            assert of.learner is not None
            told.offsets[programme, of.learner] = of.offset
    return told


def refusal(refused: Sequence[Verdict], topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None, at: str) -> bytes:
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
    errors = [RejectedError(_short(v.pointer), v.code, _short(v.detail)) for v in refused[:MOST_ERRORS]]
    left_out = []
    if len(refused) > len(errors):
        left_out.append(f"{len(refused) - len(errors)} more errors are left out")
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
