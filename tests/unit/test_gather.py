"""A batch read at once says what its records say one by one, whatever lies between them."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from schemas import reading
from schemas.activity import LEARNER_TYPES
from schemas.reading import Event, partition_of
from services.scoring.codec import gather
from services.scoring.core.facts import Fact, fact_of
from tests.unit.test_quick_reader import NOW, ODD, data, plain_records, text

PARTITIONS = 4
HERE = partition_of(b"L1", PARTITIONS)
HERE_TOO = next(f"L{n}".encode() for n in range(2, 99) if partition_of(f"L{n}".encode(), PARTITIONS) == HERE)
ELSEWHERE = next(f"L{n}".encode() for n in range(2, 99) if partition_of(f"L{n}".encode(), PARTITIONS) != HERE)


class Record(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = NOW


def said(fact: Any) -> Any:
    return (fact.kind, fact.data, fact.stamp) if isinstance(fact, Fact) else fact


def one_by_one(records: list[Record]) -> tuple[dict[Any, list[Any]], dict[Any, int], list[Any]]:
    facts: dict[Any, list[Any]] = {}
    last: dict[Any, int] = {}
    refused = []
    for record in records:
        assert record.value is not None
        event = reading._at_length(record.key, record.value, record.timestamp, HERE, PARTITIONS)
        if isinstance(event, Event) and event.type in LEARNER_TYPES:
            facts.setdefault((event.programme, event.subject), []).append(said(fact_of(event)))
            last[event.subject] = record.offset
        else:
            refused.append(record.offset)
    return facts, {whose: last[whose[1]] for whose in facts}, refused


def of(key: bytes, value: bytes) -> bytes:
    return value.replace(b'"L1"', b'"' + key + b'"')


def pool() -> list[tuple[bytes | None, bytes]]:
    """Sound records of two learners in two programmes from two sources, and whatever may lie between them."""
    sound = [text(), data(course_id="c2"), data(session_id="s-1"), data(started_at="2023-06-01T16:00:00+08:00"), *plain_records()[:12]]
    sound += [value.replace(b'"p"', b'"q"').replace(b'"/platform"', b'"/other"') for value in sound[:6]]
    found: list[tuple[bytes | None, bytes]] = [(key, of(key, value)) for key in (b"L1", HERE_TOO) for value in sound]
    odd = [*ODD, *plain_records(), text(source=""), text(programme=""), data(course_id=""), text(time=1), b"null"]
    found += [(key, of(key, value)) for key in (b"L1", HERE_TOO) for value in odd]
    found += [(key, text()) for key in (None, b"", b"\xff", HERE_TOO, ELSEWHERE, b"x" * 65)] + [(ELSEWHERE, of(ELSEWHERE, text()))]
    return found


def test_a_batch_says_what_its_records_say_one_by_one() -> None:
    chance, known = random.Random(3), pool()
    quick = slow = 0
    for _ in range(60):
        chosen = chance.choices(known, k=chance.randrange(1, 60))
        records = [Record(7 + 2 * n, *one) for n, one in enumerate(chosen)]
        facts, offsets, refused = one_by_one(records)
        told = gather(records, HERE, PARTITIONS)
        assert {whose: [said(fact) for fact in found] for whose, found in told.facts.items()} == facts
        assert told.offsets == offsets
        assert [record.offset for record, _ in told.refused] == refused
        assert all(verdicts for _, verdicts in told.refused)
        quick, slow = quick + sum(map(len, facts.values())), slow + len(refused)
    assert quick > 300
    assert slow > 300


def test_a_record_without_value_is_refused_alone() -> None:
    records = [Record(0, b"L1", text()), Record(1, b"L1", None), Record(2, b"L1", data(course_id="c2"))]
    told = gather(records, HERE, PARTITIONS)
    assert [len(found) for found in told.facts.values()] == [2]
    assert [(record.offset, verdicts[0].code) for record, verdicts in told.refused] == [(1, "not_json")]
