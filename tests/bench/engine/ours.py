"""This project, measured: `services.scoring` as a process or two, with all rules, its state, its outputs and its transactions.

`live`: the workers are up on an empty log and wait; then all of the log appears at once (it is the commit of one transaction), and
the clock runs from there until the watermarks say that everything is applied, so committed. `rebuild`: the log is there, the state is
not; the clock runs from the moment at which the first partition is taken over until everybody is published.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from kafka import KafkaAdminClient

from deploy.demo.house import environment
from deploy.local.supervisor import Process, tail
from schemas.instants import parse_instant
from schemas.progress import LearnerProgress, Watermark, decode
from services.shared.clock import parse_clock
from services.shared.reader import committed_reader
from services.shared.settings import ROOT
from tests.bench.engine.mix import NOW, PROGRAMME, Mix, Totals
from tests.bench.engine.stage import PARTITIONS, PROGRESS, WATERMARKS, Stage, cpu_seconds, fill, log_ends, peak_mib
from tests.committed import committed
from tests.properties.product import in_terms
from tests.properties.reference import learner, read_rules

PATIENCE = 900.0


@dataclass
class Run:
    """One engine's run. `right`: everything it said was checked and so; `said`: what was checked."""

    engine: str
    events: int
    seconds: float
    cpu: float
    peak_mib: float
    right: bool
    said: str

    @property
    def rate(self) -> float:
        return self.events / self.seconds


@dataclass
class Words:
    """The watermarks as a reader has them, by partition."""

    bootstrap: str
    applied: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    as_of: list[int] = field(default_factory=lambda: [0] * PARTITIONS)

    async def follow(self) -> None:
        reader = committed_reader(self.bootstrap, fetch_max_wait_ms=50)
        await reader.start()
        try:
            reader.subscribe([WATERMARKS])
            while True:
                for records in (await reader.getmany(timeout_ms=50)).values():
                    for record in records:
                        word = decode(Watermark, record.value)
                        self.applied[word.partition], self.as_of[word.partition] = word.applied, parse_instant(word.as_of)
        finally:
            await reader.stop()


class Workers:
    """Scoring workers on a stage; gone when left."""

    def __init__(self, stage: Stage, count: int) -> None:
        self.stage, self.names = stage, [f"scoring-{n + 1}" for n in range(count)]
        self.clock = parse_clock(f"{NOW}@1")
        self.base: dict[str, float] = {}

    def __enter__(self) -> Workers:
        values = self.stage.values.model_copy(update={"clock": self.clock.text(), "scoring_metrics_port": 0})
        for name in self.names:
            self.stage.supervisor.log(name).unlink(missing_ok=True)
            argv = [sys.executable, "-m", "services.scoring"]
            self.stage.supervisor.start(Process(name, argv, environment(values), cwd=ROOT, restart=False))
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            self.stage.supervisor.end(name)

    def check(self) -> None:
        for name in self.names:
            if self.stage.supervisor.pid(name) is None:
                raise RuntimeError(f"{name} has ended:\n{tail(self.stage.supervisor.log(name), 20)}")

    def pid(self, name: str) -> int:
        found = self.stage.supervisor.pid(name)
        assert found is not None
        return found

    def has_taken(self, name: str) -> bool:
        """Whether the worker says that it has taken a partition over."""
        return b'"partition taken"' in self.stage.supervisor.log(name).read_bytes()

    def count_from_here(self, name: str) -> None:
        self.base[name] = cpu_seconds(self.pid(name))

    def cpu(self) -> float:
        return sum(cpu_seconds(self.pid(name)) - self.base.get(name, 0.0) for name in self.names)

    def peak_mib(self) -> float:
        return sum(peak_mib(self.pid(name)) for name in self.names)

    def shared(self) -> bool:
        """Whether the group is at rest with all workers in it."""
        admin = KafkaAdminClient(bootstrap_servers=self.stage.values.bootstrap)
        try:
            (group,) = admin.describe_groups(["chalk-scoring"]).values()
            return group["group_state"] == "Stable" and len(group["members"]) == len(self.names)
        finally:
            admin.close()


async def _until(workers: Workers, what: str, ready: object, pause: float = 0.005) -> None:
    assert callable(ready)
    end = time.monotonic() + PATIENCE
    while not ready():
        workers.check()
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {PATIENCE:.0f} s")
        await asyncio.sleep(pause)


async def live(stage: Stage, mix: Mix, count: int) -> Run:
    """Empties the stage, log and all; leaves the log filled."""
    stage.clear(log=True)
    words = Words(stage.values.bootstrap)
    following = asyncio.create_task(words.follow())
    with Workers(stage, count) as workers:
        while not await asyncio.to_thread(workers.shared):
            workers.check()
            await asyncio.sleep(0.5)
        producing, ends = await fill(stage.values.bootstrap, mix), log_ends(mix)
        seen = workers.clock.now()
        await _until(workers, "every partition is looked after", lambda: min(words.as_of) > seen)
        for name in workers.names:
            workers.count_from_here(name)
        began = await producing.show()
        return await _measured(f"this project, live, {_people(count)}", stage, mix, workers, words, ends, began, following)


async def rebuild(stage: Stage, mix: Mix, count: int) -> Run:
    """The stage's log is filled; everything derived from it goes away first."""
    stage.clear(log=False)
    words = Words(stage.values.bootstrap)
    following = asyncio.create_task(words.follow())
    ends = log_ends(mix)
    with Workers(stage, count) as workers:
        await _until(workers, "a partition is taken", lambda: any(map(workers.has_taken, workers.names)))
        began = time.perf_counter()

        def done() -> bool:
            for name in workers.names:
                if name not in workers.base and workers.has_taken(name):
                    workers.count_from_here(name)
            return len(workers.base) == count

        await _until(workers, "every worker has a partition", done)
        return await _measured(f"this project, rebuild, {_people(count)}", stage, mix, workers, words, ends, began, following)


def _people(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


async def _measured(
    engine: str, stage: Stage, mix: Mix, workers: Workers, words: Words, ends: list[int], began: float, following: asyncio.Task[None]
) -> Run:
    await _until(workers, "everything is applied", lambda: all(map(int.__ge__, words.applied, ends)))
    seconds, cpu, peak = time.perf_counter() - began, workers.cpu(), workers.peak_mib()
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    rows = {record.key: record.value for record in await committed(stage.values.bootstrap, PROGRESS, PARTITIONS)}
    right, said = check({key: decode(LearnerProgress, value) for key, value in rows.items() if value is not None}, mix, stage)
    return Run(engine, len(mix.lines), seconds, cpu, peak, right, said)


def check(rows: Mapping[bytes, LearnerProgress], mix: Mix, stage: Stage, sample: int = 20) -> tuple[bool, str]:
    """Everybody's credited seconds against the plain sums; every column of some learners against the rules written a second time."""
    wanted: Totals = mix.seconds(mix.counts(PARTITIONS))
    sums = {key: row[1] for key, row in wanted.items()}
    found = {
        f"{row.learner_id}|{course.course_id}": course.credited_seconds
        for row in rows.values()
        for course in row.courses
        if course.credited_seconds
    }
    wrong = sum(1 for key in sums.keys() | found.keys() if sums.get(key) != found.get(key))
    rules = read_rules((stage.values.programmes / f"{PROGRAMME}.yaml").read_text())
    odd = []
    names = sorted(row.learner_id for row in rows.values())
    for name in names[:: max(1, len(names) // sample)]:
        row = rows[f"{PROGRAMME}|{name}".encode()]
        said = in_terms(row, [])
        truth = learner(rules, mix.of(name), parse_instant(row.updated_at))
        odd += [f"{name}: {part}" for part in ("progress", "courses", "flags") if said[part] != truth[part]]
    if wrong or odd or len(rows) != mix.learners:
        return False, f"{len(rows):,} of {mix.learners:,} learners, {wrong} sums wrong; against the rules: {odd[:5] or 'nothing'}"
    return True, f"{len(sums):,} sums of {len(rows):,} learners; every column of {sample}"
