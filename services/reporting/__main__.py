"""`python -m services.reporting`: the console and its API on one port."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType

import uvicorn

from schemas.programme import RuleError, load_programmes
from services.reporting.api.live import Live
from services.reporting.api.publisher import Publisher
from services.reporting.app import build_app, build_deps
from services.shared.clock import parse_clock
from services.shared.logs import configure_logs, log_rule_warnings
from services.shared.rules_watch import RulesWatch, restart
from services.shared.settings import settings


class Server(uvicorn.Server):
    """Ends the open live streams as soon as it is told to stop, so that a stop need not wait for browsers."""

    live: Live

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.live.end_streams()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.live.end_streams()  # where it was not a signal that ended us
        await super().shutdown(sockets)


def main() -> None:
    given = settings()
    configure_logs("reporting", given.log_level)
    clock = parse_clock(given.clock)
    try:
        programmes = load_programmes(given.programmes)
    except RuleError as error:
        sys.exit(f"rule files:\n{error.everything}")
    log_rule_warnings(programmes)
    publisher = Publisher(given.bootstrap)
    deps = build_deps(given, clock, programmes, publisher)
    app = build_app(deps, publisher.ready)
    config = uvicorn.Config(
        app,
        host=given.reporting_host,
        port=given.reporting_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    server = Server(config)
    server.live = deps.live
    watch = RulesWatch(given.programmes, programmes, lambda: setattr(server, "should_exit", True))
    watch.start()
    try:
        server.run()
    finally:
        publisher.close()
    if watch.changed:
        restart("services.reporting")
    if not server.started:
        raise SystemExit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    main()
