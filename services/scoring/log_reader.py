"""`learning.activity` read from its start to its end as of now, by a plain consumer without a group: nothing is committed or written.

Partition by partition, because a learner's records lie in one of them: whoever reads may forget the learners of a partition before
the next one comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from services.shared.reader import committed_reader
from services.shared.record import Record

PATIENCE_SECONDS = 30.0


class Unreadable(Exception):
    """The log can't be read: no broker, no such topic, another number of partitions, or an end that is not reached."""


class LogReader:
    """`async with LogReader(...) as log:` takes the ends; `ends` and `begins` by partition are next and first offsets."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, patience: float = PATIENCE_SECONDS) -> None:
        self._bootstrap, self._topic, self._partitions, self._patience = bootstrap, topic, partitions, patience
        self._consumer: Any = None
        self.begins: dict[int, int] = {}
        self.ends: dict[int, int] = {}

    async def __aenter__(self) -> LogReader:
        """Raises Unreadable."""
        self._consumer = committed_reader(self._bootstrap, max_partition_fetch_bytes=4 << 20, fetch_max_wait_ms=100)
        try:
            await self._consumer.start()
            await self._take_ends()
        except KafkaError as error:
            await self._consumer.stop()
            raise Unreadable(f"{self._topic} can't be read from {self._bootstrap}: {error}") from error
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def _take_ends(self) -> None:
        if self._topic not in await self._consumer.topics():  # asking for a topic by name might create it
            raise Unreadable(f"{self._bootstrap} has no topic {self._topic}")
        tps = [TopicPartition(self._topic, number) for number in range(self._partitions)]
        self._consumer.assign(tps)
        await self._consumer.beginning_offsets(tps[:1])  # by now the number of partitions is known
        found = self._consumer.partitions_for_topic(self._topic) or set()
        if len(found) != self._partitions:
            raise Unreadable(f"{self._topic} has {len(found)} partitions, its file says {self._partitions}")
        self.begins = {tp.partition: offset for tp, offset in (await self._consumer.beginning_offsets(tps)).items()}
        self.ends = {tp.partition: offset for tp, offset in (await self._consumer.end_offsets(tps)).items()}

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    @property
    def offsets(self) -> int:
        """Offsets between begins and ends: at least as many as there are records."""
        return sum(self.ends.values()) - sum(self.begins.values())

    async def partition(self, number: int) -> AsyncIterator[tuple[list[Record], int]]:
        """The records of one partition in batches, each with the next offset. Raises Unreadable where the end is not reached."""
        tp, end = TopicPartition(self._topic, number), self.ends[number]
        self._consumer.assign([tp])
        self._consumer.seek(tp, self.begins[number])
        moved = time.monotonic()
        at = self.begins[number]
        while at < end:
            try:
                records = (await self._consumer.getmany(tp, timeout_ms=300, max_records=5_000)).get(tp, [])
                position = await asyncio.wait_for(self._consumer.position(tp), self._patience)
            except (KafkaError, TimeoutError) as error:
                raise Unreadable(f"{self._topic}:{number} can't be read at {at}: {error!r}") from error
            if position > at:  # it also passes the markers of transactions, which are no records
                at, moved = position, time.monotonic()
                yield [record for record in records if record.offset < end], at
            elif time.monotonic() - moved > self._patience:
                raise Unreadable(f"{self._topic}:{number} is at {at} and does not reach {end}")
