"""The whole pipe under one supervisor: the local stack and the four services, each with the same settings and the same clock.

    with House(values) as house:       # values: Settings with data folder, ports and an anchored clock
        house.start()                  # stack, topics, services; returns when all are ready
        house.supervisor.pid("scoring")

Used by the demo, the benchmark and the tests that need everything. Where `kafka_bootstrap` and `clickhouse_url` are set, those
servers are used.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from deploy.local.processes import check_port, free_ports, http
from deploy.local.stack import check_tools, start_stack
from deploy.local.supervisor import Process, Supervisor, is_held, read_state
from services.shared.settings import ROOT, Settings

SERVICES = ("ingest", "scoring", "loader", "reporting")
MODULES = {"loader": "services.reporting.loader"}
PORTS = (
    "kafka_port", "kafka_controller_port", "clickhouse_port", "clickhouse_http_port",
    "ingest_port", "reporting_port", "scoring_metrics_port", "loader_metrics_port",
)  # fmt: skip
OUR_OWN = ("kafka_port", "kafka_controller_port", "clickhouse_port", "clickhouse_http_port")


def with_free_ports(values: Settings, first: int = 0) -> Settings:
    """The settings on servers of their own: ports from `first` on, or free ones; no outside broker or database."""
    ports = list(range(first, first + len(PORTS))) if first else free_ports(len(PORTS))
    own = dict(zip(PORTS, ports, strict=True)) | {"kafka_bootstrap": "", "clickhouse_url": "", "tokens_url": "", "identity_url": ""}
    return values.model_copy(update=own)


def environment(values: Settings) -> dict[str, str]:
    """Every setting as the environment variable that says it."""
    return {f"CHALK_{name.upper()}": str(value) for name, value in values.model_dump().items()}


class House:
    """Owns `values.data`. Raises Busy where another supervisor has it."""

    def __init__(self, values: Settings, services: Sequence[str] = SERVICES) -> None:
        self.values, self.services = values, services
        self.supervisor = Supervisor(values.data)

    def __enter__(self) -> House:
        self.supervisor.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.supervisor.stop()

    @property
    def ingest_url(self) -> str:
        return f"http://{self.values.ingest_host}:{self.values.ingest_port}"

    @property
    def reporting_url(self) -> str:
        return f"http://{self.values.reporting_host}:{self.values.reporting_port}"

    def check_ports(self) -> None:
        """Raise PortTaken, naming the setting that moves it, unless every port is free."""
        for name in PORTS:
            if not (name in OUR_OWN and self._outside):
                check_port(getattr(self.values, name), f"CHALK_{name.upper()}")

    @property
    def _outside(self) -> bool:
        return bool(self.values.kafka_bootstrap and self.values.clickhouse_url)

    def start(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Raises Unprepared, PortTaken or NotReady, each with a text for people."""
        check_tools()
        self.check_ports()
        if not self._outside:
            say("starting Kafka and ClickHouse")
            start_stack(self.supervisor, self.values)
        say("starting " + ", ".join(self.services))
        for name in self.services:
            self.supervisor.start(self.process(name), wait=False)
        for name in self.services:
            self.supervisor.wait_ready(name)

    def process(self, name: str) -> Process:
        """A service as the supervisor runs it."""
        values = self.values
        ready = {
            "ingest": f"{self.ingest_url}/readyz",
            "reporting": f"{self.reporting_url}/readyz",
            "scoring": f"http://127.0.0.1:{values.scoring_metrics_port}/metrics",
            "loader": f"http://127.0.0.1:{values.loader_metrics_port}/metrics",
        }[name]
        argv = [sys.executable, "-m", MODULES.get(name, f"services.{name}")]
        return Process(name, argv, environment(values), ready=http(ready), cwd=ROOT, ready_seconds=90)

    def kill(self, name: str) -> None:
        """kill -9 of one process; the supervisor starts it again. Returns when it is there again with another pid."""
        before = self.supervisor.pid(name)
        if before is None:
            raise RuntimeError(f"{name} is not running")
        os.kill(before, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while self.supervisor.pid(name) in (before, None):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not come back")
            time.sleep(0.02)
        self.supervisor.wait_ready(name)

    def query(self, sql: str) -> str:
        """ClickHouse's answer over HTTP, in the query's FORMAT."""
        url = f"http://127.0.0.1:{self.values.clickhouse_http_port}/"
        with urllib.request.urlopen(urllib.request.Request(url, sql.encode()), timeout=60) as answer:
            return str(answer.read().decode())


def end_previous(folder: Path, seconds: float = 60.0) -> bool:
    """Ask the supervisor that has the folder, if any, to stop, and wait for it. False where it does not give the folder back."""
    deadline = time.monotonic() + seconds
    asked = False
    while is_held(folder):
        pid = read_state(folder).get("supervisor", {}).get("pid")
        if pid and not asked:
            os.kill(int(pid), signal.SIGTERM)
            asked = True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
