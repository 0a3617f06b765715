"""What packed rows say, read by the description of ClickHouse's native form."""

from __future__ import annotations

from services.shared.packed import Packed, Row

SIZES = {"Int64": (8, True), "UInt64": (8, False), "UInt16": (2, False)}


def values(of_type: str, data: bytes) -> list[str | int]:
    """Of one column."""
    if of_type != "String":
        size, signed = SIZES[of_type]
        assert len(data) % size == 0
        return [int.from_bytes(data[at : at + size], "little", signed=signed) for at in range(0, len(data), size)]
    found: list[str | int] = []
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
