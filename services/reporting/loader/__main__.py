"""`python -m services.reporting.loader`: migrates ClickHouse, then loads what Kafka has, until SIGTERM. One per ClickHouse."""

from __future__ import annotations

import asyncio
import sys
import time

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP
from prometheus_client import start_http_server

from schemas.programme import RuleError, load_programmes
from schemas.topics import load_topics
from services.reporting.loader.loader import DIRECTORY, TOPICS, WATERMARKS, Loader
from services.reporting.loader.metrics import Metrics
from services.reporting.loader.rows import Row, course_rows, watermark_row
from services.reporting.loader.sink import Sink
from services.shared.clickhouse import connect
from services.shared.clock import Clock, parse_clock
from services.shared.kafka import TopicMismatch, check_assigned, ensure_topics
from services.shared.logs import configure_logs
from services.shared.migrate import MigrationError, migrate
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


def prepare(sink: Sink, conf: Settings, clock: Clock, partitions: dict[str, int]) -> None:
    """What stands in the tables before anything is loaded: courses, the clock, and 'nothing is known' for each partition."""
    now = time.time_ns() // 1_000_000
    stored = {(str(p), str(c)) for p, c in sink.query("SELECT programme, course_id FROM store.courses FINAL")}
    unknown: list[Row] = [watermark_row(kind, p, 0, 0) for kind in ("scoring", "activity") for p in range(partitions["learning.activity"])]
    unknown += [watermark_row("directory", p, 0, 0) for p in range(partitions[DIRECTORY])]
    sink.write(
        {
            "store.courses": course_rows(load_programmes(conf.programmes), stored, now),
            "store.clock": [(0, clock.start_ms, clock.speed, clock.anchor_ms, now)],
            "store.watermarks": unknown,
        },
        {},
    )


async def work(conf: Settings) -> None:
    topics = load_topics()
    partitions = {name: topics[name].partitions for name in TOPICS}
    clock = parse_clock(conf.clock)
    client = connect(conf.clickhouse)
    sink = Sink(client)
    sink.query("SELECT 1")  # waits for the server
    for name in migrate(client):
        _log.info("migration applied", name=name)
    prepare(sink, conf, clock, partitions)
    ensure_topics(conf.bootstrap, topics, conf.kafka_replication)
    loader = Loader(sink, partitions, clock, Metrics())

    async def positions(assigned: set[TP]) -> dict[TP, int]:
        """The directory is folded anew at every start; the rest goes on where it was acknowledged."""
        _log.info("partitions assigned", count=len(assigned), watermarks=TP(WATERMARKS, 0) in assigned)
        try:
            check_assigned(assigned, partitions)
        except TopicMismatch as error:
            die(str(error))
        return {tp: 0 for tp in assigned if tp.topic == DIRECTORY}

    stream = Stream(
        "chalk-loader",
        conf.bootstrap,
        dict.fromkeys(TOPICS, loader.handle),
        positions=positions,
        let_go=loader.let_go,
        datadir=str(conf.data.resolve() / "loader"),
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
                await loader.tick(stream)
            except (KafkaError, TimeoutError) as error:  # the broker is away: the stream waits for it, and nothing is claimed
                _log.warning("kafka away, looking again", error=type(error).__name__)

    async def last() -> None:
        await stream.stopping.wait()
        await loader.flush()

    if conf.loader_metrics_port:
        start_http_server(conf.loader_metrics_port, "127.0.0.1")
    jobs = [asyncio.create_task(guarded(job.__name__, job())) for job in (loader.run, ticks, last)]
    await stream.run()
    for job in jobs:
        job.cancel()


def main() -> None:
    conf = settings()
    configure_logs("loader", conf.log_level)
    try:
        asyncio.run(work(conf))
    except (RuleError, MigrationError, TopicMismatch) as error:
        sys.exit(f"loader: {error}")
    _log.info("stopped")


if __name__ == "__main__":
    main()
