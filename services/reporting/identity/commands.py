"""`chalk accounts …`: people's logins, and the import of names and contacts into the identity store."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.reporting.api.scope import EVERYTHING
from services.reporting.identity.store import IdentityStore, Person
from services.shared.settings import settings

app = typer.Typer(no_args_is_help=True, help="Logins of the console, and the names and contacts of learners.")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
COLUMNS = ("learner_id", "name", "phone", "email", "wechat")


def _store() -> IdentityStore:
    given = settings()
    given.data.mkdir(parents=True, exist_ok=True)
    return IdentityStore(given.identity)


def _refuse(text: str) -> typer.Exit:
    typer.echo(text, err=True)
    return typer.Exit(2)


@app.command()
def add(
    username: Annotated[str, typer.Argument(help="letters, digits, . _ -")],
    unit: Annotated[str, typer.Option(help="the unit whose learners the person sees, with all below; * for all units")],
    name: Annotated[str, typer.Option(help="what the console greets with")] = "",
    language: Annotated[str, typer.Option(help="zh or en")] = "zh",
    password_stdin: Annotated[bool, typer.Option(help="read the password from standard input instead of asking")] = False,
) -> None:
    """Make a login, or give it a new password and unit."""
    if not _ID.fullmatch(username):
        raise _refuse(f"username: expected 1 to 64 of letters, digits, . _ -; got {username!r}")
    if unit != EVERYTHING and not _ID.fullmatch(unit):
        raise _refuse(f"--unit: expected a unit id or {EVERYTHING}; got {unit!r}")
    if language not in ("zh", "en"):
        raise _refuse(f"--language: expected zh or en; got {language!r}")
    password = sys.stdin.readline().rstrip("\n") if password_stdin else typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if len(password) < 8:
        raise _refuse("the password needs at least 8 characters")
    store = _store()
    store.put_account(username, password, name or username, unit, language)
    store.close()
    typer.echo(f"{username} sees {'all units' if unit == EVERYTHING else unit}")


@app.command("list")
def list_() -> None:
    """Every login with its unit."""
    store = _store()
    for account in store.accounts():
        typer.echo(f"{account.username}\t{account.unit_id}\t{account.language}\t{account.name}")
    store.close()


@app.command()
def remove(username: str) -> None:
    """Take a login away; its sessions end at once."""
    store = _store()
    removed = store.remove_account(username)
    store.close()
    if not removed:
        raise _refuse(f"there is no login {username!r}")
    typer.echo(f"removed {username}")


def read_people(path: Path) -> list[Person]:
    """The people of a CSV file (UTF-8, header `learner_id,name[,phone,email,wechat]`). Raises ValueError with the line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        header = rows.fieldnames or []
        if not {"learner_id", "name"} <= set(header) or not set(header) <= set(COLUMNS):
            raise ValueError(f"{path}: line 1: expected the columns learner_id, name and, if you like, phone, email, wechat")
        people = []
        for row in rows:
            learner, name = (row["learner_id"] or "").strip(), (row["name"] or "").strip()
            if not _ID.fullmatch(learner):
                raise ValueError(f"{path}: line {rows.line_num}: learner_id: expected 1 to 64 of letters, digits, . _ -")
            if not 1 <= len(name) <= 200 or None in row:
                raise ValueError(f"{path}: line {rows.line_num}: expected a name of 1 to 200 characters and no more fields than the header")
            people.append(Person(learner, name, *((row.get(column) or "").strip() for column in COLUMNS[2:])))
    return people


@app.command("import-people")
def import_people(path: Annotated[Path, typer.Argument(help="CSV, UTF-8: learner_id,name,phone,email,wechat", exists=True)]) -> None:
    """Store names and contacts of learners; a learner that is known is replaced. Nothing is stored if a line is wrong."""
    try:
        people = read_people(path)
    except (ValueError, csv.Error) as error:
        raise _refuse(str(error)) from None
    store = _store()
    typer.echo(f"{store.put_people(people)} people stored")
    store.close()
