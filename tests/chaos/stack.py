"""The whole pipe for the runs: Kafka, ClickHouse, the door, two scoring workers and the loader, each to be killed, stopped and continued.

A supervisor keeps the servers, a nursery the services: whatever ends is started again. `Stack` says who is who, moves the clock (a restart
of all services with a later one) and changes the rule files. Only processes that it started itself are ever signalled.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
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
from services.shared.settings import Settings
from services.shared.tokens import TokenStore
from tests.chaos.disk import Disk
from tests.chaos.nursery import Nursery
from tests.chaos.schedule import SERVERS, SERVICES, SESSION_SECONDS, Phase
from tests.chaos.service import DIE, QUIET, SESSION
from tests.properties.reference.facts import written

MODULES = {
    "ingest": "services.ingest", "scoring-1": "services.scoring", "scoring-2": "services.scoring", "loader": "services.reporting.loader",
}  # fmt: skip
START_SECONDS = 10.0
"""What the servers need to start on a machine that does nothing else."""
STOP_SECONDS = 8.0


class Stack:
    """A context: servers are up and topics are made at entry, all is gone at exit. Services start with the first `begin`."""

    def __init__(self, folder: Path, texts: Mapping[str, str], small_disk: bool = False) -> None:
        """`small_disk`: what scoring keeps gets a file system of its own, which can be filled."""
        self.rules = folder / "rules"
        self.values = with_free_ports(Settings(data=folder)).model_copy(update={"programmes": self.rules, "tick_seconds": 0.25})
        self.ports = dict(zip(SERVICES, (self.values.ingest_port, *free_ports(11)[8:]), strict=True))
        self.write_rules(texts)
        self._quiet = folder / "quiet"
        self.disk = Disk(folder / "scoring") if small_disk else None
        self.supervisor = Supervisor(folder)
        self.nursery = Nursery(folder)
        self.token = ""
        self.slowness = 1.0
        self._killed: Counter[str] = Counter()
        self._began_services = 0

    def __enter__(self) -> Stack:
        self.supervisor.__enter__()
        self.nursery.__enter__()
        try:
            began = time.monotonic()
            check_tools()
            if self.disk:
                self.disk.mount()
            specs = [replace(_quick(spec), ready_seconds=240) for spec in stack_processes(self.values)]
            for spec in specs:
                self.supervisor.start(spec, wait=False)
            for spec in specs:
                self.supervisor.wait_ready(spec.name)
            self.slowness = min(4.0, max(1.0, (time.monotonic() - began) / START_SECONDS))
            store = TokenStore(self.values.tokens)
            self.token, _ = store.issue("ingest", sources=["*"], programmes=["*"], directory=True, note="chaos")
            store.close()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        try:
            for name in SERVERS:
                with suppress(KeyError):
                    self.signal(name, signal.SIGCONT)  # what is stopped would not hear that it is to end
            self.nursery.__exit__(None, None, None)
            self.supervisor.stop()
        finally:
            if self.disk:
                self.disk.unmount()

    def write_rules(self, texts: Mapping[str, str]) -> None:
        """The rule files as the services find them at their next start."""
        self.rules.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            new = self.rules / f"{name}.new"
            new.write_text(text, encoding="utf-8")
            new.replace(self.rules / f"{name}.yaml")

    def end(self, number: int) -> None:
        """End every service by the signal."""
        self._began_services += int(self.nursery.status()["restarts"])
        self.nursery.end(number, STOP_SECONDS * self.slowness)
        self._quiet.unlink(missing_ok=True)

    def begin(self, phase: Phase) -> None:
        """Start every service with the phase's clock."""
        now = parse_clock(f"{written(phase.start_ms)}@{phase.speed:g}")
        for name in SERVICES:
            environment = self._environment(name, now, phase.deaths.get(name, ""), phase.state)
            self.nursery.keep(name, MODULES[name], environment, self.log(name), phase.taken(name))

    def quiet(self) -> None:
        """From now on nobody dies at a place."""
        self._quiet.touch()

    def log(self, name: str) -> Path:
        return self.supervisor.log(name)

    def _environment(self, name: str, clock: Clock, death: str, state: str) -> dict[str, str]:
        port = self.ports[name]
        values = self.values.model_copy(
            update={
                "clock": clock.text(), "ingest_port": self.ports["ingest"], "scoring_metrics_port": port, "loader_metrics_port": port,
                "state": state,
            }
        )  # fmt: skip
        kept = {key: text for key, text in os.environ.items() if not key.startswith("CHALK_")}
        given = {f"CHALK_{key.upper()}": str(value) for key, value in values.model_dump().items()}
        return {**kept, **given, DIE: death, QUIET: str(self._quiet), SESSION: f"{SESSION_SECONDS * self.slowness:g}"}

    def signal(self, name: str, number: int) -> bool:
        """Send a signal to one of ours; False where it is not running just now."""
        if name in SERVICES:
            return self.nursery.signal(name, number)
        pid = self.supervisor.pid(name)
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            self._killed[name] += number == signal.SIGKILL
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
            time.sleep(0.05)

    def wait_servers(self, seconds: float = 60) -> None:
        """Until Kafka and ClickHouse, which may just have been killed, serve again. Raises TimeoutError."""
        deadline = time.monotonic() + seconds * self.slowness
        time.sleep(0.1)  # the supervisor has noticed by then
        while any(read_state(self.values.data)["processes"][name]["state"] != "ready" for name in SERVERS):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{' or '.join(SERVERS)} is not up after {seconds:g} s")
            time.sleep(0.05)

    def killed(self) -> Counter[str]:
        """Name -> deaths by SIGKILL so far: services as their parent has seen them end, servers as they were signalled while they ran."""
        seen = {name: int(how.get("SIGKILL", 0)) for name, how in self.nursery.status()["ended"].items()}
        return self._killed + Counter(seen)

    def restarts(self) -> int:
        """How often anything had to be started again by itself."""
        servers = sum(int(one["restarts"]) for one in read_state(self.values.data)["processes"].values())
        return self._began_services + int(self.nursery.status()["restarts"]) + servers

    def logs(self, lines: int = 8) -> str:
        """The end of what each service has written."""
        return "\n".join(f"--- {name}\n{tail(self.log(name), lines)}" for name in SERVICES)


def _quick(spec: Process) -> Process:
    """A broker that lives some minutes need not be compiled as well as one that lives for months."""
    if spec.argv[0] != "java":
        return spec
    return replace(spec, argv=["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", *spec.argv[1:]])
