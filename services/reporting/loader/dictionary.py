"""`python -m services.reporting.loader.dictionary`: the data dictionary of `marts`, written from the database's own comments."""

from __future__ import annotations

from pathlib import Path

from clickhouse_driver import Client

from services.shared.clickhouse import connect
from services.shared.migrate import migrate
from services.shared.settings import ROOT, settings

PAGE = ROOT / "docs" / "analysts" / "dictionary.md"
HEAD = """# Data dictionary

Every relation of the database `marts`, made from the database's own comments by `python -m services.reporting.loader.dictionary`.
Queries to start from: [cookbook](cookbook.md).
"""


def dictionary(client: Client) -> str:
    """The page, as Markdown."""
    parts = [HEAD]
    for name, comment in client.execute("SELECT name, comment FROM system.tables WHERE database = 'marts' ORDER BY name"):
        parts.append(f"## marts.{name}\n\n{comment[0].upper()}{comment[1:]}.\n\n| column | type | what it is |\n|---|---|---|")
        columns = client.execute(
            "SELECT name, type, comment FROM system.columns WHERE database = 'marts' AND table = %(table)s ORDER BY position",
            {"table": name},
        )
        parts[-1] += "".join(f"\n| `{column}` | `{kind}` | {what} |" for column, kind, what in columns) + "\n"
    return "\n".join(parts)


def main(page: Path = PAGE) -> None:
    client = connect(settings().clickhouse)
    migrate(client)
    page.write_text(dictionary(client), encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
