"""The benchmark's broker, topics and log, and what is read from the kernel about processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from deploy.local import kafka, processes
from deploy.local.stack import check_tools
from deploy.local.supervisor import Supervisor
from schemas.topics import load_topics
from services.shared.kafka import ensure_topics
from services.shared.settings import Settings
from tests.bench.engine.mix import Mix

ACTIVITY, PROGRESS, WATERMARKS = "learning.activity", "learning.progress", "learning.watermarks"
TOPICS = load_topics()
PARTITIONS = TOPICS[ACTIVITY].partitions
TICK = os.sysconf("SC_CLK_TCK")


class Stage:
    """A broker in a folder of its own, with the product's topics. `supervisor` also runs what is measured on it."""

    def __init__(self, values: Settings) -> None:
        self.values = values
        self.folder = values.data.resolve()
        self.supervisor = Supervisor(self.folder)

    def __enter__(self) -> Stage:
        shutil.rmtree(self.folder, ignore_errors=True)
        check_tools()
        self.supervisor.__enter__()
        self.supervisor.start(kafka.process(self.folder, self.values.kafka_port, self.values.kafka_controller_port))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.supervisor.stop()
        if error is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def clear(self, *, log: bool) -> None:
        """Everything that the product derived goes away; with `log` what it was derived from too. Nothing may be working on it."""
        admin = KafkaAdminClient(bootstrap_servers=self.values.bootstrap)
        try:
            gone = [name for name in TOPICS if log or name != ACTIVITY]
            known = set(admin.list_topics())
            admin.delete_topics(
                [name for name in known if name not in TOPICS and not name.startswith("__")] + [n for n in gone if n in known]
            )
            end = time.monotonic() + 30
            while known := set(gone) & set(admin.list_topics()):
                if time.monotonic() > end:
                    raise TimeoutError(f"topics {known} do not go away")
                time.sleep(0.1)
            with suppress(KafkaError):  # there was none
                admin.delete_groups(["chalk-scoring"])
        finally:
            admin.close()
        shutil.rmtree(self.folder / "scoring", ignore_errors=True)
        time.sleep(0.5)  # a topic of the same name made at once may meet its predecessor's folder
        ensure_topics(self.values.bootstrap, TOPICS, 1)


async def fill(bootstrap: str, mix: Mix) -> Producing:
    """Write the log so that nobody at read_committed sees it yet: all but each partition's last record in one open transaction."""
    counts = mix.counts(PARTITIONS)
    producing = Producing(bootstrap)
    await producing.start()
    left, last = list(counts), {}
    batches = [producing.producer.create_batch() for _ in counts]
    now = int(time.time() * 1000)
    for n, line in enumerate(mix.lines):
        number = line.partition
        left[number] -= 1
        if left[number] == 0:
            last[number] = (line.key, line.value)
            continue
        if batches[number].append(key=line.key, value=line.value, timestamp=now) is None:
            await producing.producer.send_batch(batches[number], ACTIVITY, partition=number)
            batches[number] = producing.producer.create_batch()
            batches[number].append(key=line.key, value=line.value, timestamp=now)
        if n % 1000 == 0:
            await asyncio.sleep(0)
    for number, batch in enumerate(batches):
        await producing.producer.send_batch(batch, ACTIVITY, partition=number)
    await producing.producer.flush()
    producing.last = last
    return producing


def log_ends(mix: Mix) -> list[int]:
    """Next offset of each partition of the filled log: the transaction's marker takes one."""
    return [count + 1 for count in mix.counts(PARTITIONS)]


class Producing:
    """A log that is written and can't be seen yet."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.last: dict[int, tuple[bytes, bytes]] = {}
        self.producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, transactional_id="bench-fill", transaction_timeout_ms=600_000, compression_type="lz4",
            max_batch_size=1 << 20, linger_ms=0, acks="all",
        )  # fmt: skip

    async def start(self) -> None:
        await self.producer.start()
        await self.producer.begin_transaction()

    async def show(self) -> float:
        """All of it is there from now on; returns the moment (perf_counter) just before. The last records come outside the transaction,
        so that the log ends in records and not in its markers."""
        began = time.perf_counter()
        await self.producer.commit_transaction()
        plain = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", linger_ms=0)
        await plain.start()
        for number, (key, value) in sorted(self.last.items()):
            await plain.send_and_wait(ACTIVITY, value, key, partition=number)
        await plain.stop()
        await self.producer.stop()
        return began


# -- processes


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    parents: dict[int, list[int]] = {}
    for one in processes.pids():
        try:
            parents.setdefault(int(_stat(one)[1]), []).append(one)
        except OSError:
            continue  # ended meanwhile
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """Processor time of the process, its children and those of its children that have ended."""
    return sum(sum(int(ticks) for ticks in _stat(one)[11:15]) for one in tree(pid)) / TICK


def peak_mib(pid: int) -> float:
    """Most resident memory so far (VmHWM), children's included."""
    total = 0
    for one in tree(pid):
        lines = Path(f"/proc/{one}/status").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return total / 1024
