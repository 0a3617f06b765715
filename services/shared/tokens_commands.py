"""`chalk tokens`: issue, list and revoke bearer tokens."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.shared.settings import settings
from services.shared.tokens import TokenStore

app = typer.Typer(no_args_is_help=True, help="Bearer tokens: issue, list, revoke.")


@app.command()
def issue(
    source: Annotated[list[str] | None, typer.Option(help="a source the token may write as; repeat it, or '*'")] = None,
    programme: Annotated[list[str] | None, typer.Option(help="a programme it may write into; repeat it, or '*'")] = None,
    directory: Annotated[bool, typer.Option("--directory", help="it may write unit.* and staff.*")] = False,
    reporting: Annotated[bool, typer.Option("--reporting", help="a token for the reporting API instead")] = False,
    unit: Annotated[str, typer.Option(help="reporting: the unit whose subtree it sees")] = "",
    role: Annotated[list[str] | None, typer.Option(help="reporting: what it may do, such as 'reminders'; repeat it")] = None,
    note: Annotated[str, typer.Option(help="whose it is, for `list`")] = "",
) -> None:
    """Make a token and print it: this once, it can't be shown again."""
    ingest_options = bool(source or programme or directory)
    if reporting and ingest_options:
        raise typer.BadParameter("--source, --programme and --directory are for the door; leave them out with --reporting")
    if not reporting and (unit or role):
        raise typer.BadParameter("--unit and --role go with --reporting")
    if reporting and not unit:
        raise typer.BadParameter("--reporting needs --unit: the token sees that unit and what is below it")
    if not reporting and not source:
        raise typer.BadParameter("at least one --source is needed: what the token may write as ('*' for any)")
    if not reporting and not (programme or directory):
        raise typer.BadParameter("at least one --programme, or --directory, is needed: what the token may write into")
    store = TokenStore(settings().tokens)
    token, _ = store.issue(
        "reporting" if reporting else "ingest",
        sources=source or [],
        programmes=programme or [],
        directory=directory,
        unit_id=unit,
        roles=role or [],
        note=note,
    )
    typer.echo(token)


@app.command("list")
def list_tokens() -> None:
    """What tokens there are and what they may do; never the tokens themselves."""
    table = Table("id", "kind", "may", "note", "issued", "revoked")
    for one in TokenStore(settings().tokens).list():
        rights = one.rights
        may = (
            f"unit {rights.unit_id}; roles {', '.join(sorted(rights.roles)) or 'none'}"
            if rights.kind == "reporting"
            else f"sources {', '.join(sorted(rights.sources))}; programmes {', '.join(sorted(rights.programmes)) or 'none'}"
            + ("; directory" if rights.directory else "")
        )
        table.add_row(rights.token_id, rights.kind, may, one.note, one.issued_at, one.revoked_at or "")
    Console().print(table)


@app.command()
def revoke(token_id: Annotated[str, typer.Argument(help="the id that `chalk tokens list` shows")]) -> None:
    """Make a token worthless; every service notices within two seconds."""
    if not TokenStore(settings().tokens).revoke(token_id):
        typer.echo(f"there is no token {token_id!r} that still holds", err=True)
        raise typer.Exit(1)
    typer.echo(f"{token_id} is revoked")
