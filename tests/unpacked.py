"""What packed rows say, read by the description of ClickHouse's native form."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from services.shared.packed import Packed, Row

SIZES = {"UInt8": 1, "UInt16": 2, "Date": 2, "UInt32": 4, "UInt64": 8, "Int64": 8, "UInt128": 16}


def values(of_type: str, data: bytes) -> list[Any]:
    """Of one column."""
    if of_type != "String":
        size = SIZES[of_type]
        assert len(data) % size == 0
        numbers = [int.from_bytes(data[at : at + size], "little", signed=of_type[0] == "I") for at in range(0, len(data), size)]
        return [date(1970, 1, 1) + timedelta(days=number) for number in numbers] if of_type == "Date" else numbers
    found: list[Any] = []
    at = 0
    while at < len(data):
        size = shift = 0
        while True:
            byte, at = data[at], at + 1
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        assert at + size <= len(data)
        found.append(data[at : at + size].decode())
        at += size
    return found


def unpacked(packed: Packed) -> list[Row]:
    columns = [values(*one) for one in zip(packed.types, packed.columns, strict=True)]
    assert {len(column) for column in columns} == {packed.count}
    return list(zip(*columns, strict=True))
