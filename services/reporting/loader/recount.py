"""The log counted again from nothing: learners by the facts of `learning.activity`, units by `organisation.directory`.

Reads Kafka with a consumer of its own and keeps everything in memory; nothing that scoring or the loader kept is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.programme import Programme
from schemas.reading import Event, read_directory
from services.scoring.codec import gather
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from services.shared.directory import Directory
from services.shared.reader import committed_reader
from services.shared.record import Record

ACTIVITY, DIRECTORY = "learning.activity", "organisation.directory"
Key = tuple[str, str]


@dataclass
class Recount:
    """Call `read_on` again to take in what the log has got since; `applied` says how far it is, `topic:partition` -> next offset."""

    bootstrap: str
    programmes: Mapping[str, Programme]
    partitions: Mapping[str, int]
    learners: dict[Key, Learner] = field(default_factory=dict)
    directory: Directory = field(default_factory=Directory)
    applied: dict[str, int] = field(default_factory=dict)
    records: int = 0
    refused: int = 0
    _consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Recount:
        self._consumer = committed_reader(self.bootstrap, max_partition_fetch_bytes=4 << 20)
        await self._consumer.start()
        tps = self._tps()
        self._consumer.assign(tps)
        await self._consumer.seek_to_beginning(*tps)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    def _tps(self) -> list[TopicPartition]:
        return [TopicPartition(topic, p) for topic in (ACTIVITY, DIRECTORY) for p in range(self.partitions[topic])]

    async def read_on(self, told: Callable[[int, int], None] = lambda done, of: None) -> None:
        """Up to the log's ends as they are now; `told(offsets done, of)` on the way."""
        consumer, tps = self._consumer, self._tps()
        assert consumer is not None, "use `async with`"
        ends = await consumer.end_offsets(tps)
        goal = sum(ends.values())
        while True:
            positions = {tp: await consumer.position(tp) for tp in tps}
            told(sum(min(at, ends[tp]) for tp, at in positions.items()), goal)
            if all(positions[tp] >= ends[tp] for tp in tps):
                break
            for tp, records in (await consumer.getmany(timeout_ms=300, max_records=5_000)).items():
                self._take(tp, records)
        for tp, end in ends.items():
            self.applied[f"{tp.topic}:{tp.partition}"] = end

    def _take(self, tp: TopicPartition, records: list[Record]) -> None:
        self.records += len(records)
        if tp.topic == DIRECTORY:
            for record in records:
                event = read_directory(record.key, record.value, record.timestamp, tp.partition, self.partitions[DIRECTORY])
                if isinstance(event, Event):
                    self.directory.fold(event)
            return
        told = gather(records, tp.partition, self.partitions[ACTIVITY])
        self.refused += len(told.refused)
        for whose, new in told.facts.items():
            if whose[0] not in self.programmes:
                continue
            learner = self.learners.get(whose)
            if learner is None:
                learner = self.learners[whose] = Learner.new(whose[1])
            fold(self.programmes[whose[0]], learner, new)
