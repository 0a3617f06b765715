"""The learners of one partition: what scoring asks of them, and the plain way to keep them, all in memory. The other: `disk.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.scoring.core.state import Learner
from services.scoring.store import PUBLISHED, Entry, Key, Meta, Published, Refusals, epoch_of, read_published
from services.shared.generation import LIVE, Generation

Row = tuple[bytes, bytes | None]


class Learners(Protocol):
    """What scoring asks of it. `spills`: changed cells have to be given to `keep` also where nothing is committed (during a rebuild)."""

    spills: bool

    def __len__(self) -> int: ...

    def get(self, key: Key) -> Entry | None:
        """A learner, or None who was never met. Holds until the next `keep`."""

    def enter(self, key: Key) -> Entry:
        """A learner who was never met."""

    def everybody(self) -> Iterator[Key]:
        """Everybody, always in the same order."""

    def published(self, key: Key) -> Published | None:
        """What was last published of a learner; does not take the learner into memory."""

    def names(self, key: Key) -> list[str]:
        """The names of a learner's cells."""

    def next_changes(self) -> Iterator[tuple[Key, int | None]]:
        """When time alone changes whom, ms."""

    def keep(self, rows: Iterable[Row], offset: int | None = None) -> None:
        """These changelog records are durable in Kafka; those of the whole generation below `offset`, where that is said."""

    def spill(self, rows: Iterable[Row], applied: int, offset: int | None) -> None:
        """These records of a rebuild are in no changelog yet: the log is counted up to `applied`, the changelog's next offset is `offset`
        (None: as it was)."""

    def replace(self, former: Learners) -> None:
        """This generation holds now: what the former one kept in the same place is gone."""

    def close(self) -> None:
        """Let go of files; nothing is asked afterwards."""


class InMemory:
    """Everybody, in memory."""

    spills = False

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self.epochs: set[int] = set()

    def load(self, key: bytes, value: bytes) -> None:
        """Take in the last changelog record of a learner's cell."""
        programme, learner_id, cell = key.decode().split("|", 2)
        self.epochs.add(epoch_of(value))
        entry = self.entries.get((programme, learner_id))
        if entry is None:
            entry = self.entries[programme, learner_id] = Entry(Learner.new(learner_id))
        if cell == PUBLISHED:
            entry.published = read_published(value)
        else:
            entry.learner.load(cell, value[4:])

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, key: Key) -> Entry | None:
        return self.entries.get(key)

    def enter(self, key: Key) -> Entry:
        entry = self.entries[key] = Entry(Learner.new(key[1]))
        return entry

    def everybody(self) -> Iterator[Key]:
        return iter(sorted(self.entries))

    def published(self, key: Key) -> Published | None:
        entry = self.entries.get(key)
        return entry.published if entry else None

    def names(self, key: Key) -> list[str]:
        return self.entries[key].learner.names()

    def next_changes(self) -> Iterator[tuple[Key, int | None]]:
        for key, entry in self.entries.items():
            yield key, entry.published.next_change_ms

    def keep(self, rows: Iterable[Row], offset: int | None = None) -> None:
        pass

    def spill(self, rows: Iterable[Row], applied: int, offset: int | None) -> None:
        pass

    def replace(self, former: Learners) -> None:
        pass

    def close(self) -> None:
        pass


def loaded(rows: Sequence[tuple[bytes, bytes]]) -> InMemory:
    """Learners from the last changelog records of their cells."""
    made = InMemory()
    for key, value in rows:
        made.load(key, value)
    return made


@dataclass
class State:
    """One partition as it was left.

    `broken`: cells of several epochs were found, or what they published is gone, so the log has to be read again, under an epoch above
    `highest_epoch`. `prepared`: the state of another generation that was made by the rules that are to hold now. `fresh(rules)`
    gives learners to count anew and the next offset of the log up to which they are counted already.
    """

    meta: Meta | None = None
    learners: Learners = field(default_factory=InMemory)
    broken: bool = False
    highest_epoch: int = 0
    refusals: Refusals | None = None
    generation: Generation = LIVE
    prepared: State | None = None
    fresh: Callable[[str], tuple[Learners, int]] = lambda rules: (InMemory(), 0)
