"""The only module that opens ClickHouse (native protocol, clickhouse-driver).

Nothing here depends on which server answers: a production server or the local stack's.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import clickhouse_driver.errors as errors
from clickhouse_driver import Client

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
    client = Client.from_url(url)
    client.settings.update(settings)
    client.connection.connect_timeout = timeout_seconds
    return client


def is_outage(error: BaseException) -> bool:
    """Whether the same call may succeed once the server is back or less busy."""
    return isinstance(error, OUTAGES) or (isinstance(error, errors.ServerException) and error.code in _BUSY)


def insert(client: Client, table: str, columns: Sequence[str], values: Sequence[Sequence[object]]) -> int:
    """Insert columns, lists or tuples of one length, into `table`; returns the number of rows.

    Raises what `is_outage` knows where the server is away: nothing or everything may have been stored then, so only
    tables where repeating is harmless are written this way.
    """
    if not values or not values[0]:
        return 0
    names = ", ".join(f"`{name}`" for name in columns)
    client.execute(f"INSERT INTO {table} ({names}) VALUES", values, columnar=True)
    return len(values[0])
