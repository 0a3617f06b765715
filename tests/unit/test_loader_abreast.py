"""Far behind, several inserts are on their way at once; what they store is acknowledged in the log's order all the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.topics import load_topics
from services.reporting.loader import loader as module
from services.reporting.loader.loader import ACTIVITY, TOPICS, Loader
from services.reporting.loader.sink import Sink
from services.shared.clock import parse_clock
from services.shared.stream import Batch

PARTITIONS = {name: load_topics()[name].partitions for name in TOPICS}


class Gates:
    """A ClickHouse that ends each insert when it is let. `begun` has, by insert, the offsets of its rows, or the kind of its other rows."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self._gates: list[threading.Event] = []
        self._failing: set[int] = set()
        self._lock = threading.Lock()

    def write(self, rows: dict[str, list[Any]], replacing: dict[str, list[Any]]) -> int:
        if "store.watermarks" in rows:
            return 0
        with self._lock:
            number, gate = len(self.begun), threading.Event()
            self.begun.append(sorted(replacing) or [row[4] for found in rows.values() for row in found])
            self._gates.append(gate)
        assert gate.wait(20)
        if number in self._failing:
            raise RuntimeError(f"insert {number} failed")
        return 1

    def let(self, number: int, fails: bool = False) -> None:
        if fails:
            self._failing.add(number)
        self._gates[number].set()


def unread(offset: int) -> Any:
    return SimpleNamespace(offset=offset, key=b"k", value=b"x", timestamp=0)


class World:
    def __init__(self) -> None:
        self.sink = Gates()
        metrics: Any = SimpleNamespace(pending=SimpleNamespace(set=lambda _: None), stored=lambda *_: None)
        sink: Any = self.sink
        self.loader = Loader(sink, PARTITIONS, parse_clock("system"), metrics, least_seconds=0.01)
        self.acked: list[int] = []

    async def batch(self, offset: int, records: list[Any] | None = None, topic: str = ACTIVITY) -> None:
        found = records if records is not None else [unread(offset)]
        await self.loader.handle(Batch(topic, 0, found, lambda: self.acked.append(offset), lambda: None))

    async def until(self, count: int) -> None:
        """That many inserts have begun, and no more within a while."""
        for _ in range(500):
            if len(self.sink.begun) >= count:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(self.sink.begun) == count


def played(play: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World()
        running = asyncio.create_task(world.loader.run())
        try:
            await asyncio.wait_for(play(world), 30)
        finally:
            running.cancel()

    asyncio.run(whole())


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENOUGH", 3)
    monkeypatch.setattr(module, "ABREAST", 2)


def test_the_second_waits_for_the_first_before_anything_is_said_of_it() -> None:
    async def play(world: World) -> None:
        await world.batch(0)
        await world.until(1)
        await world.batch(3, [unread(1), unread(2), unread(3)])
        await world.until(2)
        await world.batch(6, [unread(4), unread(5), unread(6)])
        await world.until(2)  # no third
        world.sink.let(1)
        await asyncio.sleep(0.2)
        assert world.acked == []
        world.sink.let(0)
        await world.until(3)
        assert world.acked == [0, 3]
        world.sink.let(2)
        await asyncio.sleep(0.2)
        assert world.acked == [0, 3, 6]
        assert world.sink.begun == [[0], [1, 2, 3], [4, 5, 6]]

    played(play)


def test_near_the_end_one_insert_follows_the_other() -> None:
    async def play(world: World) -> None:
        await world.batch(0)
        await world.until(1)
        await world.batch(1)
        await world.batch(2)
        await world.until(1)
        world.sink.let(0)
        await world.until(2)
        assert world.sink.begun == [[0], [1, 2]]
        world.sink.let(1)

    played(play)


def test_a_tombstone_looks_for_what_it_replaces_after_the_load_before_is_stored() -> None:
    async def play(world: World) -> None:
        await world.batch(0)
        await world.until(1)
        gone = [SimpleNamespace(offset=n, key=b"p|l-%d" % n, value=None, timestamp=0) for n in range(3)]
        await world.batch(2, gone, "learning.progress")
        await world.until(1)
        world.sink.let(0)
        await world.until(2)
        assert world.sink.begun[1] == ["store.progress"]
        world.sink.let(1)
        await asyncio.sleep(0.2)
        assert world.acked == [0, 2]

    played(play)


def test_where_an_insert_fails_neither_it_nor_the_one_behind_it_is_acknowledged() -> None:
    async def play(world: World) -> None:
        running = asyncio.create_task(world.loader.run())
        await world.batch(0)
        await world.until(1)
        await world.batch(3, [unread(1), unread(2), unread(3)])
        await world.until(2)
        world.sink.let(1)
        await asyncio.sleep(0.1)
        world.sink.let(0, fails=True)
        with pytest.raises(RuntimeError, match="insert 0 failed"):
            await running
        assert world.acked == []

    async def alone() -> None:
        await asyncio.wait_for(play(World()), 30)

    asyncio.run(alone())


def test_the_last_flush_stores_everything_in_order() -> None:
    async def play(world: World) -> None:
        for offset in range(4):
            await world.batch(offset)
        await world.until(1)
        last = asyncio.create_task(world.loader.flush())
        await asyncio.sleep(0.1)
        for number in range(len(world.sink.begun) - 1, -1, -1):
            world.sink.let(number)
        await last
        assert world.acked == [0, 1, 2, 3]

    played(play)


def test_whoever_ends_does_not_wait_for_a_server_that_is_away() -> None:
    """A thread that inserts tries for ever; the process could not end before it does."""

    class Away:
        def execute(self, *_: Any, **__: Any) -> None:
            raise ConnectionRefusedError

        def disconnect(self) -> None:
            pass

    away: Any = Away()
    sink = Sink(away)
    ended = threading.Event()

    def insert() -> None:
        with pytest.raises(ConnectionRefusedError):
            sink.write({"store.courses": [("p", "c", 1, 0)]}, {})
        ended.set()

    threading.Thread(target=insert).start()
    assert not ended.wait(0.5)
    sink.give_up()
    assert ended.wait(20)
