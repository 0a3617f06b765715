"""Records as scoring and the loader judge them; the content digest; partitions; JSON exactly as RFC 8259 has it."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import pytest
from kafka.partitioner.default import murmur2 as library_murmur2

from schemas.reading import Event, content, murmur2, partition_of, read_activity, read_directory, read_item, read_record
from schemas.strictjson import NotJson, depth, parse, split_array
from tests.unit.test_reading_items import item

NOW = 1_686_000_000_000  # 2023-06-05T21:20:00Z
HERE = partition_of(b"t-1", 4)


def judged(value: Any, key: bytes | None = b"t-1", partition: int = HERE, at: int = NOW) -> list[tuple[str, str]] | Event:
    raw = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    found = read_record(key, raw, at, partition, 4)
    return found if isinstance(found, Event) else [(verdict.pointer, verdict.code) for verdict in found]


def test_a_record_is_an_event() -> None:
    found = judged(item(ingested_at="2023-06-05T21:00:00.123Z"))
    assert isinstance(found, Event)
    assert found.ingested_at_ms == 1_685_998_800_123


def test_the_timestamp_stands_in_for_ingested_at() -> None:
    for stamp in ({}, {"ingested_at": None}):
        found = judged(item(**stamp))
        assert isinstance(found, Event)
        assert found.ingested_at_ms == NOW


@pytest.mark.parametrize("value", [b"", b"\xff", b"nonsense", b"{", b"[NaN]", b'{"a":' * 65 + b"1" + b"}" * 65, b"[" * 100_000, None])
def test_garbage_is_not_json(value: bytes | None) -> None:
    assert judged(value) == [("", "not_json")]


def test_other_shapes() -> None:
    assert judged(b"[]") == [("", "wrong_type")]
    assert judged(item(ingested_at=5)) == [("/ingested_at", "wrong_type")]
    assert judged(item(ingested_at="x", id="")) == [("/id", "out_of_range"), ("/ingested_at", "bad_format")]


def test_key_and_partition() -> None:
    wrong = [("", "wrong_partition")]
    assert judged(item(), partition=(HERE + 1) % 4) == wrong
    assert judged(item(), key=None) == wrong
    assert judged(item(), key=b"t-2", partition=partition_of(b"t-2", 4)) == wrong
    assert judged(item(), key=b"\xff" * 2_000_000) == wrong


def test_in_future_of_its_own_ingestion() -> None:
    ahead = item(time="2023-06-05T21:05:00.001Z", ingested_at="2023-06-05T21:00:00Z")
    assert judged(ahead, at=0) == [("/time", "in_future")]
    assert isinstance(judged(item(time="2023-06-05T21:05:00Z", ingested_at="2023-06-05T21:00:00Z"), at=0), Event)
    ended = item(
        fields={"started_at": "2023-06-05T21:00:00Z", "ended_at": "2023-06-05T21:05:01Z"}, ingested_at="2023-06-05T21:00:00Z", id=""
    )
    assert judged(ended) == [("/data/ended_at", "in_future"), ("/id", "out_of_range")]
    assert judged(item(time="2023-06-05T21:05:00.001Z"), at=NOW - 20 * 60_000) == [("/time", "in_future")]


def test_the_content_is_canonical() -> None:
    made = item(
        "assignment.submitted",
        {"fingerprint": 'q"\\/\u0001\n\u007fé😀'},
        time="2023-06-05T20:31:07.1239+08:00",
        traceparent="x",
    )
    found = read_item(parse(json.dumps(made)))
    assert isinstance(found, Event)
    expected = (
        '{"data":{"assignment_id":"a","course_id":"c","fingerprint":"q\\"\\\\/\\u0001\\n\u007fé😀","submission_id":"s"},'
        '"programme":"zhuozhou-2023","subject":"t-1","time":"2023-06-05T12:31:07.123Z","type":"chalkstream.assignment.submitted.v1"}'
    )
    assert content(found) == expected
    assert found.digest == hashlib.sha256(expected.encode()).hexdigest()


def test_contents_by_type() -> None:
    def said(text: str) -> str:
        found = read_item(parse(text))
        assert isinstance(found, Event)
        return content(found).partition(',"programme"')[0].partition(',"subject"')[0]

    study = json.dumps(item(fields={"session_id": None}))
    assert said(study) == (
        '{"data":{"channel":"online","course_id":"c-reading","ended_at":"2023-06-05T12:30:58.000Z","started_at":"2023-06-05T12:05:41.000Z"}'
    )
    for score, plain in (("0.8500", "0.85"), ("1.0", "1"), ("0", "0"), ("-0.0", "0"), ("1e-4", "0.0001"), ("5e-1", "0.5")):
        text = json.dumps(item("process.marked", {"score": "@@"})).replace('"@@"', score)
        assert said(text) == f'{{"data":{{"course_id":"c","marker_id":"m","score":{plain}}}'
    assert said(json.dumps(item("learner.enrolled", {"birth_year": 1980.0}))) == '{"data":{"birth_year":1980,"class_id":"c"}'
    assert said(json.dumps(item("learner.withdrawn"))) == '{"data":{}'
    unit = read_item(parse(json.dumps(item("unit.declared"))))
    assert isinstance(unit, Event)
    assert '"programme"' not in content(unit)


def test_the_same_fact_has_the_same_digest() -> None:
    one = read_item(parse(json.dumps(item())))
    two = read_item(
        parse(json.dumps(item(fields={"session_id": None, "ended_at": "2023-06-05t12:30:58.9z"}, time="2023-06-05T12:31:07.0001-00:00")))
    )
    assert isinstance(one, Event)
    assert isinstance(two, Event)
    assert one.digest == two.digest


def test_murmur2_is_kafkas() -> None:
    for length in range(40):
        key = os.urandom(length)
        assert murmur2(key) == library_murmur2(key) & 0xFFFFFFFF
    assert partition_of(b"t-1", 4) == (library_murmur2(b"t-1") & 0x7FFFFFFF) % 4


@pytest.mark.parametrize(
    "text", ["", " ", "NaN", "-Infinity", "[1,]", "[,1]", "{'a':1}", '{"a" 1}', "01", "+1", "1.", ".5", "1e", '"\t"', '"\\x"', "[] []",
             "\ufeff1",
             "tru", "[1 2]", "\u00a01", '"\\u12g4"', "[", '["a"', "１"],
)  # fmt: skip
def test_what_is_not_json(text: str) -> None:
    with pytest.raises(NotJson):
        parse(text)
    with pytest.raises(NotJson):
        split_array(text)


@pytest.mark.parametrize("text", ["[]", " [ ] ", '[{"a":[1]} ,\n"]", -0.5e3]', '[\t"\\"[" ]', "[[],[]]", "[null,true,false]"])
def test_arrays_are_split_as_received(text: str) -> None:
    pairs = split_array(text)
    assert pairs is not None
    assert [value for value, _ in pairs] == parse(text)
    assert [parse(raw) for _, raw in pairs] == parse(text)
    assert all(raw in text and raw == raw.strip() for _, raw in pairs)


def test_nesting() -> None:
    assert depth('{"a":[{"]]]]":"[[[\\"[["}]}') == 3
    assert parse("[" * 64 + "]" * 64)
    assert split_array("[" * 64 + "]" * 64)
    wide = "[" + ",".join(['{"a":"[[[["}'] * 500) + "]"
    assert len(split_array(wide) or []) == 500
    for text in (
        "[" * 65 + "]" * 65,
        "[" * 5000 + "]" * 5000,
        '{"a":' * 20_000 + "1" + "}" * 20_000,
        '[{"a":1,"a":' + "[" * 63 + "]" * 63 + "}]",
    ):
        with pytest.raises(NotJson):
            split_array(text)


def test_each_topic_takes_only_what_belongs_there() -> None:
    """A learner among the units would stop whoever folds the directory; a unit among the learners would be nobody's event."""
    learner = json.dumps(item()).encode()
    unit = {"unit_id": "p", "level": "province", "name": "河北省"}
    declared = {
        "specversion": "1.0",
        "id": "u",
        "source": "/p",
        "type": "chalkstream.unit.declared.v1",
        "subject": "p",
        "time": "2023-06-01T00:00:00Z",
        "data": unit,
    }
    province, place = json.dumps(declared).encode(), partition_of(b"p", 4)
    assert isinstance(read_activity(b"t-1", learner, NOW, HERE, 4), Event)
    assert isinstance(read_directory(b"p", province, NOW, place, 4), Event)
    for found in (read_activity(b"p", province, NOW, place, 4), read_directory(b"t-1", learner, NOW, HERE, 4)):
        assert not isinstance(found, Event)
        assert [(one.pointer, one.code) for one in found] == [("/type", "unknown_type")]
