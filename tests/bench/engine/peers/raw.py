"""The limit for Python: a confluent-kafka loop with typed decoding and a dict. With `-changelog` in its name each batch's rows are
acknowledged in a compacted topic before its offsets are committed; without, nothing survives it."""

from __future__ import annotations

from datetime import datetime

import msgspec
from confluent_kafka import Consumer, Producer

from tests.bench.engine.peers.kafka import SOON, create, last_values
from tests.bench.engine.peers.shared import Meter, task

BATCH = 10_000


class Data(msgspec.Struct):
    course_id: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Item(msgspec.Struct):
    subject: str
    data: Data


def main() -> None:
    given = task()
    changelog = f"{given.name}-totals" if "changelog" in given.name else ""
    decode, encode = msgspec.json.Decoder(Item).decode, msgspec.json.Encoder().encode
    consumer = Consumer(
        {
            "bootstrap.servers": given.bootstrap, "group.id": given.name, "auto.offset.reset": "earliest", "enable.auto.commit": False,
            "queued.min.messages": 100_000, "queued.max.messages.kbytes": 65_536, **SOON,
        }
    )  # fmt: skip
    producer, failed = None, []
    if changelog:
        create(given, changelog)
        producer = Producer(
            {
                "bootstrap.servers": given.bootstrap, "acks": "all", "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 5,
                "batch.size": 1_000_000, "queue.buffering.max.messages": 1_000_000,
            }
        )  # fmt: skip
    consumer.subscribe([given.topic])
    totals: dict[tuple[str, str], list[int]] = {}
    meter, left = Meter(given.partitions), given.events
    while left:
        messages = consumer.consume(
            min(BATCH, left) if meter.began else 1, 0.5
        )  # the clock runs from the very first, not from the first 10,000
        if not messages:
            continue
        if not meter.began:
            meter.start()
        touched = {}
        for message in messages:
            number = message.partition()
            meter.handled[number] += 1
            item = decode(message.value())
            data = item.data
            if data.started_at is None or data.ended_at is None:
                continue
            key = (item.subject, data.course_id)
            row = totals.get(key)
            if row is None:
                row = totals[key] = [0, 0]
            row[0] += 1
            row[1] += (data.ended_at - data.started_at).seconds
            if producer is not None:
                touched[key] = (row, number)
        if producer is not None:
            for (learner, course), (row, number) in touched.items():
                producer.produce(
                    changelog,
                    encode(row),
                    f"{learner}|{course}",
                    number,
                    on_delivery=lambda error, _: failed.append(error) if error else None,
                )
            if producer.flush(30) or failed:
                raise RuntimeError(f"the changelog was not acknowledged: {failed[:3]}")
        consumer.commit(asynchronous=producer is None)
        left -= len(messages)
    meter.stop()
    consumer.close()
    kept = last_values(given, changelog, lambda key, value: (key.decode(), msgspec.json.decode(value))) if changelog else None
    meter.answer(given, {f"{learner}|{course}": row for (learner, course), row in totals.items()}, kept)


if __name__ == "__main__":
    main()
