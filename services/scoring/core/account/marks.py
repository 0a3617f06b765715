"""What gives points but study: each fact's fate under its item (RULES, "What counts when" and "Points").

In the order of the rules: first what falls out by its time, then the latest of each key is taken, then form, kind and course are
looked at, last what is beyond a count. `closed` is why nothing in a course counts (`unknown_course`, `course_not_selected`), or
''. Where several facts are equally good, which of them is named makes no difference to any figure: the earliest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from schemas.programme import Assignments, Exam, Interaction, Process, Programme
from services.scoring.core.account.model import Line, Record, Why, latest_of, no, yes
from services.scoring.core.marks import times

NOT_SCORED = "not_in_mode"


def opened(programme: Programme, records: Iterable[Record], lines: list[Line]) -> list[Record]:
    """Those with own time in [opens, the end); the others' lines are added."""
    kept = []
    for record in records:
        if record.time_ms < programme.opens_ms:
            lines.append(no(record, "before_open"))
        elif record.time_ms >= programme.ends_ms:
            lines.append(no(record, "after_end"))
        else:
            kept.append(record)
    return kept


def ruled(programme: Programme, records: Iterable[Record], lines: list[Line]) -> list[Record]:
    """Those said before the results were final; the others' lines are added."""
    kept = []
    for record in records:
        if record.time_ms >= programme.results_final_ms:
            lines.append(no(record, "after_results_final"))
        else:
            kept.append(record)
    return kept


def assignment_lines(
    programme: Programme, rule: Assignments | None, closed: str, submitted: list[Record], graded: list[Record]
) -> list[Line]:
    """Grades earn; a submission counts once for its assignment and earns by its grade."""
    lines: list[Line] = []
    grades, older = latest_of(ruled(programme, graded, lines), lambda record: record.data.assignment_id)
    lines += older
    closed = closed or ("" if rule else NOT_SCORED)
    best = sorted(grades.values(), key=lambda record: (-record.data.score, record.stamp))
    for place, record in enumerate(best):
        if closed or rule is None:
            lines.append(no(record, closed))
        elif place < rule.count:
            lines.append(yes(record, times(rule.points_each, record.data.score)))
        else:
            lines.append(no(record, "over_count", *best[: rule.count][-1:]))
    first: dict[str, Record] = {}
    for record in sorted(opened(programme, submitted, lines), key=lambda record: record.stamp):
        assignment = record.data.assignment_id
        if assignment in first:
            lines.append(no(record, "handed_in_before", first[assignment]))
        elif closed:
            lines.append(no(record, closed))
        else:
            lines.append(yes(record, None, "graded" if assignment in grades else "awaits_grade"))
        first.setdefault(assignment, record)
    return lines


def interaction_lines(
    programme: Programme, rule: Interaction | None, closed: str, published: list[Record], removed: list[Record]
) -> list[Line]:
    """Live posts earn, questions and replies each up to their number."""
    lines: list[Line] = []
    gone = earliest(removed, lambda record: record.data.post_id)
    posts, older = latest_of(opened(programme, published, lines), lambda record: record.data.post_id)
    lines += older
    closed = closed or ("" if rule else NOT_SCORED)
    counted = {"question": 0, "reply": 0}
    for record in sorted(posts.values(), key=lambda record: record.stamp):
        kind = record.data.kind
        if record.data.post_id in gone:
            lines.append(no(record, "removed", gone[record.data.post_id]))
        elif closed or rule is None:
            lines.append(no(record, closed))
        elif counted[kind] < (rule.questions if kind == "question" else rule.replies):
            counted[kind] += 1
            lines.append(yes(record, rule.points_each))
        else:
            lines.append(no(record, "over_count"))
    lines += [removal_line(record, gone[record.data.post_id], posts.get(record.data.post_id)) for record in removed]
    return lines


def process_lines(programme: Programme, rule: Process | None, closed: str, marked: list[Record]) -> list[Line]:
    """The latest mark earns."""
    lines: list[Line] = []
    final, older = latest_of(ruled(programme, marked, lines), lambda record: "")
    closed = closed or ("" if rule else NOT_SCORED)
    for record in final.values():
        lines.append(no(record, closed) if closed or rule is None else yes(record, times(rule.points, record.data.score)))
    return lines + older


def exam_lines(
    programme: Programme, rule: Exam | None, closed: str, gate_met: bool, marked: list[Record], chosen: list[Record]
) -> list[Line]:
    """The best of the latest marks per attempt in the learner's form earns, once the gate is met."""
    lines: list[Line] = []
    closed = closed or ("" if rule else NOT_SCORED)
    choice, older = latest_of(opened(programme, chosen, lines), lambda record: "")
    lines += older
    form = ""
    if rule is not None:
        form = rule.forms[0] if len(rule.forms) == 1 else choice[""].data.form if choice else "paper"
    for record in choice.values():
        fixed = rule is not None and len(rule.forms) == 1
        lines.append(no(record, closed or "form_is_fixed") if closed or fixed else yes(record, None, "sets_form"))

    inside: list[Record] = []
    for record in ruled(programme, marked, lines):
        if not programme.starts_ms <= record.data.sat_at < programme.ends_ms:
            lines.append(no(record, "before_start" if record.data.sat_at < programme.starts_ms else "after_end"))
        else:
            inside.append(record)
    attempts, older = latest_of(inside, lambda record: record.data.attempt_id)
    lines += older
    best: Record | None = None
    for record in sorted(attempts.values(), key=lambda record: (-record.data.score, record.data.sat_at, record.stamp)):
        if closed or rule is None:
            lines.append(no(record, closed))
        elif record.data.form != form:
            lines.append(no(record, "other_form", *choice.values()))
        elif best is not None:
            lines.append(no(record, "not_the_best", best))
        else:
            best = record
            lines.append(yes(record, times(rule.points, record.data.score)) if gate_met else no(record, "before_gate"))
    return lines


def selection_lines(programme: Programme, closed: str, records: list[Record]) -> list[Line]:
    """The latest of selected and dropped decides; where every course is everybody's none does."""
    lines: list[Line] = []
    if programme.select_all or closed == "unknown_course":
        code = "unknown_course" if closed == "unknown_course" else "selection_is_all"
        return [no(record, code) for record in records]
    final, older = latest_of(opened(programme, records, lines), lambda record: "")
    lines += [yes(record, None, "selects" if record.kind == "course.selected" else "drops") for record in final.values()]
    return lines + older


def earliest(records: Iterable[Record], key: Callable[[Record], str]) -> dict[str, Record]:
    """The earliest record of each key: a removal is final, whichever comes later."""
    first: dict[str, Record] = {}
    for record in records:
        known = first.get(key(record))
        if known is None or record.stamp < known.stamp:
            first[key(record)] = record
    return first


def removal_line(record: Record, first: Record, removed: Record | None) -> Line:
    """A removal counts as one, once."""
    if record is not first:
        return no(record, "removed_before", first)
    return Line(record, "yes", why=(Why("removes", 0, (removed,) if removed else ()),))
