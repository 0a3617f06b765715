"""`chalk replay` on the real servers: a shadow built beside live services, compared, put into use, and back; whatever dies on the way."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from deploy.demo.house import House, environment, with_free_ports
from deploy.demo.pipe import NotFresh, rows, wait_fresh
from schemas.instants import parse_instant
from schemas.topics import load_topics
from services.shared.clock import parse_clock
from services.shared.generation import OWN_TOPICS, WATERMARKS, Generation
from services.shared.kafka import ensure_topics
from services.shared.settings import ROOT, Settings
from tests import gate_edge
from tests.committed import committed, ends
from tests.rules_reference import Rows, expected_changes, of_everybody, said_changes

pytestmark = [pytest.mark.servers, pytest.mark.timeout(420)]

LEARNERS = 300
ROWS = gate_edge.records(7, LEARNERS)
NOW = parse_instant(gate_edge.NOW)
SHIPPED = ROOT / "schemas" / "programmes"
PLAN_B = (SHIPPED / "zhuozhou-2023.yaml").read_text("utf-8")
VERSION = int(PLAN_B.partition("rules_version: ")[2].split()[0])
LOWER = PLAN_B.replace("at_least: 32", "at_least: 30").replace(f"rules_version: {VERSION}", f"rules_version: {VERSION + 1}")
TOPIC = "learning.activity"
SHADOW = Generation("lower-gate")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """The learners around the gate in the log, scoring and the loader live, rule files in its own folder, a clock that stands."""
    folder = Path(tempfile.gettempdir()) / "replay"
    shutil.copytree(SHIPPED, folder / "programmes")
    values = with_free_ports(Settings(data=folder)).model_copy(
        update={"clock": parse_clock(f"{gate_edge.NOW}@0").text(), "programmes": folder / "programmes"}
    )
    try:
        with House(values, ()) as one:
            one.start()
            ensure_topics(values.bootstrap, load_topics(), 1)
            asyncio.run(send(values.bootstrap, ROWS))
            for name in ("scoring", "loader"):
                one.supervisor.start(one.process(name), wait=False)
            fresh(one)
            yield one
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def send(bootstrap: str, records: list[tuple[bytes, bytes]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    for key, value in records:
        await producer.send(TOPIC, value, key=key, partition=gate_edge.partition(key))
    await producer.stop()


@pytest.fixture(scope="module")
def reference() -> dict[str, dict[str, Rows]]:
    """What the independent reference knows of everybody, by the text of the rule file."""
    return of_everybody(ROWS, NOW, PLAN_B, LOWER)


def replay(house: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.cli", "replay", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(house.values), capture_output=True, text=True, timeout=180)


def done(house: House, *arguments: str) -> str:
    """What a command prints; it must not fail."""
    said = replay(house, *arguments)
    assert said.returncode == 0, said.stdout + said.stderr + logs(house)
    return said.stdout


def logs(house: House) -> str:
    found = [*house.values.data.glob("replay/*/*.log"), house.values.data / "logs" / "scoring.log"]
    return "".join(f"\n--- {path}\n" + "\n".join(path.read_text("utf-8").splitlines()[-12:]) for path in found if path.exists())


def log_ends(house: House) -> dict[str, int]:
    return {place: end for place, end in ends(house.values.bootstrap).items() if place.startswith(TOPIC + ":")}


def fresh(house: House) -> None:
    try:
        wait_fresh(house, log_ends(house), 90)
    except NotFresh as error:
        raise AssertionError(f"{error}{logs(house)}") from error


def public(found: dict[str, int]) -> dict[str, int]:
    """Without shadows', and without the watermarks, which a live service writes at any time."""
    topics = OWN_TOPICS - {WATERMARKS} | {TOPIC}
    return {place: end for place, end in found.items() if place.partition(":")[0] in topics}


def read(house: House, topic: str) -> list[Any]:
    return asyncio.run(committed(house.values.bootstrap, topic, 1 if topic.startswith(WATERMARKS) else gate_edge.PARTITIONS))


def last_values(house: House, topic: str) -> dict[bytes, bytes]:
    """Key -> last committed value of a topic, tombstones left out."""
    last = {record.key: record.value for record in read(house, topic)}
    return {key: value for key, value in last.items() if value is not None}


_WHEN = re.compile(rb'"version":\[\d+,\d+,\d+\],"updated_at":"[^"]+"')


def timeless(values: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Without `version` and `updated_at`, which every value has."""
    found = {key: _WHEN.subn(b"", value) for key, value in values.items()}
    assert all(count == 1 for _, count in found.values())
    return {key: value for key, (value, _) in found.items()}


def workers(house: House, generation: Generation) -> dict[str, int]:
    """Living processes of a shadow: module -> pid."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "environ").read_bytes().split(b"\0")
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = f"CHALK_DATA={house.values.data}".encode() in told and f"CHALK_GENERATION={generation.name}".encode() in told
        if ours and b"-m" in words:
            found[words[words.index(b"-m") + 1].decode()] = int(path.name)
    return found


def stored(house: House, database: str = "store") -> dict[str, tuple[Any, ...]]:
    """Learner -> their row as far as rules reach."""
    sql = (
        "SELECT learner_id, rules_version, result, courses_passed, course_id, course_total_points_100 AS points, course_gate_met AS met,"
        f" course_passed AS passed, flag_kind, flag_ref, flag_severity FROM {database}.progress FINAL"
        f" WHERE programme = '{gate_edge.PROGRAMME}'"
    )
    found = {}
    for row in rows(house, sql):
        courses = sorted(zip(row["course_id"], row["points"], row["met"], row["passed"], strict=True))
        flags = sorted(zip(row["flag_kind"], row["flag_ref"], row["flag_severity"], strict=True))
        found[row["learner_id"]] = (row["rules_version"], row["result"], row["courses_passed"], tuple(courses), tuple(flags))
    return found


def expected(reference: dict[str, Rows], version: int) -> dict[str, tuple[Any, ...]]:
    found = {}
    for learner, state in reference.items():
        courses = sorted(
            (ref, round(float(row["total_points"]) * 100), int(row["gate_met"]), int(row["passed"]))
            for (part, ref), row in state.items()
            if part == "course"
        )
        flags = sorted((*(ref + " ").split(" ")[:2], row["severity"]) for (part, ref), row in state.items() if part == "flag")
        head = state["learner", ""]
        found[learner] = (version, head["result"], head["courses_passed"], tuple(courses), tuple(flags))
    return found


def generations(house: House) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(done(house, "list", "--json"))["generations"]}


def words(house: House, topic: str) -> dict[int, dict[str, Any]]:
    return {(said := json.loads(value))["partition"]: said for value in last_values(house, topic).values()}


def test_the_same_rules_give_the_same_bytes_though_its_workers_are_killed(house: House) -> None:
    before, same = ends(house.values.bootstrap), Generation("same")
    command = [sys.executable, "-m", "services.cli", "replay", "--rules", str(SHIPPED), "--into", same.name, "--json"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(house.values), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killed = set()
    for module in ("services.scoring", "services.reporting.loader", "services.scoring"):
        until = time.monotonic() + 30
        while (pid := workers(house, same).get(module)) is None or pid in killed:
            assert time.monotonic() < until and process.poll() is None, logs(house)
            time.sleep(0.05)
        time.sleep(1.5)  # it is at work by now
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    said, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors + logs(house)
    report = json.loads(said)
    assert (report["differs"], report["still_changing"], report["running_is_behind"]) == (False, 0, False)
    assert {one["programme"]: one["summary"]["learners_changed"] for one in report["programmes"]} == {
        gate_edge.PROGRAMME: 0,
        "guopei-shaanxi-2023": 0,
    }
    assert len(killed) == 3 and not workers(house, same)

    for topic in ("learning.progress", "learning.days"):
        live, shadow = timeless(last_values(house, topic)), timeless(last_values(house, same.topic(topic)))
        assert shadow == live and len(live) >= LEARNERS, topic
    assert public(ends(house.values.bootstrap)) == public(before)  # nobody but the shadow was told anything, so no reminder went out
    assert stored(house, same.store) == stored(house)
    relations = ("learner_progress", "course_progress", "needs_attention", "unit_progress", "activity_daily", "events", "data_quality")
    for relation in relations:
        columns = "* EXCEPT updated_at" if relation == "learner_progress" else "*"
        live, shadow = (list(rows(house, f"SELECT {columns} FROM {one}.{relation} ORDER BY ALL")) for one in ("marts", same.marts))
        assert shadow == live, relation


def test_new_rules_change_whom_the_reference_names_and_nobody_s_running_figures(
    house: House, reference: dict[str, dict[str, Rows]], tmp_path: Path
) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(LOWER, "utf-8")
    before = ends(house.values.bootstrap)
    report = json.loads(done(house, "--rules", str(new), "--into", SHADOW.name, "--json", "--limit", "0"))
    changed = expected_changes(reference[PLAN_B], reference[LOWER])
    mine = {one["programme"]: one for one in report["programmes"]}[gate_edge.PROGRAMME]
    assert LEARNERS / 5 < len(changed) < LEARNERS
    assert said_changes(mine) == changed
    assert mine["summary"]["learners"] == LEARNERS
    assert [one["path"] for one in mine["rules"]] == ["rules_version", "scoring.online.items.exam.gate.at_least"]
    assert stored(house, SHADOW.store) == expected(reference[LOWER], VERSION + 1)
    assert stored(house) == expected(reference[PLAN_B], VERSION)
    assert public(ends(house.values.bootstrap)) == public(before)

    epochs = {number: word["epoch"] for number, word in words(house, SHADOW.watermarks_topic).items()}
    started = time.monotonic()
    told = done(house, "--into", SHADOW.name, "--limit", "3")
    assert time.monotonic() - started < 60
    assert {number: word["epoch"] for number, word in words(house, SHADOW.watermarks_topic).items()} == epochs  # nothing was read anew
    assert f"{LEARNERS:,} learners, {len(changed):,} differ" in told
    assert f"… and {len(changed) - 3:,} more" in told
    assert f"chalk replay switch {SHADOW.name}" in told


def test_what_can_not_be_done_is_said_and_changes_nothing(house: House) -> None:
    before = ends(house.values.bootstrap).keys()
    for arguments, text, status in (
        (("switch", "same"), "nothing to switch", 0),
        (("drop", "nobody"), "there is no generation nobody", 2),
    ):
        said = replay(house, *arguments)
        assert (said.returncode, text in said.stdout + said.stderr, "Traceback" in said.stderr) == (status, True, False), said
    assert ends(house.values.bootstrap).keys() == before
    assert (house.values.programmes / "zhuozhou-2023.yaml").read_text("utf-8") == PLAN_B


def test_the_switch_puts_the_new_rules_into_use_and_back_the_old_ones(house: House, reference: dict[str, dict[str, Rows]]) -> None:
    by_old, by_new = expected(reference[PLAN_B], VERSION), expected(reference[LOWER], VERSION + 1)
    changed = expected_changes(reference[PLAN_B], reference[LOWER])
    flags_differ = {learner for learner, changes in changed.items() if any(part == "flag" for part, *_ in changes)}
    counted = {topic: len(all_values(house, topic)) for topic in ("learning.attention", "learning.reminders")}
    log = (house.values.data / "logs" / "scoring.log").stat().st_size
    told = done(house, "switch", SHADOW.name, "--wait", "120")
    assert f"live: state of generation {SHADOW.name}" in told
    assert stored(house) == by_new
    after_switch = told_since(house, counted)
    assert (house.values.programmes / "zhuozhou-2023.yaml").read_text("utf-8") == LOWER
    text = (house.values.data / "logs" / "scoring.log").read_text("utf-8")[log:]
    taken = [json.loads(line) for line in text.splitlines() if '"partition taken"' in line]
    log_end = {int(place.partition(":")[2]): end for place, end in log_ends(house).items()}
    assert {one["partition"]: one["applied"] for one in taken if one["generation"] == SHADOW.name} == log_end  # nothing was read anew
    standing = generations(house)
    assert {name: row["is"] for name, row in standing.items()} == {"": "former", "same": "shadow", SHADOW.name: "live"}
    assert "is live" in replay(house, "drop", SHADOW.name).stderr
    assert "live services stand on" in replay(house, "--into", SHADOW.name).stderr

    # The log goes on, for whoever is live now.
    value = ROWS[0][1]
    more = [(b"after-1", json.dumps(json.loads(value) | {"id": "after-1", "subject": "after-1"}).encode())]
    asyncio.run(send(house.values.bootstrap, more))
    fresh(house)
    assert stored(house)["after-1"][0] == VERSION + 1

    told = done(house, "back", "--wait", "120")
    assert "live: state of generation (first)" in told
    now = stored(house)
    assert now.pop("after-1")[0] == VERSION
    assert now == by_old
    assert (house.values.programmes / "zhuozhou-2023.yaml").read_text("utf-8") == PLAN_B
    assert {name: row["is"] for name, row in generations(house).items()} == {"": "live", "same": "shadow", SHADOW.name: "shadow"}
    assert after_switch <= flags_differ and after_switch  # whose flags are the same by both rules hears nothing, there or back
    assert told_since(house, counted) - {"after-1"} <= flags_differ


def told_since(house: House, counted: dict[str, int]) -> set[str]:
    """Learners of whom the flags' log or a reminder has said anything since."""
    return {json.loads(value)["learner_id"] for topic, count in counted.items() for value in all_values(house, topic)[count:]}


def all_values(house: House, topic: str) -> list[bytes]:
    """In the order of time."""
    found = [record for record in read(house, topic) if record.value]
    return [record.value for record in sorted(found, key=lambda record: record.timestamp)]


def test_a_generation_that_was_live_can_be_brought_up_to_date_as_a_shadow(house: House, reference: dict[str, dict[str, Rows]]) -> None:
    report = json.loads(done(house, "--into", SHADOW.name, "--json", "--limit", "0"))
    mine = {one["programme"]: one for one in report["programmes"]}[gate_edge.PROGRAMME]
    changed = said_changes(mine)
    changed.pop("after-1", None)
    assert changed == expected_changes(reference[PLAN_B], reference[LOWER])
    now = stored(house, SHADOW.store)
    assert now.pop("after-1")[0] == VERSION + 1
    assert now == expected(reference[LOWER], VERSION + 1)


def test_drop_leaves_nothing(house: House) -> None:
    for generation in (SHADOW, Generation("same")):
        assert "is gone" in done(house, "drop", generation.name)
    assert not [place for place in ends(house.values.bootstrap) if "lower-gate" in place or ".same" in place]
    databases = {row["name"] for row in rows(house, "SELECT name FROM system.databases")}
    assert not databases & {"store_lower_gate", "marts_lower_gate", "store_same", "marts_same"} and {"store", "marts"} <= databases
    assert generations(house).keys() == {""}
    assert not list((house.values.data / "replay").glob("[a-z]*"))
    again = json.loads(done(house, "--rules", str(SHIPPED), "--into", "same", "--json"))  # the name is free again
    assert again["differs"] is False
    done(house, "drop", "same")
