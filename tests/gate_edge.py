"""Learners of plan B around the gate of 32 points: from 29.5 to 33 in the gate, with exams sat before it was met."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from schemas.reading import partition_of

PROGRAMME = "zhuozhou-2023"
NOW = "2023-12-20T12:00:00+08:00"
PARTITIONS = 4
COURSES = ("c-reading", "c-ict", "c-maths")


def records(seed: int, learners: int) -> list[tuple[bytes, bytes]]:
    """Keys and values for `learning.activity`, shuffled; some come twice, some are garbage, some of another programme."""
    chance = random.Random(seed)
    rows = []
    for number in range(learners):
        learner = f"edge-{number:04d}"
        for index, (kind, at, data) in enumerate(_life(chance)):
            programme = "guopei-shaanxi-2023" if chance.random() < 0.1 and kind == "platform.visited" else PROGRAMME
            rows.append((learner.encode(), _record(f"{learner}-{index}", kind, learner, at, data, programme)))
    rows += chance.sample(rows, len(rows) // 20)
    rows += [(f"edge-{number:04d}".encode(), b"\xffgarbage") for number in range(0, learners, 29)]
    chance.shuffle(rows)
    return rows


def partition(key: bytes) -> int:
    return partition_of(key, PARTITIONS)


def _record(name: str, kind: str, learner: str, at: str, data: dict[str, object], programme: str) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0", "id": name, "source": "/platforms/edge", "type": f"chalkstream.{kind}.v1", "subject": learner,
            "time": at, "programme": programme, "data": data, "ingested_at": "2023-12-20T04:00:00.000Z",
        }
    ).encode()  # fmt: skip


def _at(month: int, day: int, hour: int = 9, minute: int = 0) -> str:
    return f"2023-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:00+08:00"


Said = Iterator[tuple[str, str, dict[str, object]]]


def _life(chance: random.Random) -> Said:
    year, gender = chance.choice([(1985, "female"), (1985, "male"), (1970, "male"), (1980, "female")])
    yield "learner.enrolled", _at(5, 21), {"class_id": "edge-class", "birth_year": year, "gender": gender}
    yield "learner.registered", _at(5, 25), {"class_id": "edge-class"}
    yield "platform.visited", _at(12, chance.randrange(1, 20)), {}
    if chance.random() < 0.05:
        yield "learner.withdrawn", _at(11, 3), {}
    if chance.random() < 0.15:
        yield "plagiarism.ruled", _at(12, 1), {"case_id": "k1", "submission_id": "s1", "verdict": chance.choice(["suspected", "confirmed"])}
    for number, course in enumerate(chance.sample(COURSES, chance.choice([1, 1, 2]))):
        yield from _course(chance, course, month=6 + 2 * number)


def _course(chance: random.Random, course: str, month: int) -> Said:
    of = {"course_id": course}
    yield "course.selected", _at(6, 1), {**of}
    for day in (3, 4) if chance.random() < 0.9 else (3,):  # two days of eight hours are the 16 hours of the study item
        stretch = {"started_at": _at(month, day, 9), "ended_at": _at(month, day, 17), "channel": "live"}
        yield "study.recorded", _at(month, day, 17), {**of, **stretch}
    interaction = chance.randrange(5, 11)
    questions = min(4, interaction)
    for post in range(interaction):
        kind = "question" if post < questions else "reply"
        yield "post.published", _at(month, 5, 10, post), {**of, "post_id": f"{course}-p{post}", "kind": kind}
    gate = chance.choice([29.5, 29.99, 30.0, 30.01, 30.5, 31.0, 31.5, 31.99, 32.0, 32.01, 33.0])
    missing = max(0.0, gate - 15 - interaction) / 7.5
    for number, share in enumerate((min(1.0, missing), max(0.0, min(1.0, missing - 1.0)))):
        assignment = f"{course}-a{number}"
        yield "assignment.submitted", _at(month, 6), {**of, "assignment_id": assignment, "submission_id": f"{assignment}-s"}
        yield "assignment.graded", _at(month, 7), {**of, "assignment_id": assignment, "score": round(share, 4), "grader_id": "g1"}
    if chance.random() < 0.8:
        score, form = round(chance.uniform(0.3, 1.0), 3), chance.choice(["online", "online", "paper"])
        sat = {"attempt_id": f"{course}-x", "form": form, "score": score, "sat_at": _at(month, 8)}
        yield "exam.marked", _at(month, 9), {**of, **sat}
    if chance.random() < 0.5:
        yield "process.marked", _at(month, 10), {**of, "score": round(chance.random(), 2), "marker_id": "m1"}
