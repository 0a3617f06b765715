"""`make bench-core`: what the pure core costs on one core, without servers.

Flat: one study event folded into a learner with 10, 100 and 1,000 earlier sessions. Rates: study facts a second, where a batch brings
many of the same learners and where each learner has one; `fold` takes facts into cells and works touched days out, `core` adds totals,
flags and the encoding of all that changed, `records` the reading of the Kafka records and the log of flags (`Partition.apply`: everything
but the broker). All by processor time, the best of some runs.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from schemas.programme import Programme, load_programmes
from schemas.reading import Event, partition_of, read_record
from services.scoring.core.evaluate import encoded, evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from services.scoring.partition import Partition
from services.scoring.store import Meta
from services.shared.directory import Directory
from services.shared.settings import ROOT

PROGRAMMES = load_programmes(ROOT / "schemas" / "programmes")
PLAN = "zhuozhou-2023"
BEGINS = datetime(2023, 6, 5, tzinfo=UTC)
NOW = int(datetime(2023, 6, 12, tzinfo=UTC).timestamp() * 1000)
"""The evening of the sessions that are measured: as live as they come."""
REPEATS = 3


class Record(NamedTuple):
    offset: int
    key: bytes
    value: bytes
    timestamp: int


def courses(programme: Programme) -> list[str]:
    return list(programme.courses)[:4]


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def record(offset: int, learner: str, kind: str, moment: datetime, data: dict[str, Any]) -> Record:
    item = {
        "specversion": "1.0",
        "id": f"{learner}-{offset}",
        "source": "/platform/bench",
        "type": f"chalkstream.{kind}.v1",
        "subject": learner,
        "time": _text(moment),
        "programme": PLAN,
        "data": data,
        "ingested_at": "2023-10-19T00:00:00.000Z",
    }
    return Record(offset, learner.encode(), json.dumps(item).encode(), NOW)


def session(offset: int, learner: str, number: int) -> Record:
    """The learner's `number`th session: four of 20 minutes a day, on the four courses in turn."""
    began = BEGINS + timedelta(days=number // 4 % 130, minutes=30 * (number % 4) + number // 520)
    ended = began + timedelta(minutes=20)
    data = {"course_id": courses(PROGRAMMES[PLAN])[number % 4], "channel": "online", "started_at": _text(began), "ended_at": _text(ended)}
    return record(offset, learner, "study.recorded", ended, data)


def arrival(learner: str) -> list[Record]:
    found = [record(0, learner, "learner.registered", BEGINS - timedelta(days=8), {"class_id": "c1", "mode": "online"})]
    return found + [
        record(n + 1, learner, "course.selected", BEGINS - timedelta(days=7), {"course_id": course})
        for n, course in enumerate(courses(PROGRAMMES[PLAN]))
    ]


def read(found: Record) -> Event:
    event = read_record(found.key, found.value, found.timestamp, partition_of(found.key, 1), 1)
    assert isinstance(event, Event), event
    return event


def best(run: Callable[[Any], object], prepare: Callable[[], Any], repeats: int = REPEATS) -> float:
    """The least seconds of processor time of some runs: what the machine's other guests take is no part of it."""
    found = []
    for _ in range(repeats):
        prepared = prepare()
        gc.collect()
        gc.disable()
        began = time.process_time()
        run(prepared)
        found.append(time.process_time() - began)
        gc.enable()
    return min(found)


def work(programme: Programme, learner: Learner, events: list[Event], now: int = NOW) -> int:
    """Everything the core does for one learner of a batch: cells and totals, encoded."""
    changed = fold(programme, learner, [fact_of(event) for event in events])
    return len(encoded(evaluate(programme, learner, now))) + sum(len(learner.encode(name)) for name in changed)


def flat() -> dict[int, float]:
    """Microseconds of one more session, by the number of earlier ones; the medians of several learners' best."""
    programme = PROGRAMMES[PLAN]
    found = {}
    for earlier in (10, 100, 1_000):
        costs = []
        for n in range(9):
            name = f"flat-{n}"
            learner = Learner.new(name)
            fold(programme, learner, [fact_of(read(r)) for r in [*arrival(name), *(session(k, name, k) for k in range(earlier))]])
            evaluate(programme, learner, NOW)
            more = [read(session(k, name, k)) for k in range(earlier, earlier + 60)]
            times = []
            for event in more:
                began = time.process_time()
                work(programme, learner, [event], event.time_ms)
                times.append(time.process_time() - began)
            costs.append(statistics.median(times))
        found[earlier] = min(costs) * 1e6
    return found


def standing(learners: int) -> Partition:
    """A partition whose learners have 24 sessions each."""
    part = Partition(0, 1, PROGRAMMES, Directory(), Meta(1, "bench", 0))
    for n in range(learners):
        name = f"l-{n}"
        records = [*arrival(name), *(session(k, name, k) for k in range(24))]
        part.meta.applied = 0
        part.apply([r._replace(offset=k) for k, r in enumerate(records)], NOW)
    part.meta.applied = 0
    return part


def known(part: Partition, learner_id: str) -> Learner:
    entry = part.learners.get((PLAN, learner_id))
    assert entry is not None
    return entry.learner


def rates(learners: int, each: int) -> list[float]:
    """Study facts a second: fold, core, records."""
    programme = PROGRAMMES[PLAN]
    batch = [session(0, f"l-{n}", 24 + k) for k in range(each) for n in range(learners)]
    batch = [r._replace(offset=k) for k, r in enumerate(batch)]
    events: dict[str, list[Event]] = {}
    for r in batch:
        events.setdefault(r.key.decode(), []).append(read(r))

    def folded(part: Partition) -> None:
        for name, facts in events.items():
            fold(programme, known(part, name), [fact_of(event) for event in facts])

    def core(part: Partition) -> None:
        for name, facts in events.items():
            work(programme, known(part, name), facts)

    ways: list[Callable[[Partition], object]] = [folded, core, lambda part: part.apply(batch, NOW)]
    return [len(batch) / best(way, lambda: standing(learners)) for way in ways]


def main() -> None:
    console = Console()
    costs = flat()
    table = Table("earlier sessions", "us a session", "ratio", title="one more session")
    for earlier, cost in costs.items():
        table.add_row(f"{earlier:,}", f"{cost:.1f}", f"{cost / costs[10]:.2f}")
    console.print(table)
    table = Table("a batch of", "fold", "core", "records", title="study facts a second on one core")
    for label, learners, each in (("100 learners x 100 facts", 100, 100), ("2,000 learners x 1 fact", 2_000, 1)):
        table.add_row(label, *(f"{rate:,.0f}" for rate in rates(learners, each)))
    console.print(table)


if __name__ == "__main__":
    main()
