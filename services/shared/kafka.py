"""Kafka by kafka-python: the topics as they are declared, and the producer with the settings that were measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import structlog
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from schemas.topics import Topic

MAX_REQUEST_BYTES = 2 * 1024 * 1024
NEVER_MS = 86_400_000
_log = structlog.get_logger()


class TopicMismatch(RuntimeError):
    """A topic exists with another number of partitions than its file says."""


def ensure_topics(bootstrap: str, topics: Mapping[str, Topic], replication: int, patience_seconds: float = 30.0) -> None:
    """Create the topics that are missing. Safe to call again, and from several starters at once.

    Waits up to `patience_seconds` for a broker. Raises TopicMismatch where a partition count differs: it must never change,
    since a learner's events would be split over two partitions. Raises KafkaError where the broker refuses or never comes.
    """
    admin = make_admin(bootstrap, "chalk-topics", patience_seconds)
    try:
        known = set(admin.list_topics())
        missing = [topic for name, topic in topics.items() if name not in known]
        for topic in missing:
            _create(admin, topic, replication)
        _check(admin, topics)
    finally:
        admin.close()


def make_admin(bootstrap: str, client_id: str, patience_seconds: float = 0.0) -> KafkaAdminClient:
    """An admin client, to be closed. Raises KafkaError where no broker answers within `patience_seconds`, or at the first try."""
    end = time.monotonic() + patience_seconds
    while True:
        try:
            return KafkaAdminClient(
                bootstrap_servers=bootstrap.split(","), client_id=client_id, bootstrap_timeout_ms=2000, request_timeout_ms=10_000
            )
        except KafkaError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.3)


def _create(admin: KafkaAdminClient, topic: Topic, replication: int) -> None:
    configs = {name: str(value) for name, value in topic.config.items()}
    new = NewTopic(topic.name, num_partitions=topic.partitions, replication_factor=replication, topic_configs=configs)
    try:
        admin.create_topics([new])
        _log.info("topic created", topic=topic.name, partitions=topic.partitions)
    except TopicAlreadyExistsError:
        pass  # another starter was first


def _check(admin: KafkaAdminClient, topics: Mapping[str, Topic]) -> None:
    end = time.monotonic() + 15
    while True:
        counts = {found["name"]: len(found["partitions"]) for found in admin.describe_topics(list(topics)) if found.get("partitions")}
        if len(counts) == len(topics):
            break
        if time.monotonic() >= end:  # created, but the metadata did not reach us
            raise KafkaError(f"topics {sorted(set(topics) - set(counts))} were created, but are not to be seen")
        time.sleep(0.1)
    for name, topic in topics.items():
        if counts[name] != topic.partitions:
            raise TopicMismatch(_mismatch(name, f"has {counts[name]} partitions", topic.partitions))


def check_assigned(assigned: Iterable[tuple[str, int]], partitions: Mapping[str, int]) -> None:
    """Raises TopicMismatch where a (topic, partition) is one that its file does not know: it was added while we ran."""
    for name, number in assigned:
        if number >= partitions.get(name, number + 1):
            raise TopicMismatch(_mismatch(name, f"has got a partition {number}", partitions[name]))


def _mismatch(name: str, has: str, declared: int) -> str:
    return (
        f"topic {name} {has}, but schemas/topics/{name}.yaml says {declared}. "
        "A partition count never changes: put the number back into the file, or start from an empty broker."
    )


def make_producer(bootstrap: str, client_id: str) -> KafkaProducer:
    """An idempotent producer that waits for all in-sync replicas. Returns at once, with or without a broker.

    `delivery_timeout_ms` is one that is never reached on purpose: in kafka-python 3.0.12 a batch that was sent and then
    expires leaves the producer without an id, and it hangs for ever. Whoever uses this keeps deadlines of their own and ends the
    process when nothing is acknowledged for long. `max_block_ms` bounds `send()` while the metadata is unknown, so wait for
    `partitions_for` first; with metadata `send()` never blocks, and nothing but the caller bounds what is in flight.
    """
    return KafkaProducer(
        bootstrap_servers=bootstrap.split(","),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        linger_ms=0,
        batch_size=262_144,
        max_request_size=MAX_REQUEST_BYTES,
        max_block_ms=40,
        request_timeout_ms=1500,
        delivery_timeout_ms=NEVER_MS,
        reconnect_backoff_max_ms=1000,
        metrics_enabled=False,
        api_version=(4, 3),  # given, so that the constructor need not ask a broker that may be away
    )
