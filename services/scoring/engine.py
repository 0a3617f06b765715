"""Scoring at work: partitions taken over and given up, batches and clock ticks committed, each as one transaction.

Order at a take-over: fence the former owner (`Writer.start`), then recover the state, then say where to read from. Order at a batch:
fold, commit state with outputs, copy the state to this worker's disk, only then acknowledge. Any error ends the process (`stream.die`)
and leaves the work uncommitted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
from aiokafka.errors import KafkaError
from faust.types import TP

from schemas.instants import rfc3339
from schemas.progress import Watermark
from services.scoring.partition import ACTIVITY
from services.scoring.recovery import is_empty
from services.scoring.store import STATE_TOPIC, WATERMARKS, Meta, Refusals, meta_row, refusals_row
from services.scoring.takeover import Owned, TakeOver
from services.scoring.writer import Rows
from services.shared import garbage
from services.shared.kafka import check_assigned
from services.shared.stream import Batch, BatchApp, die

CHUNK = 2_000
"""Learners in one transaction of a tick or a rebuild."""
BEHIND, MOST_RECORDS, MOST_LEARNERS, MOST_SECONDS = 10_000, 200_000, 5_000, 10.0
"""While the log goes on for `BEHIND` records and more, a transaction takes in what comes within `MOST_SECONDS`, up to so many records and
learners: each learner is worked out, and each cell written, once for all of it."""
NEAR = 100
"""What took in `BEHIND` records goes on to so near the log's end: what is left by then would work nearly everybody out once more."""
TURN_SECONDS, NOTHING_TURNS = 0.01, 50
"""Turns of the event loop without a batch after which it takes in no more: before a rebalance the reader brings nothing, and waits for what
it brought. Turns, since in mere time the other partitions' folding would count, during which nobody can bring anything."""
PATIENCE_SECONDS = 5.0

_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger()


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

    def __init__(self, take_over: TakeOver, tick_seconds: float, folder: Path) -> None:
        self._take_over, self._tick_seconds = take_over, tick_seconds
        self._bootstrap, self._clock, self._metrics = take_over.bootstrap, take_over.clock, take_over.metrics
        self._owned: dict[int, Owned] = {}
        self._moving = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._soon = asyncio.Event()  # partitions were taken: say at once how far they are
        self.app = BatchApp(
            take_over.generation.group("chalk-scoring"),
            take_over.bootstrap,
            {ACTIVITY: self.handle},
            positions=self.positions,
            revoked=self.revoked,
            folder=folder,
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
                owned.close()

    # -- taking and leaving partitions ---------------------------------------------------------------------------------------------

    async def positions(self, assigned: set[TP]) -> dict[TP, int]:
        """Recover what is newly ours; where to read each partition from is what its state has applied.

        The next rebalance cancels this, and then nothing is ours: a partition that is looked after before its reader stands at the right
        place would take what comes from elsewhere for the whole.
        """
        try:
            check_assigned(assigned, {ACTIVITY: self._take_over.partitions})
            async with self._moving:
                new = sorted(tp.partition for tp in assigned if tp.topic == ACTIVITY and tp.partition not in self._owned)
                if new:
                    try:
                        taken = await self._take_over.of(new)
                    except BaseException:
                        for number in new:
                            self._metrics.given_up(number)
                        raise
                    for number, owned in zip(new, taken, strict=True):
                        self._owned[number] = owned
                        self._tasks.append(asyncio.create_task(self._work(owned)))
                    garbage.settle()
                    self._soon.set()
                return {tp: self._owned[tp.partition].part.reads_from for tp in assigned if tp.topic == ACTIVITY}
        except Exception as error:
            die(f"taking over partitions: {error!r}")
            raise

    async def revoked(self, tps: set[TP]) -> None:
        """Give partitions up: finish what is under way, then let go; the next owner fences us in any case."""
        async with self._moving:
            for tp in tps:
                if tp.topic != ACTIVITY:
                    continue
                self._metrics.given_up(tp.partition)  # maybe in the midst of taking it over
                owned = self._owned.pop(tp.partition, None)
                if owned is not None:
                    async with owned.lock:
                        await owned.writer.stop()
                        owned.close()
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
                batch = await owned.batches.get()
                async with owned.lock:
                    if self._owned.get(owned.part.number) is owned:
                        await self._handle(owned, batch)
                    else:
                        batch.drop()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            die(f"{ACTIVITY}:{owned.part.number}: {error!r}")

    async def _handle(self, owned: Owned, first: Batch) -> None:
        part, batch, batches = owned.part, first, [first]
        if part.rebuilding_to is None:
            await self._in_time(owned)  # before the batch: its commits would name offsets of which nothing is kept yet
        rebuilding = part.rebuilding_to is not None
        until, count, folding = time.monotonic() + MOST_SECONDS, 0, 0.0
        while True:
            began = time.perf_counter()
            garbage.before_work()
            part.take(batch.records, self._clock.now())
            garbage.after_work()
            folding += time.perf_counter() - began
            count += len(batch.records)
            del batch.records[:-1]  # folded: what they take is free again, and the last one still says how far the batch goes
            if count >= MOST_RECORDS or (more := await self._more(owned, batch, until, BEHIND if count < BEHIND else NEAR)) is None:
                break
            batch = more
            batches.append(batch)
        began = time.perf_counter()
        garbage.before_work()
        rows = part.tell(self._clock.now())
        garbage.after_work()
        folded = time.perf_counter()
        if rebuilding:
            await self._spill(owned, rows)
            await self._finish_rebuild(owned)
        else:
            _reach(owned)
            await self._commit(owned, rows)
        for each in batches:
            each.ack()
        self._metrics.batch(part, count, folding + folded - began, time.perf_counter() - folded)

    async def _more(self, owned: Owned, last: Batch, until: float, least: int) -> Batch | None:
        """A batch that waits, or comes by then where the log goes on for `least` records; None: what was taken is to be told now."""
        turns = 0
        while len(owned.part.untold) < MOST_LEARNERS and time.monotonic() < until:
            if self._moving.locked() or self.app.stopping.is_set():
                return None  # somebody waits for the partition
            if not owned.batches.empty():
                return owned.batches.get_nowait()
            if turns >= NOTHING_TURNS or self.app.lag(ACTIVITY, owned.part.number, last.next_offset) < least:
                return None
            turns += 1
            await asyncio.sleep(TURN_SECONDS)
        return None

    async def _spill(self, owned: Owned, rows: Rows) -> None:
        """A batch of a rebuild: nothing is published of it but refusals, which are remembered with how far they go."""
        part = owned.part
        spilled, offset = rows.pop(STATE_TOPIC, []), None
        if any(rows.values()):

            def last(offsets: dict[str, int]) -> Rows:
                _note(part.meta, offsets)
                return {STATE_TOPIC: [refusals_row(Refusals(part.refused_below, part.meta.outputs["learning.rejected"], part.meta.epoch))]}

            offset = (await owned.writer.write(rows, last))[STATE_TOPIC] + 1  # the transaction's marker
        part.learners.spill(spilled, part.meta.applied, offset)
        self._metrics.rebuild(part.number, part.reads_from, part.rebuilding_to or 0)

    async def _finish_rebuild(self, owned: Owned) -> None:
        part = owned.part
        if part.rebuilding_to is None or part.reads_from < part.rebuilding_to:
            return
        self._metrics.rebuild(part.number, part.reads_from, part.rebuilding_to)
        _log.info("log read again, publishing", partition=part.number, learners=len(part.learners), epoch=part.meta.epoch)
        for rows in part.rebuilt(self._clock.now(), CHUNK):
            if part.rebuilding_to is None:  # the last
                owned.timely = True  # everybody was just worked out
                _reach(owned)
                await self._commit(owned, rows)
            else:
                _note(part.meta, await owned.writer.write(rows, lambda _: {}))
                part.learners.keep(rows.get(STATE_TOPIC, []))
        if part.former is not None:
            if part.adopted:
                part.former.close()
            else:
                part.learners.replace(part.former)
            part.former, part.adopted = None, False

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
                generation=owned.generation.name,
            )
            return {STATE_TOPIC: [meta_row(meta)], WATERMARKS: [(f"scoring:{owned.part.number}".encode(), _encode(word))]}

        offsets = await owned.writer.write(rows, last)
        owned.part.learners.keep([*rows.get(STATE_TOPIC, []), meta_row(meta)], offsets[STATE_TOPIC])
        owned.said = (meta.applied, meta.as_of_ms)

    async def _ticks(self) -> None:
        """What time alone changes, and how far we are: looked at every `tick_seconds` of real time, and after a take-over."""
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._soon.wait(), self._tick_seconds)
                self._soon.clear()
                garbage.before_work()
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
        self._metrics.standing(part, owned.pending[1])
        if owned.lock.locked():
            return  # batches are at work, which see to what is due, and reach `pending`, themselves; others need not wait for them
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
        if part.reads_from >= end or self.app.waiting(ACTIVITY, number):
            owned.idle_at = -1
        elif owned.idle_at != part.reads_from:
            owned.idle_at = part.reads_from
        elif await self._is_empty(number, part.reads_from, end):
            part.skip_to(end)

    async def _is_empty(self, number: int, start: int, end: int) -> bool:
        try:
            return await asyncio.wait_for(is_empty(self._bootstrap, ACTIVITY, number, start, end), PATIENCE_SECONDS)
        except (TimeoutError, KafkaError):
            return False  # asked again at the next tick but one; the partition's batches must not wait for an answer


logging.getLogger("aiokafka").setLevel(logging.ERROR)
