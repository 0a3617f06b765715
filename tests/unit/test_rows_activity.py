"""A record's row says what the long way reads in it, whichever way it went."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.activity import LEARNER_TYPES
from schemas.envelope import AHEAD_MS
from schemas.instants import parse_instant, rfc3339
from schemas.quick import read_sound
from schemas.reading import Event, _at_length, partition_of, read_record
from services.reporting.loader import activity
from tests.loader_rows import named, row_of
from tests.unit.test_quick_reader import ITEM, NOW, ODD, PIECES, data, text

DATA: dict[str, dict[str, Any]] = {
    "assessment.chosen": {"course_id": "c-1", "form": "paper"},
    "assignment.graded": {"course_id": "c-1", "assignment_id": "a-1", "score": 0.85, "grader_id": "t-1"},
    "assignment.submitted": {"course_id": "c-1", "assignment_id": "a-1", "submission_id": "s-1", "fingerprint": "f /~"},
    "certificate.issued": {"certificate_id": "c-1"},
    "course.dropped": {"course_id": "c-1"},
    "course.selected": {"course_id": "c-1"},
    "exam.marked": {"course_id": "c-1", "attempt_id": "a-1", "form": "paper", "score": 1, "sat_at": "2023-06-01T08:00:00Z"},
    "learner.registered": {"class_id": "k-1", "mode": "disc"},
    "learner.reinstated": {},
    "learner.transferred": {"class_id": "k-1", "mode": None},
    "learner.withdrawn": {},
    "plagiarism.ruled": {"case_id": "p-1", "submission_id": "s-1", "verdict": "cleared"},
    "platform.visited": {},
    "post.published": {"course_id": "c-1", "post_id": "p-1", "kind": "reply", "reply_to": "p-0"},
    "post.removed": {"post_id": "p-1", "course_id": "c-1"},
    "process.marked": {"course_id": "c-1", "score": 1, "marker_id": "t-1"},
    "reminder.delivered": {"reminder_id": "r-1", "channel": "sms"},
    "work.removed": {"work_id": "w-1"},
    "work.reviewed": {"work_id": "w-1", "verdict": "returned"},
}
LONG: dict[str, dict[str, Any]] = {
    "learner.enrolled": {"class_id": "k-1", "birth_year": 1980, "gender": "female"},
    "work.published": {"work_id": "w-1", "kind": "lesson_design", "course_id": "c-1"},
}

DATA_FOLLOW_UP = {"flag": "inactive", "channel": "phone", "outcome": "reached", "staff_id": "s-1", "note": "家长说 {明天} 来"}


ITEM_INGESTED = parse_instant(ITEM["ingested_at"])


def kept(value: bytes | None, key: bytes = b"L1", timestamp: int = NOW) -> tuple[str, dict[str, Any]]:
    """The record's table and row."""
    table, row = row_of(key, value, timestamp, 77)
    return table, named(table, row)


def both(value: bytes | None, key: bytes = b"L1", timestamp: int = NOW) -> tuple[Any, Any]:
    """(what is passed on of the record, None where it is unsound; the same by the long way alone)."""
    table, row = kept(value, key, timestamp)
    event = _at_length(key, value, timestamp, partition_of(key, 4), 4) if value is not None else None
    if not isinstance(event, Event) or event.type not in LEARNER_TYPES:
        assert table == activity.RECORDS
        return None, None
    assert table != activity.RECORDS
    assert value is not None
    long = activity._row(event, value, partition_of(key, 4), 77)
    return row, named(activity.INCOMING, long)


def is_quick(value: bytes) -> bool:
    return read_sound(value, "L1", NOW) is not None


def of(kind: str, said: dict[str, Any], **changes: Any) -> bytes:
    return text(type=f"chalkstream.{kind}.v1", data=said, **changes)


def test_the_bulk_goes_the_quick_way() -> None:
    both(text())  # the long way has met the source now
    values = [text(), data(session_id="s-1"), data(session_id=None), text(datacontenttype="application/json"), data(ended_at=ITEM["time"])]
    values += [of(kind, said) for kind, said in DATA.items()]
    values += [text(time="2023-06-01T16:30:00.25+08:00"), text(ingested_at="2023-06-09T08:31:00Z")]
    values += [text().replace(b'"/platform"', b'"\\/platform"'), text().replace(b'"data": {', b'"data" :\t{\n')]
    for value in values:
        quick, long = both(value)
        assert is_quick(value), value
        assert quick == long
    without = {name: value for name, value in ITEM.items() if name != "ingested_at"}
    quick, long = both(json.dumps(without).encode())
    assert is_quick(json.dumps(without).encode())
    assert quick == long
    assert {f"chalkstream.{kind}.v1" for kind in DATA | LONG} <= set(LEARNER_TYPES)


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_what_is_unusual_is_answered_the_same(value: bytes) -> None:
    both(text())
    for key in (b"L1", b"L2"):
        for timestamp in (NOW, -1, 1 << 62):
            quick, long = both(value, key, timestamp)
            assert quick == long


@pytest.mark.parametrize("kind", sorted(DATA | LONG))
def test_every_type_with_each_field_missing_null_or_wrong_is_answered_the_same(kind: str) -> None:
    both(text())
    said = (DATA | LONG)[kind]
    cases = [said, said | {"extra": "x"}, said | {"course_id": "c 1"}]
    for name in said:
        cases.append({other: value for other, value in said.items() if other != name})
        cases += [said | {name: value} for value in (None, "", "x" * 65, "x" * 257, "中", 5, 1, True, [], {"a": 1}, "a/b", 'f"\\\x7f\n/')]
    taken = 0
    for case in cases:
        quick, long = both(of(kind, case))
        assert quick == long, case
        taken += is_quick(of(kind, case))
    assert (taken > 0) == (kind in DATA)
    assert isinstance(read_record(b"L1", of(kind, said), NOW, partition_of(b"L1", 4), 4), Event)


SCORES = [
    "0",
    "1",
    "0.5",
    "0.8500",
    "0.0001",
    "0.00001",
    "1.0",
    "-0",
    "0.0",
    "1e0",
    "5e-1",
    "01",
    "0.",
    ".5",
    "1.1",
    "-0.5",
    "NaN",
    "0.50000000000000000001",
]


@pytest.mark.parametrize("score", SCORES)
def test_every_way_to_write_a_score_is_answered_the_same(score: str) -> None:
    both(text())
    value = of("assignment.graded", DATA["assignment.graded"]).replace(b"0.85", score.encode())
    quick, long = both(value)
    assert quick == long
    assert is_quick(value) == (score in ("0", "1", "0.5", "0.0001"))


SAT = [
    "2023-06-01T08:00:00Z",
    "2023-06-01T16:00:00.250+08:00",
    "2023-06-01t08:00:00z",
    "2023-06-01T08:00:00.123456Z",
    "1969-12-31T23:59:59Z",
]
SAT += [
    "2023-06-01T08:00:60Z",
    "2023-06-01 08:00:00Z",
    "2100-01-01T00:00:00+00:01",
    "2100-01-01T00:00:00Z",
    "2023-06-01",
    "2023-02-29T08:00:00Z",
]


@pytest.mark.parametrize("sat", [*SAT, *(rfc3339(ITEM_INGESTED + AHEAD_MS + more) for more in (-1, 0, 1, 86_400_000))])
def test_every_moment_of_an_exam_is_answered_the_same(sat: str) -> None:
    both(text())
    value = of("exam.marked", DATA["exam.marked"] | {"sat_at": sat})
    for _ in range(2):  # read anew, then by parts met before
        quick, long = both(value)
        assert quick == long
        read = [each(b"L1", value, NOW, partition_of(b"L1", 4), 4) for each in (read_record, _at_length)]
        assert read[0] == read[1]
        assert (quick is not None) == isinstance(read[1], Event)


def test_twins_of_attributes_are_answered_the_same() -> None:
    both(text())
    for name, value in [
        ("data", {}),
        ("data", ITEM["data"] | {"course_id": "c-9"}),
        ("id", "e-9"),
        ("type", "x"),
        ("time", ITEM["data"]["started_at"]),
    ]:
        twin = f'"{name}": {json.dumps(value)}, '.encode()
        for broken in (text().replace(b"{", b"{" + twin, 1), text()[:-1] + b", " + twin[:-2] + b"}"):
            quick, long = both(broken)
            assert quick == long


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from([text(), of("post.published", DATA["post.published"]), of("assignment.submitted", DATA["assignment.submitted"])]),
    st.lists(st.tuples(st.integers(0, len(text())), st.integers(0, 6), PIECES), min_size=1, max_size=3),
    st.binary(max_size=4),
)
def test_broken_records_are_answered_the_same(value: bytes, cuts: list[tuple[int, int, bytes]], key: bytes) -> None:
    both(text())
    for at, length, piece in cuts:
        value = value[:at] + piece + value[at + length :]
    for name in (b"L1", key):
        quick, long = both(value, name)
        assert quick == long


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({}, None),
        ({"id": "a{b"}, None),
        ({"id": "a}b"}, None),
        ({"id": "{}"}, None),
        ({"type": "chalkstream.assignment.submitted.v1"}, DATA["assignment.submitted"] | {"fingerprint": "}{ a"}),
        ({"type": "chalkstream.platform.visited.v1"}, {}),
        ({"type": "chalkstream.follow_up.recorded.v1"}, DATA_FOLLOW_UP),
    ],
)
def test_data_is_kept_as_it_was_received(changes: dict[str, Any], data: dict[str, Any] | None) -> None:
    whole = ITEM | changes | ({} if data is None else {"data": data})
    for separators in ((",", ":"), (", ", ": "), (" ,\n", " : ")):
        for before in (b"", b" \n"):
            said = json.dumps(whole["data"], separators=separators, ensure_ascii=False)
            value = before + json.dumps(whole | {"data": "DATA"}, separators=separators).encode().replace(b'"DATA"', said.encode())
            table, row = kept(value)
            assert table != activity.RECORDS
            assert row["data"] == said


def test_data_is_kept_beside_what_a_decoder_of_the_whole_envelope_refuses() -> None:
    """A lone surrogate in an attribute that nobody judges."""
    both(text())
    value = text(extra="\ud800")
    table, row = kept(value)
    assert table == activity.INCOMING
    assert row["data"] == json.dumps(ITEM["data"])
