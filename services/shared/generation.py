"""Generations: a second state and read model beside the running one, worked out from the same log (`chalk replay`).

Each has a name; the one that the product starts with has the empty name. What depends on rules is a generation's own: scoring's outputs,
its state and its watermarks in Kafka, the tables made from them in ClickHouse. What does not is there once: the log
`learning.activity`, the directory, and the tables made from these two. So a shadow never writes to a topic that anybody but its own
loader reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.topics import Topic

STATE = "scoring.state"
OUTPUTS = ("learning.progress", "learning.days", "learning.attention", "learning.reminders", "learning.rejected")
WATERMARKS = "learning.watermarks"
OWN_TOPICS = frozenset({*OUTPUTS, WATERMARKS, STATE})
"""Topics of which each generation has its own."""
OWN_TABLES = frozenset({"progress", "days", "attention_log", "reminders", "courses", "watermarks", "migrations"})
"""Tables of database `store` of which each generation has its own."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class BadName(ValueError):
    """A generation can't be called so; the text says what a name is like."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation's names in Kafka and ClickHouse. Raises BadName."""

    name: str = ""

    def __post_init__(self) -> None:
        if self.name and not _NAME.fullmatch(self.name):
            raise BadName(f"generation {self.name!r}: expected 1 to 40 of a-z, 0-9 and -, the first no -")

    def topic(self, name: str) -> str:
        """`learning.progress` as this generation's own: `learning.progress.NAME`. What is shared keeps its name."""
        return f"{name}.{self.name}" if self.name and name in OWN_TOPICS else name

    def base(self, topic: str) -> str:
        """The inverse of `topic`; a name that is not this generation's own stays as it is."""
        before = topic.removesuffix(f".{self.name}") if self.name else topic
        return before if before in OWN_TOPICS else topic

    @property
    def state_topic(self) -> str:
        return self.topic(STATE)

    @property
    def watermarks_topic(self) -> str:
        return self.topic(WATERMARKS)

    def group(self, name: str) -> str:
        """A consumer group of its own: `chalk-scoring` -> `chalk-scoring-NAME`."""
        return f"{name}-{self.name}" if self.name else name

    def transactional_id(self, partition: int) -> str:
        """Of whoever writes this generation's outputs of a partition: `chalk-scoring-NAME-P`."""
        return f"{self.group('chalk-scoring')}-{partition}"

    @property
    def store(self) -> str:
        """Database of the loader's tables."""
        return f"store_{self._word}" if self.name else "store"

    @property
    def marts(self) -> str:
        """Database of the public relations as this generation has them."""
        return f"marts_{self._word}" if self.name else "marts"

    @property
    def _word(self) -> str:
        return self.name.replace("-", "_")

    def table(self, name: str) -> str:
        """`store.progress` or `marts.events` as this generation's own; what is shared (`store.events`) keeps its name."""
        database, _, table = name.partition(".")
        if database == "marts":
            return f"{self.marts}.{table}"
        return f"{self.store}.{table}" if table in OWN_TABLES else name

    def topics(self, declared: Mapping[str, Topic]) -> dict[str, Topic]:
        """What this generation needs, name -> declaration: its own topics with partitions and config of the files, and the shared ones."""
        found = {}
        for name, topic in declared.items():
            own = self.topic(name)
            found[own] = topic.model_copy(update={"name": own})
        return found


LIVE = Generation()


def of_state_topic(topic: str) -> Generation | None:
    """The generation whose state lies in that topic; None where it is no topic of states."""
    if topic == STATE:
        return LIVE
    name = topic.removeprefix(f"{STATE}.")
    return Generation(name) if name != topic and _NAME.fullmatch(name) else None
