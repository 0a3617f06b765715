"""`chalk`: the commands of all rooms under one name. A room's module is imported only when its group is asked for, so help is quick."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

ROOT = Path(__file__).resolve().parents[1]

GROUPS = {
    "stack": ("deploy.local.commands", "The local Kafka and ClickHouse: up, status, logs, down, reset."),
    "demo": ("deploy.demo.commands", "The simulated programmes."),
    "topics": ("services.shared.topics_commands", "Kafka's topics, from schemas/topics."),
    "tokens": ("services.shared.tokens_commands", "Bearer tokens: issue, list, revoke."),
    "accounts": ("services.reporting.identity.commands", "Logins of the console."),
    "rules": ("services.scoring.rules_commands", "The programmes' rule files."),
    "replay": ("services.scoring.replay_commands", "Other rules beside the running ones: build, compare, switch, and back."),
    "reconcile": ("services.reporting.loader.reconcile", "Compare ClickHouse with a recount from the log."),
}
"""Group -> the module that has it as `app`, and the line that `chalk --help` shows for it."""


class Rooms(TyperGroup):
    """The groups above beside this module's own commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*GROUPS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        if _only_helping(ctx):
            return TyperGroup(name=cmd_name, help=GROUPS[cmd_name][1])
        app = importlib.import_module(GROUPS[cmd_name][0]).app
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command


def _only_helping(ctx: Any) -> bool:
    """Whether the command is looked up for the list in `chalk --help` rather than to be run."""
    return ctx.parent is None and not set(sys.argv[1:]) & set(GROUPS)


app = typer.Typer(cls=Rooms, no_args_is_help=True, add_completion=False)


@app.callback()
def chalk() -> None:
    """Chalkstream: learning activity, from the platform to the administrator's screen."""


@app.command("settings")
def settings_table() -> None:
    """Every setting with its default, as the README's table (Markdown)."""
    typer.echo(table())


def table() -> str:
    """The README's table of settings, Markdown."""
    from services.shared.settings import Settings

    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for name, info in Settings.model_fields.items():
        default = info.default
        if isinstance(default, Path) and default.is_absolute():
            default = default.relative_to(ROOT)
        shown = f"`{default}`" if default != "" else ""
        lines.append(f"| `CHALK_{name.upper()}` | {shown} | {info.description} |")
    return "\n".join(lines)


if __name__ == "__main__":
    app(prog_name="chalk")
