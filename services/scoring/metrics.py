"""Scoring's Prometheus metrics, and what it says of long recoveries; no learner ids in labels.

In a terminal a progress bar stands for what is recovered or counted anew; elsewhere a line is logged every few seconds.
"""

from __future__ import annotations

import sys
import time

import structlog
from prometheus_client import Counter, Gauge, Histogram
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from services.scoring.partition import Partition

SAY_SECONDS = 3.0
_log = structlog.get_logger()


class Metrics:
    """Made once a process."""

    def __init__(self) -> None:
        self._records = Counter("chalk_scoring_records_total", "records read", ["partition"])
        self._fold = Histogram("chalk_scoring_fold_seconds", "decode, fold and evaluate of one batch")
        self._commit = Histogram("chalk_scoring_commit_seconds", "transaction of one batch")
        self._learners = Gauge("chalk_scoring_learners", "learners kept", ["partition"])
        self._applied = Gauge("chalk_scoring_applied_offset", "next offset of learning.activity", ["partition"])
        self._behind = Gauge("chalk_scoring_records_behind", "records in the log and not yet applied", ["partition"])
        self._rejected = Gauge("chalk_scoring_rejected", "records rejected since the partition was taken", ["partition"])
        self._read = Gauge("chalk_scoring_recovery_read", "records of the changelog read at a take-over", ["partition"])
        self._read_end = Gauge("chalk_scoring_recovery_end", "records of the changelog to read at a take-over", ["partition"])
        self._rebuilt = Gauge("chalk_scoring_rebuild_applied", "next offset of learning.activity, counted anew", ["partition"])
        self._rebuilt_end = Gauge("chalk_scoring_rebuild_end", "offset of learning.activity to count up to", ["partition"])
        self._bars = _Bars()

    def batch(self, part: Partition, records: int, fold: float, commit: float) -> None:
        self._records.labels(part.number).inc(records)
        self._fold.observe(fold)
        self._commit.observe(commit)

    def standing(self, part: Partition, end: int) -> None:
        self._learners.labels(part.number).set(len(part.learners))
        self._applied.labels(part.number).set(part.meta.applied)
        self._behind.labels(part.number).set(max(0, end - part.meta.applied))
        self._rejected.labels(part.number).set(part.rejected)

    def recovery(self, partition: int, done: int, of: int) -> None:
        """Records of the changelog read, of so many."""
        self._read.labels(partition).set(done)
        self._read_end.labels(partition).set(of)
        self._bars.told("recovering", partition, done, of)

    def rebuild(self, partition: int, applied: int, end: int) -> None:
        """The log counted anew up to an offset, of so many."""
        self._rebuilt.labels(partition).set(applied)
        self._rebuilt_end.labels(partition).set(end)
        self._bars.told("counting anew", partition, min(applied, end), end)

    def given_up(self, partition: int) -> None:
        self._bars.gone(partition)


class _Bars:
    """Progress of several things at once, each a bar in a terminal, else a line in the log every few seconds.

    One of a thing's partitions may be read before the others, so what is left is told of all of them together.
    """

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._shown = Progress(*columns, console=Console(stderr=True), transient=True) if sys.stderr.isatty() else None
        self._bars: dict[str, TaskID] = {}
        self._parts: dict[str, dict[int, tuple[int, int, int]]] = {}
        """Of each thing, by partition: what had been done at first, what has been, of how much."""
        self._began: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def told(self, what: str, partition: int, done: int, of: int) -> None:
        parts, now = self._parts.setdefault(what, {}), time.monotonic()
        parts[partition] = (parts.get(partition, (done,))[0], done, of)
        began = self._began.setdefault(what, now)
        if self._over(what):
            return
        first, done, of = (sum(part[n] for part in parts.values()) for n in range(3))
        if self._shown is not None:
            self._show(self._shown, what, done, of)
        elif now - self._said.setdefault(what, now) >= SAY_SECONDS:
            self._said[what] = now
            left = round((of - done) * (now - began) / (done - first)) if done > first else None
            under_way = sorted(number for number, (_, so_far, whole) in parts.items() if so_far < whole)
            _log.info(what, partitions=under_way, done=done, of=of, seconds_left=left)

    def gone(self, partition: int) -> None:
        """Somebody else goes on with it."""
        for what, parts in list(self._parts.items()):
            parts.pop(partition, None)
            self._over(what)

    def _over(self, what: str) -> bool:
        """Whether all that there was of it is done; then it is forgotten."""
        if any(done < of for _, done, of in self._parts[what].values()):
            return False
        del self._parts[what]
        self._began.pop(what, None)
        self._said.pop(what, None)
        if self._shown is not None and what in self._bars:
            self._shown.remove_task(self._bars.pop(what))
            if not self._bars:
                self._shown.stop()
        return True

    def _show(self, shown: Progress, what: str, done: int, of: int) -> None:
        if what not in self._bars:
            self._bars[what] = shown.add_task(what, total=of)
            shown.start()
        shown.update(self._bars[what], completed=done, total=of)
