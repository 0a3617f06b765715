"""Scoring at work: partitions taken over and given up, batches and clock ticks committed, each as one transaction.

Order at a take-over: fence the former owner (`Writer.start`), then read the changelog, then say where to read from. Order at a batch:
fold, commit state with outputs, only then acknowledge. Any error ends the process (`stream.die`) and leaves the work uncommitted.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import structlog
from faust.types import TP

from schemas.instants import rfc3339
from schemas.programme import Programme
from schemas.progress import Watermark
from services.scoring.metrics import Metrics
from services.scoring.partition import ACTIVITY, Partition
from services.scoring.store import STATE_TOPIC, WATERMARKS, Meta, is_empty, meta_row, recover
from services.scoring.writer import Rows, Writer
from services.shared.clock import Clock
from services.shared.directory import Directory
from services.shared.kafka import check_assigned
from services.shared.stream import Batch, BatchApp, die

CHUNK = 2_000
"""Learners in one transaction of a tick or a rebuild."""
AT_ONCE = 50_000
"""Records beyond which waiting batches are not put into one transaction."""

_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger()


@dataclass
class Owned:
    """A partition this worker owns. `pending`: a moment and the log's end as read after it; once applied, `as_of` is that moment."""

    part: Partition
    writer: Writer
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    batches: asyncio.Queue[Batch] = field(default_factory=lambda: asyncio.Queue(4))
    pending: tuple[int, int] | None = None
    timely: bool = False  # what time alone changes up to `pending`'s moment is done
    said: tuple[int, int] = (-1, -1)
    idle_at: int = -1


def _note(meta: Meta, offsets: dict[str, int]) -> None:
    """How far the outputs reach. Not the state: it is ours alone, and a watermark that named it would never be reached by the loader."""
    meta.outputs |= {topic: offset for topic, offset in offsets.items() if topic != STATE_TOPIC}


def _reach(owned: Owned) -> None:
    """Once everything up to `pending` is applied and nothing that time changes is left to do, its moment is what we are as of."""
    if owned.pending is not None and owned.timely and owned.part.meta.applied >= owned.pending[1]:
        owned.part.meta.as_of_ms = max(owned.part.meta.as_of_ms, owned.pending[0])
        owned.pending = None


class Engine:
    """One scoring worker."""

    def __init__(
        self,
        bootstrap: str,
        programmes: Mapping[str, Programme],
        rules: str,
        directory: Directory,
        clock: Clock,
        tick_seconds: float,
        partitions: int,
        datadir: str,
        metrics: Metrics,
    ) -> None:
        self._bootstrap, self._programmes, self._rules = bootstrap, programmes, rules
        self._directory, self._clock, self._tick_seconds, self._partitions = directory, clock, tick_seconds, partitions
        self._metrics = metrics
        self._owned: dict[int, Owned] = {}
        self._moving = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.app = BatchApp(
            "chalk-scoring",
            bootstrap,
            {ACTIVITY: self.handle},
            positions=self.positions,
            revoked=self.revoked,
            datadir=datadir,
            max_records=10_000,
        )

    async def run(self) -> None:
        """Work until a signal to stop; what is under way is finished first."""
        ticking = asyncio.create_task(self._ticks())
        await self.app.run()
        for task in (ticking, *self._tasks):
            task.cancel()
        for owned in self._owned.values():
            async with owned.lock:
                await owned.writer.stop()

    # -- taking and leaving partitions ---------------------------------------------------------------------------------------------

    async def positions(self, assigned: set[TP]) -> dict[TP, int]:
        """Recover what is newly ours; where to read each partition from is what its state has applied."""
        try:
            check_assigned(assigned, {ACTIVITY: self._partitions})
            async with self._moving:
                new = sorted(tp.partition for tp in assigned if tp.topic == ACTIVITY and tp.partition not in self._owned)
                for number, owned in zip(new, await asyncio.gather(*map(self._take, new)), strict=True):
                    self._owned[number] = owned
                    self._tasks.append(asyncio.create_task(self._work(owned)))
                gc.collect()
                gc.freeze()  # the collector need not walk millions of cells again and again
                return {tp: self._owned[tp.partition].part.meta.applied for tp in assigned if tp.topic == ACTIVITY}
        except Exception as error:
            die(f"taking over partitions: {error!r}")
            raise

    async def _take(self, number: int) -> Owned:
        started = time.monotonic()
        writer = Writer(self._bootstrap, number, frozenset({WATERMARKS}))
        await writer.start()
        state = await recover(self._bootstrap, number)
        moment = self._clock.now()
        end = (await self.app.end_offsets(ACTIVITY, [number]))[number]
        part = Partition.of(number, self._partitions, self._programmes, self._directory, self._rules, state, end)
        _log.info(
            "partition taken", partition=number, learners=len(part.entries), applied=part.meta.applied, epoch=part.meta.epoch,
            rebuilding_to=part.rebuilding_to, seconds=round(time.monotonic() - started, 2),
        )  # fmt: skip
        return Owned(part, writer, pending=(moment, end))

    async def revoked(self, tps: set[TP]) -> None:
        """Give partitions up: finish what is under way, then let go; the next owner fences us in any case."""
        async with self._moving:
            for tp in tps:
                owned = self._owned.pop(tp.partition, None) if tp.topic == ACTIVITY else None
                if owned is not None:
                    async with owned.lock:
                        await owned.writer.stop()
                    _log.info("partition given up", partition=tp.partition)

    # -- work ----------------------------------------------------------------------------------------------------------------------

    async def handle(self, batch: Batch) -> None:
        """Hand a fetched batch to its partition's own task, so that one partition is folded while another's transaction commits."""
        owned = self._owned.get(batch.partition)
        if owned is None:
            batch.drop()
        else:
            await owned.batches.put(batch)

    async def _work(self, owned: Owned) -> None:
        """A partition's batches, as many at once as wait: fold, commit, acknowledge. Goes on dropping after the partition is given up."""
        try:
            while True:
                batches = [await owned.batches.get()]
                while not owned.batches.empty() and sum(len(batch.records) for batch in batches) < AT_ONCE:
                    batches.append(owned.batches.get_nowait())
                async with owned.lock:
                    if self._owned.get(owned.part.number) is owned:
                        await self._handle(owned, batches)
                    else:
                        for batch in batches:
                            batch.drop()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            die(f"{ACTIVITY}:{owned.part.number}: {error!r}")

    async def _handle(self, owned: Owned, batches: list[Batch]) -> None:
        started = time.perf_counter()
        part, records = owned.part, [record for batch in batches for record in batch.records]
        if part.rebuilding_to is None:
            await self._in_time(owned)  # before the batch: its commits would name offsets of which nothing is kept yet
        rows = part.apply(records, self._clock.now())
        folded = time.perf_counter()
        if part.rebuilding_to is None:
            _reach(owned)
            await self._commit(owned, rows)
        else:
            await self._finish_rebuild(owned)
        for batch in batches:
            batch.ack()
        self._metrics.batch(part, len(records), folded - started, time.perf_counter() - folded)

    async def _finish_rebuild(self, owned: Owned) -> None:
        part = owned.part
        if part.rebuilding_to is None or part.meta.applied < part.rebuilding_to:
            return
        _log.info("log read again, publishing", partition=part.number, learners=len(part.entries), epoch=part.meta.epoch)
        *chunks, last = part.rebuilt(self._clock.now(), CHUNK)
        for rows in chunks:
            _note(part.meta, await owned.writer.write(rows, lambda _: {}))
        owned.timely = True  # everybody was just worked out
        _reach(owned)
        await self._commit(owned, last)

    async def _in_time(self, owned: Owned) -> None:
        """Publish what time alone has changed by now, so also by `pending`'s moment. Only while all that is applied is committed."""
        now = self._clock.now()
        while owned.part.more_due(now):
            await self._commit(owned, owned.part.due(now, CHUNK))
        owned.timely = True

    async def _commit(self, owned: Owned, rows: Rows) -> None:
        """Rows, the partition's meta and its watermark in one transaction."""
        meta = owned.part.meta

        def last(offsets: dict[str, int]) -> Rows:
            _note(meta, offsets)
            word = Watermark(
                partition=owned.part.number,
                applied=meta.applied,
                as_of=rfc3339(meta.as_of_ms),
                outputs=meta.outputs,
                epoch=meta.epoch,
                clock=self._clock.text(),
            )
            return {STATE_TOPIC: [meta_row(meta)], WATERMARKS: [(f"scoring:{owned.part.number}".encode(), _encode(word))]}

        await owned.writer.write(rows, last)
        owned.said = (meta.applied, meta.as_of_ms)

    async def _ticks(self) -> None:
        """What time alone changes, and how far we are: looked at every `tick_seconds` of real time."""
        try:
            while True:
                await asyncio.sleep(self._tick_seconds)
                for number in sorted(self._owned):
                    owned = self._owned.get(number)
                    if owned is not None:
                        await self._tick(number, owned)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            die(f"tick: {error!r}")

    async def _tick(self, number: int, owned: Owned) -> None:
        part = owned.part
        now = self._clock.now()
        if owned.pending is None:
            owned.timely = False
            owned.pending = (now, (await self.app.end_offsets(ACTIVITY, [number]))[number])
        async with owned.lock:
            if self._owned.get(number) is not owned:
                return
            if part.rebuilding_to is not None:
                await self._skip_markers(number, owned, part.rebuilding_to)
                await self._finish_rebuild(owned)
                if part.rebuilding_to is not None:
                    return
            await self._in_time(owned)
            if owned.pending is None:
                return
            end = owned.pending[1]
            await self._skip_markers(number, owned, end)
            _reach(owned)
            if owned.said != (part.meta.applied, part.meta.as_of_ms):
                await self._commit(owned, {})
            self._metrics.standing(part, end)

    async def _skip_markers(self, number: int, owned: Owned, end: int) -> None:
        """A log that ends in transaction markers has an end that no record reaches: go there once it is certain that none lies between.

        The consumer's position does not tell: records it has passed may still be on their way here. So the stretch is read again,
        by itself, after two ticks without progress.
        """
        part = owned.part
        if part.meta.applied >= end:
            owned.idle_at = -1
        elif owned.idle_at != part.meta.applied:
            owned.idle_at = part.meta.applied
        elif await is_empty(self._bootstrap, ACTIVITY, number, part.meta.applied, end):
            part.meta.applied = end


logging.getLogger("aiokafka").setLevel(logging.ERROR)
