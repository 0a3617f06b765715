"""quixstreams: a stateful function on its RocksDB store with a changelog; state is keyed by the message's key, the learner."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

import orjson
from quixstreams import Application, message_context

from tests.bench.engine.peers.kafka import SOON, changelog_of, last_values
from tests.bench.engine.peers.shared import Meter, task


def main() -> None:
    given = task()
    app = Application(
        broker_address=given.bootstrap, consumer_group=given.name, auto_offset_reset="earliest", state_dir=given.folder, loglevel="WARNING",
        commit_interval=5.0, producer_extra_config={"acks": "all", "compression.type": "lz4", "linger.ms": 5}, consumer_extra_config=SOON,
    )  # fmt: skip
    source = app.topic(given.topic, key_deserializer="str", value_deserializer="bytes")
    meter, totals = Meter(given.partitions), {}
    left = given.events

    def fold(value: bytes, state: Any) -> None:
        nonlocal left
        if not left:
            return
        if not meter.began:
            meter.start()
        context = message_context()
        meter.handled[context.partition] += 1
        item = orjson.loads(value)
        data = item["data"]
        if "started_at" in data:
            course = data["course_id"]
            count, seconds = state.get(course) or (0, 0)
            spent = datetime.fromisoformat(data["ended_at"]) - datetime.fromisoformat(data["started_at"])
            row = [count + 1, seconds + spent.seconds]
            state.set(course, row)
            totals[f"{item['subject']}|{course}"] = row
        left -= 1
        if not left:
            meter.stop()
            app.stop()

    app.dataframe(source).update(fold, stateful=True)
    app.run()
    kept = last_values(given, changelog_of(given), read)
    meter.answer(given, totals, kept)
    os._exit(0)


def read(key: bytes, value: bytes) -> tuple[str, list[int]]:
    """A changelog's record: the key is the message's and the state's, both JSON, with a bar between."""
    learner, _, course = key.decode().partition("|")
    return f"{orjson.loads(learner)}|{orjson.loads(course)}", orjson.loads(value)


if __name__ == "__main__":
    main()
