"""The quick way to read study records answers what the long way answers, or nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import reading
from schemas.instants import parse_instant
from schemas.reading import Event, partition_of
from schemas.remembered import quick_ms
from schemas.verdicts import Bad

NOW = 1_700_000_000_000
ITEM: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/platform",
    "type": "chalkstream.study.recorded.v1",
    "subject": "L1",
    "time": "2023-06-01T08:30:00Z",
    "programme": "p",
    "data": {"course_id": "c1", "started_at": "2023-06-01T08:00:00Z", "ended_at": "2023-06-01T08:20:00.5Z", "channel": "online"},
    "ingested_at": "2023-06-01T08:31:00.123Z",
}


def both(value: bytes, key: bytes = b"L1", timestamp: int = NOW) -> tuple[Any, Any]:
    place = partition_of(key, 4)
    long = reading._at_length(key, value, timestamp, place, 4)
    return reading._quickly(key, value, timestamp, place, 4), long


def text(**changes: Any) -> bytes:
    return json.dumps(ITEM | changes).encode()


def data(**changes: Any) -> bytes:
    return text(data=ITEM["data"] | changes)


def test_the_bulk_goes_the_quick_way() -> None:
    for value in (text(), data(session_id="s-1"), data(channel="group_in_person"), text(datacontenttype="application/json")):
        both(value)  # the long way has met the source now
        quick, long = both(value)
        assert isinstance(quick, Event)
        assert quick == long
        assert quick.digest == long.digest
        assert quick.data.model_fields_set <= long.data.model_fields_set | {"session_id"}
        assert quick.data == long.data
    without = {name: value for name, value in ITEM.items() if name != "ingested_at"}
    quick, long = both(json.dumps(without).encode())
    assert quick == long
    assert quick.ingested_at_ms == NOW


ODD = [
    b"",
    b"{",
    text() + b"x",
    text() + b" \n",
    b"\xef\xbb\xbf" + text(),
    text().replace(b'"L1"', b'"L1", "subject": "L2"'),
    text().replace(b'"e-1"', b'"e-1", "id": 5'),
    text().replace(b'"e-1"', b'5, "id": "e-1"'),
    text().replace(b"{", b"{ \t\r\n", 1),
    text(id=""),
    text(id="x" * 129),
    text(id="\u0007"),
    text(id="\ud800"),
    text(id=None),
    text(source="not a uri"),
    text(source=""),
    text(specversion="1.1"),
    text(type="chalkstream.study.recorded.v2"),
    text(type="chalkstream.platform.visited.v1", data={}),
    text(subject="L2"),
    text(subject="L1\n"),
    text(programme="p\n"),
    text(programme=""),
    text(programme="x" * 65),
    text(time="2023-06-01T08:30:00"),
    text(time="2023-06-01T08:30:60Z"),
    text(time="2023-02-29T08:30:00Z"),
    text(time="2023-06-01t08:30:00z"),
    text(time="2023-06-01T08:30:00.1239Z"),
    text(time="2023-06-01T08:30:00+08:00"),
    text(time="1969-12-31T23:59:59Z"),
    text(time="2023-06-01T08:37:00Z"),
    text(time="2100-01-01T00:00:00Z"),
    text(time=5),
    text(ingested_at=None),
    text(ingested_at=7),
    text(ingested_at="2023-06-01T08:2x:00Z"),
    text(ingested_at="2023-06-01T08:24:59.999Z"),
    text(extra=1),
    text(extra={"a": [1]}),
    text(traceparent="00-1"),
    text(data_base64="AA=="),
    text(data=None),
    text(data=[]),
    data(course_id="c 1"),
    data(course_id=None),
    data(channel="offline"),
    data(session_id=None),
    data(session_id="a/b"),
    data(extra=1),
    data(ended_at="2023-06-01T08:00:00.999Z"),
    data(ended_at="2023-06-01T07:00:00Z"),
    data(started_at="2023-05-30T08:00:00Z"),
    data(started_at="2023-05-31T08:20:00Z"),
]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_what_is_unusual_is_answered_the_same(value: bytes) -> None:
    both(text())
    for key in (b"L1", b"L2"):
        quick, long = both(value, key)
        assert quick is None or quick == long


PLAIN: list[tuple[str, dict[str, Any]]] = [
    ("course.selected", {"course_id": "c1"}),
    ("assignment.graded", {"course_id": "c1", "assignment_id": "a", "score": 0.85, "grader_id": "g"}),
    ("post.published", {"course_id": "c1", "post_id": "p", "kind": "question"}),
    ("learner.registered", {"class_id": "k", "mode": "online"}),
    ("learner.registered", {"class_id": "k"}),
    ("platform.visited", {}),
]
ODD_SCORES = (0, 1, 0.0, 1.0, 0.1, 0.12, 0.123, 0.1234, 0.12345, 0.50, -0.1, 1.01, True, None, "0.5", 1e-2)


def plain_records() -> list[bytes]:
    found = [text(type=f"chalkstream.{kind}.v1", data=of, time="2023-06-01T08:30:00+08:00") for kind, of in PLAIN]
    graded = dict(PLAIN)["assignment.graded"]
    for score in ODD_SCORES:
        found.append(text(type="chalkstream.assignment.graded.v1", data=graded | {"score": score}))
    found += [one.replace(b"0.5}", b"0.50}").replace(b"0.1,", b"1e-1,").replace(b"0.12,", b"0.1200,") for one in found]
    for kind, of in PLAIN:
        for name in of:
            found += [text(type=f"chalkstream.{kind}.v1", data=of | {name: odd}) for odd in ("", "a b", "x" * 300, None, 5, [], "c1")]
            found.append(text(type=f"chalkstream.{kind}.v1", data={key: value for key, value in of.items() if key != name}))
        found += [text(type=f"chalkstream.{kind}.v1", data=of | {"extra": 1}), text(type=f"chalkstream.{kind}.v1", data=of, id="")]
    return found


def test_marks_and_their_like_are_answered_the_same() -> None:
    quickly = 0
    both(text())
    for value in plain_records():
        for key in (b"L1", b"L2"):
            quick, long = both(value, key)
            assert quick is None or (quick == long and quick.digest == long.digest and quick.data == long.data), value
            quickly += quick is not None
    for value in plain_records()[: len(PLAIN)]:
        assert isinstance(both(value)[0], Event)
    assert quickly > 20


PIECES = st.sampled_from(
    [
        *(bytes([char]) for char in b'"\\{}[,:0Z \x00\x1f\xff'),
        *(b"\\u0041", b"\\ud800", b"null", b"1", b"e9", b"\xe4\xb8\xad", b'"id":"x",', b'"extra":{},', b"+08:00", b".5"),
    ]
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(text())), st.integers(0, 6), PIECES), min_size=1, max_size=3), st.binary(max_size=4))
def test_broken_records_are_answered_the_same(cuts: list[tuple[int, int, bytes]], key: bytes) -> None:
    value = text()
    both(value)
    for at, length, piece in cuts:
        value = value[:at] + piece + value[at + length :]
    for name in (b"L1", key):
        quick, long = both(value, name)
        assert quick is None or quick == long


def test_instants_by_parts_are_the_same_instants() -> None:
    """Whatever was met before, in every form, sound or not: the quick way answers and refuses as `parse_instant` does."""
    chance = random.Random(4)
    days = [f"{year}-{rest}" for year in ("1969", "1970", "2023", "2099", "2100") for rest in ("01-01", "12-31", "06-15", "02-30")]
    answered = 0
    for _ in range(20_000):
        hour, minute = chance.choice(("00", "12", "23", "24")), chance.choice(("00", "30", "59"))
        rest = chance.choice(("", ".000", ".1", ".9999")) + chance.choice(("Z", "z", "+08:00", "-23:59", "+23:59", "", "+0800"))
        text = f"{chance.choice(days)}{chance.choice('TTt ')}{hour}:{minute}:{chance.choice(('00', '05', '59', '60'))}{rest}"
        quick, plain = _instant(quick_ms, text), _instant(parse_instant, text)
        assert quick == plain, text
        answered += isinstance(plain, int)
    assert 2_000 < answered < 18_000


def _instant(read: Callable[[str], int], text: str) -> int | str:
    try:
        return read(text)
    except Bad as bad:
        return bad.code


INSTANTS = [
    f"{day}{t}{clock}{fraction}{offset}"
    for day in ("1970-01-01", "2023-06-01", "2099-12-31", "2100-01-01")
    for t in "Tt"
    for clock in ("00:00:00", "00:30:59", "23:59:59")
    for fraction in ("", ".5")
    for offset in ("Z", "z", "+00:00", "-00:00", "+08:00", "-08:00", "+05:30", "-00:15")
]


def test_an_instant_is_that_of_the_long_way_also_by_parts_met_before() -> None:
    for _ in range(2):  # read anew, then by parts met before
        for said in [*INSTANTS, "2023-06-01T08:30:00", "2023-06-01T08", "2023-06-01T08:30+08:00", ""]:
            try:
                ms = parse_instant(said)
            except Bad:
                with pytest.raises(Bad):
                    quick_ms(said)
            else:
                assert quick_ms(said) == ms, said
