"""What scoring keeps of one partition, and how it is written: in the changelog `scoring.state` and, the same bytes, on a worker's disk.

Changelog keys are `programme|learner|cell`; a value is the cell's generation (epoch, 4 bytes big-endian) and its canonical bytes.
One cell of each learner is the engine's: `@published`, what was last published, so that a change is logged exactly once. Two keys are the
partition's: `|meta` (`Meta`), written last in every transaction, and `|refused` (`Refusals`), written while the log is read again. All
of one batch is one transaction (`writer.py`), so a recovered partition is the state after a whole batch, never between.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec

from schemas.progress import Flag
from services.scoring.core.state import Learner

STATE_TOPIC = "scoring.state"
WATERMARKS = "learning.watermarks"
REPLACED = ("learning.progress", "learning.days")
"""What a rebuild publishes whole."""
META_KEY = b"|meta"
REFUSED_KEY = b"|refused"
PUBLISHED = "@published"

Key = tuple[str, str]


class Meta(msgspec.Struct):
    """Where a partition stands. `born`: says this state from any other that has the same epoch.

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
    born: str = ""


class Refusals(msgspec.Struct):
    """While a rebuild reads the log: unsound records below `below` are in `learning.rejected`, which then ended at `output`.

    `epoch`: the one that is being built.
    """

    below: int
    output: int
    epoch: int = 0


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
_refusals = msgspec.json.Decoder(Refusals)
_published = msgspec.json.Decoder(Published)


def key_bytes(key: Key) -> bytes:
    """`programme|learner`: the key of a learner's outputs."""
    return f"{key[0]}|{key[1]}".encode()


def cell_rows(epoch: int, key: Key, entry: Entry, changed: Collection[str]) -> list[tuple[bytes, bytes]]:
    """Changelog records of a learner's changed cells and of what was published."""
    prefix, generation = f"{key[0]}|{key[1]}|", epoch.to_bytes(4, "big")
    rows = [((prefix + name).encode(), generation + entry.learner.encode(name)) for name in sorted(changed)]
    rows.append(((prefix + PUBLISHED).encode(), generation + _encode(entry.published)))
    return rows


def read_published(value: bytes) -> Published:
    return _published.decode(value[4:])


def epoch_of(value: bytes) -> int:
    """The generation that wrote a cell."""
    return int.from_bytes(value[:4], "big")


def meta_row(meta: Meta) -> tuple[bytes, bytes]:
    return META_KEY, _encode(meta)


def read_meta(value: bytes) -> Meta:
    return _meta.decode(value)


def refusals_row(refusals: Refusals) -> tuple[bytes, bytes]:
    return REFUSED_KEY, _encode(refusals)


def read_refusals(value: bytes) -> Refusals:
    return _refusals.decode(value)
