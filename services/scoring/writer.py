"""One Kafka transaction a batch: changed state, outputs and watermark appear together or not at all.

The transactional id belongs to the partition: a new owner's `start` takes it over, after which the old owner's next write is refused
(`ProducerFenced`) whatever it still holds, so a zombie loses before it can touch state or outputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.codec import lz4_encode
from aiokafka.record._crecords import default_records

from services.shared.generation import LIVE, OWN_TOPICS, Generation

Row = tuple[bytes, bytes | None]
Rows = dict[str, list[Row]]

BATCH_BYTES = 1 << 20

default_records.lz4_encode = partial(lz4_encode, level=1)
"""aiokafka has no setting for it, and takes 9: ten times the work, for records that become a fifth smaller."""


class Writer:
    """Writes to the same partition number of every topic, but for `single` topics, which have one partition.

    Topics are called by their base names; `names` says where a base name's records go, where that is another topic.
    """

    def __init__(self, bootstrap: str, partition: int, single: frozenset[str] = frozenset(), generation: Generation = LIVE) -> None:
        self._partition = partition
        self._single = single
        self.names: dict[str, str] = {topic: generation.topic(topic) for topic in OWN_TOPICS}
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id=generation.transactional_id(partition),
            transaction_timeout_ms=60_000,
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            max_batch_size=BATCH_BYTES,
            max_request_size=4 << 20,
            linger_ms=0,
        )

    async def start(self) -> None:
        """Take the transactional id over: from here on every older holder is fenced."""
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    async def write(self, rows: Rows, last: Callable[[dict[str, int]], Rows]) -> dict[str, int]:
        """Commit `rows`, and then what `last` makes of the outputs' next offsets, in one transaction.

        Returns the next offset of each topic written. Raises aiokafka's errors; `ProducerFenced` where another worker owns the partition.
        """
        producer = self._producer
        await producer.begin_transaction()
        offsets = await self._send(rows)
        offsets |= await self._send(last(offsets))
        await producer.commit_transaction()
        return offsets

    async def _send(self, rows: Rows) -> dict[str, int]:
        producer, now = self._producer, int(time.time() * 1000)
        waiting = []
        for topic, pairs in rows.items():
            if not pairs:
                continue
            partition, name = 0 if topic in self._single else self._partition, self.names.get(topic, topic)
            batch = producer.create_batch()
            for key, value in pairs:
                if batch.append(key=key, value=value, timestamp=now) is None:
                    waiting.append((topic, batch.record_count(), await producer.send_batch(batch, name, partition=partition)))
                    batch = producer.create_batch()
                    if batch.append(key=key, value=value, timestamp=now) is None:
                        raise ValueError(f"{topic}: a record of {len(value or b'')} bytes does not fit into a batch of {BATCH_BYTES}")
            waiting.append((topic, batch.record_count(), await producer.send_batch(batch, name, partition=partition)))
        offsets: dict[str, int] = {}
        for topic, count, sent in waiting:
            offsets[topic] = (await sent).offset + count
        return offsets
