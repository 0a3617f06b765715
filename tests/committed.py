"""A topic as readers at read_committed will have it, once every transaction written by now is decided."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaTopicPartition

from services.shared.reader import committed_reader


async def committed(bootstrap: str, topic: str, partitions: int) -> list[Any]:
    """All committed records (aiokafka's ConsumerRecord), up to the end that includes transactions under way.

    A committed reader's own `end_offsets` stops before a transaction whose marker is still to come, and markers reach the partitions
    of one transaction one after another, after `commit_transaction` has returned: whoever has seen the watermark of a batch
    would find the end of its other topics without that batch.
    """
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    plain, reader = AIOKafkaConsumer(bootstrap_servers=bootstrap), committed_reader(bootstrap)
    found: list[Any] = []
    try:
        await plain.start()
        ends = await plain.end_offsets(tps)
        await reader.start()
        reader.assign(tps)
        await reader.seek_to_beginning(*tps)
        while any([await reader.position(tp) < ends[tp] for tp in tps]):
            for records in (await reader.getmany(timeout_ms=200)).values():
                found += records
    finally:
        await plain.stop()
        await reader.stop()
    return found


def ends(bootstrap: str) -> dict[str, int]:
    """Next offset of every partition of every topic, as readers at read_committed have it now; `topic:partition` -> offset."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    try:
        tps = [KafkaTopicPartition(topic, p) for topic in sorted(consumer.topics()) for p in consumer.partitions_for_topic(topic) or ()]
        return {f"{tp.topic}:{tp.partition}": end for tp, end in consumer.end_offsets(tps).items()}
    finally:
        consumer.close()
