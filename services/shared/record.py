"""What readers see of a Kafka record, whichever client fetched it."""

from __future__ import annotations

from typing import Protocol


class Record(Protocol):
    """`timestamp` in ms since 1970; aiokafka's own records have it all."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
