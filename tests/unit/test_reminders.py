"""When a reminder may go out (RULES.md, 'Reminders'), and that none goes out twice whatever breaks in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest

from schemas.instants import parse_instant, rfc3339
from schemas.programme import load_programmes
from services.reporting.api.facts import Facts, KeyTaken, LogUnavailable
from services.reporting.api.scope import NotVisible, Scope
from services.reporting.identity.store import IdentityStore
from services.reporting.reminders.desk import ReminderDesk
from services.reporting.reminders.limits import DAY_MS, HOUR_MS, Limits, Outcome, not_before
from services.shared.settings import ROOT

P = "zhuozhou-2023"
LIMITS = Limits(ZoneInfo("Asia/Shanghai"), 21 * 60, 8 * 60, 3 * DAY_MS, 6)
NOW = parse_instant("2023-07-10T10:00:00+08:00")


def outcome(reminder: str, at_ms: int, kind: Any = "delivered", fact: str = "") -> Outcome:
    return Outcome(at_ms, "/s", fact or f"{reminder}-{at_ms}", reminder, kind)


@pytest.mark.parametrize(
    ("local", "quiet"),
    [("20:59:59", False), ("21:00:00", True), ("23:59:59", True), ("00:00:00", True), ("07:59:59", True), ("08:00:00", False)],
)
def test_quiet_over_midnight(local: str, quiet: bool) -> None:
    assert LIMITS.quiet(parse_instant(f"2023-07-10T{local}+08:00")) is quiet


def test_quiet_inside_a_day_and_never() -> None:
    noon = Limits(ZoneInfo("UTC"), 12 * 60, 13 * 60, 0, 6)
    assert [noon.quiet(parse_instant(f"2023-07-10T{t}Z")) for t in ("11:59:59", "12:00:00", "12:59:59", "13:00:00")] == [
        False, True, True, False,
    ]  # fmt: skip
    never = Limits(ZoneInfo("UTC"), 0, 0, 0, 6)
    assert not never.quiet(parse_instant("2023-07-10T00:00:00Z"))


def test_nothing_before_goes_at_once() -> None:
    assert not_before("r", LIMITS, [], NOW) == 0


def test_least_days_between_counts_from_the_last_delivery() -> None:
    history = [outcome("a", NOW - 5 * DAY_MS), outcome("b", NOW - 3 * DAY_MS + 1)]
    assert not_before("r", LIMITS, history, NOW) == NOW + 1
    assert not_before("r", LIMITS, history, NOW + 1) == NOW + 1


def test_most_in_30_days() -> None:
    days = (29, 25, 20, 15, 10, 4)
    history = [outcome(f"a{n}", NOW - n * DAY_MS) for n in days]
    assert not_before("r", LIMITS, history, NOW) == NOW + DAY_MS
    assert not_before("r", LIMITS, history[1:], NOW) == NOW - 1 * DAY_MS
    many = [*history, outcome("x", NOW - 28 * DAY_MS)]
    assert not_before("r", LIMITS, many, NOW) == NOW + 2 * DAY_MS


def test_none_at_all_where_none_are_allowed() -> None:
    assert not_before("r", Limits(ZoneInfo("UTC"), 0, 0, 0, 0), [], NOW) is None


def test_delivered_is_done_and_failed_comes_back_three_times() -> None:
    assert not_before("r", LIMITS, [outcome("r", NOW)], NOW + 99 * DAY_MS) is None
    fails = [outcome("r", NOW + n * HOUR_MS, "failed") for n in range(4)]
    for n in (1, 2, 3):
        assert not_before("r", LIMITS, fails[:n], NOW) == NOW + n * HOUR_MS
    assert not_before("r", LIMITS, fails, NOW + 99 * DAY_MS) is None


def test_one_fact_seen_twice_is_one() -> None:
    fails = [outcome("r", NOW, "failed"), outcome("r", NOW, "failed")] * 2
    assert not_before("r", LIMITS, fails, NOW) == NOW + HOUR_MS


def test_latest_word_on_a_reminder_holds() -> None:
    history = [outcome("r", NOW, "failed"), outcome("r", NOW + 1, "delivered")]
    assert not_before("r", LIMITS, history, NOW + DAY_MS) is None
    # delivered, then told to have failed after all: it does not hold back others
    taken_back = [outcome("a", NOW - 1), outcome("a", NOW, "failed")]
    assert not_before("r", LIMITS, taken_back, NOW) == 0


# the desk, with the world around it held still


class Hand:
    """A clock moved by hand."""

    now_ms = NOW

    def now(self) -> int:
        return self.now_ms


class Pool:
    """What ClickHouse would say: these reminders are due, the log says nothing yet (it lags for ever)."""

    def __init__(self) -> None:
        self.due = [("r1", "l1"), ("r2", "l2")]

    def rows(self, sql: str, params: Any = None, tables: Any = ()) -> list[dict[str, Any]]:
        if "store.reminders" not in sql:
            return []
        parts: dict[str, Any] = {"kinds": [], "refs": [], "severities": [], "raised": []}
        return [{"programme": P, "learner_id": learner, "id": reminder, **parts} for reminder, learner in self.due]


class Known:
    """Everybody is visible and has a flag open."""

    def __init__(self) -> None:
        self.pool = Pool()

    def open_flags(self, programme: str, learners: list[str]) -> dict[str, Any]:
        return {learner: [{"kind": "inactive"}] for learner in learners}

    def visible_learners(self, programme: str, scope: Scope, learners: list[str]) -> set[str]:
        return set(learners)


class Log:
    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.away = False

    def publish(self, events: Any) -> dict[str, int]:
        if self.away:
            raise LogUnavailable("away")
        self.sent += events
        return {"learning.activity:0": len(self.sent)}


@pytest.fixture
def world(tmp_path: Path) -> Any:
    class World:
        clock, log, known = Hand(), Log(), Known()
        programmes: ClassVar = {P: load_programmes(ROOT / "schemas" / "programmes")[P]}
        identity = IdentityStore(f"sqlite:///{tmp_path}/identity.db")
        scope = Scope("*", who="worker")

        def desk(self) -> ReminderDesk:
            """A new process over the same folder."""
            facts = Facts(f"sqlite:///{tmp_path}/facts.db", self.log.publish, self.clock, self.programmes)  # type: ignore[arg-type]
            return ReminderDesk(
                f"sqlite:///{tmp_path}/reminders.db",
                self.known,
                self.identity,
                facts,
                self.programmes,
                self.clock,  # type: ignore[arg-type]
            )

        def lease(self, desk: ReminderDesk, seconds: int = 60) -> list[str]:
            return [row["id"] for row in desk.lease(self.scope, 10, seconds)]

    return World()


def test_a_lease_is_one_persons_until_it_runs_out(world: Any) -> None:
    assert world.lease(world.desk()) == ["r1", "r2"]
    assert world.lease(world.desk()) == []
    world.clock.now_ms += 59_999
    assert world.lease(world.desk()) == []
    world.clock.now_ms += 1
    assert world.lease(world.desk()) == ["r1", "r2"]


def test_two_processes_share_one_book(world: Any) -> None:
    one, two = world.desk(), world.desk()
    assert world.lease(one) + world.lease(two) == ["r1", "r2"]


def test_delivered_is_not_handed_out_again_though_clickhouse_knows_nothing(world: Any) -> None:
    desk = world.desk()
    world.lease(desk)
    desk.delivered(world.scope, "r1", "sms")
    world.clock.now_ms += 10 * DAY_MS
    assert world.lease(world.desk()) == ["r2"]
    assert [e["id"] for e in world.log.sent] == ["r1.1.delivered"]


def test_not_even_where_the_log_was_away_and_the_process_died(world: Any) -> None:
    desk = world.desk()
    world.lease(desk)
    world.log.away = True
    with pytest.raises(LogUnavailable):
        desk.delivered(world.scope, "r1", "sms")
    world.clock.now_ms += 10 * DAY_MS
    again = world.desk()
    assert world.lease(again) == ["r2"]
    world.log.away = False
    world.lease(again)  # what was left is written now, as of then
    assert [(e["id"], e["time"]) for e in world.log.sent] == [("r1.1.delivered", rfc3339(NOW))]
    world.lease(again)
    assert len(world.log.sent) == 1


def test_repeated_report_is_the_same_fact(world: Any) -> None:
    desk = world.desk()
    world.lease(desk)
    first = desk.failed(world.scope, "r1", "sms", "busy")
    world.clock.now_ms += 1000
    assert desk.failed(world.scope, "r1", "sms", "busy")["fact_id"] == first["fact_id"]
    assert {e["time"] for e in world.log.sent} == {rfc3339(NOW)}
    with pytest.raises(KeyTaken):
        desk.failed(world.scope, "r1", "sms", "another story")
    with pytest.raises(NotVisible):
        desk.delivered(world.scope, "unknown", "sms")


def test_a_newer_reminder_waits_for_the_lease_of_the_older(world: Any) -> None:
    desk = world.desk()
    world.lease(desk)
    world.known.pool.due = [("r1-newer", "l1")]
    assert world.lease(desk) == []
    world.clock.now_ms += 60_000
    assert world.lease(desk) == ["r1-newer"]
    # the older one went out after all: told late, it still counts
    desk.delivered(world.scope, "r1", "sms")
    world.clock.now_ms += 3 * DAY_MS - 1
    assert world.lease(world.desk()) == []
    world.clock.now_ms += 1
    assert world.lease(world.desk()) == ["r1-newer"]


def test_quiet_hours_hand_out_nothing(world: Any) -> None:
    world.clock.now_ms = parse_instant("2023-07-10T21:00:00+08:00")
    assert world.lease(world.desk()) == []
