"""`python -m services.ingest`: the door, one process. Starts without Kafka too; then it is not ready and answers 503."""

from __future__ import annotations

import sys
from contextlib import suppress

import structlog
import uvicorn

from schemas.programme import RuleError, load_programmes
from schemas.topics import load_topics
from services.ingest.app import Deps, make_app
from services.ingest.duplicates import Memory
from services.ingest.publish import Limits, Publisher
from services.shared import garbage
from services.shared.clock import parse_clock
from services.shared.logs import configure_logs, log_rule_warnings
from services.shared.rules_watch import RulesWatch, restart
from services.shared.settings import settings
from services.shared.tokens import TokenStore


def main() -> None:
    conf = settings()
    configure_logs("ingest", conf.log_level)
    try:
        programmes = load_programmes(conf.programmes)
    except RuleError as error:
        sys.exit(f"rule files:\n{error.everything}")
    log_rule_warnings(programmes)
    try:
        clock = parse_clock(conf.clock)
    except ValueError as error:
        sys.exit(str(error))
    limits = Limits(conf.ingest_max_inflight_bytes, conf.ingest_stall_seconds)
    app = make_app(
        Deps(
            Publisher(conf.bootstrap, load_topics(), conf.kafka_replication, limits),
            TokenStore(conf.tokens),
            programmes,
            clock,
            Memory(conf.ingest_duplicate_memory),
            conf.ingest_max_item_bytes,
            conf.ingest_max_body_bytes,
            conf.ingest_max_items,
        )
    )
    garbage.settle()
    structlog.get_logger().info("starting", host=conf.ingest_host, port=conf.ingest_port, programmes=sorted(programmes), clock=clock.text())
    config = uvicorn.Config(
        app,
        host=conf.ingest_host,
        port=conf.ingest_port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    watch = RulesWatch(conf.programmes, programmes, lambda: setattr(server, "should_exit", True))
    watch.start()
    with suppress(KeyboardInterrupt):
        server.run()
    if watch.changed:
        restart("services.ingest")
    if not server.started:
        sys.exit(3)  # uvicorn has said why


if __name__ == "__main__":
    main()
