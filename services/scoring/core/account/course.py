"""One course's account: its items with their facts, its gate, what would be enough; and that the facts' parts are the published points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from schemas.programme import Mode, Programme
from schemas.progress import ITEM_COLUMNS, CourseProgress, cents
from services.scoring.core.account.enough import ITEMS, Have, enough, limits, room_of
from services.scoring.core.account.marks import assignment_lines, exam_lines, interaction_lines, process_lines, selection_lines
from services.scoring.core.account.model import AccountError, CourseAccount, Gate, Item, Line, Record, listed, no
from services.scoring.core.account.works import WorksOf


def course_account(
    programme: Programme,
    mode: Mode | None,
    course_id: str,
    row: CourseProgress | None,
    of: Callable[[str], list[Record]],
    study: Sequence[Line],
    works: WorksOf,
    now_ms: int,
    seconds_left: int,
    most: int,
) -> CourseAccount:
    """`row` is what is published of the course (None: it has no row); `of(kind)` gives the facts of a kind on it.

    `study` are its lines, `seconds_left` what study can still be credited, `most` how many facts an item lists. Raises AccountError where
    the facts' parts are not what is published.
    """
    known = course_id in programme.courses
    closed = "" if row else "course_not_selected" if known else "unknown_course"
    gate = _gate(mode, row)
    rules = mode or _NO_MODE
    lines = {
        "study": [_closed(line, closed) for line in study],
        "assignments": assignment_lines(programme, rules.assignments, closed, of("assignment.submitted"), of("assignment.graded")),
        "interaction": interaction_lines(programme, rules.interaction, closed, of("post.published"), of("post.removed")),
        "works": works.course_lines(course_id, rules.works, closed),
        "process": process_lines(programme, rules.process, closed, of("process.marked")),
        "exam": exam_lines(programme, rules.exam, closed, gate is None or gate.met, of("exam.marked"), of("assessment.chosen")),
    }
    before_cap = sum(line.seconds or 0 for line in study)
    seconds = row.credited_seconds if row else 0
    cut = max(0, before_cap - programme.courses[course_id].seconds) if row and programme.cap_at_course_hours else 0
    have = _have(lines, row, seconds)
    if row:
        _check(row, mode, lines, before_cap - cut, gate)
    scored = limits(mode) if mode and row else {}
    items = []
    for name in ITEMS:
        if name in scored or lines[name]:
            shown, rest = listed(lines[name], most)
            room = room_of(programme, mode, name, have, now_ms) if mode and name in scored else None
            figures = _figures(name, mode if name in scored else None, have, lines[name])
            items.append(Item(name, name in scored, have.points[name], scored.get(name, 0), figures, shown, rest, len(lines[name]), room))
    selection = selection_lines(programme, closed if not known else "", [*of("course.selected"), *of("course.dropped")])
    if selection:
        items.append(bare("selection", selection, most))
    return CourseAccount(
        course_id=course_id,
        known=known,
        selected=row is not None,
        seconds_before_cap=before_cap,
        cap_cut=cut,
        seconds=seconds,
        items=tuple(items),
        total=have.total,
        pass_at=mode.pass_at if mode and row else None,
        passed=have.passed,
        credits=cents(row.credits) if row else 0,
        gate=gate,
        enough=enough(programme, mode, have, gate, now_ms, seconds_left) if row and mode else None,
    )


def bare(name: str, lines: list[Line], most: int) -> Item:
    """An item that gives no points."""
    shown, rest = listed(lines, most)
    return Item(name, False, 0, 0, {}, shown, rest, len(lines))


def same(what: str, found: object, published: object) -> None:
    """Raises AccountError where a part of the account is not what is published."""
    if found != published:
        raise AccountError(f"{what}: the account has {found}, the core says {published}")


_NO_MODE = Mode(None, None, None, None, None, None, 0)


def _gate(mode: Mode | None, row: CourseProgress | None) -> Gate | None:
    exam = mode.exam if mode else None
    if row is None or exam is None or exam.gate_items is None:
        return None
    items = tuple(name for name in ITEMS if name in exam.gate_items)
    return Gate(items, cents(row.gate_points), exam.gate_at_least, row.gate_met)


def _closed(line: Line, closed: str) -> Line:
    """A line of a course in which nothing counts; its own reason, where it has one, stays the first."""
    if not closed or line.counts == "no":
        return line
    return line._replace(counts="no", why=(*line.why, *no(line.record, closed).why))


def _tally(lines: list[Line], fact: str, **match: str) -> int:
    """How many facts of a type count, of those with these values."""
    return sum(
        line.counts == "yes" and line.record.kind == fact and all(getattr(line.record.data, k) == v for k, v in match.items())
        for line in lines
    )


def _reasons(lines: Sequence[Line], fact: str, code: str) -> int:
    """How many facts of a type have this first reason."""
    return sum(line.record.kind == fact and line.why[:1] != () and line.why[0].code == code for line in lines)


def _points(lines: list[Line]) -> int:
    return sum(line.points or 0 for line in lines)


def _have(lines: dict[str, list[Line]], row: CourseProgress | None, seconds: int) -> Have:
    """What the lines come to; study's points and the total are as published."""
    points = {name: _points(lines[name]) for name in ITEMS}
    points["study"] = cents(row.study_points) if row else 0
    tried = [
        line.record.data.score
        for line in lines["exam"]
        if line.record.kind == "exam.marked" and (line.counts == "yes" or line.why[0].code in ("before_gate", "not_the_best"))
    ]
    return Have(
        points=points,
        seconds=seconds,
        graded=_tally(lines["assignments"], "assignment.graded"),
        questions=_tally(lines["interaction"], "post.published", kind="question"),
        replies=_tally(lines["interaction"], "post.published", kind="reply"),
        works=_tally(lines["works"], "work.published"),
        returned=_reasons(lines["works"], "work.published", "returned"),
        attempts=len(tried),
        best_score=max(tried, default=0),
        total=sum(points.values()),
        passed=row.passed if row else False,
    )


def _figures(name: str, mode: Mode | None, have: Have, lines: list[Line]) -> Mapping[str, int | str | None]:
    """An item's counts against what the rules ask; of study also where the mode does not score it."""
    if name == "study":
        return {"credited": have.seconds, "needed": mode.study.seconds if mode and mode.study else None}
    if mode is None:
        return {}
    if name == "assignments" and mode.assignments:
        waiting = _reasons(lines, "assignment.submitted", "awaits_grade")
        return {"graded": have.graded, "count": mode.assignments.count, "awaiting": waiting}
    if name == "interaction" and mode.interaction:
        asked = mode.interaction
        return {"questions": have.questions, "questions_count": asked.questions, "replies": have.replies, "replies_count": asked.replies}
    if name == "works" and mode.works:
        return {"works": have.works, "count": mode.works.count}
    if name == "process":
        marks = [line.record.data.score for line in lines if line.counts == "yes"]
        return {"score": marks[0] if marks else None}
    return {"attempts": have.attempts, "best_score": have.best_score if have.attempts else None}


def _check(row: CourseProgress, mode: Mode | None, lines: dict[str, list[Line]], seconds: int, gate: Gate | None) -> None:
    """The sum of the facts is each item's points, the sum of the items the total, the credited seconds those of the intervals."""
    where = row.course_id
    same(f"{where}: credited seconds", seconds, row.credited_seconds)
    total = 0
    for name in ITEMS:
        published = cents(getattr(row, ITEM_COLUMNS[name]))
        total += published
        if name != "study":
            same(f"{where}: {name}", _points(lines[name]), published)
    same(f"{where}: total", total, cents(row.total_points))
    if mode is not None:
        same(f"{where}: passed", total >= mode.pass_at, row.passed)
    if gate is not None:
        same(f"{where}: gate", sum(cents(getattr(row, ITEM_COLUMNS[name])) for name in gate.items), gate.points)
        same(f"{where}: gate met", gate.points >= gate.at_least, gate.met)
