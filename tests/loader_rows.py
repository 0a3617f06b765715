"""A single record of `learning.activity` as the loader's rows have it."""

from __future__ import annotations

from typing import Any, NamedTuple

from schemas.reading import partition_of
from services.reporting.loader.activity import COLUMNS, add_rows
from services.shared.packed import Packed, Row, Rows
from tests.unpacked import unpacked


class Record(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


def row_of(key: bytes, value: bytes | None, timestamp: int, offset: int, partitions: int = 4) -> tuple[str, Row]:
    """(table, row); the record lies where its key belongs."""
    rows: dict[str, Rows] = {}
    add_rows(rows, [Record(offset, key, value, timestamp)], partition_of(key, partitions), partitions)
    ((table, (row,)),) = rows.items()
    if isinstance(row, Packed):
        (row,) = unpacked(row)
    return table, row


def named(table: str, row: Row) -> dict[str, Any]:
    return dict(zip(COLUMNS[table], row, strict=True))
