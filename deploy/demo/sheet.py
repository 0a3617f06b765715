"""One learner's sheet: what the demo sent about them, which of it counts, and the study time that is left of it.

The lower half of the demo's knowledge; like the rest it shares nothing with the services.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from deploy.demo.plans import Plan, number

CENT = Decimal("0.01")
HOURS_24 = 86_400_000
ACTS = {
    "learner.registered", "course.selected", "course.dropped", "platform.visited", "study.recorded", "assignment.submitted",
    "post.published", "work.published", "assessment.chosen", "exam.marked",
}  # fmt: skip
NOT_A_START = {"learner.registered", "course.selected", "course.dropped"}


def instant(text: str) -> int:
    """RFC 3339 text (at most 6 fraction digits) as whole milliseconds since 1970, cut."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


class Known(NamedTuple):
    """One sound fact; `kind` is the type without prefix and version. Sorted, the last is the latest."""

    time: int
    source: str
    id: str
    kind: str
    data: dict[str, Any]


def known(event: dict[str, Any]) -> Known:
    kind = event["type"].removeprefix("chalkstream.").removesuffix(".v1")
    return Known(instant(event["time"]), event["source"], event["id"], kind, event["data"])


class Interval(NamedTuple):
    start: int  # seconds since 1970
    course: str
    end: int


class OpenFlag(NamedTuple):
    kind: str
    ref: str
    severity: str
    raised_at: int
    owner: str
    follow_ups: int
    last_follow_up_at: int | None
    last_outcome: str


@dataclass(slots=True)
class CourseTally:
    credited_seconds: int = 0
    points: dict[str, Decimal] = field(default_factory=dict)  # by item name
    total: Decimal = Decimal(0)
    gate_points: Decimal = Decimal(0)
    gate_met: bool = True
    exam_before_gate: bool = False
    passed: bool = False
    credits: Decimal = Decimal(0)
    last_active_at: int | None = None
    attempts: int = 0  # counting, of the learner's form
    submitted: int = 0  # distinct assignments


@dataclass(slots=True)
class Tally:
    learner_id: str
    programme: str
    class_id: str = ""
    mode: str = "online"
    registered_at: int | None = None
    started_at: int | None = None
    first_active_at: int | None = None
    last_active_at: int | None = None
    withdrawn: bool = False
    courses: dict[str, CourseTally] = field(default_factory=dict)
    days: dict[date, tuple[int, bool]] = field(default_factory=dict)
    credited_seconds: int = 0
    study_hours: Decimal = Decimal(0)
    credits: Decimal = Decimal(0)
    result: str = "in_progress"
    flags: list[OpenFlag] = field(default_factory=list)

    @property
    def courses_passed(self) -> int:
        return sum(course.passed for course in self.courses.values())


def pieces(intervals: Iterable[Interval]) -> list[Interval]:
    """What each interval keeps after the overlap rule, in order of time: a second belongs to the smallest (start, course)."""
    kept, reached = [], 0
    for interval in sorted(set(intervals)):
        if interval.end > reached:
            kept.append(Interval(max(interval.start, reached), interval.course, interval.end))
            reached = interval.end
    return kept


def credited(plan: Plan, intervals: Iterable[Interval]) -> dict[date, list[Interval]]:
    """Credited pieces by local day: cut at midnights, and at the daily cap."""
    cap = plan.rules.get("daily_cap_minutes")
    left_of: dict[date, int] = {}
    days: dict[date, list[Interval]] = {}
    for start, course, end in pieces(intervals):
        while start < end:
            day = plan.day_of(start * 1000)
            stop = min(end, plan.midnight(day + timedelta(days=1)) // 1000)
            left = left_of.setdefault(day, int(number(cap) * 60) if cap is not None else 1 << 40)
            take = min(stop - start, left)
            if take:
                days.setdefault(day, []).append(Interval(start, course, start + take))
                left_of[day] = left - take
            start = stop
    return days


def own_time(fact: Known) -> int:
    if fact.kind == "study.recorded":
        return instant(fact.data["ended_at"]) // 1000 * 1000
    return instant(fact.data["sat_at"]) if fact.kind == "exam.marked" else fact.time


class Sheet:
    """One learner's facts, sorted so that the last is the latest, with the questions the rules ask of them."""

    def __init__(self, plan: Plan, facts: Iterable[Known], now: int) -> None:
        self.plan, self.now = plan, now
        unique = {(fact.source, fact.id): fact for fact in facts}
        self.facts = sorted(unique.values(), key=lambda fact: (fact.time, fact.source, fact.id))
        self.by_kind: dict[str, list[Known]] = {}
        for fact in self.facts:
            self.by_kind.setdefault(fact.kind, []).append(fact)
        self.removed_posts = {(fact.data["course_id"], fact.data["post_id"]) for fact in self.of("post.removed")}
        self.removed_works = {fact.data["work_id"] for fact in self.of("work.removed")}
        self.reinstated = max((fact.time for fact in self.of("learner.reinstated")), default=None)

    def of(self, *kinds: str) -> list[Known]:
        if len(kinds) == 1:
            return self.by_kind.get(kinds[0], [])
        return [fact for fact in self.facts if fact.kind in kinds]

    def open_time(self, *kinds: str) -> list[Known]:
        """Facts that count only with their time from the opening to the end."""
        return [fact for fact in self.of(*kinds) if self.plan.opens <= fact.time < self.plan.ends]

    def ruled(self, *kinds: str) -> list[Known]:
        return [fact for fact in self.of(*kinds) if fact.time < self.plan.final]

    def selected(self) -> list[str]:
        if self.plan.rules["selection"] == "all":
            return list(self.plan.courses)
        latest = {fact.data["course_id"]: fact.kind for fact in self.open_time("course.selected", "course.dropped")}
        return [course for course, kind in latest.items() if kind == "course.selected" and course in self.plan.courses]

    def intervals(self) -> list[Interval]:
        found = [
            Interval(instant(fact.data["started_at"]) // 1000, fact.data["course_id"], instant(fact.data["ended_at"]) // 1000)
            for fact in self.of("study.recorded")
        ]
        return [interval for interval in found if self.plan.starts <= interval.start * 1000 < self.plan.ends]

    def works(self) -> dict[str, tuple[dict[str, Any], str]]:
        """Works not removed: their latest publication and the verdict of their latest review ('' without)."""
        published = {fact.data["work_id"]: fact.data for fact in self.open_time("work.published")}
        reviews = {fact.data["work_id"]: fact.data["verdict"] for fact in self.ruled("work.reviewed")}
        return {work: (data, reviews.get(work, "")) for work, data in published.items() if work not in self.removed_works}

    def cases(self) -> dict[str, str]:
        return {fact.data["case_id"]: fact.data["verdict"] for fact in self.of("plagiarism.ruled")}
