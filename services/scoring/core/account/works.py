"""Works, which are known by their id inside the learner: each fact about them lies where the latest publication says the work belongs."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.programme import Programme
from schemas.programme import Works as Rule
from services.scoring.core.account.marks import NOT_SCORED, earliest, opened, removal_line, ruled
from services.scoring.core.account.model import Line, Record, Why, latest_of, no, yes

Place = tuple[str, str]
"""(course, activity): one of them is ''. Both are where no counting publication of the work is known."""

NOWHERE: Place = ("", "")


class WorksOf:
    """A learner's works: `places` are all that facts speak of."""

    def __init__(self, programme: Programme, published: list[Record], reviewed: list[Record], removed: list[Record]) -> None:
        self._lines: dict[Place, list[Line]] = {}
        self._removed = earliest(removed, lambda record: record.data.work_id)
        fallen: list[Line] = []
        self._latest, older = latest_of(opened(programme, published, fallen), lambda record: record.data.work_id)
        for line in [*fallen, *older]:
            self._lines.setdefault(_place(line.record), []).append(line)
        late: list[Line] = []
        self._reviews, superseded = latest_of(ruled(programme, reviewed, late), lambda record: record.data.work_id)
        for line in [*late, *superseded]:
            self._add(line)
        for work_id, record in self._reviews.items():
            known = work_id in self._latest
            self._add(yes(record, None, record.data.verdict) if known else no(record, "no_such_work"))
        for record in removed:
            self._add(removal_line(record, self._removed[record.data.work_id], self._latest.get(record.data.work_id)))
        self._works: dict[Place, list[Record]] = {}
        for record in self._latest.values():
            self._works.setdefault(_place(record), []).append(record)

    def _add(self, line: Line) -> None:
        work = self._latest.get(line.record.data.work_id)
        self._lines.setdefault(_place(work) if work else NOWHERE, []).append(line)

    @property
    def places(self) -> set[Place]:
        return self._lines.keys() | self._works.keys()

    def course_lines(self, course_id: str, rule: Rule | None, closed: str) -> list[Line]:
        """Live works of the item's kinds earn, up to its count."""
        place = (course_id, "")
        lines = list(self._lines.get(place, ()))
        closed = closed or ("" if rule else NOT_SCORED)
        counted = 0
        for record in self._in_order(place):
            work_id, review = record.data.work_id, self._reviews.get(record.data.work_id)
            if work_id in self._removed:
                lines.append(no(record, "removed", self._removed[work_id]))
            elif closed or rule is None:
                lines.append(no(record, closed))
            elif record.data.kind not in rule.kinds:
                lines.append(no(record, "other_kind"))
            elif review is not None and review.data.verdict == "returned":
                lines.append(no(record, "returned", review))
            elif counted < rule.count:
                counted += 1
                lines.append(yes(record, rule.points_each))
            else:
                lines.append(no(record, "over_count"))
        return lines

    def activity_lines(self, activity: str, wanted: bool) -> list[Line]:
        """A live work whose latest review is `accepted` counts where a condition of the result asks for the activity's works."""
        place = ("", activity)
        lines = list(self._lines.get(place, ()))
        for record in self._in_order(place):
            work_id, review = record.data.work_id, self._reviews.get(record.data.work_id)
            if work_id in self._removed:
                lines.append(no(record, "removed", self._removed[work_id]))
            elif review is None:
                lines.append(no(record, "not_accepted"))
            elif review.data.verdict != "accepted":
                lines.append(no(record, review.data.verdict, review))
            elif wanted:
                lines.append(Line(record, "yes", why=(Why("accepted", 0, (review,)),)))
            else:
                lines.append(no(record, "no_condition"))
        return lines

    def loose_lines(self) -> list[Line]:
        """Reviews and removals of works that nobody published."""
        return list(self._lines.get(NOWHERE, ()))

    def _in_order(self, place: Place) -> Iterable[Record]:
        return sorted(self._works.get(place, ()), key=lambda record: record.stamp)


def _place(record: Record) -> Place:
    return (record.data.course_id or "", record.data.activity_id or "")
