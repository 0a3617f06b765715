"""`chalk rules diff` on a real log, and the change of rules that it foretells: everybody scored anew, no row of two rule files."""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from deploy.demo.house import House, environment, with_free_ports
from deploy.demo.pipe import wait_fresh
from deploy.local.processes import free_ports
from schemas.instants import parse_instant
from schemas.topics import load_topics
from services.scoring.log_reader import LogReader, Unreadable
from services.shared.clock import parse_clock
from services.shared.kafka import ensure_topics
from services.shared.settings import ROOT, Settings
from tests import gate_edge
from tests.committed import ends
from tests.rules_reference import Rows, expected_changes, of_everybody, said_changes

pytestmark = [pytest.mark.servers, pytest.mark.timeout(420)]

LEARNERS = 300
ROWS = gate_edge.records(32, LEARNERS)
NOW = parse_instant(gate_edge.NOW)
PLAN_B = (ROOT / "schemas" / "programmes" / "zhuozhou-2023.yaml").read_text("utf-8")
VERSION = int(PLAN_B.partition("rules_version: ")[2].split()[0])
LOWER = PLAN_B.replace("at_least: 32", "at_least: 30").replace(f"rules_version: {VERSION}", f"rules_version: {VERSION + 1}")
TOPIC = "learning.activity"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A stack whose log has the learners around the gate; its rule files lie in its own folder. No service runs at first."""
    folder = Path(tempfile.gettempdir()) / "rules-diff"
    shutil.copytree(ROOT / "schemas" / "programmes", folder / "programmes")
    values = with_free_ports(Settings(data=folder)).model_copy(
        update={"clock": parse_clock(f"{gate_edge.NOW}@0").text(), "programmes": folder / "programmes"}
    )
    try:
        with House(values, ()) as one:
            one.start()
            ensure_topics(values.bootstrap, load_topics(), 1)
            asyncio.run(fill(values.bootstrap))
            yield one
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def fill(bootstrap: str) -> None:
    """In transactions, as some platforms write: their markers take offsets, also the last one of each partition."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="platform")
    await producer.start()
    for at in range(0, len(ROWS), 2000):
        async with producer.transaction():
            for key, value in ROWS[at : at + 2000]:
                await producer.send(TOPIC, value, key=key, partition=gate_edge.partition(key))
    await producer.begin_transaction()
    await producer.send(TOPIC, ROWS[0][1].replace(b"edge-", b"gone-"), key=b"gone", partition=0)
    await producer.abort_transaction()
    await producer.stop()


@pytest.fixture(scope="module")
def reference() -> dict[str, dict[str, Rows]]:
    """What the independent reference knows of everybody, by the text of the rule file."""
    return of_everybody(ROWS, NOW, PLAN_B, LOWER)


def diff(house: House, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.cli", "rules", "diff", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(house.values) | env, capture_output=True, text=True, timeout=120)


def groups(house: House) -> list[Any]:
    admin = KafkaAdminClient(bootstrap_servers=house.values.bootstrap)
    try:
        return list(admin.list_groups())
    finally:
        admin.close()


def test_names_exactly_whom_the_reference_names_and_leaves_no_trace(
    house: House, reference: dict[str, dict[str, Rows]], tmp_path: Path
) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(LOWER, "utf-8")
    before = ends(house.values.bootstrap), groups(house)
    done = diff(house, str(new), "--json", "--limit", "0", "--exit-code", "--csv", str(tmp_path / "all.csv"))
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    expected = expected_changes(reference[PLAN_B], reference[LOWER])
    assert LEARNERS / 5 < len(expected) < LEARNERS
    assert said_changes(report) == expected
    assert {row["learner_id"] for row in csv.DictReader((tmp_path / "all.csv").open(encoding="utf-8-sig"))} == expected.keys()
    assert report["rules"] == [
        {"path": "rules_version", "old": str(VERSION), "new": str(VERSION + 1)},
        {"path": "scoring.online.items.exam.gate.at_least", "old": "32", "new": "30"},
    ]
    assert (report["summary"]["learners"], report["summary"]["records"]) == (LEARNERS, len(ROWS))
    assert report["log"] == {place: end for place, end in before[0].items() if place.startswith(TOPIC + ":")}
    assert (ends(house.values.bootstrap), groups(house)) == before  # nothing written, no group made

    old = tmp_path / "old.yaml"
    old.write_text(PLAN_B, "utf-8")
    told = diff(house, str(old), str(new), "--limit", "2")
    assert told.returncode == 0, told.stderr
    assert f"{LEARNERS:,} learners compared, {len(expected):,} would change" in told.stdout
    assert f"… and {len(expected) - 2:,} more" in told.stdout


def test_another_moment_and_a_log_that_is_away(house: House, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(PLAN_B.replace("results_final: 2024-01-15", "results_final: 2024-01-20"), "utf-8")
    assert json.loads(diff(house, str(new), "--json").stdout)["learners"] == []
    later = json.loads(diff(house, str(new), "--json", "--clock", "2024-01-16T00:00:00+08:00").stdout)
    assert {(one["old"], one["new"]) for one in later["summary"]["results"] if one["old"] != one["new"]} == {("failed", "in_progress")}
    away = diff(house, str(new), CHALK_KAFKA_PORT=str(free_ports(1)[0]))
    assert away.returncode == 2
    assert "can't be read" in away.stderr and "Traceback" not in away.stderr


def test_a_log_of_another_shape_is_not_read(house: House) -> None:
    async def open_log(topic: str, partitions: int) -> None:
        async with LogReader(house.values.bootstrap, topic, partitions):
            pass

    for topic, partitions, said in (("no-such-topic", 4, "has no topic"), (TOPIC, 3, "has 4 partitions, its file says 3")):
        with pytest.raises(Unreadable, match=said):
            asyncio.run(open_log(topic, partitions))
    assert not any(place.startswith("no-such-topic") for place in ends(house.values.bootstrap))


def shape(row: dict[str, Any]) -> tuple[Any, ...]:
    """A row of store.progress as far as rules reach: version, result, courses, flags."""
    courses = zip(row["course_id"], row["course_total_points_100"], row["course_gate_met"], row["course_passed"], strict=True)
    flags = zip(row["flag_kind"], row["flag_ref"], row["flag_severity"], strict=True)
    return (row["rules_version"], row["result"], row["courses_passed"], tuple(sorted(courses)), tuple(sorted(flags)))


def expected_shape(rows: Rows, version: int) -> tuple[Any, ...]:
    courses = [
        (ref, round(float(row["total_points"]) * 100), int(row["gate_met"]), int(row["passed"]))
        for (part, ref), row in rows.items()
        if part == "course"
    ]
    flags = [(*(ref + " ").split(" ")[:2], row["severity"]) for (part, ref), row in rows.items() if part == "flag"]
    head = rows["learner", ""]
    return (version, head["result"], head["courses_passed"], tuple(sorted(courses)), tuple(sorted(flags)))


SQL = (
    "SELECT learner_id, rules_version, result, courses_passed, course_id, course_total_points_100, course_gate_met, course_passed,"
    f" flag_kind, flag_ref, flag_severity FROM store.progress FINAL WHERE programme = '{gate_edge.PROGRAMME}' FORMAT JSONEachRow"
)


def stored(house: House) -> dict[str, tuple[Any, ...]]:
    return {row["learner_id"]: shape(row) for row in map(json.loads, house.query(SQL).splitlines())}


def test_new_rules_score_everybody_anew_and_no_row_mixes_two(house: House, reference: dict[str, dict[str, Rows]]) -> None:
    for name in ("scoring", "loader"):
        house.supervisor.start(house.process(name))
    applied = {place: end for place, end in ends(house.values.bootstrap).items() if place.startswith(TOPIC + ":")}
    wait_fresh(house, applied, 120, lambda: False)
    by_old = {learner: expected_shape(rows, VERSION) for learner, rows in reference[PLAN_B].items()}
    by_new = {learner: expected_shape(rows, VERSION + 1) for learner, rows in reference[LOWER].items()}
    assert stored(house) == by_old

    published = ends(house.values.bootstrap)
    seen: dict[str, set[tuple[Any, ...]]] = {}
    looks = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal looks
        while not done.is_set():
            for learner, row in stored(house).items():
                seen.setdefault(learner, set()).add(row)
            looks += 1
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        (house.values.programmes / "zhuozhou-2023.yaml").write_text(LOWER, "utf-8")
        house.kill("scoring")  # comes again under the new rules …
        time.sleep(1.0)
        house.kill("scoring")  # … and dies in the midst of it
        until = time.monotonic() + 120
        while stored(house) != by_new:
            assert time.monotonic() < until, {k: (v, by_new.get(k)) for k, v in stored(house).items() if v != by_new.get(k)}
            time.sleep(0.2)
    finally:
        done.set()
        watcher.join()
    assert looks > 5
    assert seen.keys() == by_new.keys()
    for learner, rows in seen.items():
        assert rows <= {by_old[learner], by_new[learner]}, learner
    assert any(len(rows) == 2 for rows in seen.values())

    # Each published record is of one rule file, too, and everybody has got one.
    found = [row for row in read_from(house, "learning.progress", published) if row["programme"] == gate_edge.PROGRAMME]
    assert {row["learner_id"] for row in found} == by_new.keys()
    for row in found:
        courses = tuple(
            sorted((c["course_id"], round(float(c["total_points"]) * 100), int(c["gate_met"]), int(c["passed"])) for c in row["courses"])
        )
        flags = tuple(sorted((flag["kind"], flag["ref"], flag["severity"]) for flag in row["flags"]))
        assert (row["rules_version"], row["result"], row["courses_passed"], courses, flags) == by_new[row["learner_id"]]


def read_from(house: House, topic: str, starts: dict[str, int]) -> list[dict[str, Any]]:
    """Values from given offsets to the end."""
    consumer = KafkaConsumer(
        bootstrap_servers=house.values.bootstrap, isolation_level="read_committed", consumer_timeout_ms=3000, enable_auto_commit=False
    )
    try:
        tps = [TopicPartition(topic, number) for number in range(gate_edge.PARTITIONS)]
        consumer.assign(tps)
        for tp in tps:
            consumer.seek(tp, starts[f"{topic}:{tp.partition}"])
        return [json.loads(record.value) for record in consumer if record.value]
    finally:
        consumer.close()
