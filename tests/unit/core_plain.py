"""The rules once more, slow and plain: from the set of events straight to totals and flags, second by second.

Written from the rules page alone, sharing nothing with `services.scoring.core` but the programme's numbers. Fractions instead
of integer tricks, every local midnight looked at, no state.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Any
from zoneinfo import ZoneInfo

from schemas.programme import Programme
from schemas.reading import Event

DAY = 86_400_000
ACTS = {
    "learner.registered",
    "course.selected",
    "course.dropped",
    "platform.visited",
    "study.recorded",
    "assignment.submitted",
    "post.published",
    "work.published",
    "assessment.chosen",
    "exam.marked",
}


def name(event: Event) -> str:
    return event.type[len("chalkstream.") : -len(".v1")]


def order(event: Event) -> tuple[int, str, str, str]:
    return (event.time_ms, event.source, event.id, event.digest)


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


class Plain:
    def __init__(self, programme: Programme, events: list[Event]) -> None:
        self.p = programme
        facts = {(*order(e), e.type): e for e in events}
        self.all = sorted(facts.values(), key=order)
        self.events = [e for e in self.all if self._counts(e)]
        self.zone = ZoneInfo(programme.time_zone)

    def _counts(self, e: Event) -> bool:
        p, kind = self.p, name(e)
        if kind == "study.recorded":
            return p.starts_ms <= e.data.started_at * 1000 < p.ends_ms
        if kind == "exam.marked":
            return p.starts_ms <= e.data.sat_at < p.ends_ms and e.time_ms < p.results_final_ms
        if kind in ("assignment.submitted", "post.published", "work.published", "course.selected", "course.dropped", "assessment.chosen"):
            return p.opens_ms <= e.time_ms < p.ends_ms
        if kind in ("assignment.graded", "work.reviewed", "process.marked"):
            return e.time_ms < p.results_final_ms
        return True

    def of(self, *kinds: str, **match: Any) -> list[Event]:
        """Counting events of these kinds whose data has these values, in the order of 'latest'."""
        return [e for e in self.events if name(e) in kinds and all(getattr(e.data, key) == value for key, value in match.items())]

    def latest_by(self, key: str, events: list[Event]) -> dict[str, Event]:
        return {getattr(e.data, key): e for e in events}

    def day(self, ms: int) -> str:
        return datetime.fromtimestamp(ms / 1000, self.zone).strftime("%Y-%m-%d")

    # -- the learner

    def acts(self, course: str | None = None, starting: bool = False) -> list[int]:
        found = []
        for e in self.all:
            kind = name(e)
            if kind not in ACTS or (starting and kind in ("learner.registered", "course.selected", "course.dropped")):
                continue
            if course is not None and getattr(e.data, "course_id", None) != course:
                continue
            found.append(e.data.ended_at * 1000 if kind == "study.recorded" else e.data.sat_at if kind == "exam.marked" else e.time_ms)
        return sorted(found)

    def mode(self) -> str:
        said = [e for e in self.of("learner.enrolled", "learner.registered", "learner.transferred") if e.data.mode]
        if said:
            return str(said[-1].data.mode)
        enrolled = self.of("learner.enrolled")
        ages = self.p.online_ages
        if ages is None or not enrolled or not enrolled[-1].data.birth_year or not enrolled[-1].data.gender:
            return "online"
        age = int(self.p.starts[:4]) - enrolled[-1].data.birth_year
        man = enrolled[-1].data.gender == "male"
        return "online" if (age * 100 < ages.male_younger_than if man else age * 100 <= ages.female_up_to) else "disc"

    def withdrawn(self) -> bool:
        said = self.of("learner.withdrawn", "learner.reinstated")
        return bool(said) and name(said[-1]) == "learner.withdrawn"

    def reinstated(self) -> int | None:
        said = self.of("learner.reinstated")
        return said[-1].time_ms if said else None

    def selected(self) -> list[str]:
        if self.p.select_all:
            return list(self.p.courses)
        found = []
        for course in self.p.courses:
            said = self.of("course.selected", "course.dropped", course_id=course)
            if said and name(said[-1]) == "course.selected":
                found.append(course)
        return found

    # -- time

    def seconds(self) -> dict[tuple[str, str], int]:
        """(day, course) -> credited seconds."""
        spans = {(e.data.started_at, e.data.course_id, e.data.ended_at) for e in self.of("study.recorded")}
        owner: dict[int, tuple[int, str]] = {}
        for start, course, end in spans:
            for second in range(start, end):
                owner[second] = min(owner.get(second, (start, course)), (start, course))
        used: dict[str, int] = {}
        found: dict[tuple[str, str], int] = {}
        for second in sorted(owner):
            day = self.day(second * 1000)
            if self.p.daily_cap_seconds is not None and used.get(day, 0) >= self.p.daily_cap_seconds:
                continue
            used[day] = used.get(day, 0) + 1
            key = (day, owner[second][1])
            found[key] = found.get(key, 0) + 1
        return found

    # -- points

    def course(self, course: str) -> dict[str, Any]:
        p, mode = self.p, self.p.modes.get(self.mode())
        seconds = sum(s for (_, c), s in self.credited.items() if c == course)
        if p.cap_at_course_hours:
            seconds = min(seconds, p.courses[course].seconds)
        row: dict[str, Any] = dict.fromkeys(("study", "assignment", "interaction", "works", "process", "exam"), 0)
        row |= {"seconds": seconds, "gate_points": 0, "gate_met": True, "before": False, "passed": False, "attempts": 0, "submitted": 0}
        row["submitted"] = len({e.data.assignment_id for e in self.of("assignment.submitted", course_id=course)})
        if mode:
            if mode.study:
                if mode.study.threshold:
                    row["study"] = mode.study.points if seconds >= mode.study.seconds else 0
                else:
                    row["study"] = min(half_up(Fraction(mode.study.points * seconds, mode.study.seconds)), mode.study.points)
            if mode.assignments:
                scores = sorted(
                    e.data.score for e in self.latest_by("assignment_id", self.of("assignment.graded", course_id=course)).values()
                )
                best = scores[::-1][: mode.assignments.count]
                row["assignment"] = sum(half_up(Fraction(mode.assignments.points_each * s, 10_000)) for s in best)
            if mode.interaction:
                gone = {e.data.post_id for e in self.of("post.removed", course_id=course)}
                live = self.latest_by("post_id", self.of("post.published", course_id=course))
                kinds = [e.data.kind for post, e in live.items() if post not in gone]
                number = min(kinds.count("question"), mode.interaction.questions) + min(kinds.count("reply"), mode.interaction.replies)
                row["interaction"] = number * mode.interaction.points_each
            if mode.works:
                good = [e for e, verdict in self.works() if e.data.course_id == course and e.data.kind in mode.works.kinds]
                good = [e for e, verdict in self.works() if e in good and verdict != "returned"]
                row["works"] = min(len(good), mode.works.count) * mode.works.points_each
            if mode.process:
                marks = self.of("process.marked", course_id=course)
                row["process"] = half_up(Fraction(mode.process.points * marks[-1].data.score, 10_000)) if marks else 0
            if mode.exam:
                chosen = self.of("assessment.chosen", course_id=course)
                form = mode.exam.forms[0] if len(mode.exam.forms) == 1 else chosen[-1].data.form if chosen else "paper"
                latest = self.latest_by("attempt_id", self.of("exam.marked", course_id=course)).values()
                tries = [e.data.score for e in latest if e.data.form == form]
                row["attempts"] = len(tries)
                if mode.exam.gate_items is not None:
                    names = {"assignments": "assignment"}
                    row["gate_points"] = sum(row[names.get(item, item)] for item in mode.exam.gate_items)
                    row["gate_met"] = row["gate_points"] >= mode.exam.gate_at_least
                if row["gate_met"] and tries:
                    row["exam"] = half_up(Fraction(mode.exam.points * max(tries), 10_000))
                row["before"] = bool(tries) and not row["gate_met"]
        row["total"] = sum(row[item] for item in ("study", "assignment", "interaction", "works", "process", "exam"))
        row["passed"] = mode is not None and row["total"] >= mode.pass_at
        worth = p.courses[course].credits
        if p.credits_on_pass:
            row["credits"] = worth if row["passed"] else 0
        else:
            row["credits"] = min(floor(Fraction(worth * seconds, p.courses[course].seconds)), worth)
        return row

    def works(self) -> list[tuple[Event, str]]:
        gone = {e.data.work_id for e in self.of("work.removed")}
        reviews = self.latest_by("work_id", self.of("work.reviewed"))
        published = self.latest_by("work_id", self.of("work.published"))
        return [(e, reviews[w].data.verdict if w in reviews else "") for w, e in published.items() if w not in gone]

    def result(self, now: int) -> str:
        cases = self.latest_by("case_id", self.of("plagiarism.ruled")).values()
        if self.p.plagiarism_fails and any(e.data.verdict == "confirmed" for e in cases):
            return "failed"

        def holds(criteria: Any) -> bool:
            good = True
            if criteria.every_selected:
                good &= bool(self.rows) and all(row["passed"] for row in self.rows.values())
            if criteria.credited_seconds is not None:
                good &= sum(row["seconds"] for row in self.rows.values()) >= criteria.credited_seconds
            if criteria.accepted_works is not None:
                activity, count = criteria.accepted_works
                good &= sum(e.data.activity_id == activity and verdict == "accepted" for e, verdict in self.works()) >= count
            if criteria.mean_total is not None:
                good &= (
                    bool(self.rows) and Fraction(sum(r["total"] for r in self.rows.values()), len(self.rows) or 1) >= criteria.mean_total
                )
            return good

        if holds(self.p.passed):
            return "excellent" if self.p.excellent and holds(self.p.excellent) else "passed"
        return "failed" if now >= self.p.results_final_ms else "in_progress"

    def prepare(self) -> Plain:
        self.credited = self.seconds()
        self.rows = {course: self.course(course) for course in self.selected()}
        return self

    # -- flags

    def flags(self, now: int) -> dict[tuple[str, str], tuple[int, str, str, int]]:
        """(kind, ref) -> (raised_at, severity, owner, follow-ups)."""
        p, rules = self.p, self.p.attention
        found: dict[tuple[str, str], tuple[int, int, str]] = {}  # raised_at, since, severity
        if self.withdrawn():
            return {}
        back = self.reinstated()

        def based(kind: str, ref: str, steps: Any, *bases: int | None) -> None:
            base = max(b for b in bases if b is not None)
            if steps and now >= base + steps.notice_ms:
                grade = "escalation" if now >= base + steps.escalation_ms else "warning" if now >= base + steps.warning_ms else "notice"
                found[kind, ref] = (base + steps.notice_ms, base, grade)

        mode = p.modes.get(self.mode())
        if self.result(now) == "in_progress" and p.opens_ms <= now < p.ends_ms:
            enrolled, registered = self.of("learner.enrolled"), self.of("learner.registered")
            timed = not p.credits_on_pass or (mode is not None and mode.study is not None)
            if enrolled and not registered:
                based("not_registered", "", rules.not_registered, enrolled[0].time_ms + rules.within_ms, back)
            if timed and registered and not self.acts(starting=True):
                based("not_started", "", rules.not_started, registered[0].time_ms, p.starts_ms, back)
            if timed and self.acts(starting=True):
                based("inactive", "", rules.inactive, self.acts()[-1], p.starts_ms, back)
            if timed and registered and self.rows and rules.behind:
                midnights = []
                day = datetime.fromisoformat(p.starts)
                while day <= datetime.fromisoformat(p.ends):
                    ms = int(day.replace(tzinfo=self.zone).timestamp()) * 1000
                    if ms <= now and (back is None or ms > back):
                        midnights.append(ms)
                    day += timedelta(days=1)
                run = None
                for m in midnights:
                    under = self.under(m) if registered[0].time_ms < m else Fraction(-1)
                    run = (run or m) if under * 100 > rules.behind.tolerance else None
                if run is not None:
                    under = self.under(midnights[-1]) * 100
                    grade = "escalation" if under > rules.behind.escalation else "warning" if under > rules.behind.warning else "notice"
                    found["behind", ""] = (run, run, grade)
            for course, row in self.rows.items():
                if row["passed"] or mode is None:
                    continue
                if mode.assignments and course in rules.overdue_ms and row["submitted"] < mode.assignments.count:
                    since = None
                    if not p.select_all:
                        for e in self.of("course.selected", "course.dropped", course_id=course):
                            since = None if name(e) == "course.dropped" else since or e.time_ms
                    based("assignment_overdue", course, rules.assignment_overdue, rules.overdue_ms[course], since, back)
                if mode.exam and row["gate_met"] and not row["attempts"] and rules.exam_due:
                    steps = rules.exam_due
                    raised = max(p.ends_ms - steps.notice_ms, back or 0)
                    if now >= raised:
                        left = p.ends_ms - now
                        grade = "escalation" if left <= steps.escalation_ms else "warning" if left <= steps.warning_ms else "notice"
                        found["exam_due", course] = (raised, raised, grade)
        if rules.plagiarism_suspected:
            for case in {e.data.case_id for e in self.of("plagiarism.ruled")}:
                began = None
                for e in self.of("plagiarism.ruled", case_id=case):
                    began = (began or e.time_ms) if e.data.verdict == "suspected" else None
                if began is not None and now >= began:
                    found["plagiarism_suspected", case] = (began, began, "warning")
        return {key: (raised, grade, *self.owner(key, raised, since, now)) for key, (raised, since, grade) in found.items()}

    def under(self, m: int) -> Fraction:
        """How far under the elapsed share the credited share is at a midnight, in points of 100."""
        day, counted, needed = self.day(m), 0, 0
        for course in self.rows:
            most = self.p.courses[course].seconds
            counted += min(sum(s for (d, c), s in self.credited.items() if c == course and d < day), most)
            needed += most
        return 100 * (Fraction(m - self.p.starts_ms, self.p.ends_ms - self.p.starts_ms) - Fraction(counted, needed))

    def owner(self, key: tuple[str, str], raised: int, since: int, now: int) -> tuple[str, int]:
        heard = [e for e in self.of("follow_up.recorded", flag=key[0]) if e.data.ref in (None, key[1]) and e.time_ms >= since]
        last = max([raised, *(e.time_ms for e in heard)])
        rules = self.p.attention
        if rules.county_after_ms is None or rules.city_after_ms is None:
            return "school", len(heard)
        return ("city" if now >= last + rules.city_after_ms else "county" if now >= last + rules.county_after_ms else "school"), len(heard)
