"""A shadow generation's loader: its topics under the names that the live ones have, so that the loader knows one set of names.

Scoring's watermark of a shadow may name topics by either name; what the shadow's loader does not read (`learning.rejected`, which no
rule decides) is left out of what freshness waits for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from schemas.progress import Watermark, decode, encode
from services.reporting.loader.loader import Source
from services.shared.generation import WATERMARKS, Generation
from services.shared.record import Record
from services.shared.stream import Batch, Handler

SHADOW_TOPICS = ("learning.progress", "learning.days", "learning.attention", "learning.reminders", WATERMARKS)


class Renamed(msgspec.Struct):
    """A record of which the value was rewritten; see `services.shared.stream.Record`."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


@dataclass(frozen=True)
class OwnNames:
    """Stands between the stream and the loader; for the live generation it changes nothing."""

    generation: Generation
    into: Handler
    read: frozenset[str]

    async def handle(self, batch: Batch) -> None:
        if not self.generation.name:
            return await self.into(batch)
        topic = self.generation.base(batch.topic)
        if topic == WATERMARKS:
            batch.records[:] = [self._word(record) for record in batch.records]
        return await self.into(replace(batch, topic=topic))

    def _word(self, record: Record) -> Record:
        if record.value is None:
            return record
        word = decode(Watermark, record.value)
        outputs = {self.generation.base(topic): offset for topic, offset in word.outputs.items()}
        kept = {topic: offset for topic, offset in outputs.items() if topic in self.read}
        return Renamed(record.offset, record.key, encode(msgspec.structs.replace(word, outputs=kept)), record.timestamp)

    def source(self, stream: Any) -> Source:
        """The stream as the loader asks it."""
        return _Source(stream, self.generation) if self.generation.name else stream


@dataclass(frozen=True)
class _Source:
    stream: Any
    generation: Generation

    async def end_offsets(self, topic: str, partitions: list[int]) -> dict[int, int]:
        found: dict[int, int] = await self.stream.end_offsets(self.generation.topic(topic), partitions)
        return found

    async def position(self, topic: str, partition: int) -> int | None:
        found: int | None = await self.stream.position(self.generation.topic(topic), partition)
        return found

    def waiting(self, topic: str, partition: int) -> bool:
        return bool(self.stream.waiting(self.generation.topic(topic), partition))
