"""Days that compiled code packs are the rows that the long way makes of them; whatever is not as scoring writes it goes that way."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from schemas.progress import DayProgress, encode
from services.reporting.loader.quick import pack_days
from services.reporting.loader.rows import DAYS, FIRST_DAY, Replacing, add_days, day_row
from services.shared.packed import Row, Rows
from tests.loader_rows import Record
from tests.unpacked import unpacked

DAY = DayProgress("zhuozhou-2023", "teacher-7", "2023-06-01", 5_400, True, (3, 70_000, 1_703_000_000_123), "2023-06-01T08:00:00.123Z")
KEY = b"zhuozhou-2023|teacher-7|2023-06-01"


def quick(value: Any, partition: int = 3, offset: int = 9) -> Row | None:
    packed, left = pack_days([Record(offset, KEY, value, 0)], partition)
    assert packed.count + len(left) == 1
    return None if left else unpacked(packed)[0]


def agree(value: bytes) -> bool:
    """Whether it was packed; then the long way makes the very same row of it."""
    row = quick(value)
    if row is None:
        return False
    assert row == day_row(KEY, value, 3, 9).row, value
    return True


def test_what_scoring_writes_is_packed() -> None:
    chance = random.Random(5)
    first = date(1970, 1, 1)
    for _ in range(3_000):
        version = tuple(chance.randrange(1 << chance.randrange(1, bits + 1)) for bits in (32, 48, 48))
        day = first + timedelta(days=chance.randrange(47_482))  # up to 2099
        names = ["".join(chance.choices("aZ9._-", k=chance.randrange(1, 65))) for _ in range(2)]
        value = DayProgress(*names, day.isoformat(), chance.randrange(86_401), chance.random() < 0.5, version, DAY.updated_at)  # type: ignore[arg-type]
        assert agree(encode(value)), value
        assert agree(encode(msgspec.structs.replace(value, updated_at="")))


def test_the_largest_version_is_whole() -> None:
    row = quick(encode(msgspec.structs.replace(DAY, version=((1 << 32) - 1, (1 << 48) - 1, (1 << 48) - 1))))
    assert row is not None
    assert row[7] == (1 << 128) - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"version": (1 << 32, 0, 0)},
        {"version": (0, 1 << 48, 0)},
        {"version": (0, 0, 1 << 48)},
        {"version": (10**18, 0, 0)},
        {"credited_seconds": 1 << 32},
        {"credited_seconds": -1},
        {"day": "1969-12-31"},
        {"day": "2149-06-07"},
        {"day": "2023-02-29"},
        {"day": "2023-6-1"},
        {"programme": "p" * 65},
        {"learner_id": "中"},
        {"learner_id": 'a"'},
        {"learner_id": "a\\"},
    ],
)
def test_what_is_unusual_goes_the_long_way(changes: dict[str, Any]) -> None:
    assert quick(encode(msgspec.structs.replace(DAY, **changes))) is None


def test_one_byte_of_a_record_makes_it_another_in_both_ways() -> None:
    """Every byte replaced, left out, doubled; every prefix; every piece of two records."""
    other = encode(msgspec.structs.replace(DAY, active=False, credited_seconds=0))
    packed = left = 0
    for value in (encode(DAY), other):
        assert agree(value)
        for at in range(len(value)):
            changed = [value[:at] + bytes([byte]) + value[at + 1 :] for byte in b'"\\{}[],: 0Z9a-\x00\x7f\xff']
            for one in (*changed, value[:at], value[:at] + value[at + 1 :], value[: at + 1] + value[at:], value[:at] + other[at:]):
                answered = agree(one)
                packed, left = packed + answered, left + (not answered)
    assert packed > 500
    assert left > 3_000
    assert not agree(encode(DAY) + b" ")
    for nothing in (None, b"", "text", 5):
        assert quick(nothing) is None


def test_tombstones_and_days_before_the_first_are_told_apart() -> None:
    early = encode(msgspec.structs.replace(DAY, day="1969-12-31"))
    odd = b" " + encode(DAY)
    values = [encode(DAY), None, early, odd]
    records = [Record(at, KEY, value, 0) for at, value in enumerate(values)]
    records.append(Record(4, b"zhuozhou-2023|teacher-7|1969-12-31", None, 0))
    rows: dict[str, Rows] = {}
    replacing: dict[str, list[Replacing]] = {}
    add_days(rows, replacing, records, 3)
    assert [row.offset for row in replacing[DAYS]] == [1, 3]
    assert [row.row is None for row in replacing[DAYS]] == [True, False]
    (part,) = rows[DAYS]
    assert [row[6] for row in unpacked(part)] == [0]  # type: ignore[arg-type]
    assert FIRST_DAY == "1970-01-01"
