"""The only module that opens ClickHouse (native protocol, clickhouse-driver).

Nothing here depends on which server answers: a production server or the local stack's.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import clickhouse_driver.errors as errors
from clickhouse_driver import Client
from clickhouse_driver.block import ColumnOrientedBlock
from clickhouse_driver.streams import native

from services.shared.packed import Packed, Row

OUTAGES: tuple[type[BaseException], ...] = (
    errors.NetworkError,
    errors.SocketTimeoutError,
    errors.PartiallyConsumedQueryError,
    errors.UnexpectedPacketFromServerError,
    EOFError,
    ConnectionError,
    socket.gaierror,
    TimeoutError,
)
"""What a server that is away, starting or going down raises: worth another try."""

_BUSY = {159, 202, 209, 210, 236, 241, 242, 252, 394, 425, 999}
"""Server error codes that pass by themselves: time-outs, memory, too many queries or parts, read-only, shutting down."""


def connect(url: str, timeout_seconds: float = 5.0, **settings: Any) -> Client:
    """A client of the server at `clickhouse://user:password@host:port/`. It connects with its first query.

    `settings` are ClickHouse settings of every query. A client is for one thread at a time.
    """
    client: Client = _Client.from_url(url)
    client.settings.update(settings)
    client.connection.connect_timeout = timeout_seconds
    return client


def is_outage(error: BaseException) -> bool:
    """Whether the same call may succeed once the server is back or less busy."""
    return isinstance(error, OUTAGES) or (isinstance(error, errors.ServerException) and error.code in _BUSY)


def insert(client: Client, table: str, columns: Sequence[str], rows: Sequence[Row | Packed]) -> int:
    """Insert rows, each by itself or many of them packed, into `table`, in one block and in any order; returns how many there were.

    Raises what `is_outage` knows where the server is away: nothing or everything may have been stored then, so only
    tables where repeating is harmless are written this way.
    """
    packed = [row for row in rows if type(row) is Packed]
    plain: Sequence[Any] = [row for row in rows if type(row) is not Packed] if packed else rows
    count = len(plain) + sum(part.count for part in packed)
    if not count:
        return 0
    values: list[Any] = list(zip(*plain, strict=True)) if plain else [()] * len(columns)
    if packed:
        parts = [list(zip(part.types, part.columns, strict=True)) for part in packed]
        values = [Mixed(count, list(given), list(of)) for given, *of in zip(values, *parts, strict=True)]
    names = ", ".join(f"`{name}`" for name in columns)
    client.execute(f"INSERT INTO {table} ({names}) VALUES", values, columnar=True)
    return count


# -- the driver, taught to send what is packed ------------------------------------------------------------------------------

INTERNALS = {"Client": ["send_data", "receive_profile_events"], "Connection": ["send_data"]}
"""What is leaned on, besides `write_column` as `streams.native` calls it; a test states each, so that an upgrade fails loudly."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """A column: values, in a list because the driver may put others in their places, and (type, bytes) of parts that are packed."""

    count: int
    values: list[object]
    packed: list[tuple[str, bytes]]


class _Block(ColumnOrientedBlock):  # type: ignore[misc]
    def normalize(self, data: list[Mixed]) -> list[Mixed]:
        return data

    @property
    def num_rows(self) -> int:
        count: int = self.data[0].count
        return count


class _Client(Client):  # type: ignore[misc]
    def send_data(self, sample_block: Any, data: Any, types_check: bool = False, columnar: bool = False) -> int:
        if not isinstance(data, list) or not data or type(data[0]) is not Mixed:
            return int(super().send_data(sample_block, data, types_check=types_check, columnar=columnar))
        for block in (_Block(sample_block.columns_with_types, data), ColumnOrientedBlock()):  # an empty one ends the data
            self.connection.send_data(block)
            self.receive_profile_events()
        count: int = data[0].count
        return count


def _write_column(context: Any, name: str, spec: str, items: Any, to: Any, types_check: bool = False) -> None:
    if type(items) is not Mixed:
        _written(context, name, spec, items, to, types_check=types_check)
        return
    if items.values:
        _written(context, name, spec, items.values, to, types_check=types_check)
    for packed, data in items.packed:
        if packed != spec:
            raise TypeError(f"column {name} is {spec}; it was packed as {packed}")
        to.write(data)


_written = native.write_column
native.write_column = _write_column
