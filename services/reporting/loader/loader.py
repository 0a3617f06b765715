"""The loader at work: batches are decoded while the inserts before them run, stored together, and only then acknowledged.

Any error ends the process and leaves the work unacknowledged; an outage of ClickHouse is waited out, while at most `MOST_PENDING`
records are held. One loader serves one ClickHouse: freshness is claimed only by whoever reads every partition.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from services.reporting.loader import rows as to
from services.reporting.loader.activity import add_rows
from services.reporting.loader.freshness import OWN, Freshness, Word
from services.reporting.loader.metrics import Metrics
from services.reporting.loader.rows import PROGRESS, Replacing
from services.reporting.loader.sink import Sink
from services.shared.clock import Clock
from services.shared.directory import Directory
from services.shared.packed import Row, Rows
from services.shared.record import Record
from services.shared.stream import Batch

ACTIVITY, DIRECTORY, WATERMARKS = "learning.activity", "organisation.directory", "learning.watermarks"
OUTPUTS = ("learning.progress", "learning.days", "learning.attention", "learning.reminders", "learning.rejected")
TOPICS = (ACTIVITY, DIRECTORY, *OUTPUTS, WATERMARKS)
MOST_PENDING = 200_000
MOST_BYTES = 64 << 20
"""Records held in memory, and bytes of their values; beyond either no batch is taken."""
LEAST_SECONDS = 0.1
"""Between the starts of two inserts: a part of a table is made by each, which the server merges with others later."""
MUCH, ENOUGH, MUCH_SECONDS = 5_000, 50_000, 0.5
"""Where so many records came during an insert, far more are behind them: the next one waits until it has `ENOUGH`, or for so long, since
fewer and larger parts are less work for the server."""
ABREAST = 3
"""Inserts at once, where there is `ENOUGH`: one is encoded while the server works on the one before. They are acknowledged in order."""
SLICE = 500
"""Records decoded before the event loop has its turn."""
SWITCH_SECONDS = 0.0005
"""The inserting thread gives the interpreter up with every packet; by Python's own 5 ms it would wait for decoding longer than it works."""
GARBAGE = 200_000
"""Objects made and kept before Python looks for cycles among them; by its own 700 that is a sixth of the work."""


class Source(Protocol):
    """What the loader asks the stream: see `services.shared.stream.BatchApp`."""

    async def end_offsets(self, topic: str, partitions: list[int]) -> dict[int, int]: ...
    async def position(self, topic: str, partition: int) -> int | None: ...
    def waiting(self, topic: str, partition: int) -> bool: ...


@dataclass
class Load:
    """What the next insert stores, and the batches it comes from."""

    rows: dict[str, Rows] = field(default_factory=dict)
    replacing: dict[str, list[Replacing]] = field(default_factory=dict)
    words: list[Word] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    records: int = 0
    bytes: int = 0

    def add(self, table: str, row: Row) -> None:
        self.rows.setdefault(table, []).append(row)


def _tune() -> None:
    """For a process that makes hundreds of thousands of rows a second, none of which can be part of a cycle."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(GARBAGE, 10, 10)


class Loader:
    """`handle` takes batches in, `run` stores them, `tick` looks how far that is."""

    def __init__(
        self, sink: Sink, partitions: Mapping[str, int], clock: Clock, metrics: Metrics, least_seconds: float = LEAST_SECONDS
    ) -> None:
        self._sink, self._partitions, self._clock, self._metrics = sink, partitions, clock, metrics
        self._least_seconds = least_seconds
        self.directory = Directory()
        self.freshness = Freshness(partitions)
        self._next = Load()
        self._pending, self._pending_bytes = 0, 0
        self._wake, self._room, self._enough = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._flying: deque[asyncio.Task[None]] = deque()
        self._claiming = asyncio.Lock()
        self._held: deque[Batch] = deque()
        self._quiet: dict[tuple[str, int], int] = {}

    async def handle(self, batch: Batch) -> None:
        """Decode a batch into the next insert; waits while too much is pending."""
        size = sum(len(record.value or b"") for record in batch.records)
        while self._pending and (self._pending + len(batch.records) > MOST_PENDING or self._pending_bytes + size > MOST_BYTES):
            self._room.clear()
            await self._room.wait()
        self._pending += len(batch.records)
        self._pending_bytes += size
        mine = Load(batches=[batch], records=len(batch.records), bytes=size)
        for at in range(0, len(batch.records), SLICE):
            if at:
                await asyncio.sleep(0)
            records = batch.records[at : at + SLICE]
            if batch.topic == ACTIVITY:
                add_rows(mine.rows, records, batch.partition, self._partitions[ACTIVITY])
            elif batch.topic == "learning.days":
                to.add_days(mine.rows, mine.replacing, records, batch.partition)
            else:
                for record in records:
                    self._decode(mine, batch.topic, batch.partition, record)
        del batch.records[:-1]  # decoded: what they take is free again, and the last one still says how far the batch goes
        load = self._next  # taken only now: an insert may have begun meanwhile
        for table, rows in mine.rows.items():
            load.rows.setdefault(table, []).extend(rows)
        for table, items in mine.replacing.items():
            load.replacing.setdefault(table, []).extend(items)
        load.words += mine.words
        load.batches.append(batch)
        load.records += mine.records
        load.bytes += mine.bytes
        self._metrics.pending.set(self._pending)
        self._wake.set()
        if load.records >= ENOUGH:
            self._enough.set()

    def _decode(self, load: Load, topic: str, partition: int, record: Record) -> None:
        offset, key, value = record.offset, record.key, record.value
        if topic == "learning.progress":
            load.replacing.setdefault(PROGRESS, []).append(to.progress_row(key, value, partition, offset))
        elif topic == DIRECTORY:
            found = to.directory_row(self.directory, key, value, record.timestamp, partition, self._partitions[topic], offset)
            if found is not None:
                load.add(*found)
        elif value is None:
            return  # none of the other topics means anything by a tombstone
        elif topic == "learning.attention":
            load.add("store.attention_log", to.attention_row(value, partition, offset))
        elif topic == "learning.reminders":
            load.add("store.reminders", to.reminder_row(value, partition, offset))
        elif topic == "learning.rejected":
            load.add("store.rejected", to.rejected_row(value))
        elif topic == WATERMARKS:
            load.words.append(Word(partition, offset, to.watermark(value)))
        else:
            raise AssertionError(f"nobody asked for {topic}")

    async def run(self) -> None:
        """Store what comes, for ever."""
        _tune()
        while True:
            await self._wake.wait()
            started = time.monotonic()
            self._start()
            while self._flying and (len(self._flying) >= ABREAST or self._next.records < ENOUGH):
                enough = asyncio.ensure_future(self._enough.wait())
                waited_for = [self._flying[0]] if len(self._flying) >= ABREAST else [self._flying[0], enough]
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                enough.cancel()
                self._landed()
            if not self._flying:
                least = MUCH_SECONDS if self._next.records >= MUCH else self._least_seconds
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), max(0.0, started + least - time.monotonic()))

    def _start(self) -> None:
        self._wake.clear()
        self._enough.clear()
        load, self._next = self._next, Load()
        self._flying.append(asyncio.create_task(self._store(load, self._flying[-1] if self._flying else None)))

    def _landed(self) -> None:
        """Forget inserts that have ended; raises what ended one otherwise."""
        while self._flying and self._flying[0].done():
            self._flying.popleft().result()

    async def flush(self) -> None:
        """Store what is pending, acknowledge it, and claim what that makes true."""
        self._start()
        while self._flying:
            await asyncio.wait([self._flying[0]])
            self._landed()

    async def _store(self, load: Load, before: asyncio.Task[None] | None) -> None:
        """Rows that are sorted out by key, tombstones among them, and all that is said of the load, come after the load before it and after
        the load's other rows: a tombstone looks for what it takes the place of, and freshness claims everything up to an offset."""
        count, seconds = await self._timed(load.rows, {})
        if before is not None:
            await before
        more, later = await self._timed({}, load.replacing)
        if load.batches:
            self._metrics.stored(load.records, count + more, seconds + later)
        async with self._claiming:
            for word in load.words:
                self.freshness.hear(word)
            for batch in load.batches:
                self.freshness.reached(batch.topic, batch.partition, batch.next_offset)
                if batch.topic == WATERMARKS:
                    self._held.append(batch)
                else:
                    batch.ack()
            self._pending -= load.records
            self._pending_bytes -= load.bytes
            self._room.set()
            self._metrics.pending.set(self._pending)
            await self._claim()

    async def _timed(self, rows: dict[str, Rows], replacing: dict[str, list[Replacing]]) -> tuple[int, float]:
        """(rows stored, seconds)"""
        if not rows and not replacing:
            return 0, 0.0
        started = time.perf_counter()
        return await asyncio.to_thread(self._sink.write, rows, replacing), time.perf_counter() - started

    async def _claim(self) -> None:
        claims = self.freshness.claims()
        if claims:
            await asyncio.to_thread(self._sink.write, {"store.watermarks": claims}, {})
        kept: deque[Batch] = deque()
        blocked: set[int] = set()
        for batch in self._held:  # a word not yet claimed must be heard again after a crash: its batch stays unacknowledged
            first = self.freshness.unsettled(batch.partition)
            if batch.partition in blocked or (first is not None and first < batch.next_offset):
                blocked.add(batch.partition)
                kept.append(batch)
            else:
                batch.ack()
        self._held = kept

    def let_go(self) -> None:
        """Before a rebalance or a stop: what is held back will be read again."""
        for batch in self._held:
            batch.drop()
        self._held.clear()

    async def tick(self, source: Source) -> None:
        """Look at the clock and at the ends of our own topics; claim what holds."""
        for topic in OWN.keys() & self._partitions.keys():
            if not self.freshness.looking(topic):
                moment = self._clock.now()
                self.freshness.look(topic, moment, await source.end_offsets(topic, list(range(self._partitions[topic]))))
        await self._skip_gaps(source)
        if not self._flying and not self._claiming.locked():
            async with self._claiming:
                await self._claim()

    async def _skip_gaps(self, source: Source) -> None:
        """Where a partition ends in transaction markers or removed records, its end is no record's: the reading position, once
        nothing is on its way at two looks in a row, is as good."""
        missing = self.freshness.missing()
        self._quiet = {place: position for place, position in self._quiet.items() if place in missing}
        for topic, partition in missing:
            place = (topic, partition)
            position = await source.position(topic, partition)
            if position is None or source.waiting(topic, partition):  # asked in this order: what was fetched by then is known by now
                self._quiet.pop(place, None)
            elif self._quiet.get(place) == position:
                self.freshness.reached(topic, partition, position)
            else:
                self._quiet[place] = position
