"""The `explanation` of a course: JSON text, per item its counts or seconds, its limit and its points; well under 2 KB.

The facts themselves are `marts.events`' business; here is only what the rules made of them.
"""

from __future__ import annotations

import msgspec

from schemas.programme import Course, Mode
from schemas.progress import money
from services.scoring.core.marks import Marks

_ENCODER = msgspec.json.Encoder()


def explanation(mode_name: str, mode: Mode | None, course: Course, marks: Marks) -> str:
    """Points are decimal text, scores too; lengths are seconds."""
    items: dict[str, object] = {}
    if mode is not None:
        if mode.study:
            items["study"] = {
                "seconds": marks.seconds,
                "needed": mode.study.seconds,
                "award": "threshold" if mode.study.threshold else "proportional",
                "points": money(marks.study),
                "limit": money(mode.study.points),
            }
        if mode.assignments:
            rule = mode.assignments
            items["assignments"] = {
                "submitted": marks.submitted,
                "graded": marks.graded,
                "count": rule.count,
                "points": money(marks.assignments),
                "limit": money(rule.count * rule.points_each),
            }
        if mode.interaction:
            asked = mode.interaction
            items["interaction"] = {
                "questions": marks.questions,
                "questions_count": asked.questions,
                "replies": marks.replies,
                "replies_count": asked.replies,
                "points": money(marks.interaction),
                "limit": money((asked.questions + asked.replies) * asked.points_each),
            }
        if mode.works:
            items["works"] = {
                "live": marks.works_live,
                "count": mode.works.count,
                "points": money(marks.works),
                "limit": money(mode.works.count * mode.works.points_each),
            }
        if mode.process:
            items["process"] = {
                "score": None if marks.process_score is None else _score(marks.process_score),
                "points": money(marks.process),
                "limit": money(mode.process.points),
            }
        if mode.exam:
            items["exam"] = {
                "form": marks.form,
                "attempts": marks.attempts,
                "best_score": _score(marks.best_score) if marks.attempts else None,
                "counts": marks.gate_met,
                "points": money(marks.exam),
                "limit": money(mode.exam.points),
            }
            if mode.exam.gate_items is not None:
                items["gate"] = {
                    "items": sorted(mode.exam.gate_items),
                    "points": money(marks.gate_points),
                    "at_least": money(mode.exam.gate_at_least),
                    "met": marks.gate_met,
                }
    whole = {
        "mode": mode_name,
        "seconds": marks.seconds,
        "course_seconds": course.seconds,
        "items": items,
        "total": money(marks.total),
        "pass_at": money(mode.pass_at) if mode else None,
    }
    return _ENCODER.encode(whole).decode()


def _score(value: int) -> str:
    return f"{value // 10_000}.{value % 10_000:04d}"
