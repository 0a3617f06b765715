"""What the door counts. No label ever holds an id of a learner, a token or an event."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.ingest.publish import Publisher


class Metrics:
    """One registry a door, so that several may live in one process (tests)."""

    def __init__(self, publisher: Publisher) -> None:
        self.registry = CollectorRegistry()
        self.items = Counter("chalk_ingest_items", "Items by their fate", ["status"], registry=self.registry)
        self.verdicts = Counter("chalk_ingest_verdicts", "Errors of rejected items by code", ["code"], registry=self.registry)
        self.requests = Counter("chalk_ingest_requests", "POST /v1/events by HTTP status", ["status"], registry=self.registry)
        self.bytes = Counter("chalk_ingest_body_bytes", "Bytes of request bodies", registry=self.registry)
        self.seconds = Histogram(
            "chalk_ingest_request_seconds",
            "Time to answer POST /v1/events",
            registry=self.registry,
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
        )
        inflight = Gauge("chalk_ingest_inflight_bytes", "Bytes sent and not yet acknowledged", registry=self.registry)
        inflight.set_function(lambda: publisher.inflight_bytes)
        oldest = Gauge("chalk_ingest_oldest_unacknowledged_seconds", "Age of the oldest unanswered request", registry=self.registry)
        oldest.set_function(publisher.oldest_seconds)
        ready = Gauge("chalk_ingest_ready", "1 once the brokers are known", registry=self.registry)
        ready.set_function(lambda: float(publisher.ready))
