"""Rows on their way into ClickHouse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """Many rows as whole columns in ClickHouse's native form: Strings as their length (LEB128) and bytes, integers little-endian. `types`
    as ClickHouse names them."""

    count: int
    types: tuple[str, ...]
    columns: list[bytes]


Rows = list[Row | Packed]
