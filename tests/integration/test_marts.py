"""Hand-made rows in the real ClickHouse: what the relations of `marts` say of them."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from clickhouse_driver import Client

from schemas.instants import parse_instant
from schemas.progress import AttentionChange, CourseProgress, DayProgress, Flag, LearnerProgress, encode
from schemas.reading import Event, partition_of, read_record
from services.reporting.loader import rows as to
from services.reporting.loader.dictionary import dictionary
from services.reporting.loader.rows import COLUMNS, DAYS, PROGRESS, Replacing
from services.reporting.loader.sink import Sink
from services.shared.clickhouse import connect
from services.shared.migrate import MigrationError, migrate, migrations
from services.shared.packed import Rows
from services.shared.settings import ROOT, Settings
from tests.integration.local_stack import local_stack
from tests.loader_rows import Record, row_of

pytestmark = pytest.mark.servers

AT = "2023-06-10T08:00:00.000Z"
AT_MS = 1_686_384_000_000


@pytest.fixture(scope="module")
def stack() -> Iterator[Settings]:
    with local_stack() as values:
        yield values


@pytest.fixture
def client(stack: Settings) -> Iterator[Client]:
    found = connect(stack.clickhouse)
    for database in ("marts", "store"):
        found.execute(f"DROP DATABASE IF EXISTS {database} SYNC")
    assert migrate(found) == [migration.name for migration in migrations()]
    yield found
    found.disconnect()


def rows(client: Client, sql: str) -> list[dict[str, Any]]:
    found, columns = client.execute(sql, with_column_types=True)
    return [dict(zip([name for name, _ in columns], row, strict=True)) for row in found]


def course(course_id: str, total: str = "0.00", credited: int = 0, credits: str = "0.00") -> CourseProgress:
    zero = "0.00"
    return CourseProgress(course_id, credited, zero, zero, zero, zero, zero, zero, total, zero, True, False, False, credits, AT, "{}")


def progress(offset: int, learner: str = "l-1", class_id: str = "c-1", tick: int = AT_MS, **changes: Any) -> Replacing:
    whole = LearnerProgress(
        "p-1", learner, class_id, "online", AT, AT, AT, AT, False, 1, 0, 600, "0.16", "1.00", "in_progress", 3, [course("k-1")], [],
        (1, offset, tick), AT,
    )  # fmt: skip
    return to.progress_row(b"", encode(msgspec.structs.replace(whole, **changes)), 0, offset)


def day(offset: int, learner: str, text: str, seconds: int, active: bool = True) -> Replacing:
    return to.day_row(b"", encode(DayProgress("p-1", learner, text, seconds, active, (1, offset, AT_MS))), 0, offset)


def gone(offset: int, learner: str = "l-1") -> Replacing:
    return to.progress_row(f"p-1|{learner}".encode(), None, 0, offset)


def units(*declared: tuple[str, str, str]) -> dict[str, list[Any]]:
    return {"store.units": [(unit, parent, level, f"name of {unit}", AT_MS, 1) for unit, parent, level in declared]}


CHAIN = units(
    ("c-1", "s-1", "class"), ("c-2", "s-2", "class"), ("s-1", "t-1", "school"), ("s-2", "t-1", "school"), ("t-1", "y-1", "county"),
    ("y-1", "v-1", "city"), ("v-1", "", "province"),
)  # fmt: skip


def as_of(client: Client, ms: int) -> None:
    Sink(client).write({"store.watermarks": [to.watermark_row(kind, 0, 5, ms) for kind in ("scoring", "activity", "directory")]}, {})


def test_migrations_are_applied_once_and_refuse_to_be_edited(client: Client, tmp_path: Path) -> None:
    assert migrate(client) == []
    for migration in migrations():
        (tmp_path / migration.name).write_text(migration.text)
    first = tmp_path / migrations()[0].name
    first.write_text(first.read_text() + "\n-- edited")
    with pytest.raises(MigrationError, match="changed after it was applied"):
        migrate(client, tmp_path)
    first.unlink()
    with pytest.raises(MigrationError, match="expected number 0001"):
        migrate(client, tmp_path)


def test_every_table_and_column_has_a_comment(client: Client) -> None:
    where = "database IN ('store', 'marts') AND comment = ''"
    kept = "table NOT IN (SELECT name FROM system.tables WHERE engine = 'MaterializedView')"  # their columns are those of their targets
    assert rows(client, f"SELECT database, table, name FROM system.columns WHERE {where} AND {kept}") == []
    assert rows(client, f"SELECT database, name FROM system.tables WHERE {where}") == []


def test_the_columns_written_are_the_columns_there_are(client: Client) -> None:
    for table, columns in COLUMNS.items():
        database, name = table.split(".")
        where = f"database = '{database}' AND table = '{name}' AND default_kind = ''"
        found = rows(client, f"SELECT name FROM system.columns WHERE {where} ORDER BY position")
        assert tuple(row["name"] for row in found) == columns, table


def test_the_newest_version_holds_in_whatever_order_and_however_often(client: Client) -> None:
    sink = Sink(client)
    history = [progress(n, credited_seconds=n, courses=[course("k-1", credited=n), course("k-2")][: 1 + n % 2]) for n in range(1, 8)]
    for seed in range(3):
        shuffled = [*history, *history]
        random.Random(seed).shuffle(shuffled)
        for at in range(0, len(shuffled), 3):
            sink.write({}, {PROGRESS: shuffled[at : at + 3]})
    assert [row["credited_seconds"] for row in rows(client, "SELECT * FROM marts.learner_progress")] == [7]
    assert [(r["course_id"], r["credited_seconds"]) for r in rows(client, "SELECT * FROM marts.course_progress ORDER BY course_id")] == [
        ("k-1", 7), ("k-2", 0),
    ]  # fmt: skip
    sink.write({}, {PROGRESS: [progress(7, tick=AT_MS + 1, credited_seconds=9, courses=[])]})  # time alone, no new offset
    assert [row["credited_seconds"] for row in rows(client, "SELECT * FROM marts.learner_progress")] == [9]
    assert rows(client, "SELECT * FROM marts.course_progress") == []  # a dropped course's row disappears


def test_marks_points_and_instants_are_exact(client: Client) -> None:
    marked = msgspec.structs.replace(course("k-1", total="99999.99"), exam_points="0.07", gate_met=False, exam_before_gate=True)
    late = "2023-12-31T23:59:59.999Z"
    Sink(client).write({}, {PROGRESS: [progress(1, courses=[marked], credits="1234567.89", last_active_at=late, started_at=None)]})
    (found,) = rows(client, "SELECT * FROM marts.course_progress")
    assert (found["total_points"], found["exam_points"]) == (Decimal("99999.99"), Decimal("0.07"))
    assert (found["gate_met"], found["exam_before_gate"]) == (0, 1)
    extra = "toUnixTimestamp64Milli(last_active_at) AS ms, toString(study_hours) AS h"
    (whole,) = rows(client, f"SELECT *, {extra} FROM marts.learner_progress")
    assert (whole["credits"], whole["h"], whole["started_at"]) == (Decimal("1234567.89"), "0.16", None)
    assert whole["ms"] == int(datetime(2023, 12, 31, 23, 59, 59, 999000, UTC).timestamp() * 1000)


@pytest.mark.parametrize("together", [True, False])
def test_a_tombstone_removes_the_row_until_a_newer_one_comes(client: Client, together: bool) -> None:
    sink = Sink(client)

    def load(*items: Replacing) -> None:
        for part in [list(items)] if together else [[item] for item in items]:
            sink.write({}, {PROGRESS: part})

    load(progress(1), gone(2))
    assert rows(client, "SELECT * FROM marts.learner_progress") == []
    load(progress(1))  # read again after a crash
    assert rows(client, "SELECT * FROM marts.learner_progress") == []
    load(progress(3, credited_seconds=30))
    load(gone(2))  # read again, but its successor is stored
    assert [row["credited_seconds"] for row in rows(client, "SELECT * FROM marts.learner_progress")] == [30]
    sink.write({}, {DAYS: [day(1, "l-1", "2023-06-01", 5), to.day_row(b"p-1|l-1|2023-06-01", None, 0, 2)]})
    assert rows(client, "SELECT * FROM store.days FINAL") == []


def test_the_newest_predecessor_decides_about_a_tombstone(client: Client) -> None:
    """A topic that was made anew begins at offset 0 again: what the store has of the old one lies further on, and is older."""
    sink = Sink(client)
    sink.write({}, {PROGRESS: [progress(900)]})
    anew = progress(901)._replace(offset=1)
    sink.write({}, {PROGRESS: [anew, gone(2)]})
    assert rows(client, "SELECT * FROM marts.learner_progress") == []


def test_tombstones_take_the_place_of_days_that_were_stored_packed(client: Client) -> None:
    sink = Sink(client)
    key = b"p-1|l-1|2023-06-01"

    def load(*records: tuple[int, bytes | None]) -> None:
        plain: dict[str, Rows] = {}
        replacing: dict[str, list[Replacing]] = {}
        to.add_days(plain, replacing, [Record(offset, key, value, 0) for offset, value in records], 0)
        sink.write(plain, replacing)

    def on(offset: int) -> bytes:
        return encode(DayProgress("p-1", "l-1", "2023-06-01", offset * 10, True, (1, offset, AT_MS), AT))

    def stored() -> list[int]:
        return [row["credited_seconds"] for row in rows(client, "SELECT * FROM store.days FINAL")]

    load((1, on(1)), (2, None))
    assert stored() == []
    load((1, on(1)), (2, None))  # read again after a crash
    assert stored() == []
    load((3, on(3)), (4, None), (5, on(5)))
    assert stored() == [50]
    load((3, on(3)), (4, None))
    assert stored() == [50]
    load((6, None))
    assert stored() == []
    load((7, b" " + on(7)), (8, on(8)), (9, None))  # the first goes the long way, so two predecessors are in two places
    assert stored() == []
    load((10, on(10)), (11, b" " + on(11)), (12, None))
    assert stored() == []
    load((13, None), (14, b" " + on(14)))
    assert stored() == [140]
    load((13, None))
    assert stored() == [140]
    once = rows(client, "SELECT max(version) AS v FROM store.days")
    load((15, None))
    load((15, None))
    load((15, None))
    assert stored() == []
    assert rows(client, "SELECT max(version) AS v FROM store.days")[0]["v"] == once[0]["v"] + 1, "one tombstone has one version"


PATH = ("class_id", "school_id", "county_id", "city_id", "province_id")


def path(client: Client) -> tuple[str, ...]:
    (row,) = rows(client, "SELECT * FROM marts.learner_progress")
    return tuple(row[name] for name in PATH)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([], ("c-1", "", "", "", "")),
        ([("c-1", "s-1", "class")], ("c-1", "", "", "", "")),
        ([("c-1", "s-1", "school"), ("s-1", "t-1", "school")], ("c-1", "", "", "", "")),
        ([("c-1", "t-1", "class"), ("t-1", "y-1", "county"), ("y-1", "v-1", "city")], ("c-1", "", "", "", "")),
        ([("c-1", "s-1", "class"), ("s-1", "t-1", "school"), ("t-1", "y-1", "city")], ("c-1", "s-1", "", "", "")),
        ([("c-1", "s-1", "class"), ("s-1", "t-1", "school"), ("y-1", "v-1", "city"), ("v-1", "", "province")], ("c-1", "s-1", "", "", "")),
        (
            [("c-1", "s-1", "class"), ("s-1", "t-1", "school"), ("t-1", "y-1", "county"), ("y-1", "v-1", "city"), ("v-1", "", "province")],
            ("c-1", "s-1", "t-1", "y-1", "v-1"),
        ),
    ],
)
def test_a_broken_chain_ends_where_it_breaks(client: Client, declared: list[tuple[str, str, str]], expected: tuple[str, ...]) -> None:
    Sink(client).write(units(*declared), {PROGRESS: [progress(1)]})
    assert path(client) == expected
    for relation in ("unit_progress", "activity_daily"):
        Sink(client).write({}, {DAYS: [day(1, "l-1", "2023-06-01", 60)]})
        counted = {row["unit_id"] for row in rows(client, f"SELECT unit_id FROM marts.{relation}")}
        assert counted == {unit for unit in expected if unit and unit in {name for name, _, _ in declared}}


def test_a_transfer_takes_the_whole_history_along(client: Client) -> None:
    sink = Sink(client)
    days = [day(1, "l-1", "2023-06-01", 60), day(2, "l-2", "2023-06-01", 5)]
    sink.write(CHAIN, {PROGRESS: [progress(1), progress(1, "l-2")], DAYS: days})
    before = {(r["unit_id"], r["credited_seconds"], r["active_learners"]) for r in rows(client, "SELECT * FROM marts.activity_daily")}
    assert {("c-1", 65, 2), ("s-1", 65, 2), ("t-1", 65, 2)} < before
    sink.write({}, {PROGRESS: [progress(2, class_id="c-2")]})
    after = {(r["unit_id"], r["credited_seconds"], r["active_learners"]) for r in rows(client, "SELECT * FROM marts.activity_daily")}
    assert after == {(u, 5, 1) for u in ("c-1", "s-1")} | {(u, 60, 1) for u in ("c-2", "s-2")} | {(u, 65, 2) for u in ("t-1", "y-1", "v-1")}
    assert all(row["day"] == date(2023, 6, 1) for row in rows(client, "SELECT day FROM marts.activity_daily"))


def test_withdrawn_learners_and_empty_days_are_in_no_figure_of_a_unit(client: Client) -> None:
    days = [day(1, "l-1", "2023-06-01", 60), day(2, "l-2", "2023-06-02", 0, active=False), day(3, "l-2", "2023-06-03", 0)]
    Sink(client).write(CHAIN, {PROGRESS: [progress(1, withdrawn=True), progress(1, "l-2", "c-2")], DAYS: days})
    assert {row["unit_id"] for row in rows(client, "SELECT * FROM marts.unit_progress")} == {"c-2", "s-2", "t-1", "y-1", "v-1"}
    assert {row["day"] for row in rows(client, "SELECT * FROM marts.activity_daily")} == {date(2023, 6, 3)}
    assert {row["learner_id"]: row["withdrawn"] for row in rows(client, "SELECT * FROM marts.learner_progress")} == {"l-1": 1, "l-2": 0}


def test_figures_of_a_unit(client: Client) -> None:
    flags = [Flag("inactive", "", "warning", AT, "school"), Flag("behind", "", "notice", AT, "school")]
    as_of(client, AT_MS + 168 * 3_600_000)
    learners = [
        progress(1, "l-1", result="passed", credits="1.00", flags=flags[:0]),
        progress(1, "l-2", result="excellent", credits="1.00", last_active_at="2023-06-10T08:00:00.001Z"),
        progress(1, "l-3", result="failed", credits="0.00", registered_at=None, started_at=None, last_active_at=None, flags=flags),
    ]
    Sink(client).write(CHAIN, {PROGRESS: learners})
    (row,) = rows(client, "SELECT * FROM marts.unit_progress WHERE unit_id = 's-1'")
    assert row == {
        "programme": "p-1", "level": "school", "unit_id": "s-1", "name": "name of s-1", "parent_id": "t-1", "learners": 3, "registered": 2,
        "started": 2, "active_7d": 1, "passed": 2, "failed": 1, "open_flags": 2, "credited_seconds": 1800, "mean_credits": Decimal("0.66"),
    }  # fmt: skip


def test_open_flags_and_their_log(client: Client) -> None:
    flag = Flag("exam_due", "k-1", "warning", AT, "county", 2, AT, "no_answer")
    change = AttentionChange(
        "p-1", "l-1", "c-9", "online", "exam_due", "k-1", "raised", AT, "warning", "school", AT, "s-9", "t-9", "y-9", "v-9"
    )
    logged = to.attention_row(encode(change), 0, 4)
    sink = Sink(client)
    for _ in range(2):
        sink.write({**CHAIN, "store.attention_log": [logged]}, {PROGRESS: [progress(1, flags=[flag])]})
    (row,) = rows(client, "SELECT * FROM marts.needs_attention")
    assert (row["kind"], row["ref"], row["owner_level"], row["county_id"]) == ("exam_due", "k-1", "county", "t-1")
    assert (row["follow_ups"], row["last_outcome"]) == (2, "no_answer")
    (line,) = rows(client, "SELECT * FROM marts.attention_log")
    assert (line["class_id"], line["school_id"], line["province_id"], line["change"]) == ("c-9", "s-9", "v-9", "raised")


ACTIVITY = {
    "specversion": "1.0", "source": "/a", "type": "chalkstream.course.selected.v1", "subject": "l-1", "time": AT, "programme": "p-1",
    "data": {"course_id": "k-1"},
}  # fmt: skip


def activity(offset: int, id: str = "e1", ingested: str = AT, **changes: Any) -> dict[str, list[Any]]:
    item = ACTIVITY | {"id": id, "ingested_at": ingested} | changes
    table, row = row_of(b"l-1", json.dumps(item).encode(), AT_MS, offset)
    return {table: [row]}


def test_events_are_one_a_content_and_the_first_accepted(client: Client) -> None:
    sink = Sink(client)
    later = "2023-06-10T08:00:01.000Z"
    for load in (activity(9, ingested=later), activity(5), activity(7), activity(5), activity(8, data={"course_id": "k-2"})):
        sink.write(load, {})
    found = rows(client, "SELECT * FROM marts.events ORDER BY course_id")
    assert [(row["course_id"], row["offset"], row["type"]) for row in found] == [
        ("k-1", 5, "chalkstream.course.selected.v1"), ("k-2", 8, "chalkstream.course.selected.v1"),
    ]  # fmt: skip
    (twice,) = rows(client, "SELECT * FROM marts.data_quality WHERE kind = 'duplicate'")
    assert (twice["subject"], twice["records"]) == ("/a", 2)


def test_the_server_works_out_digest_identity_lateness_and_version(client: Client) -> None:
    """By the same rules as `Event.digest`; an event's identity is 128 bits of source, id and digest; of several records the first wins."""
    sink = Sink(client)
    study = {"type": "chalkstream.study.recorded.v1", "time": "2023-06-10T07:00:00.5+08:00"}
    study["data"] = {"course_id": "k-1", "started_at": "2023-06-09T20:40:00+08:00", "ended_at": AT, "channel": "disc", "session_id": "s"}
    on_time, late = "2023-06-11T08:00:00.000Z", "2023-06-11T08:00:00.001Z"
    items = [{"id": '中"1'}, {"source": "/b?x=%20"}, study, {"id": "e3", "ingested": on_time}, {"id": "e4", "ingested": late}]
    items.append({"time": "1970-01-01T00:00:00Z"})
    items.append(study | {"id": "e7", "data": {name: value for name, value in study["data"].items() if name != "session_id"}})
    at = partition_of(b"l-1", 4)
    for offset, changes in enumerate(items, 1 << 40):
        sink.write(activity(offset, **changes), {})
    found = {row["log_offset"]: row for row in rows(client, "SELECT * FROM store.events FINAL")}
    kept = {row["log_offset"]: row for row in rows(client, "SELECT * FROM store.records FINAL")}
    assert len(found) == len(kept) == len(items)
    for offset, changes in enumerate(items, 1 << 40):
        item = ACTIVITY | {"id": "e1", "ingested_at": AT} | changes
        item["ingested_at"] = item.pop("ingested", item["ingested_at"])
        event = read_record(b"l-1", json.dumps(item).encode(), AT_MS, at, 4)
        assert isinstance(event, Event)
        row, record = found[offset], kept[offset]
        assert (row["digest"], row["event_id"], row["source"]) == (event.digest, event.id, event.source)
        assert (row["time"].timestamp(), row["ingested_at"].timestamp()) == (event.time_ms / 1000, event.ingested_at_ms / 1000)
        identity = hashlib.sha256(f"{event.source}\0{event.id}\0{event.digest}".encode()).digest()
        assert record["event_key"] == int.from_bytes(identity[:16], "big")
        first = ((1 << 64) - 1 - event.ingested_at_ms) << 64 | (0xFFFF - at) << 48 | ((1 << 48) - 1 - offset)
        assert row["version"] == first
        assert (record["ingested_at"], record["course_id"], record["code"]) == (row["ingested_at"], "k-1", "")
    assert [kept[offset]["late"] for offset in sorted(kept)] == [0, 0, 0, 0, 1, 1, 0]


def test_a_database_that_an_older_version_filled_goes_on(stack: Settings, tmp_path: Path) -> None:
    """Version 4 inserted study into a table of its own; the same record, read again by this version, takes its row's place."""
    found = connect(stack.clickhouse)
    for database in ("marts", "store"):
        found.execute(f"DROP DATABASE IF EXISTS {database} SYNC")
    older = [one for one in migrations() if one.number <= 4]
    for one in older:
        (tmp_path / one.name).write_text(one.text, encoding="utf-8")
    assert migrate(found, tmp_path) == [one.name for one in older]
    study = {"type": "chalkstream.study.recorded.v1", "time": "2023-06-10T07:00:00.5+08:00"}
    study["data"] = {"course_id": "k-1", "started_at": "2023-06-09T20:40:00+08:00", "ended_at": AT, "channel": "disc", "session_id": "s"}
    at, started, ended = partition_of(b"l-1", 4), parse_instant(study["data"]["started_at"]), AT_MS
    columns = "programme, learner_id, source, event_id, course_id, channel, session_id, time_ms, started_ms, ended_ms, ingested_ms, data"
    row = ("p-1", "l-1", "/a", "e1", "k-1", "disc", "s", parse_instant(study["time"]), started, ended, AT_MS, json.dumps(study["data"]))
    found.execute(f"INSERT INTO store.incoming_study ({columns}, log_partition, log_offset) VALUES", [(*row, at, 7)])
    before = rows(found, "SELECT * FROM store.events FINAL"), rows(found, "SELECT * FROM store.records FINAL")
    assert migrate(found) == [one.name for one in migrations() if one.number > 4]
    Sink(found).write(activity(7, **study), {})
    assert rows(found, "SELECT count() AS n FROM store.events")[0]["n"] == 2
    assert (rows(found, "SELECT * FROM store.events FINAL"), rows(found, "SELECT * FROM store.records FINAL")) == before
    assert len(before[0]) == len(before[1]) == 1
    found.disconnect()


def test_the_first_duplicate_is_the_second_in_time(client: Client) -> None:
    sink = Sink(client)
    for offset, second in ((1, "01"), (2, "09"), (3, "05"), (4, "03")):  # another order in the log than in time
        sink.write(activity(offset, ingested=f"2023-06-10T08:00:{second}.000Z"), {})
    (twice,) = rows(client, "SELECT * FROM marts.data_quality WHERE kind = 'duplicate'")
    seen = (twice["records"], twice["first_seen_at"].second, twice["last_seen_at"].second)
    assert seen == (3, 3, 9)


def test_what_data_quality_counts(client: Client) -> None:
    sink = Sink(client)
    sink.write({"store.courses": [("p-1", "", 1, 0), ("p-1", "k-1", 1, 0)]}, {})
    registered = {"type": "chalkstream.learner.registered.v1", "data": {"class_id": "c-1"}}
    loads = (
        activity(1), activity(2, "e2", data={"course_id": "k-9"}), activity(3, "e3", programme="p-9", data={"course_id": "k-9"}),
        activity(4, "e4", **registered), activity(5, "e5", ingested="2023-06-11T08:00:00.001Z"), activity(6, "e6", time="nonsense"),
    )  # fmt: skip
    for load in (*loads, *loads):
        sink.write(load, {})
    found = {(r["programme"], r["kind"], r["subject"], r["records"]) for r in rows(client, "SELECT * FROM marts.data_quality")}
    assert found == {
        ("p-1", "unknown_course", "k-9", 1), ("p-1", "unknown_class", "c-1", 1), ("p-1", "late", "/a", 1), ("p-1", "unreadable", "/a", 1),
    }  # fmt: skip
    sink.write(CHAIN, {})  # the class is declared later
    assert rows(client, "SELECT * FROM marts.data_quality WHERE kind = 'unknown_class'") == []


def test_freshness_is_as_old_as_its_slowest_part(client: Client) -> None:
    sink = Sink(client)
    sink.write({"store.clock": [(0, AT_MS, 0.0, AT_MS, 1)]}, {})
    nothing = [to.watermark_row(kind, p, 0, 0) for kind in ("scoring", "activity") for p in (0, 1)]
    nothing.append(to.watermark_row("directory", 0, 0, 0))
    sink.write({"store.watermarks": nothing}, {})
    assert {row["as_of"] for row in rows(client, "SELECT * FROM marts.freshness")} == {datetime(1970, 1, 1, tzinfo=UTC)}
    words = [to.watermark_row("scoring", 0, 7, AT_MS, 1), to.watermark_row("scoring", 1, 9, AT_MS - 5000, 1)]
    sink.write({"store.watermarks": [*words, to.watermark_row("directory", 0, 3, AT_MS)]}, {})
    sink.write({"store.watermarks": nothing}, {})
    by_name = {row["relation"]: row for row in rows(client, "SELECT * FROM marts.freshness")}
    assert set(by_name) == {
        "learner_progress", "course_progress", "needs_attention", "attention_log", "unit_progress", "activity_daily", "data_quality",
        "events",
    }  # fmt: skip
    row = by_name["unit_progress"]
    assert row["lag_seconds"] == 5.0
    assert row["applied"] == {"learning.activity:0": 7, "learning.activity:1": 9, "organisation.directory:0": 3}
    assert by_name["events"]["applied"]["learning.activity:0"] == 0


@pytest.mark.parametrize("relation", ["learner_progress", "course_progress", "needs_attention", "attention_log", "events"])
def test_one_learner_is_found_by_the_key(client: Client, relation: str) -> None:
    client.execute("INSERT INTO store.progress (programme, learner_id, version) SELECT 'p-1', toString(number), 1 FROM numbers(50000)")
    for table in ("attention_log", "events"):
        client.execute(f"INSERT INTO store.{table} (programme, learner_id) SELECT 'p-1', toString(number) FROM numbers(50000)")
    plan = client.execute(f"EXPLAIN indexes = 1 SELECT * FROM marts.{relation} WHERE programme = 'p-1' AND learner_id = '777'")
    text = "\n".join(line for (line,) in plan)
    read, _, of = re.search(r"Granules: (\d+)(/)(\d+)", text).groups()  # type: ignore[union-attr]
    assert int(read) <= 2 < int(of), text


def test_an_analyst_reads_marts_and_nothing_else(client: Client, stack: Settings) -> None:
    Sink(client).write(CHAIN, {PROGRESS: [progress(1)]})
    analyst = connect(stack.clickhouse.replace("default@", "analyst@"))
    assert analyst.execute("SELECT count() FROM marts.learner_progress") == [(1,)]
    with pytest.raises(Exception, match="Not enough privileges"):
        analyst.execute("SELECT count() FROM store.progress")
    analyst.disconnect()


def queries() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "analysts" / "cookbook.md").read_text(encoding="utf-8")
    return re.findall(r"^## (.+?)\n.*?^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("title", "sql"), queries(), ids=[title for title, _ in queries()])
def test_every_query_of_the_cookbook_answers(client: Client, stack: Settings, title: str, sql: str) -> None:
    flag = Flag("inactive", "", "warning", AT, "school")
    as_of(client, AT_MS)
    change = AttentionChange("zhuozhou-2023", "l-1", "c-1", "online", "inactive", "", "raised", AT, "warning", "school", AT)
    mine = LearnerProgress(
        "zhuozhou-2023", "l-1", "c-1", "online", AT, AT, AT, AT, False, 1, 0, 600, "0.16", "1.00", "in_progress", 3,
        [course("c-reading", total="59.00")], [flag], (1, 1, AT_MS), AT,
    )  # fmt: skip
    studied = DayProgress("zhuozhou-2023", "l-1", "2023-06-10", 60, True, (1, 1, 1))
    Sink(client).write(
        {**CHAIN, **activity(5, programme="zhuozhou-2023"), "store.attention_log": [to.attention_row(encode(change), 0, 4)]},
        {PROGRESS: [to.progress_row(b"", encode(mine), 0, 1)], DAYS: [to.day_row(b"", encode(studied), 0, 1)]},
    )
    Sink(client).write(activity(6, programme="zhuozhou-2023"), {})
    analyst = connect(stack.clickhouse.replace("default@", "analyst@"))
    assert analyst.execute(sql), title
    analyst.disconnect()


def test_the_dictionary_is_up_to_date(client: Client) -> None:
    assert (ROOT / "docs" / "analysts" / "dictionary.md").read_text(encoding="utf-8") == dictionary(client)
