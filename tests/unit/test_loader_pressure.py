"""What the loader may hold is bounded in records and in bytes, and what is decoded holds no raw records."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from clickhouse_driver.errors import ServerException

from services.reporting.loader import loader as module
from services.reporting.loader.loader import ACTIVITY, TOPICS, Loader
from services.shared.clickhouse import is_outage
from services.shared.clock import parse_clock
from services.shared.stream import Batch

PARTITIONS = {name: 4 for name in TOPICS} | {"organisation.directory": 1, "learning.watermarks": 1}


class SlowSink:
    """A ClickHouse that answers only when it is let."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def write(self, rows: dict[str, list[Any]], replacing: dict[str, list[Any]]) -> int:
        assert self.go.wait(20)
        return sum(map(len, rows.values()))


def batch(first: int, count: int, size: int) -> Batch:
    records: list[Any] = [SimpleNamespace(offset=first + n, key=b"k", value=b"x" * size, timestamp=0) for n in range(count)]
    return Batch(ACTIVITY, 0, records, lambda: None, lambda: None)


@pytest.mark.parametrize(("count", "size", "fit"), [(10_000, 1, module.MOST_PENDING // 10_000), (16, 1 << 20, 4)], ids=["records", "bytes"])
def test_no_more_is_taken_than_may_be_held(count: int, size: int, fit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 10_000)
    asyncio.run(fill(count, size, fit))


async def fill(count: int, size: int, fit: int) -> None:
    sink: Any = SlowSink()
    metrics: Any = SimpleNamespace(pending=SimpleNamespace(set=lambda _: None), stored=lambda *_: None)
    loader = Loader(sink, PARTITIONS, parse_clock("system"), metrics)
    batches = [batch(n * count, count, size) for n in range(fit + 3)]
    taken: list[Batch] = []

    async def take() -> None:
        for one in batches:
            await loader.handle(one)
            taken.append(one)

    taking, running = asyncio.create_task(take()), asyncio.create_task(loader.run())
    for _ in range(100):
        await asyncio.sleep(0.02)
        if len(taken) == fit:
            break
    await asyncio.sleep(0.2)
    assert len(taken) == fit  # what is stored at this moment counts, too
    assert [len(one.records) for one in taken] == [1] * fit
    assert [one.next_offset for one in taken] == [(n + 1) * count for n in range(fit)]
    sink.go.set()
    await asyncio.wait_for(taking, 20)
    running.cancel()


def test_a_server_that_is_shutting_down_is_waited_for() -> None:
    """Code 236 (ABORTED) is what the last inserts before a crash are told; a loader that died of it once met nobody to start it again."""
    assert is_outage(ServerException("The server is shutting down due to a fatal error", 236))
    assert not is_outage(ServerException("Unknown table", 60))
