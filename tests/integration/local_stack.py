"""A stack of a test module's own: real Kafka and ClickHouse on free ports, in a folder that goes away afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.local.processes import free_ports
from deploy.local.stack import start_stack
from deploy.local.supervisor import Supervisor
from services.shared.clickhouse import connect
from services.shared.migrate import migrate
from services.shared.settings import ROOT, Settings
from tests.conftest import own_settings


class Failed(Exception):
    """A command that exited with another status than 0; its text has what it printed."""


@contextmanager
def local_stack() -> Iterator[Settings]:
    """Settings whose `bootstrap` and `clickhouse` are the stack's; services started with `environment` use it too."""
    folder = Path(tempfile.mkdtemp(prefix="chalk-test-"))
    kafka, controller, native, http, scoring, loader = free_ports(6)
    values = Settings(
        data=folder, kafka_bootstrap="", clickhouse_url="", kafka_port=kafka, kafka_controller_port=controller, clickhouse_port=native,
        clickhouse_http_port=http, scoring_metrics_port=scoring, loader_metrics_port=loader,
    )  # fmt: skip
    try:
        chalk(values, "stack", "up")
        yield values
    finally:
        chalk(values, "stack", "down")
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def seeded_stack(folder: Path, seed: Callable[[Any], None], **more: Any) -> Iterator[Settings]:
    """Servers whose ClickHouse has what `seed(client)` puts in by hand and nothing else; `more` settings."""
    given = own_settings(folder, **more)
    with Supervisor(given.data) as supervisor:
        start_stack(supervisor, given)
        client = connect(given.clickhouse)
        migrate(client)
        seed(client)
        client.disconnect()
        yield given


def environment(values: Settings, **more: str) -> dict[str, str]:
    """What to start a service with, so that it has these settings."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("CHALK_")}
    given = {f"CHALK_{name.upper()}": str(value) for name, value in values.model_dump().items() if value != ""}
    return {**clean, **given, **more}


def chalk(values: Settings, *arguments: str) -> str:
    """Run a `chalk` command; returns what it printed. Raises Failed with its output where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments], cwd=ROOT, env=environment(values), capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise Failed(f"chalk {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
