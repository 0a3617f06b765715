"""The peers, run on the filled log with packages of their own, and their answers checked."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from deploy.setup import COPY, cached, key, peers, run
from services.shared.settings import ROOT
from tests.bench.engine.mix import Mix
from tests.bench.engine.ours import Run
from tests.bench.engine.stage import ACTIVITY, PARTITIONS, Stage

STOCK = "stock faust, table in RocksDB"
RAW = "raw confluent-kafka loop, nothing kept"
JAVA = "Kafka Streams, row a learner and course, 2 threads"
PEERS = {
    RAW: "raw",
    "raw confluent-kafka loop, changelog": "raw",
    "quixstreams, state in RocksDB": "quix",
    STOCK: "faust_stock",
}
MOST_STOCK = 60_000
"""Stock faust is measured on so many of the events: it would take minutes for all."""
SOURCE = Path(__file__).with_name("java")


def command(engine: str) -> tuple[list[str], dict[str, str]]:
    """What to start a peer with, and its environment; fetches what it needs where that is not there yet."""
    if engine == JAVA:
        pom = SOURCE / "pom.xml"
        jars = cached(
            f"streams-{key(pom.read_bytes())}",
            lambda folder: run("mvn", "-q", "-B", "-f", pom, COPY, f"-DoutputDirectory={folder}", "-DincludeScope=runtime"),
        )
        return ["java", "-Xmx1g", "-XX:-UsePerfData", "-cp", f"{jars}/*", str(SOURCE / "Streams.java")], dict(os.environ)
    python, site = peers()
    return [python, "-m", f"tests.bench.engine.peers.{PEERS[engine]}"], {**os.environ, "PYTHONPATH": f"{site}:{ROOT}"}


def peer(engine: str, stage: Stage, mix: Mix, turn: int) -> Run:
    """Run one peer on the filled log and check what it says. Raises RuntimeError with its output where it gives no answer."""
    argv, env = command(engine)
    name = f"bench-{PEERS.get(engine, 'java')}-{'changelog-' if 'changelog' in engine else ''}{turn}"
    events = min(len(mix.lines), MOST_STOCK) if engine == STOCK else len(mix.lines)
    folder, answer = stage.folder / "peers" / name, stage.folder / "peers" / f"{name}.json"
    folder.mkdir(parents=True)
    task = {
        "bootstrap": stage.values.bootstrap, "topic": ACTIVITY, "partitions": PARTITIONS, "events": events,
        "folder": str(folder), "name": name, "answer": str(answer),
    }  # fmt: skip
    done = subprocess.run(
        [*argv, json.dumps(task)], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900
    )
    if not answer.exists():
        raise RuntimeError(f"{engine} ended with status {done.returncode} and no answer:\n{done.stdout[-3000:]}")
    found = json.loads(answer.read_text())
    truth = mix.seconds(found["handled"])
    right = sum(found["handled"]) == events and found["totals"] == truth and found["kept"] in (None, truth)
    said = f"{len(truth):,} sums" + ("" if found["kept"] is None else "; its changelog")
    return Run(
        engine, events, found["seconds"], found["cpu"], found["peak_mib"], right, said if right else f"wrong: {_differ(found, truth)}"
    )


def _differ(found: dict[str, dict[str, list[int]]], truth: dict[str, list[int]]) -> str:
    parts = {"handled": found["handled"]}
    for name in ("totals", "kept"):
        rows = found[name] or {}
        parts[name] = {
            key: (rows.get(key), truth.get(key)) for key in sorted(rows.keys() | truth.keys()) if rows.get(key) != truth.get(key)
        }
    return str(parts)[:300]
