"""What ClickHouse and the output topics show, in the terms of `expected.py`, and the differences between the two."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from clickhouse_driver import Client

from tests.chaos.expected import LogRecord, Row, Rows
from tests.committed import committed

KEYS = {
    "marts.learner_progress": ("programme", "learner_id"),
    "marts.course_progress": ("programme", "learner_id", "course_id"),
    "marts.needs_attention": ("programme", "learner_id", "kind", "ref"),
    "store.days": ("programme", "learner_id", "day"),
    "marts.unit_progress": ("programme", "unit_id"),
    "marts.activity_daily": ("programme", "unit_id", "day"),
    "marts.data_quality": ("programme", "kind", "subject"),
}
IN_KEY_TOO = {"marts.learner_progress": ("programme", "learner_id")}
NOT_COMPARED = {"marts.learner_progress": {"updated_at"}, "store.days": {"log_partition", "log_offset", "version", "is_deleted"}}
PARTITIONS = 4


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return value.isoformat() if isinstance(value, date) else value


def table(client: Client, name: str) -> Rows:
    """All rows of a relation; nothing is left out but what `NOT_COMPARED` names."""
    suffix = " FINAL WHERE credited_seconds > 0 OR active = 1" if name == "store.days" else ""
    rows, columns = client.execute(f"SELECT * FROM {name}{suffix}", with_column_types=True)
    names = [column for column, _ in columns]
    found: Rows = {}
    for values in rows:
        row = dict(zip(names, map(_value, values), strict=True))
        key = tuple(row[one] for one in KEYS[name])
        for one in (*NOT_COMPARED.get(name, ()), *(() if name in IN_KEY_TOO else KEYS[name])):
            del row[one]
        if "explanation" in row:
            row["explanation"] = json.loads(row["explanation"])
        found[key] = row
    return found


def events(client: Client) -> Rows:
    """`marts.events` with the digest, which only the table behind it shows, as part of the key."""
    answer = client.execute(
        "SELECT e.programme, e.learner_id, e.source, e.event_id, s.digest, e.type, e.course_id, e.time, e.ingested_at, e.partition,"
        " e.offset, e.data FROM marts.events AS e LEFT JOIN (SELECT * FROM store.events FINAL) AS s"
        " ON s.log_partition = e.partition AND s.log_offset = e.offset"
    )
    names = ("type", "course_id", "time", "ingested_at", "partition", "offset", "data")
    found: Rows = {}
    for *key, kind, course, time, ingested, partition, offset, data in answer:
        values = (kind, course, _value(time), _value(ingested), partition, offset, json.loads(data, parse_float=Decimal))
        found[tuple(key)] = dict(zip(names, values, strict=True))
    return found


def differences(name: str, right: Mapping[tuple[Any, ...], Row], shown: Mapping[tuple[Any, ...], Row]) -> list[str]:
    """A text for every row and column that differs."""
    found = []
    for key in sorted(right.keys() | shown.keys(), key=str):
        mine, theirs = right.get(key), shown.get(key)
        place = f"{name} {' '.join(map(str, key))}"
        if mine is None or theirs is None:
            found.append(f"{place}: {'is too much' if mine is None else 'is missing'}")
            continue
        for column in sorted(mine.keys() | theirs.keys()):
            if mine.get(column) != theirs.get(column):
                found.append(f"{place}: {column} is {theirs.get(column)!r}, not {mine.get(column)!r}")
    return found


async def _read(bootstrap: str, topic: str) -> list[LogRecord]:
    found = await committed(bootstrap, topic, PARTITIONS)
    return [LogRecord(one.partition, one.offset, one.key or b"", one.value or b"", one.timestamp) for one in found]


def read(bootstrap: str, topic: str, seconds: float = 40) -> list[LogRecord]:
    """All committed records of a topic. Raises TimeoutError, and aiokafka's errors where the broker is away."""
    return asyncio.run(asyncio.wait_for(_read(bootstrap, topic), seconds))


def exactly_once(bootstrap: str, unsound: Sequence[LogRecord], open_flags: Mapping[tuple[Any, ...], Row]) -> tuple[int, list[str]]:
    """What the output topics have to look like whatever died: (records looked at, what is wrong).

    Each unsound record is refused once; a row's version only grows; and the log of flags, played from its start, never raises what is
    open or ends what is not, and ends with what is open now.
    """
    wrong: list[str] = []
    refused = [json.loads(one.value)["origin"] for one in read(bootstrap, "learning.rejected")]
    origins = sorted((one["partition"], one["offset"]) for one in refused)
    if origins != sorted((one.partition, one.offset) for one in unsound):
        wrong.append(f"learning.rejected names {len(origins)} records ({len(set(origins))} different), of {len(unsound)} unsound ones")
    versions: dict[bytes, list[int]] = {}
    progress = read(bootstrap, "learning.progress")
    for one in progress:
        version = json.loads(one.value)["version"] if one.value else [0]
        if version <= versions.get(one.key, []) and one.value:
            wrong.append(f"learning.progress:{one.partition}:{one.offset} {one.key!r} has version {version} after {versions[one.key]}")
        versions[one.key] = version
    changes = read(bootstrap, "learning.attention")
    standing: dict[tuple[str, ...], tuple[str, str]] = {}
    for one in changes:
        change = json.loads(one.value)
        key = tuple(change[name] for name in ("programme", "learner_id", "kind", "ref"))
        text = f"learning.attention:{one.partition}:{one.offset} {key}"
        if (change["change"] == "raised") == (key in standing):
            wrong.append(f"{text}: {change['change']} while the log has it {'open' if key in standing else 'not open'}")
        if change["change"] in ("cleared", "retracted"):
            standing.pop(key, None)
        else:
            standing[key] = (change["severity"], change["owner_level"])
    right = {key: (row["severity"], row["owner_level"]) for key, row in open_flags.items()}
    for key in sorted(right.keys() | standing.keys(), key=str):
        if right.get(key) != standing.get(key):
            wrong.append(f"learning.attention {key}: the log ends with {standing.get(key)}, open is {right.get(key)}")
    return len(refused) + len(progress) + len(changes), wrong
