"""A worker takes partitions over: fence the former owners, find what they have left, and say from where each is to be read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog
from aiokafka import TopicPartition

from schemas.programme import Programme
from schemas.progress import Watermark
from services.scoring.learners import State
from services.scoring.metrics import Metrics
from services.scoring.partition import ACTIVITY, Partition
from services.scoring.recovery import Reading, Stores, last_words, prepared_by, recover, topics_of
from services.scoring.store import STATE_TOPIC, WATERMARKS
from services.scoring.writer import Writer
from services.shared.clock import Clock
from services.shared.directory import Directory
from services.shared.generation import LIVE, Generation
from services.shared.stream import Batch

_log = structlog.get_logger()


@dataclass
class Owned:
    """A partition this worker owns. `generation`: whose state it stands on.

    `pending`: a moment and the log's end as read after it; once applied, `as_of` is that moment.
    """

    part: Partition
    writer: Writer
    generation: Generation
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    batches: asyncio.Queue[Batch] = field(default_factory=lambda: asyncio.Queue(8))
    pending: tuple[int, int] | None = None
    timely: bool = False  # what time alone changes up to `pending`'s moment is done
    said: tuple[int, int] = (-1, -1)
    idle_at: int = -1

    def close(self) -> None:
        """Let go of what lies on disk."""
        self.part.learners.close()
        if self.part.former is not None:
            self.part.former.close()


@dataclass
class TakeOver:
    """What it takes: `rules` is the digest of `programmes`, `partitions` the number of them that the topic is declared with."""

    bootstrap: str
    programmes: Mapping[str, Programme]
    rules: str
    directory: Directory
    clock: Clock
    partitions: int
    metrics: Metrics
    stores: Stores
    generation: Generation = LIVE

    async def of(self, numbers: list[int]) -> list[Owned]:
        """Fence the former owners of all, and only then look at what they have left.

        The group's own consumer is not asked for anything: its answers would wait behind its fetches.
        """
        writers = [Writer(self.bootstrap, number, frozenset({WATERMARKS}), self.generation) for number in numbers]
        await asyncio.gather(*(writer.start() for writer in writers))
        words, topics = await last_words(self.bootstrap, self.generation.watermarks_topic), await topics_of(self.bootstrap)
        async with Reading(self.bootstrap, *(TopicPartition(ACTIVITY, number) for number in numbers)) as log:
            taking = [self._take(log, number, writer, words.get(number), topics) for number, writer in zip(numbers, writers, strict=True)]
            return await asyncio.gather(*taking)

    async def _take(self, log: Reading, number: int, writer: Writer, word: Watermark | None, topics: set[str]) -> Owned:
        """`word`: the last of this partition; `topics`: all there are."""
        started = time.monotonic()
        state = await self._recovered(number, word, topics)
        standing = state.prepared or state
        writer.names[STATE_TOPIC] = standing.generation.state_topic
        moment = self.clock.now()
        place = TopicPartition(ACTIVITY, number)
        end, begins = (await log.ends())[place], (await log.begins())[place]
        part = Partition.of(number, self.partitions, self.programmes, self.directory, self.rules, state, end, begins)
        _log.info(
            "partition taken", partition=number, learners=len(part.learners), applied=part.meta.applied, epoch=part.meta.epoch,
            rebuilding_to=part.rebuilding_to, generation=standing.generation.name, seconds=round(time.monotonic() - started, 2),
        )  # fmt: skip
        if part.rebuilding_to is not None:
            self.metrics.rebuild(number, part.reads_from, part.rebuilding_to)
        return Owned(part, writer, standing.generation, pending=(moment, end))

    async def _recovered(self, number: int, word: Watermark | None, topics: set[str]) -> State:
        """The state to go on from; with one of another generation that the rules were tried on before (`chalk replay`), if there is one."""
        told = partial(self.metrics.recovery, number)
        if self.generation != LIVE:
            return _after(await recover(self.bootstrap, number, self.generation, self.stores, told), word)
        current = Generation(word.generation) if word is not None else LIVE
        if current.state_topic not in topics:
            current = LIVE
        state = _after(await recover(self.bootstrap, number, current, self.stores, told), word)
        if state.meta is None or state.meta.rules != self.rules or state.broken:
            found = await prepared_by(self.bootstrap, topics, number, self.rules, current)
            if found is not None:
                if found != LIVE:  # ours is fenced already
                    fence = Writer(self.bootstrap, number, generation=found)
                    await fence.start()
                    await fence.stop()
                prepared = await recover(self.bootstrap, number, found, self.stores, told)
                if not prepared.broken and prepared.meta is not None and prepared.meta.rules == self.rules:
                    state.prepared = prepared
                else:
                    prepared.learners.close()
        return state


def _after(state: State, word: Watermark | None) -> State:
    """A state is of use only if it is what was published last: the outputs' last word is of its epoch."""
    if word is not None and state.meta is not None and word.epoch != state.meta.epoch:
        state.broken, state.highest_epoch = True, max(state.highest_epoch, word.epoch)
    return state
