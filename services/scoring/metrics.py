"""Scoring's Prometheus metrics, and what it says of long recoveries; no learner ids in labels.

In a terminal a progress bar stands for each partition that is recovered or counted anew; elsewhere a line is logged every few seconds.
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


class _Bars:
    """Progress of several things at once, as bars in a terminal, else as lines in the log."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._shown = Progress(*columns, console=Console(stderr=True), transient=True) if sys.stderr.isatty() else None
        self._bars: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._said: dict[str, float] = {}

    def told(self, what: str, partition: int, done: int, of: int) -> None:
        name, now = f"{what} {partition}", time.monotonic()
        if self._shown is not None:
            self._show(self._shown, name, done, of)
            return
        began, first = self._began.setdefault(name, (now, done))
        if done >= of:
            self._began.pop(name)
            self._said.pop(name, None)
        elif now - self._said.setdefault(name, now) >= SAY_SECONDS:
            self._said[name] = now
            left = (of - done) * (now - began) / (done - first) if done > first else None
            _log.info(what, partition=partition, done=done, of=of, seconds_left=None if left is None else round(left))

    def _show(self, shown: Progress, name: str, done: int, of: int) -> None:
        if done < of and name not in self._bars:
            self._bars[name] = shown.add_task(name, total=of)
            shown.start()
        if name in self._bars:
            shown.update(self._bars[name], completed=done, total=of)
            if done >= of:
                shown.remove_task(self._bars.pop(name))
                if not self._bars:
                    shown.stop()
