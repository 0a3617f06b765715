"""The processes that work for a shadow generation while `chalk replay` runs: a scoring worker and a loader, started again when they die.

They die with the command that started them, and stop gracefully when it is done: what they have done stays, and the next call goes on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from prometheus_client.parser import text_string_to_metric_families

from services.shared.settings import ROOT

MODULES = {"scoring": "services.scoring", "loader": "services.reporting.loader"}
MOST_DEATHS = 5
"""Deaths in a row, each within STEADY_SECONDS of its start, after which nobody starts it again."""
STEADY_SECONDS = 20.0
STOP_SECONDS = 30.0
# Becomes the worker, with SIGTERM at the death of the command; set in a process of its own, because between fork and exec of a
# process with threads it could deadlock. Threads of the command never start workers: the signal is tied to the thread that forks.
_LAUNCH = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit('the command is gone')\n"
    "os.execv(sys.executable, [sys.executable, '-m', sys.argv[2]])\n"
)


class WorkerFailed(Exception):
    """A worker dies again and again; the text has the end of its log."""


@dataclass
class _Worker:
    name: str
    log: Path
    process: subprocess.Popen[bytes]
    out: IO[bytes]
    started: float
    deaths: int = 0


@dataclass
class Rebuild:
    """What scoring says of itself: records of the log folded, of how many; changelog records read, of how many."""

    applied: dict[int, int] = field(default_factory=dict)
    end: dict[int, int] = field(default_factory=dict)
    recovered: int = 0
    recovering: int = 0


class Workers:
    """`environment` on top of this process's own; logs below `folder`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._port = _free_port()
        self._environment = {**os.environ, **environment, "CHALK_SCORING_METRICS_PORT": str(self._port), "CHALK_LOADER_METRICS_PORT": "0"}
        self._workers: dict[str, _Worker] = {}

    def __enter__(self) -> Workers:
        for name in MODULES:
            self._start(name)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _start(self, name: str, deaths: int = 0) -> None:
        path = self._folder / f"{name}.log"
        out = path.open("ab")
        argv = [sys.executable, "-c", _LAUNCH, str(os.getpid()), MODULES[name]]
        process = subprocess.Popen(
            argv, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        self._workers[name] = _Worker(name, path, process, out, time.monotonic(), deaths)

    def watch(self) -> None:
        """Start again who has died. Raises WorkerFailed where one does again and again."""
        for name, worker in list(self._workers.items()):
            status = worker.process.poll()
            if status is None:
                continue
            steady = time.monotonic() - worker.started > STEADY_SECONDS
            deaths = 1 if steady else worker.deaths + 1
            worker.out.close()
            if deaths >= MOST_DEATHS:
                raise WorkerFailed(
                    f"the shadow's {name} ends again and again (status {status}); the end of {worker.log}:\n{_tail(worker.log)}"
                )
            time.sleep(0.2 * deaths)
            self._start(name, deaths)

    def pids(self) -> dict[str, int]:
        return {name: worker.process.pid for name, worker in self._workers.items()}

    def stop(self) -> None:
        """SIGTERM, so that what is under way is finished; SIGKILL where that takes too long, which loses nothing either."""
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        for worker in self._workers.values():
            try:
                worker.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.out.close()
        self._workers.clear()

    def rebuild(self) -> Rebuild | None:
        """What scoring's metrics say; None while it does not answer."""
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"http://127.0.0.1:{self._port}/metrics", timeout=2
            ) as said:
                text = said.read().decode()
        except OSError:
            return None
        return read_metrics(text)


def read_metrics(text: str) -> Rebuild:
    """The rebuild's gauges from Prometheus' text; `chalk_scoring_applied_offset` counts as well, for a state that goes on."""
    found = Rebuild()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            number = int(sample.labels.get("partition", "0"))
            if sample.name in ("chalk_scoring_rebuild_applied", "chalk_scoring_applied_offset"):
                found.applied[number] = max(found.applied.get(number, 0), int(sample.value))
            elif sample.name == "chalk_scoring_rebuild_end":
                found.end[number] = int(sample.value)
            elif sample.name == "chalk_scoring_recovery_read":
                found.recovered += int(sample.value)
            elif sample.name == "chalk_scoring_recovery_end":
                found.recovering += int(sample.value)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(path: Path, lines: int = 15) -> str:
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 16_384))
        return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
