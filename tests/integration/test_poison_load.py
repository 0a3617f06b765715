"""A learner with 100,000 events, and a ClickHouse that stands still meanwhile: cost and memory do not grow with what lies behind, or
waits."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.supervisor import read_state
from schemas.programme import load_programmes
from schemas.reading import partition_of
from services.reporting.loader.loader import MOST_PENDING
from services.scoring.learners import State
from services.scoring.partition import Partition
from services.scoring.recovery import recover
from services.scoring.store import STATE_TOPIC
from services.scoring.writer import Writer
from services.shared.clock import parse_clock
from services.shared.directory import Directory
from services.shared.settings import ROOT
from tests.integration.local_stack import chalk
from tests.integration.poison import ACTIVITY, EMPTY, PARTITIONS, ends_of, learner_on, wait_for_the_end
from tests.integration.test_loader import Run, running
from tests.integration.test_scoring import CLOCK

pytestmark = [pytest.mark.servers, pytest.mark.timeout(420)]

HOT = learner_on(0, "hot")
EVENTS, DAYS = 100_000, 180
PART = 20_000
FETCH = 10_000
"""Records in one batch of the stream, at most."""
APPLIED, PENDING = 'chalk_scoring_records_total{partition="0"}', "chalk_loader_pending_records"


def hot_records(events: int = EVENTS) -> list[bytes]:
    """Study of one learner in order of time: 555 intervals of a minute each day, every twentieth a day late, two courses."""
    first, each_day = datetime(2023, 6, 2, tzinfo=UTC), events // DAYS + 1
    rows = []
    for n in range(events):
        day, minute = divmod(n, each_day)
        start = first + timedelta(days=day - (n % 20 == 0 and day > 0), minutes=minute * 2 + n % 2)
        text, end = start.strftime("%Y-%m-%dT%H:%M:%SZ"), (start + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        course = "c-reading" if n % 3 else "c-writing"
        rows.append(
            f'{{"specversion":"1.0","id":"hot-{n}","source":"/test","type":"chalkstream.study.recorded.v1","subject":"{HOT}","time":"{end}",'
            f'"programme":"zhuozhou-2023","ingested_at":"2023-12-04T00:00:00.000Z","data":{{"course_id":"{course}","started_at":"{text}",'
            f'"ended_at":"{end}","channel":"online"}}}}'.encode()
        )
    return rows


def test_state_written_for_a_hot_learner_does_not_grow_with_its_history() -> None:
    """By work, not by the clock: bytes of the changelog, and rows published, for each thousand events."""
    part = Partition.of(0, PARTITIONS, load_programmes(ROOT / "schemas" / "programmes"), Directory(), "", State(), 0)
    now = parse_clock(CLOCK).now()
    written: list[tuple[int, int, float]] = []
    records = hot_records()
    for at in range(0, EVENTS, 1000):
        some = enumerate(records[at : at + 1000], at)
        batch = [SimpleNamespace(offset=offset, key=HOT.encode(), value=value, timestamp=0) for offset, value in some]
        started = time.perf_counter()
        rows = part.apply(batch, now)
        taken = time.perf_counter() - started
        assert not rows["learning.rejected"]
        state = sum(len(key) + len(value or b"") for key, value in rows[STATE_TOPIC])
        written.append((state, sum(map(len, rows.values())), taken))
    ends = PART // 1000
    early, late = (tuple(map(sum, zip(*some, strict=True))) for some in (written[:ends], written[-ends:]))
    print(f"first {PART}: {early[2] / PART * 1e6:.1f} us an event, last {PART}: {late[2] / PART * 1e6:.1f} us")
    print(f"state: first {early[0] / PART:.0f} bytes an event, last {late[0] / PART:.0f}")
    assert late[0] < early[0] * 1.25
    assert late[1] < early[1] * 1.25
    assert max(state for state, _, _ in written) < 8 * 1000 * 64


async def write(bootstrap: str, partition: int, records: list[tuple[bytes, bytes]], codec: str | None = "lz4") -> None:
    """Keys and values, in batches as large as they come."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type=codec, max_batch_size=1 << 19, linger_ms=0)
    await producer.start()
    try:
        sent, batch = [], producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batch, ACTIVITY, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        sent.append(await producer.send_batch(batch, ACTIVITY, partition=partition))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def others(partition: int, count: int, extra: str = "") -> list[tuple[bytes, bytes]]:
    """Visits of a hundred learners of a partition; `extra` goes into an attribute that is kept and not looked at."""
    names = [name for n in range(1000) if partition_of((name := f"o-{n}").encode(), PARTITIONS) == partition][:100]
    return [
        (
            (name := names[n % len(names)]).encode(),
            f'{{"specversion":"1.0","id":"{partition}-{len(extra)}-{n}","source":"/test","type":"chalkstream.platform.visited.v1",'
            f'"subject":"{name}","time":"2023-06-20T00:{n // 60 % 60:02d}:{n % 60:02d}Z","programme":"zhuozhou-2023","extra":"{extra}",'
            '"ingested_at":"2023-12-04T00:00:00.000Z","data":{}}'.encode(),
        )
        for n in range(count)
    ]


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def metric(port: int, name: str) -> float:
    with suppress(OSError):
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0
    return 0.0


def megabytes(pid: int, what: str = "VmHWM") -> int:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) // 1024 for line in file if line.startswith(what))


def watch(run: Run, wanted: int) -> list[tuple[float, float]]:
    """(seconds, records of the hot partition that scoring has committed), until it has them all."""
    seen: list[tuple[float, float]] = []
    until = time.monotonic() + 150
    while not seen or seen[-1][1] < wanted:
        assert time.monotonic() < until, (seen[-1:], run.logs())
        seen.append((time.monotonic(), metric(run.values.scoring_metrics_port, APPLIED)))
        time.sleep(0.1)
    return seen


def rate(seen: list[tuple[float, float]], low: float, high: float) -> float:
    """Records a second between two counts, as far as the looks tell."""
    first = max((one for one in seen if one[1] <= low), key=lambda one: one[0])
    last = next(one for one in seen if one[1] >= high)
    return (last[1] - first[1]) / max(last[0] - first[0], 0.1)


async def state_bytes(bootstrap: str) -> int:
    """All that was ever written of state on the hot partition; nothing has been compacted yet."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest")
    await consumer.start()
    try:
        tp = TopicPartition(STATE_TOPIC, 0)
        consumer.assign([tp])
        end, total = (await consumer.end_offsets([tp]))[tp], 0
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(tp, timeout_ms=200)).values():
                total += sum(len(record.key or b"") + len(record.value or b"") for record in records)
        return total
    finally:
        await consumer.stop()


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with running(CLOCK) as found:
        yield found


def test_a_hot_learner_and_a_clickhouse_that_stands_still(run: Run) -> None:
    """Scoring goes on at its pace; the loader takes what it may hold, waits, and catches up."""
    bootstrap, port = run.values.bootstrap, run.values.loader_metrics_port
    asyncio.run(write(bootstrap, 0, others(0, 100)))
    wait_for_the_end(run)
    scoring, loader = run.running["scoring"].pid, run.running["reporting.loader"].pid
    idle = {name: megabytes(pid, "VmRSS") for name, pid in (("scoring", scoring), ("loader", loader))}
    clickhouse = read_state(run.values.data.resolve())["processes"]["clickhouse"]["pid"]
    warm = metric(run.values.scoring_metrics_port, APPLIED)
    hot = [(HOT.encode(), value) for value in hot_records()]
    with standing_still(clickhouse), ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch, run, warm + EVENTS)
        asyncio.run(write(bootstrap, 0, hot))
        asyncio.run(write(bootstrap, 1, others(1, 40_000)))
        asyncio.run(write(bootstrap, 2, others(2, 2_000, "z" * 60_000), codec=None))  # 120 MB
        seen = watching.result()
        pending, most = [metric(port, PENDING)], 0.0
        until = time.monotonic() + 60
        while len(pending) < 20 or len(set(pending[-20:])) > 1 or not pending[-1]:  # it no longer takes any
            assert time.monotonic() < until, pending[-20:]
            time.sleep(0.1)
            pending.append(metric(port, PENDING))
        most = max(pending)
        held = megabytes(loader)
        assert run.running["reporting.loader"].poll() is None
    assert MOST_PENDING / 4 < most <= MOST_PENDING + FETCH
    for low, high in pairwise(range(0, EVENTS + 1, PART)):
        print(f"scoring, hot events {low} to {high}: {rate(seen, warm + low, warm + high):.0f}/s")
    print(f"loader: {most:.0f} records pending at most; {idle['loader']} MB idle, {held} MB waiting")
    print(f"scoring: {idle['scoring']} MB idle, {megabytes(scoring)} MB at most")
    assert held < idle["loader"] + 400
    assert megabytes(scoring) < idle["scoring"] + 600
    started = time.monotonic()
    wait_for_the_end(run, 120)
    print(f"loader: caught up with {sum(ends_of(run, ACTIVITY, PARTITIONS).values())} records in {time.monotonic() - started:.1f} s")
    assert run.one("SELECT count() FROM marts.events") == EVENTS + 100 + 40_000 + 2_000
    assert "ClickHouse agrees" in chalk(run.values, "reconcile", "--wait", "60")
    written = asyncio.run(state_bytes(bootstrap))
    print(f"state: {written / EVENTS:.0f} bytes an event")
    assert written < 500 * EVENTS


async def kept(bootstrap: str, value: bytes) -> bytes:
    """A cell's bytes, written and recovered."""
    writer = Writer(bootstrap, EMPTY)
    await writer.start()
    await writer.write({STATE_TOPIC: [(b"zhuozhou-2023|big|posts:c-reading", (1).to_bytes(4, "big") + value)]}, lambda _: {})
    await writer.stop()
    heir = Writer(bootstrap, EMPTY)
    await heir.start()  # the order of every take-over: only now has the transaction surely ended in each partition
    state = await recover(bootstrap, EMPTY)
    await heir.stop()
    entry = state.learners.get(("zhuozhou-2023", "big"))
    assert entry is not None
    return entry.learner.encode("posts:c-reading")


def test_a_cell_larger_than_an_event_can_be_kept(run: Run) -> None:
    """100,000 posts in one course make a cell of 9 MB, 5 MB as compressed."""
    assert run.end("scoring", signal.SIGTERM) == 0
    value = random.Random(1).randbytes(9_000_000)
    assert asyncio.run(kept(run.values.bootstrap, value)) == value
