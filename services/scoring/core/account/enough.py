"""What a course could still give, and what would be enough to pass it. Pure arithmetic on what the account has found.

'From now on' is taken by the rules: until the programme's end anything may be done; after it only what somebody rules (grades, reviews,
process and exam marks) changes a total, until the results are final.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from schemas.programme import Mode, Programme
from services.scoring.core.account.model import Enough, Gate, Room
from services.scoring.core.marks import SCORE_UNIT, times

ITEMS = ("study", "assignments", "interaction", "works", "process", "exam")


class Have(NamedTuple):
    """What a learner has in a course: points by item, and the counts behind them. `returned`: works that a review could still accept."""

    points: Mapping[str, int]
    seconds: int
    graded: int
    questions: int
    replies: int
    works: int
    returned: int
    attempts: int
    best_score: int
    total: int
    passed: bool


class _Way(NamedTuple):
    """`units` of a thing at most; `gain(n)` is what n of them give, never less for more."""

    key: str
    units: int
    gain: Callable[[int], int]

    def fewest(self, short: int) -> int | None:
        """How many give `short` points; None where all of them do not."""
        if self.units <= 0 or self.gain(self.units) < short:
            return None
        low, high = 1, self.units
        while low < high:
            middle = (low + high) // 2
            if self.gain(middle) >= short:
                high = middle
            else:
                low = middle + 1
        return low


def limits(mode: Mode) -> dict[str, int]:
    """The most points of each item that the mode scores."""
    found: dict[str, int] = {}
    if mode.study:
        found["study"] = mode.study.points
    if mode.assignments:
        found["assignments"] = mode.assignments.count * mode.assignments.points_each
    if mode.interaction:
        found["interaction"] = (mode.interaction.questions + mode.interaction.replies) * mode.interaction.points_each
    if mode.works:
        found["works"] = mode.works.count * mode.works.points_each
    if mode.process:
        found["process"] = mode.process.points
    if mode.exam:
        found["exam"] = mode.exam.points
    return found


def study_points(mode: Mode, seconds: int) -> int:
    """Points of the study item for so many credited seconds."""
    item = mode.study
    if item is None:
        return 0
    if seconds >= item.seconds:
        return item.points
    return 0 if item.threshold else min((2 * item.points * seconds + item.seconds) // (2 * item.seconds), item.points)


def room_of(programme: Programme, mode: Mode, item: str, have: Have, now_ms: int) -> Room:
    """What an item that the mode scores could still give: up to its limit, after the programme's end by rulings alone."""
    if now_ms >= programme.ends_ms:
        return Room(_reach(programme, mode, have, now_ms, 0)[item] - have.points[item])
    more: dict[str, int] = {}
    if item == "study" and mode.study:
        more = {"seconds": mode.study.seconds - have.seconds}
    elif item == "assignments" and mode.assignments:
        more = {"assignments": mode.assignments.count - have.graded}
    elif item == "interaction" and mode.interaction:
        more = {"questions": mode.interaction.questions - have.questions, "replies": mode.interaction.replies - have.replies}
    elif item == "works" and mode.works:
        more = {"works": mode.works.count - have.works}
    return Room(limits(mode)[item] - have.points[item], {name: n for name, n in more.items() if n > 0})


def enough(programme: Programme, mode: Mode, have: Have, gate: Gate | None, now_ms: int, seconds_left: int) -> Enough:
    """`seconds_left`: the most that study can still be credited."""
    short = max(0, mode.pass_at - have.total)
    gate_short = max(0, gate.at_least - gate.points) if gate else 0
    reach = _reach(programme, mode, have, now_ms, seconds_left)
    most, gate_opens = _most(mode, reach, gate)
    possible = have.passed or most >= mode.pass_at
    blocked = ""
    if not possible:
        by_rules, ever_opens = _most(mode, limits(mode), gate)
        blocked = "ended" if now_ms >= programme.ends_ms else "time" if by_rules >= mode.pass_at else "points" if ever_opens else "gate"

    score: int | None = None
    kept: int | None = None
    if mode.exam and not have.passed:
        others = have.total - have.points["exam"] + gate_short
        if gate is None or gate.met or gate_opens:
            score = _smallest_score(mode.exam.points, mode.pass_at - others)
        waits = gate is not None and not gate.met and have.attempts > 0
        if waits and score is not None and times(mode.exam.points, have.best_score) >= mode.pass_at - others:
            kept = have.best_score
    ways = [] if now_ms >= programme.ends_ms else _ways(mode, have, seconds_left)
    of_gate = [way for way in ways if gate and _item_of(way.key) in gate.items]
    return Enough(
        short,
        gate_short,
        score,
        kept,
        _enough(gate_short, of_gate),
        () if have.passed else _enough(short, ways),
        most,
        possible,
        blocked,
    )


def _reach(programme: Programme, mode: Mode, have: Have, now_ms: int, seconds_left: int) -> dict[str, int]:
    """The most points of each item that facts from now on can lead to."""
    top = limits(mode)
    if now_ms >= programme.results_final_ms:
        return {item: have.points[item] for item in top}
    reach = dict(top)
    if "study" in reach:
        reach["study"] = study_points(mode, have.seconds + seconds_left)
    if now_ms >= programme.ends_ms:
        if "interaction" in reach:
            reach["interaction"] = have.points["interaction"]
        if mode.works:
            reach["works"] = min(have.works + have.returned, mode.works.count) * mode.works.points_each
    return reach


def _most(mode: Mode, reach: Mapping[str, int], gate: Gate | None) -> tuple[int, bool]:
    """The highest total, and whether the gate can be met."""
    opens = gate is None or gate.met or sum(reach.get(item, 0) for item in gate.items) >= gate.at_least
    return sum(points for item, points in reach.items() if item != "exam" or opens), opens


def _smallest_score(points: int, need: int) -> int | None:
    """The smallest score whose product rounds to at least `need`."""
    if need <= 0:
        return 0
    if need > points:
        return None
    return max(0, -(-(need * SCORE_UNIT - SCORE_UNIT // 2) // points))


def _item_of(key: str) -> str:
    return {"seconds": "study", "questions": "interaction", "replies": "interaction"}.get(key, key)


def _each(key: str, units: int, each: int) -> _Way:
    return _Way(key, units, lambda n: n * each)


def _ways(mode: Mode, have: Have, seconds_left: int) -> list[_Way]:
    """What a learner can do more of."""
    ways: list[_Way] = []
    if mode.interaction:
        ways.append(_each("replies", mode.interaction.replies - have.replies, mode.interaction.points_each))
        ways.append(_each("questions", mode.interaction.questions - have.questions, mode.interaction.points_each))
    if mode.assignments:
        ways.append(_each("assignments", mode.assignments.count - have.graded, mode.assignments.points_each))
    if mode.works:
        ways.append(_each("works", mode.works.count - have.works, mode.works.points_each))
    if mode.study:
        more = min(mode.study.seconds - have.seconds, seconds_left)
        ways.append(_Way("seconds", more, lambda n: study_points(mode, have.seconds + n) - have.points["study"]))
    return [way for way in ways if way.units > 0 and way.gain(way.units) > 0]


def _enough(short: int, ways: list[_Way]) -> tuple[Mapping[str, int], ...]:
    """Every single way that gives `short` points; where none does, one set of several; nothing where all together do not."""
    if short <= 0:
        return ()
    single = [{way.key: n} for way in ways if (n := way.fewest(short)) is not None]
    if single:
        return tuple(single)
    together: dict[str, int] = {}
    for way in sorted(ways, key=lambda way: (-way.gain(way.units), way.key)):
        n = way.fewest(short) or way.units
        together[way.key] = n
        short -= way.gain(n)
        if short <= 0:
            return (together,)
    return ()
