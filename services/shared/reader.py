"""A plain reader of the log: by whoever recovers, recounts or compares, beside the groups that work (`stream.py`)."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer


def committed_reader(bootstrap: str, **more: Any) -> AIOKafkaConsumer:
    """A consumer without a group that sees committed records only, commits nothing, and begins at the start; `more`: its other settings.

    To be started, and stopped, by whoever asks for it.
    """
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest", **more
    )
