"""A plain reader of the log: by whoever recovers, recounts or compares, beside the groups that work (`stream.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer


class _Reader(AIOKafkaConsumer):  # type: ignore[misc]
    async def stop(self) -> None:
        await ended(super().stop)


async def ended(stop: Callable[[], Awaitable[None]]) -> None:
    """Stop a consumer. One of aiokafka 0.14 that is stopped before its own tasks have run once answers with their cancellation, which
    whoever stops it would take for their own: silently, nothing would go on."""
    await asyncio.sleep(0)
    try:
        await stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise


def committed_reader(bootstrap: str, **more: Any) -> AIOKafkaConsumer:
    """A consumer without a group that sees committed records only, commits nothing, and begins at the start; `more`: its other settings.

    To be started, and stopped, by whoever asks for it.
    """
    return _Reader(
        bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest", **more
    )
