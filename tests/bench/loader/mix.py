"""Study-heavy traffic in the real envelope: of a learner's hundred events about 85 are study, the rest is what else learners do."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

PLAN = "zhuozhou-2023"
COURSES = ("c-reading", "c-writing", "c-maths", "c-classroom")
OPENS = datetime(2023, 6, 2, tzinfo=UTC)
ACCEPTED = datetime(2023, 12, 19, tzinfo=UTC)
"""`ingested_at` of the first: a log that is read again, at the end of the programme."""
REQUEST = 100
"""Events that come in one request, so have one `ingested_at`; the next comes a millisecond later."""
EACH = 100
"""Events of one learner."""
GROUP = 200
"""Learners whose events are interleaved: those of one learner lie near each other in the log, as they do where people live in time."""


class Made(NamedTuple):
    key: bytes
    value: bytes


def _text(moment: datetime) -> str:
    """As a platform in the programme's own time zone writes it."""
    return (moment + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M:%S+08:00")


def _others(learner: str, n: int, course: str, moment: datetime) -> tuple[str, dict[str, Any]]:
    """The `n`th of the acts that are no study: visits, posts, submissions and their grades."""
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("platform.visited", {}),
        ("post.published", {"course_id": course, "post_id": f"{learner}-p{n}", "kind": "question" if n % 8 == 1 else "reply"}),
        (
            "assignment.submitted",
            {"course_id": course, "assignment_id": f"a{n // 8}", "submission_id": f"{learner}-s{n}"}
            | {"fingerprint": hashlib.sha256(f"{learner}{n}".encode()).hexdigest()},
        ),
        ("assignment.graded", {"course_id": course, "assignment_id": f"a{n // 8}", "score": 0.85, "grader_id": "t-17"}),
    )
    return kinds[n % 4]


def life(number: int) -> Iterator[Made]:
    """The hundred events of a learner in the order of their time."""
    learner, chance = f"teacher-{number:06d}", random.Random(number)
    moment = OPENS + timedelta(seconds=chance.randrange(86_400))
    for at in range(EACH):
        course = COURSES[at // 4 % 4]
        moment += timedelta(minutes=chance.randrange(31, 2_000))
        if at == 0:
            kind, data = "learner.registered", {"class_id": f"class-{number // 40}", "mode": "online"}
        elif at <= len(COURSES):
            kind, data = "course.selected", {"course_id": COURSES[at - 1]}
        elif at % 10 == 9:
            kind, data = _others(learner, at // 10, course, moment)
        else:
            began = moment - timedelta(seconds=chance.randrange(300, 1_790))
            kind = "study.recorded"
            data = {"course_id": course, "started_at": _text(began), "ended_at": _text(moment), "channel": "online"}
            data |= {"session_id": f"session-{number}-{at}"}
        item = {
            "specversion": "1.0", "id": f"{learner}/{at}", "source": "/platforms/bench", "type": f"chalkstream.{kind}.v1",
            "subject": learner, "time": _text(moment), "programme": PLAN, "data": data,
        }  # fmt: skip
        yield Made(learner.encode(), json.dumps(item, separators=(",", ":")).encode())


def traffic(events: int) -> Iterator[Made]:
    """That many events, rounded up to whole learners, interleaved within groups of learners."""
    learners, number = -(-events // EACH), 0
    for first in range(0, learners, GROUP):
        lives = [life(number) for number in range(first, min(first + GROUP, learners))]
        for turn in zip(*lives, strict=True):
            for made in turn:
                stamp = (ACCEPTED + timedelta(milliseconds=number // REQUEST)).isoformat(timespec="milliseconds")[:23]
                yield Made(made.key, made.value[:-1] + f',"ingested_at":"{stamp}Z"}}'.encode())
                number += 1
