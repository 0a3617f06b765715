"""Scoring's Prometheus metrics; no learner ids in labels."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from services.scoring.partition import Partition


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

    def batch(self, part: Partition, records: int, fold: float, commit: float) -> None:
        self._records.labels(part.number).inc(records)
        self._fold.observe(fold)
        self._commit.observe(commit)

    def standing(self, part: Partition, end: int) -> None:
        self._learners.labels(part.number).set(len(part.entries))
        self._applied.labels(part.number).set(part.meta.applied)
        self._behind.labels(part.number).set(max(0, end - part.meta.applied))
        self._rejected.labels(part.number).set(part.rejected)
