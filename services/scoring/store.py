"""What scoring keeps of one partition: learners' cells in memory, and their changelog `scoring.state` to get them back from.

Changelog keys are `programme|learner|cell`; a value is the cell's generation (epoch, 4 bytes big-endian) and its canonical bytes.
Two cells are the engine's: `@published` of each learner (what was last published, so that a change is logged exactly once) and `|meta`
of the partition (epoch, digest of the rules, offset applied, clock tick). All of one batch is one transaction (`writer.py`), so a
recovered partition is the state after a whole batch, never between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.progress import Flag, Watermark, decode
from services.scoring.core.state import Learner
from services.shared.reader import committed_reader

STATE_TOPIC = "scoring.state"
WATERMARKS = "learning.watermarks"
REPLACED = ("learning.progress", "learning.days")
"""What a rebuild publishes whole."""
META_KEY = b"|meta"
PUBLISHED = "@published"

Key = tuple[str, str]


class Meta(msgspec.Struct):
    """Where a partition stands.

    `applied`: next offset of `learning.activity`; `tick_ms`: the latest clock moment at which anybody was worked out;
    `as_of_ms`: everything accepted, and everything that time changes, up to this moment is in; `outputs`: next offset of each
    topic written, in this partition.
    """

    epoch: int
    rules: str
    applied: int
    tick_ms: int = 0
    as_of_ms: int = 0
    outputs: dict[str, int] = {}


class Published(msgspec.Struct):
    """What was last published of a learner. `offset`: of the last record that touched them; `body`: digest of the progress."""

    flags: list[Flag] = []
    body: bytes = b""
    offset: int = 0
    next_change_ms: int | None = None


@dataclass(slots=True)
class Entry:
    """One learner in one programme, as kept in memory."""

    learner: Learner
    published: Published = field(default_factory=Published)


_encode = msgspec.json.Encoder(order="deterministic").encode
_meta = msgspec.json.Decoder(Meta)
_published = msgspec.json.Decoder(Published)
_log = structlog.get_logger()


@dataclass
class State:
    """One partition's learners. `broken`: cells of several generations were found, or what they published is gone, so the log has to
    be read again, under an epoch above `highest_epoch`."""

    meta: Meta | None = None
    entries: dict[Key, Entry] = field(default_factory=dict)
    broken: bool = False
    highest_epoch: int = 0

    def load(self, key: bytes, value: bytes) -> None:
        """Take in one changelog record (the last of its key wins)."""
        if key == META_KEY:
            self.meta = _meta.decode(value)
            return
        programme, learner_id, cell = key.decode().split("|", 2)
        self.highest_epoch = max(self.highest_epoch, int.from_bytes(value[:4], "big"))
        entry = self.entries.get((programme, learner_id))
        if entry is None:
            entry = self.entries[programme, learner_id] = Entry(Learner.new(learner_id))
        if cell == PUBLISHED:
            entry.published = _published.decode(value[4:])
        else:
            entry.learner.load(cell, value[4:])


def cell_rows(epoch: int, key: Key, entry: Entry, changed: Iterator[str] | set[str]) -> list[tuple[bytes, bytes]]:
    """Changelog records of a learner's changed cells and of what was published."""
    prefix, generation = f"{key[0]}|{key[1]}|", epoch.to_bytes(4, "big")
    rows = [((prefix + name).encode(), generation + entry.learner.encode(name)) for name in sorted(changed)]
    rows.append(((prefix + PUBLISHED).encode(), generation + _encode(entry.published)))
    return rows


def meta_row(meta: Meta) -> tuple[bytes, bytes]:
    return META_KEY, _encode(meta)


def _reader(bootstrap: str) -> AIOKafkaConsumer:
    return committed_reader(bootstrap, max_partition_fetch_bytes=8 << 20, fetch_max_wait_ms=50)


async def is_empty(bootstrap: str, topic: str, partition: int, start: int, end: int) -> bool:
    """Whether no committed record lies at an offset in [start, end): aborted ones and transaction markers do not count."""
    consumer = _reader(bootstrap)
    await consumer.start()
    try:
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        consumer.seek(tp, start)
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(tp, timeout_ms=200)).values():
                return bool(records[0].offset >= end)
    finally:
        await consumer.stop()
    return True


async def recover(bootstrap: str, partition: int) -> State:
    """Read a partition's changelog to its end (read_committed). Fence the former owner first, or it may still write behind this.

    A changelog that was deleted is made anew; since what ClickHouse holds is of the former one's epochs, the new one's are above
    the last watermark's. Outputs that were deleted are published again.
    """
    consumer = _reader(bootstrap)
    await consumer.start()
    try:
        last = await _last_values(consumer, TopicPartition(STATE_TOPIC, partition))
        state = State()
        for key, value in last.items():
            state.load(key, value)
        epochs = {int.from_bytes(value[:4], "big") for key, value in last.items() if key != META_KEY}
        state.broken = bool(epochs) and (state.meta is None or epochs != {state.meta.epoch})
        if state.meta is None:
            words = await _last_values(consumer, TopicPartition(WATERMARKS, 0))
            word = words.get(f"scoring:{partition}".encode())
            if word is not None:
                state.highest_epoch = max(state.highest_epoch, decode(Watermark, word).epoch)
        else:
            await _check_outputs(consumer, partition, state.meta, state)
    finally:
        await consumer.stop()
    return state


async def _last_values(consumer: AIOKafkaConsumer, tp: TopicPartition) -> dict[bytes, bytes]:
    """The last value of each key, tombstones left out."""
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)
    end = (await consumer.end_offsets([tp]))[tp]
    last: dict[bytes, bytes] = {}
    while await consumer.position(tp) < end:
        for records in (await consumer.getmany(tp, timeout_ms=200)).values():
            for record in records:
                if record.value is None:
                    last.pop(record.key, None)
                else:
                    last[record.key] = record.value
    return last


async def _check_outputs(consumer: AIOKafkaConsumer, partition: int, meta: Meta, state: State) -> None:
    """Outputs that end before what we wrote to them were deleted: nobody would ever reach the offsets that watermarks name."""
    tps = [TopicPartition(topic, partition) for topic in meta.outputs]
    if not tps:
        return
    consumer.assign(tps)
    for tp, end in (await consumer.end_offsets(tps)).items():
        if end < meta.outputs[tp.topic]:
            _log.warning("output was deleted", topic=tp.topic, partition=partition, ends=end, written_to=meta.outputs[tp.topic])
            meta.outputs[tp.topic] = end
            state.broken |= tp.topic in REPLACED
