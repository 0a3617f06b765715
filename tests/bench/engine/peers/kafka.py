"""Topics of the peers' own, by confluent-kafka."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.bench.engine.peers.shared import Task

SOON = {"fetch.queue.backoff.ms": 5}
"""librdkafka waits a second by default when its queue was full, which halves what it fetches."""


def create(given: Task, *topics: str) -> None:
    """Compacted topics with as many partitions as the log."""
    new = [NewTopic(topic, given.partitions, 1, config={"cleanup.policy": "compact"}) for topic in topics]
    admin = AdminClient({"bootstrap.servers": given.bootstrap})  # held: without it the futures are broken off
    for made in admin.create_topics(new).values():
        made.result()


def changelog_of(given: Task) -> str:
    """The one topic that an engine made for itself. Raises ValueError where there is another number of them."""
    (found,) = [name for name in AdminClient({"bootstrap.servers": given.bootstrap}).list_topics(timeout=10).topics if given.name in name]
    return found


def last_values(given: Task, topic: str, read: Callable[[bytes, bytes], tuple[str, list[int]]]) -> dict[str, list[int]]:
    """What a recovery would find: the last value of each key up to the topic's end, as `read(key, value)` has them."""
    consumer = Consumer({"bootstrap.servers": given.bootstrap, "group.id": f"{given.name}-check", "enable.auto.commit": False})
    found: dict[str, list[int]] = {}
    try:
        parts = [TopicPartition(topic, number, 0) for number in range(given.partitions)]
        ends = {part.partition: consumer.get_watermark_offsets(part, timeout=10)[1] for part in parts}
        consumer.assign(parts)
        todo = {number for number, end in ends.items() if end > 0}
        while todo:
            for message in consumer.consume(10_000, 1.0):
                if message.error():
                    raise RuntimeError(f"{topic}: {message.error()}")
                name, row = read(message.key(), message.value())
                found[name] = row
                if message.offset() + 1 >= ends[message.partition()]:
                    todo.discard(message.partition())
    finally:
        consumer.close()
    return found
