"""One learner by all facts: class, mode, courses, acts, marks and result (RULES up to "Result")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cached_property
from math import floor
from typing import Any

from tests.properties.reference.facts import ACTS, NOT_STARTING, Fact, counts, facts_of
from tests.properties.reference.local_days import day_of
from tests.properties.reference.rules import Rules, is_true, number
from tests.properties.reference.study import credited

ITEMS = ("study", "assignments", "interaction", "works", "process", "exam")


def half_up(points: Fraction) -> Fraction:
    """Points, to 1/100."""
    return Fraction(floor(points * 100 + Fraction(1, 2)), 100)


def cut(value: Fraction) -> Fraction:
    """To 1/100, never up."""
    return Fraction(floor(value * 100), 100)


class Facts:
    """What the facts say of one learner in one programme, whatever the moment. `all` has every fact, `counting` those that count."""

    def __init__(self, rules: Rules, events: Iterable[Mapping[str, Any]]) -> None:
        self.rules = rules
        mine = [event for event in events if event["programme"] == str(rules.file["id"])]
        assert len({event["subject"] for event in mine}) == 1, "the events of one learner are expected"
        self.learner_id: str = mine[0]["subject"]
        self.all = facts_of(mine)
        self.counting = [fact for fact in self.all if counts(rules, fact)]
        self._by_kind: dict[str, list[Fact]] = {}
        for fact in self.counting:
            self._by_kind.setdefault(fact.kind, []).append(fact)

    def of(self, *kinds: str, **data: Any) -> list[Fact]:
        """The counting facts of these kinds that say this, the latest last."""
        found = [fact for kind in kinds for fact in self._by_kind.get(kind, ()) if all(fact.data.get(k) == v for k, v in data.items())]
        return sorted(found, key=lambda fact: fact.order) if len(kinds) > 1 else found

    def latest_by(self, key: str, kind: str, **data: Any) -> dict[str, Fact]:
        """Of each key its latest fact."""
        return {fact.data[key]: fact for fact in self.of(kind, **data)}

    # -- who

    @cached_property
    def class_id(self) -> str:
        said = self.of("learner.enrolled", "learner.registered", "learner.transferred")
        return str(said[-1].data["class_id"]) if said else ""

    @cached_property
    def mode(self) -> str:
        said = [f for f in self.of("learner.enrolled", "learner.registered", "learner.transferred") if "mode" in f.data]
        if said:
            return str(said[-1].data["mode"])
        ages, enrolled = self.rules.part("mode_rule", "online"), self.of("learner.enrolled")
        if ages is None or not enrolled or not {"birth_year", "gender"} <= enrolled[-1].data.keys():
            return "online"
        person = enrolled[-1].data
        age = self.rules.first_day.year - person["birth_year"]
        if person["gender"] == "male":
            return "online" if age < number(ages["male_younger_than"]) else "disc"
        return "online" if age <= number(ages["female_up_to"]) else "disc"

    @cached_property
    def registered_at(self) -> int | None:
        return min((fact.time for fact in self.of("learner.registered")), default=None)

    @cached_property
    def enrolled_at(self) -> int | None:
        return min((fact.time for fact in self.of("learner.enrolled")), default=None)

    @cached_property
    def withdrawn(self) -> bool:
        said = self.of("learner.withdrawn", "learner.reinstated")
        return bool(said) and said[-1].kind == "learner.withdrawn"

    @cached_property
    def reinstated_at(self) -> int | None:
        return max((fact.time for fact in self.of("learner.reinstated")), default=None)

    @cached_property
    def acts(self) -> list[Fact]:
        """Every act, whether it counts or not."""
        return [fact for fact in self.all if fact.kind in ACTS]

    @cached_property
    def started_at(self) -> int | None:
        return min((fact.acted_at for fact in self.acts if fact.kind not in NOT_STARTING), default=None)

    @cached_property
    def last_act(self) -> int | None:
        return max((fact.acted_at for fact in self.acts), default=None)

    @cached_property
    def selected(self) -> list[str]:
        """The selected courses, in the file's order."""
        if self.rules.everybodys:
            return list(self.rules.courses)
        said = {course: self.of("course.selected", "course.dropped", course_id=course) for course in self.rules.courses}
        return [course for course, facts in said.items() if facts and facts[-1].kind == "course.selected"]

    # -- time

    @cached_property
    def credited(self) -> dict[Any, dict[str, int]]:
        """Seconds by local day and course."""
        return credited(self.rules, self.of("study.recorded"))

    def days(self) -> dict[str, dict[str, Any]]:
        """Every local day with credit or an act: credited seconds on any course, and whether there was an act."""
        active = {day_of(self.rules.zone, fact.acted_at) for fact in self.acts}
        return {
            day.isoformat(): {"credited_seconds": sum(self.credited.get(day, {}).values()), "active": day in active}
            for day in active | self.credited.keys()
        }

    # -- points

    @cached_property
    def courses(self) -> dict[str, dict[str, Any]]:
        return {course: self._course(course) for course in self.selected}

    def _course(self, course: str) -> dict[str, Any]:
        """Seconds, counts and points of a selected course; points are Fractions."""
        rules, mode = self.rules, self.mode
        hours = rules.course_seconds(course)
        seconds = sum(courses.get(course, 0) for courses in self.credited.values())
        if is_true(rules.part("cap_at_course_hours")):
            seconds = min(seconds, int(hours))
        row: dict[str, Any] = {"seconds": seconds, "points": dict.fromkeys(ITEMS, Fraction(0))}
        points = row["points"]
        row["last_act"] = max((fact.acted_at for fact in self.acts if fact.data.get("course_id") == course), default=None)

        row["submitted"] = len({fact.data["assignment_id"] for fact in self.of("assignment.submitted", course_id=course)})
        grades = self.latest_by("assignment_id", "assignment.graded", course_id=course)
        row["graded"] = len(grades)
        removed = {fact.data["post_id"] for fact in self.of("post.removed", course_id=course)}
        posts = [fact for post, fact in self.latest_by("post_id", "post.published", course_id=course).items() if post not in removed]
        row["questions"] = sum(fact.data["kind"] == "question" for fact in posts)
        row["replies"] = sum(fact.data["kind"] == "reply" for fact in posts)
        processed = self.of("process.marked", course_id=course)
        row["process_score"] = Fraction(processed[-1].data["score"]) if processed else None

        if item := rules.item(mode, "study"):
            needed = rules.seconds(item["hours"])
            if item["award"] == "threshold":
                points["study"] = number(item["points"]) if seconds >= needed else Fraction(0)
            else:
                points["study"] = min(half_up(number(item["points"]) * seconds / needed), number(item["points"]))
        if item := rules.item(mode, "assignments"):
            best = sorted((Fraction(fact.data["score"]) for fact in grades.values()), reverse=True)[: int(item["count"])]
            points["assignments"] = sum((half_up(number(item["points_each"]) * score) for score in best), Fraction(0))
        if item := rules.item(mode, "interaction"):
            counted = min(row["questions"], int(item["questions"])) + min(row["replies"], int(item["replies"]))
            points["interaction"] = half_up(counted * number(item["points_each"]))
        if item := rules.item(mode, "works"):
            live = [
                fact
                for fact, verdict in self.live_works
                if fact.data.get("course_id") == course and fact.data["kind"] in item["kinds"] and verdict != "returned"
            ]
            row["works"] = len(live)
            points["works"] = half_up(min(len(live), int(item["count"])) * number(item["points_each"]))
        if (item := rules.item(mode, "process")) and row["process_score"] is not None:
            points["process"] = half_up(number(item["points"]) * row["process_score"])

        row |= {"gate_points": Fraction(0), "gate_met": True, "form": "", "attempts": 0, "best": None}
        if item := rules.item(mode, "exam"):
            forms, chosen = item["forms"], self.of("assessment.chosen", course_id=course)
            row["form"] = forms[0] if len(forms) == 1 else chosen[-1].data["form"] if chosen else "paper"
            latest = self.latest_by("attempt_id", "exam.marked", course_id=course).values()
            scores = [Fraction(fact.data["score"]) for fact in latest if fact.data["form"] == row["form"]]
            row["attempts"], row["best"] = len(scores), max(scores, default=None)
            gate = item.get("gate")
            if isinstance(gate, Mapping):
                row["gate_points"] = sum((points[name] for name in gate["items"]), Fraction(0))
                row["gate_met"] = row["gate_points"] >= number(gate["at_least"])
            if row["gate_met"] and scores:
                points["exam"] = half_up(number(item["points"]) * max(scores))
        row["exam_before_gate"] = row["attempts"] > 0 and not row["gate_met"]

        row["total"] = sum(points.values(), Fraction(0))
        row["passed"] = rules.is_scored(mode) and row["total"] >= number(rules.part("scoring", mode, "pass", "total_at_least"))
        worth = number(rules.courses[course].get("credits", 0))
        if rules.part("credits") == "on_pass":
            row["credits"] = worth if row["passed"] else Fraction(0)
        else:
            row["credits"] = cut(min(worth * seconds / hours, worth))
        return row

    @cached_property
    def live_works(self) -> list[tuple[Fact, str]]:
        """Works published and not removed, each with the verdict of its latest review ('' without one)."""
        removed = {fact.data["work_id"] for fact in self.of("work.removed")}
        reviews = {work: fact.data["verdict"] for work, fact in self.latest_by("work_id", "work.reviewed").items()}
        published = self.latest_by("work_id", "work.published")
        return [(fact, reviews.get(work, "")) for work, fact in published.items() if work not in removed]

    # -- result

    @cached_property
    def seconds(self) -> int:
        return sum(row["seconds"] for row in self.courses.values())

    @cached_property
    def earned(self) -> str | None:
        """`failed` by plagiarism, `excellent` or `passed` by the conditions, else None: then the calendar decides."""
        cases = self.latest_by("case_id", "plagiarism.ruled").values()
        fails = self.rules.part("result", "plagiarism_fails")
        if (fails is None or is_true(fails)) and any(fact.data["verdict"] == "confirmed" for fact in cases):
            return "failed"
        if not self._holds(self.rules.part("result", "passed")):
            return None
        excellent = self.rules.part("result", "excellent")
        return "excellent" if excellent is not None and self._holds(excellent) else "passed"

    def result(self, now: int) -> str:
        return self.earned or ("failed" if now >= self.rules.results_final else "in_progress")

    def _holds(self, conditions: Mapping[str, Any]) -> bool:
        rows = self.courses.values()
        met = []
        for name, value in conditions.items():
            if name == "courses":
                met.append(bool(rows) and all(row["passed"] for row in rows))
            elif name == "credited_hours":
                met.append(self.seconds >= self.rules.seconds(value))
            elif name == "accepted_works":
                accepted = [f for f, verdict in self.live_works if f.data.get("activity_id") == value["activity"] and verdict == "accepted"]
                met.append(len(accepted) >= int(value["count"]))
            else:
                assert name == "mean_total_at_least"
                met.append(bool(rows) and sum(row["total"] for row in rows) >= number(value) * len(rows))
        return all(met)
