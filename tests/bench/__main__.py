"""`make bench`: figures of this machine. Each stage alone over the same events, then the time from an accepted event to its row.

Everything runs here at once (servers, service, sender, watcher): the figures are those of the whole machine, not of a service alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import threading
import time
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from rich.console import Console
from rich.table import Table

from deploy.demo import simulate
from deploy.demo.door import Door
from deploy.demo.house import House, with_free_ports
from deploy.demo.life import Sent, stamp
from deploy.demo.people import PLAN_A, populate
from deploy.demo.pipe import ingest_token, rows
from deploy.demo.plans import read_plans
from deploy.demo.run import START
from deploy.demo.sheet import instant
from services.shared.clickhouse import connect
from services.shared.clock import parse_clock
from services.shared.settings import Settings

COURSE = "s-design"
ACTIVITY = "learning.activity"


class Steps:
    """How long a stage took for all it had to do, from the start of its process on."""

    def __init__(self, total: int) -> None:
        self.total, self.began = total, time.monotonic()

    def saw(self, done: int) -> bool:
        return done >= self.total

    @property
    def whole(self) -> float:
        return time.monotonic() - self.began


def wait_scored(house: House, ends: dict[int, int]) -> Steps:
    """Follow learning.watermarks until scoring has applied everything."""
    steps, applied = Steps(sum(ends.values())), dict.fromkeys(ends, 0)
    consumer = KafkaConsumer(
        bootstrap_servers=house.values.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest", enable_auto_commit=False
    )
    try:
        while not (parts := consumer.partitions_for_topic("learning.watermarks")):
            time.sleep(0.1)
        consumer.assign([TopicPartition("learning.watermarks", part) for part in parts])
        consumer.seek_to_beginning()
        while True:
            for records in consumer.poll(timeout_ms=100).values():
                for record in records:
                    if record.value:
                        said = json.loads(record.value)
                        applied[said["partition"]] = max(applied.get(said["partition"], 0), said["applied"])
            if steps.saw(sum(applied.values())):
                return steps
            if steps.whole > 900:
                raise SystemExit(f"scoring has applied {applied} of {ends} after {steps.whole:.0f} s")
    finally:
        consumer.close()


def wait_loaded(house: House, ends: dict[int, int]) -> Steps:
    steps = Steps(sum(ends.values()))
    while True:
        done = 0
        try:
            found = list(rows(house, "SELECT applied FROM marts.freshness WHERE relation IN ('course_progress', 'events')"))
        except OSError:  # not migrated yet
            found = []
        for row in found:
            have = sum(int(offset) for place, offset in row["applied"].items() if place.startswith(ACTIVITY))
            done = have if not done else min(done, have)
        if steps.saw(done):
            return steps
        if steps.whole > 900:
            raise SystemExit(f"the loader has applied {done} of {steps.total} after {steps.whole:.0f} s")
        time.sleep(0.1)


async def fill(house: House, teachers: int) -> tuple[int, float, dict[int, int], list[str]]:
    """Everybody's history through the door: (events, events a second, next offset by partition, ids of plan A's learners)."""
    plans = read_plans(house.values.programmes)
    population = populate(teachers)
    start = instant(START) // 1000
    past: list[Sent] = []
    for group in simulate.by_class(population):
        past += simulate.history(simulate.lives(group, plans, 1, start), start)[0]
    door = Door(house.ingest_url, ingest_token(house), connections=8)
    opens = max(plan.opens for plan in plans.values()) // 1000
    await door.load([*simulate.declared(population.units, opens), *simulate.assigned(population.staff, opens)])
    before, began = door.said.sent, time.monotonic()
    await door.load(past, size=500)
    took = time.monotonic() - began
    await door.close()
    ends = {int(place.rpartition(":")[2]): offset for place, offset in door.said.applied.items() if place.startswith(ACTIVITY)}
    learners = [one.learner_id for one in population.teachers if one.programme == PLAN_A]
    return door.said.sent - before, (door.said.sent - before) / took, ends, learners


class Watcher(threading.Thread):
    """Looks into marts.course_progress for what was accepted; keeps the milliseconds each event took to be there."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.client = connect(url)
        self.waiting: dict[str, list[tuple[int, float]]] = {}
        self.took: list[float] = []
        self.looks: list[float] = []
        self.lock, self.over = threading.Lock(), threading.Event()

    def expect(self, learner: str, seconds: int) -> None:
        with self.lock:
            self.waiting.setdefault(learner, []).append((seconds, time.monotonic()))

    def run(self) -> None:
        sql = (
            "SELECT learner_id, credited_seconds FROM marts.course_progress "
            "WHERE programme = %(p)s AND learner_id IN %(ids)s AND course_id = %(c)s"
        )
        while not (self.over.is_set() and not self.waiting):
            time.sleep(0.1)  # looking without a pause would take a core from what is measured
            with self.lock:
                ids = list(self.waiting)
            if not ids:
                continue
            asked = time.monotonic()
            found = self.client.execute(sql, {"p": PLAN_A, "ids": ids, "c": COURSE})
            now = time.monotonic()
            self.looks.append((now - asked) * 1000)
            with self.lock:
                for learner, seconds in found:
                    left = [(wanted, at) for wanted, at in self.waiting.get(learner, []) if wanted > seconds]
                    self.took += [(now - at) * 1000 for wanted, at in self.waiting.get(learner, []) if wanted <= seconds]
                    if left:
                        self.waiting[learner] = left
                    else:
                        self.waiting.pop(learner, None)


async def latency(house: House, learners: list[str], rate: int, seconds: int) -> tuple[list[float], float, list[float]]:
    """Send `rate` events a second; returns the milliseconds from each one's acceptance to its row, the rate that was reached, and the
    milliseconds that each look into the view took."""
    crowd = learners[:: max(1, len(learners) // 2000)]
    query = f"SELECT learner_id, credited_seconds FROM marts.course_progress WHERE course_id = '{COURSE}'"
    base = {row["learner_id"]: row["credited_seconds"] for row in rows(house, query)}
    crowd = [learner for learner in crowd if base.get(learner, 0) < 15_000]
    watcher = Watcher(house.values.clickhouse)
    watcher.start()
    door = Door(house.ingest_url, ingest_token(house), connections=16)
    begin = instant("2023-11-01T02:00:00+08:00") // 1000  # at night, when nobody of the history studies
    sending: set[asyncio.Task[None]] = set()
    at_once = max(1, rate // 50)

    async def send(numbers: range) -> None:
        batch, promised = [], []
        for number in numbers:
            learner, turn = crowd[number % len(crowd)], number // len(crowd)
            at = begin + turn * 60
            data = {"course_id": COURSE, "started_at": stamp(at), "ended_at": stamp(at + 10), "channel": "online"}
            batch.append(Sent(at + 10, {
                "specversion": "1.0", "id": f"bench-{number}", "source": "/bench", "type": "chalkstream.study.recorded.v1",
                "subject": learner, "time": stamp(at + 10), "programme": PLAN_A, "data": data,
            }))  # fmt: skip
            promised.append((learner, base.get(learner, 0) + 10 * (turn + 1)))
        await door.send(batch)
        for learner, wanted in promised:
            watcher.expect(learner, wanted)

    began = time.monotonic()
    for number in range(0, rate * seconds, at_once):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        task = asyncio.create_task(send(range(number, min(number + at_once, rate * seconds))))
        sending.add(task)
        task.add_done_callback(sending.discard)
    await asyncio.gather(*sending)
    reached = rate * seconds / (time.monotonic() - began)
    await door.close()
    watcher.over.set()
    await asyncio.to_thread(watcher.join, 60)
    if watcher.waiting:
        raise SystemExit(f"{len(watcher.waiting)} learners' rows did not come within 60 s")
    return sorted(watcher.took), reached, sorted(watcher.looks)


def measure(teachers: int, rate: int, seconds: int, console: Console) -> None:
    folder = Path(".chalk/bench").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    values = with_free_ports(Settings(data=folder)).model_copy(update={"clock": parse_clock(f"{START}@1").text()})
    table = Table(
        "stage",
        "events",
        "events/s",
        "seconds, start of the process included",
        title=f"{platform.machine()}, {os.cpu_count()} cores",
        title_justify="left",
    )
    for column in table.columns[1:]:
        column.justify = "right"

    def row(stage: str, events: int, seconds: float) -> None:
        table.add_row(stage, f"{events:,}", f"{events / seconds:,.0f}", f"{seconds:.1f}")

    with House(values, ("ingest",)) as house:
        house.start(lambda text: console.print(f"  {text} …"))
        count, ingested, ends, learners = asyncio.run(fill(house, teachers))
        row("ingest: POST to acknowledged", count, count / ingested)
        console.print("  scoring alone …")
        house.supervisor.start(house.process("scoring"), wait=False)
        steps = wait_scored(house, ends)
        row("scoring: topic to outputs", steps.total, steps.whole)
        house.supervisor.end("scoring")
        console.print("  loader alone …")
        house.supervisor.start(house.process("loader"), wait=False)
        steps = wait_loaded(house, ends)
        row("loader: topics to rows", steps.total, steps.whole)
        console.print("  all together …")
        house.supervisor.start(house.process("scoring"))
        time.sleep(3)
        took, reached, looks = asyncio.run(latency(house, learners, rate, seconds))
        console.print(table)
        p50, p99, worst = (took[int(len(took) * share)] for share in (0.5, 0.99, 0.9999))
        console.print(
            f"event accepted -> row in marts.course_progress, {len(took):,} events at {reached:,.0f}/s:"
            f" p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms"
            f" (looked for every 100 ms; a look takes {looks[len(looks) // 2]:.0f} ms: both are in these figures)",
            highlight=False,
        )
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--teachers", type=int, default=4000, help="whose history the stages work through")
    parser.add_argument("--rate", type=int, default=500, help="events a second while latency is measured")
    parser.add_argument("--seconds", type=int, default=20)
    given = parser.parse_args()
    measure(given.teachers, given.rate, given.seconds, Console(width=None if sys.stdout.isatty() else 120))


if __name__ == "__main__":
    main()
