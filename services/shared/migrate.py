"""Numbered migrations of ClickHouse: `schemas/clickhouse/NNNN_*.sql`, applied once each, in order, never edited once landed.

A file holds statements separated by lines `-- ;;`. Each statement may be repeated (`IF NOT EXISTS`), because a crash
between a statement and the note that its file is applied means that the file is applied again.

A shadow generation gets the same statements with the names of its own databases, but for those that make or change a table that is
there once for all of them (`services.shared.generation`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from clickhouse_driver import Client

from services.shared.generation import LIVE, OWN_TABLES, Generation

FOLDER = Path(__file__).resolve().parents[2] / "schemas" / "clickhouse"
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_SEPARATOR = re.compile(r"^-- ;;[ \t]*$", re.MULTILINE)
_COMMENTS = re.compile(r"\A(?:--.*\n)+")
_RELATION = re.compile(r"\b(store|marts)\.(\w+)")
_DATABASE = re.compile(r"(?<=CREATE DATABASE IF NOT EXISTS )(store|marts)\b")
_WATERMARKS = "store.watermarks FINAL"


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

    def statements(self, generation: Generation = LIVE) -> list[str]:
        """What to execute for a generation, in order."""
        plain = [part.strip() for part in _SEPARATOR.split(self.text) if part.strip()]
        return [one for text in plain if (one := renamed(text, generation))]


def renamed(statement: str, generation: Generation) -> str:
    """A statement on the databases of a generation; '' where it is about a table that this generation shares with the others.

    Scoring's watermarks are a generation's own, the loader's about the log and the directory are of the shared tables.
    """
    if not generation.name:
        return statement
    text = _COMMENTS.sub("", statement)
    target = _RELATION.search(text)
    if target and not text.startswith("CREATE DATABASE") and target[1] == "store" and target[2] not in OWN_TABLES:
        return ""
    columns = "SELECT kind, partition, applied, as_of, version FROM"
    both = (
        f"({columns} {generation.table('store.watermarks')} FINAL WHERE kind = 'scoring'"
        f" UNION ALL {columns} @shared FINAL WHERE kind != 'scoring')"
    )
    text = _RELATION.sub(lambda found: generation.table(found[0]), text.replace(_WATERMARKS, both))
    names = {"store": generation.store, "marts": generation.marts}
    return _DATABASE.sub(lambda found: names[found[0]], text).replace("@shared", "store.watermarks")


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


def migrate(client: Client, folder: Path = FOLDER, generation: Generation = LIVE) -> list[str]:
    """Apply what is missing in a generation's databases; returns the names applied now. A shadow needs the live ones to be there.

    Raises MigrationError where an applied file has changed since, or where the database is newer than the files.
    """
    note = generation.table("store.migrations")
    client.execute(f"CREATE DATABASE IF NOT EXISTS {generation.store}")
    client.execute(
        f"CREATE TABLE IF NOT EXISTS {note} (number UInt32 COMMENT 'number of the file',"
        " name String COMMENT 'its name', digest String COMMENT 'SHA-256 of its text',"
        " applied_at DateTime64(3, 'UTC') COMMENT 'real time')"
        " ENGINE = ReplacingMergeTree ORDER BY number COMMENT 'migrations applied to this server'"
    )
    rows = client.execute(f"SELECT number, name, digest FROM {note} FINAL ORDER BY number")
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
        for statement in migration.statements(generation):
            client.execute(statement)
        client.execute(
            f"INSERT INTO {note} SELECT %(number)s, %(name)s, %(digest)s, now64(3)",
            {"number": migration.number, "name": migration.name, "digest": migration.digest},
        )
        done.append(migration.name)
    return done
