"""Every row of the contract's table of verdicts, on whole items."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from schemas.reading import Event, read_item
from schemas.strictjson import parse

BASE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "stu-1",
    "source": "/platforms/jijiaowang",
    "type": "chalkstream.study.recorded.v1",
    "subject": "t-1",
    "time": "2023-06-05T20:31:07+08:00",
    "programme": "zhuozhou-2023",
    "data": {
        "course_id": "c-reading",
        "started_at": "2023-06-05T20:05:41.9+08:00",
        "ended_at": "2023-06-05T20:30:58.2+08:00",
        "channel": "online",
    },
}
DATA: dict[str, dict[str, Any]] = {
    "process.marked": {"course_id": "c", "score": 0.8, "marker_id": "m"},
    "learner.enrolled": {"class_id": "c"},
    "work.published": {"work_id": "w", "kind": "teaching_case", "course_id": "c"},
    "unit.declared": {"unit_id": "t-1", "parent_id": "up", "level": "school", "name": "涿州市实验小学"},
    "staff.assigned": {"staff_id": "t-1", "role": "tutor", "unit_id": "u"},
    "reminder.failed": {"reminder_id": "r", "channel": "sms", "reason": ""},
    "assignment.submitted": {"course_id": "c", "assignment_id": "a", "submission_id": "s"},
    "follow_up.recorded": {"flag": "behind", "channel": "visit", "outcome": "other", "staff_id": "s"},
    "learner.withdrawn": {},
}
GONE = object()


def item(kind: str = "", fields: dict[str, Any] | None = None, **attributes: Any) -> dict[str, Any]:
    made = copy.deepcopy(BASE)
    if kind:
        made["type"] = f"chalkstream.{kind}.v1"
        made["data"] = copy.deepcopy(DATA[kind])
    if kind == "unit.declared":
        del made["programme"]
    for place, changes in ((made["data"], fields or {}), (made, attributes)):
        for name, value in changes.items():
            if value is GONE:
                place.pop(name, None)
            else:
                place[name] = value
    return made


def said(made: Any) -> list[tuple[str, str]]:
    return judged(json.dumps(made))


def judged(text: str) -> list[tuple[str, str]]:
    found = read_item(parse(text))
    return [] if isinstance(found, Event) else [(verdict.pointer, verdict.code) for verdict in found]


def with_number(kind: str, field: str, number: str) -> str:
    return json.dumps(item(kind, {field: "@@"})).replace('"@@"', number)


def test_a_sound_event_is_read_exactly() -> None:
    found = read_item(parse(json.dumps(item())))
    assert isinstance(found, Event)
    assert (found.id, found.source, found.subject, found.programme) == ("stu-1", "/platforms/jijiaowang", "t-1", "zhuozhou-2023")
    assert found.time_ms == 1_685_968_267_000
    assert (found.data.started_at, found.data.ended_at) == (1_685_966_741, 1_685_968_258)
    assert found.data.session_id is None


@pytest.mark.parametrize("value", [5, "text", None, True, [], 1.5])
def test_what_is_no_object_is_of_the_wrong_type(value: Any) -> None:
    assert said(value) == [("", "wrong_type")]


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time", "programme", "data"])
@pytest.mark.parametrize("value", [GONE, None])
def test_attributes_absent_or_null_are_missing(name: str, value: Any) -> None:
    assert said(item(**{name: value})) == [(f"/{name}", "missing")]


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time", "programme", "data", "datacontenttype"])
@pytest.mark.parametrize("value", [1, True, [], ["x"]])
def test_attributes_of_the_wrong_type(name: str, value: Any) -> None:
    assert said(item(**{name: value})) == [(f"/{name}", "wrong_type")]


def test_fields_missing_null_unknown() -> None:
    assert said(item(fields={"channel": GONE})) == [("/data/channel", "missing")]
    assert said(item(fields={"channel": None})) == [("/data/channel", "wrong_type")]
    assert said(item(fields={"session_id": None})) == []
    assert said(item(fields={"speed": None})) == [("/data/speed", "unknown_field")]
    assert said(item("learner.withdrawn", {"why": "x"})) == [("/data/why", "unknown_field")]


def test_pointers_are_escaped() -> None:
    assert said(item(fields={"a/b~c": 1, "": 2})) == [("/data/", "unknown_field"), ("/data/a~1b~0c", "unknown_field")]


def test_other_attributes_are_not_judged() -> None:
    assert said(item(traceparent={"x": [None]}, **{"\udfff": "\ud800", "A-b": 1e300})) == []
    assert said(item(data_base64="eA==", ingested_at="x")) == [("/data_base64", "unknown_field"), ("/ingested_at", "unknown_field")]
    assert said(item(data_base64=None, ingested_at=None, datacontenttype=None)) == []
    assert said(item(datacontenttype="application/json; charset=utf-8")) == [("/datacontenttype", "bad_format")]


@pytest.mark.parametrize(("length", "codes"), [(0, ["out_of_range"]), (1, []), (128, []), (129, ["out_of_range"])])
def test_event_ids_by_length(length: int, codes: list[str]) -> None:
    assert said(item(id="中" * length)) == [("/id", code) for code in codes]


@pytest.mark.parametrize("value", ["a\nb", "\u0000", "\ud800", "a\u200b", "\u2028"])
def test_event_ids_are_printable(value: str) -> None:
    assert said(item(id=value)) == [("/id", "bad_format")]


@pytest.mark.parametrize(
    "value", ["/p", "p", "urn:uuid:1-2", "https://u@h:80/a?b=c#d", "http://[2001:db8::1]/x", "//h", "/%E4%B8%AD", "?q", "a/b:c"]
)
def test_sources_that_are_uri_references(value: str) -> None:
    assert said(item(source=value)) == []


@pytest.mark.parametrize("value", ["a b", "中", "/%zz", "/%4", "1a:b", "http://[::1", "a\\b", "<x>", "http://[1::2::3]/", "#a#b", "\ud800"])
def test_sources_that_are_not(value: str) -> None:
    assert said(item(source=value)) == [("/source", "bad_format")]


def test_lengths() -> None:
    assert said(item(source="")) == [("/source", "out_of_range")]
    assert said(item(source="x" * 256)) == []
    assert said(item(source="x" * 257)) == [("/source", "out_of_range")]
    assert said(item("unit.declared", {"name": ""})) == [("/data/name", "out_of_range")]
    assert said(item("unit.declared", {"name": "校" * 201})) == [("/data/name", "out_of_range")]
    assert said(item("assignment.submitted", {"fingerprint": "f" * 257})) == [("/data/fingerprint", "out_of_range")]
    assert said(item("reminder.failed")) == []
    assert said(item("reminder.failed", {"reason": "x" * 501})) == [("/data/reason", "out_of_range")]
    assert said(item("reminder.failed", {"reason": GONE})) == [("/data/reason", "missing")]
    assert said(item("follow_up.recorded", {"note": "x" * 500})) == []
    assert said(item("follow_up.recorded", {"note": "x" * 501})) == [("/data/note", "out_of_range")]
    assert said(item("follow_up.recorded", {"note": "\ud800"})) == [("/data/note", "bad_format")]


@pytest.mark.parametrize("value", ["", "x" * 65, "a b", "中", "a\n", "\ud800"])
def test_ids_are_a_pattern_with_its_length(value: str) -> None:
    assert said(item(subject=value)) == [("/subject", "bad_format")]
    assert said(item(programme=value)) == [("/programme", "bad_format")]
    assert said(item(fields={"course_id": value})) == [("/data/course_id", "bad_format")]


def test_enumerations() -> None:
    assert said(item(specversion="1.1")) == [("/specversion", "bad_format")]
    assert said(item(fields={"channel": "\ud800"})) == [("/data/channel", "bad_format")]
    assert said(item(fields={"channel": 7})) == [("/data/channel", "wrong_type")]
    assert said(item("follow_up.recorded", {"flag": "tired"})) == [("/data/flag", "bad_format")]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("0", ""), ("1", ""), ("1.0", ""), ("-0.0", ""), ("0.1234", ""), ("0.12340000000000", ""), ("1e-4", ""), ("10e-1", ""),
        ("0e999999999999999999999", ""),
        ("0.12345", "too_many_decimals"), ("0.50000000000000000001", "too_many_decimals"), ("1e-1000000", "too_many_decimals"),
        ("1e-99999999999999999999999", "too_many_decimals"), ("0." + "0" * 6000 + "1", "too_many_decimals"), ("0.1234" + "0" * 6000, ""),
        ("1.00001", "out_of_range"), ("1.0000000000000000000000001", "out_of_range"), ("-0.1", "out_of_range"), ("2", "out_of_range"),
        ("1e1000000", "out_of_range"), ("1e99999999999999999999999", "out_of_range"), ("-1e-99999999999999999999999", "out_of_range"),
        ("9" * 5000, "out_of_range"), ("-" + "9" * 5000, "out_of_range"),
        ("true", "wrong_type"), ('"0.5"', "wrong_type"), ("null", "wrong_type"), ("[0.5]", "wrong_type"),
    ],
)  # fmt: skip
def test_scores_are_exact(number: str, code: str) -> None:
    assert judged(with_number("process.marked", "score", number)) == ([("/data/score", code)] if code else [])


@pytest.mark.parametrize(("number", "value"), [("0.85", 8500), ("1", 10000), ("0.0001", 1), ("8.5e-1", 8500), ("0", 0)])
def test_scores_become_ten_thousandths(number: str, value: int) -> None:
    found = read_item(parse(with_number("process.marked", "score", number)))
    assert isinstance(found, Event)
    assert found.data.score == value


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("1980", ""), ("1980.0", ""), ("198e1", ""), ("1980." + "0" * 5000, ""), ("19800000e-4", ""), ("null", ""),
        ("1980.5", "wrong_type"), ("true", "wrong_type"), ('"1980"', "wrong_type"), ("1e-99999999999999999999999", "wrong_type"),
        ("1899", "out_of_range"), ("2101", "out_of_range"), ("0", "out_of_range"), ("1e400", "out_of_range"), ("1" * 5000, "out_of_range"),
        ("1" * 5000 + ".0", "out_of_range"), ("1e99999999999999999999999", "out_of_range"),
    ],
)  # fmt: skip
def test_whole_numbers(number: str, code: str) -> None:
    assert judged(with_number("learner.enrolled", "birth_year", number)) == ([("/data/birth_year", code)] if code else [])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1969-12-31T23:59:59.9999Z", "out_of_range"), ("1970-01-01T00:00:00Z", ""), ("2099-12-31T23:59:59.999999999Z", ""),
        ("2100-01-01T00:00:00Z", "out_of_range"), ("2100-01-01T07:59:59+08:00", ""), ("1970-01-01T07:59:59+08:00", "out_of_range"),
        ("0000-02-29T00:00:00Z", "out_of_range"), ("9999-12-31T23:59:59-23:59", "out_of_range"), ("2023-02-29T00:00:00Z", "bad_format"),
        ("2023-06-31T00:00:00Z", "bad_format"), ("2023-13-01T00:00:00Z", "bad_format"), ("2023-06-01T24:00:00Z", "bad_format"),
        ("2023-06-01T23:59:60Z", "bad_format"), ("2023-06-01T23:60:00Z", "bad_format"), ("2023-06-01 08:00:00Z", "bad_format"),
        ("2023-06-01T08:00:00", "bad_format"), ("2023-06-01T08:00Z", "bad_format"), ("2023-06-01T08:00:00+0800", "bad_format"),
        ("2023-06-01T08:00:00+24:00", "bad_format"), ("2023-06-01T08:00:00.Z", "bad_format"),
        ("2023-06-01T08:00:00.1234567890Z", "bad_format"),
        ("2023-06-01t08:00:00.123456789z", ""), ("2023-06-01T08:00:00-00:00", ""), ("２０23-06-01T08:00:00Z", "bad_format"),
        ("", "bad_format"),
        ("2023-06-01T08:00:00Z\n", "bad_format"), ("\ud800", "bad_format"),
    ],
)  # fmt: skip
def test_instants(text: str, code: str) -> None:
    assert said(item(time=text)) == ([("/time", code)] if code else [])


def test_intervals_are_cut_before_they_are_checked() -> None:
    assert said(item(fields={"started_at": "2023-06-05T20:00:00.1Z", "ended_at": "2023-06-05T20:00:00.9Z"})) == [
        ("/data/ended_at", "empty_interval")
    ]
    assert said(item(fields={"started_at": "2023-06-05T20:00:00.9Z", "ended_at": "2023-06-05T20:00:01.0Z"})) == []
    assert said(item(fields={"started_at": "2023-06-05T20:00:01Z", "ended_at": "2023-06-05T20:00:00Z"})) == [
        ("/data/ended_at", "empty_interval")
    ]
    assert said(item(fields={"started_at": "2023-06-05T00:00:00Z", "ended_at": "2023-06-06T00:00:00.9Z"})) == []
    assert said(item(fields={"started_at": "2023-06-05T00:00:00Z", "ended_at": "2023-06-06T00:00:01Z"})) == [
        ("/data/ended_at", "out_of_range")
    ]
    assert said(item(fields={"started_at": "x", "ended_at": "2023-06-06T00:00:01Z"})) == [("/data/started_at", "bad_format")]


def test_works_belong_to_one_thing() -> None:
    assert said(item("work.published", {"course_id": GONE})) == [("/data/course_id", "missing")]
    assert said(item("work.published", {"course_id": None, "activity_id": "a"})) == []
    assert said(item("work.published", {"activity_id": "a"})) == [("/data/activity_id", "unknown_field")]
    assert said(item("work.published", {"course_id": "!", "activity_id": "a"})) == [("/data/course_id", "bad_format")]


def test_units() -> None:
    assert said(item("unit.declared")) == []
    assert said(item("unit.declared", {"parent_id": None})) == [("/data/parent_id", "missing")]
    assert said(item("unit.declared", {"level": "province"})) == [("/data/parent_id", "unknown_field")]
    assert said(item("unit.declared", {"level": "province", "parent_id": None})) == []
    assert said(item("unit.declared", {"level": "planet", "parent_id": GONE})) == [("/data/level", "bad_format")]
    assert said(item("unit.declared", programme="p")) == [("/programme", "unknown_field")]
    assert said(item("unit.declared", programme=None)) == []
    assert said(item("unit.declared", subject="t-2")) == [("/subject", "bad_format")]
    assert said(item("staff.assigned", subject="t-2")) == [("/subject", "bad_format")]
    assert said(item("staff.assigned", {"staff_id": "a b"})) == [("/data/staff_id", "bad_format")]
    assert said(item("staff.assigned", programme=GONE)) == [("/programme", "missing")]


def test_types_that_are_not_known() -> None:
    assert said(item(type="chalkstream.study.recorded.v2")) == [("/type", "unknown_type")]
    assert said(item(type="", fields={"x\ud800": 1})) == [("/type", "unknown_type")]
    assert said(item(type="x", time="x", data=GONE)) == [("/data", "missing"), ("/time", "bad_format"), ("/type", "unknown_type")]


def test_all_errors_in_order() -> None:
    wrong = item(
        id="",
        source="a b",
        subject="",
        time="x",
        specversion=1,
        fields={"channel": "tv", "a": 1, "course_id": 5, "\ud800": 1, "started_at": None},
    )
    assert said(wrong) == [
        ("/data/a", "unknown_field"),
        ("/data/channel", "bad_format"),
        ("/data/course_id", "wrong_type"),
        ("/data/started_at", "wrong_type"),
        ("/data/\ud800", "unknown_field"),
        ("/id", "out_of_range"),
        ("/source", "bad_format"),
        ("/specversion", "wrong_type"),
        ("/subject", "bad_format"),
        ("/time", "bad_format"),
    ]


def test_the_last_of_a_repeated_key_wins() -> None:
    text = (
        json.dumps(item())
        .replace('"id": "stu-1"', '"id": 5, "id": "stu-1"')
        .replace('"channel": "online"', '"channel": "online", "channel": "tv"')
    )
    assert judged(text) == [("/data/channel", "bad_format")]
