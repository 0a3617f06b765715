"""Names of generations in Kafka and ClickHouse: what each has of its own, and what is there once."""

from __future__ import annotations

import re

import msgspec
import pytest

from schemas.progress import Watermark, decode, encode
from schemas.topics import load_topics
from services.reporting.loader.own import SHADOW_TOPICS, OwnNames
from services.shared.generation import LIVE, OWN_TABLES, OWN_TOPICS, BadName, Generation, of_state_topic
from services.shared.migrate import migrations, renamed
from services.shared.stream import Batch

SHADOW = Generation("lower-gate")
SHARED = {"learning.activity", "organisation.directory"}


@pytest.mark.parametrize("name", ["Upper", "a_b", "a.b", "-a", "a" * 41, "a b", "é", "a/b"])
def test_names_that_none_can_have(name: str) -> None:
    with pytest.raises(BadName, match="expected 1 to 40 of a-z"):
        Generation(name)


def test_the_live_generation_has_the_plain_names() -> None:
    topics = load_topics()
    assert LIVE.topics(topics) == topics
    assert (LIVE.store, LIVE.marts, LIVE.group("chalk-loader"), LIVE.transactional_id(3)) == (
        "store",
        "marts",
        "chalk-loader",
        "chalk-scoring-3",
    )
    for migration in migrations():
        assert migration.statements(LIVE) == migration.statements()


def test_a_shadow_shares_the_log_and_the_directory_and_nothing_else_in_kafka() -> None:
    declared, own = load_topics(), SHADOW.topics(load_topics())
    assert declared.keys() - OWN_TOPICS == SHARED == own.keys() & declared.keys()
    for name, topic in declared.items():
        mine = own[SHADOW.topic(name)]
        assert (mine.partitions, mine.config, mine.name) == (topic.partitions, topic.config, SHADOW.topic(name))
        assert SHADOW.base(mine.name) == name
    assert of_state_topic(SHADOW.state_topic) == SHADOW and of_state_topic("scoring.state") == LIVE
    assert [of_state_topic(name) for name in ("learning.progress.a", "scoring.state.", "scoring.state.A", "scoring.states")] == [None] * 4


def test_two_generations_never_meet() -> None:
    """Whatever they are called: topics, groups, transactional ids and databases differ."""
    some = [LIVE, *map(Generation, ("a", "a-b", "1", "a-1", "1-0", "scoring", "state"))]
    assert len({one.transactional_id(number) for one in some for number in range(4)}) == 4 * len(some)
    for named in (lambda one: one.state_topic, lambda one: one.group("chalk-scoring"), lambda one: one.store, lambda one: one.marts):
        assert len({named(one) for one in some}) == len(some)


def test_a_shadow_s_migrations_touch_no_table_of_another_s() -> None:
    made = set()
    for migration in migrations():
        for statement in migration.statements(SHADOW):
            target = re.match(r"(?:CREATE(?: OR REPLACE)?|ALTER|DROP)\s+(?:TABLE|VIEW|DATABASE)(?: IF (?:NOT )?EXISTS)?\s+(\S+)", statement)
            assert target, statement[:80]
            made.add(target[1])
            assert target[1].partition(".")[0] in ("store_lower_gate", "marts_lower_gate")
            for database, table in re.findall(r"\b(store|marts)\.(\w+)", statement):
                assert database == "store" and (table not in OWN_TABLES or table == "watermarks"), (target[1], table)
    assert {f"store_lower_gate.{name}" for name in OWN_TABLES - {"migrations"}} <= made
    assert not {name for name in made if name.startswith("store_") and "." in name and name.partition(".")[2] not in OWN_TABLES}


def test_a_shadow_s_freshness_is_its_own_scoring_s_and_the_shared_tables() -> None:
    text = renamed("CREATE VIEW IF NOT EXISTS marts.freshness AS SELECT kind FROM store.watermarks FINAL", SHADOW)
    assert "FROM store_lower_gate.watermarks FINAL WHERE kind = 'scoring'" in text
    assert "FROM store.watermarks FINAL WHERE kind != 'scoring'" in text


class Plain(msgspec.Struct):
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


async def _through(batch: Batch) -> Batch:
    seen = []

    async def into(one: Batch) -> None:
        seen.append(one)

    await OwnNames(SHADOW, into, frozenset(SHADOW_TOPICS)).handle(batch)
    return seen[0]


@pytest.mark.parametrize("topic", [SHADOW.topic, str])
def test_the_loader_hears_a_shadow_s_word_under_the_plain_names(topic: object) -> None:
    import asyncio

    assert callable(topic)
    outputs = {topic("learning.progress"): 7, topic("learning.rejected"): 9, topic("learning.days"): 3}
    word = Watermark(2, 40, "2023-12-20T04:00:00.000Z", outputs, 5, "system", "lower-gate")
    acknowledged = []
    batch = Batch(
        SHADOW.watermarks_topic,
        0,
        [Plain(4, b"scoring:2", encode(word)), Plain(5, b"x", None)],
        lambda: acknowledged.append(1),
        lambda: None,
    )
    found = asyncio.run(_through(batch))
    assert (found.topic, [record.offset for record in found.records]) == ("learning.watermarks", [4, 5])
    value = found.records[0].value
    assert value is not None and found.records[1].value is None
    said = decode(Watermark, value)
    assert said.outputs == {"learning.progress": 7, "learning.days": 3}  # what nobody loads is not waited for
    assert (said.partition, said.applied, said.epoch) == (2, 40, 5)
    found.ack()
    assert acknowledged == [1]
