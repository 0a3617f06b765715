"""Loader and scoring as processes on the real Kafka and ClickHouse: nothing is lost or doubled, whatever is killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clickhouse_driver import Client
from kafka import KafkaProducer

from deploy.local.supervisor import read_state
from schemas.reading import partition_of
from schemas.topics import load_topics
from services.shared.clickhouse import connect
from services.shared.kafka import ensure_topics
from services.shared.settings import ROOT, Settings
from tests.integration.local_stack import Failed, chalk, environment, local_stack

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

CLOCK = "2023-07-10T00:00:00Z@1/{anchor}"
PROGRAMME = "zhuozhou-2023"
TOLD = "a worker died here, the group is told"


class Run:
    """A stack, its settings, and services that are started and killed on it."""

    def __init__(self, values: Settings) -> None:
        self.values = values
        self.client: Client = connect(values.clickhouse)
        self.producer = KafkaProducer(bootstrap_servers=values.bootstrap, acks="all", linger_ms=0)
        self.sent: dict[str, int] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, service: str) -> None:
        log = open(self.values.data / f"{service}.log", "ab")  # noqa: SIM115  # the child's for its life
        self.running[service] = subprocess.Popen(
            [sys.executable, "-m", f"services.{service}"], cwd=ROOT, env=environment(self.values), stdout=log, stderr=log
        )
        log.close()

    def end(self, service: str, number: int) -> int:
        child = self.running.pop(service)
        child.send_signal(number)
        return child.wait(30)

    def send(self, topic: str, key: str, value: bytes) -> None:
        partition = partition_of(key.encode(), load_topics()[topic].partitions)
        offset = self.producer.send(topic, value, key=key.encode(), partition=partition).get(20).offset
        place = f"{topic}:{partition}"
        self.sent[place] = max(self.sent.get(place, 0), offset + 1)

    def wait(self, relation: str, seconds: float = 90) -> dict[str, int]:
        """Until the relation holds everything sent."""
        until = time.monotonic() + seconds
        while True:
            assert all(child.poll() is None for child in self.running.values()), self.logs()
            found = self._applied(relation)
            if all(found.get(place, 0) >= offset for place, offset in self.sent.items()):
                return found
            assert time.monotonic() < until, f"{relation}: {found} of {self.sent}\n{self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        """The end of what each service has written."""
        return "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted(self.values.data.glob("*.log")))

    def _applied(self, relation: str) -> dict[str, int]:
        try:
            rows = self.client.execute("SELECT applied FROM marts.freshness WHERE relation = %(r)s", {"r": relation})
        except Exception:  # not migrated yet, or just being killed
            self.client.disconnect()
            return {}
        return dict(rows[0][0]) if rows else {}

    def one(self, sql: str) -> Any:
        return self.client.execute(sql)[0][0]


@contextmanager
def running(clock: str, **changes: Any) -> Iterator[Run]:
    """Scoring and the loader on a stack of their own, its topics empty; `changes` to its settings."""
    with local_stack() as stack:
        values = stack.model_copy(update={"clock": clock, **changes})
        ensure_topics(values.bootstrap, load_topics(), 1)
        run = Run(values)
        try:
            for service in ("scoring", "reporting.loader"):
                run.start(service)
            yield run
        finally:
            for child in run.running.values():
                child.kill()
                child.wait()
            run.producer.close(timeout=5)
            run.client.disconnect()


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    anchor = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with running(CLOCK.format(anchor=anchor), scoring_metrics_port=0) as found:
        yield found


def event(learner: str, id: str, type: str, data: dict[str, Any], time: str = "2023-06-10T08:00:00Z") -> bytes:
    item = {
        "specversion": "1.0", "id": id, "source": "/test", "type": f"chalkstream.{type}.v1", "subject": learner, "time": time,
        "programme": PROGRAMME, "ingested_at": "2023-07-09T00:00:00.000Z", "data": data,
    }  # fmt: skip
    return json.dumps(item).encode()


def declare(run: Run) -> None:
    units = [("v", None, "province"), ("y", "v", "city"), ("t", "y", "county"), ("s", "t", "school"), ("c", "s", "class")]
    for unit, parent, level in units:
        item = json.loads(event(unit, f"u-{unit}", "unit.declared", {"unit_id": unit, "level": level, "name": unit, "parent_id": parent}))
        del item["programme"]
        run.send("organisation.directory", unit, json.dumps(item).encode())


def study(run: Run, prefix: str, learners: int, each: int) -> None:
    """Learners who register, select a course, and study; every fifth record twice, some out of order."""
    chance = random.Random(prefix)
    for n in range(learners):
        name = f"{prefix}-{n}"
        records = [
            event(name, f"{name}-r", "learner.registered", {"class_id": "c"}, "2023-06-02T00:00:00Z"),
            event(name, f"{name}-s", "course.selected", {"course_id": "c-reading"}, "2023-06-02T01:00:00Z"),
        ]
        for k in range(each):
            start = f"2023-06-{3 + k % 20:02d}T{8 + k % 3:02d}:{k % 40:02d}"
            end = f"{start[:-2]}{k % 40 + 19:02d}:30Z"
            data = {"course_id": "c-reading", "started_at": f"{start}:00Z", "ended_at": end, "channel": "online"}
            records.append(event(name, f"{name}-{k}", "study.recorded", data, f"{start[:-2]}59:59Z"))
        records += records[::5]
        chance.shuffle(records)
        for record in records:
            run.send("learning.activity", name, record)


def reconcile(run: Run) -> str:
    return chalk(run.values, "reconcile", "--wait", "60")


def test_from_the_log_to_the_marts(run: Run) -> None:
    declare(run)
    study(run, "a", 6, 10)
    run.send("learning.activity", "a-1", b"\xffgarbage")
    run.send("learning.activity", "a-1", event("a-1", "late", "platform.visited", {}))
    for relation in ("learner_progress", "events", "data_quality"):
        run.wait(relation)
    assert run.one("SELECT count() FROM marts.learner_progress WHERE county_id = 't' AND started_at IS NOT NULL") == 6
    assert run.one("SELECT learners FROM marts.unit_progress WHERE unit_id = 'v'") == 6
    assert run.one("SELECT count() FROM marts.course_progress WHERE credited_seconds > 0") == 6
    assert run.one("SELECT count() FROM marts.events") == 6 * 12 + 1
    assert run.one("SELECT sum(records) FROM marts.data_quality WHERE kind = 'duplicate'") == 6 * 3
    assert run.one("SELECT sum(records) FROM marts.data_quality WHERE kind = 'unreadable'") == 1
    assert run.one("SELECT sum(credited_seconds) FROM marts.activity_daily WHERE unit_id = 'c'") > 0
    assert run.one("SELECT code FROM store.rejected FINAL") == ["not_json"]
    assert "6 learners compared" in reconcile(run)


def test_metrics_and_health(run: Run) -> None:
    run.wait("events")
    address = f"http://127.0.0.1:{run.values.loader_metrics_port}"
    assert b"chalk_loader_rows_total" in urllib.request.urlopen(f"{address}/metrics", timeout=5).read()
    assert urllib.request.urlopen(f"{address}/healthz", timeout=5).status == 200


def test_time_moves_as_of_along(run: Run) -> None:
    run.wait("events")
    before = run.one("SELECT min(as_of) FROM marts.freshness")
    until = time.monotonic() + 30
    while run.one("SELECT min(as_of) FROM marts.freshness") <= before:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert run.one("SELECT max(lag_seconds) FROM marts.freshness") < 30


def assigned(log: Path) -> list[dict[str, Any]]:
    """What a loader says of its assignments, oldest first."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"') and "partitions assigned" in line)
    return list(lines)


def test_a_killed_loader_loses_and_doubles_nothing(run: Run) -> None:
    """And who comes after it takes it out of the group, which would wait for it for a session (decision 19)."""
    run.wait("events")
    log, before = run.values.data / "reporting.loader.log", run.one("SELECT count() FROM marts.events")
    for prefix in ("b", "c"):
        study(run, prefix, 4, 10)
        deaths, shares = log.read_text().count(TOLD), len(assigned(log))
        run.end("reporting.loader", signal.SIGKILL)
        run.start("reporting.loader")
        until = time.monotonic() + 90
        while log.read_text().count(TOLD) == deaths or len(assigned(log)) == shares:
            assert time.monotonic() < until, run.logs()
            time.sleep(0.1)
    for relation in ("learner_progress", "events"):
        run.wait(relation)
    assert run.one("SELECT count() FROM marts.events") == before + 8 * 12
    assert "ClickHouse agrees" in reconcile(run)


def test_a_loader_whose_fellow_dies_goes_on(run: Run) -> None:
    """While both live, each has half of the partitions, so the watermarks that one holds back can't be settled. CI met it: the
    rebalance after the other's death waited for them for ever."""
    logs = [run.values.data / "reporting.loader.log", run.values.data / "second.log"]
    before = len(assigned(logs[0]))
    with open(logs[1], "ab") as log:
        environ = environment(run.values) | {"CHALK_LOADER_METRICS_PORT": "0"}
        second = subprocess.Popen([sys.executable, "-m", "services.reporting.loader"], cwd=ROOT, env=environ, stdout=log, stderr=log)
    until = time.monotonic() + 60
    while not (assigned(logs[1]) and len(assigned(logs[0])) > before):
        assert time.monotonic() < until, run.logs()
        time.sleep(0.2)
    study(run, "e", 4, 6)
    time.sleep(3)
    if assigned(logs[1])[-1]["watermarks"]:  # the one that holds watermarks is to live
        run.end("reporting.loader", signal.SIGKILL)
        run.running["reporting.loader"] = second
    else:
        second.kill()
        second.wait()
    run.wait("learner_progress")
    assert "ClickHouse agrees" in reconcile(run)


def test_the_loader_waits_out_a_clickhouse_that_dies(run: Run) -> None:
    until = time.monotonic() + 60
    while (pid := read_state(run.values.data.resolve())["processes"]["clickhouse"]["pid"]) is None:  # just being started again
        assert time.monotonic() < until
        time.sleep(0.2)
    child = run.running["reporting.loader"]
    subprocess.run(["kill", "-9", str(pid)], check=True)
    study(run, "d", 4, 6)
    run.wait("learner_progress")
    assert run.running["reporting.loader"] is child
    assert child.poll() is None
    assert "ClickHouse agrees" in reconcile(run)


def test_a_transaction_at_the_end_of_the_log_holds_nothing_up(run: Run) -> None:
    foreign = KafkaProducer(bootstrap_servers=run.values.bootstrap, transactional_id="foreign", acks="all", enable_idempotence=True)
    foreign.init_transactions()
    for commit in (True, False):
        foreign.begin_transaction()
        record = event("a-2", f"foreign-{commit}", "platform.visited", {}, "2023-06-20T00:00:00Z")
        partition = partition_of(b"a-2", 4)
        foreign.send("learning.activity", record, key=b"a-2", partition=partition)
        foreign.flush()
        if commit:
            foreign.commit_transaction()
        else:
            foreign.abort_transaction()
    foreign.close()
    assert "ClickHouse agrees" in reconcile(run)  # it waits for the end, markers and all
    assert run.one("SELECT groupArray(event_id) FROM marts.events WHERE event_id LIKE 'foreign-%'") == ["foreign-True"]


def test_reconcile_names_what_differs(run: Run) -> None:
    study(run, "f", 1, 4)
    run.wait("learner_progress")
    run.client.execute(
        "INSERT INTO store.progress SELECT * REPLACE (credited_seconds + 1 AS credited_seconds, version + 1 AS version)"
        " FROM store.progress FINAL WHERE learner_id = 'f-0'"
    )
    with pytest.raises(Failed, match=r"exit 1\n[^!]*1 learners differ") as failed:
        chalk(run.values, "reconcile", "--wait", "60", "--rounds", "2")
    assert "zhuozhou-2023 f-0: learner_progress.credited_seconds: recount" in str(failed.value)


def test_a_graceful_stop(run: Run) -> None:
    assert run.end("reporting.loader", signal.SIGTERM) == 0
