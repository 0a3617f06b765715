"""What has to hold in every world. Each check takes a `World` and raises AssertionError; the tests and the long run share them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from schemas.programme import Programme
from services.scoring.core.evaluate import evaluate
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from tests.properties import product, reference
from tests.properties.reference.rules import DAY_MS
from tests.properties.worlds import Json, World

_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode


def batches(items: Sequence[_T], chance: random.Random) -> list[Sequence[_T]]:
    """The items in order, cut anywhere."""
    cuts = sorted(chance.sample(range(1, len(items)), chance.randint(0, min(6, len(items) - 1)))) if len(items) > 1 else []
    return [items[a:b] for a, b in zip([0, *cuts], [*cuts, len(items)], strict=True)]


def same(found: dict[str, Any], expected: dict[str, Any], where: str) -> None:
    """Equal, or the first difference by its path."""
    difference = _difference(found, expected)
    assert difference is None, f"{where}: {difference}"


def _difference(found: Any, expected: Any, path: str = "") -> str | None:
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys(), key=str):
            if key not in found or key not in expected:
                side = "is missing" if key not in found else "is too much"
                return f"{path}/{key} {side}: {expected.get(key, found.get(key))}"
            deeper = _difference(found[key], expected[key], f"{path}/{key}")
            if deeper:
                return deeper
        return None
    return None if found == expected and type(found) is type(expected) else f"{path}: the product says {found!r}, the page {expected!r}"


def agreement(world: World) -> None:
    """Every column of totals, courses, days and flags as the reference says, at each of the moments."""
    programme = product.load(world.rules_text)
    learner = product.folded(programme, [[product.fact(event) for event in world.events]])
    plain = reference.Learner(world.rules, world.events)
    for now in world.moments:
        same(product.said(programme, learner, now), plain.at(now), f"at {now}")


def order(world: World) -> None:
    """Order, repetition and batches change no byte of state or output; bytes are all there is; changed cells are named."""
    programme, chance = product.load(world.rules_text), world.chance()
    facts = [product.fact(event) for event in world.events]
    once = product.folded(programme, [facts])
    other = Learner.new("L1")
    again = [*facts, *chance.sample(facts, len(facts) // 2)]
    chance.shuffle(again)
    before: dict[str, bytes] = {}
    for batch in batches(again, chance):
        named = fold(programme, other, batch)
        after = product.cells(other)
        assert named == {name for name in after if before.get(name) != after[name]}
        before = after
        if chance.random() < 0.3:  # what was derived from the cells must not survive the next fact
            evaluate(programme, other, world.moments[0])
    expected = product.cells(once)
    assert before == expected, {name for name in before.keys() | expected.keys() if before.get(name) != expected.get(name)}
    assert fold(programme, other, again) == set()
    loaded = product.reloaded(once)
    assert product.cells(loaded) == expected
    for now in world.moments:
        found = [evaluate(programme, learner, now) for learner in (once, other, loaded)]
        assert len({_encode(evaluation.progress) for evaluation in found}) == 1
        assert len({evaluation.next_change_ms for evaluation in found}) == 1
    assert product.cells(loaded) == expected, "evaluation changed the state"


def looks(world: World) -> None:
    """Looking at a learner between facts, at moments in any order, changes nothing that is said: nothing kept is ever stale."""
    programme, chance = product.load(world.rules_text), world.chance()
    facts = [product.fact(event) for event in world.events]
    often, taken, compared = Learner.new("L1"), 0, 0
    moments = [*world.moments, *chance.sample(programme.midnights_ms, min(3, len(programme.midnights_ms)))]
    while taken < len(facts):
        several = chance.randint(1, 4)
        fold(programme, often, facts[taken : taken + several])
        taken += several
        now = chance.choice(moments) + chance.choice((0, 0, -1, 1))
        found = evaluate(programme, often, now)
        if compared < 5 and (chance.random() < 0.4 or taken >= len(facts)):
            compared += 1
            fresh = evaluate(programme, product.folded(programme, [facts[:taken]]), now)
            assert (found.progress, found.next_change_ms) == (fresh.progress, fresh.next_change_ms), f"after {taken} facts, at {now}"


def waking(world: World) -> None:
    """Whoever looks again only at `next_change` has published, at any moment, what the reference says at that moment."""
    programme, chance = product.load(world.rules_text), world.chance()
    learner = product.folded(programme, [[product.fact(event) for event in world.events]])
    plain = reference.Learner(world.rules, world.events)
    now = world.moments[0]
    evaluation = evaluate(programme, learner, now)
    for look in range(300):
        until = evaluation.next_change_ms
        assert until is None or until > now
        last = (until or now + 40 * DAY_MS) - 1
        moments = {last, chance.randint(now, last)} if look < 12 or until is None else {last}
        for moment in sorted(moments):
            _still(programme, learner, plain, evaluation.progress, moment, deep=look < 12)
        if until is None:
            return
        now = until
        evaluation = evaluate(programme, learner, now)
    raise AssertionError("a learner is looked at again and again")


def _still(programme: Programme, learner: Learner, plain: reference.Learner, progress: Any, moment: int, deep: bool) -> None:
    if not deep:
        assert evaluate(programme, learner, moment).progress == progress
        return
    expected = plain.at(moment)
    found = product.in_terms(progress, [])
    same({**found, "days": {}}, {**expected, "days": {}}, f"published, at {moment}")


def engine(world: World) -> None:
    """A partition, driven through batches, restarts and time, publishes at each step what the reference says of the facts so far,
    whatever else lies in the log; the log of flags adds up to the open ones. Another split of the same log, told
    of less often, ends in the same bytes."""
    programme, chance = product.load(world.rules_text), world.chance()
    log = product.records_among_others(world.events, chance)
    part, topics, flags = product.partition(programme), product.Topics(), FlagLog()
    parts = batches(log, chance)[:5]
    parts = [*parts[:-1], log[parts[-1][0].offset :]]
    clock = world.moments[0] - chance.choice((0, DAY_MS, 20 * DAY_MS))
    taken: list[Json] = []
    for batch in parts:
        if chance.random() < 0.3:
            if chance.random() < 0.5:
                committed = copy.deepcopy(part.meta)
                part.take(batch, clock)  # a death before any of it was told
                part.meta = committed
            part = product.restarted(part, topics, len(log))
        _step(topics, flags, part.apply(batch, clock))
        taken += [record.event for record in batch if record.event is not None]
        if not taken:
            continue
        plain = reference.Learner(world.rules, taken)
        same(topics.published(), plain.at(clock), f"after {len(taken)} events, at {clock}")
        _adds_up(flags, topics)
        clock += chance.choice((0, 1, 3_600_000, DAY_MS, chance.randint(0, 10 * DAY_MS)))
        _until(part, topics, clock, flags)
        same(topics.published(), plain.at(clock), f"after {len(taken)} events, by itself at {clock}")
        _adds_up(flags, topics)
    other, others = product.partition(programme), product.Topics()
    for batch in batches(log, chance):
        other.take(batch, clock)
        if chance.random() < 0.5:
            others.take(other.tell(clock))
    others.take(other.tell(clock))
    _until(other, others, clock)
    assert others.without_versions() == topics.without_versions()


def _until(part: Any, topics: product.Topics, clock: int, flags: FlagLog | None = None) -> None:
    """Let the partition do whatever time alone makes due by then."""
    for _ in range(300):
        _step(topics, flags, part.due(clock, 1000))
        if not part.more_due(clock):
            return
    raise AssertionError("always more is due")


def _step(topics: product.Topics, flags: FlagLog | None, rows: dict[str, Any]) -> None:
    lines = topics.take(rows)
    if flags is not None:
        flags.take(lines)
    for _, value in rows.get("learning.reminders", []):
        reminder = json.loads(value)
        risen = [line for line in lines if line["change"] in ("raised", "severity")]
        brief = [{name: line[name] for name in ("kind", "ref", "severity", "raised_at")} for line in risen]
        assert {name: reminder[name] for name in ("kind", "ref", "severity", "raised_at")} in brief, "nothing made it due"
        progress = topics.progress()
        assert not progress.withdrawn and progress.result == "in_progress"
        assert [(flag["kind"], flag["ref"], flag["raised_at"]) for flag in reminder["flags"]] == [
            (flag.kind, flag.ref, flag.raised_at) for flag in progress.flags
        ]


def _adds_up(log: FlagLog, topics: product.Topics) -> None:
    assert log.open == {(flag.kind, flag.ref): (flag.raised_at, flag.severity, flag.owner_level) for flag in topics.progress().flags}


class FlagLog:
    """What the lines of `learning.attention` leave open; each line has to fit what was open before it."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str], tuple[str, str, str]] = {}

    def take(self, lines: Sequence[dict[str, str]]) -> None:
        """The lines of one step."""
        before = dict(self.open)
        for line in lines:
            key, now = (line["kind"], line["ref"]), (line["raised_at"], line["severity"], line["owner_level"])
            if line["change"] in ("cleared", "retracted"):
                assert self.open.pop(key)[0] == line["raised_at"], line
                continue
            if line["change"] == "raised":
                assert key not in self.open, line
            else:
                column = 1 if line["change"] == "severity" else 2
                assert self.open[key][0] == line["raised_at"] and before[key][column] != now[column], line
            self.open[key] = now


CHECKS = {"agreement": agreement, "order": order, "looks": looks, "waking": waking, "engine": engine}
