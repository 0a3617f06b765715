"""Rows that compiled code packs are the rows that are written one by one, in whatever company."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.reading import partition_of, placed
from services.reporting.loader.activity import INCOMING, RECORDS, add_rows
from services.reporting.loader.quick import pack
from services.shared.packed import Packed, Row, Rows
from tests.loader_rows import Record, row_of
from tests.unit.test_quick_reader import NOW, data, kinds, text
from tests.unpacked import unpacked

PLACE = partition_of(b"L1", 4)


def plain(rows: Rows) -> list[Row]:
    return [row for found in rows for row in (unpacked(found) if isinstance(found, Packed) else [found])]


def test_many_together_are_what_each_is_alone() -> None:
    row_of(b"L1", text(), NOW, 0)  # the long way has met the source now
    foreign = next(name for name in (f"L{n}".encode() for n in range(2, 99)) if partition_of(name, 4) != PLACE)
    other = next(name for name in (f"L{n}".encode() for n in range(2, 99)) if partition_of(name, 4) == PLACE)
    values = [*kinds(), text(id="über"), b"{", text(subject=other.decode()), text(subject=foreign.decode()), *kinds()]
    keys = [b"L1", b"L1", other, foreign, None]
    records = [Record(at, keys[at % len(keys)], value, NOW + at) for at, value in enumerate(value for value in values for _ in keys)]
    rows: dict[str, Rows] = {}
    add_rows(rows, records, PLACE, 4)
    alone: dict[str, Rows] = {}
    for record in records:
        add_rows(alone, [record], PLACE, 4)
    for table in (INCOMING, RECORDS):
        assert sorted(plain(rows[table])) == sorted(plain(alone[table]))
    assert len(plain(rows[INCOMING]) + plain(rows[RECORDS])) == len(records)
    packed = [found for found in rows[INCOMING] if isinstance(found, Packed)]
    assert len(packed) == 1, "all that is usual of one call is one part"
    assert 10 < packed[0].count < len(plain(rows[INCOMING])), "something went the long way, too"


def test_nothing_is_packed_of_nothing() -> None:
    rows: dict[str, Rows] = {}
    add_rows(rows, [], PLACE, 4)
    assert rows == {}
    add_rows(rows, [Record(3, b"L1", b"{", NOW)], PLACE, 4)
    assert set(rows) == {RECORDS}


@pytest.mark.parametrize("size", [1, 63, 64, 126, 127, 128])
def test_lengths_on_both_sides_of_a_second_byte(size: int) -> None:
    """Up to 127 bytes a length takes one byte, from 128 two."""
    row_of(b"L1", text(), NOW, 0)
    for value in (text(id="i" * size), data(course_id="c" * min(size, 64)), data(session_id="s" * min(size, 64))):
        packed, left = pack([Record(1, b"L1", value, NOW)], PLACE, lambda key: placed(key, PLACE, 4))
        assert not left
        assert len(unpacked(packed)) == 1
    for more in range(40):  # data as received: 90 to 130 bytes, with blanks that make it longer
        value = text().replace(b'"channel"', b" " * more + b'"channel"')
        _, row = row_of(b"L1", value, NOW, 1)
        assert row[10] == value[value.index(b'{"course_id"') : value.index(b', "ingested_at"')].decode()


def test_offsets_beyond_four_bytes_and_every_partition() -> None:
    row_of(b"L1", text(), NOW, 0)
    for offset in (0, (1 << 32) + 5, (1 << 48) - 1):
        packed, _ = pack([Record(offset, b"L1", text(), NOW)], 65535, lambda _: "L1")
        assert unpacked(packed)[0][12:] == (65535, offset)


def test_a_key_is_asked_for_once() -> None:
    asked: list[Any] = []

    def place(key: bytes | None) -> str | None:
        asked.append(key)
        return "L1"

    pack([Record(n, b"L1", text(), NOW) for n in range(5)], PLACE, place)
    assert asked == [b"L1"]


def test_what_goes_wrong_on_the_way_is_said() -> None:
    def place(key: bytes | None) -> str | None:
        raise LookupError("nobody")

    with pytest.raises(LookupError, match="nobody"):
        pack([Record(1, b"L1", text(), NOW)], PLACE, place)
    with pytest.raises(AttributeError):
        pack([Record(1, b"L1", text(), NOW), object()], PLACE, lambda _: "L1")  # type: ignore[list-item]


def test_without_the_compiled_code_the_rows_are_the_same() -> None:
    row_of(b"L1", text(), NOW, 0)
    code = (
        "import sys; sys.modules['schemas.quick_reader'] = sys.modules['services.reporting.loader.quick_columns'] = None\n"
        "from tests.loader_rows import row_of\n"
        f"print(row_of(b'L1', {text()!r}, {NOW}, 9))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (found.stdout, found.stderr) == (f"{row_of(b'L1', text(), NOW, 9)}\n", "")
