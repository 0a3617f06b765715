"""Learner events of the programme `p`, as the JSON of the contract, at and around the moments at which something changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from tests.properties.reference.facts import instant, written
from tests.properties.reference.local_days import midnight
from tests.properties.reference.rules import DAY_MS, Rules, length_ms
from tests.properties.worlds.choices import Choices
from tests.properties.worlds.programmes import WORK_KINDS

Json = dict[str, Any]
SECOND, HOUR = 1000, 3_600_000
LAST = 4_102_444_800_000 - 1  # the last ms before 2100
INGESTED = written(LAST)  # nothing lies in the future of its own record
SCORES = ("0.5", "1", "0", "0.9999", "0.3333", "0.8", "0.80", "8e-1", "1.0", "0.1234", "0.0001")
OFFSETS = (480, 0, -210, 345, 840, -720, 1439)
TWO, POSTS, FORMS = ("1", "2"), ("a", "b", "c", "d"), ("online", "paper")
KEYS = ("course_id", "assignment_id", "post_id", "work_id", "attempt_id", "case_id")
FLAGS = ("inactive", "behind", "not_started", "not_registered", "exam_due", "assignment_overdue", "plagiarism_suspected")
WEIGHTS = {
    "study.recorded": 24, "exam.marked": 9, "assignment.submitted": 5, "assignment.graded": 8, "post.published": 8, "work.published": 8,
    "work.reviewed": 5, "process.marked": 4, "course.selected": 7, "course.dropped": 4, "follow_up.recorded": 14, "plagiarism.ruled": 3,
    "learner.enrolled": 3, "learner.registered": 2, "learner.transferred": 2, "learner.withdrawn": 1, "learner.reinstated": 3,
    "platform.visited": 2, "post.removed": 2, "work.removed": 1, "assessment.chosen": 3, "reminder.delivered": 1, "reminder.failed": 1,
    "certificate.issued": 1,
}  # fmt: skip
KINDS = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]


class Times:
    """The moments of a programme: calendar, local midnights, changes of the clock, deadlines and lengths that flags wait for."""

    def __init__(self, rules: Rules) -> None:
        self.low = max(rules.opens - 3 * DAY_MS, 0)
        self.high = rules.results_final + 3 * DAY_MS
        days = (rules.last_day - rules.first_day).days
        nights = [rules.first_day + timedelta(days=n) for n in sorted({*range(-2, min(days, 8) + 3), days - 1, days, days + 1})]
        attention = rules.part("attention") or {}
        lengths: set[int] = set()
        for kind, part in attention.items():
            for name, value in part.items():
                if name.endswith("_days"):
                    lengths.add(length_ms(value))
            if kind == "exam_due":
                lengths |= {rules.end - rules.starts}
        self.lengths = sorted(lengths - {0}) or [DAY_MS]
        due = [ms for course in rules.courses if (ms := rules.due(course)) is not None]
        exam = [rules.end - length_ms(value) for name, value in (attention.get("exam_due") or {}).items() if name.endswith("_days")]
        self.edges = [rules.starts, rules.opens, rules.end, rules.results_final, *due, *exam]
        self.nights = [_midnight(rules, night) for night in nights]
        self.starts = rules.starts
        self.midday = rules.starts + 12 * HOUR

    def moment(self, c: Choices) -> int:
        """Mostly a moment that matters or something close to it, else any second, seldom far out."""
        how = c.integer(0, 19)
        if how < 6:
            found = self.inside(c)
        elif how < 7:
            found = self.low + c.integer(0, (self.high - self.low) // SECOND) * SECOND
        elif how < 8:
            found = self.edges[2] + c.integer(0, (self.edges[3] - self.edges[2]) // SECOND) * SECOND
        elif how < 12:
            found = c.choice(self.edges)
        elif how < 16:
            found = c.choice(self.nights)
        elif how < 18:
            found = self.midday
        elif how < 19:
            found = c.choice(self.edges) + c.choice((1, -1)) * c.choice(self.lengths)
        else:
            found = c.choice((self.low, self.high, 0, LAST - 4 * DAY_MS, self.low - 500 * DAY_MS, self.high + 500 * DAY_MS))
        found += c.choice((0, 0, 0, 0, -1, 1, -SECOND, SECOND, -HOUR, HOUR, 12 * HOUR))
        return min(max(found, 0), LAST - 2 * DAY_MS)

    def inside(self, c: Choices) -> int:
        """Any second between the opening and the end."""
        return self.edges[1] + c.integer(0, (self.edges[2] - self.edges[1]) // SECOND) * SECOND


def _midnight(rules: Rules, day: date) -> int:
    return midnight(rules.zone, day)


def text_of(c: Choices, ms: int) -> str:
    """An instant as somebody might write it: any offset, any case, digits behind the millisecond that are cut."""
    if c.chance(50):
        return written(ms)
    offset = c.choice(OFFSETS)
    if not 0 <= ms + offset * 60_000 <= LAST:
        offset = 0
    text = written(ms + offset * 60_000)[:-1]
    if ms % SECOND == 0 and c.chance(50):
        text = text[:-4]
    elif c.chance(50):
        text += c.choice(("9", "000001", "5"))
    if c.chance(10):
        text = text.lower()
    sign = "-" if offset < 0 else "+"
    return text + f"{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"


def event(kind: str, time: str, id: str, data: Json, source: str = "/p") -> Json:
    """One event; scores are `Number`s or what JSON has."""
    return {
        "specversion": "1.0", "id": id, "source": source, "type": f"chalkstream.{kind}.v1", "subject": "L1",
        "time": time, "programme": "p", "ingested_at": INGESTED, "data": data,
    }  # fmt: skip


class Number(str):
    """A number as it is written in JSON."""


def maker(rules: Rules, times: Times) -> tuple[Callable[[Choices], Json], Callable[[Choices, Json], Json]]:
    """How to make one event of this programme; and its twin: another at the same time about the same thing, so that the tie decides."""
    courses = [*rules.courses, *rules.courses, "zz"]
    activities = [str(part["id"]) for part in rules.part("activities") or []] or ["elsewhere"]

    def data_of(c: Choices, kind: str, ms: int) -> Json:
        course, works = c.choice(courses), ("1", "2", "3")
        in_course = {"course_id": course}
        match kind:
            case "learner.enrolled" | "learner.registered" | "learner.transferred":
                member: Json = {"class_id": c.choice(("k1", "k2")), "mode": c.choice((None, None, "online", "disc"))}
                if kind == "learner.enrolled":
                    member["birth_year"] = c.choice((None, *(rules.first_day.year - age for age in (50, 49, 45, 46, 51))))
                    member["gender"] = c.choice((None, "male", "female"))
                return member
            case "learner.withdrawn" | "learner.reinstated" | "platform.visited":
                return {}
            case "course.selected" | "course.dropped":
                return in_course
            case "study.recorded":
                start = ms + SECOND * c.choice((0, 0, -600, -1, 1, 300, -43200))
                if c.chance(40):  # on a busy day
                    start = times.midday + c.integer(0, 2) * DAY_MS + c.integer(0, 60) * 60 * SECOND
                start = max(start, 0) + c.choice((0, 0, 0, 999))
                length = c.choice((600, 900, 1, 299, 1800, 60, 36, 7200, 86400 if c.chance(30) else 450))
                end = start - start % SECOND + SECOND * length + c.choice((0, 0, 500))
                return {**in_course, "started_at": text_of(c, start), "ended_at": text_of(c, end), "channel": "online"}
            case "assignment.submitted":
                return {**in_course, "assignment_id": c.choice(TWO), "submission_id": c.choice(TWO)}
            case "assignment.graded":
                return {**in_course, "assignment_id": c.choice(works), "score": Number(c.choice(SCORES)), "grader_id": "t"}
            case "post.published":
                return {**in_course, "post_id": c.choice(POSTS), "kind": c.choice(("question", "reply"))}
            case "post.removed":
                return {**in_course, "post_id": c.choice(POSTS)}
            case "work.published":
                place = in_course if c.chance(60) else {"activity_id": c.choice(activities), "course_id": None}
                return {"work_id": c.choice(works), "kind": c.choice(WORK_KINDS), **place}
            case "work.reviewed":
                return {"work_id": c.choice(works), "verdict": c.choice(("accepted", "accepted", "returned"))}
            case "work.removed":
                return {"work_id": c.choice(works)}
            case "process.marked":
                return {**in_course, "score": Number(c.choice(SCORES)), "marker_id": "m"}
            case "assessment.chosen":
                return {**in_course, "form": c.choice(FORMS)}
            case "exam.marked":
                sat = min(max(ms - c.choice((0, 1, SECOND, 48 * HOUR, -HOUR)), 0), LAST)
                score = Number(c.choice(SCORES))
                return {**in_course, "attempt_id": c.choice(TWO), "form": c.choice(FORMS), "score": score, "sat_at": text_of(c, sat)}
            case "plagiarism.ruled":
                verdict = c.choice(("suspected", "suspected", "cleared", "confirmed"))
                return {"case_id": c.choice(TWO), "submission_id": "1", "verdict": verdict}
            case "follow_up.recorded":
                contact = {"channel": "phone", "outcome": c.choice(("reached", "no_answer", "promised")), "staff_id": "s"}
                return {"flag": c.choice(FLAGS), "ref": c.choice((None, course, "1")), "note": c.choice((None, '说 "好"\n\x7f')), **contact}
            case "reminder.delivered":
                return {"reminder_id": "r", "channel": "sms"}
            case "reminder.failed":
                return {"reminder_id": "r", "channel": "sms", "reason": "none"}
        assert kind == "certificate.issued"
        return {"certificate_id": "z"}

    def make(c: Choices) -> Json:
        kind, ms = c.choice(KINDS), times.moment(c)
        id = c.choice(("1", "2", "é")) if c.chance(25) else str(c.integer(3, 1_000_000))
        return event(kind, text_of(c, ms), id, data_of(c, kind, ms), c.choice(("/p", "/q")))

    def twin(c: Choices, one: Json) -> Json:
        kind = one["type"].removeprefix("chalkstream.").removesuffix(".v1")
        data = data_of(c, kind, instant(one["time"]))
        if kind == "study.recorded":
            data = {**one["data"], "course_id": data["course_id"]}
        else:
            kept = KEYS[1:] if kind == "work.published" else KEYS
            data |= {name: value for name, value in one["data"].items() if name in kept}
        id, source = c.choice(((one["id"], one["source"]), (one["id"], one["source"]), (one["id"], "/q"), ("0", one["source"])))
        return {**one, "id": id, "source": source, "data": data}

    return make, twin


def beginning(c: Choices, rules: Rules, times: Times) -> list[Json]:
    """What most learners have behind them: on the roster, registered, courses chosen; some have studied or been marked."""
    found: list[Json] = []
    at = c.choice((rules.starts, rules.opens, times.midday, rules.starts - 1))
    if c.chance(30):
        person = {
            "class_id": "k1",
            "gender": c.choice(("female", "male")),
            "birth_year": rules.first_day.year - c.choice((45, 46, 49, 50, 30)),
        }
        found.append(event("learner.enrolled", written(at), "e", person))
    if c.chance(75):
        mode = c.choice((None, None, "online", "disc"))
        found.append(event("learner.registered", written(at), "r", {"class_id": "k1", "mode": mode}))
    for course in rules.courses:
        in_course = {"course_id": course}
        if c.chance(70):
            at = c.choice((rules.starts, times.midday, rules.opens))
            found.append(event("course.selected", written(at), "s" + course, in_course))
        if c.chance(15):
            begin = rules.starts + c.integer(1, 40) * 1400 * SECOND
            end = begin + int(rules.course_seconds(course)) % 80_000 * SECOND + SECOND
            span = {"started_at": written(begin), "ended_at": written(end), "channel": "live"}
            found.append(event("study.recorded", written(end), "t" + course, {**in_course, **span}))
        if c.chance(12):
            ruled = {**in_course, "score": Number("1"), "marker_id": "m"}
            found.append(event("process.marked", written(times.midday), "p" + course, ruled))
    for _ in range(c.choice((0, 0, 1, 3))):
        contact = {"flag": c.choice(FLAGS), "channel": "wechat", "outcome": c.choice(("reached", "other")), "staff_id": "s"}
        found.append(event("follow_up.recorded", written(times.inside(c)), f"f{len(found)}", contact))
    return found
