"""`python -m tests.rules_diff_demo --data .chalk/demo`: `chalk rules diff` on a running demo, against the independent reference.

For each change of a rule file below the command is run as people run it, the same stretch of the log is read again by a consumer
of this tool, and the reference works everybody out under both files. Exits 1 unless every learner and every change agrees, and
every rule file changes somebody.

A demo's teachers are seldom just under the gate. `--stir 200` first writes facts into that demo's log, as a platform would: a later
grade for some of their assignments, so that 200 of them come to have between 29.5 and 32.5 points there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from schemas.instants import rfc3339
from schemas.reading import Event, partition_of, read_activity
from services.shared.clock import parse_clock
from services.shared.kafka import make_producer
from tests.properties.reference import Learner, read_rules
from tests.rules_reference import Rows, events_of, expected_changes, said_changes, states

ROOT = Path(__file__).resolve().parents[1]
TOPIC = "learning.activity"
PLAN_A, PLAN_B = "guopei-shaanxi-2023", "zhuozhou-2023"
CHANGES = [
    (PLAN_B, "at_least: 32}", "at_least: 30}"),
    (PLAN_B, "at_least: 32}", "at_least: 36}"),
    (PLAN_B, "pass: {total_at_least: 60}", "pass: {total_at_least: 75}"),
    (PLAN_B, "inactive: {notice_days: 3, warning_days: 7", "inactive: {notice_days: 5, warning_days: 6"),
    (PLAN_A, "daily_cap_minutes: 480", "daily_cap_minutes: 45"),
    (PLAN_A, "credited_hours: 60", "credited_hours: 5"),
]
Values = list[bytes]


def environment(data: Path) -> dict[str, str]:
    """What a demo left in its folder for people to source."""
    lines = (data / "env").read_text().splitlines()
    return dict(word.split("=", 1) for line in lines for word in shlex.split(line) if "=" in word)


def sound_values(bootstrap: str, ends: Mapping[str, int]) -> Values:
    """Values of the sound records below the given offsets (`topic:partition` -> next offset)."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False)
    tps = {TopicPartition(TOPIC, int(place.rpartition(":")[2])): end for place, end in ends.items()}
    consumer.assign(list(tps))
    consumer.seek_to_beginning()
    found: Values = []
    while any(consumer.position(tp) < end for tp, end in tps.items()):
        for tp, records in consumer.poll(timeout_ms=500, max_records=10_000).items():
            for one in records:
                if one.offset < tps[tp] and isinstance(read_activity(one.key, one.value, one.timestamp, tp.partition, len(tps)), Event):
                    found.append(one.value)
    consumer.close()
    return found


def log_ends(bootstrap: str) -> dict[str, int]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    consumer.topics()
    tps = [TopicPartition(TOPIC, number) for number in sorted(consumer.partitions_for_topic(TOPIC) or ())]
    ends = {f"{tp.topic}:{tp.partition}": end for tp, end in consumer.end_offsets(tps).items()}
    consumer.close()
    return ends


def stir(bootstrap: str, text: str, count: int, now_ms: int) -> int:
    """Regrade assignments so that `count` courses come between 29.5 and 32.5 in the gate. Returns how many were found for it."""
    rules, chance, partitions = read_rules(text), random.Random(32), len(log_ends(bootstrap))
    producer = make_producer(bootstrap, "chalk-test-stir")
    done = 0
    for learner_id, events in events_of(sound_values(bootstrap, log_ends(bootstrap)), PLAN_B).items():
        for course, grades in _near(Learner(rules, events).at(now_ms), events):
            target = chance.choice([29.5, 29.99, 30, 30.01, 30.5, 31, 31.5, 31.99, 32, 32.01, 32.5])
            for event in _regrades(learner_id, course, grades, target, now_ms):
                key = learner_id.encode()
                while producer.partitions_for(TOPIC) is None:
                    time.sleep(0.1)
                producer.send(TOPIC, key=key, value=json.dumps(event).encode(), partition=partition_of(key, partitions))
            done += 1
            if done == count:
                producer.flush()
                producer.close()
                return done
    producer.flush()
    producer.close()
    return done


def _near(state: Mapping[str, Any], events: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, float]]]:
    """(course, {assignment: wanted part of the gate so far}) of the courses whose grades alone decide about the gate."""
    graded: dict[str, set[str]] = {}
    for event in events:
        if event["type"] == "chalkstream.assignment.graded.v1":
            graded.setdefault(event["data"]["course_id"], set()).add(event["data"]["assignment_id"])
    for course, row in state["courses"].items():
        studied = state["progress"]["mode"] == "online" and row["study_points"] == 15 and 5 <= row["interaction_points"] <= 10
        if studied and len(graded.get(course, ())) >= 2:
            yield course, dict.fromkeys(sorted(graded[course]), float(row["interaction_points"]))


def _regrades(learner_id: str, course: str, grades: Mapping[str, float], target: float, now_ms: int) -> Iterator[dict[str, Any]]:
    missing = max(0.0, target - 15 - next(iter(grades.values()))) / 7.5
    for number, assignment in enumerate(grades):
        score = round(max(0.0, min(1.0, missing - number)), 4) if number < 2 else 0.0
        at = rfc3339(now_ms - 60_000)
        yield {
            "specversion": "1.0", "id": f"stir-{learner_id}-{assignment}", "source": "/platforms/stir",
            "type": "chalkstream.assignment.graded.v1", "subject": learner_id, "time": at, "programme": PLAN_B, "ingested_at": at,
            "data": {"course_id": course, "assignment_id": assignment, "score": score, "grader_id": "stir"},
        }  # fmt: skip


def run(data: Path, count: int) -> bool:
    """Whether all agree."""
    given = environment(data)
    env = os.environ | given
    bootstrap = given.get("CHALK_KAFKA_BOOTSTRAP") or f"127.0.0.1:{given['CHALK_KAFKA_PORT']}"
    clock = parse_clock(given["CHALK_CLOCK"])
    folder = Path(given["CHALK_PROGRAMMES"])
    texts = {one: (folder / f"{one}.yaml").read_text("utf-8") for one in (PLAN_A, PLAN_B)}
    if count:
        print(f"stirred {stir(bootstrap, texts[PLAN_B], count, clock.now())} courses towards the gate", flush=True)
    good = True
    known: dict[str, tuple[Mapping[str, int], int, dict[str, Rows]]] = {}
    for programme, old, new in CHANGES:
        text = texts[programme].replace(old, new)
        assert text != texts[programme], old
        ends, now_ms, before = known.get(programme, (None, clock.now(), {}))
        began = time.monotonic()
        report = _diff(env, text, rfc3339(now_ms))
        seconds = time.monotonic() - began
        events = events_of(sound_values(bootstrap, report["log"]), programme)
        if report["log"] != ends:  # the demo goes on meanwhile
            before = states(texts[programme], events, now_ms)
            known[programme] = report["log"], now_ms, before
        expected, said = expected_changes(before, states(text, events, now_ms)), said_changes(report)
        agree = said == expected and report["summary"]["learners"] == len(events)
        good = good and agree and bool(said)  # a change that changes nobody checks nothing
        number = sum(map(len, said.values()))
        print(
            f"{programme}: {old} -> {new}: {report['summary']['records']:,} records, {len(events):,} learners, {len(said):,} named by the"
            f" command ({report['summary']['results_changed']:,} with another result, {number:,} changes), {len(expected):,} by the"
            f" reference: {'agree' if agree else 'DIFFER'}; the command took {seconds:.1f} s",
            flush=True,
        )
        for learner in sorted({one for one in said.keys() | expected.keys() if said.get(one) != expected.get(one)})[:5]:
            print(f"  {learner}: said {said.get(learner)}, expected {expected.get(learner)}")
    return good


def _diff(env: Mapping[str, str], text: str, at: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.yaml"
        path.write_text(text, "utf-8")
        command = [sys.executable, "-m", "services.cli", "rules", "diff", str(path), "--json", "--limit", "0", "--clock", at]
        return json.loads(subprocess.run(command, cwd=ROOT, env=dict(env), check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT / ".chalk" / "demo", help="folder of the running demo, the one that has `env`")
    parser.add_argument("--stir", type=int, default=0, help="courses to bring around the gate first, by facts written to the demo's log")
    chosen = parser.parse_args()
    sys.exit(0 if run(chosen.data, chosen.stir) else 1)
