"""Ports and processes of this machine, looked up in /proc: who holds a port, which processes a killed supervisor left behind."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

MARK = "CHALK_SUPERVISED_BY"
"""Environment variable in every supervised process and its children: the supervisor's folder."""


class PortTaken(Exception):
    """A port that is needed is in use; the text says by whom and which setting moves it."""


def tcp(host: str, port: int) -> Callable[[str], bool]:
    """Ready check: the port accepts a connection."""

    def check(logged: str) -> bool:
        with socket.create_connection((host, port), 0.3):
            return True

    return check


def http(url: str) -> Callable[[str], bool]:
    """Ready check: a GET answers 200."""

    def check(logged: str) -> bool:
        with urllib.request.urlopen(url, timeout=1.0) as answer:
            return bool(answer.status == 200)

    return check


def logged(text: str) -> Callable[[str], bool]:
    """Ready check: the process has written this text since it was started."""
    return lambda written: text in written


def check_port(port: int, setting: str, host: str = "127.0.0.1") -> None:
    """Raise PortTaken unless the port can be bound now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError:
            raise PortTaken(f"{setting}={port} is no port: expected 1-65535") from None
        except OSError as error:
            who = f"port {port} ({setting}) is not free: {error.strerror}; held by {holder(port)}"
            raise PortTaken(f"{who}. Choose another: {setting}=…") from None


def holder(port: int) -> str:
    """Who listens on the port: `process 123 (java -Xmx…)`, as far as this user may see."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                cells = line.split()
                if int(cells[1].rpartition(":")[2], 16) == port and cells[3] == "0A":
                    inodes.add(f"socket:[{cells[9]}]")
    for pid in pids():
        with suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if os.readlink(link) in inodes:
                        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        return f"process {pid} ({words.strip()[:120]})"
    return "a process of another user" if inodes else "a connection that is closing, or a process out of sight"


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now. Two callers at the same moment may get the same ones; they are below the range that the kernel
    hands to outgoing connections where possible."""
    found: list[int] = []
    candidate = 20000 + (os.getpid() * 37) % 10000
    while len(found) < count:
        candidate = candidate + 1 if candidate < 32000 else 20000
        with suppress(PortTaken):
            check_port(candidate, "")
            found.append(candidate)
    return found


def pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def marked(folder: Path) -> list[int]:
    """Processes that some supervisor of this folder started, and their descendants; never this process."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for pid in pids():
        with suppress(OSError):
            if pid != os.getpid() and mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def end_strays(folder: Path, seconds: float = 10.0) -> None:
    """SIGKILL what an earlier supervisor of this folder left running, and wait until it is gone. Only the folder's owner may ask."""
    deadline = time.monotonic() + seconds
    while strays := [pid for pid in marked(folder) if alive(pid)]:
        for pid in strays:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {strays} of an earlier run of {folder} do not end")
        time.sleep(0.05)


def kill_group(leader: int) -> None:
    """SIGKILL what is left of a session that we started; nothing where nothing is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
