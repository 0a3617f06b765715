"""Small tables of reporting's own (SQLite): each transaction takes the write lock at its start, so they happen one by one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event


def sqlite(url: str) -> Engine:
    """An engine whose `begin()` is a `BEGIN IMMEDIATE`, also between processes, and whose commits survive a crash."""
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA busy_timeout=10000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
