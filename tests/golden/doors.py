"""The golden cases' way into the product: rule text and event bytes in, published values out.

Nothing here knows how a total is made. `told` folds the same records forwards in one batch, then forwards and backwards one at
a time and each twice, looking at the learner in between; all must keep and publish the same, so every golden case is one of
order, repetition and caching, too. Instants are texts: `2023-06-05 10:00` is Shanghai's, what has a `T` is taken as it stands.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from schemas.programme import Programme, load_programme, load_programmes
from schemas.progress import CourseProgress, Flag, LearnerProgress
from schemas.reading import Event, partition_of, read_record
from schemas.verdicts import Verdict
from services.scoring.core.evaluate import evaluate
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner

ROOT = Path(__file__).resolve().parents[2]
PLANS = load_programmes(ROOT / "schemas" / "programmes")
A = PLANS["guopei-shaanxi-2023"]
B = PLANS["zhuozhou-2023"]
EDGES = Path(__file__).parent / "rules" / "edges.yaml"
PARTITIONS = 4
LONG_AFTER = 4_000_000_000_000  # the records' timestamp, in 2096: nothing is `in_future` of it
_ids = count(1)


def rfc(text: str) -> str:
    """An RFC 3339 text of the short form; what is one already stays as it is."""
    if "T" in text:
        return text
    return text.replace(" ", "T") + (":00" if len(text) == 16 else "") + "+08:00"


def at(text: str) -> int:
    """Milliseconds of an instant, by the standard library and not by the product."""
    moment = datetime.fromisoformat(rfc(text))
    return round(moment.timestamp() * 1000)


def utc(text: str) -> str:
    """The instant as the product publishes it."""
    ms = at(text)
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def record(kind: str, time: str, /, id: str = "", source: str = "/p", **data: object) -> bytes:
    """The bytes of an event of learner L1 in the log. `score` is written into the JSON as the text given."""
    for name in ("started_at", "ended_at", "sat_at"):
        if name in data:
            data[name] = rfc(str(data[name]))
    score = data.pop("score", None)
    event = {
        "specversion": "1.0", "id": id or f"e{next(_ids)}", "source": source, "type": f"chalkstream.{kind}.v1", "subject": "L1",
        "time": rfc(time), "programme": "p", "data": data,
    }  # fmt: skip
    text = json.dumps(event, ensure_ascii=False)
    if score is not None:
        text = text[:-2] + (", " if data else "") + f'"score": {score}' + "}}"
    return text.encode()


def judged(value: bytes) -> Event | list[Verdict]:
    """What scoring makes of a record with these bytes."""
    return read_record(b"L1", value, LONG_AFTER, partition_of(b"L1", PARTITIONS), PARTITIONS)


def read(value: bytes) -> Event:
    found = judged(value)
    assert isinstance(found, Event), found
    return found


def programme(**changes: str) -> Programme:
    """The rules of `rules/edges.yaml` with the top-level keys named put in place, or added."""
    lines, key = [], ""
    for line in EDGES.read_text(encoding="utf-8").splitlines():
        if line[:1].isalpha():
            key = line.partition(":")[0]
        if key not in changes:
            lines.append(line)
    lines += [f"{name}: {text}" for name, text in changes.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edges.yaml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return load_programme(path)


def learner_of(rules: Programme, records: Iterable[bytes]) -> Learner:
    learner = Learner.new("L1")
    fold(rules, learner, [fact_of(read(value)) for value in records])
    return learner


def told(rules: Programme, records: Sequence[bytes], now: str | int) -> LearnerProgress:
    """What is published of the learner at `now`, whatever the order of arrival."""
    ms = at(now) if isinstance(now, str) else now
    whole = learner_of(rules, records)
    progress = evaluate(rules, whole, ms).progress
    facts = [fact_of(read(value)) for value in records]
    for order in (facts, facts[::-1]):
        learner = Learner.new("L1")
        for fact in order:
            fold(rules, learner, [fact])
            evaluate(rules, learner, ms)
            assert fold(rules, learner, [fact]) == set(), "a fact that is known already changed something"
        assert evaluate(rules, learner, ms).progress == progress, "the order of arrival, or a look in between, changed what is published"
        assert cells(learner) == cells(whole), "the order of arrival changed what is kept"
    return progress


def cells(learner: Learner) -> dict[str, bytes]:
    """What is kept of the learner: a replay has to end in the same bytes."""
    return {name: learner.encode(name) for name in learner.names()}


def row(progress: LearnerProgress, course: str = "c-reading") -> CourseProgress:
    (found,) = [one for one in progress.courses if one.course_id == course]
    return found


def flags(rules: Programme, records: Sequence[bytes], now: str | int) -> dict[tuple[str, str], Flag]:
    """The open flags by (kind, ref)."""
    return {(flag.kind, flag.ref): flag for flag in told(rules, records, now).flags}


def turns(rules: Programme, records: Sequence[bytes], key: tuple[str, str], moment: str) -> tuple[Flag | None, Flag | None]:
    """The flag a millisecond before a moment and at it; the engine has been told to look at that very moment."""
    ms = at(moment)
    assert evaluate(rules, learner_of(rules, records), ms - 1).next_change_ms == ms, moment
    return flags(rules, records, ms - 1).get(key), flags(rules, records, ms).get(key)


# -- what most cases begin with ---------------------------------------------------------------------------------------

ONLINE = record("learner.registered", "2023-06-01 09:00", class_id="k1", mode="online")
DISC = record("learner.registered", "2023-06-01 09:00", class_id="k1", mode="disc")
VISIT = record("platform.visited", "2023-06-05 10:00")


def selected(course: str = "c-reading", time: str = "2023-06-01 09:00") -> bytes:
    return record("course.selected", time, course_id=course)


def study(course: str, start: str, end: str) -> bytes:
    """An interval, reported at its end."""
    return record("study.recorded", end, course_id=course, started_at=start, ended_at=end, channel="online")


def seconds(course: str, total: int, first_day: int = 2, month: str = "2023-06") -> list[bytes]:
    """So many seconds of study, from 08:00 on in half hours, at most 8 hours a day."""
    made = []
    for n in range(-(-total // 1800)):
        day, slot = divmod(n, 16)
        minutes, length = 480 + slot * 30, min(1800, total - n * 1800)
        date = f"{month}-{first_day + day:02d}"
        start = f"{date} {minutes // 60:02d}:{minutes % 60:02d}:00"
        clock = minutes * 60 + length
        made.append(study(course, start, f"{date} {clock // 3600:02d}:{clock // 60 % 60:02d}:{clock % 60:02d}"))
    return made


def graded(assignment: str, score: str, time: str = "2023-06-20 10:00", course: str = "c-reading", **who: str) -> bytes:
    return record("assignment.graded", time, **who, course_id=course, assignment_id=assignment, score=score, grader_id="t1")


def submitted(assignment: str, time: str, course: str = "c-reading") -> bytes:
    return record("assignment.submitted", time, course_id=course, assignment_id=assignment, submission_id=assignment)


def post(name: str, kind: str, time: str = "2023-06-10 10:00", course: str = "c-reading", **who: str) -> bytes:
    return record("post.published", time, **who, course_id=course, post_id=name, kind=kind)


def posts(kind: str, number: int, course: str = "c-reading") -> list[bytes]:
    return [post(f"{kind}{n}", kind, course=course) for n in range(number)]


def work(name: str, kind: str = "lesson_design", time: str = "2023-06-11 10:00", **of: str) -> bytes:
    return record("work.published", time, work_id=name, kind=kind, **(of or {"course_id": "c-reading"}))


def exam(
    score: str,
    form: str = "online",
    attempt: str = "x1",
    sat: str = "2023-07-01 09:00",
    time: str = "",
    course: str = "c-reading",
    **who: str,
) -> bytes:
    """Marked the day after it was sat, where no time is given."""
    ruled = time or "2023-07-02 09:00"
    return record("exam.marked", ruled, **who, course_id=course, attempt_id=attempt, form=form, score=score, sat_at=sat)


def process(score: str, time: str = "2023-07-03 10:00", course: str = "c-reading", **who: str) -> bytes:
    return record("process.marked", time, **who, course_id=course, score=score, marker_id="m1")


def ruled(verdict: str, time: str, case: str = "k9", **who: str) -> bytes:
    return record("plagiarism.ruled", time, **who, case_id=case, submission_id="s1", verdict=verdict)


def follow_up(flag: str, time: str, outcome: str = "promised", **ref: str) -> bytes:
    return record("follow_up.recorded", time, flag=flag, channel="phone", outcome=outcome, staff_id="s1", **ref)
