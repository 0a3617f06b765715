"""Scoring's copy of the directory: only what was published in `learning.attention` needs it (the unit ids as they were then)."""

from __future__ import annotations

import asyncio

from aiokafka import TopicPartition

from schemas.reading import Event, read_directory
from services.shared.directory import Directory
from services.shared.reader import committed_reader
from services.shared.stream import die

TOPIC = "organisation.directory"


async def follow(bootstrap: str, partitions: int, directory: Directory, caught_up: asyncio.Event) -> None:
    """Fold the whole topic into `directory`, set `caught_up` at the end as it was at the start, and go on for ever."""
    consumer = committed_reader(bootstrap)
    await consumer.start()
    try:
        tps = [TopicPartition(TOPIC, p) for p in range(partitions)]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        while True:
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    event = read_directory(record.key, record.value, record.timestamp, tp.partition, partitions)
                    if isinstance(event, Event):
                        directory.fold(event)
            if not caught_up.is_set() and all([await consumer.position(tp) >= ends[tp] for tp in tps]):
                caught_up.set()
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        die(f"{TOPIC}: {error!r}")
    finally:
        await consumer.stop()
