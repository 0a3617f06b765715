"""The door on a real broker: what is answered `accepted` lies in the log, and bad input is answered, never a hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, TopicPartition

from schemas.reading import Event, partition_of, read_record
from schemas.topics import load_topics
from services.shared.kafka import TopicMismatch, ensure_topics
from services.shared.settings import ROOT, Settings
from tests.integration.local_stack import chalk, environment, free_ports, local_stack

pytestmark = pytest.mark.servers

BATCH, ONE, LINES = "application/cloudevents-batch+json", "application/cloudevents+json", "application/x-ndjson"
CLOCK = "2023-06-15T08:00:00+08:00@0"
SOURCE = "/platforms/jijiaowang"


def event(name: str, subject: str = "t-1", **attributes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": name,
        "source": SOURCE,
        "type": "chalkstream.study.recorded.v1",
        "subject": subject,
        "time": "2023-06-05T20:31:07+08:00",
        "programme": "zhuozhou-2023",
        "data": {
            "course_id": "c-reading",
            "started_at": "2023-06-05T20:05:41+08:00",
            "ended_at": "2023-06-05T20:30:58+08:00",
            "channel": "online",
        },
    }
    return {**made, **attributes}


@dataclass
class Service:
    """A running door and a client that holds a token for it."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path

    def post(self, body: Any, media_type: str = BATCH) -> httpx.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return self.client.post("/v1/events", content=raw, headers={"Content-Type": media_type})


@contextmanager
def door(values: Settings, token: str, ready: bool = True, **more: str) -> Iterator[Service]:
    port = free_ports(1)[0]
    log = values.data / f"ingest-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.ingest"],
            cwd=ROOT,
            env=environment(values, CHALK_INGEST_PORT=str(port), CHALK_CLOCK=CLOCK, **more),
            stdout=out,
            stderr=out,
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, timeout=20)
    try:
        wait_for(client, "/readyz" if ready else "/healthz", process, log)
        yield Service(process, client, log)
    finally:
        client.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def wait_for(client: httpx.Client, path: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 40
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if client.get(path).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def stack() -> Iterator[Settings]:
    with local_stack() as values:
        yield values


@pytest.fixture(scope="module")
def token(stack: Settings) -> str:
    return chalk(stack, "tokens", "issue", "--source", SOURCE, "--programme", "zhuozhou-2023").strip()


@pytest.fixture(scope="module")
def service(stack: Settings, token: str) -> Iterator[Service]:
    with door(stack, token) as running:
        yield running


def records(values: Settings, topic: str) -> dict[int, list[Any]]:
    """Partition -> all records of a topic, as they lie there."""
    consumer = KafkaConsumer(bootstrap_servers=values.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        places = [TopicPartition(topic, number) for number in range(load_topics()[topic].partitions)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        found: dict[int, list[Any]] = {place.partition: [] for place in places}
        while any(consumer.position(place) < ends[place] for place in places):
            for place, batch in consumer.poll(timeout_ms=500).items():
                found[place.partition] += batch
        return found
    finally:
        consumer.close()


def test_good_items_pass_and_bad_ones_are_named(stack: Settings, service: Service) -> None:
    items = [event(f"good-{number}", f"t-{number % 40}", note=f"涿州 {number}") for number in range(500)]
    for number in range(0, 500, 25):
        items[number] = event(f"bad-{number}", data={**items[number]["data"], "channel": "tv", "score": 1})
    answer = service.post(items)
    body = answer.json()
    assert answer.status_code == 202
    assert (body["accepted"], body["duplicate"], body["rejected"]) == (480, 0, 20)
    assert [one["index"] for one in body["items"]] == list(range(500))
    for one in body["items"]:
        if one["index"] % 25:
            assert one == {"index": one["index"], "id": f"good-{one['index']}", "status": "accepted"}
        else:
            said = [(error["pointer"], error["code"]) for error in one["errors"]]
            assert said == [("/data/channel", "bad_format"), ("/data/score", "unknown_field")]

    log = records(stack, "learning.activity")
    mine = {name: record for part in log.values() for record in part if (name := json.loads(record.value)["id"]).startswith("good-")}
    assert len(mine) == 480
    assert not any(json.loads(record.value)["id"].startswith("bad-") for part in log.values() for record in part)
    for number in (1, 7, 499):
        record = mine[f"good-{number}"]
        received = json.dumps(items[number], ensure_ascii=False)
        assert record.value.decode() == received[:-1] + ',"ingested_at":"2023-06-15T00:00:00.000Z"}'
        assert record.key == items[number]["subject"].encode()
        assert record.partition == partition_of(record.key, 4)
        assert record.timestamp == 1_686_787_200_000
        assert isinstance(read_record(record.key, record.value, record.timestamp, record.partition, 4), Event)
    assert body["applied"] == {f"learning.activity:{part}": found[-1].offset + 1 for part, found in log.items() if found}


def test_repeats_are_duplicates_and_are_not_stored_again(stack: Settings, service: Service) -> None:
    one = event("again", "t-again")
    same = {**one, "time": "2023-06-05T12:31:07.0001Z", "data": {**one["data"], "session_id": None}, "traceparent": "other"}
    other = event("again", "t-again", time="2023-06-05T20:31:08+08:00")
    body = service.post([one, same, other]).json()
    assert [item["status"] for item in body["items"]] == ["accepted", "duplicate", "accepted"]
    answer = service.post(same, ONE)
    assert answer.status_code == 202
    assert answer.json()["duplicate"] == 1
    assert answer.json()["applied"] == {}
    assert sum(record.key == b"t-again" for part in records(stack, "learning.activity").values() for record in part) == 2


def test_lines(service: Service) -> None:
    lines = [
        json.dumps(event("line-1")).encode(),
        b"",
        b" \t\r",
        b"\xff",
        b"{",
        b"[]",
        b"[" * 70 + b"]" * 70,
        json.dumps(event("line-2")).encode(),
    ]
    body = service.post(b"\r\n".join(lines), LINES).json()
    assert (body["accepted"], body["rejected"]) == (2, 4)
    assert [item["id"] for item in body["items"]] == ["line-1", None, None, None, None, "line-2"]
    assert {(error["pointer"], error["code"]) for item in body["items"] for error in item.get("errors", [])} == {("", "not_json")}


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"", BATCH, 400),
        (b"\xff\xfe", BATCH, 400),
        (b"[NaN]", BATCH, 400),
        (b"{}", BATCH, 400),
        (b"[]", ONE, 400),
        (b"[" * 5000 + b"]" * 5000, BATCH, 400),
        (b'{"a":' * 100_000, ONE, 400),
        (b"[]", "text/plain", 415),
        (b"[]", "application/json", 415),
        (b"[" + b" " * (8 * 1024 * 1024) + b"]", BATCH, 413),
        (b"[" + b",".join([b"1"] * 10_001) + b"]", BATCH, 413),
        (b"[" + b"1" * 5000 + b"]", BATCH, 422),
        (b"[]", BATCH + "; charset=utf-8", 202),
        (b"\n\n", LINES, 202),
    ],
)  # fmt: skip
def test_whole_bodies(service: Service, body: bytes, media_type: str, status: int) -> None:
    answer = service.post(body, media_type)
    assert answer.status_code == status
    problem = answer.headers["content-type"] == "application/problem+json"
    assert problem == (status not in (202, 422))
    if problem:
        assert set(answer.json()) == {"type", "title", "status", "detail"}


def test_one_too_large(service: Service) -> None:
    answer = service.post([event("large", pad="x" * 66_000), event("small")])
    assert answer.status_code == 202
    assert [item.get("errors", [{}])[0].get("code") for item in answer.json()["items"]] == ["too_large", None]
    assert service.post(event("large", pad="x" * 66_000), ONE).status_code == 422


def test_the_doors_own_rules(service: Service) -> None:
    study = event("rules")["data"]
    cases: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
        ({"time": "2023-06-15T08:05:00.001+08:00"}, [("/time", "in_future")]),
        ({"time": "2023-05-19T23:59:59.999+08:00"}, [("/time", "too_early")]),
        ({"time": "2100-01-01T00:00:00Z"}, [("/time", "out_of_range")]),
        ({"source": "/else"}, [("/source", "not_allowed")]),
        ({"programme": "else"}, [("/programme", "not_allowed"), ("/programme", "unknown_programme")]),
        ({"data": {**study, "course_id": "c-none"}}, [("/data/course_id", "unknown_course")]),
        ({"data": {**study, "ended_at": "2023-06-05T21:05:41+08:00"}}, [("/data/ended_at", "too_long")]),
        (
            {"data": {**study, "started_at": "2023-06-15T08:00:00+08:00", "ended_at": "2023-06-15T08:05:01+08:00"}},
            [("/data/ended_at", "in_future")],
        ),
        (
            {"data": {**study, "started_at": "2023-05-19T23:50:00+08:00", "ended_at": "2023-05-20T00:10:00+08:00"}},
            [("/data/started_at", "too_early")],
        ),
        (
            {"data": {**study, "ended_at": "2023-06-05T20:05:41.9+08:00"}, "time": "x"},
            [("/data/ended_at", "empty_interval"), ("/time", "bad_format")],
        ),
        (
            {
                "type": "chalkstream.exam.marked.v1",
                "data": {"course_id": "c-reading", "attempt_id": "a", "form": "paper", "score": 2, "sat_at": "2023-06-05T20:36:08+08:00"},
            },
            [("/data/sat_at", "in_future"), ("/data/score", "out_of_range")],
        ),
        (
            {"type": "chalkstream.work.published.v1", "data": {"work_id": "w", "kind": "lesson_design", "activity_id": "none"}},
            [("/data/activity_id", "unknown_activity")],
        ),
        (
            {"type": "chalkstream.staff.assigned.v1", "data": {"staff_id": "t-1", "role": "tutor", "unit_id": "u"}},
            [("/type", "not_allowed")],
        ),
    ]
    answer = service.post([event(f"rules-{number}", **attributes) for number, (attributes, _) in enumerate(cases)])
    assert answer.status_code == 422
    said = [[(error["pointer"], error["code"]) for error in item["errors"]] for item in answer.json()["items"]]
    assert said == [codes for _, codes in cases]


def test_tokens(stack: Settings, service: Service) -> None:
    url = str(service.client.base_url) + "/v1/events"
    headers = {"Content-Type": BATCH}
    nobody = httpx.post(url, content=b"[]", headers=headers)
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert httpx.post(url, content=b"[]", headers={**headers, "Authorization": "Bearer no"}).status_code == 401
    reader = chalk(stack, "tokens", "issue", "--reporting", "--unit", "zz", "--role", "reminders").strip()
    assert httpx.post(url, content=b"[]", headers={**headers, "Authorization": f"Bearer {reader}"}).status_code == 403

    writer = chalk(stack, "tokens", "issue", "--source", "*", "--directory").strip()
    unit = event("unit-1", "hebei", type="chalkstream.unit.declared.v1", data={"unit_id": "hebei", "level": "province", "name": "河北"})
    del unit["programme"]
    with_writer = {**headers, "Authorization": f"Bearer {writer}"}
    body = httpx.post(url, content=json.dumps([unit, event("x")]).encode(), headers=with_writer).json()
    assert [item["status"] for item in body["items"]] == ["accepted", "rejected"]
    assert body["items"][1]["errors"][0]["pointer"] == "/programme"
    assert list(body["applied"]) == ["organisation.directory:0"]
    assert [record.key for record in records(stack, "organisation.directory")[0]] == [b"hebei"]

    assert writer not in chalk(stack, "tokens", "list")
    ids = {line.split("│")[1].strip() for line in chalk(stack, "tokens", "list").splitlines() if "directory" in line or "sources *" in line}
    chalk(stack, "tokens", "revoke", next(name for name in ids if name))
    time.sleep(1.2)
    assert httpx.post(url, content=b"[]", headers=with_writer).status_code == 401
    assert writer.encode() not in (stack.data / "tokens.db").read_bytes()


def test_pages(service: Service) -> None:
    assert service.client.get("/healthz").status_code == 200
    assert "chalk_ingest_items_total" in service.client.get("/metrics").text
    page = service.client.get("/openapi.json").json()
    content = page["paths"]["/v1/events"]["post"]["requestBody"]["content"]
    assert set(content) == {ONE, BATCH, LINES}
    assert len(page["components"]["schemas"]["Event"]["oneOf"]) == 27
    docs = service.client.get("/docs")
    assert docs.status_code == 200
    assert "http" not in docs.text
    assert service.client.get("/nowhere").headers["content-type"] == "application/problem+json"
    assert service.client.get("/healthz", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    traced = service.client.get("/healthz", headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    assert traced.headers["x-request-id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_what_was_accepted_survives_kill_9(stack: Settings, token: str) -> None:
    accepted: list[str] = []
    with door(stack, token) as running:

        def send(worker: int) -> None:
            for number in range(10_000):
                names = [f"kill-{worker}-{number}-{index}" for index in range(20)]
                try:
                    answer = running.client.post(
                        "/v1/events",
                        content=json.dumps([event(name, f"t-{name}") for name in names]).encode(),
                        headers={"Content-Type": BATCH},
                    )
                except httpx.TransportError:
                    return
                if answer.status_code == 202:
                    accepted.extend(names)

        threads = [threading.Thread(target=send, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        running.process.kill()
        running.process.wait()
        for thread in threads:
            thread.join()
    assert len(accepted) > 100
    stored = {json.loads(record.value)["id"] for part in records(stack, "learning.activity").values() for record in part}
    assert set(accepted) <= stored


def test_a_broker_that_stands_still_is_a_503_at_once(stack: Settings, token: str) -> None:
    broker = broker_pid(stack)
    with door(stack, token) as running:
        assert running.post([event("still-0")]).status_code == 202
        os.kill(broker, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            first = running.post([event("still-1")])
            assert first.status_code == 503
            assert int(first.headers["retry-after"]) >= 1
            assert time.monotonic() - begun < 4
            for number in range(5):
                begun = time.monotonic()
                assert running.post([event(f"still-2-{number}")]).status_code == 503
                assert time.monotonic() - begun < 0.5
            assert running.client.get("/readyz").status_code == 503
            assert running.client.get("/healthz").status_code == 200
        finally:
            os.kill(broker, signal.SIGCONT)
        end = time.monotonic() + 15
        while (status := running.post([event("still-1"), event("still-3")]).status_code) != 202:
            assert status == 503
            assert time.monotonic() < end
            time.sleep(0.1)
    stored = {json.loads(record.value)["id"] for part in records(stack, "learning.activity").values() for record in part}
    assert {"still-0", "still-1", "still-3"} <= stored


def broker_pid(values: Settings) -> int:
    """The stack's broker: the process that listens on its port."""
    wanted = f"{values.kafka_port:04X}"
    inodes = {
        fields[9]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A" and fields[1].endswith(":" + wanted)
    }
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if any(os.readlink(link) in {f"socket:[{inode}]" for inode in inodes} for link in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:
            continue
    raise AssertionError("no broker listens")


def test_without_a_broker_the_door_starts_and_says_so(stack: Settings, token: str) -> None:
    with door(stack, token, ready=False, CHALK_KAFKA_BOOTSTRAP=f"127.0.0.1:{free_ports(1)[0]}") as running:
        assert running.client.get("/readyz").status_code == 503
        answer = running.post([event("nowhere")])
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        begun = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(15) in (0, -signal.SIGTERM)
        assert time.monotonic() - begun < 12


def test_topics_are_made_once_and_never_resized(stack: Settings) -> None:
    topics = {name: topic.model_copy(update={"name": f"race.{name}"}) for name, topic in load_topics().items()}
    racing = {topic.name: topic for topic in topics.values()}
    failures: list[BaseException] = []

    def start() -> None:
        try:
            ensure_topics(stack.bootstrap, racing, 1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    wrong = {"race.learning.days": racing["race.learning.days"].model_copy(update={"partitions": 8})}
    with pytest.raises(TopicMismatch, match="has 4 partitions"):
        ensure_topics(stack.bootstrap, wrong, 1)
