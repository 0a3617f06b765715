"""Learners on disk: the same rows come out as with all of them in memory, however few are decoded and whenever files are opened again."""

from __future__ import annotations

import gc
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.programme import load_programmes
from schemas.reading import partition_of
from services.scoring.core.result import Standing
from services.scoring.core.state import Learner
from services.scoring.deadlines import Deadlines
from services.scoring.disk import Database, OnDisk
from services.scoring.learners import InMemory, State
from services.scoring.partition import Partition
from services.scoring.recovery import Stores
from services.scoring.store import STATE_TOPIC, Meta, Refusals, meta_row
from services.scoring.writer import Rows
from services.shared.clock import parse_clock
from services.shared.directory import Directory
from services.shared.settings import ROOT
from tests.integration.test_scoring import CLOCK, PARTITIONS, history

PROGRAMMES = load_programmes(ROOT / "schemas" / "programmes")
NOW = parse_clock(CLOCK).now()
DAY = 86_400_000


def records(seed: int) -> list[Any]:
    rows = [(key, value) for key, value in history(seed, 60, 1_500) if partition_of(key, PARTITIONS) == 0]
    return [SimpleNamespace(offset=at, key=key, value=value, timestamp=0) for at, (key, value) in enumerate(rows)]


def begun(state: State, end: int, rules: str = "rules") -> Partition:
    return Partition.of(0, PARTITIONS, PROGRAMMES, Directory(), rules, state, end)


def committed(part: Partition, rows: Rows) -> None:
    """As the engine does once the transaction is through; the changelog's offset does not matter here."""
    part.learners.keep([*rows.get(STATE_TOPIC, []), meta_row(part.meta)], 1)


def reopened(part: Partition, most: int) -> Partition:
    """As another process finds it."""
    assert isinstance(part.learners, OnDisk)
    part.learners.close()
    return begun(State(part.meta, OnDisk(Database(part.learners.database.path), most)), part.meta.applied, part.meta.rules)


def cut(items: Sequence[Any], chance: random.Random) -> list[Sequence[Any]]:
    places = sorted(chance.sample(range(1, len(items)), 12))
    return [items[a:b] for a, b in zip([0, *places], [*places, len(items)], strict=True)]


@pytest.mark.parametrize("seed", range(4))
def test_the_same_rows_with_one_learner_in_memory(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    plain = begun(State(), 0)
    disk = begun(State(learners=OnDisk(Database(tmp_path / "kept"), 1)), 0)
    log, now = records(seed), NOW - 60 * DAY
    for batch in cut(log, chance):
        now += chance.randrange(10 * DAY)
        rows = plain.due(now, 1_000), disk.due(now, 1_000)  # in any order
        assert {topic: sorted(some) for topic, some in rows[0].items()} == {topic: sorted(some) for topic, some in rows[1].items()}
        committed(disk, rows[1])
        rows = plain.apply(batch, now), disk.apply(batch, now)
        assert rows[0] == rows[1]
        committed(disk, rows[1])
        if chance.random() < 0.5:
            disk = reopened(disk, 1)
        assert len(plain.learners) == len(disk.learners)
    assert not disk.more_due(now)
    assert len(plain.learners) > 5


def test_nobody_waits_for_the_collector_of_cycles(tmp_path: Path) -> None:
    """Who is let go, and what was worked out of the past, is freed at once: scoring never looks for cycles among what stays."""
    plain = begun(State(), 0)
    disk = begun(State(learners=OnDisk(Database(tmp_path / "kept"), 1)), 0)

    def alive(kind: type) -> int:
        return sum(type(one) is kind for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before, standings, lines = alive(Learner), alive(Standing), 0
        for batch in cut(records(2), random.Random(2)):
            rows = plain.apply(batch, NOW)
            lines += sum(b'"change":"cleared"' in (value or b"") for _, value in rows.get("learning.attention", []))
            committed(disk, disk.apply(batch, NOW))
            assert alive(Learner) == before + len(plain.learners) + 1
            assert alive(Standing) <= standings + len(plain.learners) + 1
    finally:
        gc.enable()
    assert lines > 3


def rebuilt(part: Partition, now: int) -> list[Rows]:
    """Published whole, as the engine does it."""
    found = []
    for rows in part.rebuilt(now, 3):
        found.append(rows)
        part.learners.keep(rows.get(STATE_TOPIC, []))
    committed(part, {})
    assert part.former is not None
    part.learners.replace(part.former)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_rebuild_that_was_interrupted_goes_on(tmp_path: Path, seed: int) -> None:
    """New rules: half of the log counted anew, then the process dies; the next one counts the other half and publishes the same."""
    log, chance = records(seed), random.Random(seed)
    stores = Stores(tmp_path, 2)
    parts = []
    for state in (State(), State(learners=OnDisk(Database(tmp_path / STATE_TOPIC / "0" / "kept"), 2))):
        part = begun(state, 0)
        committed(part, part.apply(log[:-20], NOW))
        parts.append(part)
    plain, disk = parts
    fresh = stores.fresh(STATE_TOPIC, 0, 77)
    plain = begun(State(plain.meta, plain.learners), len(log), "others")
    disk = begun(State(disk.meta, disk.learners, fresh=fresh), len(log), "others")
    assert plain.rebuilding_to == disk.rebuilding_to == len(log)
    batches = cut(log, chance)
    for number, batch in enumerate(batches):
        rows = plain.apply(batch, NOW + DAY), disk.apply(batch, NOW + DAY)
        disk.learners.spill(rows[1].pop(STATE_TOPIC, []), disk.meta.applied, None)
        assert rows[0] == rows[1]  # refusals of the last 20 records
        if number == len(batches) // 2:
            assert disk.former is not None
            disk.learners.close()
            disk.former.close()
            again = OnDisk(Database(tmp_path / STATE_TOPIC / "0" / "kept"), 2)
            disk = begun(State(parts[1].meta, again, fresh=stores.fresh(STATE_TOPIC, 0, 77)), len(log), "others")
            assert disk.reads_from == plain.reads_from > 0
    wanted, found = rebuilt(plain, NOW + DAY), rebuilt(disk, NOW + DAY)
    for topic in ("learning.progress", "learning.days", STATE_TOPIC, "learning.attention"):
        assert sorted(row for rows in found for row in rows.get(topic, [])) == sorted(row for rows in wanted for row in rows.get(topic, []))
    kept = reopened(disk, 2)
    assert len(kept.learners) == len(plain.learners) > 5
    assert not (tmp_path / STATE_TOPIC / "0" / "rebuild").exists()


def test_a_rebuild_is_not_gone_on_with_where_others_have_worked(tmp_path: Path) -> None:
    log, stores = records(1), Stores(tmp_path, 2)
    for rules, offset, goes_on in (("a", 5, False), ("a", 5, True), ("a", 6, False), ("b", 6, False)):
        part = begun(State(fresh=stores.fresh(STATE_TOPIC, 0, offset)), len(log), rules)
        assert (part.reads_from == 100) is goes_on
        assert (len(part.learners) > 0) is goes_on
        if not goes_on:
            rows = part.apply(log[:100], NOW)
            part.learners.spill(rows[STATE_TOPIC], part.meta.applied, None)
        part.learners.close()


@pytest.mark.parametrize(("epoch", "below"), [(3, 5), (4, 9)])
def test_what_was_told_while_another_state_was_taken_over_is_not_told_again(epoch: int, below: int) -> None:
    """What the shadow refused while it was one (epochs up to its own) it told in a topic of its own."""
    prepared = State(Meta(3, "new", 6), refusals=Refusals(9, 44, epoch))
    part = begun(State(Meta(1, "old", 5), prepared=prepared), 20, "new")
    assert (part.refused_below, part.reads_from, part.meta.epoch) == (below, min(6, below), 4)
    assert part.meta.outputs == ({"learning.rejected": 44} if below == 9 else {})


def test_files_that_are_no_database_are_made_anew(tmp_path: Path) -> None:
    first = Database(tmp_path / "kept")
    first.write([(b"p|l|sum", b"\0\0\0\1x")], 9)
    first.close()
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(b"garbage")
    assert Database(tmp_path / "kept").local.offset == 0


def test_deadlines_come_once_and_never_early() -> None:
    """Against a plain dictionary; what is kept is by learners, however often their moments move."""
    chance = random.Random(3)
    deadlines, plain = Deadlines.of([(("p", "l0"), 5), (("p", "l1"), None)]), {("p", "l0"): 5}
    now = 0
    for _ in range(20_000):
        key = ("p", f"l{chance.randrange(30)}")
        if chance.random() < 0.1:
            now += chance.randrange(20)
            due = []
            while (popped := deadlines.pop(now)) is not None:
                due.append(popped)
            assert sorted(due) == sorted(key for key, at in plain.items() if at <= now)
            plain = {key: at for key, at in plain.items() if at > now}
            assert not deadlines.any_by(now)
        else:
            at = None if chance.random() < 0.1 else now + chance.randrange(1, 200)
            deadlines.put(key, at)
            plain.pop(key, None)
            if at is not None:
                plain[key] = at
    assert len(deadlines._heap) < 600


def test_memory_has_no_files() -> None:
    part = begun(State(), 0)
    assert isinstance(part.learners, InMemory)
    assert not part.learners.spills
