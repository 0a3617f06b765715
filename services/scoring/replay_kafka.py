"""What `chalk replay` asks of Kafka: how far the live services are, the log's ends, and a generation's topics made and deleted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, UnknownTopicOrPartitionError

from schemas.topics import Topic
from services.scoring.replay_files import Refused
from services.shared.generation import LIVE, OWN_TOPICS, Generation, of_state_topic
from services.shared.kafka import ensure_topics

ACTIVITY = "learning.activity"
GROUPS = ("chalk-scoring", "chalk-loader")


class Word(NamedTuple):
    """The last watermark of one partition: next offset of the log, epoch, and the generation whose state it stands on."""

    applied: int
    epoch: int
    generation: str


@dataclass
class Broker:
    """One conversation with a cluster. `topics`: every declared one. Raises Refused where the broker is away."""

    bootstrap: str
    topics: dict[str, Topic]
    replication: int

    @property
    def partitions(self) -> int:
        return self.topics[ACTIVITY].partitions

    def words(self, generation: Generation = LIVE) -> dict[int, Word]:
        """Partition -> what scoring of that generation said last; empty where it never said anything."""
        topic = generation.watermarks_topic
        found: dict[int, Word] = {}
        with self._consumer() as consumer:
            if topic not in consumer.topics():
                return {}
            place = TopicPartition(topic, 0)
            consumer.assign([place])
            consumer.seek_to_beginning(place)
            end = consumer.end_offsets([place])[place]
            while consumer.position(place) < end:
                for records in consumer.poll(timeout_ms=200).values():
                    for record in records:
                        if record.value is not None:
                            said = json.loads(record.value)
                            found[said["partition"]] = Word(said["applied"], said["epoch"], said.get("generation", ""))
        return found

    def log(self) -> tuple[dict[int, int], dict[int, int]]:
        """First and next offsets of `learning.activity` by partition. Raises Refused where there is no such topic."""
        with self._consumer() as consumer:
            if ACTIVITY not in consumer.topics():
                raise Refused(f"{self.bootstrap} has no topic {ACTIVITY}: there is nothing to replay")
            places = [TopicPartition(ACTIVITY, number) for number in range(self.partitions)]
            begins, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
        return {place.partition: int(at) for place, at in begins.items()}, {place.partition: int(at) for place, at in ends.items()}

    def ensure(self, generation: Generation) -> None:
        """Create what is missing of the generation's topics. Raises TopicMismatch, KafkaError."""
        ensure_topics(self.bootstrap, generation.topics(self.topics), self.replication)

    def generations(self) -> list[str]:
        """Names of the generations that have a state topic, but for the live one's first."""
        with self._consumer() as consumer:
            found = [of_state_topic(topic) for topic in consumer.topics()]
        return sorted(one.name for one in found if one is not None and one.name)

    def drop(self, generation: Generation) -> list[str]:
        """Delete a shadow's topics and consumer groups; returns the topics that are gone. Raises Refused where members are in a group."""
        if not generation.name:
            raise ValueError("the live generation's topics are not to be deleted")
        with self._admin() as admin:
            groups = [generation.group(name) for name in GROUPS]
            for name, said in admin.describe_groups(groups).items():
                if said.get("members"):
                    raise Refused(f"generation {generation.name} is in use: the consumer group {name} has members; stop its workers first")
            there = set(admin.list_topics())
            gone = sorted(there & {generation.topic(name) for name in OWN_TOPICS})
            if gone:
                admin.delete_topics(gone)
            admin.delete_groups(groups)
            until = time.monotonic() + 15
            while there & set(gone) and time.monotonic() < until:
                time.sleep(0.1)
                there = set(admin.list_topics())
        return gone

    @contextmanager
    def _consumer(self) -> Iterator[KafkaConsumer]:
        try:
            consumer = KafkaConsumer(
                bootstrap_servers=self.bootstrap.split(","), isolation_level="read_committed", auto_offset_reset="earliest",
                enable_auto_commit=False, bootstrap_timeout_ms=5000,
            )  # fmt: skip
        except KafkaError as error:
            raise Refused(f"no broker answers at {self.bootstrap}: {error}") from error
        try:
            yield consumer
        except UnknownTopicOrPartitionError as error:
            raise Refused(f"{self.bootstrap}: {error}") from error
        finally:
            consumer.close()

    @contextmanager
    def _admin(self) -> Iterator[KafkaAdminClient]:
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap.split(","), client_id="chalk-replay", bootstrap_timeout_ms=5000)
        except KafkaError as error:
            raise Refused(f"no broker answers at {self.bootstrap}: {error}") from error
        try:
            yield admin
        finally:
            admin.close()
