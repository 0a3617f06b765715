"""What the loader would store of a log, taken from the loader itself: the very rows that clickhouse-driver alone is then given."""

from __future__ import annotations

import asyncio
import hashlib
import time
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from clickhouse_driver import Client
from kafka import KafkaConsumer, TopicPartition

from schemas.topics import load_topics
from services.reporting.loader.activity import COLUMNS, INCOMING, RECORDS
from services.reporting.loader.loader import TOPICS, Loader
from services.reporting.loader.sink import Sink
from services.shared.clickhouse import Mixed
from services.shared.clock import Clock
from services.shared.stream import Batch
from tests.unpacked import values

_AT_ONCE = 10_000


class Inserts(NamedTuple):
    """Of one table of `store`: the statement, and its columns as lists of values."""

    table: str
    sql: str
    columns: list[list[Any]]

    @property
    def rows(self) -> int:
        return len(self.columns[0])


class _Recorder:
    """Stands where the loader's connection would: keeps what is inserted, and has nothing stored when asked."""

    def __init__(self) -> None:
        self.kept: dict[str, Inserts] = {}

    def execute(self, sql: str, data: Any = None, columnar: bool = False) -> list[Any]:
        if columnar:
            table = sql.split()[2].removeprefix("store.")
            kept = self.kept.setdefault(table, Inserts(table, sql, [[] for _ in data]))
            if kept.sql != sql:
                raise RuntimeError(f"{table}: tombstones, which this log should not have")
            for column, given in zip(kept.columns, data, strict=True):
                column += given.values if isinstance(given, Mixed) else given
                for packed in given.packed if isinstance(given, Mixed) else ():
                    column += values(*packed)
        return []


async def captured(bootstrap: str, topics: tuple[str, ...]) -> list[Inserts]:
    """Read the topics to their ends, through the loader's own code, up to where it would touch ClickHouse."""
    recorder = _Recorder()
    partitions = {name: load_topics()[name].partitions for name in TOPICS}
    metrics: Any = SimpleNamespace(pending=SimpleNamespace(set=lambda _: None), stored=lambda *_: None)
    loader = Loader(Sink(cast(Client, recorder)), partitions, Clock(), metrics)
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest", enable_auto_commit=False
    )
    try:
        places = [TopicPartition(topic, part) for topic in topics for part in range(partitions[topic])]
        consumer.assign(places)
        consumer.seek_to_beginning()
        ends, quiet = consumer.end_offsets(places), time.monotonic()
        while any(consumer.position(place) < end for place, end in ends.items()):
            for place, records in consumer.poll(timeout_ms=200, max_records=_AT_ONCE).items():
                await loader.handle(Batch(place.topic, place.partition, cast(Any, list(records)), lambda: None, lambda: None))
                await loader.flush()
                quiet = time.monotonic()
            if time.monotonic() - quiet > 30:
                raise RuntimeError(f"no record for 30 s, short of {ends}")
    finally:
        consumer.close()
    return [kept for table, kept in recorder.kept.items() if table != "watermarks"]


EVENTS = (
    "programme", "learner_id", "source", "event_id", "digest", "type", "course_id", "time", "ingested_at", "data", "log_partition",
    "log_offset", "version",
)  # fmt: skip
DAY_MS = 86_400_000


def stored(incoming: Inserts) -> list[Inserts]:
    """What store.events and store.records hold of what came in: the loader leaves it to the server to work that out, the driver can't."""
    events: list[tuple[Any, ...]] = []
    records: list[tuple[Any, ...]] = []
    for row in zip(*incoming.columns, strict=True):
        one = dict(zip(COLUMNS[INCOMING], row, strict=True))
        digest = hashlib.sha256(one["content"].encode()).hexdigest()
        identity = hashlib.sha256(f"{one['source']}\0{one['event_id']}\0{digest}".encode()).digest()
        ingested, part, offset = one["ingested_ms"], one["log_partition"], one["log_offset"]
        version = ((1 << 64) - 1 - ingested) << 64 | (0xFFFF - part) << 48 | ((1 << 48) - 1 - offset)
        event = one | {"digest": digest, "time": one["time_ms"], "ingested_at": ingested, "version": version}
        record = one | {"event_key": int.from_bytes(identity[:16], "big"), "ingested_at": ingested, "unreadable": 0, "code": ""}
        record["late"] = int(ingested - one["own_ms"] > DAY_MS)
        events.append(tuple(event[name] for name in EVENTS))
        records.append(tuple(record[name] for name in COLUMNS[RECORDS]))
    return [
        Inserts(table, f"INSERT INTO store.{table} ({', '.join(names)}) VALUES", [list(column) for column in zip(*rows, strict=True)])
        for table, names, rows in (("events", EVENTS, events), ("records", COLUMNS[RECORDS], records))
    ]


def run_captured(bootstrap: str, topics: tuple[str, ...]) -> list[Inserts]:
    """What the tables of `store` hold after those topics, as inserts."""
    found = {one.table: one for one in asyncio.run(captured(bootstrap, topics))}
    return [*stored(found.pop("incoming")), *found.values()]
