"""What reaches `learning.activity` without the door: garbage of every sort, and sound events of a platform that writes the log itself."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from kafka.errors import KafkaTimeoutError

from deploy.demo.life import Sent
from schemas.instants import rfc3339
from services.shared.kafka import make_producer

TOPIC = "learning.activity"
ANYBODY = b"t-nobody"


def _event(**change: Any) -> bytes:
    event: dict[str, Any] = {
        "specversion": "1.0", "id": "garbage-1", "source": "/platforms/nowhere", "type": "chalkstream.platform.visited.v1",
        "subject": ANYBODY.decode(), "time": "2023-11-20T10:00:00+08:00", "programme": "zhuozhou-2023", "data": {},
        "ingested_at": "2023-11-20T02:00:01.000Z",
    }  # fmt: skip
    return json.dumps(event | change).encode()


GARBAGE: tuple[tuple[bytes | None, bytes | None], ...] = (
    (ANYBODY, b"\xff\xfe\x00garbage"),
    (ANYBODY, b"{not json"),
    (ANYBODY, b'"a text"'),
    (ANYBODY, b""),
    (ANYBODY, None),
    (None, _event()),
    (b"t-somebody-else", _event()),
    (ANYBODY, _event(type="chalkstream.platform.exploded.v1")),
    (ANYBODY, _event(data={"colour": "blue"})),
    (ANYBODY, _event(time="yesterday")),
    (ANYBODY, _event(time="2023-11-20T12:00:00+08:00")),
    (ANYBODY, b"[" * 5000),
)
"""(key, value) pairs of which every one has to end in `learning.rejected`."""


class Intruder:
    """Writes records straight to the topic; `applied` is the next offset of each partition it wrote to."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = make_producer(bootstrap, "demo-intruder")
        for attempt in range(200):  # `max_block_ms` is short: the metadata may need a few tries
            try:
                if self._producer.partitions_for(TOPIC):
                    break
            except KafkaTimeoutError:
                if attempt == 199:
                    raise
            time.sleep(0.05)
        self.applied: dict[str, int] = {}

    def write(self, key: bytes | None, value: bytes | None, now_ms: int, partition: int | None = None) -> tuple[int, int]:
        """One record, acknowledged: (partition, offset). Without a partition Kafka's default is taken: murmur2 of the key."""
        if key is None and partition is None:
            partition = 0
        record = self._producer.send(TOPIC, value=value, key=key, partition=partition, timestamp_ms=now_ms).get(timeout=30)
        place = f"{TOPIC}:{record.partition}"
        self.applied[place] = max(self.applied.get(place, 0), record.offset + 1)
        return int(record.partition), int(record.offset)

    def garbage(self, now_ms: int) -> int:
        """Every kind of garbage once, and a sound event on the wrong partition; returns how many records that were."""
        for key, value in GARBAGE:
            self.write(key, value, now_ms)
        right, _ = self.write(ANYBODY, b"{", now_ms)
        self.write(ANYBODY, _event(), now_ms, partition=(right + 1) % len(self._producer.partitions_for(TOPIC)))
        return len(GARBAGE) + 2

    def pass_on(self, sent: Sequence[Sent], now_ms: int) -> None:
        """Sound events as a platform with access to the log writes them."""
        for one in sent:
            record = one.event | {"ingested_at": rfc3339(now_ms)}
            self.write(one.event["subject"].encode(), json.dumps(record, ensure_ascii=False).encode(), now_ms)

    def close(self) -> None:
        self._producer.close(timeout=10)
