"""Writes facts to `learning.activity` and waits until all in-sync replicas have them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from kafka.errors import KafkaError

from schemas.instants import parse_instant
from schemas.reading import partition_of
from services.reporting.api.facts import LogUnavailable
from services.shared.kafka import make_producer

log = structlog.get_logger()

TOPIC = "learning.activity"
PATIENCE_SECONDS = 8.0
MOST_IN_FLIGHT = 5_000
"""Records sent and not acknowledged; beyond it we say at once that the log is away."""


class Publisher:
    """One producer for the process; `publish` may be called from any thread."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = make_producer(bootstrap, "chalk-reporting")
        self._lock = threading.Lock()
        self._in_flight = 0

    def publish(self, events: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Events with `subject` and `ingested_at`; returns `{"learning.activity:partition": next offset}`."""
        partitions = self._partitions()
        with self._lock:
            if self._in_flight + len(events) > MOST_IN_FLIGHT:
                raise LogUnavailable("Kafka does not acknowledge at the moment")
            self._in_flight += len(events)
        sent = 0
        applied: dict[str, int] = {}
        try:
            futures = []
            for event in events:
                key = str(event["subject"]).encode()
                partition = partition_of(key, partitions)
                value = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
                future = self._producer.send(
                    TOPIC, value, key=key, partition=partition, timestamp_ms=parse_instant(str(event["ingested_at"]))
                )
                sent += 1
                future.add_both(self._settled)
                futures.append((partition, future))
            deadline = time.monotonic() + PATIENCE_SECONDS
            for partition, future in futures:
                done = future.get(timeout=max(0.01, deadline - time.monotonic()))
                name = f"{TOPIC}:{partition}"
                applied[name] = max(applied.get(name, 0), done.offset + 1)
        except KafkaError as error:
            log.warning("publish.failed", error=type(error).__name__)
            raise LogUnavailable("Kafka did not acknowledge in time; send the same request again with the same key") from error
        finally:
            with self._lock:
                self._in_flight -= len(events) - sent
        return applied

    def ready(self) -> bool:
        """Whether the topic is known, so that `publish` would not have to wait for a broker."""
        try:
            return bool(self._producer.partitions_for(TOPIC))
        except KafkaError:
            return False

    def close(self) -> None:
        self._producer.close(timeout=5)

    def _settled(self, _: Any) -> None:
        with self._lock:
            self._in_flight -= 1

    def _partitions(self) -> int:
        deadline = time.monotonic() + PATIENCE_SECONDS / 2
        while True:
            try:
                found = self._producer.partitions_for(TOPIC)
            except KafkaError:
                found = None
            if found:
                return len(found)
            if time.monotonic() > deadline:
                raise LogUnavailable("Kafka cannot be reached")
            time.sleep(0.1)
