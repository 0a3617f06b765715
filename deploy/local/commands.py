"""`chalk stack`: the local Kafka and ClickHouse."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from deploy.local import supervisor as supervision
from deploy.local.processes import PortTaken, alive, end_strays
from deploy.local.stack import Unprepared, check_ports, check_tools
from deploy.local.stack import reset as delete_data
from services.shared.settings import ROOT, settings

app = typer.Typer(no_args_is_help=True, help="The local Kafka and ClickHouse, under the folder CHALK_DATA.")


def fail(text: str) -> typer.Exit:
    typer.echo(text, err=True)
    return typer.Exit(1)


@app.command()
def up(seconds: Annotated[float, typer.Option(help="longest wait until both are ready")] = 60.0) -> None:
    """Start both in the background and wait until they are ready. Does nothing where they run already."""
    values = settings()
    folder = values.data.resolve()
    for name in ("logs", "run"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    log = folder / "logs" / "supervisor.log"
    started = time.monotonic()
    worker: subprocess.Popen[bytes] | None = None
    if not supervision.is_held(folder):
        try:
            check_tools()
            end_strays(folder)
            check_ports(values)
        except (PortTaken, Unprepared, TimeoutError) as error:
            raise fail(str(error)) from None
        log.write_bytes(b"")
        with log.open("ab") as out:
            worker = subprocess.Popen(
                [sys.executable, "-m", "deploy.local.stack"],
                env={**os.environ, "PYTHONPATH": str(ROOT), "CHALK_DATA": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
    while not _all_ready(folder, worker.pid if worker else None):
        if worker and worker.poll() is not None:
            raise fail(supervision.tail(log, 30) or f"the supervisor ended with status {worker.returncode}; log: {log}")
        if not worker and not supervision.is_held(folder):
            raise fail(f"the supervisor that was running in {folder} has ended meanwhile; try again")
        if time.monotonic() - started > seconds:
            raise fail(f"not ready after {seconds:g} s; logs: {folder / 'logs'}")
        time.sleep(0.05)
    typer.echo(f"Kafka on {values.bootstrap}, ClickHouse on {values.clickhouse} (HTTP 127.0.0.1:{values.clickhouse_http_port})")
    typer.echo(f"{'ready' if worker else 'was running already;'} after {time.monotonic() - started:.1f} s; data and logs: {folder}")


def _all_ready(folder: Path, pid: int | None) -> bool:
    """Whether the folder's supervisor (that one, where it is known) says that both servers are ready."""
    state = supervision.read_state(folder)
    if pid is not None and state.get("supervisor", {}).get("pid") != pid:
        return False  # the state file of an earlier run
    found = state.get("processes", {})
    return all(found.get(name, {}).get("state") == "ready" for name in ("kafka", "clickhouse"))


@app.command()
def status() -> None:
    """What runs, since when, and how often it had to be restarted. Exits 1 unless everything is ready."""
    folder = settings().data.resolve()
    state = supervision.read_state(folder)
    if not supervision.is_held(folder):
        raise fail(f"not running (data: {folder})")
    typer.echo(f"supervisor  process {state['supervisor']['pid']}, data: {folder}")
    good = True
    for name, one in state["processes"].items():
        good = good and one["state"] == "ready"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["started_at"]))
        typer.echo(f"{name:<11} {one['state']:<8} process {one['pid'] or '-'}, since {since}, restarts {one['restarts']}, log {one['log']}")
    if not good or not state["processes"]:
        raise typer.Exit(1)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="kafka, clickhouse, supervisor or another process")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", help="how many of the last lines")] = 40,
) -> None:
    """The last lines of one log, or of each."""
    folder = settings().data.resolve() / "logs"
    found = sorted(path.stem for path in folder.glob("*.log"))
    if name and name not in found:
        raise fail(f"no log of {name!r}; expected one of: {', '.join(found) or 'none yet'}")
    for one in [name] if name else found:
        typer.echo(f"==> {folder / one}.log <==\n{supervision.tail(folder / f'{one}.log', lines)}")


@app.command()
def down(seconds: Annotated[float, typer.Option(help="longest wait until all have ended")] = 60.0) -> None:
    """Stop everything that the folder's supervisor runs, the last started first. The data stay."""
    folder = settings().data.resolve()
    if supervision.is_held(folder):
        pid = supervision.read_state(folder)["supervisor"]["pid"]
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while supervision.is_held(folder) or alive(pid):
            if time.monotonic() > deadline:
                raise fail(f"the supervisor, process {pid}, does not end")
            time.sleep(0.05)
    else:
        end_strays(folder)  # a supervisor that was killed may have left some
    typer.echo("stopped")


@app.command()
def reset() -> None:
    """Delete the data of both servers, their logs and state; tokens, people and logins stay. Refused while they run."""
    folder = settings().data.resolve()
    if supervision.is_held(folder):
        raise fail(f"the stack in {folder} is running: `chalk stack down` first")
    delete_data(folder)
    typer.echo(f"deleted the stack's data in {folder}")


if __name__ == "__main__":
    app()
