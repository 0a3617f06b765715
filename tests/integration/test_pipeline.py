"""The whole pipe on the real servers: what comes in, by the door or straight into the log, ends where it should, whatever dies."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, TopicPartition

from deploy.demo import simulate
from deploy.demo.check import Knowledge, clickhouse_areas
from deploy.demo.door import Door
from deploy.demo.house import House, with_free_ports
from deploy.demo.intruder import GARBAGE, Intruder
from deploy.demo.people import PLAN_A, populate
from deploy.demo.pipe import ingest_token, rows, wait_fresh
from deploy.demo.plans import read_plans
from deploy.demo.run import START
from deploy.demo.sheet import instant
from services.shared.clock import parse_clock
from services.shared.settings import ROOT, Settings

pytestmark = [pytest.mark.servers, pytest.mark.timeout(420)]

NOW = "2024-02-01T12:00:00+08:00"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Stack and services in a folder that goes away; the clock stands. No reporting: ClickHouse is asked directly."""
    folder = Path(tempfile.gettempdir()) / "pipeline"
    values = with_free_ports(Settings(data=folder)).model_copy(update={"clock": parse_clock(f"{NOW}@0").text()})
    try:
        with House(values, ("ingest", "scoring", "loader")) as one:
            one.start()
            yield one
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def token(house: House) -> str:
    return ingest_token(house)


def post(house: House, token: str, events: list[dict[str, Any]]) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/cloudevents-batch+json"}
    return httpx.post(f"{house.ingest_url}/v1/events", content=json.dumps(events), headers=headers, timeout=60, trust_env=False)


def study(number: int, learner: str, minutes: int = 20) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": f"study-{number}", "source": "/tests", "type": "chalkstream.study.recorded.v1", "subject": learner,
        "time": "2023-11-20T21:00:00+08:00", "programme": PLAN_A,
        "data": {
            "course_id": "s-design", "started_at": "2023-11-20T20:00:00+08:00", "ended_at": f"2023-11-20T20:{minutes}:00+08:00",
            "channel": "online",
        },
    }  # fmt: skip


# This one comes first: it compares every row of the database with what it did itself.
def test_killing_every_service_while_history_comes_in_changes_no_total(house: House, token: str) -> None:
    plans = read_plans(house.values.programmes)
    knowledge = Knowledge(populate(80, 3), plans, instant(NOW), until=instant(START))
    door = Door(house.ingest_url, token, connections=3)
    opens = max(plan.opens for plan in plans.values()) // 1000
    population = knowledge.population
    over = threading.Event()
    killed: list[str] = []

    def killer() -> None:
        while not over.is_set():
            for name in ("scoring", "loader", "ingest"):
                if over.wait(1.0):
                    return
                house.kill(name)
                killed.append(name)

    async def load() -> None:
        await door.load([*simulate.declared(population.units, opens), *simulate.assigned(population.staff, opens)])
        history = list(knowledge.history())
        for start in range(0, len(history), 200):
            await door.load(history[start : start + 200], size=50)
            await asyncio.sleep(0.1)
        await door.close()

    thread = threading.Thread(target=killer, daemon=True)
    thread.start()
    try:
        asyncio.run(load())
        while len(set(killed)) < 3:
            time.sleep(0.1)
    finally:
        over.set()
        thread.join()
    for name in ("ingest", "scoring", "loader"):
        house.supervisor.wait_ready(name)
    intruder = Intruder(house.values.bootstrap)
    intruder.pass_on(knowledge.direct, knowledge.now)
    intruder.close()
    wait_fresh(house, {place: max(door.said.applied.get(place, 0), intruder.applied.get(place, 0)) for place in door.said.applied})
    assert not door.said.surprises
    areas = clickhouse_areas(house, knowledge)
    assert not [text for area in areas for text in area.examples]
    assert all(area.rows for area in areas)


def test_garbage_ends_in_rejected_with_its_origin_and_nothing_waits_behind_it(house: House, token: str) -> None:
    before = {
        (row["log_partition"], row["log_offset"]) for row in rows(house, "SELECT log_partition, log_offset FROM store.rejected FINAL")
    }
    intruder = Intruder(house.values.bootstrap)
    written = [intruder.write(key, value, instant(NOW)) for key, value in GARBAGE]
    intruder.close()
    behind = {f"t-behind-{number}": study(900 + number, f"t-behind-{number}") for number in range(12)}  # on every partition
    answer = post(house, token, list(behind.values()))
    assert answer.json()["accepted"] == 12
    wait_fresh(house, answer.json()["applied"], 60)
    found = {
        row["learner_id"]: row["credited_seconds"]
        for row in rows(house, "SELECT learner_id, credited_seconds FROM marts.learner_progress WHERE learner_id LIKE 't-behind-%'")
    }
    assert found == dict.fromkeys(behind, 1200)
    after = {(row["log_partition"], row["log_offset"]): row for row in rows(house, "SELECT * FROM store.rejected FINAL")}
    assert set(after) - before == set(written)
    assert all(after[place]["code"] and after[place]["topic"] == "learning.activity" for place in written)
    unreadable = next(rows(house, "SELECT sum(records) AS n FROM marts.data_quality WHERE kind = 'unreadable'"))
    assert unreadable["n"] >= len(GARBAGE)

    records = read_all(house, "learning.rejected")
    origins = {(said["origin"]["topic"], said["origin"]["partition"], said["origin"]["offset"]): said for said in records}
    assert {("learning.activity", *place) for place in written} <= set(origins)
    codes = {place: [error["code"] for error in origins["learning.activity", *place]["errors"]] for place in written}
    assert codes[written[1]] == ["not_json"]
    assert all(codes.values())


def read_all(house: House, topic: str) -> list[dict[str, Any]]:
    """Every committed record of a topic."""
    consumer = KafkaConsumer(
        bootstrap_servers=house.values.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest", enable_auto_commit=False
    )
    try:
        places = [TopicPartition(topic, part) for part in consumer.partitions_for_topic(topic)]
        consumer.assign(places)
        consumer.seek_to_beginning()
        ends, found = consumer.end_offsets(places), []
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(timeout_ms=200).values():
                found += [json.loads(record.value) for record in records if record.value]
        return found
    finally:
        consumer.close()


def test_twenty_bad_items_of_five_hundred_cost_nobody_else_anything(house: House, token: str) -> None:
    events = [study(2000 + number, f"t-batch-{number:03d}") for number in range(500)]
    bad = range(7, 500, 25)
    for number in bad:
        events[number]["data"]["course_id"] = "c-no-such-course"
    events[7]["data"]["colour"] = "blue"
    answer = post(house, token, events)
    said = answer.json()
    assert (answer.status_code, said["accepted"], said["rejected"], len(said["items"])) == (202, 480, 20, 500)
    rejected = {item["index"]: item["errors"] for item in said["items"] if item["status"] == "rejected"}
    assert sorted(rejected) == list(bad)
    assert [(error["pointer"], error["code"]) for error in rejected[32]] == [("/data/course_id", "unknown_course")]
    assert ("/data/colour", "unknown_field") in [(error["pointer"], error["code"]) for error in rejected[7]]
    wait_fresh(house, said["applied"], 60)
    count = next(rows(house, "SELECT count() AS n FROM marts.learner_progress WHERE learner_id LIKE 't-batch-%'"))
    assert count["n"] == 480


def test_the_same_facts_again_change_nothing(house: House, token: str) -> None:
    first = post(house, token, [study(3000, "t-again")]).json()
    wait_fresh(house, first["applied"], 60)
    sql = "SELECT * EXCEPT (updated_at) FROM marts.learner_progress WHERE learner_id = 't-again'"
    before = list(rows(house, sql))
    again = post(house, token, [study(3000, "t-again")] * 3).json()
    assert again["accepted"] + again["duplicate"] == 3
    wait_fresh(house, again["applied"] or first["applied"], 60)
    assert list(rows(house, sql)) == before
    assert before[0]["credited_seconds"] == 1200


def examples(topic: str) -> list[Path]:
    return sorted((ROOT / "schemas" / "examples" / topic).glob("*.json"))


@pytest.mark.parametrize("topic", ["organisation.directory", "learning.activity"])
def test_every_example_runs_through_the_pipe(house: House, token: str, topic: str) -> None:
    events = [json.loads(path.read_text()) for path in examples(topic)]
    for event in events:
        event.pop("ingested_at", None)
    assert events
    said = post(house, token, events).json()
    assert [item for item in said["items"] if item["status"] == "rejected"] == []
    wait_fresh(house, said["applied"], 60)
    if topic == "learning.activity":
        found = {row["type"] for row in rows(house, "SELECT DISTINCT type FROM marts.events")}
        assert {event["type"] for event in events} <= found
        learners = {row["learner_id"] for row in rows(house, "SELECT learner_id FROM marts.learner_progress")}
        assert {event["subject"] for event in events} <= learners
    else:
        units = {event["subject"] for event in events if ".unit." in event["type"]}
        assert units <= {row["unit_id"] for row in rows(house, "SELECT unit_id FROM store.units FINAL")}
