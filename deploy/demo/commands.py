"""`chalk demo run` and `chalk demo check`, also as `python -m deploy.demo`."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer
from rich.console import Console

from services.shared.settings import settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The simulated programmes.")

Teachers = Annotated[int, typer.Option(min=10, max=200_000, envvar="TEACHERS", help="how many teachers live in both programmes together")]


def _problems() -> tuple[type[Exception], ...]:
    from deploy.demo.door import Refused, Stopped
    from deploy.demo.pipe import NotFresh
    from deploy.local.processes import PortTaken
    from deploy.local.stack import Unprepared
    from deploy.local.supervisor import Busy, NotReady

    return (Busy, NotReady, PortTaken, Unprepared, Refused, Stopped, NotFresh)


@app.command()
def run(
    teachers: Teachers = 2000,
    speed: Annotated[float | None, typer.Option(min=0, max=100_000, help="clock seconds a second; default 240, less for crowds")] = None,
) -> None:
    """Two programmes alive in the browser, from nothing; ends an earlier demo of the same data folder. Ctrl-C stops everything."""
    from deploy.demo.run import run as run_demo

    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        run_demo(teachers, speed, settings(), console)
    except _problems() as problem:
        console.print(f"[red]{problem or 'stopped'}[/]", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


@app.command()
def check(
    teachers: Teachers = 400,
    keep: Annotated[bool, typer.Option(help="keep the data folder afterwards")] = False,
) -> None:
    """Load, compare the console's API and ClickHouse with what the simulator knows, stop; exit 0 only if all agree."""
    from deploy.demo.check import check as check_demo

    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        agree = check_demo(teachers, settings(), console, keep)
    except _problems() as problem:
        console.print(f"[red]{problem or 'stopped'}[/]", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if agree else 1)
