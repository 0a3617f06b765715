"""The log that every engine of the benchmark reads: four months of a shipped plan, in the envelope that the door writes.

Each learner registers, selects courses and then comes for sittings of an evening: a row of study intervals on one course, and after it a
submission, a grade, a post, a visit or an exam. All of it is put in order of time, so a learner's own events lie near each
other and those of many learners alternate. Seeded: the same arguments give the same bytes.

No two intervals of a learner overlap and no day reaches the plan's cap, so what an engine has to say is a plain sum: `Mix.seconds`.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from deploy.demo.life import stamp
from schemas.instants import rfc3339
from schemas.reading import partition_of

PROGRAMME = "zhuozhou-2023"
COURSES = ("c-reading", "c-writing", "c-maths", "c-english", "c-science", "c-classroom", "c-ict", "c-ethics")
NOW = "2023-10-20T20:00:00+08:00"
"""The moment after the last event at which the log is worked through."""
DAY = 86_400
FIRST = int(datetime(2023, 6, 5, tzinfo=UTC).timestamp())
DAYS = 130
EVENING = 10 * 3600  # 18:00 at Zhuozhou, in UTC
STUDY_SHARE = 0.85
SITTING = 8  # intervals of study in a row, 15 to 25 minutes each
ACTS = ("assignment.submitted", "post.published", "assignment.graded", "platform.visited", "post.published", "exam.marked")
MOST_EACH = 900

Totals = dict[str, list[int]]
"""`learner|course` -> [intervals, their seconds]."""


class Line(NamedTuple):
    """One record; `course` '' and `seconds` 0 where it is not study."""

    partition: int
    key: bytes
    value: bytes
    course: str
    seconds: int


@dataclass
class Mix:
    """The log in order, by all partitions together. A record's offset is its number among those of its partition."""

    lines: list[Line] = field(default_factory=list)
    learners: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def bytes_each(self) -> float:
        return sum(len(line.value) for line in self.lines) / len(self.lines)

    def counts(self, partitions: int) -> list[int]:
        """Records of each partition."""
        found = Counter(line.partition for line in self.lines)
        return [found[number] for number in range(partitions)]

    def seconds(self, upto: list[int]) -> Totals:
        """What a fold has to say that has handled the first `upto[p]` records of each partition p."""
        totals: Totals = {}
        left = list(upto)
        for line in self.lines:
            if left[line.partition] == 0:
                continue
            left[line.partition] -= 1
            if line.seconds:
                row = totals.setdefault(f"{line.key.decode()}|{line.course}", [0, 0])
                row[0] += 1
                row[1] += line.seconds
        return totals

    def of(self, learner: str) -> list[dict[str, Any]]:
        return [json.loads(line.value) for line in self.lines if line.key.decode() == learner]


def make(events: int, learners: int, partitions: int, seed: int = 5, first: int = 0) -> Mix:
    """`events` records of `learners` learners, numbered from `first` on.

    Raises ValueError where that is fewer than 3 or more than 900 events each.
    """
    if not 3 * learners <= events <= MOST_EACH * learners:
        raise ValueError(f"{events:,} events of {learners:,} learners: from 3 to {MOST_EACH} each are possible")
    chance = random.Random(seed)
    mix = Mix(learners=learners)
    told: list[tuple[int, int, str, dict[str, Any]]] = []  # (time, number of the learner, type, data)
    for number in range(first, first + learners):
        each = events // learners + (number - first < events % learners)
        told += [(time, number, kind, data) for time, kind, data in _life(number, each, chance)]
    told.sort(key=lambda one: one[:2])
    for n, (time, number, kind, data) in enumerate(told, first * MOST_EACH):
        learner = f"t-{number:06d}"
        key = learner.encode()
        mix.kinds[kind] += 1
        seconds = data.pop("seconds", 0)
        item = {
            "specversion": "1.0",
            "id": f"0190f3b2-7c1a-7000-8000-{n:012x}",
            "source": "/platforms/jijiaowang",
            "type": f"chalkstream.{kind}.v1",
            "subject": learner,
            "time": stamp(time),
            "programme": PROGRAMME,
            "datacontenttype": "application/json",
            "data": data,
            "ingested_at": rfc3339(time * 1000 + chance.randrange(200, 5_000)),
        }
        value = json.dumps(item, separators=(",", ":")).encode()
        mix.lines.append(Line(partition_of(key, partitions), key, value, data.get("course_id", ""), seconds))
    return mix


def _life(number: int, each: int, chance: random.Random) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """`each` events of one learner as (time, type, data); study has its `seconds` beside."""
    selected = max(1, min(4, each // 20))
    study = min(each - 1 - selected, round(STUDY_SHARE * each))
    others = each - 1 - selected - study
    courses = chance.sample(COURSES, selected)
    began = FIRST - chance.randrange(1, 4) * DAY + chance.randrange(8 * 3600)
    yield began, "learner.registered", {"class_id": f"class-{number // 40:04d}", "mode": "online"}
    for n, course in enumerate(courses):
        yield began + 60 * (n + 1), "course.selected", {"course_id": course}
    sittings = -(-study // SITTING)
    at = began + 3600
    for turn, day in enumerate(sorted(chance.sample(range(DAYS), sittings))):
        at = FIRST + day * DAY + EVENING + chance.randrange(3600)
        course = courses[turn % selected]
        for n in range(min(SITTING, study - turn * SITTING)):
            seconds = chance.randrange(900, 1_501)
            data = {"course_id": course, "started_at": stamp(at), "ended_at": stamp(at + seconds), "channel": "online"}
            at += seconds
            yield at, "study.recorded", {**data, "session_id": f"s-{number:06d}-{turn}-{n}", "seconds": seconds}
            at += chance.randrange(20, 90)
        more = others * (turn + 1) // sittings - others * turn // sittings
        for n in range(more):
            at += chance.randrange(60, 300)
            yield _act(ACTS[(number + turn + n) % len(ACTS)], number, turn, n, course, at, chance)


def _act(kind: str, number: int, turn: int, n: int, course: str, at: int, chance: random.Random) -> tuple[int, str, dict[str, Any]]:
    own, score = f"{number:06d}-{turn}-{n}", chance.randrange(50, 101) / 100
    data: dict[str, Any] = {
        "assignment.submitted": {"course_id": course, "assignment_id": f"a-{turn % 3}", "submission_id": f"sub-{own}"},
        "assignment.graded": {"course_id": course, "assignment_id": f"a-{turn % 3}", "score": score, "grader_id": "tutor-1"},
        "post.published": {"course_id": course, "post_id": f"post-{own}", "kind": "question" if turn % 2 else "reply"},
        "platform.visited": {},
        "exam.marked": {"course_id": course, "attempt_id": f"try-{own}", "form": "online", "score": score, "sat_at": stamp(at - 600)},
    }[kind]
    return at, kind, data
