"""`chalk stack` on the real servers: up, down, what a kill -9 leaves, ports that are taken. Nothing acknowledged is ever lost."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_driver import Client
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from deploy.local import processes
from deploy.local.supervisor import Busy, NotReady, Process, Supervisor, is_held, read_state
from services.shared.settings import ROOT, Settings
from tests.conftest import environment, own_settings

pytestmark = pytest.mark.servers


def chalk(values: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "services.cli", "stack", *words]
    return subprocess.run(argv, cwd=ROOT, env=environment(values), capture_output=True, text=True, timeout=150)


def up(values: Settings) -> None:
    """4 s on an idle machine of two cores; how long on one that is busy with other tests is not this test's business."""
    done = chalk(values, "up", "--seconds", "120")
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stack of this module's own, with a topic and a table."""
    values = own_settings(tmp_path_factory.mktemp("own"))
    try:
        up(values)
        admin = KafkaAdminClient(bootstrap_servers=values.bootstrap)
        admin.create_topics([NewTopic("kept", 2, 1)])
        admin.close()
        clickhouse(values, "CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
        yield values
    finally:
        chalk(values, "down")
        shutil.rmtree(values.data, ignore_errors=True)


def clickhouse(values: Settings, sql: str, user: str = "default") -> list[tuple[object, ...]]:
    client = Client("127.0.0.1", port=values.clickhouse_port, user=user)
    try:
        rows: list[tuple[object, ...]] = client.execute(sql)
        return rows
    finally:
        client.disconnect()


def write(values: Settings, first: int, count: int) -> set[int]:
    """Records and rows with the numbers from `first` on; returns those that both servers acknowledged."""
    producer = KafkaProducer(bootstrap_servers=values.bootstrap, acks="all")
    sent = [producer.send("kept", str(n).encode(), partition=n % 2) for n in range(first, first + count)]
    for one in sent:
        one.get(timeout=20)
    producer.close()
    clickhouse(values, f"INSERT INTO kept SELECT {first} + number FROM numbers({count})")
    return set(range(first, first + count))


def in_kafka(values: Settings) -> set[int]:
    consumer = KafkaConsumer(bootstrap_servers=values.bootstrap, group_id=None)
    try:
        parts = [TopicPartition("kept", 0), TopicPartition("kept", 1)]
        consumer.assign(parts)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(parts)
        found: set[int] = set()
        deadline = time.monotonic() + 20
        while any(consumer.position(part) < end for part, end in ends.items()) and time.monotonic() < deadline:
            for records in consumer.poll(500).values():
                found |= {int(record.value) for record in records}
        return found
    finally:
        consumer.close()


def in_clickhouse(values: Settings) -> set[int]:
    return {int(str(n)) for (n,) in clickhouse(values, "SELECT n FROM kept")}


def restarts(values: Settings, name: str) -> int:
    return int(read_state(values.data)["processes"][name]["restarts"])


@pytest.mark.parametrize("victim", ["kafka", "clickhouse", "supervisor", "all"])
def test_kill_9_loses_nothing_that_was_acknowledged(own: Settings, victim: str) -> None:
    up(own)
    before = in_kafka(own) | in_clickhouse(own)
    kept = before | write(own, max(before, default=0) + 1, 500)
    state = read_state(own.data)
    pids = {name: one["pid"] for name, one in state["processes"].items()} | {"supervisor": state["supervisor"]["pid"]}
    for pid in pids.values() if victim == "all" else [pids[victim]]:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while victim in ("all", "supervisor") and processes.marked(own.data.resolve()):
        assert time.monotonic() < deadline, "children outlived their supervisor"
        time.sleep(0.05)
    while victim in ("kafka", "clickhouse") and restarts(own, victim) == state["processes"][victim]["restarts"]:
        assert time.monotonic() < deadline, f"{victim} was not started again"
        time.sleep(0.05)
    up(own)
    assert chalk(own, "status").returncode == 0
    assert in_kafka(own) == kept
    assert in_clickhouse(own) == kept
    write(own, max(kept) + 1, 10)


def test_down_and_up_again_keep_everything_and_moving_the_ports_is_only_a_restart(own: Settings) -> None:
    up(own)
    before = in_kafka(own)
    kept = before | write(own, max(before, default=0) + 1, 50)
    assert chalk(own, "down").returncode == 0
    assert not is_held(own.data)
    assert processes.marked(own.data.resolve()) == []
    assert chalk(own, "status").returncode == 1
    moved = own_settings(own.data)
    try:
        up(moved)
        assert in_kafka(moved) == kept
        assert in_clickhouse(moved) >= kept - before
    finally:
        assert chalk(moved, "down").returncode == 0
        up(own)


def test_up_twice_is_up_once_and_listens_on_loopback_only(own: Settings) -> None:
    up(own)
    again = chalk(own, "up")
    assert again.returncode == 0
    assert "running already" in again.stdout
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(port, 16) in (own.kafka_port, own.clickhouse_port, own.clickhouse_http_port):
                listening.add(address)
    assert listening <= {"0100007F", "0000000000000000FFFF00000100007F"}, listening


def test_a_running_stack_is_not_reset(own: Settings) -> None:
    up(own)
    refused = chalk(own, "reset")
    assert refused.returncode == 1
    assert "down" in refused.stderr


def test_a_port_that_is_taken_is_named_with_its_holder_and_its_setting(tmp_path: Path) -> None:
    values = own_settings(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", values.clickhouse_http_port))
        other.listen()
        failed = chalk(values, "up")
    assert failed.returncode == 1
    assert f"port {values.clickhouse_http_port} (CHALK_CLICKHOUSE_HTTP_PORT) is not free" in failed.stderr
    assert f"process {os.getpid()}" in failed.stderr
    assert not is_held(tmp_path)


def test_analysts_read_marts_and_nothing_else(own: Settings) -> None:
    up(own)
    clickhouse(own, "CREATE DATABASE IF NOT EXISTS marts")
    clickhouse(own, "CREATE OR REPLACE VIEW marts.numbers AS SELECT count() AS n FROM default.kept")
    assert clickhouse(own, "SELECT n >= 0 FROM marts.numbers", "analyst") == [(1,)]
    outside = "SELECT * FROM file('/etc/hostname', 'LineAsString')"
    for forbidden in ("SELECT * FROM default.kept", "INSERT INTO default.kept VALUES (0)", outside):
        with pytest.raises(Exception, match="Not enough privileges"):
            clickhouse(own, forbidden, "analyst")


def test_reset_deletes_the_data(tmp_path: Path) -> None:
    values = own_settings(tmp_path)
    for name in ("kafka", "clickhouse", "run", "logs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "mine.txt").write_text("kept")
    assert chalk(values, "reset").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# -- the supervisor by itself


def test_a_process_that_dies_is_started_again_with_its_workers_gone(tmp_path: Path) -> None:
    script = "import os, subprocess, time; subprocess.Popen(['sleep', '300']); print('up', flush=True); time.sleep(300)"
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(Process("one", [sys.executable, "-c", script], ready=processes.logged("up")))
        first = supervisor.pid("one")
        assert first
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while supervisor.pid("one") in (first, None) or len(processes.marked(tmp_path)) != 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert supervisor.log("one").read_text().count("up") >= 1
        with pytest.raises(Busy, match=str(os.getpid())), Supervisor(tmp_path):
            pass
    assert processes.marked(tmp_path) == []


def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        with pytest.raises(NotReady, match=r"no-such-program: No such file"):
            supervisor.start(Process("one", ["no-such-program"], ready=processes.logged("up")))
        with pytest.raises(NotReady, match=r"not ready within 0\.3 s"):
            supervisor.start(Process("two", ["sleep", "60"], ready=processes.logged("up"), ready_seconds=0.3))


def test_processes_stop_in_reverse_order_and_a_deaf_one_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time; signal.signal(15, lambda *a: (open(sys.argv[1], 'a').write(sys.argv[2]), sys.exit()));"
        "print('up', flush=True); time.sleep(60)"
    )
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    order = tmp_path / "order"
    with Supervisor(tmp_path) as supervisor:
        for name in "ab":
            supervisor.start(Process(name, [sys.executable, "-c", script, str(order), name], ready=processes.logged("up")))
        supervisor.start(Process("deaf", [sys.executable, "-c", deaf], ready=processes.logged("up"), stop_seconds=0.3))
    assert order.read_text() == "ba"
    assert processes.marked(tmp_path) == []
