"""What the peers share: what they are told, how they measure themselves, what they answer.

A peer is started as `python -m tests.bench.engine.peers.NAME TASK` with its own packages (requirements-peers.lock), where TASK is JSON, and
writes its answer to the task's `answer`, a file. All fold the same: seconds and number of the study intervals of each learner
and course. The clock runs from the first record handled to the last; processor time likewise, of the process with its children.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Task:
    """`events`: handle so many and stop; `folder`: yours, empty; `name`: of a consumer group and topics that nobody has used."""

    bootstrap: str
    topic: str
    partitions: int
    events: int
    folder: str
    name: str
    answer: str


def task() -> Task:
    return Task(**json.loads(sys.argv[1]))


def _cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def peak_mib() -> float:
    """Most resident memory so far, from the kernel (VmHWM)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


@dataclass
class Meter:
    """`handled` counts records by partition."""

    partitions: int
    handled: list[int] = field(default_factory=list)
    began: float = 0.0
    began_cpu: float = 0.0
    seconds: float = 0.0
    cpu: float = 0.0

    def __post_init__(self) -> None:
        self.handled = [0] * self.partitions

    def start(self) -> None:
        self.began, self.began_cpu = time.perf_counter(), _cpu()

    def stop(self) -> None:
        self.seconds, self.cpu = time.perf_counter() - self.began, _cpu() - self.began_cpu

    def answer(self, given: Task, totals: Mapping[str, list[int]], kept: Mapping[str, list[int]] | None) -> None:
        """`totals` as folded, `kept` as a changelog has them at its end, each `learner|course` -> [intervals, seconds]."""
        found = {"seconds": self.seconds, "cpu": self.cpu, "peak_mib": peak_mib(), "handled": self.handled, "totals": totals, "kept": kept}
        Path(given.answer).write_text(json.dumps(found))
