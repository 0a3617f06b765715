"""One partition of scoring: records in, rows to commit out. No I/O: `engine.py` fetches, writes and keeps time.

The way of a batch: decode -> fold the facts of each learner into its cells -> evaluate the learners touched at `now` -> rows of state,
`learning.progress`, `learning.days`, `learning.attention`, `learning.reminders`, `learning.rejected`.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.instants import rfc3339
from schemas.programme import Programme
from services.scoring.codec import MOST_KEY, Refused, decode, refusal
from services.scoring.core.attention import changes, reminder_of
from services.scoring.core.evaluate import day_progress, encoded, evaluate
from services.scoring.core.facts import Fact
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from services.scoring.store import STATE_TOPIC, Entry, Key, Meta, Published, State, cell_rows
from services.scoring.writer import Row, Rows
from services.shared.directory import Directory
from services.shared.stream import Record

ACTIVITY = "learning.activity"
_encode = msgspec.json.Encoder().encode


@dataclass
class Partition:
    """The state of one partition and what has to be worked out when.

    While `rebuilding_to` is set (new rules, or a changelog of mixed generations), facts are folded in silence until the log has been
    read up to there; then `rebuilt` publishes everybody under a new epoch, so that readers never see totals of half a log.
    """

    number: int
    partitions: int
    programmes: Mapping[str, Programme]
    directory: Directory
    meta: Meta
    entries: dict[Key, Entry] = field(default_factory=dict)
    former: dict[Key, Entry] = field(default_factory=dict)
    already_rejected_below: int = 0
    held: list[Row] = field(default_factory=list)
    rebuilding_to: int | None = None
    deadlines: list[tuple[int, Key]] = field(default_factory=list)
    rejected: int = 0

    @classmethod
    def of(
        cls, number: int, partitions: int, programmes: Mapping[str, Programme], directory: Directory, rules: str, state: State, end: int
    ) -> Partition:
        """Go on from a recovered state; with other rules than it was made by, start a rebuild up to `end` (next offset of the log)."""
        meta = state.meta
        if meta is not None and meta.applied > end:
            raise ValueError(
                f"{ACTIVITY}:{number} ends at {end}, but the kept state has applied {meta.applied}: the log was truncated or replaced;"
                " delete the topic scoring.state to count it anew"
            )
        if meta is not None and meta.rules == rules and not state.broken:
            part = cls(number, partitions, programmes, directory, meta, state.entries)
            for key, entry in state.entries.items():
                part._plan(key, entry)
            return part
        epoch = max(state.highest_epoch, meta.epoch if meta else 0) + 1
        fresh = Meta(epoch, rules, 0)
        below = 0
        if meta is not None:
            below = meta.applied
            fresh.tick_ms, fresh.as_of_ms, fresh.outputs = meta.tick_ms, meta.as_of_ms, dict(meta.outputs)
        part = cls(number, partitions, programmes, directory, fresh, former=state.entries, already_rejected_below=below)
        part.rebuilding_to = end if end > 0 or state.entries else None
        return part

    def now(self, clock_ms: int) -> int:
        """The clock, but never before what has been worked out already: kept state does not go back."""
        return max(clock_ms, self.meta.tick_ms)

    def apply(self, records: Sequence[Record], clock_ms: int) -> Rows:
        """Fold a batch, but for records below the offset applied. Returns the rows to commit (none while rebuilding)."""
        now = self.now(clock_ms)
        rejected: list[Row] = []
        facts: dict[Key, list[Fact]] = {}
        touched: dict[Key, int] = {}
        start = self.meta.applied
        for record in records:
            offset = record.offset
            if offset < start:
                continue
            found = decode(record.key, record.value, record.timestamp, self.number, self.partitions)
            if isinstance(found, Refused):
                self.rejected += 1
                if offset >= self.already_rejected_below:
                    value = refusal(found, ACTIVITY, self.number, offset, record.key, record.value, rfc3339(now))
                    rejected.append(((record.key or b"")[:MOST_KEY], value))
                continue
            programme, learner_id, fact = found
            if programme in self.programmes:
                key = (programme, learner_id)
                facts.setdefault(key, []).append(fact)
                touched[key] = offset
        rows: Rows = {"learning.rejected": rejected}
        if self.rebuilding_to is not None:  # nothing says yet that these records were read, so they would be rejected twice
            self.held += rejected
            rows = {}
        for key, new in facts.items():
            entry = self.entries.get(key)
            first = entry is None
            if entry is None:
                entry = self._enter(key)
            changed = fold(self.programmes[key[0]], entry.learner, new)
            if changed or first:
                entry.published.offset = touched[key]
                if self.rebuilding_to is None:
                    self._publish(key, entry, changed, now, rows)
        self.meta.applied = max(start, records[-1].offset + 1)
        if self.rebuilding_to is None:
            self.meta.tick_ms = now
        return rows

    def _enter(self, key: Key) -> Entry:
        """A learner not met in this generation; what a former one had published stays known, so that only differences are logged."""
        entry = self.entries[key] = Entry(Learner.new(key[1]))
        before = self.former.get(key)
        if before is not None:
            entry.published = Published(flags=before.published.flags)
        return entry

    def due(self, clock_ms: int, limit: int) -> Rows:
        """Rows of up to `limit` learners whom time alone has changed. `more_due` says whether some are left."""
        now = self.now(clock_ms)
        rows: Rows = {}
        done = 0
        while self.deadlines and self.deadlines[0][0] <= now and done < limit:
            at, key = heapq.heappop(self.deadlines)
            entry = self.entries.get(key)
            if entry is None or entry.published.next_change_ms != at:
                continue  # worked out anew since it was planned
            self._publish(key, entry, set(), now, rows)
            done += 1
        if rows:
            self.meta.tick_ms = now
        return rows

    def more_due(self, clock_ms: int) -> bool:
        return bool(self.deadlines) and self.deadlines[0][0] <= self.now(clock_ms)

    def rebuilt(self, clock_ms: int, size: int) -> list[Rows]:
        """The log has been read to where the rebuild began: everybody's rows in chunks.

        Written with the last of them, `meta` makes the new generation valid.
        """
        now = self.now(clock_ms)
        chunks: list[Rows] = []
        keys = sorted(self.entries)
        for at in range(0, len(keys), size):
            rows: Rows = {}
            for key in keys[at : at + size]:
                entry = self.entries[key]
                self._publish(key, entry, set(entry.learner.names()), now, rows)
            chunks.append(rows)
        last: Rows = {STATE_TOPIC: [], "learning.progress": [], "learning.days": [], "learning.rejected": self.held}
        for key, before in sorted(self.former.items()):
            kept = self.entries.get(key)
            names = set(before.learner.names())
            gone = names - set(kept.learner.names()) if kept else names | {"@published"}
            last[STATE_TOPIC] += [(f"{key[0]}|{key[1]}|{name}".encode(), None) for name in sorted(gone)]
            last["learning.days"] += [(f"{key[0]}|{key[1]}|{name[4:]}".encode(), None) for name in sorted(gone) if name.startswith("day:")]
            if kept is None:
                last["learning.progress"].append((f"{key[0]}|{key[1]}".encode(), None))
        self.former, self.held = {}, []
        self.rebuilding_to = None
        self.meta.tick_ms = now
        return [*chunks, last]

    def _publish(self, key: Key, entry: Entry, changed: set[str], now: int, rows: Rows) -> None:
        """Evaluate a learner and add what changed to the rows; state is written in any case, since cells or deadlines moved."""
        programme, learner_id = key
        rules, published = self.programmes[programme], entry.published
        evaluation = evaluate(rules, entry.learner, now)
        progress = evaluation.progress
        text_key = f"{programme}|{learner_id}"
        version = (self.meta.epoch, published.offset, now)
        stamp = rfc3339(now)
        if evaluation.digest != published.body:
            for change in changes(rules, entry.learner, published.flags, progress, now):
                path = self.directory.path(progress.class_id)
                change.school_id, change.county_id, change.city_id, change.province_id = path
                change.programme, change.learner_id, change.changed_at = programme, learner_id, stamp
                rows.setdefault("learning.attention", []).append((text_key.encode(), _encode(change)))
            reminder = reminder_of(rules, published.flags, progress, now)
            if reminder is not None:
                rows.setdefault("learning.reminders", []).append((text_key.encode(), _encode(reminder)))
            published.body, published.flags = evaluation.digest, progress.flags
            progress.version, progress.updated_at = version, stamp
            rows.setdefault("learning.progress", []).append((text_key.encode(), encoded(evaluation)))
        for name in sorted(changed):
            if name.startswith("day:"):
                day = day_progress(rules, entry.learner, name[4:])
                day.programme, day.learner_id, day.version, day.updated_at = programme, learner_id, version, stamp
                rows.setdefault("learning.days", []).append((f"{text_key}|{name[4:]}".encode(), _encode(day)))
        published.next_change_ms = evaluation.next_change_ms
        self._plan(key, entry)
        rows.setdefault(STATE_TOPIC, []).extend(cell_rows(self.meta.epoch, key, entry, changed))

    def _plan(self, key: Key, entry: Entry) -> None:
        at = entry.published.next_change_ms
        if at is not None:
            heapq.heappush(self.deadlines, (at, key))
