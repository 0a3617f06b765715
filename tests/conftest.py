"""What all tests share: one folder for everything they write, real servers where a test asks for them, none where it does not.

Everything lies in `.chalk/test-PID/` in the checkout and goes away at the end: two runs at once, or a run beside a demo, do not meet.
A process that a test leaves behind fails the run.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.local import processes
from deploy.local.processes import alive, free_ports, http, tcp
from deploy.local.stack import start_stack
from deploy.local.supervisor import Process, Supervisor
from services.shared.settings import ROOT, Settings

DATA = ROOT / ".chalk"
RUN = DATA / f"test-{os.getpid()}"
PORTS = (
    "kafka_port", "kafka_controller_port", "clickhouse_port", "clickhouse_http_port",
    "ingest_port", "reporting_port", "scoring_metrics_port", "loader_metrics_port",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Everything that asks for a temporary folder, here or in a child, gets one under RUN. The user's own settings do not count."""
    for folder in DATA.glob("test-*"):
        if folder.name[5:].isdigit() and not alive(int(folder.name[5:])):
            _clear(folder)  # of a run that was killed
    RUN.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(RUN)
    os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = str(RUN / "home")  # a browser's
    if not config.option.basetemp:
        config.option.basetemp = str(RUN / "pytest")
    for name in [name for name in os.environ if name.startswith("CHALK_")]:
        del os.environ[name]
    with suppress(ImportError):
        from hypothesis import settings
        from hypothesis.database import DirectoryBasedExampleDatabase

        settings.register_profile("chalk", database=DirectoryBasedExampleDatabase(DATA / "cache" / "hypothesis"), deadline=None)
        settings.load_profile("chalk")


def pytest_unconfigure(config: pytest.Config) -> None:
    _clear(RUN)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run where a test left a process (a moment's grace: browsers take a little to go)."""
    deadline = time.monotonic() + 5
    while (left := _of_run(RUN)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        print(f"\nprocesses left behind by tests: {left}", file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _of_run(folder: Path) -> dict[int, str]:
    """Processes that the run of this folder started, directly or not: pid -> command line."""
    mark = f"TMPDIR={folder}".encode()
    found = {}
    for pid in processes.pids():
        with suppress(OSError):
            if pid != os.getpid() and alive(pid) and mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    return found


def _clear(folder: Path) -> None:
    """Delete a run's folder, after ending what still runs in it."""
    for _ in range(50):
        left = _of_run(folder)
        if not left:
            break
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test without the mark `servers` or `browser` can reach no server at all."""
    if request.node.get_closest_marker("servers") or request.node.get_closest_marker("browser"):
        return

    def refuse(sock: socket.socket, address: Any) -> int:
        if sock.family == socket.AF_UNIX:
            return real(sock, address) or 0
        raise AssertionError(f"{request.node.nodeid} connects to {address}, but is not marked `servers`")

    real = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


@dataclass(frozen=True)
class Stack:
    """Real servers for the whole run: `values` are the settings that reach them, `env` the environment that says the same."""

    values: Settings
    env: dict[str, str]
    supervisor: Supervisor

    def settings(self, **changes: Any) -> Settings:
        return self.values.model_copy(update=changes)


def environment(values: Settings) -> dict[str, str]:
    """Every setting as its variable, over this process's environment."""
    given = {f"CHALK_{name.upper()}": str(value) for name, value in values.model_dump().items()}
    return {**os.environ, **given}


def own_settings(folder: Path, **more: Any) -> Settings:
    """Settings with the folder and ports that nobody uses."""
    return Settings(data=folder, **dict(zip(PORTS, free_ports(len(PORTS)), strict=True)), **more)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Real Kafka and ClickHouse, empty at first, shared by the run's tests: use topics, tables or learners of your own."""
    values = own_settings(RUN / "stack")
    with Supervisor(values.data) as supervisor:
        start_stack(supervisor, values)
        yield Stack(values, environment(values), supervisor)


Runner = Callable[..., str]


@pytest.fixture
def run_service(stack: Stack) -> Iterator[Runner]:
    """`run_service("services.ingest", ready="http://…/readyz" or a port, CHALK_…="…")` runs a module on the stack until the test ends
    and returns its name: for `stack.supervisor.pid(name)` and `.log(name)`. It is started again if it dies."""
    names: list[str] = []

    def run(module: str, ready: str | int, restart: bool = True, **env: str) -> str:
        name = f"{module.rpartition('.')[2]}-{len(names)}"
        check = http(ready) if isinstance(ready, str) else tcp("127.0.0.1", ready)
        names.append(name)
        argv = [sys.executable, "-m", module]
        stack.supervisor.start(Process(name, argv, {**stack.env, **env}, check, cwd=ROOT, restart=restart))
        return name

    yield run
    for name in reversed(names):
        stack.supervisor.end(name)
