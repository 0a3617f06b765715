"""The whole pipe for the runs: Kafka, ClickHouse, the door, two scoring workers and the loader, each to be killed, stopped and continued.

One supervisor starts again whatever ends; `Stack` says who is who, moves the clock (a restart of all services with a later one) and
changes the rule files. Only processes that it started itself are ever signalled.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from deploy.demo.house import with_free_ports
from deploy.local.processes import free_ports, http
from deploy.local.stack import check_tools, stack_processes
from deploy.local.supervisor import Process, Supervisor, read_state, tail
from services.shared.clock import Clock, parse_clock
from services.shared.settings import ROOT, Settings
from services.shared.tokens import TokenStore
from tests.properties.reference.facts import written

SESSION_SECONDS = 3.0
SERVICES = ("ingest", "scoring-1", "scoring-2", "loader")
SERVERS = ("kafka", "clickhouse")
MODULES = {
    "ingest": "services.ingest", "scoring-1": "services.scoring", "scoring-2": "services.scoring", "loader": "services.reporting.loader",
}  # fmt: skip


class Stack:
    """A context: servers are up and topics are made at entry, all is gone at exit. Services start with the first `begin`."""

    def __init__(self, folder: Path, texts: Mapping[str, str]) -> None:
        self.rules = folder / "rules"
        self.values = with_free_ports(Settings(data=folder)).model_copy(update={"programmes": self.rules, "tick_seconds": 0.25})
        self.ports = dict(zip(SERVICES, (self.values.ingest_port, *free_ports(11)[8:]), strict=True))
        self.write_rules(texts)
        self.supervisor = Supervisor(folder)
        self.token = ""
        self.slowness = 1.0
        self._running: list[str] = []
        self._restarts = 0

    def __enter__(self) -> Stack:
        self.supervisor.__enter__()
        try:
            began = time.monotonic()
            check_tools()
            specs = [replace(spec, ready_seconds=240) for spec in stack_processes(self.values)]
            for spec in specs:
                self.supervisor.start(spec, wait=False)
            for spec in specs:
                self.supervisor.wait_ready(spec.name)
            self.slowness = min(4.0, max(1.0, (time.monotonic() - began) / 10))
            store = TokenStore(self.values.tokens)
            self.token, _ = store.issue("ingest", sources=["*"], programmes=["*"], directory=True, note="chaos")
            store.close()
        except BaseException:
            self.supervisor.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in self._running:
            self.signal(name, signal.SIGCONT)  # what is stopped would not hear that it is to end
        self.supervisor.stop()

    def write_rules(self, texts: Mapping[str, str]) -> None:
        """The rule files as the services find them at their next start."""
        self.rules.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (self.rules / f"{name}.yaml").write_text(text, encoding="utf-8")

    def begin(self, start_ms: int, speed: float, deaths: Mapping[str, str], number: int = signal.SIGTERM) -> Clock:
        """End every service by the signal `number`; start it with the clock at `start_ms`. `deaths`: where it dies, see `service.py`."""
        now = parse_clock(f"{written(start_ms)}@{speed:g}")
        for name in self._running:
            self.signal(name, signal.SIGCONT)
            self.signal(name, number)
        for name in self._running:
            self._restarts += read_state(self.values.data)["processes"][name]["restarts"]
            self.supervisor.end(name)
        self._running = list(SERVICES)
        for name in SERVICES:
            self.supervisor.start(self._process(name, now, deaths.get(name, "")), wait=False)
        return now

    def _process(self, name: str, clock: Clock, death: str) -> Process:
        port = self.ports[name]
        values = self.values.model_copy(
            update={"clock": clock.text(), "ingest_port": self.ports["ingest"], "scoring_metrics_port": port, "loader_metrics_port": port}
        )
        environment = {f"CHALK_{key.upper()}": str(value) for key, value in values.model_dump().items()}
        environment |= {"CHAOS_DIE": death, "CHAOS_SESSION": f"{SESSION_SECONDS:g}"}
        ready = http(f"http://127.0.0.1:{port}/{'readyz' if name == 'ingest' else 'metrics'}")
        argv = [sys.executable, "-m", "tests.chaos.service", MODULES[name]]
        return Process(name, argv, environment, ready=ready, cwd=ROOT, stop_seconds=10)

    def signal(self, name: str, number: int) -> bool:
        """Send a signal to one of ours; False where it is not running just now."""
        pid = self.supervisor.pid(name)
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def wait_up(self, name: str, seconds: float = 60) -> None:
        """Until the service answers. Raises TimeoutError."""
        deadline = time.monotonic() + seconds * self.slowness
        port = self.ports[name]
        check = http(f"http://127.0.0.1:{port}/{'readyz' if name == 'ingest' else 'metrics'}")
        while True:
            with suppress(OSError):
                if check(""):
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} is not up after {seconds:g} s")
            time.sleep(0.1)

    def wait_servers(self, seconds: float = 60) -> None:
        """Until Kafka and ClickHouse, which may just have been killed, serve again. Raises TimeoutError."""
        deadline = time.monotonic() + seconds * self.slowness
        time.sleep(0.3)  # the supervisor has noticed by then
        while any(read_state(self.values.data)["processes"][name]["state"] != "ready" for name in SERVERS):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{' or '.join(SERVERS)} is not up after {seconds:g} s")
            time.sleep(0.1)

    def restarts(self) -> int:
        """How often anything had to be started again by itself."""
        return self._restarts + sum(int(one["restarts"]) for one in read_state(self.values.data)["processes"].values())

    def logs(self, lines: int = 8) -> str:
        """The end of what each service has written."""
        return "\n".join(f"--- {name}\n{tail(self.supervisor.log(name), lines)}" for name in SERVICES)
