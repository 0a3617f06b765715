"""The benchmark's log: traffic into `learning.activity` as the door writes it, in lz4 batches, each learner in the partition of its key."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka import AIOKafkaProducer

from schemas.reading import partition_of
from tests.bench.loader.mix import Made

TOPIC = "learning.activity"
BATCH_BYTES = 262_144


async def fill(bootstrap: str, traffic: Iterable[Made], partitions: int, timestamp_ms: int) -> dict[int, int]:
    """Write it all, in order within each partition; returns the next offset of each partition."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type="lz4", max_batch_size=BATCH_BYTES, max_request_size=4 * BATCH_BYTES
    )
    await producer.start()
    ends = dict.fromkeys(range(partitions), 0)
    try:
        open_batches = {partition: producer.create_batch() for partition in ends}
        for made in traffic:
            partition = partition_of(made.key, partitions)
            if open_batches[partition].append(key=made.key, value=made.value, timestamp=timestamp_ms) is None:  # full
                await (await producer.send_batch(open_batches[partition], TOPIC, partition=partition))
                open_batches[partition] = producer.create_batch()
                open_batches[partition].append(key=made.key, value=made.value, timestamp=timestamp_ms)
            ends[partition] += 1
        for partition, batch in open_batches.items():
            if batch.record_count():
                await (await producer.send_batch(batch, TOPIC, partition=partition))
    finally:
        await producer.stop()
    return ends
