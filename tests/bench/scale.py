"""`make bench-scale`: does an event cost the same in a log of ten million as in one of one million?

The log grows in steps, each of as many learners more; for each step is printed what a worker that is up takes for it. At the end: how
long a killed worker takes until every partition is at work again (with what it has on disk, without, and in memory), and how long the
whole log takes when rule files change, with what the worker said of the time left on the way. Every sum of seconds is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.demo.house import environment, with_free_ports
from deploy.local.supervisor import Process
from schemas.progress import LearnerProgress, decode
from services.shared.clock import parse_clock
from services.shared.settings import ROOT, Settings
from tests.bench.engine.__main__ import machine
from tests.bench.engine.mix import NOW, PROGRAMME, make
from tests.bench.engine.ours import Words
from tests.bench.engine.stage import PARTITIONS, PROGRESS, Stage, cpu_seconds, fill, peak_mib
from tests.committed import committed

STEP = 1_000_000
PATIENCE = 3_600.0


class Worker:
    """One scoring worker on a stage, killed and started as needed."""

    def __init__(self, stage: Stage, rules: Path) -> None:
        self.stage, self.rules, self.clock = stage, rules, parse_clock(f"{NOW}@1")
        self.log = stage.supervisor.log("scoring")

    def start(self, state: str = "rocksdb") -> None:
        values = self.stage.values.model_copy(
            update={"clock": self.clock.text(), "scoring_metrics_port": 0, "state": state, "programmes": self.rules}
        )
        self.log.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "services.scoring"]
        self.stage.supervisor.start(Process("scoring", argv, environment(values), cwd=ROOT, restart=False))

    @property
    def pid(self) -> int:
        found = self.stage.supervisor.pid("scoring")
        if found is None:
            raise RuntimeError(self.log.read_text()[-3000:])
        return found

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        time.sleep(1)
        self.stage.supervisor.end("scoring")

    def said(self, event: str) -> list[dict[str, object]]:
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == event]

    def resident_mib(self) -> float:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def reached(worker: Worker, words: Words, ends: list[int], after_ms: int) -> None:
    """Until everything is applied, by watermarks that speak of a moment after `after_ms` of the programme's clock."""
    until = time.monotonic() + PATIENCE
    while not (all(map(int.__ge__, words.applied, ends)) and min(words.as_of) > after_ms):
        assert worker.pid
        if time.monotonic() > until:
            raise TimeoutError(f"{words.applied} of {ends}")
        await asyncio.sleep(0.02)


async def restarted(worker: Worker, words: Words, ends: list[int], state: str = "rocksdb") -> tuple[float, float]:
    """Seconds from the start of a process to every partition at work again; its resident MiB then."""
    worker.kill()
    began, moment = time.perf_counter(), worker.clock.now()
    worker.start(state)
    await reached(worker, words, ends, moment)
    return time.perf_counter() - began, worker.resident_mib()


async def measure(stage: Stage, rules: Path, events: int, each: int, console: Console) -> tuple[list[Table], bool]:
    stage.clear(log=True)
    worker, words = Worker(stage, rules), Words(stage.values.bootstrap)
    following = asyncio.create_task(words.follow())
    worker.start()
    await reached(worker, words, [0] * PARTITIONS, worker.clock.now())
    ends, sums = [0] * PARTITIONS, {}
    grown = Table("events in the log", "learners", "events/s", "CPU s/M", "resident MiB", "KiB a learner", "local state MiB")
    for step in range(events // STEP):
        mix = make(STEP, STEP // each, PARTITIONS, seed=step, first=step * (STEP // each))
        sums |= {key: row[1] for key, row in mix.seconds(mix.counts(PARTITIONS)).items()}
        ends = [end + count + 1 for end, count in zip(ends, mix.counts(PARTITIONS), strict=True)]
        producing = await fill(stage.values.bootstrap, mix)
        learners = (step + 1) * mix.learners
        del mix
        cpu, moment, began = cpu_seconds(worker.pid), worker.clock.now(), await producing.show()
        await reached(worker, words, ends, moment)
        seconds, resident = time.perf_counter() - began, worker.resident_mib()
        disk = sum(path.stat().st_size for path in (stage.folder / "scoring").rglob("*") if path.is_file()) / (1 << 20)
        row = (
            f"{(step + 1) * STEP:,}", f"{learners:,}", f"{STEP / seconds:,.0f}", f"{cpu_seconds(worker.pid) - cpu:.1f}", f"{resident:,.0f}",
            f"{resident * 1024 / learners:.1f}", f"{disk:,.0f}",
        )  # fmt: skip
        grown.add_row(*row)
        console.print(*row, sep="  ", highlight=False)
    right = await checked(stage, sums)
    again = Table("a killed worker", "seconds to work", "resident MiB")
    for what, state, wipe in (
        ("what it has on disk", "rocksdb", False),
        ("its disk lost", "rocksdb", True),
        ("in memory", "memory", False),
    ):
        if wipe:
            worker.kill()
            shutil.rmtree(stage.folder / "scoring")
            worker.start()
        seconds, resident = await restarted(worker, words, ends, state)
        again.add_row(what, f"{seconds:.1f}", f"{resident:,.0f}")
    await restarted(worker, words, ends)
    worker.kill()
    path = rules / f"{PROGRAMME}.yaml"
    path.write_text(path.read_text().replace("rules_version: 2", "rules_version: 3"))
    began, moment = time.perf_counter(), worker.clock.now()
    worker.start()
    await reached(worker, words, ends, moment)
    seconds = time.perf_counter() - began
    told = [int(str(line["seconds_left"])) for line in worker.said("counting anew") if line.get("seconds_left") is not None]
    anew = Table("the log counted anew", "events/s", "seconds", "peak MiB", "seconds left, as said on the way")
    anew.add_row(
        f"{events:,} events",
        f"{events / seconds:,.0f}",
        f"{seconds:.0f}",
        f"{peak_mib(worker.pid):,.0f}",
        " ".join(map(str, told[:: max(1, len(told) // 8)])),
    )
    right = await checked(stage, sums) and right
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    stage.supervisor.end("scoring")
    return [grown, again, anew], right


async def checked(stage: Stage, sums: dict[str, int]) -> bool:
    """Whether the last row of every learner has exactly these seconds."""
    rows = {record.key: record.value for record in await committed(stage.values.bootstrap, PROGRESS, PARTITIONS)}
    found = {}
    for value in rows.values():
        row = decode(LearnerProgress, value or b"")
        found |= {f"{row.learner_id}|{course.course_id}": course.credited_seconds for course in row.courses if course.credited_seconds}
    return found == sums


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--events", type=int, default=10 * STEP, help="a whole number of millions")
    parser.add_argument("--each", type=int, default=200, help="events of a learner")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    own = Settings()
    values = with_free_ports(own, 0).model_copy(update={"data": own.data / "bench-scale"})
    console.print(machine(), highlight=False)
    with Stage(values) as stage:
        rules = stage.folder / "rules"
        shutil.copytree(ROOT / "schemas" / "programmes", rules)
        tables, right = asyncio.run(measure(stage, rules, given.events, given.each, console))
    for table in tables:
        console.print(table)
    console.print(machine(), highlight=False)
    console.print("every sum is right" if right else "some sums are WRONG")
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
