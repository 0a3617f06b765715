"""Apache Kafka on one machine: one process that is both broker and KRaft controller, from jars, loopback only."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from deploy.local import processes
from deploy.local.supervisor import Process

JARS = Path(__file__).with_name("jars")  # a link into the per-user cache, made by deploy/setup.py


def properties(folder: Path, log_dir: Path, port: int, controller_port: int) -> str:
    """server.properties. The quorum is named statically, so moving the ports of a kept folder is only a restart."""
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": log_dir,
        "metadata.log.dir": log_dir,
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "message.max.bytes": 2 * 1024 * 1024,
        "log.retention.ms": -1,
        "log.retention.bytes": -1,
        "log.cleaner.dedupe.buffer.size": 32 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.recovery.threads.per.data.dir": 2,
        # A broker that was killed is let in again only when its last session has run out (9 s by default).
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def command(main: str, *arguments: str, scratch: Path, heap: str = "512m") -> list[str]:
    """A JVM that runs one of Kafka's main classes and writes nothing outside `scratch` and what it is configured with."""
    return [
        "java",
        f"-Xms{heap}",
        f"-Xmx{heap}",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",  # a file in /tmp, whatever the temporary folder is
        f"-Djava.io.tmpdir={scratch}",
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
        "-Dorg.slf4j.simpleLogger.showThreadName=false",
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
        "-cp",
        f"{JARS}/*",
        main,
        *arguments,
    ]


def process(folder: Path, port: int, controller_port: int) -> Process:
    """The broker as a process to supervise; its data lie in `folder`/kafka. Ready when it serves its clients."""
    home = folder / "kafka"
    config = folder / "run" / "kafka.properties"

    scratch = folder / "run" / "tmp"

    def prepare() -> None:
        shutil.rmtree(scratch, ignore_errors=True)  # native libraries that a killed broker had unpacked
        scratch.mkdir(parents=True)
        config.write_text(properties(folder, home, port, controller_port))
        if not (home / "meta.properties").exists():
            _format(folder, home, port, controller_port)

    # The broker says this line only when it has been unfenced; its port is open some time before that.
    return Process(
        "kafka",
        command("kafka.Kafka", str(config), scratch=scratch),
        ready=lambda text: "Kafka Server started" in text and processes.tcp("127.0.0.1", port)(text),
        before=prepare,
        stop_seconds=30.0,
    )


def _format(folder: Path, home: Path, port: int, controller_port: int) -> None:
    """Make a new, empty cluster. It is made aside and moved into place, so a kill half-way leaves nothing that looks finished."""
    if home.exists() and any(home.iterdir()):
        raise RuntimeError(f"{home} has files but no meta.properties: not a folder of Kafka's. Look at it, or `chalk stack reset`")
    new = folder / "kafka.new"
    shutil.rmtree(new, ignore_errors=True)
    config = folder / "run" / "kafka-format.properties"
    config.write_text(properties(folder, new, port, controller_port))
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    argv = command("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config), scratch=folder / "run" / "tmp", heap="64m")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"Kafka's storage could not be formatted: {(done.stderr or done.stdout).strip()[-2000:]}")
    if home.exists():
        home.rmdir()
    new.rename(home)
