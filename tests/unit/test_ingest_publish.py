"""Back-pressure, deadlines and the watchdog, with a producer that acknowledges when the test says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from kafka.future import Future

from schemas.topics import load_topics
from services.ingest.duplicates import Memory
from services.ingest.problems import Problem
from services.ingest.publish import ACTIVITY, DIRECTORY, Limits, Publisher, Record

RECORDS = [Record(ACTIVITY, b"t-1", b"x" * 100), Record(ACTIVITY, b"t-1", b"y" * 100), Record(DIRECTORY, b"u", b"z" * 100)]


class Metadata(NamedTuple):
    topic: str
    partition: int
    offset: int


class Producer:
    """As much of kafka-python's as the door uses."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, Future]] = []
        self.broken: Exception | None = None

    def send(self, topic: str, value: bytes, key: bytes, partition: int, timestamp_ms: int) -> Future:
        if self.broken is not None:
            raise self.broken
        self.sent.append((topic, partition, Future()))
        return self.sent[-1][2]

    def acknowledge(self, error: Exception | None = None) -> None:
        """As the producer's thread does it."""

        def answer() -> None:
            for offset, (topic, partition, future) in enumerate(self.sent):
                if error is None:
                    future.success(Metadata(topic, partition, offset))
                else:
                    future.failure(error)
            self.sent.clear()

        thread = threading.Thread(target=answer)
        thread.start()
        thread.join()

    def close(self, timeout: float) -> None:
        pass


class Door(Publisher):
    def __init__(self, limits: Limits, watchdog_seconds: float = 20.0) -> None:
        self.ended: list[int] = []
        self.fake = Producer()
        self.answering = True
        super().__init__("nowhere:1", load_topics(), 1, limits, self.ended.append, watchdog_seconds)

    def _meet(self) -> None:
        self._producer = self.fake

    def _brokers_answer(self) -> bool:
        return self.answering


def run(story: Callable[[Door], Awaitable[None]], door: Door) -> None:
    async def tell() -> None:
        door.start()
        while not door.ready:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await story(door)
        await door.stop(0.05)

    asyncio.run(tell())


async def begin(door: Door, done: Callable[[], None] = lambda: None) -> asyncio.Task[dict[str, int]]:
    task = asyncio.create_task(door.publish(RECORDS, 1, done))
    await asyncio.sleep(0.01)
    return task


def test_answers_once_everything_is_acknowledged() -> None:
    async def story(door: Door) -> None:
        done: list[Any] = []
        task = await begin(door, lambda: done.append(1))
        assert not task.done()
        assert door.inflight_bytes == 307
        partition = door.fake.sent[0][1]
        door.fake.acknowledge()
        assert await task == {f"{ACTIVITY}:{partition}": 2, f"{DIRECTORY}:0": 3}
        assert (done, door.inflight_bytes, door.oldest_seconds()) == ([1], 0, 0.0)

    run(story, Door(Limits(10_000, 1)))


def test_a_failure_is_a_503_and_nothing_is_remembered() -> None:
    async def story(door: Door) -> None:
        task = await begin(door, lambda: pytest.fail("not acknowledged"))
        door.fake.acknowledge(OSError("no"))
        with pytest.raises(Problem) as refused:
            await task
        assert refused.value.status == 503
        door.fake.broken = TypeError("no")
        with pytest.raises(Problem):
            await door.publish(RECORDS, 1, lambda: pytest.fail("not sent"))
        assert door.inflight_bytes == 0

    run(story, Door(Limits(10_000, 1)))


def test_bytes_in_flight_are_bounded() -> None:
    async def story(door: Door) -> None:
        first = await begin(door)
        with pytest.raises(Problem) as refused:
            door.gate(100)
        assert refused.value.headers["Retry-After"]
        with pytest.raises(Problem):
            await door.publish(RECORDS, 1, lambda: None)
        door.fake.acknowledge()
        await first
        door.gate(10_000)  # alone, one request may be larger than the bound

    run(story, Door(Limits(400, 1)))


def test_a_stall_is_a_503_and_leaves_the_book_only_when_answered() -> None:
    async def story(door: Door) -> None:
        done: list[Any] = []
        with pytest.raises(Problem):
            await door.publish(RECORDS, 1, lambda: done.append(1))
        assert door.inflight_bytes == 307
        with pytest.raises(Problem):
            door.gate(0)
        door.fake.acknowledge()
        await asyncio.sleep(0.01)
        assert (done, door.inflight_bytes) == ([1], 0)
        door.gate(0)

    run(story, Door(Limits(10_000, 0.05)))


@pytest.mark.parametrize(("answering", "ended"), [(True, [70]), (False, [])])
def test_the_watchdog_ends_only_where_the_brokers_answer(answering: bool, ended: list[int]) -> None:
    async def story(door: Door) -> None:
        door.answering = answering
        task = await begin(door)
        await asyncio.sleep(0.5)
        assert door.ended == ended
        door.fake.acknowledge()
        await asyncio.gather(task, return_exceptions=True)

    run(story, Door(Limits(10_000, 0.05), watchdog_seconds=0.1))


def test_memory_is_bounded() -> None:
    memory = Memory(10)
    keys = [bytes([number]) for number in range(100)]
    for number, key in enumerate(keys):
        memory.add(key)
        assert len(memory) <= 10
        assert all(known in memory for known in keys[max(0, number - 4) : number + 1])
    assert keys[0] not in memory
