"""Taking a partition over: its state found again from the changelog, or from what lies on this worker's disk and the changelog's tail.

The former owner has been fenced before (`Writer.start`), so nothing is written behind what is read here. The disk's copy is used where
the changelog has only grown by the same generation since; otherwise it is thrown away and the changelog read from its start.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from aiokafka import TopicPartition

from schemas.progress import Watermark, decode
from services.scoring.disk import Database, OnDisk
from services.scoring.learners import InMemory, Learners, State, loaded
from services.scoring.store import (
    META_KEY,
    REFUSED_KEY,
    REPLACED,
    Meta,
    epoch_of,
    read_meta,
    read_refusals,
)
from services.shared.generation import LIVE, Generation, of_state_topic
from services.shared.reader import committed_reader

Told = Callable[[int, int], None]
"""Records of the changelog read, of so many."""
_log = structlog.get_logger()


@dataclass(frozen=True)
class Stores:
    """Where this worker keeps learners: in memory (`folder` None), or in files below `folder`, `most` of a partition decoded in memory."""

    folder: Path | None = None
    most: int = 0

    def path(self, topic: str, number: int, which: str) -> Path | None:
        return None if self.folder is None else self.folder / topic / str(number) / which

    def fresh(self, topic: str, number: int, offset: int) -> Callable[[str], tuple[Learners, int]]:
        """For `State.fresh`; `offset`: the changelog's next one. A rebuild by the same rules that was interrupted goes on."""
        path = self.path(topic, number, "rebuild")

        def made(rules: str) -> tuple[Learners, int]:
            if path is None:
                return InMemory(), 0
            database = Database(path)
            if (database.local.rules, database.local.offset) != (rules, offset):
                database.wipe()
                database.local.rules, database.local.offset = rules, offset
            return OnDisk(database, self.most), database.local.applied

        return made


async def topics_of(bootstrap: str) -> set[str]:
    consumer = committed_reader(bootstrap)
    await consumer.start()
    try:
        found: set[str] = await consumer.topics()
    finally:
        await consumer.stop()
    return found


async def last_words(bootstrap: str, topic: str) -> dict[int, Watermark]:
    """What was last said of each partition's progress."""
    async with Reading(bootstrap, TopicPartition(topic, 0)) as reading:
        words = [decode(Watermark, value) for key, value in (await reading.last_values()).items() if key.startswith(b"scoring:")]
    return {word.partition: word for word in words}


async def recover(
    bootstrap: str, partition: int, generation: Generation = LIVE, stores: Stores | None = None, told: Told = lambda done, of: None
) -> State:
    """Read a generation's state of a partition (read_committed). Fence its owner first, or it may still write behind this.

    A changelog that was deleted is made anew; since what ClickHouse holds is of the former one's epochs, the new one's are above
    the last watermark's. Outputs that were deleted are published again.
    """
    stores = stores or Stores()
    tp = TopicPartition(generation.state_topic, partition)
    path = stores.path(tp.topic, partition, "kept")
    async with Reading(bootstrap, tp) as reading:
        if path is None:
            state = await _into_memory(reading, told)
        else:
            state = await _onto_disk(reading, Database(path), stores.most, told)
        state.generation = generation
        state.fresh = stores.fresh(tp.topic, partition, await reading.end())
    if state.meta is not None:
        await _check_outputs(bootstrap, partition, generation, state.meta, state)
    else:
        word = (await last_words(bootstrap, generation.watermarks_topic)).get(partition)
        if word is not None:
            state.highest_epoch = max(state.highest_epoch, word.epoch)
    return state


async def _into_memory(reading: Reading, told: Told) -> State:
    last = await reading.last_values(told)
    meta, refused = last.pop(META_KEY, None), last.pop(REFUSED_KEY, None)
    learners = loaded(list(last.items()))
    state = State(None if meta is None else read_meta(meta), learners)
    state.refusals = None if refused is None else read_refusals(refused)
    state.highest_epoch = max(learners.epochs, default=0)
    state.broken = bool(learners.epochs) and (state.meta is None or learners.epochs != {state.meta.epoch})
    return state


async def _onto_disk(reading: Reading, database: Database, most: int, told: Told) -> State:
    if database.local.offset > 0 and not await _catch_up(reading, database, told):
        _log.info("the copy on disk is of another generation; reading the whole changelog", path=str(database.path))
        database.wipe()
    if database.local.offset > 0:
        state = _found(database, most)
        if not state.broken:
            return state
        database.wipe()  # a death while another generation's state was taken over leaves more in the copy than was committed
    await _catch_up(reading, database, told)
    return _found(database, most)


def _found(database: Database, most: int) -> State:
    meta, refused = database.meta, database.value(REFUSED_KEY)
    epochs = Counter(value[:4] for _, value in database.learners())
    learners = OnDisk(database, most, epochs.total())
    state = State(None if meta is None else read_meta(meta), learners, highest_epoch=database.local.epoch)
    state.refusals = None if refused is None else read_refusals(refused)
    found = set(epochs)
    right = {state.meta.epoch.to_bytes(4, "big")} if state.meta is not None else set()
    state.broken = bool(found) and (found != right or database.local.epoch != (state.meta.epoch if state.meta else 0))
    return state


async def _catch_up(reading: Reading, database: Database, told: Told) -> bool:
    """Take in the changelog from where the copy stands. False: the copy may hold what the changelog does not, so it is of no use.

    That is where the changelog was replaced, or has gone on under another epoch: then cells may be gone whose tombstones are gone, too.
    Every transaction ends with the partition's `Meta`, which says whether it is the same state that goes on.
    """
    local, copied = database.local, database.local.offset > 0
    end = await reading.end()
    if local.offset > end:
        return False
    async for records, position in reading.records(local.offset, end, told):
        rows = [(record.key, record.value) for record in records]
        epochs = {value[:4] if value is not None else None for key, value in rows if key[:1] != b"|"}
        if copied and not (epochs <= {local.epoch.to_bytes(4, "big")} and _of_one_birth(database.meta, rows)):
            return False
        local.epoch = max(local.epoch, *(epoch_of(one) for one in epochs if one is not None), 0)
        database.write(rows, position)
    return True


def _of_one_birth(known: bytes | None, rows: list[tuple[bytes, bytes | None]]) -> bool:
    """Whether what the changelog says of the partition goes on from what the copy knows."""
    born = None if known is None else read_meta(known).born
    return all(born is None or value is None or read_meta(value).born == born for key, value in rows if key == META_KEY)


async def _check_outputs(bootstrap: str, partition: int, generation: Generation, meta: Meta, state: State) -> None:
    """Outputs that end before what we wrote to them were deleted: nobody would ever reach the offsets that watermarks name."""
    tps = {TopicPartition(generation.topic(topic), partition): topic for topic in meta.outputs}
    if not tps:
        return
    async with Reading(bootstrap, *tps) as reading:
        ends = await reading.ends()
    for tp, end in ends.items():
        topic = tps[tp]
        if end < meta.outputs[topic]:
            _log.warning("output was deleted", topic=tp.topic, partition=partition, ends=end, written_to=meta.outputs[topic])
            meta.outputs[topic] = end
            state.broken |= topic in REPLACED


async def prepared_by(bootstrap: str, topics: set[str], partition: int, rules: str, current: Generation) -> Generation | None:
    """Another generation whose state of the partition, in one of `topics`, was made by exactly these rules (`chalk replay`).

    None where there is none.
    """
    for topic in sorted(topics):
        generation = of_state_topic(topic)
        if generation is not None and generation != current:
            async with Reading(bootstrap, TopicPartition(topic, partition)) as reading:
                meta = await reading.last_value(META_KEY)
            if meta is not None and read_meta(meta).rules == rules:
                return generation
    return None


class Reading:
    """A consumer of committed records of some partitions, for as long as it takes: `async with Reading(bootstrap, tp) as reading`.

    They are assigned once: in aiokafka 0.14 a consumer that is stopped right after it was assigned others may never end.
    """

    def __init__(self, bootstrap: str, *tps: TopicPartition) -> None:
        self._tps = tps
        self._consumer: Any = committed_reader(bootstrap, max_partition_fetch_bytes=8 << 20, fetch_max_wait_ms=50)

    async def __aenter__(self) -> Reading:
        await self._consumer.start()
        if self._tps:
            self._consumer.assign(self._tps)
            self._consumer.pause(*self._tps)  # nothing is fetched before it is known from where
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def ends(self) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int] = await self._consumer.end_offsets(self._tps)
        return found

    async def begins(self) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int] = await self._consumer.beginning_offsets(self._tps)
        return found

    async def end(self) -> int:
        """Of the one partition."""
        (found,) = (await self.ends()).values()
        return found

    async def records(self, start: int, end: int, told: Told = lambda done, of: None) -> Any:
        """(records, next offset) of the one partition, again and again until `end` is reached."""
        consumer, (tp,) = self._consumer, self._tps
        consumer.seek(tp, start)
        consumer.resume(tp)
        position, said = start, time.monotonic()
        told(0, end - start)
        while position < end:
            found = (await consumer.getmany(tp, timeout_ms=200)).get(tp, [])
            position = await consumer.position(tp)
            yield found, position
            if time.monotonic() - said > 0.5:
                said = time.monotonic()
                told(position - start, end - start)
        consumer.pause(tp)
        told(end - start, end - start)

    async def last_values(self, told: Told = lambda done, of: None) -> dict[bytes, bytes]:
        """The last value of each key, tombstones left out."""
        end = await self.end()
        last: dict[bytes, bytes] = {}
        async for records, _ in self.records(0, end, told):
            for record in records:
                if record.value is None:
                    last.pop(record.key, None)
                else:
                    last[record.key] = record.value
        return last

    async def last_value(self, key: bytes) -> bytes | None:
        """The last value of one key, looked for from the end backwards."""
        stop, window = await self.end(), 1_000
        while stop > 0:
            start, found = max(0, stop - window), b""
            async for records, _ in self.records(start, stop):
                for record in records:
                    if record.key == key and record.offset < stop:
                        found = bytes(record.value)
            if found:
                return found
            stop, window = start, window * 10
        return None


async def is_empty(bootstrap: str, topic: str, partition: int, start: int, end: int) -> bool:
    """Whether no committed record lies at an offset in [start, end): aborted ones and transaction markers do not count."""
    async with Reading(bootstrap, TopicPartition(topic, partition)) as reading:
        async for records, _ in reading.records(start, end):
            if records:
                return bool(records[0].offset >= end)
    return True
