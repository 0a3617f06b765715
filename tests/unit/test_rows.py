"""Kafka records to rows, without a server."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from schemas.programme import load_text
from schemas.progress import CourseProgress, DayProgress, Flag, LearnerProgress, Watermark, encode, instant_ms
from schemas.reading import Event, partition_of, read_item
from services.reporting.loader import rows as to
from services.reporting.loader.activity import INCOMING, RECORDS
from services.reporting.loader.compare import expected
from services.reporting.loader.freshness import Freshness, Word
from services.reporting.loader.loader import TOPICS, Loader
from services.reporting.loader.rows import COLUMNS, DAYS, PROGRESS
from services.scoring.core.facts import fact_of
from services.scoring.core.fold import fold
from services.scoring.core.state import Learner
from services.shared.clock import parse_clock
from services.shared.directory import Directory
from services.shared.settings import ROOT
from services.shared.stream import Batch
from tests.loader_rows import named, row_of
from tests.unpacked import unpacked

INGESTED = "2023-06-10T08:00:00.000Z"


def event(**changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": "e1", "source": "/platforms/a", "type": "chalkstream.study.recorded.v1", "subject": "l-1",
        "time": "2023-06-10T10:00:00+08:00", "programme": "p-1", "ingested_at": INGESTED,
        "data": {
            "course_id": "c-1", "started_at": "2023-06-10T09:40:00+08:00", "ended_at": "2023-06-10T10:00:00+08:00", "channel": "online",
        },
    } | changes  # fmt: skip


def activity(item: Any, key: bytes = b"l-1", offset: int = 7) -> dict[str, Any]:
    """The row, with its `table`."""
    value = item if isinstance(item, bytes) else json.dumps(item).encode()
    table, row = row_of(key, value, 1_686_384_000_000, offset)
    return {"table": table, **named(table, row)}


SAT = {"course_id": "c-1", "attempt_id": "a-1", "form": "online", "score": 1, "sat_at": "2023-06-09T08:00:00Z"}


def test_study_becomes_a_row_with_its_data_as_received() -> None:
    row = activity(event())
    assert row["table"] == INCOMING
    assert (row["programme"], row["learner_id"], row["source"], row["event_id"]) == ("p-1", "l-1", "/platforms/a", "e1")
    assert (row["course_id"], row["class_id"]) == ("c-1", "")
    assert (row["time_ms"], row["own_ms"]) == (1_686_362_400_000, 1_686_362_400_000)
    assert json.loads(row["data"])["started_at"] == "2023-06-10T09:40:00+08:00"


def test_any_other_sound_event_becomes_a_row_with_what_it_says() -> None:
    row = activity(event(type="chalkstream.exam.marked.v1", data=SAT))
    assert (row["table"], row["type"]) == (INCOMING, "chalkstream.exam.marked.v1")
    assert (row["course_id"], row["class_id"]) == ("c-1", "")
    assert (row["time_ms"], row["own_ms"]) == (1_686_362_400_000, 1_686_297_600_000)
    assert json.loads(row["data"]) == SAT
    assert json.loads(row["content"])["data"]["sat_at"] == "2023-06-09T08:00:00.000Z"


def test_the_same_content_however_it_is_written() -> None:
    times = ("2023-06-10T10:00:00+08:00", "2023-06-10T02:00:00Z", "2023-06-10T02:00:01Z")
    first, second, other = (activity(event(time=time, type="chalkstream.exam.marked.v1", data=SAT)) for time in times)
    assert first["content"] == second["content"] != other["content"]


@pytest.mark.parametrize(
    ("value", "code", "source"),
    [
        (b"\xff\xfe", "not_json", ""),
        (b"{", "not_json", ""),
        (b"[" * 5000, "not_json", ""),
        (b"[]", "wrong_type", ""),
        (json.dumps(event(source="/platforms/\ud800")).encode(), "bad_format", "/platforms/?"),
        (json.dumps(event(type="chalkstream.nothing.v1")).encode(), "unknown_type", "/platforms/a"),
        (json.dumps(event(subject="l-2")).encode(), "wrong_partition", "/platforms/a"),
        (json.dumps(event(time="2023-06-10T08:05:00.001Z")).encode(), "in_future", "/platforms/a"),
    ],
)
def test_an_unsound_record_is_counted_and_is_no_event(value: bytes, code: str, source: str) -> None:
    record = activity(value)
    assert record["table"] == RECORDS
    assert (record["unreadable"], record["code"], record["source"], record["event_key"]) == (1, code, source, 0)


def test_a_record_without_a_value_and_a_timestamp_from_nowhere() -> None:
    table, row = row_of(b"l-1", None, -1, 3)
    assert (table, named(table, row)["ingested_at"]) == (RECORDS, 0)


def test_an_oddity_in_the_envelope_leaves_the_data_readable() -> None:
    row = activity(event(traceparent="\ud800"))
    assert json.loads(row["data"])["channel"] == "online"


COURSE = CourseProgress(
    "c-1", 600, "15.00", "7.50", "0.00", "0.00", "0.00", "45.25", "67.75", "22.50", True, False, True, "4.00", None, "{}"
)  # fmt: skip
FLAG = Flag("inactive", "", "warning", "2023-06-10T08:00:00.000Z", "school", 2, "2023-06-11T08:00:00.123Z", "reached")


def progress(**changes: Any) -> LearnerProgress:
    whole = LearnerProgress(
        "p-1", "l-1", "k-1", "online", INGESTED, None, None, INGESTED, False, 1, 1, 600, "0.16", "4.00", "in_progress", 3, [COURSE], [FLAG],
        (2, 40, 1_686_384_000_000), INGESTED,
    )  # fmt: skip
    return msgspec.structs.replace(whole, **changes)


def test_a_learners_row_holds_courses_and_flags_as_parallel_arrays() -> None:
    found = to.progress_row(b"p-1|l-1", encode(progress()), 3, 99)
    assert found.row is not None
    row = dict(zip(COLUMNS[PROGRESS], found.row, strict=True))
    assert found.key == ("p-1", "l-1")
    assert found.version == row["version"] == 2 << 96 | 40 << 48 | 1_686_384_000_000
    assert row["registered_at"] == 1_686_384_000_000
    assert row["started_at"] is None
    assert (row["study_hours_100"], row["credits_100"]) == (16, 400)
    assert (row["course_id"], row["course_exam_points_100"], row["course_last_active_at"]) == (["c-1"], [4525], [None])
    assert (row["flag_kind"], row["flag_follow_ups"], row["flag_last_outcome"]) == (["inactive"], [2], ["reached"])
    assert (row["log_partition"], row["log_offset"], row["is_deleted"]) == (3, 99, 0)


@pytest.mark.parametrize(
    "text", ["1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z", "2023-06-11T08:00:00.123Z", "2101-03-01T00:00:00.000Z"]
)
def test_an_instant_of_scorings_may_lie_beyond_what_an_event_may_say(text: str) -> None:
    for _ in range(2):  # met before, or not
        found = to.progress_row(b"p-1|l-1", encode(progress(registered_at=text)), 3, 99)
        assert found.row is not None
        assert dict(zip(COLUMNS[PROGRESS], found.row, strict=True))["registered_at"] == instant_ms(text)


def test_versions_order_like_epoch_offset_tick() -> None:
    ordered = [(1, 9, 9), (2, 0, 5), (2, 0, 6), (2, 1, 0)]
    assert sorted(ordered, key=to.packed) == ordered


def test_a_tombstone_names_its_key() -> None:
    assert to.progress_row(b"p-1|l-1", None, 0, 5).key == ("p-1", "l-1")
    assert to.day_row(b"p-1|l-1|2023-06-01", None, 0, 5).key == ("p-1", "l-1", "2023-06-01")
    with pytest.raises(ValueError, match="2 parts"):
        to.progress_row(b"p-1", None, 0, 5)


def test_a_local_day_before_1970_is_in_no_table_and_is_not_missed() -> None:
    """An act at the first instant of 1970 lies on 31 December where clocks are behind; ClickHouse's `Date` would make it 1 January."""
    text = (ROOT / "schemas/programmes/zhuozhou-2023.yaml").read_text()
    rules = load_text(text.replace("time_zone: Asia/Shanghai", "time_zone: America/New_York"))
    acts = [{**event(), "programme": rules.id, "type": "chalkstream.platform.visited.v1", "data": {}, "id": str(n)} for n in range(2)]
    learner = Learner.new("l-1")
    for act, time in zip(acts, ("1970-01-01T00:00:00Z", "1970-01-01T12:00:00Z"), strict=True):
        found = read_item({name: value for name, value in act.items() if name != "ingested_at"} | {"time": time})
        assert isinstance(found, Event)
        fold(rules, learner, [fact_of(found)])
    assert expected(rules, learner, Directory(), 0).days == {"1970-01-01": (0, 1)}

    stored: dict[str, list[to.Replacing]] = {}
    packed: list[Any] = []
    nowhere: Any = SimpleNamespace(write=lambda rows, replacing: stored.update(replacing) or packed.extend(rows.get(DAYS, [])) or 0)
    metrics: Any = SimpleNamespace(pending=SimpleNamespace(set=lambda _: None), stored=lambda *_: None)
    values = [encode(DayProgress(rules.id, "l-1", day, 0, True, (1, n, 0))) for n, day in enumerate(("1969-12-31", "1970-01-01"))]
    records: list[Any] = [SimpleNamespace(offset=n, key=b"k", value=value, timestamp=0) for n, value in enumerate(values)]
    records.append(SimpleNamespace(offset=2, key=f"{rules.id}|l-1|1969-12-31".encode(), value=None, timestamp=0))
    batch = Batch("learning.days", 0, records, lambda: None, lambda: None)

    async def load() -> None:
        loader = Loader(nowhere, {name: 1 for name in TOPICS} | {"learning.watermarks": 1}, parse_clock("system"), metrics)
        await loader.handle(batch)
        await loader.flush()

    asyncio.run(load())
    days = [row.key[2] for row in stored.get(DAYS, [])] + [row[2].isoformat() for part in packed for row in unpacked(part)]
    assert days == ["1970-01-01"], "not even the tombstone of a day that was never there"


def test_what_scoring_never_writes_is_an_error() -> None:
    with pytest.raises(msgspec.MsgspecError):
        to.day_row(b"k", b'{"programme": 1}', 0, 0)
    assert to.day_row(b"k", encode(DayProgress("p", "l", "2023-06-01", 5, True, (1, 2, 3))), 0, 0).row is not None


def unit(unit_id: str, parent: str | None, level: str, time: str = "2023-05-01T00:00:00Z", id: str = "u1") -> bytes:
    item = event(id=id, type="chalkstream.unit.declared.v1", subject=unit_id, time=time)
    del item["programme"]
    item["data"] = {"unit_id": unit_id, "level": level, "name": f"name of {unit_id}", "parent_id": parent}
    return json.dumps(item).encode()


def test_the_latest_declaration_of_a_unit_holds_in_whatever_order() -> None:
    directory, key = Directory(), b"s-1"
    at = partition_of(key, 1)

    def fold(value: bytes, offset: int) -> Any:
        return to.directory_row(directory, key, value, 1_700_000_000_000, at, 1, offset)

    assert fold(unit("s-1", "k-1", "school", "2023-05-02T00:00:00Z"), 4)[1][-1] == 5
    assert fold(unit("s-1", "k-2", "school", "2023-05-01T00:00:00Z"), 5) is None
    table, row = fold(unit("s-1", "k-3", "school", "2023-05-02T00:00:00Z", id="u2"), 6)
    assert (table, row[1], row[-1]) == ("store.units", "k-3", 7)
    assert fold(b"{", 7) is None


def word(offset: int, applied: int, ends: dict[str, int]) -> Word:
    return Word(0, offset, Watermark(partition=1, applied=applied, as_of="2023-06-10T08:00:00.000Z", outputs=ends, epoch=1))


def test_scorings_word_holds_once_its_outputs_are_stored() -> None:
    fresh = Freshness({"learning.activity": 2, "organisation.directory": 1})
    fresh.hear(word(10, 5, {"learning.progress": 3}))
    fresh.hear(word(11, 8, {"learning.progress": 6, "learning.days": 2}))
    assert fresh.claims() == []
    fresh.reached("learning.progress", 1, 4)
    assert [row[:3] for row in fresh.claims()] == [("scoring", 1, 5)]
    assert fresh.unsettled(0) == 11
    fresh.reached("learning.progress", 1, 6)
    assert fresh.claims() == []
    fresh.reached("learning.days", 1, 2)
    assert [row[:3] for row in fresh.claims()] == [("scoring", 1, 8)]
    assert fresh.unsettled(0) is None


def test_our_own_word_holds_once_the_ends_asked_for_after_the_moment_are_stored() -> None:
    fresh = Freshness({"learning.activity": 2, "organisation.directory": 1})
    fresh.look("learning.activity", 1000, {0: 4, 1: 0})
    fresh.reached("learning.activity", 0, 4)
    assert fresh.claims() == []  # of partition 1 nothing is known
    fresh.look("learning.activity", 2000, {0: 9, 1: 0})  # the first look stands until it is settled
    fresh.reached("learning.activity", 1, 0)
    assert [row[:4] for row in fresh.claims()] == [("activity", 0, 4, 1000), ("activity", 1, 0, 1000)]
    assert not fresh.looking("learning.activity")
    assert fresh.claims() == []
