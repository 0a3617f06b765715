"""A consumer is stopped without its own end being taken for ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.shared.reader import ended


class Consumer:
    """Ends as aiokafka's does that is stopped before its tasks have run; or hangs until it is cancelled."""

    def __init__(self, hangs: bool) -> None:
        self.hangs = hangs

    async def stop(self) -> None:
        if self.hangs:
            await asyncio.sleep(60)
        raise asyncio.CancelledError


def test_its_cancellation_is_not_ours() -> None:
    consumer: Any = Consumer(hangs=False)
    asyncio.run(ended(consumer.stop))


def test_ours_is() -> None:
    async def body() -> None:
        consumer: Any = Consumer(hangs=True)
        task = asyncio.create_task(ended(consumer.stop))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(body())
