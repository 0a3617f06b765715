"""`python -m services.reporting.loader`: migrates ClickHouse, then loads what Kafka has, until SIGTERM. One per ClickHouse.

With CHALK_GENERATION it loads a shadow generation's topics into the shadow's own tables, and nothing that all generations share.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP
from prometheus_client import start_http_server

from schemas.programme import Programme, RuleError, load_programmes
from schemas.topics import load_topics
from services.reporting.loader.loader import ABREAST, ACTIVITY, DIRECTORY, TOPICS, Loader
from services.reporting.loader.metrics import Metrics
from services.reporting.loader.own import SHADOW_TOPICS, OwnNames
from services.reporting.loader.rows import course_rows, watermark_row
from services.reporting.loader.sink import Sink
from services.shared.clickhouse import connect
from services.shared.clock import Clock, parse_clock
from services.shared.generation import LIVE, BadName, Generation
from services.shared.kafka import TopicMismatch, check_assigned, ensure_topics
from services.shared.logs import configure_logs, log_slow_reading
from services.shared.membership import worker_folder
from services.shared.migrate import MigrationError, migrate
from services.shared.packed import Row
from services.shared.rules_watch import RulesWatch, restart
from services.shared.settings import Settings, settings
from services.shared.stream import BatchApp, die

_log = structlog.get_logger()


class Stream(BatchApp):
    """The stream, with the reading position that freshness asks for."""

    async def position(self, topic: str, partition: int) -> int | None:
        tp = TP(topic, partition)
        if tp not in self.app.consumer.assignment():
            return None
        found = await self.app.consumer.position(tp)
        return None if found is None else int(found)


def prepare(sink: Sink, programmes: dict[str, Programme], clock: Clock, partitions: dict[str, int], generation: Generation) -> None:
    """What stands in the tables before anything is loaded: courses, the clock, and 'nothing is known' for each partition."""
    now = time.time_ns() // 1_000_000
    courses = generation.table("store.courses")
    stored = {(str(p), str(c)) for p, c in sink.query(f"SELECT programme, course_id FROM {courses} FINAL")}
    unknown: list[Row] = [watermark_row("scoring", p, 0, 0) for p in range(partitions["learning.progress"])]
    rows = {"store.courses": course_rows(programmes, stored, now), "store.watermarks": unknown}
    if not generation.name:
        unknown += [watermark_row("activity", p, 0, 0) for p in range(partitions[ACTIVITY])]
        unknown += [watermark_row("directory", p, 0, 0) for p in range(partitions[DIRECTORY])]
        rows["store.clock"] = [(0, clock.start_ms, clock.speed, clock.anchor_ms, now)]
    sink.write(rows, {})


async def work(conf: Settings) -> bool:
    """Load until told to stop; True where that was for new rule files."""
    generation = Generation(conf.generation)
    programmes = load_programmes(conf.programmes)
    topics = load_topics()
    partitions = {name: topics[name].partitions for name in (SHADOW_TOPICS if generation.name else TOPICS)}
    clock = parse_clock(conf.clock)
    clients = [connect(conf.clickhouse, optimize_on_insert=0) for _ in range(ABREAST)]  # tables merge by themselves what one key has twice
    sink = Sink(*clients, generation=generation)
    sink.query("SELECT 1")  # waits for the server
    for one in dict.fromkeys((LIVE, generation)):  # a shadow's views look at the live tables, too
        for name in migrate(clients[0], generation=one):
            _log.info("migration applied", name=name, generation=one.name)
    prepare(sink, programmes, clock, partitions, generation)
    ensure_topics(conf.bootstrap, generation.topics(topics), conf.kafka_replication)
    loader = Loader(sink, partitions, clock, Metrics())
    folder, lock = worker_folder(conf.data.resolve() / generation.group("loader"))
    names = OwnNames(generation, loader.handle, frozenset(partitions))

    async def positions(assigned: set[TP]) -> dict[TP, int]:
        """The directory is folded anew at every start; the rest goes on where it was acknowledged."""
        _log.info("partitions assigned", count=len(assigned), watermarks=TP(generation.watermarks_topic, 0) in assigned)
        try:
            check_assigned(assigned, {generation.topic(name): count for name, count in partitions.items()})
        except TopicMismatch as error:
            die(str(error))
        return {tp: 0 for tp in assigned if tp.topic == DIRECTORY}

    stream = Stream(
        generation.group("chalk-loader"),
        conf.bootstrap,
        dict.fromkeys(map(generation.topic, partitions), names.handle),
        positions=positions,
        let_go=loader.let_go,
        folder=folder,
        max_records=10_000,
    )

    async def guarded(what: str, job: object) -> None:
        try:
            await job  # type: ignore[misc]
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            die(f"{what}: {error!r}")

    async def ticks() -> None:
        while True:
            await asyncio.sleep(conf.tick_seconds)
            if not stream.app.consumer.assignment():
                continue
            try:
                await loader.tick(names.source(stream))
            except (KafkaError, TimeoutError) as error:  # the broker is away: the stream waits for it, and nothing is claimed
                _log.warning("kafka away, looking again", error=type(error).__name__)

    async def last() -> None:
        await stream.stopping.wait()
        await loader.flush()

    if conf.loader_metrics_port:
        start_http_server(conf.loader_metrics_port, "127.0.0.1")
    loop = asyncio.get_running_loop()
    watch = RulesWatch(conf.programmes, programmes, lambda: loop.call_soon_threadsafe(stream.stopping.set))
    watch.start()
    jobs = [asyncio.create_task(guarded(job.__name__, job())) for job in (loader.run, ticks, last)]
    await stream.run()
    for job in jobs:
        job.cancel()
    sink.give_up()
    os.close(lock)
    return watch.changed and not stream.told_to_end


def main() -> None:
    conf = settings()
    configure_logs("loader", conf.log_level)
    log_slow_reading()
    try:
        again = asyncio.run(work(conf))
    except (BadName, RuleError, MigrationError, TopicMismatch) as error:
        sys.exit(f"loader: {error}")
    _log.info("stopped")
    if again:
        restart("services.reporting.loader")


if __name__ == "__main__":
    main()
