"""Published event versions keep their meaning; every type and topic has an example, and the examples are sound."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import progress
from schemas.freeze import FOLDER, broken_rules, schema_of, text_of
from schemas.organisation import DIRECTORY_TYPES
from schemas.programme import load_programmes
from schemas.reading import EVENTS, Event, partition_of, read_item, read_record
from schemas.strictjson import parse
from schemas.topics import SCHEMAS, TopicError, load_topics
from services.ingest.accept import BATCH, Door, accept

EXAMPLES = SCHEMAS / "examples"


def frozen(type_text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{type_text}.json").read_text(encoding="utf-8"))
    return found


def test_every_type_is_frozen_and_nothing_else() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(EVENTS), "run `python -m schemas.freeze`; a published file never goes away"


@pytest.mark.parametrize("type_text", EVENTS)
def test_a_published_version_keeps_its_meaning(type_text: str) -> None:
    broken = broken_rules(frozen(type_text), schema_of(type_text))
    assert not broken, "declare a new version instead (schemas/versions.py):\n" + "\n".join(broken)
    assert text_of(frozen(type_text)) == text_of(schema_of(type_text)), "only words changed: run `python -m schemas.freeze`"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda data: data["properties"].pop("channel"), "never removed"),
        (lambda data: data["properties"].update(speed={"type": "number"}), "no new field"),
        (lambda data: data["required"].append("session_id"), "never becomes required"),
        (lambda data: data["required"].remove("channel"), "never becomes optional"),
        (lambda data: data["properties"]["channel"]["enum"].remove("disc"), "gone ['disc']"),
        (lambda data: data["properties"]["course_id"].update(pattern="x"), "`pattern` never changes"),
        (lambda data: data.update(additionalProperties=True), "`additionalProperties` never changes"),
    ],
)
def test_the_broken_rule_is_named(change: Any, rule: str) -> None:
    before = frozen("chalkstream.study.recorded.v1")
    after = copy.deepcopy(before)
    change(after["$defs"]["StudyRecorded"])
    said = broken_rules(before, after)
    assert any(rule in line and line.startswith("/data") for line in said), said


def test_words_may_change() -> None:
    before = frozen("chalkstream.study.recorded.v1")
    after = copy.deepcopy(before)
    after["$defs"]["StudyRecorded"]["description"] = "Said better."
    assert broken_rules(before, after) == []


@pytest.mark.parametrize("type_text", EVENTS)
def test_examples_are_sound_for_everybody(type_text: str) -> None:
    topic = "organisation.directory" if type_text in DIRECTORY_TYPES else "learning.activity"
    text = (EXAMPLES / topic / f"{type_text}.json").read_text(encoding="utf-8")
    found = read_item(parse(text))
    assert isinstance(found, Event), found
    assert found.type == type_text
    partitions = load_topics()[topic].partitions
    key = found.subject.encode()
    assert isinstance(read_record(key, text.encode(), found.time_ms, partition_of(key, partitions), partitions), Event)


class Everything:
    directory = True

    def may_source(self, source: str) -> bool:
        return True

    def may_programme(self, programme: str) -> bool:
        return True


def test_the_door_takes_every_example() -> None:
    texts = [
        path.read_text(encoding="utf-8")
        for topic in ("learning.activity", "organisation.directory")
        for path in (EXAMPLES / topic).iterdir()
    ]
    door = Door(Everything(), load_programmes(SCHEMAS / "programmes"), 1_706_745_600_000, 65_536, 100)
    items = accept(f"[{','.join(texts)}]".encode(), BATCH, door)
    assert [(item.id, item.verdicts) for item in items if item.verdicts] == []
    assert len(items) == len(EVENTS)


STRUCTS: dict[str, Any] = {
    "learning.progress": progress.LearnerProgress,
    "learning.days": progress.DayProgress,
    "learning.attention": progress.AttentionChange,
    "learning.reminders": progress.Reminder,
    "learning.rejected": progress.Rejected,
    "learning.watermarks": progress.Watermark,
}


@pytest.mark.parametrize("topic", STRUCTS)
def test_examples_of_what_scoring_publishes(topic: str) -> None:
    text = (EXAMPLES / load_topics()[topic].example).read_bytes()
    value = progress.decode(STRUCTS[topic], text)
    assert msgspec.json.decode(progress.encode(value)) == msgspec.json.decode(text), "a field too many or too few"


def test_topics_as_the_contract_has_them() -> None:
    topics = load_topics()
    assert set(topics) == {"learning.activity", "organisation.directory", "scoring.state", *STRUCTS}
    by_partitions = {count: {name for name, topic in topics.items() if topic.partitions == count} for count in (1, 4)}
    assert by_partitions[1] == {"organisation.directory", "learning.watermarks"}
    assert len(by_partitions[4]) == len(topics) - 2
    for name in ("learning.activity", "organisation.directory", "learning.attention"):
        assert topics[name].config["retention.ms"] == -1
        assert topics[name].config["cleanup.policy"] == "delete"
    for name in ("learning.progress", "learning.days", "scoring.state", "learning.watermarks"):
        assert topics[name].config["cleanup.policy"] == "compact"
    assert topics["learning.reminders"].config["retention.ms"] == 30 * 86_400_000
    assert topics["learning.rejected"].config["retention.ms"] == 90 * 86_400_000
    for topic in topics.values():
        assert topic.key
        assert topic.owner
        assert not topic.example or (EXAMPLES / topic.example).is_file()


def test_a_wrong_topic_file_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "name: x\ndescription: d\nkey: k\nowner: o\nvisibility: public\nrecord_schema: s\npartitions: many\nconfig: {}\n"
    )
    with pytest.raises(TopicError, match=r"x\.yaml: partitions"):
        load_topics(tmp_path)
