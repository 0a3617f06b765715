"""`make bench-engine`: this project's scoring beside stock faust, a raw confluent-kafka loop and quixstreams, on one topic in one run.

This project runs with all rules of a shipped plan, its state, outputs and transactions; the peers fold seconds per learner and course and
nothing else, each from the same bytes. Everything, the broker too, shares this machine: compare ratios of one run, not figures across
machines, and where other work runs beside it, processor time ("x stock by CPU": events a second of processor time, against stock faust's).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.demo.house import with_free_ports
from deploy.setup import peers
from services.shared.settings import Settings
from tests.bench.engine.mix import Mix, make
from tests.bench.engine.ours import Run, live, rebuild
from tests.bench.engine.stage import PARTITIONS, Stage
from tests.bench.engine.theirs import JAVA, PEERS, RAW, STOCK, peer


async def rounds(stage: Stage, mix: Mix, count: int, only: str, engines: list[str], console: Console) -> list[Run]:
    """Every engine once a round, in turn from one end and from the other."""
    found: list[Run] = []

    def took(run: Run) -> None:
        found.append(run)
        console.print(
            f"  {run.engine}: {run.rate:,.0f}/s, {run.cpu / run.events * 1e6:.1f} CPU s/M, {run.peak_mib:.0f} MiB, {run.said}",
            highlight=False,
        )

    for turn in range(count):
        console.print(f"round {turn + 1} of {count}")
        ours = [(live, 1), (live, 2), (rebuild, 1), (rebuild, 2)]
        others = list(engines) if only in ("", "peers") else []
        if turn % 2:
            ours[:2], ours[2:] = ours[1::-1], ours[:1:-1]
            others.reverse()
        for way, workers in ours[:2] if only in ("", "ours", "live") else ours[:1]:
            took(await way(stage, mix, workers))
        for engine in others:
            took(await asyncio.to_thread(peer, engine, stage, mix, turn))
        for way, workers in ours[2:] if only in ("", "ours") else []:
            took(await way(stage, mix, workers))
    return found


def summary(runs: list[Run]) -> Table:
    table = Table(
        "engine", "events", "events/s", "each run", "x stock faust", "of the raw loop", "CPU s/M", "x stock by CPU", "peak MiB", "totals"
    )
    for column in table.columns[1:9]:
        column.justify = "right"
    by: dict[str, list[Run]] = {}
    for run in runs:
        by.setdefault(run.engine, []).append(run)
    rate = {engine: statistics.median(run.rate for run in some) for engine, some in by.items()}
    cpu = {engine: statistics.median(run.cpu / run.events * 1e6 for run in some) for engine, some in by.items()}
    for engine, some in sorted(by.items(), key=lambda one: -rate[one[0]]):
        table.add_row(
            engine,
            f"{some[0].events:,}",
            f"{rate[engine]:,.0f}",
            " ".join(f"{run.rate / 1000:.1f}k" for run in some),
            f"{rate[engine] / rate[STOCK]:.1f}" if STOCK in rate else "",
            f"{rate[engine] / rate[RAW]:.2f}" if RAW in rate else "",
            f"{cpu[engine]:.1f}",
            f"{cpu[STOCK] / cpu[engine]:.1f}" if STOCK in cpu else "",
            f"{statistics.median(run.peak_mib for run in some):.0f}",
            "right" if all(run.right for run in some) else "WRONG",
        )
    return table


def versions() -> str:
    _, site = peers()
    has = {one.metadata["Name"].lower(): one.version for one in distributions(path=[str(site)])}
    names = ("confluent-kafka", "quixstreams", "faust-streaming", "aiokafka", "msgspec")
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {has[name]}" for name in names)])


def machine() -> str:
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    return f"{platform.machine()} {cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engine", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--learners", type=int, default=0, help="whose events they are; default: a hundredth of the events")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("", "ours", "live", "peers"), default="", help="leave the rest out")
    parser.add_argument("--peers", choices=("", "java"), default="", help="java: Kafka Streams too")
    parser.add_argument("--first-port", type=int, default=0)
    parser.add_argument("--json", type=Path, help="a file for every run's figures")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    own = Settings()
    values = with_free_ports(own, given.first_port).model_copy(update={"data": own.data / "bench-engine"})
    console.print(machine(), highlight=False)
    console.print(versions(), highlight=False)
    mix = make(given.events, given.learners or max(1, given.events // 100), PARTITIONS)
    shares = ", ".join(f"{kind} {number / given.events:.1%}" for kind, number in mix.kinds.most_common())
    console.print(
        f"{given.events:,} events of {mix.bytes_each:.0f} bytes, {mix.learners:,} learners, {PARTITIONS} partitions; {shares}",
        highlight=False,
    )
    with Stage(values) as stage:
        found = asyncio.run(rounds(stage, mix, given.rounds, given.only, [*PEERS, *([JAVA] if given.peers else [])], console))
    console.print(machine(), highlight=False)
    console.print(summary(found))
    if given.json:
        given.json.write_text(json.dumps([asdict(run) for run in found], indent=1))
    if not all(run.right for run in found):
        sys.exit("some totals are wrong: see above")


if __name__ == "__main__":
    main()
