"""What the loader shows on /metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram


class Metrics:
    """One per process."""

    def __init__(self) -> None:
        self.records = Counter("chalk_loader_records_total", "Kafka records stored")
        self.rows = Counter("chalk_loader_rows_total", "rows inserted into ClickHouse")
        self.inserts = Histogram("chalk_loader_insert_seconds", "time of one round of inserts")
        self.pending = Gauge("chalk_loader_pending_records", "records decoded and not yet stored")

    def stored(self, records: int, rows: int, seconds: float) -> None:
        self.records.inc(records)
        self.rows.inc(rows)
        self.inserts.observe(seconds)
