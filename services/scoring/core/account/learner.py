"""A learner as a whole: why this mode and class, which conditions of the result hold, what each open flag rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.programme import Criteria, Programme, ThresholdsMs
from schemas.progress import Flag, instant_ms
from services.scoring.core.account.model import (
    AccountError,
    Condition,
    CourseAccount,
    FlagAccount,
    Line,
    Record,
    Said,
    Why,
    latest_of,
    no,
    own_time,
    yes,
)

MEMBERSHIP = ("learner.enrolled", "learner.registered", "learner.transferred")
STATUS = ("learner.withdrawn", "learner.reinstated")
SELECTION = ("learner.registered", "course.selected", "course.dropped")
EARNING = ("study.recorded", "assignment.submitted", "post.published", "work.published", "assessment.chosen", "exam.marked")
ACTS = frozenset([*SELECTION, *EARNING, "platform.visited"])


class Member:
    """What enrolment, registration, transfers, withdrawal and reinstatement say, each with the fact that says it."""

    def __init__(self, programme: Programme, records: Sequence[Record]) -> None:
        known = [record for record in records if record.kind in MEMBERSHIP]
        self._records = [*known, *(record for record in records if record.kind in STATUS)]
        self._class = _latest(known)
        self._mode = _latest([record for record in known if record.data.mode is not None])
        self._person = _latest([record for record in known if record.kind == "learner.enrolled"])
        self.enrolled = _earliest([record for record in known if record.kind == "learner.enrolled"])
        self.registered = _earliest([record for record in known if record.kind == "learner.registered"])
        self._status = _latest([record for record in records if record.kind in STATUS])
        self.reinstated = _latest([record for record in records if record.kind == "learner.reinstated"])
        self._programme = programme

    @property
    def withdrawn(self) -> bool:
        return self._status is not None and self._status.kind == "learner.withdrawn"

    def class_(self) -> Said:
        record = self._class
        return Said(record.data.class_id, "fact", record) if record else Said("", "default")

    def mode(self) -> Said:
        """The latest fact that names a mode, else the programme's rule by age at the end of the year, else online."""
        if self._mode is not None:
            return Said(self._mode.data.mode, "fact", self._mode)
        ages, person = self._programme.online_ages, self._person
        if ages is None or person is None or person.data.birth_year is None or person.data.gender is None:
            return Said("online", "default", person)
        birth_year, gender = person.data.birth_year, person.data.gender
        limit = ages.male_younger_than if gender == "male" else ages.female_up_to
        facts: dict[str, int | str | None] = {"age": self._programme.year - birth_year, "gender": gender, "online_limit": limit}
        return Said(self._programme.mode_by_rule(birth_year, gender), "rule", person, facts)

    def lines(self) -> list[Line]:
        """Each fact with what it decides; one that decides nothing was superseded."""
        by_rule = self._person if self.mode().by == "rule" else None
        deciding = (
            (self._class, "gives_class"),
            (self._mode, "gives_mode"),
            (by_rule, "gives_age"),
            (self.enrolled, "gives_enrolment"),
            (self.registered, "gives_registration"),
            (self._status, "withdraws" if self.withdrawn else "reinstates"),
        )
        lines = []
        for record in self._records:
            why = tuple(Why(code) for decides, code in deciding if decides is record)
            lines.append(Line(record, "yes", why=why) if why else no(record, "superseded"))
        return lines


def _latest(records: Sequence[Record]) -> Record | None:
    return max(records, key=lambda record: record.stamp, default=None)


def _earliest(records: Sequence[Record]) -> Record | None:
    return min(records, key=lambda record: record.stamp, default=None)


def act_ms(record: Record) -> int:
    """When it happened as an act: study at its end, an exam when it was sat."""
    return int(record.data.ended_at) * 1000 if record.kind == "study.recorded" else own_time(record)


def acts_of(records: Sequence[Record]) -> dict[str, int | None]:
    """First, first starting and last act, ms."""
    acts = [(act_ms(record), record.kind) for record in records if record.kind in ACTS]
    moments = [moment for moment, _ in acts]
    return {
        "first_active_at": min(moments, default=None),
        "last_active_at": max(moments, default=None),
        "started_at": min((moment for moment, kind in acts if kind not in SELECTION), default=None),
    }


def case_lines(records: Sequence[Record]) -> list[Line]:
    """The latest ruling of each case holds."""
    final, older = latest_of(records, lambda record: record.data.case_id)
    return [*(yes(record, None, record.data.verdict) for record in final.values()), *older]


def conditions(
    criteria: Criteria, programme: Programme, courses: Sequence[CourseAccount], seconds: int, accepted: Mapping[str, int], cases: list[Line]
) -> tuple[Condition, ...]:
    """Every condition of a result; `courses` are the selected ones, `accepted` counts accepted live works by activity."""
    found: list[Condition] = []
    if criteria.every_selected:
        done = sum(course.passed for course in courses)
        found.append(Condition("every_selected", done, len(courses), bool(courses) and done == len(courses)))
    if criteria.credited_seconds is not None:
        found.append(Condition("credited_seconds", seconds, criteria.credited_seconds, seconds >= criteria.credited_seconds))
    if criteria.accepted_works is not None:
        activity, count = criteria.accepted_works
        have = accepted.get(activity, 0)
        found.append(Condition("accepted_works", have, count, have >= count, activity))
    if criteria.mean_total is not None:
        total, need = sum(course.total for course in courses), criteria.mean_total * len(courses)
        found.append(Condition("sum_of_totals", total, need or criteria.mean_total, bool(courses) and total >= need))
    if programme.plagiarism_fails:
        confirmed = [line for line in cases if line.counts == "yes" and line.record.data.verdict == "confirmed"]
        of = confirmed[0].record.data.case_id if confirmed else ""
        found.append(Condition("no_confirmed_plagiarism", len(confirmed), 0, not confirmed, of))
    return tuple(found)


# -- flags ------------------------------------------------------------------------------------------------------------


def follow_up_lines(records: Sequence[Record], flags: Sequence[FlagAccount]) -> list[Line]:
    """A follow-up belongs to an open flag of its kind, with its ref or none, from the flag's base on."""
    lines = []
    for record in records:
        of = [flag for flag in flags if _follows(record, flag)]
        lines.append(Line(record, "yes", why=(Why("of_open_flag"),)) if of else no(record, "no_open_flag"))
    for flag in flags:
        if sum(_follows(record, flag) for record in records) != flag.follow_ups:
            raise AccountError(f"{flag.kind} {flag.ref}: follow-ups differ")
    return lines


def _follows(record: Record, flag: FlagAccount) -> bool:
    since = flag.raised_at if flag.base_at is None else flag.base_at
    return record.data.flag == flag.kind and (record.data.ref or "") in ("", flag.ref) and record.time_ms >= since


def flag_account(programme: Programme, flag: Flag, facts: Mapping[str, int | str | None], now_ms: int) -> FlagAccount:
    """From the published flag and the rules to when it changes by itself. Raises AccountError where they disagree on its severity."""
    raised_at = instant_ms(flag.raised_at)
    rules = programme.attention
    base: int | None = None
    warning = escalation = None
    steps: ThresholdsMs | None = None
    if flag.kind in ("not_registered", "not_started", "inactive", "assignment_overdue"):
        steps = getattr(rules, flag.kind)
        assert steps is not None
        base = raised_at - steps.notice_ms
        warning, escalation = base + steps.warning_ms, base + steps.escalation_ms
    elif flag.kind == "exam_due" and rules.exam_due is not None:
        warning, escalation = programme.ends_ms - rules.exam_due.warning_ms, programme.ends_ms - rules.exam_due.escalation_ms
    if warning is not None and escalation is not None:
        severity = "escalation" if now_ms >= escalation else "warning" if now_ms >= warning else "notice"
        if severity != flag.severity:
            raise AccountError(f"{flag.kind} {flag.ref}: {flag.severity} is published, {severity} follows from its base")
    steps_ahead = ((warning, "warning"), (escalation, "escalation"))
    coming = [(moment, name) for moment, name in steps_ahead if moment is not None and moment > now_ms]
    turn = min(coming, default=(None, None))
    if turn[1] == "warning" and flag.severity == "escalation":
        turn = (None, None)
    owner, owner_at = _next_owner(programme, flag, raised_at, now_ms)
    return FlagAccount(
        flag.kind, flag.ref, flag.severity, raised_at, base, turn[1], turn[0], flag.owner_level, owner, owner_at, flag.follow_ups, facts
    )


def _next_owner(programme: Programme, flag: Flag, raised_at: int, now_ms: int) -> tuple[str | None, int | None]:
    rules = programme.attention
    if rules.county_after_ms is None or rules.city_after_ms is None:
        return None, None
    last = instant_ms(flag.last_follow_up_at) if flag.last_follow_up_at else raised_at
    heard = max(raised_at, last)
    for owner, after in (("county", rules.county_after_ms), ("city", rules.city_after_ms)):
        if heard + after > now_ms and flag.owner_level != owner and not (owner == "county" and flag.owner_level == "city"):
            return owner, heard + after
    return None, None
