"""Keeps named processes running under one folder: starts them in order, restarts those that die, stops them in reverse.

Generic: the local stack runs Kafka and ClickHouse with it, the demo adds the services, tests add what they need.

    with Supervisor(data) as supervisor:          # takes the folder; Busy where another supervisor has it
        supervisor.start(Process("kafka", argv, ready=tcp("127.0.0.1", 9092)))   # returns when ready; NotReady otherwise
        supervisor.start(Process("ingest", …))
        supervisor.wait()                         # until SIGTERM or SIGINT (install_signals() first)

Under the folder: `logs/NAME.log`, `run/state.json` (see `read_state`), `run/supervisor.lock` (held while it lives).
Each child leads a session of its own, so Ctrl-C reaches the supervisor alone; children get SIGKILL if the supervisor dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

from deploy.local import processes

LAUNCH = Path(__file__).with_name("launch.py")
ROTATE_BYTES = 32 * 1024 * 1024
BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
STEADY_SECONDS = 5.0  # a process that was ready and lived this long starts its backoff afresh
GIVE_UP_FAILURES = 4  # deaths in a row after which nobody waits any longer for it to become ready; it is still started again


class Busy(Exception):
    """Another supervisor has the folder."""


class NotReady(Exception):
    """A process did not become ready; the text names it, its log and the log's last lines."""


@dataclass(frozen=True)
class Process:
    """One program to keep running.

    `env` comes on top of the supervisor's own environment. `ready` is asked again and again until true (None: ready once started);
    it is given the text that this start has logged so far. `before` runs before every start, so it can mend what a kill -9 left.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[str], bool] | None = None
    before: Callable[[], None] | None = None
    cwd: Path | None = None
    ready_seconds: float = 180.0
    stop_seconds: float = 20.0
    restart: bool = True


@dataclass
class _Child:
    spec: Process
    popen: subprocess.Popen[bytes] | None = None
    state: str = "stopped"  # starting, ready, waiting (for its backoff), stopped
    restarts: int = 0
    failures: int = 0
    started_at: float = 0.0  # time.time()
    since: float = 0.0  # time.monotonic()
    due: float = 0.0  # monotonic moment of the next start, while waiting
    log_offset: int = 0
    last_exit: int | None = None


class Supervisor:
    """Owns a folder and its processes. All forking is done by one thread that lives as long as the supervisor does: the kernel ties a
    child's death signal to the *thread* that started it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._children: dict[str, _Child] = {}
        self._jobs: queue.Queue[tuple[Callable[[], Any], Future[Any]]] = queue.Queue()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._lock: IO[str] | None = None
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)

    # -- what callers use

    def __enter__(self) -> Supervisor:
        for name in ("logs", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "run" / "supervisor.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            owner = read_state(self.folder).get("supervisor", {}).get("pid", "unknown")
            raise Busy(f"{self.folder} is in use by another supervisor, process {owner}") from None
        self._lock = lock
        processes.end_strays(self.folder)  # grandchildren of a supervisor that was killed
        self._write_state()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self, spec: Process, wait: bool = True) -> None:
        """Start a process and, unless told otherwise, wait until it is ready. Raises NotReady; the process is then kept being restarted,
        until `stop` or `end`."""
        if spec.name in self._children:
            raise ValueError(f"a process named {spec.name} is there already")
        self._ask(lambda: self._add(spec))
        if wait:
            self.wait_ready(spec.name)

    def wait_ready(self, name: str) -> None:
        """Until the process is ready. Raises NotReady after its `ready_seconds`, or where it dies again and again."""
        child = self._children[name]
        deadline = time.monotonic() + child.spec.ready_seconds
        while child.state != "ready":
            dead = child.state == "stopped" or child.failures >= GIVE_UP_FAILURES
            if dead or time.monotonic() > deadline:
                what = f"ended with status {child.last_exit}" if dead else f"was not ready within {child.spec.ready_seconds:g} s"
                raise NotReady(f"{name} {what}; log: {self.log(name)}\n{tail(self.log(name), 12)}")
            time.sleep(0.02)

    def end(self, name: str) -> None:
        """Stop one process for good (SIGTERM, then SIGKILL after its `stop_seconds`) and forget it."""
        self._ask(lambda: self._end(self._children[name]))
        self._ask(lambda: self._children.pop(name))

    def stop(self) -> None:
        """Stop everything, the last started first, and give the folder back. May be called twice."""
        self._stopping.set()
        if self._thread.is_alive():
            self._ended.wait()
            self._thread.join()
        if self._lock:
            self._lock.close()
            self._lock = None

    def install_signals(self) -> None:
        """Let SIGTERM and SIGINT end `wait`. From the main thread only."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            self._stopping.set()

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)

    def wait(self) -> None:
        """Until a signal (see `install_signals`) or `stop` from another thread; then everything is stopped."""
        while not self._stopping.wait(0.5):
            pass
        self.stop()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def pid(self, name: str) -> int | None:
        """Process id of the process, None while it is not running."""
        popen = self._children[name].popen
        return popen.pid if popen and popen.poll() is None else None

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    # -- the thread

    def _ask(self, job: Callable[[], Any]) -> Any:
        answer: Future[Any] = Future()
        self._jobs.put((job, answer))
        while not answer.done():
            if not self._thread.is_alive():
                raise RuntimeError("the supervisor has stopped")
            time.sleep(0.005)
        return answer.result()

    def _loop(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    job, answer = self._jobs.get(timeout=0.05)
                except queue.Empty:
                    pass
                else:
                    try:
                        answer.set_result(job())
                    except BaseException as error:
                        answer.set_exception(error)
                for child in list(self._children.values()):
                    self._look_after(child)
        finally:
            for child in reversed(list(self._children.values())):
                self._end(child)
            self._write_state()
            self._ended.set()

    def _add(self, spec: Process) -> None:
        child = self._children[spec.name] = _Child(spec)
        self._spawn(child)

    def _spawn(self, child: _Child) -> None:
        spec = child.spec
        path = self.log(spec.name)
        if path.exists() and path.stat().st_size > ROTATE_BYTES:
            path.replace(path.with_suffix(".log.1"))
        child.state, child.since, child.started_at = "starting", time.monotonic(), time.time()
        child.log_offset = path.stat().st_size if path.exists() else 0
        with path.open("ab") as log:
            try:
                if spec.before:
                    spec.before()
                child.popen = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), *spec.argv],
                    env={**os.environ, **spec.env, processes.MARK: str(self.folder)},
                    cwd=spec.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except Exception as error:  # what `before` raises is a failed start like any other
                child.popen = None
                log.write(f"could not start: {error}\n".encode())
                self._died(child)
        if spec.ready is None and child.popen:
            child.state = "ready"
        self._write_state()

    def _look_after(self, child: _Child) -> None:
        if child.state == "waiting" and time.monotonic() >= child.due:
            child.restarts += 1
            self._spawn(child)
        elif child.popen and child.popen.poll() is not None:
            child.last_exit = child.popen.returncode
            processes.kill_group(child.popen.pid)  # workers that a killed leader left behind
            self._died(child)
        elif child.state == "starting" and child.spec.ready:
            try:
                ready = child.spec.ready(self._logged(child))
            except Exception:
                ready = False
            if ready:
                child.state = "ready"
                self._write_state()

    def _died(self, child: _Child) -> None:
        child.popen = None
        steady = child.state == "ready" and time.monotonic() - child.since > STEADY_SECONDS
        child.failures = 0 if steady else child.failures + 1
        child.state = "waiting" if child.spec.restart else "stopped"
        child.due = time.monotonic() + BACKOFF_SECONDS[min(child.failures, len(BACKOFF_SECONDS) - 1)]
        self._write_state()

    def _end(self, child: _Child) -> None:
        popen, child.popen, child.state = child.popen, None, "stopped"
        if popen:
            popen.terminate()
            try:
                child.last_exit = popen.wait(child.spec.stop_seconds)
            except subprocess.TimeoutExpired:
                popen.kill()
                child.last_exit = popen.wait()
            processes.kill_group(popen.pid)
        self._write_state()

    def _logged(self, child: _Child) -> str:
        with self.log(child.spec.name).open("rb") as log:
            log.seek(child.log_offset)
            return log.read().decode(errors="replace")

    def _write_state(self) -> None:
        state = {
            "supervisor": {"pid": os.getpid()},
            "processes": {
                name: {
                    "pid": child.popen.pid if child.popen else None,
                    "state": child.state,
                    "restarts": child.restarts,
                    "started_at": child.started_at,
                    "last_exit": child.last_exit,
                    "log": str(self.log(name)),
                }
                for name, child in self._children.items()
            },
        }
        path = self.folder / "run" / "state.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(state, indent=1))
        new.replace(path)


def read_state(folder: Path) -> dict[str, Any]:
    """What the folder's supervisor last wrote: `{"supervisor": {"pid"}, "processes": {name: {"pid", "state", "restarts", "started_at"
    (seconds since 1970), "last_exit", "log"}}}`; `{}` where there never was one. Ask `is_held` whether it is still alive."""
    try:
        state = json.loads((folder / "run" / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def is_held(folder: Path) -> bool:
    """Whether a living supervisor has the folder."""
    try:
        with (folder / "run" / "supervisor.lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def tail(path: Path, lines: int) -> str:
    """The log's last lines, looked for in its last 64 KiB."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 65536))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
