"""The Kafka topics, one YAML file each in `schemas/topics/`: key, partitions, retention, owner, example."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

SCHEMAS = Path(__file__).resolve().parent
FOLDER = SCHEMAS / "topics"


class TopicError(ValueError):
    """A topic's file is wrong; the message names the file and the place."""


class Topic(BaseModel):
    """A topic as declared. `config` holds Kafka's own names; `example` is a path below schemas/examples, '' for none."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str
    description: str
    key: str
    owner: str
    visibility: Literal["public", "internal"]
    record_schema: str
    partitions: int
    config: dict[str, str | int]
    example: str = ""


def load_topics(folder: Path = FOLDER) -> dict[str, Topic]:
    """Name -> topic of every file. Raises TopicError naming the first file that is wrong."""
    topics: dict[str, Topic] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
            topic = Topic.model_validate(raw)
        except yaml.YAMLError as error:
            raise TopicError(f"{path}: not YAML: {error}") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise TopicError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        if topic.name != path.stem or topic.partitions < 1:
            raise TopicError(f"{path}: `name` is the file's name, and there is at least one partition")
        topics[topic.name] = topic
    return topics
