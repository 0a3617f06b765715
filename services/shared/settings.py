"""Every setting of every service: environment variables `CHALK_*`, each with a default that serves one machine.

The README's table of settings is made from this class (`chalk settings`), so a description here is documentation.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Values come from the environment only; a `.env` file is never read, so what `env` shows is what holds."""

    model_config = SettingsConfigDict(env_prefix="CHALK_", extra="ignore", frozen=True)

    data: Path = Field(Path(".chalk"), description="folder of everything the local stack and the services keep")
    clock: str = Field("system", description="`system`, or START@SPEED/ANCHOR: a clock to live through months with")
    programmes: Path = Field(ROOT / "schemas" / "programmes", description="folder of the rule files, one YAML each")
    generation: str = Field("", description="name of the generation a worker or loader works for; empty: the live one (`chalk replay`)")
    log_level: str = Field("info", description="debug, info, warning or error")

    kafka_bootstrap: str = Field("", description="brokers host:port,…; empty: the local stack's broker")
    kafka_port: int = Field(9092, description="port of the local stack's broker")
    kafka_controller_port: int = Field(9093, description="port of the local stack's KRaft controller")
    kafka_replication: int = Field(1, description="replication factor of topics that a service creates")

    clickhouse_url: str = Field("", description="clickhouse://user:password@host:port/; empty: the local stack's server")
    clickhouse_port: int = Field(9000, description="native port of the local stack's ClickHouse")
    clickhouse_http_port: int = Field(8123, description="HTTP port of the local stack's ClickHouse, for analysts")

    ingest_host: str = Field("127.0.0.1", description="address the ingest door binds to")
    ingest_port: int = Field(8010, description="port of the ingest door")
    ingest_max_item_bytes: int = Field(64 * 1024, description="largest event, bytes as received")
    ingest_max_body_bytes: int = Field(8 * 1024 * 1024, description="largest request body, bytes")
    ingest_max_items: int = Field(10_000, description="most events in one request")
    ingest_max_inflight_bytes: int = Field(64 * 1024 * 1024, description="bytes sent to Kafka and not yet acknowledged; beyond it 503")
    ingest_stall_seconds: float = Field(2.0, description="age of the oldest unacknowledged request beyond which the door answers 503")
    ingest_duplicate_memory: int = Field(500_000, description="events remembered to answer `duplicate`")
    tokens_url: str = Field("", description="SQLAlchemy URL of the token store; empty: SQLite under the data folder")

    scoring_metrics_port: int = Field(8031, description="port of scoring's /metrics and /healthz; 0: none")
    loader_metrics_port: int = Field(8032, description="port of the loader's /metrics and /healthz; 0: none")
    state: Literal["rocksdb", "memory"] = Field("rocksdb", description="where a scoring worker keeps learners: rocksdb or memory")
    state_learners: int = Field(50_000, ge=1, description="learners that a worker with state=rocksdb keeps decoded in memory, at most")
    tick_seconds: float = Field(0.5, description="real seconds between two looks at the clock for what time alone changes")

    reporting_host: str = Field("127.0.0.1", description="address of the console and its API")
    reporting_port: int = Field(8020, description="port of the console and its API")
    identity_url: str = Field("", description="SQLAlchemy URL of the identity store; empty: SQLite under the data folder")
    session_secret: str = Field("", description="key that signs sessions; empty: made once and kept under the data folder")

    @property
    def bootstrap(self) -> str:
        """Brokers to connect to: the given ones, else the local stack's."""
        return self.kafka_bootstrap or f"127.0.0.1:{self.kafka_port}"

    @property
    def clickhouse(self) -> str:
        """ClickHouse to connect to: the given one, else the local stack's."""
        return self.clickhouse_url or f"clickhouse://default@127.0.0.1:{self.clickhouse_port}/"

    @property
    def identity(self) -> str:
        return self.identity_url or f"sqlite:///{self.data.resolve()}/identity.db"

    @property
    def tokens(self) -> str:
        return self.tokens_url or f"sqlite:///{self.data.resolve()}/tokens.db"


@lru_cache
def settings() -> Settings:
    """The process's settings, read once. Only `__main__` modules and commands call this; others are handed values."""
    return Settings()
