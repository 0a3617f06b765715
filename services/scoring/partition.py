"""One partition of scoring: records in, rows to commit out. No I/O: `engine.py` fetches, writes and keeps time.

The way of a batch: read -> fold the facts of each learner into its cells -> evaluate the learners touched at `now` -> rows of state,
`learning.progress`, `learning.days`, `learning.attention`, `learning.reminders`, `learning.rejected`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from secrets import token_hex

import msgspec

from schemas.instants import rfc3339
from schemas.programme import Programme
from services.scoring.codec import MOST_KEY, Gathered, gather, refusal
from services.scoring.core.attention import changes, reminder_of
from services.scoring.core.evaluate import day_progress, encoded, evaluate
from services.scoring.core.facts import Fact, Interval
from services.scoring.core.fold import fold
from services.scoring.deadlines import Deadlines
from services.scoring.learners import InMemory, Learners, State
from services.scoring.store import PUBLISHED, STATE_TOPIC, Entry, Key, Meta, Published, Refusals, cell_rows, key_bytes
from services.scoring.writer import Row, Rows
from services.shared.directory import Directory
from services.shared.record import Record

ACTIVITY = "learning.activity"
_encode = msgspec.json.Encoder().encode


@dataclass
class Partition:
    """The state of one partition and what has to be worked out when.

    While `rebuilding_to` is set (new rules, or a changelog of mixed generations), facts are folded in silence until the log has been
    read up to there; then `rebuilt` publishes everybody under a new epoch, so that readers never see totals of half a log. `former` is
    what was published before, until then. `adopted`: learners come from another generation's state, which had applied the
    log up to `meta.applied`; records before that are read for refusals alone, from `refused_below`.
    """

    number: int
    partitions: int
    programmes: Mapping[str, Programme]
    directory: Directory
    meta: Meta
    learners: Learners = field(default_factory=InMemory)
    former: Learners | None = None
    adopted: bool = False
    refused_below: int = 0
    rebuilding_to: int | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    rejected: int = 0
    untold: dict[Key, list[Fact | Interval]] = field(default_factory=dict)
    untold_offsets: dict[Key, int] = field(default_factory=dict)
    untold_refusals: list[Row] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        number: int,
        partitions: int,
        programmes: Mapping[str, Programme],
        directory: Directory,
        rules: str,
        state: State,
        end: int,
        begins: int = 0,
    ) -> Partition:
        """Go on from a recovered state; with other rules than it was made by, start a rebuild up to `end` (next offset of the log).

        Raises ValueError where the log, which has the offsets [begins, end), lacks what the state has applied or what is to be read.
        """
        part = cls._of(number, partitions, programmes, directory, rules, state, end)
        if part.meta.applied < begins:
            raise ValueError(
                f"{ACTIVITY}:{number} begins at {begins}, but has to be read from {part.meta.applied} on: older records were deleted,"
                " and totals without them would be wrong. Put them back, or go on with the rules that the state was made by"
            )
        return part

    @classmethod
    def _of(
        cls, number: int, partitions: int, programmes: Mapping[str, Programme], directory: Directory, rules: str, state: State, end: int
    ) -> Partition:
        meta = state.meta
        if meta is not None and meta.applied > end:
            raise ValueError(
                f"{ACTIVITY}:{number} ends at {end}, but the kept state has applied {meta.applied}: the log was truncated or replaced;"
                f" delete the topic {state.generation.state_topic} to count it anew"
            )
        if meta is not None and meta.rules == rules and not state.broken:
            deadlines = Deadlines.of(state.learners.next_changes())
            return cls(number, partitions, programmes, directory, meta, state.learners, deadlines=deadlines)
        fresh = Meta(max(state.highest_epoch, meta.epoch if meta else 0) + 1, rules, 0, born=token_hex(8))
        below = meta.applied if meta is not None else 0
        if meta is not None:
            fresh.tick_ms, fresh.as_of_ms, fresh.outputs = meta.tick_ms, meta.as_of_ms, dict(meta.outputs)
        for told in _refused(state):
            if told.below > below:
                below = told.below
                fresh.outputs["learning.rejected"] = max(told.output, fresh.outputs.get("learning.rejected", 0))
        if end == 0 and not len(state.learners):
            return cls(number, partitions, programmes, directory, fresh, state.learners)
        prepared = state.prepared
        if prepared is not None and prepared.meta is not None:
            fresh.epoch = max(fresh.epoch, prepared.highest_epoch + 1, prepared.meta.epoch + 1)
            fresh.applied = prepared.meta.applied
            learners = prepared.learners
        else:
            learners, fresh.applied = state.fresh(rules)
        part = cls(number, partitions, programmes, directory, fresh, learners, state.learners, prepared is not None, below)
        part.rebuilding_to = end
        return part

    @property
    def reads_from(self) -> int:
        """The offset of the log to read on from."""
        if self.rebuilding_to is None:
            return self.meta.applied
        return min(self.meta.applied, self.refused_below) if self.adopted else self.meta.applied

    def now(self, clock_ms: int) -> int:
        """The clock, but never before what has been worked out already: kept state does not go back."""
        return max(clock_ms, self.meta.tick_ms)

    def apply(self, records: Sequence[Record], clock_ms: int) -> Rows:
        """Fold a batch and answer what it changes: the rows to commit."""
        self.take(records, clock_ms)
        return self.tell(clock_ms)

    def take(self, records: Sequence[Record], clock_ms: int) -> None:
        """Read a batch, but for records below the offset applied. What it says waits for `tell`."""
        start, reads_from = self.meta.applied, self.reads_from
        new = records
        if records[0].offset < start:
            new = [record for record in records if record.offset >= start]
            self._read([record for record in records if reads_from <= record.offset < start], clock_ms)  # for what is refused of them
        told = self._read(new, clock_ms)
        for key, facts in told.facts.items():
            if key[0] in self.programmes:
                self.untold.setdefault(key, []).extend(facts)
                self.untold_offsets[key] = told.offsets[key]
        self.meta.applied = max(start, records[-1].offset + 1)
        if self.rebuilding_to is not None:
            self.refused_below = max(self.refused_below, records[-1].offset + 1)

    def _read(self, records: Sequence[Record], clock_ms: int) -> Gathered:
        """What records say; what is refused of them, and was not before, waits for `tell` with it."""
        told = gather(records, self.number, self.partitions)
        at = rfc3339(self.now(clock_ms))
        for record, refused in told.refused:
            if record.offset >= self.refused_below:
                self.rejected += 1
                value = refusal(refused, ACTIVITY, self.number, record.offset, record.key, record.value, at)
                self.untold_refusals.append(((record.key or b"")[:MOST_KEY], value))
        return told

    def tell(self, clock_ms: int) -> Rows:
        """The rows to commit of all that was taken since the last time: each learner's facts folded, and the learner worked out, once, now.

        During a rebuild these are refusals alone, and, where learners spill, the changed cells, which are not to be committed.
        """
        now = self.now(clock_ms)
        rows: Rows = {"learning.rejected": self.untold_refusals}
        for key, facts in self.untold.items():
            entry = self.learners.get(key)
            is_new = entry is None
            if entry is None:
                entry = self.learners.enter(key)
            changed = fold(self.programmes[key[0]], entry.learner, facts)
            if not changed and not is_new:
                continue
            entry.published.offset = self.untold_offsets[key]
            if self.rebuilding_to is None:
                self._publish(key, entry, changed, now, rows)
            elif self.learners.spills:
                rows.setdefault(STATE_TOPIC, []).extend(cell_rows(self.meta.epoch, key, entry, changed))
        self.untold, self.untold_offsets, self.untold_refusals = {}, {}, []
        if self.rebuilding_to is None:
            self.meta.tick_ms = now
        return rows

    def skip_to(self, offset: int) -> None:
        """No record lies before this offset of the log that was not read."""
        self.meta.applied = max(self.meta.applied, offset)
        self.refused_below = max(self.refused_below, offset)

    def due(self, clock_ms: int, limit: int) -> Rows:
        """Rows of up to `limit` learners whom time alone has changed. `more_due` says whether some are left."""
        now = self.now(clock_ms)
        rows: Rows = {}
        for _ in range(limit):
            key = self.deadlines.pop(now)
            if key is None:
                break
            entry = self.learners.get(key)
            if entry is not None:
                self._publish(key, entry, set(), now, rows)
        if rows:
            self.meta.tick_ms = now
        return rows

    def more_due(self, clock_ms: int) -> bool:
        return self.deadlines.any_by(self.now(clock_ms))

    def rebuilt(self, clock_ms: int, size: int) -> Iterator[Rows]:
        """The log has been read to where the rebuild began: everybody's rows in chunks, each to be committed and kept before the next.

        Committed with the last of them, which has what is no more, `meta` makes the new generation valid.
        """
        now, former = self.now(clock_ms), self.former or InMemory()
        keys = self.learners.everybody()
        while chunk := list(islice(keys, size)):
            rows: Rows = {}
            for key in chunk:
                entry = self.learners.get(key)
                assert entry is not None
                before = former.published(key)
                # What the other rules had published stays known, so that only differences are logged; the row is written in any case.
                entry.published = Published(before.flags if before else [], b"", entry.published.offset)
                self._publish(key, entry, set(entry.learner.names()), now, rows)
            yield rows
        last: Rows = {STATE_TOPIC: [], "learning.progress": [], "learning.days": []}
        for key in former.everybody():
            kept = self.learners.published(key) is not None
            names = set(former.names(key))
            gone = names - set(self.learners.names(key)) if kept else names | {PUBLISHED}
            if not self.adopted:
                last[STATE_TOPIC] += [(key_bytes(key) + b"|" + name.encode(), None) for name in sorted(gone)]
            last["learning.days"] += [(key_bytes(key) + b"|" + name[4:].encode(), None) for name in sorted(gone) if name.startswith("day:")]
            if not kept:
                last["learning.progress"].append((key_bytes(key), None))
        self.meta.tick_ms = now
        self.rebuilding_to = None
        yield last

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
        self.deadlines.put(key, evaluation.next_change_ms)
        rows.setdefault(STATE_TOPIC, []).extend(cell_rows(self.meta.epoch, key, entry, changed))


def _refused(state: State) -> Iterator[Refusals]:
    """What rebuilds that died have told already. What a shadow told while it was one, it told in a topic of its own."""
    if state.refusals is not None:
        yield state.refusals
    prepared = state.prepared
    if prepared is None or prepared.refusals is None or prepared.meta is None:
        return
    if prepared.refusals.epoch > prepared.meta.epoch:
        yield prepared.refusals
