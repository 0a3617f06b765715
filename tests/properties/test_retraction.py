"""`retracted` or `cleared`: where one fact alone ends a flag, the page says exactly which, by that fact's own time.

A learner with next to nothing behind them has a flag open; then one more fact arrives. By the facts now the flag would not have been
open at its `raised_at` where that fact had happened by then (for `inactive`: after the old base); otherwise it would.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from tests.properties import product, reference
from tests.properties.reference.facts import written
from tests.properties.reference.rules import Rules, length_ms, read_rules
from tests.properties.worlds import Choices, Json, Seeded
from tests.properties.worlds.events import Number, event
from tests.properties.worlds.programmes import programme

Key = tuple[str, str]


def little(c: Choices, rules: Rules) -> list[Json]:
    """Enrolled, perhaps registered, courses selected, perhaps one visit; all before the programme starts."""
    start = written(rules.opens)
    found = [event("learner.enrolled", start, "e", {"class_id": "k1"})]
    if c.chance(75):
        found.append(event("learner.registered", start, "r", {"class_id": "k1"}))
        found += [event("course.selected", start, "s" + course, {"course_id": course}) for course in rules.courses]
    if c.chance(50):
        found.append(event("platform.visited", start, "v", {}))
    return found


def ends(c: Choices, rules: Rules, mode: str, key: Key, at: int) -> list[Json]:
    """Facts at one moment that end the flag."""
    kind, ref = key
    if kind == "plagiarism_suspected" or c.chance(15):
        return [event("learner.withdrawn", written(at), "w", {})]
    if kind == "not_registered":
        return [event("learner.registered", written(at), "x", {"class_id": "k1"})]
    if kind in ("not_started", "inactive"):
        return [event("platform.visited", written(at), "x", {})]
    if kind == "assignment_overdue":
        item = rules.item(mode, "assignments")
        assert item is not None
        handed_in = [{"course_id": ref, "assignment_id": f"a{n}", "submission_id": "1"} for n in range(int(item["count"]))]
        return [event("assignment.submitted", written(at), data["assignment_id"], data) for data in handed_in]
    assert kind == "exam_due"
    item = rules.item(mode, "exam")
    assert item is not None
    forms = item["forms"]
    sat = {"course_id": ref, "attempt_id": "1", "form": forms[0] if len(forms) == 1 else "paper", "score": Number("0")}
    return [event("exam.marked", written(at), "x", {**sat, "sat_at": written(at)})]


def told(number: int) -> tuple[str, str, list[str], list[str]] | None:
    """What the log of that number's learner says of one flag that ended: (kind, retracted or cleared, its lines, those expected).

    None where there is no flag to end, or the facts do not end it.
    """
    text = _programme(number // 10)
    c = Seeded(2 * number + 1)
    rules, loaded = Rules(read_rules(text)), product.load(text)
    before = little(c, rules)
    now = rules.starts + c.integer(1, rules.end - rules.starts - 1)
    plain = reference.Learner(rules.file, before)
    flags = {key: flag for key, flag in plain.at(now)["flags"].items() if key[0] != "behind"}
    if not flags:
        return None
    kind, ref = c.choice(sorted(flags))
    raised_at = flags[kind, ref]["raised_at"]
    at = c.choice((raised_at, raised_at + 1, raised_at - 1, now, (raised_at + now) // 2, raised_at - 3_600_000))
    if not rules.starts <= at <= now or raised_at < rules.opens:
        return None  # who had no course yet, or no programme, had no flag then, whatever ended it
    if kind == "inactive" and at <= raised_at - length_ms(rules.part("attention", kind, "notice_days")):
        return None  # not after the old base: nothing ends
    ending = ends(c, rules, plain.facts.mode, (kind, ref), at)
    after = reference.learner(rules.file, [*before, *ending], now)["flags"].get((kind, ref))
    if after is not None and after["raised_at"] == raised_at:
        return None

    log = product.records([*before, *ending])
    part, topics = product.partition(loaded), product.Topics()
    topics.take(part.apply(log[: len(before)], now))
    lines = topics.take(part.apply(log[len(before) :], now))
    change = "retracted" if at <= raised_at else "cleared"
    expected = [change] if after is None else [change, "raised"]
    return kind, change, [line["change"] for line in lines if (line["kind"], line["ref"]) == (kind, ref)], expected


@lru_cache(4)
def _programme(number: int) -> str:
    return programme(Seeded(2 * number))


def test_by_the_time_of_what_ended_it() -> None:
    met: Counter[tuple[str, str]] = Counter()
    for number in range(2000):
        found = told(number)
        if found is not None:
            kind, change, lines, expected = found
            assert lines == expected, f"number {number}, {kind}"
            met[kind, change] += 1
    kinds = ("not_registered", "not_started", "inactive", "assignment_overdue", "exam_due")
    assert [key for key in ((kind, change) for kind in kinds for change in ("retracted", "cleared")) if not met[key]] == []
