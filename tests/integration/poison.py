"""Records that nobody should write, how they get into the log, and what must come of them."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka import KafkaProducer

from schemas.programme import load_programmes
from schemas.reading import partition_of
from services.scoring.learners import State
from services.scoring.partition import Partition
from services.shared.clock import parse_clock
from services.shared.directory import Directory
from tests.integration.test_loader import Run, event
from tests.integration.test_scoring import CLOCK, PARTITIONS, plain

ACTIVITY, DIRECTORY = "learning.activity", "organisation.directory"
MEGABYTE = 1 << 20
MOST = 2_000_000
"""Bytes: about as large as the topic takes one."""
ABORTED_ONLY, EMPTY = 2, 3
"""Partitions: one holds nothing but an aborted transaction, one nothing at all; all else lies on 0 and 1."""
INGESTED = 1_688_860_800_000  # 2023-07-09, as `event` stamps
FIRST, LAST = "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"


@dataclass(frozen=True)
class Poison:
    """A record and what is wrong with it, as (pointer, code); none: it is sound. `partition` None: where its key belongs."""

    name: str
    value: bytes | None
    wrong: tuple[tuple[str, str], ...] = (("", "not_json"),)
    key: bytes | None = b"p-0"
    partition: int | None = None
    timestamp: int = INGESTED
    headers: tuple[tuple[str, bytes], ...] = ()


def learner_on(partition: int, prefix: str) -> str:
    """The first learner of a series who belongs on a partition."""
    return next(name for name in (f"{prefix}-{n}" for n in range(10_000)) if partition_of(name.encode(), PARTITIONS) == partition)


HERE, NEAR = learner_on(0, "p"), learner_on(1, "q")
FAR = learner_on(EMPTY, "far")


def visited(id: str, learner: str = HERE, time: str = "2023-06-20T00:00:00Z", **more: Any) -> bytes:
    item = json.loads(event(learner, id, "platform.visited", {}, time))
    item |= more
    return json.dumps({name: value for name, value in item.items() if value != "drop"}).encode()


def studied(id: str, started: str, ended: str, learner: str = HERE) -> bytes:
    data = {"course_id": "c-reading", "started_at": started, "ended_at": ended, "channel": "online"}
    return event(learner, id, "study.recorded", data, started)


def unknown(field: str) -> tuple[str, str]:
    return "/data/" + field, "unknown_field"


def poisons() -> list[Poison]:
    """The worst first: where one of these stops the pipe, nothing behind it is scored."""
    chance = random.Random(5)
    key, wrong_place = HERE.encode(), (("", "wrong_partition"),)
    controls = bytes(chance.choices(range(1, 32), k=MOST))
    fields = {f"f{n}": 0 for n in range(100_000)}
    late = studied("2099", "2099-12-31T22:00:00Z", "2099-12-31T23:00:00Z").replace(b"2023-07-09T00:00:00.000Z", b"2099-12-31T23:59:59Z")
    return [
        Poison("no value", None, key=key),
        Poison("no value and no key", None, key=None, partition=0),
        Poison("empty", b"", key=key),
        Poison("1 MB of random bytes", chance.randbytes(MEGABYTE), key=key),
        Poison("2 MB of control characters, which JSON writes in six bytes each", controls, key=key),
        Poison("1 MB of NUL", bytes(MEGABYTE), key=key),
        Poison("100,000 unknown fields", visited("fields", data=fields), tuple(unknown(name) for name in sorted(fields)), key=key),
        Poison("1 MB of one field's name", visited("name", data={"x" * MEGABYTE: 1}), (unknown("x" * MEGABYTE),), key=key),
        Poison("a lone surrogate in a field's name", visited("name-2", data={"\ud800": 1}), (unknown("?"),), key=key),
        Poison("100,000 brackets", b"[" * 100_000, key=key),
        Poison("65 deep", b'{"a":' * 65 + b"1" + b"}" * 65, key=key),
        Poison("a whole number of 100,000 digits", b"9" * 100_000, (("", "wrong_type"),), key=key),
        Poison("NUL in an id", visited("a\0b"), (("/id", "bad_format"),), key=key),
        Poison("a lone surrogate", visited("a\ud800b"), (("/id", "bad_format"),), key=key),
        Poison("key not UTF-8", visited("key-1"), wrong_place, key=b"\xff\xfe\x00", partition=0),
        Poison("key of 500 KB", visited("key-2"), wrong_place, key=b"\xff" * 500_000, partition=1),
        Poison("no key", visited("key-3"), wrong_place, key=None, partition=0),
        Poison("key of another subject", visited("key-4"), wrong_place, key=learner_on(0, "other").encode()),
        Poison("key that hashes elsewhere", visited("key-5", FAR), wrong_place, key=FAR.encode(), partition=0),
        Poison("a type of a later version", visited("v2", type="chalkstream.platform.visited.v2"), (("/type", "unknown_type"),), key=key),
        Poison("an unknown type", visited("odd", type="org.example.odd"), (("/type", "unknown_type"),), key=key),
        Poison("a unit among learners", unit(HERE), (("/type", "unknown_type"),), key=key),
        Poison("the year 9999", visited("9999", time=LAST), (("/time", "out_of_range"),), key=key),
        Poison("the year 1969", visited("1969", time="1969-12-31T23:59:59Z"), (("/time", "out_of_range"),), key=key),
        Poison("ingested_at that is no instant", visited("in-1", ingested_at="soon"), (("/ingested_at", "bad_format"),), key=key),
        Poison("ingested_at of the year 9999", visited("in-2", ingested_at=LAST), (("/ingested_at", "out_of_range"),), key=key),
        Poison("ingested_at that is a list", visited("in-3", ingested_at=[1] * 1000), (("/ingested_at", "wrong_type"),), key=key),
        Poison("timestamp 0 and no ingested_at", visited("ts-0", ingested_at="drop"), (("/time", "in_future"),), key=key, timestamp=0),
        # Sound ones, however odd.
        Poison("1970", visited("1970", time=FIRST), (), key=key),
        Poison("study in 1970", studied("1970-s", FIRST, "1970-01-01T00:10:00Z"), (), key=key),
        Poison("timestamp 0", visited("ts-1970", time=FIRST, ingested_at="drop"), (), key=key, timestamp=0),
        Poison("no timestamp", visited("ts-none", time=FIRST, ingested_at="drop"), (), key=key, timestamp=-1),
        Poison("timestamp without end", visited("ts-far", ingested_at="drop"), (), key=key, timestamp=(1 << 62)),
        Poison("study in 2099", late, (), key=key),
        Poison("1 MB in an extension", visited("big", extension="y" * MEGABYTE), (), key=key),
        Poison("1 MB of blanks in data", visited("blanks").replace(b'"data": {}', b'"data": {' + b" " * MEGABYTE + b"}"), (), key=key),
        Poison("headers", visited("headers"), (), key=key, headers=(("traceparent", b"\xff\0"), ("", b""))),
        Poison("an unknown programme", visited("programme", programme="no-such-programme"), (), key=key),
    ]  # fmt: skip


def unit(name: str) -> bytes:
    item = json.loads(event(name, f"u-{name}", "unit.declared", {"unit_id": name, "level": "province", "name": name, "parent_id": None}))
    del item["programme"]
    return json.dumps(item).encode()


def neighbours() -> list[tuple[bytes, bytes]]:
    """Sound records of learners on the partitions of the poison, as (key, value)."""
    rows = []
    for learner in (HERE, NEAR, *(learner_on(partition, f"n{n}") for partition in (0, 1) for n in range(6))):
        rows += [
            event(learner, f"{learner}-r", "learner.registered", {"class_id": "c"}, "2023-06-02T00:00:00Z"),
            event(learner, f"{learner}-s", "course.selected", {"course_id": "c-reading"}, "2023-06-02T01:00:00Z"),
        ]
        rows += [studied(f"{learner}-{n}", f"2023-06-{n:02d}T08:00:00Z", f"2023-06-{n:02d}T08:{n:02d}:00Z", learner) for n in range(5, 13)]
    return [(json.loads(row)["subject"].encode(), row) for row in rows]


class Log:
    """Writes records as they are, and remembers where each came to lie."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.places: dict[tuple[int, int], Poison] = {}

    async def write(self, records: list[Poison], codec: str | None = None) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", compression_type=codec, max_request_size=4 * MEGABYTE)
        await producer.start()
        try:
            for one in records:
                partition = partition_of(one.key or b"", PARTITIONS) if one.partition is None else one.partition
                batch = producer.create_batch()  # `send` would refuse some of them
                batch.append(key=one.key, value=one.value, timestamp=one.timestamp, headers=list(one.headers))
                sent = await (await producer.send_batch(batch, ACTIVITY, partition=partition))
                self.places[partition, sent.offset] = one
        finally:
            await producer.stop()

    def sound(self) -> dict[tuple[int, int], Poison]:
        return {place: one for place, one in self.places.items() if not one.wrong}

    def refused(self) -> dict[tuple[int, int], Poison]:
        return {place: one for place, one in self.places.items() if one.wrong}


def as_records(rows: list[tuple[bytes, bytes]]) -> list[Poison]:
    return [Poison("neighbour", value, (), key) for key, value in rows]


def interleaved(first: list[Poison], second: list[Poison]) -> list[Poison]:
    """Both in their own order, evenly mixed."""
    ranked = [((at + 0.5) / len(some), one) for some in (first, second) for at, one in enumerate(some)]
    return [one for _, one in sorted(ranked, key=lambda pair: pair[0])]


def expected(log: Log, folder: Path) -> dict[str, dict[str, object]]:
    """What learning.progress has to say: from the sound records alone, counted in one go, without Kafka."""
    found: dict[str, dict[str, object]] = {}
    programmes, now = load_programmes(folder), parse_clock(CLOCK).now()
    for number in range(PARTITIONS):
        mine = [one for (partition, _), one in sorted(log.sound().items()) if partition == number]
        records = [SimpleNamespace(offset=at, key=one.key, value=one.value, timestamp=one.timestamp) for at, one in enumerate(mine)]
        if records:
            part = Partition.of(number, PARTITIONS, programmes, Directory(), "", State(), 0)
            rows = part.apply(records, now)
            found |= {(key or b"").decode(): json.loads(value or b"") for key, value in rows["learning.progress"]}
            assert not rows["learning.rejected"]
    return plain(found)


def abort(bootstrap: str, partition: int, learner: str) -> None:
    """A transaction that leaves records nobody may see, and a marker behind them."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"foreign-{partition}", acks="all", enable_idempotence=True)
    producer.init_transactions()
    producer.begin_transaction()
    for n in range(3):
        producer.send(ACTIVITY, visited(f"aborted-{n}", learner), key=learner.encode(), partition=partition)
    producer.flush()
    producer.abort_transaction()
    producer.close()


def ends_of(run: Run, topic: str, partitions: int) -> dict[str, int]:
    async def ask() -> dict[str, int]:
        consumer = AIOKafkaConsumer(bootstrap_servers=run.values.bootstrap)
        await consumer.start()
        try:
            found = await consumer.end_offsets([TopicPartition(topic, number) for number in range(partitions)])
        finally:
            await consumer.stop()
        return {f"{tp.topic}:{tp.partition}": end for tp, end in found.items()}

    return asyncio.run(ask())


def wait_for_the_end(run: Run, seconds: float = 60) -> None:
    """Until every relation claims the log's ends, transaction markers included."""
    run.sent = {**ends_of(run, ACTIVITY, PARTITIONS), **ends_of(run, DIRECTORY, 1)}
    for relation in ("learner_progress", "events", "data_quality", "unit_progress"):
        wanted = dict(run.sent)
        found: dict[str, int] = {}
        until = time.monotonic() + seconds
        while not all(found.get(place, 0) >= wanted[place] for place in found or wanted):
            assert all(child.poll() is None for child in run.running.values()), run.logs()
            assert time.monotonic() < until, f"{relation}: {found} of {wanted}\n{run.logs()}"
            time.sleep(0.1)
            found = run._applied(relation)
