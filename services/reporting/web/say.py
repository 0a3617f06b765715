"""What a course still lacks and what would be enough, in a sentence or two: pure functions of points and rules, in 1/100."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from schemas.programme import Course, Mode, Programme
from schemas.progress import ITEM_COLUMNS
from services.reporting.web.shapes import hundredths, tidy
from services.reporting.web.texts import Translator


@dataclass(frozen=True, slots=True)
class Standing:
    """A learner's course as its row says, all in 1/100 but `seconds`; `counts` what its explanation says it counted."""

    points: Mapping[str, int]
    total: int
    gate: int
    gate_met: bool
    exam_early: bool
    passed: bool
    seconds: int
    credits: int
    counts: Mapping[str, int]


def cents(value: Any) -> int:
    """A Decimal of two places as 1/100."""
    return int(value * 100)


def most(mode: Mode, item: str) -> int:
    """The most points that an item can give."""
    if item == "study":
        return mode.study.points if mode.study else 0
    if item == "assignments":
        return mode.assignments.count * mode.assignments.points_each if mode.assignments else 0
    if item == "interaction":
        return (mode.interaction.questions + mode.interaction.replies) * mode.interaction.points_each if mode.interaction else 0
    if item == "works":
        return mode.works.count * mode.works.points_each if mode.works else 0
    if item == "process":
        return mode.process.points if mode.process else 0
    return mode.exam.points if mode.exam else 0


def _number(part: Any, *names: str) -> int | None:
    if isinstance(part, Mapping):
        for name in names:
            value = part.get(name)
            if isinstance(value, list):
                return len(value)
            if isinstance(value, int | float | str) and str(value).isdigit():
                return int(value)
    return None


def standing(row: Mapping[str, Any], mode: Mode | None) -> Standing:
    """The row of `course_progress`; counts come from its explanation, and where that is silent from the points themselves."""
    points = {item: cents(row[column]) for item, column in ITEM_COLUMNS.items()}
    said = row["explanation"] if isinstance(row["explanation"], Mapping) else {}
    said = said.get("items", said)
    counts: dict[str, int] = {}
    if mode and mode.assignments and mode.assignments.points_each:
        graded = _number(said.get("assignments"), "graded")
        if graded is None:
            graded = -(-points["assignments"] // mode.assignments.points_each)
        submitted = max(graded, _number(said.get("assignments"), "submitted") or 0)
        counts["assignments"], counts["submitted"] = min(graded, mode.assignments.count), min(submitted, mode.assignments.count)
    if mode and mode.works and mode.works.points_each:
        counts["works"] = points["works"] // mode.works.points_each
    if mode and mode.interaction and mode.interaction.points_each:
        done = points["interaction"] // mode.interaction.points_each
        replies = _number(said.get("interaction"), "replies")
        questions = _number(said.get("interaction"), "questions")
        if replies is None or questions is None:
            questions = min(done, mode.interaction.questions)
            replies = done - questions
        counts["questions"], counts["replies"] = min(questions, mode.interaction.questions), min(replies, mode.interaction.replies)
    return Standing(
        points,
        cents(row["total_points"]),
        cents(row["gate_points"]),
        bool(row["gate_met"]),
        bool(row["exam_before_gate"]),
        bool(row["passed"]),
        int(row["credited_seconds"]),
        cents(row["credits"]),
        counts,
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """More of one thing: `units` of it at most, each giving `each`; a study threshold gives all at once."""

    key: str
    each: int
    units: int
    hours: str = ""

    def enough(self, short: int) -> int | None:
        n = -(-short // self.each) if self.each else 0
        return n if 0 < n <= self.units else None

    def text(self, n: int, t: Translator) -> Markup:
        return t.html(self.key, hours=self.hours) if self.hours else t.html(self.key + (".one" if n == 1 else ""), n=n)


def _ways(c: Standing, mode: Mode, items: frozenset[str], rules: Programme) -> list[_Way]:
    ways: list[_Way] = []
    if mode.interaction and "interaction" in items:
        ways.append(_Way("way.replies", mode.interaction.points_each, mode.interaction.replies - c.counts.get("replies", 0)))
        ways.append(_Way("way.questions", mode.interaction.points_each, mode.interaction.questions - c.counts.get("questions", 0)))
    if mode.assignments and "assignments" in items:
        ways.append(_Way("way.assignments", mode.assignments.points_each, mode.assignments.count - c.counts.get("submitted", 0)))
    if mode.works and "works" in items:
        ways.append(_Way("way.works", mode.works.points_each, mode.works.count - c.counts.get("works", 0)))
    if mode.study and "study" in items and c.seconds < mode.study.seconds:
        left = mode.study.seconds - c.seconds
        hours = tidy(-(-left * 10_000 // rules.study_hour))  # rounded up: so much is enough
        ways.append(_Way("way.study", mode.study.points - c.points["study"], 1, hours))
    return [way for way in ways if way.units > 0 and way.each > 0]


def enough(short: int, ways: list[_Way], t: Translator) -> Markup | None:
    """What would give `short` points: up to two single ways, or one after the other until it is reached; None where nothing is."""
    single = [way.text(n, t) for way in ways if (n := way.enough(short)) is not None]
    if single:
        return Markup(t("say.join.or")).join(single[:2])
    parts: list[Markup] = []
    for way in sorted(ways, key=lambda way: -way.each * way.units):
        n = min(way.units, -(-short // way.each))
        parts.append(way.text(n, t))
        short -= n * way.each
        if short <= 0:
            return Markup(t("say.join.and")).join(parts)
    return None


def by_points(c: Standing, mode: Mode, rules: Programme, t: Translator) -> tuple[list[Markup], str]:
    """Sentences on a course with points, and their tone (good, care or '')."""
    if c.passed:
        return [t.html("say.passed", total=hundredths(c.total), pass_at=tidy(mode.pass_at))], "good"
    said: list[Markup] = []
    others = frozenset(item for item in ITEM_COLUMNS if item not in ("exam", "process"))
    exam = mode.exam
    before = c.total - c.points["exam"]
    if exam is None or c.points["exam"] > 0:
        short = max(0, mode.pass_at - c.total)
        said.append(t.html("say.short", pass_at=tidy(mode.pass_at), short=tidy(short)))
        if ways := enough(short, _ways(c, mode, others, rules), t):
            said.append(Markup(t("say.enough", ways="{ways}")).format(ways=ways))
        elif exam and mode.pass_at - before <= exam.points:
            said.append(t.html("say.exam.need", points=tidy(mode.pass_at - before), most=tidy(exam.points)))
        return said, "care"
    gained = 0
    if not c.gate_met:
        gained = max(0, exam.gate_at_least - c.gate)
        said.append(t.html("say.gate", gate=tidy(exam.gate_at_least), have=tidy(c.gate), short=tidy(gained)))
        if ways := enough(gained, _ways(c, mode, exam.gate_items or frozenset(), rules), t):
            said.append(Markup(t("say.gate.with", ways="{ways}")).format(ways=ways))
        if c.exam_early:
            said.append(t.html("say.exam.before"))
    elif exam.gate_items:
        said.append(t.html("say.gate.met", gate=tidy(exam.gate_at_least), have=tidy(c.gate)))
    if waiting := c.counts.get("submitted", 0) - c.counts.get("assignments", 0):
        said.append(t.html("say.grading", n=waiting))
    need = mode.pass_at - before - gained
    if need <= exam.points:
        said.append(t.html("say.exam.need", points=tidy(max(need, 1)), most=tidy(exam.points)))
    else:
        short = need - exam.points
        said.append(t.html("say.exam.more", short=tidy(short)))
    return said, "" if c.gate_met else "care"


def by_rulings(c: Standing, mode: Mode, final: bool, t: Translator) -> list[Markup]:
    """Sentences on a course that is not passed, once the programme has ended: nothing can be done any more, until `final` only ruled on."""
    short = t.html("say.short", pass_at=tidy(mode.pass_at), short=tidy(mode.pass_at - c.total))
    return [short, t.html("say.final" if final else "say.ended")]


def by_hours(c: Standing, course: Course, rules: Programme, t: Translator) -> tuple[list[Markup], str]:
    """Sentences on a course that is only studied, without points."""
    if c.seconds >= course.seconds:
        return [t.html("say.hours.done", credits=tidy(c.credits))], "good"
    if c.seconds == 0:
        return [t.html("say.hours.none", hours=tidy(course.hours))], ""
    left = -(-(course.seconds - c.seconds) * 10_000 // rules.study_hour)
    return [t.html("say.hours.left", short=tidy(left))], ""
