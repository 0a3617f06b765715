"""Scoring on a real broker: killed again and again, started under new rules, pushed aside by a new owner."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ProducerFenced

from schemas.programme import load_programmes
from schemas.reading import partition_of
from schemas.topics import load_topics
from services.scoring.learners import State
from services.scoring.partition import Partition
from services.scoring.writer import Writer
from services.shared.clock import parse_clock
from services.shared.directory import Directory
from services.shared.kafka import ensure_topics
from services.shared.settings import ROOT, Settings
from services.shared.stream import Batch, BatchApp
from tests.committed import committed
from tests.integration.local_stack import environment, local_stack

pytestmark = pytest.mark.servers

CLOCK = "2023-12-04T21:30:00+08:00@0"
PARTITIONS = 4


@pytest.fixture(scope="module")
def values() -> Iterator[Settings]:
    with local_stack() as made, ending_workers():
        ensure_topics(made.bootstrap, load_topics(), 1)
        yield made


def event(number: int, kind: str, learner: str, at: str, data: dict[str, object]) -> dict[str, object]:
    return {
        "specversion": "1.0", "id": f"e-{number}", "source": "/platforms/test", "type": f"chalkstream.{kind}.v1", "subject": learner,
        "time": at, "programme": "zhuozhou-2023", "data": data, "ingested_at": "2023-12-04T13:30:00.000Z",
    }  # fmt: skip


def history(seed: int, learners: int, size: int) -> list[tuple[bytes, bytes]]:
    """Keys and values of records of every common kind, with duplicates and some garbage."""
    chance = random.Random(seed)
    courses = list(load_programmes(ROOT / "schemas" / "programmes")["zhuozhou-2023"].courses)
    rows: list[tuple[bytes, bytes]] = []
    for number in range(size):
        learner = f"t-{chance.randrange(learners)}"
        course = chance.choice(courses)
        day, minute = chance.randrange(1, 29), chance.randrange(0, 600)
        at = f"2023-{chance.randrange(6, 12):02d}-{day:02d}T{10 + minute // 60:02d}:{minute % 60:02d}:00+08:00"
        kind, data = chance.choice(
            [
                ("course.selected", {"course_id": course}),
                ("learner.registered", {"class_id": f"c-{chance.randrange(5)}"}),
                (
                    "study.recorded",
                    {"course_id": course, "started_at": at, "ended_at": at.replace(":00+08", ":59+08"), "channel": "online"},
                ),
                (
                    "assignment.graded",
                    {
                        "course_id": course,
                        "assignment_id": f"a{chance.randrange(3)}",
                        "score": chance.randrange(101) / 100,
                        "grader_id": "g",
                    },
                ),
                ("post.published", {"course_id": course, "post_id": f"p{number}", "kind": chance.choice(["question", "reply"])}),
            ]
        )
        rows.append((learner.encode(), json.dumps(event(number, kind, learner, at, data)).encode()))
        if chance.random() < 0.1:
            rows.append(chance.choice(rows))
        if chance.random() < 0.01:
            rows.append((learner.encode(), b"\xffgarbage"))
    return rows


async def send(bootstrap: str, rows: list[tuple[bytes, bytes]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    for key, value in rows:
        await producer.send("learning.activity", value, key=key, partition=partition_of(key, PARTITIONS))
    await producer.stop()


async def read(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> list[tuple[int, bytes, bytes | None]]:
    """All committed records as (partition, key, value)."""
    return [(one.partition, one.key, one.value) for one in await committed(bootstrap, topic, partitions)]


def last_values(rows: list[tuple[int, bytes, bytes | None]]) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for _, key, value in rows:
        if value is None:
            found.pop(key.decode(), None)
        else:
            found[key.decode()] = json.loads(value)
    return found


def plain(values: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    return {key: {name: item for name, item in value.items() if name not in ("version", "updated_at")} for key, value in values.items()}


def recount(rows: list[tuple[bytes, bytes]], folder: Path) -> dict[str, dict[str, object]]:
    """What progress must say, from the records in another order and in one go."""
    programmes = load_programmes(folder)
    expected: dict[str, dict[str, object]] = {}
    now = parse_clock(CLOCK).now()
    for number in range(PARTITIONS):
        mine = [(key, value) for key, value in rows if partition_of(key, PARTITIONS) == number]
        mine.sort(key=lambda row: row[1])
        part = Partition.of(number, PARTITIONS, programmes, Directory(), "", State(), 0)
        records = [SimpleNamespace(offset=at, key=key, value=value, timestamp=0) for at, (key, value) in enumerate(mine)]
        for _, value in part.apply(records, now).get("learning.progress", []):
            one = json.loads(value or b"")
            expected[f"{one['programme']}|{one['learner_id']}"] = one
    return plain(expected)


class Worker:
    """`python -m services.scoring` as a child process."""

    all: ClassVar[list[Worker]] = []

    def __init__(self, values: Settings, **more: str) -> None:
        self._env = environment(values, CHALK_CLOCK=CLOCK, CHALK_SCORING_METRICS_PORT="0", **more)
        self._log = values.data / "scoring-test.log"
        self.all.append(self)
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "services.scoring"], cwd=ROOT, env=self._env, stdout=out, stderr=out)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@contextmanager
def ending_workers() -> Iterator[None]:
    """Workers that a failing test leaves behind would join the group of the next test's, whose broker may have the same port."""
    try:
        yield
    finally:
        for worker in Worker.all:
            if worker.process.poll() is None:
                worker.kill()
        Worker.all.clear()


def wait_applied(bootstrap: str, ends: dict[int, int], epoch: int = 0, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while True:
        words = last_values(asyncio.run(read(bootstrap, "learning.watermarks", 1)))
        applied = {w["partition"]: w["applied"] for w in words.values() if w["epoch"] >= epoch}  # type: ignore[operator]
        if all(applied.get(number, 0) >= end for number, end in ends.items()):  # type: ignore[operator]
            return
        assert time.monotonic() < until, (applied, ends)
        time.sleep(0.3)


def end_of(rows: list[tuple[bytes, bytes]]) -> dict[int, int]:
    ends = dict.fromkeys(range(PARTITIONS), 0)
    for key, _ in rows:
        ends[partition_of(key, PARTITIONS)] += 1
    return ends


def test_kills_change_no_total_and_new_rules_rebuild_in_silence(values: Settings, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(ROOT / "schemas" / "programmes", rules)
    rows = history(7, 60, 3000)
    worker = Worker(values, CHALK_PROGRAMMES=str(rules))
    chance = random.Random(11)
    for at in range(0, len(rows), 600):
        asyncio.run(send(values.bootstrap, rows[at : at + 600]))
        time.sleep(chance.uniform(0.5, 4))
        worker.kill()
        worker.start()
    wait_applied(values.bootstrap, end_of(rows))
    progress = asyncio.run(read(values.bootstrap, "learning.progress"))
    assert plain(last_values(progress)) == recount(rows, rules)

    rejected = [json.loads(value or b"")["origin"]["offset"] for _, _, value in asyncio.run(read(values.bootstrap, "learning.rejected"))]
    garbage = sum(value == b"\xffgarbage" for _, value in rows)
    assert garbage > 5
    assert len(rejected) == garbage  # each once, though scoring was killed five times

    versions: dict[bytes, list[int]] = {}
    for _, key, value in progress:
        version = json.loads(value or b"")["version"]
        assert versions.get(key, []) < version
        versions[key] = version

    # New rules: the next epoch, the same log, other totals; nobody is ever shown totals of half a log.
    worker.stop()
    before = asyncio.run(read(values.bootstrap, "learning.attention"))
    path = rules / "zhuozhou-2023.yaml"
    text = path.read_text()
    assert "points_each: 7.5" in text
    path.write_text(text.replace("points_each: 7.5", "points_each: 5").replace("rules_version: 2", "rules_version: 3"))
    worker = Worker(values, CHALK_PROGRAMMES=str(rules))
    wait_applied(values.bootstrap, end_of(rows), epoch=2)
    worker.stop()
    again = asyncio.run(read(values.bootstrap, "learning.progress"))
    assert plain(last_values(again)) == recount(rows, rules)
    published = [json.loads(value or b"") for _, _, value in again[len(progress) :]] if again[: len(progress)] == progress else None
    if published is not None:
        assert {one["version"][0] for one in published} == {2}
    assert len(asyncio.run(read(values.bootstrap, "learning.rejected"))) == garbage
    assert len(asyncio.run(read(values.bootstrap, "learning.attention"))) == len(before)  # no flag changed, so nothing is logged again


async def push_aside(bootstrap: str) -> None:
    old = Writer(bootstrap, 3)
    await old.start()
    await old.write({"learning.days": [(b"k", b'"old"')]}, lambda _: {})
    new = Writer(bootstrap, 3)
    await new.start()
    with pytest.raises(ProducerFenced):
        await old.write({"learning.days": [(b"k", b'"zombie"')]}, lambda _: {})
    await new.write({"learning.days": [(b"k", b'"new"')]}, lambda _: {})
    await new.stop()


def test_a_former_owner_can_write_nothing(values: Settings) -> None:
    asyncio.run(push_aside(values.bootstrap))
    written = [value for _, key, value in asyncio.run(read(values.bootstrap, "learning.days")) if key == b"k"]
    assert written == [b'"old"', b'"new"']


def test_batches_skip_transaction_markers_and_come_again_until_acknowledged(values: Settings) -> None:
    """Five transactions leave offset gaps; a batch that was never acknowledged is read again by the next consumer."""

    topic = "test-markers"

    async def body() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=values.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        await admin.close()
        writer = Writer(values.bootstrap, 2)
        await writer.start()
        for _ in range(5):
            await writer.write({topic: [(b"k%d" % n, b"{}") for n in range(10)]}, lambda _: {})
        await writer.stop()
        assert await consumed(acknowledge=False) == 50
        assert await consumed(acknowledge=True) == 50
        assert await consumed(acknowledge=True, seconds=4) == 0

    async def consumed(acknowledge: bool, seconds: float = 20) -> int:
        seen = 0

        async def handle(batch: Batch) -> None:
            nonlocal seen
            if batch.partition == 2:
                seen += len(batch.records)
            if acknowledge:
                batch.ack()
            else:
                batch.drop()

        app = BatchApp("test-markers", values.bootstrap, {topic: handle}, folder=values.data)
        await app.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until and seen < 50:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        await app.app.stop()
        return seen

    asyncio.run(body())
