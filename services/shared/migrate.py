"""Numbered migrations of ClickHouse: `schemas/clickhouse/NNNN_*.sql`, applied once each, in order, never edited once landed.

A file holds statements separated by lines `-- ;;`. Each statement may be repeated (`IF NOT EXISTS`), because a crash
between a statement and the note that its file is applied means that the file is applied again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from clickhouse_driver import Client

FOLDER = Path(__file__).resolve().parents[2] / "schemas" / "clickhouse"
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_SEPARATOR = re.compile(r"^-- ;;[ \t]*$", re.MULTILINE)


class MigrationError(Exception):
    """The files and what the database has applied do not fit together."""


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self) -> list[str]:
        return [part.strip() for part in _SEPARATOR.split(self.text) if part.strip()]


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """The files by number. Raises MigrationError naming a file whose name is wrong or a number that is missing or double."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        if path.name == "schema.sql":
            continue
        match = _NAME.fullmatch(path.name)
        if not match:
            raise MigrationError(f"{path}: expected a name like 0003_what_it_does.sql")
        found.append(Migration(int(match[1]), path.name, path.read_text(encoding="utf-8")))
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise MigrationError(f"{folder / migration.name}: expected number {expected:04}")
    return found


def migrate(client: Client, folder: Path = FOLDER) -> list[str]:
    """Apply what is missing; returns the names applied now.

    Raises MigrationError where an applied file has changed since, or where the database is newer than the files.
    """
    client.execute("CREATE DATABASE IF NOT EXISTS store")
    client.execute(
        "CREATE TABLE IF NOT EXISTS store.migrations (number UInt32 COMMENT 'number of the file',"
        " name String COMMENT 'its name', digest String COMMENT 'SHA-256 of its text',"
        " applied_at DateTime64(3, 'UTC') COMMENT 'real time')"
        " ENGINE = ReplacingMergeTree ORDER BY number COMMENT 'migrations applied to this server'"
    )
    rows = client.execute("SELECT number, name, digest FROM store.migrations FINAL ORDER BY number")
    applied = {int(number): (str(name), str(digest)) for number, name, digest in rows}
    known = migrations(folder)
    if applied and max(applied) > len(known):
        raise MigrationError(f"{folder}: the database has applied {applied[max(applied)][0]}, which is not here; update this checkout")
    done = []
    for migration in known:
        before = applied.get(migration.number)
        if before is not None:
            if before[1] != migration.digest:
                raise MigrationError(
                    f"{folder / migration.name}: changed after it was applied (as {before[0]}); put it back and add a new number"
                )
            continue
        for statement in migration.statements():
            client.execute(statement)
        client.execute(
            "INSERT INTO store.migrations SELECT %(number)s, %(name)s, %(digest)s, now64(3)",
            {"number": migration.number, "name": migration.name, "digest": migration.digest},
        )
        done.append(migration.name)
    return done
