"""What `make demo` prints: where to look, how to log in, what to ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from deploy.demo.door import Tallied
from deploy.demo.house import House
from deploy.demo.people import PASSWORD, Population
from services.shared.clock import Clock

QUERY = """SELECT unit_id, name, learners, registered, started, active_7d, passed, open_flags
FROM marts.unit_progress WHERE programme = 'guopei-shaanxi-2023' AND level = 'city'
ORDER BY open_flags DESC FORMAT PrettyCompact"""


def opening(console: Console, house: House, population: Population) -> None:
    """As soon as the console answers: people can watch the history come in."""
    first = population.accounts[0]
    console.print(
        f"\n  The console is open: [bold]{house.reporting_url}/[/]  log in as [bold]{first.username}[/] with [bold]{PASSWORD}[/]"
        " (the names of the teachers follow in a moment)\n",
        highlight=False,
    )


def announce(console: Console, house: House, population: Population, clock: Clock, said: Tallied, token: str) -> None:
    values = house.values
    logins = Table("programme", "level", "unit", "login", "password", title="Logins of the console", title_justify="left")
    names = {unit.unit_id: unit.name for unit in population.units}
    for account in population.accounts:
        logins.add_row(account.programme, account.level, names[account.unit_id], account.username, account.password)
    local = datetime.fromtimestamp(clock.now() / 1000, UTC).astimezone(timezone(timedelta(hours=8)))
    console.print(
        f"\n  {said.sent:,} events sent: {said.accepted:,} accepted, {said.duplicate:,} duplicates, {said.rejected:,} rejected"
        f" ({', '.join(f'{code} {count}' for code, count in said.codes.most_common())})",
        highlight=False,
    )
    console.print(logins)
    console.print(
        Panel(
            f"console    {house.reporting_url}/\n"
            f"clock      {local:%Y-%m-%d %H:%M} in China, {clock.speed:g} times as fast as life\n"
            f"door       {house.ingest_url}/docs      a token for it: {token}\n"
            f"ClickHouse http://127.0.0.1:{values.clickhouse_http_port}/      native port {values.clickhouse_port}\n"
            f"commands   . {values.data}/env && .venv/bin/chalk reconcile",
            title="Live now; Ctrl-C stops everything, `make demo` starts again from nothing",
            title_align="left",
        ),
        highlight=False,
        soft_wrap=True,
    )
    console.print("\n  A query to try:\n", highlight=False)
    text = f'curl -s http://127.0.0.1:{values.clickhouse_http_port}/ --data-binary "{QUERY}"'
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print()


def farewell(console: Console) -> None:
    console.print("\n  Stopping everything … what was collected stays in the data folder until the next `make demo`.", highlight=False)
