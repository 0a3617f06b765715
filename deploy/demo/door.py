"""The platforms' side of the ingest door: batches over a few connections, sent again as a whole whenever nothing was promised."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from deploy.demo.life import Sent

BATCH = "application/cloudevents-batch+json"
LINES = "application/x-ndjson"


class Stopped(Exception):
    """Whoever sends was told to stop (Ctrl-C) while the door was away."""


class Refused(Exception):
    """The door turned a whole request away for a reason that sending again can't mend; the text is its problem."""


@dataclass(slots=True)
class Tallied:
    """What the door said. `surprises`: items whose fate was not the expected one, as text; at most 20 are kept."""

    sent: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    resent: int = 0
    unexpected: int = 0
    surprises: list[str] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    applied: dict[str, int] = field(default_factory=dict)

    def take(self, batch: Sequence[Sent], answer: dict[str, Any]) -> None:
        self.sent += len(batch)
        self.accepted += answer["accepted"]
        self.duplicate += answer["duplicate"]
        self.rejected += answer["rejected"]
        for place, offset in answer.get("applied", {}).items():
            self.applied[place] = max(offset, self.applied.get(place, 0))
        for one, item in zip(batch, answer["items"], strict=True):
            if (item["status"] != "rejected") != one.sound:
                self.unexpected += 1
                if len(self.surprises) < 20:
                    self.surprises.append(f"{one.event['type']} {item}")
            for error in item.get("errors", ()):
                self.codes[error["code"]] += 1


def slices(items: Iterable[Sent], size: int) -> Iterator[list[Sent]]:
    held: list[Sent] = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


class Door:
    """A client with `connections` connections. Every second request is NDJSON, the others are batches."""

    def __init__(self, url: str, token: str, connections: int = 4, stop: Callable[[], bool] = lambda: False) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        headers = {"authorization": f"Bearer {token}"}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60, trust_env=False)
        self._encoder = msgspec.json.Encoder()
        self._requests = 0
        self.connections = connections
        self._stop = stop
        self.said = Tallied()

    async def close(self) -> None:
        await self._http.aclose()

    async def send(self, batch: Sequence[Sent]) -> None:
        """Returns once every item has its verdict. Raises Refused, and Stopped where `stop` says so while the door is away."""
        self._requests += 1
        events = [one.event for one in batch]
        if self._requests % 2:
            body, kind = self._encoder.encode_lines(events), LINES
        else:
            body, kind = self._encoder.encode(events), BATCH
        while True:
            wait = 0.2
            try:
                answer = await self._http.post("/v1/events", content=body, headers={"content-type": kind})
            except httpx.TransportError:
                pass  # the door is being restarted; what it had answered is kept, what it had not is sent again
            else:
                if answer.status_code in (202, 422):
                    self.said.take(batch, msgspec.json.decode(answer.content))
                    return
                if answer.status_code not in (429, 502, 503):
                    raise Refused(f"the door answered {answer.status_code}: {answer.text[:500]}")
                wait = min(5.0, float(answer.headers.get("retry-after", "0.2")))
            if self._stop():
                raise Stopped
            self.said.resent += 1
            await asyncio.sleep(wait)

    async def load(self, source: Iterable[Sent], size: int = 1000, progress: Any = None) -> None:
        """Send everything, `size` a request. Up to `connections` requests are under way at a time; `progress(n)` after each."""
        waiting: set[asyncio.Task[None]] = set()

        async def one(batch: list[Sent]) -> None:
            await self.send(batch)
            if progress:
                progress(len(batch))

        try:
            for batch in slices(source, size):
                if len(waiting) >= self.connections:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                waiting.add(asyncio.create_task(one(batch)))
                await asyncio.sleep(0)
            for task in waiting:
                await task
        finally:
            for task in waiting:
                task.cancel()
