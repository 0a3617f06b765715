"""Stock faust-streaming as its documentation has it: an agent, `async for` over events, a Table in RocksDB with its changelog."""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import datetime

import faust
import orjson

from tests.bench.engine.peers.kafka import create, last_values
from tests.bench.engine.peers.shared import Meter, task

given = task()
changelog = f"{given.name}-totals-changelog"
app = faust.App(
    given.name, broker=f"kafka://{given.bootstrap}", store="rocksdb://", datadir=given.folder, web_enabled=False, topic_disable_leader=True,
    table_standby_replicas=0, topic_partitions=given.partitions, topic_replication_factor=1, consumer_auto_offset_reset="earliest",
    producer_compression_type="lz4", producer_linger=0.005, producer_max_batch_size=1 << 20, producer_acks=-1,
)  # fmt: skip
topic = app.topic(given.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
totals = app.Table("totals", default=list, partitions=given.partitions, key_type=str)
meter = Meter(given.partitions)
done = asyncio.Event()


@app.agent(topic)
async def fold(stream: faust.StreamT[bytes]) -> None:
    left = given.events
    async for event in stream.events():
        if done.is_set():
            continue
        if not meter.began:
            meter.start()
        meter.handled[event.message.partition] += 1
        item = orjson.loads(event.value)
        data = item["data"]
        if "started_at" in data:
            key = f"{item['subject']}|{data['course_id']}"
            count, seconds = totals[key] or (0, 0)
            spent = datetime.fromisoformat(data["ended_at"]) - datetime.fromisoformat(data["started_at"])
            totals[key] = [count + 1, seconds + spent.seconds]
        left -= 1
        if not left:
            meter.stop()
            done.set()


async def main() -> None:
    create(given, changelog)
    await app.start()
    await asyncio.wait_for(done.wait(), 580)
    found = {key: list(row) for key, row in totals.items()}
    await asyncio.sleep(2)  # its producer has the last rows still in hand
    kept = last_values(given, changelog, lambda key, value: (orjson.loads(key), orjson.loads(value)))
    meter.answer(given, found, kept)
    os._exit(0)  # its own stop takes seconds, and everything is measured


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
