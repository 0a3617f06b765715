"""Where the services of a run live: one process that has imported their libraries forks each of them, and starts again what ends.

Importing costs each service 0.9 s of processor, most of what its start costs at all; a run starts some thirty. A forked one begins with
the libraries loaded and loads the product's own modules itself (`service.py`); it is a process of its own, killed by real signals.
`python -m tests.chaos.nursery FD` is that process, told what to do through a socket; `Nursery` is how to tell it. It ends with the socket,
and its children with it.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.chaos import service

LIBRARIES = (
    "aiokafka", "clickhouse_driver", "clickhouse_driver.columns.service", "fastapi", "faust", "faust.transport.drivers.aiokafka",
    "httptools", "httpx", "kafka", "lz4.frame", "msgspec", "prometheus_client", "pydantic", "pydantic_settings", "rocksdict", "sqlalchemy",
    "sqlalchemy.dialects.sqlite", "stamina", "structlog", "uvicorn", "uvicorn.protocols.http.httptools_impl", "uvloop", "yaml",
    "schemas.programme", "schemas.progress", "schemas.reading", "schemas.topics",
)  # fmt: skip
AGAIN_SECONDS = 0.15
"""From a death to the next start; where a service dies at once again and again, longer by as much each time."""
AT_ONCE_SECONDS = 1.0
MESSAGE_BYTES = 1 << 17
PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """`taken`: the child that is killed whenever this one has been; `pid` 0: not running; `due`: monotonic moment of the next start;
    `end_by`: when it is killed that was asked to end."""

    module: str
    env: dict[str, str]
    log: str
    taken: str = ""
    pid: int = 0
    began: float = 0.0
    restarts: int = 0
    hasty: int = 0
    wanted: bool = True
    due: float | None = None
    end_by: float | None = None


class Keeper:
    """The process that forks. One thread, so that what it forks is whole."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self._children: dict[str, Child] = {}
        self._ended: dict[str, Counter[str]] = {}

    def run(self) -> None:
        read, write = os.pipe()
        os.set_blocking(write, False)
        os.set_blocking(read, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        while True:
            moments = [m for child in self._children.values() for m in (child.due, child.end_by) if m is not None]
            wait = min([0.5, *(max(0.0, m - time.monotonic()) for m in moments)])
            ready, _, _ = select.select([self._told, read], [], [], wait)
            if read in ready:
                with suppress(BlockingIOError):
                    os.read(read, 4096)
            self._reap()
            if self._told in ready:
                message = self._told.recv(MESSAGE_BYTES)
                if not message:
                    break
                self._told.send(json.dumps(self._obey(json.loads(message))).encode())
            self._look()
        for child in self._children.values():
            if child.pid:
                os.kill(child.pid, signal.SIGKILL)

    def _obey(self, said: dict[str, Any]) -> Any:
        what = said.pop("what")
        if what == "keep":
            name = said.pop("name")
            self._children[name] = Child(**said)
            self._start(self._children[name])
        elif what == "signal":
            pid = self._children[said["name"]].pid
            if pid:
                os.kill(pid, said["number"])
            return bool(pid)
        elif what == "end":
            for child in self._children.values():
                child.wanted, child.due, child.end_by = False, None, time.monotonic() + said["seconds"]
                if child.pid:
                    os.kill(child.pid, signal.SIGCONT)
                    os.kill(child.pid, said["number"])
        return {
            "pids": {name: child.pid for name, child in self._children.items()},
            "restarts": sum(child.restarts for child in self._children.values()),
            "ended": self._ended,
        }

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for name, child in self._children.items():
                if child.pid == pid:
                    self._died(name, child, status)

    def _died(self, name: str, child: Child, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        self._ended.setdefault(name, Counter())[signal.Signals(-code).name if code < 0 else str(code)] += 1
        now = time.monotonic()
        child.pid = 0
        child.hasty = child.hasty + 1 if now - child.began < AT_ONCE_SECONDS else 1
        if child.taken and code == -signal.SIGKILL and child.wanted and self._children[child.taken].pid:
            os.kill(self._children[child.taken].pid, signal.SIGKILL)
        if child.wanted:
            child.due = now + AGAIN_SECONDS * min(child.hasty, 8)

    def _look(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.due is not None and now >= child.due:
                child.restarts += 1
                self._start(child)
            if child.end_by is not None and now >= child.end_by:
                child.end_by = None
                if child.pid:
                    os.kill(child.pid, signal.SIGKILL)

    def _start(self, child: Child) -> None:
        child.due, child.began = None, time.monotonic()
        keeper = os.getpid()
        child.pid = os.fork()
        if child.pid == 0:
            _become(child, keeper, self._told)


def _become(child: Child, keeper: int, told: socket.socket) -> None:
    """In the forked process: be the service, and never return."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        told.close()
        log = os.open(child.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(child.env, **{service.LIFE: str(child.restarts)})
        sys.argv = ["-m", child.module]
        service.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class Nursery:
    """A context: the process that forks, from outside. Its methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def __enter__(self) -> Nursery:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, (self._folder / "nursery.log").open("ab") as log:
            argv = [sys.executable, "-m", "tests.chaos.nursery", str(theirs.fileno())]
            self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdout=log, stderr=log, start_new_session=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()
        self._process.wait(20)

    def _ask(self, **said: Any) -> Any:
        with self._lock:
            self._socket.send(json.dumps(said).encode())
            return json.loads(self._socket.recv(MESSAGE_BYTES))

    def keep(self, name: str, module: str, env: Mapping[str, str], log: Path, taken: str = "") -> None:
        """Start a service, and again whenever it ends; `taken`: who is killed whenever this one has been."""
        self._ask(what="keep", name=name, module=module, env=dict(env), log=str(log), taken=taken)

    def signal(self, name: str, number: int) -> bool:
        """Whether it was there to be sent the signal."""
        return bool(self._ask(what="signal", name=name, number=int(number)))

    def end(self, number: int, seconds: float) -> None:
        """End all for good, killing what takes longer than `seconds`; returns when all are gone."""
        found = self._ask(what="end", number=int(number), seconds=seconds)
        while any(found["pids"].values()):
            time.sleep(0.01)
            found = self._ask(what="status")

    def status(self) -> dict[str, Any]:
        """`pids` by name (0: not running), `restarts` of those kept now, `ended`: name -> how -> how often, since the beginning."""
        found: dict[str, Any] = self._ask(what="status")
        return found


def main() -> None:
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    Keeper(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
