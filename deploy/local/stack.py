"""The local stack: Kafka and ClickHouse under one supervisor. Run as `-m deploy.local.stack` it is that supervisor, detached."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from deploy.local import clickhouse, kafka
from deploy.local.processes import PortTaken, check_port, end_strays
from deploy.local.supervisor import Busy, NotReady, Process, Supervisor
from services.shared.settings import Settings, settings


class Unprepared(Exception):
    """Something that the set-up provides is not there; the text says what and how to get it."""


def check_tools() -> None:
    """Raise Unprepared unless the programs and files of both servers are there."""
    if not shutil.which("java"):
        raise Unprepared("java is not there: `apt-get install -y openjdk-17-jre-headless` (or another Java >= 17)")
    for path in (kafka.JARS, clickhouse.LIBRARY):
        if not path.exists():
            raise Unprepared(f"{path} is not there: run `make setup`")


def check_ports(values: Settings) -> None:
    """Raise PortTaken unless all four ports are free and different. Not to be asked while the stack runs."""
    ports = {
        "CHALK_KAFKA_PORT": values.kafka_port,
        "CHALK_KAFKA_CONTROLLER_PORT": values.kafka_controller_port,
        "CHALK_CLICKHOUSE_PORT": values.clickhouse_port,
        "CHALK_CLICKHOUSE_HTTP_PORT": values.clickhouse_http_port,
    }
    for setting, port in ports.items():
        twin = next((other for other, same in ports.items() if same == port and other != setting), None)
        if twin:
            raise PortTaken(f"{setting} and {twin} are both {port}: they must differ")
        check_port(port, setting)


def stack_processes(values: Settings) -> list[Process]:
    """What to give a Supervisor of `values.data`, in order."""
    folder = values.data.resolve()
    return [
        clickhouse.process(folder, values.clickhouse_port, values.clickhouse_http_port),
        kafka.process(folder, values.kafka_port, values.kafka_controller_port),
    ]


def start_stack(supervisor: Supervisor, values: Settings) -> None:
    """Start both at once and wait for both. Raises Unprepared, PortTaken, NotReady."""
    check_tools()
    check_ports(values)
    specs = stack_processes(values)
    for spec in specs:
        supervisor.start(spec, wait=False)
    for spec in specs:
        supervisor.wait_ready(spec.name)


def reset(folder: Path) -> None:
    """Delete the servers' data, what scoring derived from them, logs and state. Tokens, people and logins stay: they are of the services.
    Nothing may be running in the folder."""
    end_strays(folder.resolve())
    for name in ("kafka", "kafka.new", "clickhouse", "scoring", "run", "logs"):
        shutil.rmtree(folder / name, ignore_errors=True)


def main() -> None:
    """Supervise the stack until SIGTERM. Exits 1, with the reason on stderr, where it can't be started."""
    values = settings()
    try:
        with Supervisor(values.data) as supervisor:
            supervisor.install_signals()
            start_stack(supervisor, values)
            print("READY", flush=True)
            supervisor.wait()
    except (Busy, NotReady, PortTaken, Unprepared) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
