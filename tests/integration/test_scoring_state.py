"""State found again: from the disk's copy and the changelog's tail, after compaction, by another worker, and beside one that sleeps."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from schemas.topics import load_topics
from services.scoring.disk import OnDisk
from services.scoring.learners import InMemory, State
from services.scoring.recovery import Stores, recover
from services.scoring.store import STATE_TOPIC, Key, Meta, meta_row
from services.scoring.writer import Writer
from services.shared.generation import LIVE
from services.shared.kafka import ensure_topics
from services.shared.settings import ROOT, Settings
from tests.committed import committed
from tests.integration.local_stack import local_stack
from tests.integration.test_scoring import (
    PARTITIONS,
    Worker,
    end_of,
    ending_workers,
    history,
    last_values,
    plain,
    read,
    recount,
    send,
    wait_applied,
)

pytestmark = pytest.mark.servers
RULES = ROOT / "schemas" / "programmes"


@pytest.fixture
def values() -> Iterator[Settings]:
    with local_stack() as made, ending_workers():
        ensure_topics(made.bootstrap, load_topics(), 1)
        yield made


def configure(bootstrap: str, kind: ConfigResourceType, name: str, **config: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.alter_configs([ConfigResource(kind, name, configs={key.replace("_", "."): text for key, text in config.items()})])
    admin.close()


def score(values: Settings, rows: list[tuple[bytes, bytes]], begin: int, end: int) -> None:
    """Send these of the rows, of which those before are sent already, and wait until all of them are applied."""
    asyncio.run(send(values.bootstrap, rows[begin:end]))
    wait_applied(values.bootstrap, end_of(rows[:end]))


def cell(epoch: int, learner: str, name: str, value: bytes) -> tuple[bytes, bytes]:
    return f"p|{learner}|{name}".encode(), epoch.to_bytes(4, "big") + value


def everything(state: State) -> dict[Key, dict[str, bytes]]:
    """Every cell's bytes."""
    found = {}
    for key in state.learners.everybody():
        entry = state.learners.get(key)
        assert entry is not None
        found[key] = {name: entry.learner.encode(name) for name in entry.learner.names()}
    return found


def test_the_copy_on_disk_is_used_as_far_as_it_holds(values: Settings, tmp_path: Path) -> None:
    """The tail alone is read after a restart; everything where another epoch has come, or the topic was replaced."""
    stores, read_of = Stores(tmp_path, 1), []

    async def commit(*rows: tuple[bytes, bytes | None], epoch: int, born: str = "") -> None:
        writer = Writer(values.bootstrap, 1)
        await writer.start()
        await writer.write({STATE_TOPIC: [*rows, meta_row(Meta(epoch, "r", 0, born=born))]}, lambda _: {})
        await writer.stop()

    async def fence() -> None:
        """As every owner does first: only then has every transaction surely ended in each partition."""
        heir = Writer(values.bootstrap, 1)
        await heir.start()
        await heir.stop()

    async def both() -> tuple[int, dict[Key, dict[str, bytes]]]:
        """Records read by the one with a copy, and what both find."""
        read_of.clear()
        await fence()
        state = await recover(values.bootstrap, 1, LIVE, stores, lambda done, of: read_of.append(of))
        in_memory = await recover(values.bootstrap, 1)
        assert isinstance(state.learners, OnDisk) and isinstance(in_memory.learners, InMemory)
        assert (state.meta, state.broken, state.highest_epoch) == (in_memory.meta, in_memory.broken, in_memory.highest_epoch)
        found = everything(state)
        assert found == everything(in_memory)
        state.learners.close()
        return sum(set(read_of)), found

    def of(epoch: int, learner: str, *names: str) -> list[tuple[bytes, bytes]]:
        return [*(cell(epoch, learner, name, b"\x90") for name in names), cell(epoch, learner, "@published", b"{}")]

    async def body() -> None:
        await commit(*of(1, "a", "sum", "works"), *of(1, "b", "sum"), epoch=1)
        assert (await both())[0] >= 5
        assert (await both())[0] <= 1  # the marker
        await commit(*of(1, "c", "sum"), epoch=1)
        told, found = await both()
        assert told <= 5
        assert found.keys() == {("p", "a"), ("p", "b"), ("p", "c")}
        # A rebuild by another worker: `b` is no more, `a` has lost a cell.
        gone = [(b"p|b|sum", None), (b"p|b|@published", None), (b"p|a|works", None)]
        await commit(*of(2, "a", "sum"), *of(2, "c", "sum"), *gone, epoch=2)
        told, found = await both()
        assert told > 8
        assert {key: sorted(cells) for key, cells in found.items()} == {("p", "a"): ["sum"], ("p", "c"): ["sum"]}
        assert (await both())[0] <= 1
        # A death while this state was being taken over: the copy has more than was committed.
        await fence()
        state = await recover(values.bootstrap, 1, LIVE, stores)
        state.learners.spill(of(7, "a", "sum", "works"), 5, None)
        state.learners.close()
        assert (await both())[1].keys() == {("p", "a"), ("p", "c")}
        # Another state under the same epoch, as where the topic was deleted and made anew while this worker was away.
        await commit(*of(2, "d", "sum"), epoch=2, born="later")
        assert (await both())[0] > 12
        assert (await both())[0] <= 1
        # One that died before its last transaction.
        writer = Writer(values.bootstrap, 1)
        await writer.start()
        await writer.write({STATE_TOPIC: of(3, "a", "sum")}, lambda _: {})
        await writer.stop()
        await fence()
        state = await recover(values.bootstrap, 1, LIVE, stores)
        assert state.broken and state.highest_epoch == 3
        state.learners.close()

    asyncio.run(body())


@pytest.mark.timeout(400)
def test_what_compaction_leaves_gives_the_same_state(values: Settings) -> None:
    """Small segments, cleaned at once: nothing but each key's last record is left, and the totals are the same with and without a copy."""
    configure(values.bootstrap, ConfigResourceType.BROKER, "1", log_cleaner_backoff_ms="200")
    tight = {"segment_ms": "300", "min_cleanable_dirty_ratio": "0.001", "max_compaction_lag_ms": "500", "cleanup_policy": "compact"}
    for topic in (STATE_TOPIC, "learning.progress"):
        configure(values.bootstrap, ConfigResourceType.TOPIC, topic, **tight, max_message_bytes="67108864")
    rows = history(5, 40, 1_500)
    worker = Worker(values, CHALK_STATE="memory")
    for at in range(0, len(rows), 250):
        asyncio.run(send(values.bootstrap, rows[at : at + 250]))
        wait_applied(values.bootstrap, end_of(rows[: at + 250]))
        time.sleep(0.4)
        if at == 500:
            worker.kill()
            worker.start()
    written = offsets(values, STATE_TOPIC)
    until = time.monotonic() + 90
    while True:
        found = asyncio.run(committed(values.bootstrap, STATE_TOPIC, PARTITIONS))
        last = len({(one.partition, one.key) for one in found})
        assert last < written * 0.8  # else there would be nothing to compact
        if len(found) - last < (written - last) * 0.1:
            break
        assert time.monotonic() < until, (len(found), last, written)
        asyncio.run(send(values.bootstrap, rows[:20]))  # known already; but segments only roll when something is written
        time.sleep(0.5)
    for state in ("memory", "rocksdb", "rocksdb"):
        worker.kill()
        worker = Worker(values, CHALK_STATE=state)
        more = history(50 + len(rows), 40, 100)
        rows += more
        asyncio.run(send(values.bootstrap, more))
        wait_applied(values.bootstrap, {number: 0 for number in range(PARTITIONS)} | ends(values))
        assert plain(last_values(asyncio.run(read(values.bootstrap, "learning.progress")))) == recount(rows, RULES)
    worker.kill()
    words = last_values(asyncio.run(read(values.bootstrap, "learning.watermarks", 1)))
    assert {word["epoch"] for word in words.values()} == {1}  # found again each time, never counted anew


def ends(values: Settings) -> dict[int, int]:
    found = asyncio.run(committed(values.bootstrap, "learning.activity", PARTITIONS))
    return {number: max((one.offset + 1 for one in found if one.partition == number), default=0) for number in range(PARTITIONS)}


def offsets(values: Settings, topic: str) -> int:
    """Offsets used, which compaction does not lower."""
    found = asyncio.run(committed(values.bootstrap, topic, PARTITIONS))
    return sum(max((one.offset + 1 for one in found if one.partition == number), default=0) for number in range(PARTITIONS))


@contextmanager
def supervised(workers: list[Worker]) -> Iterator[list[int]]:
    """Workers that end are started again; the exit statuses of those that did."""
    ended: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            for worker in workers:
                status = worker.process.poll()
                if status is not None:
                    ended.append(status)
                    worker.start()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield ended
    finally:
        over.set()
        thread.join()


@pytest.mark.timeout(300)
def test_a_worker_that_slept_past_its_session_changes_nothing(values: Settings) -> None:
    """Two workers; one sleeps with work in hand until its partitions are another's, and goes on as if nothing had been."""
    rows = history(9, 60, 2_400)
    workers = [Worker(values), Worker(values)]
    with supervised(workers) as ended:
        time.sleep(6)
        for turn, at in enumerate(range(0, len(rows), 800)):
            sleeper = workers[turn % 2].process
            asyncio.run(send(values.bootstrap, rows[at : at + 400]))
            with suppress(ProcessLookupError):  # it has just noticed that it was fenced before
                os.kill(sleeper.pid, signal.SIGSTOP)
            asyncio.run(send(values.bootstrap, rows[at + 400 : at + 800]))
            wait_applied(values.bootstrap, end_of(rows[: at + 800]))  # by the other
            with suppress(ProcessLookupError):
                os.kill(sleeper.pid, signal.SIGCONT)
            time.sleep(3)
        asyncio.run(send(values.bootstrap, rows[:50]))  # duplicates: whoever is awake goes on
        time.sleep(3)
        progress = asyncio.run(read(values.bootstrap, "learning.progress"))
    for worker in workers:
        worker.kill()
    assert set(ended) <= {70}, (values.data / "scoring-test.log").read_text()[-3000:]  # fenced, and said so
    assert plain(last_values(progress)) == recount(rows, RULES)
    versions: dict[bytes, list[int]] = {}
    for _, key, value in progress:
        version = json.loads(value or b"")["version"]
        assert versions.get(key, []) < version
        versions[key] = version
    folders = sorted(path.name for path in (values.data / "scoring").iterdir())
    assert folders == ["worker-0", "worker-1"]


def test_the_disk_may_be_lost(values: Settings) -> None:
    """A worker whose files are gone, or garbage, finds everything in Kafka, under the same epoch."""
    rows = history(3, 30, 600)
    worker = Worker(values)
    score(values, rows, 0, 300)
    until = time.monotonic() + 20
    while len(list((values.data / "scoring").rglob("kept/CURRENT"))) < 3:  # a partition may have nobody
        assert time.monotonic() < until
        time.sleep(0.2)
    worker.kill()
    files = [path for path in (values.data / "scoring").rglob("*") if path.is_file() and "kept" in path.parts]
    assert len(files) >= 8
    for path in files[::2]:
        path.write_bytes(os.urandom(2_000))
    worker.start()
    score(values, rows, 300, 450)
    worker.kill()
    shutil.rmtree(values.data / "scoring")
    worker.start()
    score(values, rows, 450, len(rows))
    worker.stop()
    progress = asyncio.run(read(values.bootstrap, "learning.progress"))
    assert plain(last_values(progress)) == recount(rows, RULES)
    assert {json.loads(value or b"")["version"][0] for _, _, value in progress} == {1}


def test_a_killed_workers_place_in_the_group_is_free_at_once(values: Settings) -> None:
    """The next in its folder takes it out of the group, which still has it: it is not waited for until its session is over."""
    rows = history(3, 30, 300)
    worker = Worker(values)
    score(values, rows, 0, 150)
    worker.kill()
    worker.start()
    score(values, rows, 150, len(rows))
    worker.stop()
    told = [line for line in (values.data / "scoring-test.log").read_text("utf-8").splitlines() if "a worker died here" in line]
    assert len(told) == 1 and "NoError" in told[0], told
    assert list((values.data / "scoring").rglob("member-of-*")) == []  # it left by itself
    assert plain(last_values(asyncio.run(read(values.bootstrap, "learning.progress")))) == recount(rows, RULES)


def test_a_log_that_has_lost_its_oldest_records_is_not_counted_anew(values: Settings, tmp_path: Path) -> None:
    """State that has applied them goes on; other rules would need them, so the worker ends and says why, and nothing is published."""
    rows, others = history(3, 30, 600), tmp_path / "rules"
    shutil.copytree(RULES, others)
    plan = others / "zhuozhou-2023.yaml"
    plan.write_text(plan.read_text("utf-8").replace("rules_version: 2", "rules_version: 3"), "utf-8")
    worker = Worker(values)
    score(values, rows, 0, 300)
    worker.kill()
    admin = KafkaAdminClient(bootstrap_servers=values.bootstrap)
    admin.delete_records({TopicPartition("learning.activity", number): min(end, 20) for number, end in end_of(rows[:300]).items()})
    admin.close()
    worker.start()
    score(values, rows, 300, len(rows))
    worker.stop()
    told = asyncio.run(read(values.bootstrap, "learning.progress"))
    assert plain(last_values(told)) == recount(rows, RULES)
    other = Worker(values, CHALK_PROGRAMMES=str(others))
    assert other.process.wait(60) == 70
    assert "begins at 20, but has to be read from 0 on" in (values.data / "scoring-test.log").read_text("utf-8")
    assert sorted(asyncio.run(read(values.bootstrap, "learning.progress"))) == sorted(told)
