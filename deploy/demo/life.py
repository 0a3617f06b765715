"""One simulated teacher's life, day after day, as CloudEvents: pure, and the same for the same seed.

`Life.advance(day)` gives the events of one local day (they may end past midnight). Some come late, some twice, some broken.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from deploy.demo.people import PLAN_A, Teacher
from deploy.demo.plans import DAY, Plan

ZONE = 8 * 3600  # both plans live in Asia/Shanghai
EPOCH = date(1970, 1, 1).toordinal()
SOURCES = {PLAN_A: "/platforms/jijiaowang"}
OTHER_SOURCE = "/platforms/zhuozhou-yanxiu"
FIRST_DAY = {PLAN_A: date(2023, 10, 20)}
OTHER_FIRST_DAY = date(2023, 9, 22)
WORK_KINDS = ("classroom_record", "lesson_design", "teaching_narrative", "teaching_case")
OUTCOMES = ("reached", "reached", "promised", "no_answer", "wrong_contact", "other")


class Sent(NamedTuple):
    """One item on its way to the door. `at`: seconds, its `time`; `sound`: the door accepts it; `late`: it is held back a while."""

    at: int
    event: dict[str, Any]
    sound: bool = True
    late: bool = False


def day_number(day: date) -> int:
    return day.toordinal() - EPOCH


def local_day(seconds: int) -> int:
    return (seconds + ZONE) // DAY


_days: dict[int, str] = {}


def stamp(seconds: int) -> str:
    """Seconds since 1970 as local RFC 3339 text."""
    day, rest = divmod(seconds + ZONE, DAY)
    text = _days.get(day)
    if text is None:
        text = _days[day] = date.fromordinal(day + EPOCH).isoformat()
    return f"{text}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}+08:00"


def source_of(programme: str) -> str:
    return SOURCES.get(programme, OTHER_SOURCE)


def first_day(programme: str) -> int:
    return day_number(FIRST_DAY.get(programme, OTHER_FIRST_DAY))


@dataclass(slots=True)
class _Course:
    """What the teacher remembers of a course; seconds are its own count, a little off the credited ones."""

    course_id: str
    needed: int
    seconds: int = 0
    submitted: int = 0
    graded: int = 0
    posts: int = 0
    works: int = 0
    attempts: int = 0
    best: float = 0.0


# chance of studying on a weekday and on a weekend day, most intervals in a sitting
RHYTHM = {
    "excellent": (0.62, 0.8, 4), "steady": (0.36, 0.4, 3), "bursty": (0.05, 0.6, 7), "last_minute": (0.05, 0.1, 2),
    "gone_quiet": (0.35, 0.4, 3), "slow": (0.1, 0.15, 2), "never_started": (0.0, 0.0, 0), "never_registered": (0.0, 0.0, 0),
}  # fmt: skip


@dataclass(slots=True)
class Life:
    """One teacher in one programme. Days must be advanced in order, each once."""

    teacher: Teacher
    plan: Plan
    seed: int
    stop_day: int  # when the gone-quiet go quiet
    begin: int = 0
    registers: int = 0
    sequence: int = 0
    quiet_since: int = 0
    registered: bool = False
    withdrawn: bool = False
    class_id: str = ""
    quality: float = 0.85
    courses: list[_Course] = field(default_factory=list)
    due: dict[int, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)  # day -> what others will do then
    rng: random.Random = field(default_factory=random.Random)

    @classmethod
    def of(cls, teacher: Teacher, plan: Plan, seed: int, stop: int, rng: random.Random) -> Life:
        rng.seed(seed * 1_000_003 + teacher.number)
        life = cls(teacher, plan, seed, stop - rng.randrange(4, 24), rng=rng)
        life.begin = first_day(plan.id) + rng.randrange(5)
        life.registers = life.begin + rng.choice((0, 0, 1, 1, 2, 3, 4, 6, 9))
        life.class_id = teacher.class_id
        life.quality = 0.97 if teacher.habit == "excellent" else 0.65 + 0.3 * rng.random()
        ids = list(plan.courses)
        if plan.rules["selection"] == "chosen":
            ids = rng.sample(ids, min(len(ids), rng.choice((1, 1, 1, 1, 2, 2, 3))))
        life.courses = [_Course(course, plan.needed(course)) for course in ids]
        return life

    def _event(self, at: int, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        self.sequence += 1
        subject = self.teacher.learner_id
        return {
            "specversion": "1.0", "id": f"{subject}-{self.sequence}", "source": source_of(self.plan.id), "type": f"chalkstream.{kind}.v1",
            "subject": subject, "time": stamp(at), "programme": self.plan.id, "data": data,
        }  # fmt: skip

    def _later(self, day: int, kind: str, data: dict[str, Any]) -> None:
        self.due.setdefault(day, []).append((kind, data))

    def advance(self, day: int) -> list[Sent]:
        """Events of a local day, sorted by time."""
        rng, habit = self.rng, self.teacher.habit
        rng.seed((self.seed * 1_000_003 + self.teacher.number) * 40_009 + day)
        midnight, out = day * DAY - ZONE, []

        def add(at: int, kind: str, data: dict[str, Any]) -> None:
            out.append(Sent(at, self._event(at, kind, data)))

        if day == self.begin:
            add(midnight + 9 * 3600 + rng.randrange(7200), "learner.enrolled", self._enrolment(rng))
        elif day < self.begin:
            return out
        for kind, data in self.due.pop(day, ()):
            add(midnight + 10 * 3600 + rng.randrange(8 * 3600), kind, data)
            self.withdrawn = self.withdrawn and kind != "learner.reinstated"
        if day >= self.registers and not self.registered and habit != "never_registered":
            self._register(rng, midnight, add)
        if self.registered and not self.withdrawn and self._comes(rng, day):
            self._sit(rng, day, midnight, add)
            self.quiet_since = day
        elif not self.withdrawn:
            self._chase(rng, day, midnight, add)
        if rng.random() < 0.0006:
            self._move(rng, midnight, add)
        out.sort(key=lambda sent: sent.at)
        return self._spoil(rng, out)

    def _enrolment(self, rng: random.Random) -> dict[str, Any]:
        data: dict[str, Any] = {"class_id": self.class_id, "birth_year": self.teacher.birth_year, "gender": self.teacher.gender}
        if rng.random() < 0.03:
            data["mode"] = "disc"
        elif rng.random() < 0.03:
            del data["birth_year"]
        return data

    def _register(self, rng: random.Random, midnight: int, add: Any) -> None:
        self.registered = True
        self.quiet_since = local_day(midnight)
        at = midnight + 19 * 3600 + rng.randrange(7200)
        add(at, "learner.registered", {"class_id": self.class_id})
        if self.plan.rules["selection"] == "chosen":
            for number, course in enumerate(self.courses):
                add(at + 60 + number * 20, "course.selected", {"course_id": course.course_id})
            if rng.random() < 0.05:  # chosen by mistake and dropped again
                extra = rng.choice(list(self.plan.courses))
                if all(extra != course.course_id for course in self.courses):
                    add(at + 200, "course.selected", {"course_id": extra})
                    add(at + 400, "course.dropped", {"course_id": extra})

    def _comes(self, rng: random.Random, day: int) -> bool:
        habit = self.teacher.habit
        midnight = day * DAY - ZONE
        if midnight >= self.plan.ends // 1000:
            return False
        if midnight < self.plan.starts // 1000:  # the eager look in early: acts that earn nothing
            return habit in ("excellent", "bursty") and rng.random() < 0.05
        if habit == "gone_quiet" and day >= self.stop_day:
            return day > self.stop_day + 40 and rng.random() < 0.02
        weekday, weekend, _ = RHYTHM[habit]
        chance = weekend if (day + 3) % 7 >= 5 else weekday
        if habit == "last_minute" and self.plan.ends // 1000 - day * DAY < 16 * DAY:
            chance = 0.85
        if self.courses and all(course.seconds >= course.needed for course in self.courses):
            chance *= 0.35 if any(course.attempts == 0 for course in self.courses) else 0.05
        elif self.plan.rules["selection"] == "chosen":
            chance = min(0.95, chance * 1.6)
        return rng.random() < chance

    def _sit(self, rng: random.Random, day: int, midnight: int, add: Any) -> None:
        """A sitting: some intervals in a row, then what else there is to do on the course."""
        weekend = (day + 3) % 7 >= 5
        at = midnight + (rng.randrange(9 * 3600, 20 * 3600) if weekend else rng.randrange(19 * 3600, 21 * 3600 + 1800))
        if rng.random() < 0.02:
            at = midnight + 23 * 3600 + 1200 + rng.randrange(1200)  # past midnight
        if rng.random() < 0.08:
            add(at - 30, "platform.visited", {})
        open_courses = [course for course in self.courses if course.seconds < course.needed]
        course = (open_courses or self.courses)[0]
        if len(open_courses) > 1 and rng.random() < 0.2:
            course = rng.choice(open_courses)
        mode_channel = rng.choices(("online", "live", "group_in_person", "group_online", "disc"), (80, 8, 6, 4, 2))[0]
        if course.seconds < course.needed + 1800:
            for _ in range(rng.randint(1, RHYTHM[self.teacher.habit][2] or 1)):
                length = 1800 if rng.random() < 0.55 else rng.randrange(480, 1800)
                data = {"course_id": course.course_id, "started_at": stamp(at), "ended_at": stamp(at + length), "channel": mode_channel}
                if rng.random() < 0.3:
                    data["session_id"] = f"l-{day}-{rng.randrange(1000)}"
                add(at + length, "study.recorded", data)
                course.seconds += length
                if len(self.courses) > 1 and rng.random() < 0.04:  # a second window left open: overlapping study on another course
                    other = rng.choice(self.courses)
                    start = at + rng.randrange(-600, 900)
                    over = {"course_id": other.course_id, "started_at": stamp(start), "ended_at": stamp(start + 1200), "channel": "online"}
                    add(start + 1200, "study.recorded", over)
                at += length + rng.choice((0, 0, 5, 60, 300))
        self._hand_in(rng, day, at + 60, course, add)

    @property
    def _most_posts(self) -> int:
        """Some say little, and find that their exam does not count: with four posts their gate is missed, or met, by a hair."""
        return 4 if self.teacher.number % 17 == 3 else 12

    def _hand_in(self, rng: random.Random, day: int, at: int, course: _Course, add: Any) -> None:
        c, tutor = course.course_id, self.teacher.tutor
        progress = course.seconds / course.needed
        for number, wanted in ((0, 0.25), (1, 0.6), (2, 0.95)):
            if course.submitted == number and progress >= wanted and (number < 2 or rng.random() < 0.1):
                course.submitted += 1
                a = f"{c}-a{course.submitted}"
                submission = f"{self.teacher.learner_id}-{a}"
                add(
                    at,
                    "assignment.submitted",
                    {"course_id": c, "assignment_id": a, "submission_id": submission, "fingerprint": f"{rng.getrandbits(64):016x}"},
                )
                self._later(day + rng.randrange(1, 4), "assignment.graded", self._grade(rng, c, a, tutor))
                course.graded += 1
                if rng.random() < 0.06:
                    self._later(day + rng.randrange(4, 8), "assignment.graded", self._grade(rng, c, a, tutor))
                if rng.random() < 0.006:
                    self._suspect(rng, day, submission)
        posts_wanted = min(self._most_posts, int(progress * 11) + 1)
        while course.posts < posts_wanted and rng.random() < (0.85 if self.plan.items("online") else 0.12):
            course.posts += 1
            at += 45 + rng.randrange(200)
            post = f"{self.teacher.learner_id}-{c}-p{course.posts}"
            data = {"course_id": c, "post_id": post, "kind": "question" if course.posts % 5 in (1, 3) else "reply"}
            if data["kind"] == "reply" and rng.random() < 0.5:
                data["reply_to"] = f"topic-{rng.randrange(500)}"
            add(at, "post.published", data)
            if rng.random() < 0.015:
                self._later(day + 1, "post.removed", {"course_id": c, "post_id": post})
        works_wanted = 2 if self.plan.items("online") else 1
        if course.works < works_wanted and progress > 0.45 + course.works * 0.4:
            course.works += 1
            self._publish(rng, day, at + 30, f"{self.teacher.learner_id}-{c}-w{course.works}", course, add)
        ready = (progress >= 1 and course.posts >= min(8, self._most_posts)) or (progress > 0.7 and rng.random() < 0.03)
        if self.plan.items("online") and ready and (course.attempts == 0 or (course.best < 0.6 and course.attempts < 3)):
            course.attempts += 1
            score = round(min(1.0, max(0.2, rng.gauss(self.quality - 0.05, 0.1))), 3)
            course.best = max(course.best, score)
            disc = self.teacher.birth_year < (1974 if self.teacher.gender == "male" else 1978)
            form = "paper" if disc and rng.random() < 0.7 else "online"
            if disc and form == "online":
                add(at + 60, "assessment.chosen", {"course_id": c, "form": "online"})
            if disc:
                self._later(day + 1, "process.marked", {"course_id": c, "score": self._score(rng), "marker_id": self.teacher.tutor})
            sat = stamp(at + 3600)
            attempt = {"course_id": c, "attempt_id": f"{c}-e{course.attempts}", "form": form, "score": score, "sat_at": sat}
            self._later(day + rng.randrange(1, 3), "exam.marked", attempt)

    def _score(self, rng: random.Random) -> float:
        return round(min(1.0, max(0.0, rng.gauss(self.quality, 0.08))), rng.choice((2, 2, 3, 4)))

    def _grade(self, rng: random.Random, course: str, assignment: str, tutor: str) -> dict[str, Any]:
        return {"course_id": course, "assignment_id": assignment, "score": self._score(rng), "grader_id": tutor}

    def _publish(self, rng: random.Random, day: int, at: int, work: str, course: _Course, add: Any) -> None:
        data: dict[str, Any] = {"work_id": work, "kind": rng.choice(WORK_KINDS), "course_id": course.course_id}
        activities = self.plan.rules.get("activities") or []
        if activities and rng.random() < 0.5:
            data = {"work_id": work, "kind": "research_article", "activity_id": activities[0]["id"]}
        add(at, "work.published", data)
        self._later(
            day + rng.randrange(1, 5), "work.reviewed", {"work_id": work, "verdict": "returned" if rng.random() < 0.12 else "accepted"}
        )
        if rng.random() < 0.01:
            self._later(day + 6, "work.removed", {"work_id": work})

    def _suspect(self, rng: random.Random, day: int, submission: str) -> None:
        case = {"case_id": f"case-{submission}", "submission_id": submission}
        self._later(day + 2, "plagiarism.ruled", case | {"verdict": "suspected"})
        verdict = rng.choice(("cleared", "confirmed", ""))
        if verdict:
            self._later(day + 6, "plagiarism.ruled", case | {"verdict": verdict})

    def _chase(self, rng: random.Random, day: int, midnight: int, add: Any) -> None:
        """The school's admin contacts who is missing, now and then."""
        habit = self.teacher.habit
        flag = "not_registered" if not self.registered else "not_started" if habit == "never_started" else "inactive"
        since = self.quiet_since or self.begin
        if day - since >= 4 and habit not in ("steady", "excellent") and rng.random() < 0.07:
            data: dict[str, Any] = {
                "flag": flag, "channel": rng.choice(("phone", "phone", "wechat", "sms", "visit")),
                "outcome": rng.choice(OUTCOMES), "staff_id": self.teacher.school_admin,
            }  # fmt: skip
            if rng.random() < 0.3:
                data["note"] = "答应本周开始学习"
            add(midnight + 15 * 3600 + rng.randrange(7200), "follow_up.recorded", data)

    def _move(self, rng: random.Random, midnight: int, add: Any) -> None:
        at, chance = midnight + 11 * 3600 + rng.randrange(3600), rng.random()
        if self.withdrawn or chance < 0.35:
            add(at, "learner.reinstated" if self.withdrawn else "learner.withdrawn", {})
            if not self.withdrawn and chance < 0.1:
                self._later(local_day(at) + 5, "learner.reinstated", {})
            self.withdrawn = not self.withdrawn
        else:
            self.class_id = self.teacher.sibling_class_id if self.class_id == self.teacher.class_id else self.teacher.class_id
            add(at, "learner.transferred", {"class_id": self.class_id})

    def _spoil(self, rng: random.Random, sent: list[Sent]) -> list[Sent]:
        """Some late, some twice, and now and then a broken copy under an id of its own."""
        out: list[Sent] = []
        for one in sent:
            chance = rng.random()
            if chance > 0.06:
                out.append(one)
            elif chance > 0.025:
                out.append(one._replace(late=True))
            elif chance > 0.008:
                out += [one, one._replace(late=chance < 0.015)]
            else:
                out += [one, self._broken(rng, one)]
        return out

    def _broken(self, rng: random.Random, one: Sent) -> Sent:
        self.sequence += 1
        event = one.event | {"id": f"{self.teacher.learner_id}-x{self.sequence}", "data": dict(one.event["data"])}
        broken = rng.randrange(3)
        if broken == 0 and "score" in event["data"]:
            event["data"]["score"] = 1.2
        elif broken == 1 and "course_id" in event["data"] and event["type"] != "chalkstream.work.published.v1":
            event["data"]["course_id"] = "c-no-such-course"
        else:
            event["data"]["colour"] = "blue"
        return Sent(one.at, event, sound=False)
