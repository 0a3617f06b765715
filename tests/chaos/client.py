"""The platforms: known events by HTTP, sent again until the door has answered, and straight into the log; in a thread of their own."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from tests.chaos.load import Delivery

PARTITIONS = 4
PATIENCE_SECONDS = (4.0, 1.0, 1.0)
"""Of each connection: the impatient ones ask again before the door itself has given up."""
MOST_TRIES = 400
CLAIMED = {"learner_progress": ("programme", "learner_id"), "events": ("learner_id", "event_id")}
"""Relations whose claims are looked up, and by which columns."""

partition = DefaultPartitioner()


@dataclass
class Said:
    """What the door answered. `claims`: what it has accepted, as (topic:partition, next offset, what), to be looked up in each of CLAIMED
    once freshness says that it is there."""

    requests: int = 0
    resent: int = 0
    accepted: int = 0
    duplicate: int = 0
    direct: int = 0
    wrong: list[str] = field(default_factory=list)
    claims: dict[str, list[tuple[str, int, Delivery]]] = field(default_factory=lambda: {name: [] for name in CLAIMED})


class Client:
    """`put` hands over deliveries, `idle` says whether all are answered. Close it."""

    def __init__(self, url: str, token: str, bootstrap: str, seed: int) -> None:
        self.said = Said()
        self._url, self._token, self._bootstrap = url, token, bootstrap
        self._chance = random.Random(f"client {seed}")
        self._door: deque[list[Delivery]] = deque()
        self._direct: deque[list[Delivery]] = deque()
        self._busy = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="client", daemon=True)
        self._thread.start()

    def put(self, deliveries: Sequence[Delivery], size: int = 8) -> None:
        for door, waiting in ((True, self._door), (False, self._direct)):
            chosen = [one for one in deliveries if one.door is door]
            waiting.extend(chosen[at : at + size] for at in range(0, len(chosen), size))

    def idle(self) -> bool:
        return not (self._door or self._direct or self._busy) or not self._thread.is_alive()

    def close(self) -> None:
        self._over.set()
        self._thread.join(30)

    async def _run(self) -> None:
        headers = {"authorization": f"Bearer {self._token}"}
        try:
            async with (
                httpx.AsyncClient(base_url=self._url, headers=headers, trust_env=False) as http,
                asyncio.TaskGroup() as group,
            ):
                for patience in PATIENCE_SECONDS:
                    group.create_task(self._posting(http, patience))
                group.create_task(self._writing())
        except BaseException as error:  # the run sees it; nobody looks at a thread's traceback
            self.said.wrong.append(f"the client ended: {error!r}")

    async def _taken(self, waiting: deque[list[Delivery]]) -> list[Delivery] | None:
        """The next batch; None when it is over. Whoever takes one is busy until `_done`."""
        while not self._over.is_set():
            if waiting:
                self._busy += 1
                return waiting.popleft()
            await asyncio.sleep(0.02)
        return None

    async def _posting(self, http: httpx.AsyncClient, patience: float) -> None:
        while (batch := await self._taken(self._door)) is not None:
            await self._post(http, batch, patience)
            self._busy -= 1
            await asyncio.sleep(self._chance.uniform(0.02, 0.2))

    async def _post(self, http: httpx.AsyncClient, batch: list[Delivery], patience: float) -> None:
        body = b"\n".join(one.value for one in batch)
        for _ in range(MOST_TRIES):
            if self._over.is_set():
                return
            self.said.requests += 1
            try:
                answer = await http.post("/v1/events", content=body, headers={"content-type": "application/x-ndjson"}, timeout=patience)
            except httpx.TransportError:  # nothing was promised: all of it again
                answer = None
            if answer is not None and answer.status_code in (202, 422):
                self._take(batch, json.loads(answer.content))
                return
            if answer is not None and answer.status_code not in (429, 500, 502, 503):
                self.said.wrong.append(f"the door answered {answer.status_code}: {answer.text[:200]}")
                return
            self.said.resent += 1
            await asyncio.sleep(0.3)
        self.said.wrong.append(f"the door took a batch of {len(batch)} not at all")

    def _take(self, batch: list[Delivery], answer: dict[str, Any]) -> None:
        for one, item in zip(batch, answer["items"], strict=True):
            if item["status"] == "rejected":
                self.said.wrong.append(f"rejected: {one.value[:300]!r}: {item['errors']}")
        self.said.accepted += answer["accepted"]
        self.said.duplicate += answer["duplicate"]
        for one, item in zip(batch, answer["items"], strict=True):
            if item["status"] == "accepted" and one.event:
                place = f"learning.activity:{partition(one.key.encode(), list(range(PARTITIONS)), [])}"
                for claims in self.said.claims.values():
                    claims.append((place, answer["applied"].get(place, 0), one))

    async def _writing(self) -> None:
        producer: AIOKafkaProducer | None = None
        while (batch := await self._taken(self._direct)) is not None:
            while not self._over.is_set():  # Kafka may be away: all of them again, which makes duplicates at worst
                try:
                    if producer is None:
                        producer = AIOKafkaProducer(
                            bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True, request_timeout_ms=8_000
                        )
                        await producer.start()
                    sent = [await producer.send("learning.activity", one.value, key=one.key.encode()) for one in batch]
                    await asyncio.gather(*sent)
                    self.said.direct += len(batch)
                    break
                except (KafkaError, OSError, TimeoutError):
                    if producer is not None:
                        await producer.stop()
                    producer = None
                    await asyncio.sleep(0.3)
            self._busy -= 1
            await asyncio.sleep(self._chance.uniform(0.0, 0.1))
        if producer is not None:
            await producer.stop()
