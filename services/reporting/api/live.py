"""The live stream: one look at `marts.freshness` serves every open page.

A page is told that there is something new (`as_of`, `applied`, `lag_seconds`), never what: it fetches its own data again
through its own scope.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import structlog

from services.reporting.api.queries import Queries
from services.reporting.api.responses import dump

log = structlog.get_logger()

EVERY_SECONDS = 0.5
"""Real seconds between two looks, so at most two messages a second."""
HEARTBEAT_SECONDS = 15.0
"""A comment when nothing happens, so that proxies keep the stream and a gone browser is noticed."""


class Live:
    """`start` and `stop` with the app; `stream` once per open page."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._changed = asyncio.Event()
        self._latest = self._mark = ""
        self._task: asyncio.Task[None] | None = None
        self.stopping = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        """Ends the open streams and the look-out."""
        self.stopping = True
        self._changed.set()
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def end_streams(self) -> None:
        """Lets the open streams end, so that a graceful stop need not wait for them. Called from the loop."""
        self.stopping = True
        self._changed.set()

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events: `event: fresh` now and whenever the data has advanced."""
        sent = ""
        yield "retry: 2000\n\n"
        while not self.stopping:
            changed = self._changed
            if self._latest and self._latest != sent:
                sent = self._latest
                yield f"event: fresh\ndata: {sent}\n\n"
                continue
            try:
                await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"

    async def _poll(self) -> None:
        while True:
            try:
                found = summary(await asyncio.to_thread(self._queries.freshness))
            except Exception as error:  # the stream outlives a restart of ClickHouse
                log.warning("live.unavailable", error=type(error).__name__)
            else:
                # The lag alone grows all the time while nothing comes: no news.
                mark = dump([found["as_of"], found["applied"]])
                if mark != self._mark:
                    self._mark, self._latest = mark, dump(found)
                    changed, self._changed = self._changed, asyncio.Event()
                    changed.set()
            await asyncio.sleep(EVERY_SECONDS)


def summary(freshness: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All relations in one: the earliest `as_of`, the greatest lag, per partition the smallest next offset."""
    if not freshness:
        return {"as_of": None, "applied": {}, "lag_seconds": None}
    applied: dict[str, int] = {}
    for row in freshness.values():
        for partition, offset in row["applied"].items():
            applied[partition] = min(offset, applied.get(partition, offset))
    return {
        "as_of": min(row["as_of"] for row in freshness.values()),
        "applied": applied,
        "lag_seconds": max(row["lag_seconds"] for row in freshness.values()),
    }
