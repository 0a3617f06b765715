"""Packed rows on a real server: they arrive as what they are, beside others, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from clickhouse_driver import Client

from services.shared.clickhouse import connect, insert
from services.shared.packed import Packed
from tests.conftest import Stack

pytestmark = pytest.mark.servers

COLUMNS = ("name", "at", "part", "off", "day")
TYPES = ("String", "Int64", "UInt16", "UInt64", "Date")
Told = tuple[str, int, int, int]


def on(off: int) -> date:
    return date(1970, 1, 1) + timedelta(days=off)


def whole(*rows: Told) -> list[Any]:
    return [(*row, on(row[3])) for row in rows]


def packed(*rows: Told, types: tuple[str, ...] = TYPES) -> Packed:
    names = b"".join(_length(len(name.encode())) + name.encode() for name, *_ in rows)
    numbers = [b"".join(row[n].to_bytes(size, "little", signed=n == 1) for row in rows) for n, size in ((1, 8), (2, 2), (3, 8))]
    return Packed(len(rows), types, [names, *numbers, b"".join(row[3].to_bytes(2, "little") for row in rows)])


def _length(size: int) -> bytes:
    return bytes([size]) if size < 128 else bytes([size & 127 | 128]) + _length(size >> 7)


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    client = connect(stack.values.clickhouse)
    client.execute("DROP DATABASE IF EXISTS packed SYNC")
    client.execute("CREATE DATABASE packed")
    client.execute("CREATE TABLE packed.rows (name String, at Int64, part UInt16, off UInt64, day Date) ENGINE = MergeTree ORDER BY off")
    yield client
    client.execute("DROP DATABASE packed SYNC")
    client.disconnect()


def stored(client: Client) -> list[Any]:
    return list(client.execute("SELECT * FROM packed.rows ORDER BY off"))


def test_packed_and_plain_rows_go_together(client: Client) -> None:
    plain = [("plain", -1, 7, 2), ("中", 5, 0, 4)]
    parts = [packed(("", -5, 65535, 1), ("x" * 300, 1 << 40, 1, 3)), packed(("中文", 0, 0, 5))]
    assert insert(client, "packed.rows", COLUMNS, [parts[0], *whole(*plain), parts[1]]) == 5
    assert stored(client) == whole(("", -5, 65535, 1), plain[0], ("x" * 300, 1 << 40, 1, 3), plain[1], ("中文", 0, 0, 5))


def test_with_nulls_as_defaults_as_well(stack: Stack, client: Client) -> None:
    """Of the driver's settings the one by which it puts values in the places of others."""
    lenient = connect(f"{stack.values.clickhouse}?input_format_null_as_default=1")
    assert insert(lenient, "packed.rows", COLUMNS, [packed(("a", 1, 1, 1)), *whole(("b", 2, 2, 2)), (None, 3, 3, 3, on(3))]) == 3
    lenient.disconnect()
    assert stored(client) == whole(("a", 1, 1, 1), ("b", 2, 2, 2), ("", 3, 3, 3))


def test_packed_rows_alone_beyond_the_drivers_buffer(client: Client) -> None:
    rows = [(f"{n}" * 500, n, n % 7, n) for n in range(3_000)]
    assert insert(client, "packed.rows", COLUMNS, [packed(*rows[:1_000]), packed(*rows[1_000:])]) == 3_000
    assert stored(client) == whole(*rows)
    assert client.execute("SELECT count() FROM packed.rows") == [(3_000,)]


def test_nothing_is_no_insert(client: Client) -> None:
    assert insert(client, "packed.rows", COLUMNS, []) == 0
    assert insert(client, "packed.rows", COLUMNS, [packed()]) == 0
    assert stored(client) == []


def test_a_column_of_another_type_is_refused_with_its_name_and_nothing_is_stored(client: Client) -> None:
    wrong = packed(("a", 1, 1, 1), types=("String", "Int64", "UInt32", "UInt64", "Date"))
    with pytest.raises(TypeError, match="column part is UInt16; it was packed as UInt32"):
        insert(client, "packed.rows", COLUMNS, [packed(("b", 2, 2, 2)), wrong])
    assert stored(client) == []
    assert insert(client, "packed.rows", COLUMNS, [packed(("c", 3, 3, 3))]) == 1, "the connection is good again"
    assert stored(client) == whole(("c", 3, 3, 3))
