"""`chalk topics`: the Kafka topics that `schemas/topics` declares."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from schemas.topics import load_topics
from services.shared.kafka import TopicMismatch, ensure_topics
from services.shared.settings import settings

app = typer.Typer(no_args_is_help=True, help="Kafka's topics, from schemas/topics.")


@app.command("list")
def list_topics() -> None:
    """What is declared: partitions, key, owner."""
    table = Table("topic", "partitions", "kept", "key", "owner")
    for topic in load_topics().values():
        kept = "compacted" if topic.config.get("cleanup.policy") == "compact" else "for ever"
        retention = topic.config.get("retention.ms", -1)
        if isinstance(retention, int) and retention > 0:
            kept = f"{retention // 86_400_000} days"
        table.add_row(topic.name, str(topic.partitions), kept, topic.key, topic.owner)
    Console().print(table)


@app.command()
def ensure() -> None:
    """Create the topics that are missing; refuse where a partition count differs."""
    conf = settings()
    topics = load_topics()
    try:
        ensure_topics(conf.bootstrap, topics, conf.kafka_replication)
    except TopicMismatch as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{len(topics)} topics are there")
