"""The `explanation` of a course: JSON text, per item its counts or seconds, its limit and its points; well under 2 KB.

The facts themselves are `marts.events`' business; here is only what the rules made of them.
"""

from __future__ import annotations

from schemas.programme import Course, Mode
from schemas.progress import money
from services.scoring.core.marks import Marks


def explanation(mode_name: str, mode: Mode | None, course: Course, marks: Marks) -> str:
    """Points are decimal text, scores too; lengths are seconds.

    Written as text at once: every value is a number or a word of the rules, so nothing needs escaping.
    """
    items: list[str] = []
    if mode is not None:
        if mode.study:
            study, award = mode.study, "threshold" if mode.study.threshold else "proportional"
            items.append(
                f'"study":{{"seconds":{marks.seconds},"needed":{study.seconds},"award":"{award}",'
                f'"points":"{money(marks.study)}","limit":"{money(study.points)}"}}'
            )
        if mode.assignments:
            count, limit = mode.assignments.count, mode.assignments.count * mode.assignments.points_each
            items.append(
                f'"assignments":{{"submitted":{marks.submitted},"graded":{marks.graded},"count":{count},'
                f'"points":"{money(marks.assignments)}","limit":"{money(limit)}"}}'
            )
        if mode.interaction:
            asked = mode.interaction
            items.append(
                f'"interaction":{{"questions":{marks.questions},"questions_count":{asked.questions},"replies":{marks.replies},'
                f'"replies_count":{asked.replies},"points":"{money(marks.interaction)}",'
                f'"limit":"{money((asked.questions + asked.replies) * asked.points_each)}"}}'
            )
        if mode.works:
            count, limit = mode.works.count, mode.works.count * mode.works.points_each
            items.append(f'"works":{{"live":{marks.works_live},"count":{count},"points":"{money(marks.works)}","limit":"{money(limit)}"}}')
        if mode.process:
            items.append(
                f'"process":{{"score":{_score(marks.process_score)},"points":"{money(marks.process)}","limit":"{money(mode.process.points)}"}}'
            )
        if mode.exam:
            best = _score(marks.best_score if marks.attempts else None)
            items.append(
                f'"exam":{{"form":"{marks.form}","attempts":{marks.attempts},"best_score":{best},"counts":{_truth(marks.gate_met)},'
                f'"points":"{money(marks.exam)}","limit":"{money(mode.exam.points)}"}}'
            )
            if mode.exam.gate_items is not None:
                names = ",".join(f'"{name}"' for name in sorted(mode.exam.gate_items))
                items.append(
                    f'"gate":{{"items":[{names}],"points":"{money(marks.gate_points)}","at_least":"{money(mode.exam.gate_at_least)}",'
                    f'"met":{_truth(marks.gate_met)}}}'
                )
    pass_at = f'"{money(mode.pass_at)}"' if mode else "null"
    return (
        f'{{"mode":"{mode_name}","seconds":{marks.seconds},"course_seconds":{course.seconds},"items":{{{",".join(items)}}},'
        f'"total":"{money(marks.total)}","pass_at":{pass_at}}}'
    )


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _score(value: int | None) -> str:
    return "null" if value is None else f'"{value // 10_000}.{value % 10_000:04d}"'
