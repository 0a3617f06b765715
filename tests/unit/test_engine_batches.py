"""How much one transaction of scoring takes in: what waits; far behind also what comes; no more where somebody waits for the partition."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from services.scoring import engine as module
from services.scoring.engine import Engine
from services.shared.stream import Batch


class Part:
    """A partition that folds nothing, and notes what it is given."""

    number, rebuilding_to = 0, None

    def __init__(self) -> None:
        self.untold: dict[str, set[str]] = {}
        self.took: list[int] = []
        self.told: list[list[int]] = []

    def take(self, records: list[Any], clock_ms: int) -> None:
        self.took += [record.offset for record in records]
        self.untold |= {record.key: set() for record in records}

    def tell(self, clock_ms: int) -> dict[str, Any]:
        self.told.append(self.took)
        self.took, self.untold = [], {}
        return {}


class Stage:
    """An engine with one partition; `lag` is what it is told of how far the log goes on."""

    def __init__(self, lag: int) -> None:
        self.engine: Any = object.__new__(Engine)
        self.part, self.acked = Part(), []
        self.engine.app = SimpleNamespace(lag=lambda *_: self.lag, stopping=asyncio.Event())
        self.engine._moving, self.engine._clock = asyncio.Lock(), SimpleNamespace(now=lambda: 0)
        self.engine._metrics = SimpleNamespace(batch=lambda *_: None)
        self.engine._in_time, self.engine._commit = self._nothing, self._nothing
        self.owned: Any = SimpleNamespace(part=self.part, batches=asyncio.Queue(), pending=None)
        self.lag, self._offset = lag, 0

    async def _nothing(self, *_: object) -> None:
        assert not self.acked or not self.part.took  # nothing is acknowledged before it is told and committed

    def batch(self, size: int, key: str = "a") -> Batch:
        start, self._offset = self._offset, self._offset + size
        records: list[Any] = [SimpleNamespace(offset=offset, key=f"{key}{offset}") for offset in range(start, start + size)]
        return Batch("t", 0, records, lambda: self.acked.append(start), lambda: None)

    async def handle(self, *later: Batch, meanwhile: Any = None) -> list[int]:
        """The records of each transaction that the first batch begins; the others wait already."""
        first = self.batch(10)
        for batch in later:
            self.owned.batches.put_nowait(batch)
        if meanwhile is not None:
            asyncio.get_running_loop().call_later(0.05, meanwhile)
        await asyncio.wait_for(self.engine._handle(self.owned, first), 5)
        return [len(records) for records in self.part.told]


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BEHIND", 100), ("MOST_RECORDS", 50), ("MOST_LEARNERS", 40), ("MOST_SECONDS", 0.4)):
        monkeypatch.setattr(module, name, value)


def test_near_the_end_it_takes_what_waits_and_waits_for_nothing() -> None:
    async def body() -> None:
        stage = Stage(lag=99)
        assert await stage.handle() == [10]
        again = Stage(lag=0)
        assert await again.handle(again.batch(5), again.batch(5)) == [20]
        assert len(again.acked) == 3

    asyncio.run(body())


def test_far_behind_it_waits_for_more_until_it_is_enough_or_too_long() -> None:
    async def body() -> None:
        stage = Stage(lag=100)
        more = stage.batch(7)
        assert await stage.handle(meanwhile=lambda: stage.owned.batches.put_nowait(more)) == [17]
        many = Stage(lag=100)
        assert await many.handle(*(many.batch(20, key="same") for _ in range(4))) == [50]
        assert many.owned.batches.qsize() == 2
        crowd = Stage(lag=100)
        module.MOST_RECORDS = 1_000
        assert await crowd.handle(*(crowd.batch(20) for _ in range(4))) == [50]  # 40 learners and more

    asyncio.run(body())


def test_what_began_far_behind_goes_on_to_near_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the last records before the end would work out once more whomever the many before them have."""
    for name, value in (("BEHIND", 20), ("NEAR", 5), ("MOST_RECORDS", 1_000)):
        monkeypatch.setattr(module, name, value)

    async def body() -> None:
        stage = Stage(lag=30)
        more, last, after = stage.batch(15), stage.batch(8), stage.batch(3)

        def comes(batch: Batch, lag: int) -> None:
            stage.lag = lag
            stage.owned.batches.put_nowait(batch)

        def then() -> None:
            comes(more, 11)
            asyncio.get_running_loop().call_later(0.05, comes, last, 4)
            asyncio.get_running_loop().call_later(0.3, comes, after, 1)

        assert await stage.handle(meanwhile=then) == [33]
        assert stage.owned.batches.qsize() == 0

    asyncio.run(body())


def test_it_does_not_wait_for_what_the_reader_does_not_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before a rebalance, when the reader waits until everything is acknowledged."""
    monkeypatch.setattr(module, "MOST_SECONDS", 60.0)
    monkeypatch.setattr(module, "NOTHING_TURNS", 20)

    async def body() -> None:
        stage = Stage(lag=1_000)
        more = stage.batch(7)
        assert await stage.handle(meanwhile=lambda: stage.owned.batches.put_nowait(more)) == [17]

    asyncio.run(body())


def test_it_waits_no_longer_where_somebody_wants_the_partition() -> None:
    async def body() -> None:
        module.MOST_SECONDS = 60.0
        moving = Stage(lag=1_000)
        await moving.engine._moving.acquire()
        assert await moving.handle(moving.batch(5)) == [10]
        stopping = Stage(lag=1_000)
        assert await stopping.handle(meanwhile=stopping.engine.app.stopping.set) == [10]

    asyncio.run(body())


def test_the_clock_of_one_partition_does_not_wait_for_another_that_is_at_work() -> None:
    """Nor for the tick: what was just taken over is looked at once."""
    looked: list[int] = []

    async def ends(topic: str, partitions: list[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 70)

    def owned(number: int, lock: asyncio.Lock) -> Any:
        part = SimpleNamespace(number=number, rebuilding_to=None, meta=SimpleNamespace(applied=70, as_of_ms=0))
        return SimpleNamespace(part=part, lock=lock, pending=None, timely=False, said=(70, 0))

    async def body() -> None:
        engine: Any = object.__new__(Engine)
        engine.app = SimpleNamespace(end_offsets=ends)
        engine._clock, engine._metrics = SimpleNamespace(now=lambda: 5), SimpleNamespace(standing=lambda part, end: looked.append(end))
        engine._tick_seconds, engine._soon = 600.0, asyncio.Event()
        at_work, idle, done = asyncio.Lock(), asyncio.Lock(), asyncio.Event()
        await at_work.acquire()
        engine._owned = {0: owned(0, at_work), 1: owned(1, idle)}

        async def in_time(one: Any) -> None:
            assert one.part.number == 1
            one.timely = True

        async def skip_markers(number: int, one: Any, end: int) -> None:
            assert end == 70

        async def commit(one: Any, rows: dict[str, Any]) -> None:
            assert (one.part.number, one.part.meta.as_of_ms, rows) == (1, 5, {})
            done.set()

        engine._in_time, engine._skip_markers, engine._commit = in_time, skip_markers, commit
        ticking = asyncio.create_task(engine._ticks())
        engine._soon.set()
        await asyncio.wait_for(done.wait(), 5)
        ticking.cancel()
        assert engine._owned[0].pending == (5, 70)  # of which its own batches see to

    asyncio.run(body())
    assert looked[:2] == [70, 70]
