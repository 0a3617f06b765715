"""Records that nobody should write, on the real Kafka and ClickHouse: each ends in learning.rejected with its reasons, once, and costs
its neighbours nothing."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions

from schemas.topics import load_topics
from services.scoring.codec import MOST_ERRORS, MOST_TEXT
from services.shared.kafka import ensure_topics
from services.shared.settings import ROOT
from tests.integration.local_stack import chalk, environment
from tests.integration.poison import (
    ABORTED_ONLY,
    ACTIVITY,
    DIRECTORY,
    EMPTY,
    HERE,
    NEAR,
    PARTITIONS,
    Log,
    abort,
    as_records,
    ends_of,
    expected,
    interleaved,
    learner_on,
    neighbours,
    poisons,
    studied,
    unit,
    visited,
    wait_for_the_end,
)  # fmt: skip
from tests.integration.test_loader import Run, declare, running
from tests.integration.test_scoring import CLOCK, last_values, plain, read

pytestmark = [pytest.mark.servers, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """A stack, scoring and the loader on empty topics; the clock stands."""
    with running(CLOCK, scoring_metrics_port=0) as found:
        yield found


@pytest.fixture(scope="module")
def log(run: Run) -> Log:
    return Log(run.values.bootstrap)


def rejections(run: Run) -> list[dict[str, Any]]:
    return [json.loads(value or b"") for _, _, value in asyncio.run(read(run.values.bootstrap, "learning.rejected"))]


def test_empty_topics_are_known_to_be_empty(run: Run) -> None:
    for relation in ("learner_progress", "events", "unit_progress"):
        until = time.monotonic() + 60
        while not run._applied(relation):  # it exists
            assert time.monotonic() < until, run.logs()
            time.sleep(0.1)
        sql = f"SELECT as_of >= '2023-12-04 13:30:00' FROM marts.freshness WHERE relation = '{relation}'"
        while not run.one(sql):
            assert time.monotonic() < until, run.logs()
            time.sleep(0.1)
    assert run.one("SELECT count() FROM marts.learner_progress") == 0


def test_poison_between_neighbours_and_kills(run: Run, log: Log) -> None:
    declare(run)
    mixed = interleaved(poisons(), as_records(neighbours()))
    for at in range(0, len(mixed), len(mixed) // 3 + 1):
        asyncio.run(log.write(mixed[at : at + len(mixed) // 3 + 1]))
        time.sleep(0.5)  # so that some of it is under way
        for service in ("scoring", "reporting.loader"):
            run.end(service, signal.SIGKILL)
            run.start(service)
    abort(run.values.bootstrap, ABORTED_ONLY, learner_on(ABORTED_ONLY, "ghost"))
    abort(run.values.bootstrap, 0, HERE)
    wait_for_the_end(run)
    assert ends_of(run, ACTIVITY, PARTITIONS)[f"{ACTIVITY}:{EMPTY}"] == 0

    said = rejections(run)
    by_origin = {(one["origin"]["partition"], one["origin"]["offset"]): one for one in said}
    assert len(by_origin) == len(said)  # each once
    wanted = log.refused()
    assert {place: one.name for place, one in wanted.items() if place not in by_origin} == {}
    assert by_origin.keys() == wanted.keys()
    for place, one in wanted.items():
        told = [(error["pointer"].rstrip("…"), error["code"]) for error in by_origin[place]["errors"]]
        assert told == [(pointer[:MOST_TEXT], code) for pointer, code in one.wrong[:MOST_ERRORS]], one.name

    progress = asyncio.run(read(run.values.bootstrap, "learning.progress"))
    assert plain(last_values(progress)) == expected(log, run.values.programmes)
    stored = run.client.execute("SELECT log_partition, log_offset, code FROM store.rejected FINAL")
    assert {(partition, offset): codes for partition, offset, codes in stored} == {
        place: [error["code"] for error in one["errors"]] for place, one in by_origin.items()
    }
    assert run.one("SELECT sum(records) FROM marts.data_quality WHERE kind = 'unreadable'") == len(wanted)
    sound = {json.loads(one.value or b"")["id"] for one in log.sound().values()}
    assert {id for (id,) in run.client.execute("SELECT event_id FROM marts.events")} == sound
    assert run.one("SELECT count() FROM marts.unit_progress WHERE unit_id = 'c'") == 1
    assert "ClickHouse agrees" in chalk(run.values, "reconcile", "--wait", "60")


def test_what_does_not_belong_in_the_directory_changes_nothing(run: Run) -> None:
    before = run.client.execute("SELECT * FROM store.units FINAL ORDER BY unit_id")
    chance = random.Random(9)
    for value in (b"", chance.randbytes(1_000_000), visited("astray"), unit("v").replace(b"unit.declared.v1", b"unit.declared.v2")):
        run.send(DIRECTORY, HERE, value)
    run.producer.send(DIRECTORY, None, key=b"v", partition=0).get(20)
    run.producer.send(DIRECTORY, unit("v2"), key=b"v", partition=0).get(20)
    run.send(DIRECTORY, "v3", unit("v3"))
    wait_for_the_end(run)
    after = run.client.execute("SELECT * FROM store.units FINAL ORDER BY unit_id")
    assert [row for row in after if row[0] != "v3"] == before
    assert len(after) == len(before) + 1
    assert all(child.poll() is None for child in run.running.values()), run.logs()


def test_every_codec_is_read_and_one_that_is_missing_is_told(run: Run, log: Log) -> None:
    """A worker that lacks a library ends, says which, and skips nothing: the next one reads it."""
    before = run.one("SELECT count() FROM marts.events")
    codecs = ("gzip", "snappy", "lz4", "zstd")
    for service in ("scoring", "reporting.loader"):
        run.end(service, signal.SIGKILL)
    for codec in codecs:
        rows = [visited(f"{codec}-{n}", learner) for n in range(50) for learner in (HERE, NEAR)]
        asyncio.run(log.write(as_records([(json.loads(row)["subject"].encode(), row) for row in rows]), codec))
    lame = [start_without_zstd(run, service) for service in ("scoring", "reporting.loader")]
    for child in lame:
        assert child.wait(60) == 70
        told = child.stdout.read().decode() if child.stdout else ""
        assert "fatal: " in told and "zstd" in told.rpartition("fatal: ")[2]
    for service in ("scoring", "reporting.loader"):
        run.start(service)
    wait_for_the_end(run)
    assert run.one("SELECT count() FROM marts.events") == before + len(codecs) * 100
    progress = asyncio.run(read(run.values.bootstrap, "learning.progress"))
    assert plain(last_values(progress)) == expected(log, run.values.programmes)


def start_without_zstd(run: Run, service: str) -> subprocess.Popen[bytes]:
    lame = "import aiokafka.codec, runpy; aiokafka.codec.has_zstd = lambda: False"
    code = f"{lame}; runpy.run_module('services.{service}', run_name='__main__')"
    env = environment(run.values, CHALK_LOADER_METRICS_PORT="0")
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def stop(run: Run) -> None:
    for service in ("scoring", "reporting.loader"):
        assert run.end(service, signal.SIGTERM) == 0, run.logs()


def start(run: Run) -> None:
    for service in ("scoring", "reporting.loader"):
        run.start(service)


def delete(run: Run, topic: str) -> None:
    """A topic and all that it holds; afterwards it is there again, empty."""
    admin = KafkaAdminClient(bootstrap_servers=run.values.bootstrap)
    admin.delete_topics([topic])
    until = time.monotonic() + 30
    while topic in admin.list_topics():
        assert time.monotonic() < until
        time.sleep(0.1)
    admin.close()
    ensure_topics(run.values.bootstrap, load_topics(), 1)


def epochs(run: Run) -> dict[str, int]:
    words = last_values(asyncio.run(read(run.values.bootstrap, "learning.watermarks", 1)))
    return {key: int(str(word["epoch"])) for key, word in words.items()}


def wait_for_epochs(run: Run, above: dict[str, int]) -> None:
    until = time.monotonic() + 60
    while not all(epochs(run)[key] > above[key] for key in ("scoring:0", "scoring:1")):  # the others have nobody to publish
        assert time.monotonic() < until, (epochs(run), above, run.logs())
        time.sleep(0.3)


@pytest.mark.parametrize("topic", ["learning.progress", "scoring.state"])
def test_a_topic_that_was_deleted_is_made_anew_and_what_is_newer_holds(run: Run, log: Log, topic: str) -> None:
    """Without the changelog nobody knows the epoch any more, but ClickHouse keeps the row of the greatest."""
    before, rejected = epochs(run), run.one("SELECT count() FROM store.rejected FINAL")
    stop(run)
    delete(run, topic)
    newer = studied(f"after-{topic}", "2023-07-01T08:00:00Z", f"2023-07-01T08:{50 - len(topic)}:00Z")
    asyncio.run(log.write(as_records([(HERE.encode(), newer)])))
    start(run)
    wait_for_epochs(run, before)
    wait_for_the_end(run)
    progress = asyncio.run(read(run.values.bootstrap, "learning.progress"))
    wanted = expected(log, run.values.programmes)
    assert plain(last_values(progress)) == wanted
    stored = run.one(f"SELECT credited_seconds FROM marts.learner_progress WHERE learner_id = '{HERE}'")
    assert stored == wanted[f"zhuozhou-2023|{HERE}"]["credited_seconds"]
    assert "ClickHouse agrees" in chalk(run.values, "reconcile", "--wait", "60")
    assert run.one("SELECT count() FROM store.rejected FINAL") == rejected


def refusal_to_start(run: Run, service: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", f"services.{service}"], cwd=ROOT, env=environment(run.values), capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def test_a_topic_with_more_partitions_is_refused(run: Run) -> None:
    stop(run)
    admin = KafkaAdminClient(bootstrap_servers=run.values.bootstrap)
    admin.create_partitions({"learning.days": NewPartitions(total_count=PARTITIONS + 1)})
    admin.close()
    for service in ("scoring", "reporting.loader"):
        status, told = refusal_to_start(run, service)
        assert status == 1
        assert "topic learning.days has 5 partitions, but schemas/topics/learning.days.yaml says 4" in told
        assert "put the number back" in told
        assert "Traceback" not in told
    delete(run, "learning.days")


def test_a_log_that_ends_before_what_was_applied_is_refused(run: Run) -> None:
    delete(run, ACTIVITY)
    status, told = refusal_to_start(run, "scoring")
    assert status == 70
    assert "ends at 0, but the kept state has applied" in told.rpartition("fatal: ")[2]
