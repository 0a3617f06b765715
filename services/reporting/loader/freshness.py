"""How far the tables reach: what `marts.freshness` may claim. Pure.

Scoring's word about a partition (docs/architecture.md, `learning.watermarks`) holds here once everything below the output offsets
that it names has been stored. Of `learning.activity` and `organisation.directory` the loader speaks for itself: a moment T is
claimed once the log's ends, asked for after T was read, are stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.progress import Watermark, instant_ms
from services.reporting.loader.rows import watermark_row
from services.shared.packed import Row

OWN = {"learning.activity": "activity", "organisation.directory": "directory"}


class Word(NamedTuple):
    """Scoring's watermark and where it lies in its topic."""

    log_partition: int
    log_offset: int
    said: Watermark


@dataclass
class Freshness:
    """`stored`: (topic, partition) -> next offset that is not stored; what is missing from it is not known yet."""

    partitions: Mapping[str, int]
    stored: dict[tuple[str, int], int] = field(default_factory=dict)
    _words: dict[int, deque[Word]] = field(default_factory=dict)
    _heard: dict[int, int] = field(default_factory=dict)
    _pending: dict[str, tuple[int, dict[int, int]]] = field(default_factory=dict)
    _as_of: dict[str, int] = field(default_factory=dict)
    _claimed: dict[tuple[str, int], Row] = field(default_factory=dict)

    def reached(self, topic: str, partition: int, next_offset: int) -> None:
        """Everything of a partition below `next_offset` is stored."""
        place = (topic, partition)
        self.stored[place] = max(self.stored.get(place, 0), next_offset)

    def hear(self, word: Word) -> None:
        """Words come in the order of their offsets; one that is read again after a rebalance is known."""
        if word.log_offset <= self._heard.get(word.log_partition, -1):
            return
        self._heard[word.log_partition] = word.log_offset
        self._words.setdefault(word.said.partition, deque()).append(word)

    def unsettled(self, log_partition: int) -> int | None:
        """Smallest offset, in that partition of learning.watermarks, of a word that does not hold yet."""
        offsets = [word.log_offset for words in self._words.values() for word in words if word.log_partition == log_partition]
        return min(offsets, default=None)

    def look(self, topic: str, moment_ms: int, ends: Mapping[int, int]) -> None:
        """The ends of one of our own topics, asked for after the clock showed `moment_ms`. Kept until they are stored."""
        self._pending.setdefault(topic, (moment_ms, dict(ends)))

    def looking(self, topic: str) -> bool:
        return topic in self._pending

    def missing(self) -> list[tuple[str, int]]:
        """(topic, partition) whose end, as somebody named it, is not stored."""
        wanted = [((topic, p), end) for topic, (_, ends) in self._pending.items() for p, end in ends.items()]
        for partition, words in self._words.items():
            if words:
                wanted += [((topic, partition), end) for topic, end in words[0].said.outputs.items()]
        return [place for place, end in wanted if self.stored.get(place, -1) < end]

    def claims(self) -> list[Row]:
        """Rows of store.watermarks for what holds now and was not claimed before."""
        rows = [row for partition in sorted(self._words) if (row := self._scoring(partition)) is not None]
        for topic, kind in OWN.items():
            if topic in self.partitions:
                rows += self._own(topic, kind)
        fresh = [row for row in rows if self._claimed.get((row[0], row[1])) != row]
        for row in fresh:
            self._claimed[row[0], row[1]] = row
        return fresh

    def _scoring(self, partition: int) -> Row | None:
        words, last = self._words[partition], None
        while words and all(self.stored.get((topic, partition), -1) >= end for topic, end in words[0].said.outputs.items()):
            last = words.popleft().said
        if last is None:
            return None
        return watermark_row("scoring", partition, last.applied, instant_ms(last.as_of), last.epoch)

    def _own(self, topic: str, kind: str) -> list[Row]:
        if topic in self._pending:
            moment, ends = self._pending[topic]
            if all(self.stored.get((topic, p), -1) >= ends[p] for p in range(self.partitions[topic])):
                self._as_of[topic] = max(self._as_of.get(topic, 0), moment)
                del self._pending[topic]
        if topic not in self._as_of:
            return []  # after a start: what the table says still holds, and is more than we know
        return [watermark_row(kind, p, self.stored[topic, p], self._as_of[topic]) for p in range(self.partitions[topic])]
