"""A few ClickHouse connections shared by the threads that answer requests (clickhouse-driver is one query at a time)."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from clickhouse_driver.errors import Error as ClickHouseError


class Client(Protocol):
    """What we use of `clickhouse_driver.Client`."""

    def execute(self, query: str, params: Any = ..., **options: Any) -> Any: ...

    def disconnect(self) -> None: ...


class Unavailable(RuntimeError):
    """ClickHouse can't answer now; the same request may succeed later (503)."""


class Pool:
    """At most `size` connections; a thread waits up to `wait_seconds` for one, then gets `Unavailable`."""

    def __init__(self, client_factory: Callable[[], Client], size: int = 6, wait_seconds: float = 10.0) -> None:
        self._factory = client_factory
        self._wait = wait_seconds
        self._slots: queue.LifoQueue[Client | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)

    def rows(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        tables: Sequence[Mapping[str, Any]] = (),
    ) -> list[dict[str, Any]]:
        """The answer's rows as dicts by column name; instants are aware UTC datetimes, decimals `Decimal`.

        `tables` are external tables (`name`, `structure`, `data`) that the query may read. Raises `Unavailable` where the
        server can't be reached; an error in the query itself is a `clickhouse_driver` error.
        """
        try:
            client = self._slots.get(timeout=self._wait)
        except queue.Empty:
            raise Unavailable("all connections to ClickHouse are busy") from None
        healthy = False
        try:
            # A connection that idled across a server restart fails once: then a new one is tried.
            for attempt in (0, 1):
                fresh = client is None
                try:
                    if client is None:
                        client = self._factory()
                    options: dict[str, Any] = {"with_column_types": True}
                    if tables:
                        options["external_tables"] = list(tables)
                    data, columns = client.execute(sql, dict(params or {}), **options)
                    healthy = True
                    break
                except (OSError, EOFError, ClickHouseError) as error:
                    if client is not None:
                        client.disconnect()
                    client = None
                    if isinstance(error, ClickHouseError) and getattr(error, "code", 0) not in (209, 210):
                        raise
                    if fresh or attempt:
                        raise Unavailable("ClickHouse cannot be reached") from error
        finally:
            self._slots.put(client if healthy else None)
        names = [column[0] for column in columns]
        scales = [Decimal(1).scaleb(-int(kind[kind.rindex(",") + 1 : -1])) if kind.startswith("Decimal(") else None for _, kind in columns]
        return [{name: _value(value, scale) for name, value, scale in zip(names, row, scales, strict=True)} for row in data]

    def close(self) -> None:
        while True:
            try:
                client = self._slots.get_nowait()
            except queue.Empty:
                return
            if client is not None:
                client.disconnect()


def _value(value: Any, scale: Decimal | None) -> Any:
    if scale is not None and value is not None:
        # The driver drops the zeros at the end; the column's scale is part of what it says.
        return value.quantize(scale)
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value
