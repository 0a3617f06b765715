"""`python -m services.scoring`: one scoring worker; start several to share the partitions."""

from __future__ import annotations

import asyncio
import os
import sys

import structlog
from prometheus_client import start_http_server

from schemas.programme import RuleError, digest, load_programmes
from schemas.topics import load_topics
from services.scoring.core.state import LAYOUT
from services.scoring.directory import TOPIC as DIRECTORY
from services.scoring.directory import follow
from services.scoring.engine import Engine
from services.scoring.metrics import Metrics
from services.scoring.partition import ACTIVITY
from services.scoring.recovery import Stores
from services.scoring.takeover import TakeOver
from services.shared import garbage
from services.shared.clock import parse_clock
from services.shared.directory import Directory
from services.shared.generation import Generation
from services.shared.kafka import TopicMismatch, ensure_topics
from services.shared.logs import configure_logs, log_rule_warnings, log_slow_reading
from services.shared.membership import worker_folder
from services.shared.rules_watch import RulesWatch, restart
from services.shared.settings import Settings, settings


async def work(conf: Settings) -> bool:
    """Load the rules, make sure of the topics, read the directory, then score until told to stop, or until the rule files are others.

    Returns whether it was the latter.
    """
    programmes = load_programmes(conf.programmes)
    log_rule_warnings(programmes)
    topics, generation = load_topics(), Generation(conf.generation)
    ensure_topics(conf.bootstrap, generation.topics(topics), conf.kafka_replication)
    directory, caught_up = Directory(), asyncio.Event()
    following = asyncio.create_task(follow(conf.bootstrap, topics[DIRECTORY].partitions, directory, caught_up))
    await caught_up.wait()
    if conf.scoring_metrics_port:
        start_http_server(conf.scoring_metrics_port, "127.0.0.1")
    folder, lock = worker_folder(conf.data.resolve() / "scoring")
    take_over = TakeOver(
        conf.bootstrap,
        programmes,
        f"{LAYOUT}/{digest(programmes)}",
        directory,
        parse_clock(conf.clock),
        topics[ACTIVITY].partitions,
        Metrics(),
        Stores(folder if conf.state == "rocksdb" else None, max(1, conf.state_learners // topics[ACTIVITY].partitions)),
        generation,
    )
    engine = Engine(take_over, conf.tick_seconds, folder)
    garbage.take_over()
    loop = asyncio.get_running_loop()
    watch = RulesWatch(conf.programmes, programmes, lambda: loop.call_soon_threadsafe(engine.app.stopping.set))
    watch.start()
    await engine.run()
    following.cancel()
    os.close(lock)
    return watch.changed and not engine.app.told_to_end


def main() -> None:
    conf = settings()
    configure_logs("scoring", conf.log_level)
    log_slow_reading()
    try:
        again = asyncio.run(work(conf))
    except RuleError as error:
        sys.exit(f"rule files:\n{error.everything}")
    except TopicMismatch as error:
        sys.exit(f"scoring: {error}")
    structlog.get_logger().info("stopped")
    if again:
        restart("services.scoring")


if __name__ == "__main__":
    main()
