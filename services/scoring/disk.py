"""A partition's copy of its changelog on the worker's own disk (RocksDB), so that a restart reads the changelog's tail only, and a
state may be larger than memory.

The copy is written after the transaction has committed, each batch atomically together with the changelog offset that it reflects. So it
may lag behind the changelog and never be ahead of it; after any death the tail is read again. It is thrown away, and the
changelog read from its start, where it might hold what the changelog no longer does (`recovery.py` decides).

Keys are the changelog's, but what was published of a learner has a range of its own, so that it can be gone through for everybody.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import structlog
from rocksdict import Options, Rdict, ReadOptions, WriteBatch

from services.scoring.core.state import Learner
from services.scoring.learners import Learners, Row
from services.scoring.store import META_KEY, PUBLISHED, Entry, Key, Published, key_bytes, read_meta, read_published

BUFFER_BYTES = 16 << 20
LOCAL_KEY = b"|local"
_PUBLISHED = b"\x00"  # before every changelog key: their first byte is a programme's first letter, or |
_SUFFIX = b"|" + PUBLISHED.encode()
_log = structlog.get_logger()


class Local(msgspec.Struct):
    """What the copy knows of itself.

    `offset`: next offset of the changelog; `epoch`: the highest of any cell. Of a rebuild that is under way: `rules` it is made by,
    `applied`: next offset of `learning.activity`, and `offset` as the changelog stood: where it has grown, somebody else has worked.
    """

    offset: int = 0
    epoch: int = 0
    rules: str = ""
    applied: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Local).decode


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(BUFFER_BYTES)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    return options


class Database:
    """One folder. Not for two at a time: RocksDB locks it, and `worker_folder` keeps workers apart."""

    def __init__(self, path: Path) -> None:
        """Opens or makes it. One that can't be opened is thrown away: all it holds is in Kafka."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db: Any = Rdict(str(path), _options())
        except Exception as error:  # rocksdict raises plain Exceptions
            if "lock" in str(error).lower() or "No space left" in str(error):
                raise
            _log.warning("local state can't be read, it is made anew", path=str(path), error=str(error))
            shutil.rmtree(path, ignore_errors=True)
            self._db = Rdict(str(path), _options())
        found = self._db.get(LOCAL_KEY)
        self.local = Local() if found is None else _decode(found)

    def close(self) -> None:
        self._db.close()

    def wipe(self) -> None:
        """Empty it."""
        self._db.close()
        shutil.rmtree(self.path)
        self._db = Rdict(str(self.path), _options())
        self.local = Local()

    def become(self, other: Database) -> None:
        """Take the other's place: what the other held is gone, and this is what lies in its folder from now on."""
        self._db.close()
        other.close()
        shutil.rmtree(other.path)
        self.path.rename(other.path)  # a death before this leaves nothing there, so the changelog is read from its start
        self.path = other.path
        self._db = Rdict(str(self.path), _options())

    def write(self, rows: Iterable[Row], offset: int | None = None) -> None:
        """Changelog records, and the changelog's next offset with them."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows:
            if key.endswith(_SUFFIX):
                key = _PUBLISHED + key[: -len(_SUFFIX)]
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
                if key == META_KEY:
                    self.local.epoch = max(self.local.epoch, read_meta(value).epoch)
        if offset is not None:
            self.local.offset = offset
        batch.put(LOCAL_KEY, _encode(self.local))
        self._db.write(batch)

    def value(self, key: bytes) -> bytes | None:
        """Of one of the partition's own keys."""
        found: bytes | None = self._db.get(key)
        return found

    def published(self, key: Key) -> bytes | None:
        found: bytes | None = self._db.get(_PUBLISHED + key_bytes(key))
        return found

    def learners(self) -> Iterator[tuple[Key, bytes]]:
        """Everybody, with what was published of them, by key."""
        for key, value in self._range(_PUBLISHED, b"\x01"):
            programme, _, learner_id = key[1:].decode().partition("|")
            yield (programme, learner_id), value

    def cells(self, key: Key) -> Iterator[tuple[str, bytes]]:
        """A learner's cells but `@published`, by name."""
        prefix = key_bytes(key) + b"|"
        for name, value in self._range(prefix, prefix + b"\xff"):
            yield name[len(prefix) :].decode(), value

    def _range(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        bounded = ReadOptions()  # rocksdict reads the bound through it on the way: it has to live as long as the iteration
        bounded.set_iterate_upper_bound(end)
        for key, value in self._db.items(from_key=first, read_opt=bounded):
            if key >= end:
                break
            yield key, value

    @property
    def meta(self) -> bytes | None:
        return self.value(META_KEY)


class OnDisk:
    """Everybody in a local database, at most `most` of them decoded in memory (and those of the batch under way)."""

    spills = True

    def __init__(self, database: Database, most: int, count: int | None = None) -> None:
        """`count`: how many there are, where that is known."""
        self.database = database
        self._most = most
        self._met: OrderedDict[Key, Entry] = OrderedDict()
        self._count = sum(1 for _ in database.learners()) if count is None else count

    def __len__(self) -> int:
        return self._count

    def get(self, key: Key) -> Entry | None:
        entry = self._met.get(key)
        if entry is not None:
            self._met.move_to_end(key)
            return entry
        value = self.database.published(key)
        if value is None:
            return None
        entry = Entry(Learner.new(key[1]), read_published(value))
        for name, cell in self.database.cells(key):
            entry.learner.load(name, cell[4:])
        self._met[key] = entry
        return entry

    def enter(self, key: Key) -> Entry:
        self._count += 1
        entry = self._met[key] = Entry(Learner.new(key[1]))
        return entry

    def everybody(self) -> Iterator[Key]:
        for key, _ in self.database.learners():
            yield key

    def published(self, key: Key) -> Published | None:
        value = self.database.published(key)
        return None if value is None else read_published(value)

    def names(self, key: Key) -> list[str]:
        return [name for name, _ in self.database.cells(key)]

    def next_changes(self) -> Iterator[tuple[Key, int | None]]:
        for key, value in self.database.learners():
            yield key, read_published(value).next_change_ms

    def spill(self, rows: Iterable[Row], applied: int, offset: int | None) -> None:
        self.database.local.applied = applied
        self.keep(rows, offset)

    def replace(self, former: Learners) -> None:
        if isinstance(former, OnDisk):
            self.database.become(former.database)

    def keep(self, rows: Iterable[Row], offset: int | None = None) -> None:
        self.database.write(rows, offset)
        while len(self._met) > self._most:
            _, entry = self._met.popitem(last=False)
            entry.learner.standing = None  # it refers to the learner: a cycle, which nobody may look for in a long while

    def close(self) -> None:
        for entry in self._met.values():
            entry.learner.standing = None
        self._met.clear()
        self.database.close()
