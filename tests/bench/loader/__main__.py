"""`make bench-loader`: the loader beside clickhouse-driver alone, in one run and in turns, on the same rows and the same servers.

The log is study-heavy traffic in the real envelope (`mix.py`). First the loader reads `learning.activity` alone; then scoring has written
its outputs, and the loader reads everything. Its time runs from the moment it has its partitions until `marts.freshness` names the log's
end, always from an empty ClickHouse. clickhouse-driver is given the same rows, decoded and in memory as columns, and inserts them into
tables of the same schema in blocks of the sizes that the loader's inserts had. Figures are medians of the turns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from clickhouse_driver import Client
from kafka.admin import KafkaAdminClient
from rich.console import Console
from rich.table import Table

from deploy.demo.house import House, with_free_ports
from schemas.topics import load_topics
from services.reporting.loader.loader import OUTPUTS
from services.shared.clock import parse_clock
from services.shared.kafka import ensure_topics
from services.shared.settings import ROOT, Settings
from tests.bench.__main__ import wait_scored
from tests.bench.loader.captured import Inserts, run_captured
from tests.bench.loader.fill import TOPIC, fill
from tests.bench.loader.mix import traffic
from tests.integration.local_stack import environment

CLOCK = "2023-12-20T00:00:00Z@1"
ACCEPTED_MS = 1_703_030_400_000
PATIENCE = 900.0
RELATIONS = {
    "learning.activity alone": ("events", "data_quality"),
    "everything": ("events", "data_quality", "learner_progress", "attention_log"),
}
_TICKS = os.sysconf("SC_CLK_TCK")


class Took(NamedTuple):
    """Of one turn: rows inserted, seconds, seconds of processor time here and in the server, most memory in MiB, rows of each block by
    table."""

    rows: int
    seconds: float
    cpu: float
    server: float
    mib: float
    blocks: dict[str, list[int]]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_mib(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _client(values: Settings) -> Client:
    return Client.from_url(values.clickhouse)  # not services.shared.clickhouse: the yardstick is the driver as it comes


def forget(values: Settings, client: Client) -> None:
    """An empty ClickHouse, and a loader that never read anything."""
    for name in ("marts", "store", "bench"):
        client.execute(f"DROP DATABASE IF EXISTS {name} SYNC")
    admin = KafkaAdminClient(bootstrap_servers=values.bootstrap)
    try:
        if "chalk-loader" in str(admin.list_groups()):
            admin.delete_groups(["chalk-loader"])
    finally:
        admin.close()


def blocks(client: Client, database: str) -> dict[str, list[int]]:
    """Rows of each insert in its order, by table, from the parts as they were written (merged ones are remembered for minutes)."""
    found: dict[str, list[int]] = {}
    for table, rows in client.execute(
        f"SELECT table, rows FROM system.parts WHERE database = '{database}' AND min_block_number = max_block_number"
        " ORDER BY table, min_block_number"
    ):
        found.setdefault(table, []).append(rows)
    return found


def loader_turn(values: Settings, server: int, relations: tuple[str, ...], ends: dict[int, int], rows: dict[str, int]) -> Took:
    """One run of the real process. `server`: the process of ClickHouse; `rows`: what it has to store in each table; no two have one key."""
    client = _client(values)
    forget(values, client)
    log_path = values.data / "loader-bench.log"
    with open(log_path, "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "services.reporting.loader"], cwd=ROOT, env=environment(values), stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + PATIENCE

        def check(seconds: float = 0.02) -> None:
            if child.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the loader did not get there:\n{log_path.read_text()[-3000:]}")
            time.sleep(seconds)

        while b"partitions assigned" not in log_path.read_bytes():
            check()
        began, cpu, theirs = time.monotonic(), _cpu(child.pid), _cpu(server)
        wanted = {f"{TOPIC}:{part}": end for part, end in ends.items()}
        while client.execute("SELECT count() FROM store.records")[0][0] < rows["records"]:
            check(0.1)  # to ask for freshness costs the server 5 ms: it is asked when it can have got there
        sql = "SELECT applied FROM marts.freshness WHERE relation IN %(r)s"
        while True:
            found = client.execute(sql, {"r": relations})
            if len(found) == len(relations) and all(row[0].get(place, 0) >= end for row in found for place, end in wanted.items()):
                break
            check()
        seconds, cpu, theirs, mib = time.monotonic() - began, _cpu(child.pid) - cpu, _cpu(server) - theirs, _peak_mib(child.pid)
        written = blocks(client, "store")
        stored = {table: client.execute(f"SELECT count() FROM store.{table} FINAL")[0][0] for table in rows}
        if stored != rows:
            raise SystemExit(f"freshness names the log's end, and the loader has stored {stored} of {rows}; parts: {written}")
        for table, count in rows.items():
            if sum(written[table]) < count:  # some parts were merged and are forgotten already
                written[table] = [round(statistics.mean(written[table]))] * (count // min(written[table]) + 1)
        return Took(sum(rows.values()), seconds, cpu, theirs, mib, written)
    finally:
        child.terminate()
        child.wait(30)
        client.disconnect()


def driver_turn(values: Settings, server: int, inserts: list[Inserts], sizes: dict[str, list[int]]) -> Took:
    """The same rows by clickhouse-driver alone; `sizes`: the loader's blocks."""
    client = _client(values)
    client.execute("DROP DATABASE IF EXISTS bench SYNC")
    client.execute("CREATE DATABASE bench")
    for one in inserts:
        client.execute(f"CREATE TABLE bench.{one.table} AS store.{one.table}")
    gc.collect()
    gc.freeze()
    began, cpu, theirs, rows = time.monotonic(), time.process_time(), _cpu(server), 0
    for one in inserts:
        sql, at = one.sql.replace("INTO store.", "INTO bench."), 0
        steps = iter(sizes[one.table])
        while at < one.rows:
            size = next(steps, one.rows)
            client.execute(sql, [column[at : at + size] for column in one.columns], columnar=True)
            at += size
        rows += one.rows
    took = Took(rows, time.monotonic() - began, time.process_time() - cpu, _cpu(server) - theirs, 0.0, {})
    stored = blocks(client, "bench")
    for one in inserts:
        if sum(stored.get(one.table, [])) != one.rows:
            raise SystemExit(f"{one.table}: the driver stored {stored.get(one.table)} of {one.rows}")
    client.disconnect()
    return took


def turns(what: str, house: House, topics: tuple[str, ...], ends: dict[int, int], rounds: int, console: Console) -> list[list[str]]:
    """Loader and driver in turns; rows of the table."""
    values, server = house.values, house.supervisor.pid("clickhouse")
    assert server is not None
    inserts = run_captured(values.bootstrap, topics)
    rows, records = sum(one.rows for one in inserts), sum(ends.values())
    console.print(f"  {what}: {rows:,} rows: " + ", ".join(f"{one.rows:,} of {one.table}" for one in inserts))
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(loader_turn(values, server, RELATIONS[what], ends, {one.table: one.rows for one in inserts}))
        theirs.append(driver_turn(values, server, inserts, ours[-1].blocks))
        console.print(f"    loader {ours[-1].seconds:.2f} s, clickhouse-driver {theirs[-1].seconds:.2f} s")
    sizes = {table: statistics.median(found) for table, found in ours[-1].blocks.items() if table in [one.table for one in inserts]}
    console.print("    blocks, median rows: " + ", ".join(f"{table} {size:,.0f}" for table, size in sizes.items()))
    ratio = statistics.median(theirs_.seconds / ours_.seconds for ours_, theirs_ in zip(ours, theirs, strict=True))
    found = []
    for name, took in (("loader", ours), ("clickhouse-driver", theirs)):
        seconds, cpu = statistics.median(one.seconds for one in took), statistics.median(one.cpu for one in took)
        server_cpu = statistics.median(one.server for one in took)
        memory = f"{max(one.mib for one in took):,.0f}" if name == "loader" else ""
        found.append(
            [
                what,
                name,
                f"{seconds:.2f}",
                f"{records / seconds:,.0f}",
                f"{rows / seconds:,.0f}",
                f"{cpu:.2f}",
                f"{server_cpu:.2f}",
                memory,
                f"{ratio:.2f}" if name == "loader" else "1",
            ]
        )
    return found


def measure(events: int, rounds: int, alone: bool, console: Console) -> None:
    folder = Path(os.environ.get("CHALK_DATA", ".chalk")).resolve() / "bench-loader"
    shutil.rmtree(folder, ignore_errors=True)
    values = with_free_ports(Settings(data=folder)).model_copy(update={"clock": parse_clock(CLOCK).text(), "loader_metrics_port": 0})
    heads = ("topics", "by", "s", "events/s", "rows/s", "CPU s", "server's", "peak MiB", "ratio")
    table = Table(*heads, title=f"{platform.machine()}, {os.cpu_count()} cores")
    for column in table.columns[2:]:
        column.justify = "right"
    with House(values, ()) as house:
        house.start(lambda text: console.print(f"  {text} …"))
        topics = load_topics()
        ensure_topics(values.bootstrap, topics, 1)
        ends = asyncio.run(fill(values.bootstrap, traffic(events), topics[TOPIC].partitions, ACCEPTED_MS))
        found = turns("learning.activity alone", house, (TOPIC,), ends, rounds, console)
        if not alone:
            console.print("  scoring writes its outputs …")
            house.supervisor.start(house.process("scoring"), wait=False)
            console.print(f"    within {wait_scored(house, ends).whole:.0f} s")
            house.supervisor.end("scoring")
            found += turns("everything", house, (TOPIC, *OUTPUTS), ends, rounds, console)
    for row in found:
        table.add_row(*row)
    console.print(table)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loader", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="in the log")
    parser.add_argument("--rounds", type=int, default=3, help="turns of loader and driver")
    parser.add_argument("--alone", action="store_true", help="learning.activity only")
    given = parser.parse_args()
    measure(given.events, given.rounds, given.alone, Console(width=None if sys.stdout.isatty() else 120))


if __name__ == "__main__":
    main()
