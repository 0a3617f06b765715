"""Rows into ClickHouse: columnar inserts, tried again while the server is away. Blocks: call it from a thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from queue import SimpleQueue
from threading import Event
from typing import Any

import stamina
import structlog
from clickhouse_driver import Client

from services.reporting.loader.rows import COLUMNS, DAYS, PROGRESS, Replacing
from services.shared.clickhouse import insert, is_outage
from services.shared.generation import LIVE, Generation
from services.shared.packed import Packed, Row

_KEYS = {PROGRESS: ("programme", "learner_id"), DAYS: ("programme", "learner_id", "day")}
_CHUNK = 2_000
_log = structlog.get_logger()


class _Line:
    """A connection, used by one thread at a time."""

    def __init__(self, client: Client, patience_seconds: float | None, over: Event) -> None:
        self._client, self._patience, self._over = client, patience_seconds, over

    def insert(self, table: str, columns: tuple[str, ...], rows: Sequence[Row | Packed]) -> int:
        return int(self.steadily(lambda: insert(self._client, table, columns, rows)))

    def query(self, sql: str, params: Any) -> list[Row]:
        return list(self.steadily(lambda: self._client.execute(sql, params)))

    def steadily(self, call: Any) -> Any:
        for attempt in stamina.retry_context(on=self._again, attempts=None, timeout=self._patience, wait_initial=0.1, wait_max=2.0):
            with attempt:
                return call()
        raise AssertionError("retry_context ended without an answer")

    def _again(self, error: Exception) -> bool:
        if self._over.is_set() or not is_outage(error):
            return False
        _log.warning("clickhouse away, trying again", error=type(error).__name__)
        self._client.disconnect()
        return True


class Sink:
    """One connection for each thread that uses it at once."""

    def __init__(self, *clients: Client, patience_seconds: float | None = None, generation: Generation = LIVE) -> None:
        """`patience_seconds`: how long an outage may last before it is raised; None: for ever. Rows of `store.progress` and the like
        go to the generation's own table."""
        self._over = Event()
        self._lines: SimpleQueue[_Line] = SimpleQueue()
        for client in clients:
            self._lines.put(_Line(client, patience_seconds, self._over))
        self._table = generation.table

    def give_up(self) -> None:
        """From here on an outage is raised as soon as it is met: a process that ends waits for the threads that insert."""
        self._over.set()

    @contextmanager
    def _line(self) -> Iterator[_Line]:
        line = self._lines.get()
        try:
            yield line
        finally:
            self._lines.put(line)

    def write(self, rows: Mapping[str, Sequence[Row | Packed]], replacing: dict[str, list[Replacing]]) -> int:
        """Store everything; returns the number of rows. Repeating it is harmless. Raises what is not an outage."""
        count = 0
        for table, plain in rows.items():
            count += self._insert(table, COLUMNS[table], plain)
        for table, items in replacing.items():  # later: tombstones look for what was stored
            live, dead = self._settle(table, items)
            count += self._insert(table, COLUMNS[table], live)
            count += self._insert(table, (*_KEYS[table], "log_partition", "log_offset", "version", "is_deleted"), dead)
        return count

    def query(self, sql: str, params: Any = None) -> list[Row]:
        """Rows of a query, tried again like an insert."""
        with self._line() as line:
            return line.query(sql, params)

    def _insert(self, table: str, columns: tuple[str, ...], rows: Sequence[Row | Packed]) -> int:
        if not rows:
            return 0
        with self._line() as line:
            return line.insert(self._table(table), columns, rows)

    def _settle(self, table: str, items: list[Replacing]) -> tuple[list[Row], list[Row]]:
        """The newest of each key, as (live rows, tombstones).

        A tombstone in the log has no version of its own: it gets its predecessor's plus one, the newest of those among these items and in
        the store. Where that is a stored row from further on in the log the tombstone is read again, and void.
        """
        best: dict[tuple[str, ...], Replacing] = {}
        gone: dict[tuple[str, ...], Replacing] = {}
        for item in items:
            before = best.get(item.key)
            if item.row is None:
                gone[item.key] = item
            elif before is None or item.version >= before.version:
                best[item.key] = item
                gone.pop(item.key, None)
        stored = {key: (version, offset) for key, version, offset in self._stored(table, list(gone))}
        dead = []
        for key, item in gone.items():
            version, offset = stored.get(key, (-1, -1))
            before = best.pop(key, None)
            if before is not None and before.version >= version:
                version, offset = before.version, before.offset
            if version >= 0 and offset <= item.offset:  # at its own offset it is this tombstone itself, stored before
                dead.append((*typed(table, key), item.partition, item.offset, version + (offset < item.offset), 1))
        return [item.row for item in best.values() if item.row is not None], dead

    def _stored(self, table: str, keys: list[tuple[str, ...]]) -> Iterable[tuple[tuple[str, ...], int, int]]:
        names, stored = ", ".join(_KEYS[table]), self._table(table)
        for at in range(0, len(keys), _CHUNK):
            found = self.query(
                f"SELECT {names}, max(version), argMax(log_offset, version) FROM {stored} WHERE ({names}) IN %(keys)s GROUP BY {names}",
                {"keys": [typed(table, key) for key in keys[at : at + _CHUNK]]},
            )
            for *key, version, offset in found:
                yield tuple(str(part) for part in key), version, offset


def typed(table: str, key: tuple[str, ...]) -> tuple[Any, ...]:
    """A key of text as the values of its columns."""
    return key if table == PROGRESS else (*key[:2], date.fromisoformat(key[2]))
