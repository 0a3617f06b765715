"""`chalk rules`: whether a rule file is sound, and what the loaded programmes say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from schemas.programme import Programme, RuleError, digest, load_programme, load_programmes
from schemas.progress import money
from services.shared.settings import settings

app = typer.Typer(help="Rule files of programmes.", no_args_is_help=True)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="a rule file, or a folder of them")]) -> None:
    """Say whether a rule file is sound; exit 1 with path, line and reason where it is not."""
    try:
        programmes = list(load_programmes(file).values()) if file.is_dir() else [load_programme(file)]
    except RuleError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    for programme in programmes:
        typer.echo(f"{programme.id}: sound (rules_version {programme.rules_version}, {len(programme.courses)} courses)")


@app.command()
def show(
    programme_id: Annotated[str, typer.Argument(help="a programme's id; without it all of them in short")] = "",
    folder: Annotated[Path | None, typer.Option(help="folder of rule files; default: CHALK_PROGRAMMES")] = None,
) -> None:
    """Show the loaded programmes: calendar, courses and how each mode scores."""
    try:
        programmes = load_programmes(folder or settings().programmes)
    except RuleError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if programme_id and programme_id not in programmes:
        typer.echo(f"unknown programme {programme_id}; there are: {', '.join(programmes) or 'none'}", err=True)
        raise typer.Exit(1)
    console = Console()
    for programme in [programmes[programme_id]] if programme_id else programmes.values():
        _print(console, programme, whole=bool(programme_id))
    console.print(f"digest {digest(programmes)}", style="dim", highlight=False)


def _print(console: Console, programme: Programme, whole: bool) -> None:
    console.print(f"[bold]{programme.id}[/] {programme.title['en']} / {programme.title['zh']}", highlight=False)
    console.print(
        f"  rules_version {programme.rules_version}; opens {programme.opens}, runs {programme.starts} to {programme.ends}, "
        f"results final {programme.results_final} ({programme.time_zone})",
        highlight=False,
    )
    if not whole:
        return
    courses = Table("course", "title", "module", "hours", "seconds", "credits")
    for course in programme.courses.values():
        title = f"{course.title['en']} / {course.title['zh']}"
        courses.add_row(course.id, title, course.module, money(course.hours), str(course.seconds), money(course.credits))
    console.print(courses)
    for name, mode in programme.modes.items():
        console.print(f"  mode {name}: passes at {money(mode.pass_at)}", highlight=False)
        for item in (mode.study, mode.assignments, mode.interaction, mode.works, mode.process, mode.exam):
            if item is not None:
                console.print(f"    {item}", highlight=False)
