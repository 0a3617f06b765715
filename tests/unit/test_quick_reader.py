"""The compiled way to read records answers what the long way answers, or nothing."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import reading
from schemas.activity import LEARNER_TYPES, STUDY
from schemas.envelope import AHEAD_MS
from schemas.instant_parts import quick_ms
from schemas.instants import END_MS, parse_instant, rfc3339
from schemas.quick import IS_COMPILED, read_sound
from schemas.quick_reader import TYPES
from schemas.reading import Event, content, partition_of
from schemas.verdicts import Bad
from services.reporting.loader.quick import pack
from tests.loader_rows import Record
from tests.unpacked import unpacked

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


def test_it_is_compiled_here() -> None:
    """Or all of these tests would be about nothing."""
    assert IS_COMPILED
    assert STUDY in TYPES


def test_without_it_everything_is_answered_the_long_way() -> None:
    code = (
        "import sys; sys.modules['schemas.quick_reader'] = None\n"
        "from schemas import quick, reading\n"
        "assert not quick.IS_COMPILED\n"
        f"value = {text()!r}\n"
        "at = reading.partition_of(b'L1', 4)\n"
        f"assert reading.read_record(b'L1', value, {NOW}, at, 4) == reading._at_length(b'L1', value, {NOW}, at, 4)\n"
        "print(reading.read_record(b'L1', value, 0, at, 4).id)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (found.stdout, found.stderr) == ("e-1\n", "")


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


# -- what only the compiled code could get wrong ---------------------------------------------------------------------------


def agree(value: bytes, key: bytes = b"L1", timestamp: int = NOW) -> bool:
    """Whether the quick way answered; what it says of itself has to be what the long way's event says."""
    place = partition_of(key, 4)
    long = reading._at_length(key, value, timestamp, place, 4)
    sound = read_sound(value, key.decode("ascii", "replace"), timestamp)
    if sound is None:
        return False
    assert isinstance(long, Event), (value, long)
    event = reading.event_of(sound)
    assert event == long, value
    said = long.data.__dict__
    own = long.data.ended_at * 1000 if long.type == STUDY else said.get("sat_at", long.time_ms)
    about = (said.get("course_id") or "", said.get("class_id") or "", long.time_ms, own, long.ingested_at_ms)
    packed, left = pack([Record(7, key, value, timestamp)], place, lambda found: found.decode() if found else None)
    assert not left
    (told,) = unpacked(packed)
    assert told[:10] == (long.programme, long.subject, long.source, long.id, long.type, *about)
    assert told[12:] == (place, 7)
    assert json.loads(told[10]) == json.loads(value)["data"]
    assert told[10].encode() in value
    assert told[11] == content(long)
    if long.type == STUDY:
        assert sound.interval == (long.data.started_at, long.data.course_id, long.data.ended_at)
    else:
        assert sound.interval is None
    return True


def kinds() -> list[bytes]:
    """A record of each type that is read quickly, with and without what is optional."""
    graded = {"course_id": "c1", "assignment_id": "a", "score": 0.85, "grader_id": "g"}
    submitted = {"course_id": "c1", "assignment_id": "a", "submission_id": "s", "fingerprint": "f f"}
    marked = {"course_id": "c1", "attempt_id": "t", "form": "online", "score": 1, "sat_at": "2023-06-01T16:00:00.5+08:00"}
    said = [*PLAIN, ("assignment.graded", graded), ("assignment.submitted", submitted), ("exam.marked", marked)]
    return [text(), data(session_id="s-1")] + [text(type=f"chalkstream.{kind}.v1", data=of) for kind, of in said]


def test_one_byte_of_a_record_makes_it_another_record_in_both_ways() -> None:
    """Every byte replaced, left out, doubled; every prefix: whatever the compiled code reads it reads within the record, and rightly."""
    both(text())
    quickly = broken = 0
    for value in kinds()[:2] + kinds()[-3:]:
        assert agree(value)
        for at in range(len(value)):
            changed = [value[:at] + bytes([byte]) + value[at + 1 :] for byte in b'"\\{}[],: 0Z9a\x00\x7f\xff']
            for one in (*changed, value[:at], value[:at] + value[at + 1 :], value[: at + 1] + value[at:]):
                answered = agree(one)
                quickly, broken = quickly + answered, broken + (not answered)
    assert quickly > 1_500
    assert broken > 10_000


def test_twins_are_left_to_the_long_way() -> None:
    """Which of them counts is for one place to say, even where both say the same."""
    both(text())
    for value in kinds():
        item = json.loads(value)
        for part in (item, item["data"]):
            for name, said in part.items():
                member = f"{json.dumps(name)}: {json.dumps(said)}"
                assert value.count(member.encode()) >= 1
                at = value.rindex(member.encode()) if part is item["data"] else value.index(member.encode())
                twice = value[:at] + f"{member}, ".encode() + value[at:]
                assert not agree(twice), twice


def test_a_backslash_is_left_to_the_long_way_everywhere_but_in_the_source() -> None:
    both(text())
    for value in kinds():
        for at in (at for at, byte in enumerate(value) if byte == ord('"') and value[at + 1 : at + 2].isalpha()):
            end = value.index(b'"', at + 1)
            if value[:at].endswith(b'"source": '):
                continue
            assert not agree(value[:end] + b"\\/" + value[end:])


def test_what_is_null_is_absent() -> None:
    both(text())
    for value in (data(session_id=None), data(session_id=None, course_id="c2")):
        assert agree(value)
    submitted = {"course_id": "c1", "assignment_id": "a", "submission_id": "s", "fingerprint": None}
    assert agree(text(type="chalkstream.assignment.submitted.v1", data=submitted))
    assert agree(text(type="chalkstream.learner.registered.v1", data={"class_id": "k", "mode": None}))
    assert not agree(text(type="chalkstream.learner.registered.v1", data={"class_id": None, "mode": None}))


def test_any_order_and_any_blanks() -> None:
    both(text())
    chance = random.Random(11)
    for value in kinds() * 8:
        item = json.loads(value)
        item["data"] = dict(chance.sample(list(item["data"].items()), len(item["data"])))
        item = dict(chance.sample(list(item.items()), len(item)))
        separators = (chance.choice((",", ", ", "\n,\t", " ,\r\n ")), chance.choice((":", ": ", " :", "\t:\n")))
        whole = json.dumps(item, separators=separators)
        assert agree(chance.choice(("", " ", "\n\t")).encode() + whole.encode() + chance.choice((b"", b" ", b"\r\n")))


def test_every_form_of_an_instant_in_every_place() -> None:
    both(text())
    chance, answered, asked = random.Random(5), 0, 0
    days = [f"{year}-{rest}" for year in ("0000", "1969", "1970", "2000", "2023", "2024", "2099", "2100") for rest in ("01-01", "12-31")]
    days += ["2023-02-28", "2023-02-29", "2024-02-29", "2100-02-29", "2000-02-29", "2023-00-10", "2023-13-01", "2023-04-31", "2023-06-00"]
    days += ["1972-03-01", "2023-06-01", "2023-1-01", "20230-01-0"]
    clocks = (("00", "08", "23", "23", "24", "7a"), ("00", "59", "30", "60"), ("00", "59", "60"))
    fractions = ("", "", ".0", ".12", ".123", ".9999", ".123456789", ".", ".1234567890", ",5")
    offsets = ("Z", "Z", "z", "+08:00", "-08:00", "+23:59", "-23:59", "", "+24:00", "+08:60", "+0800", "+8:00", "Z ", "ZZ")
    ever = {name: said for name, said in ITEM.items() if name != "ingested_at"}  # told as late as can be: nothing is ahead of that
    exam = {"course_id": "c1", "attempt_id": "t", "form": "online", "score": 1}
    for _ in range(6_000):
        clock = ":".join(map(chance.choice, clocks))
        said = f"{chance.choice(days)}{chance.choice('TTTt ')}{clock}{chance.choice(fractions)}{chance.choice(offsets)}"
        sat = ever | {"type": "chalkstream.exam.marked.v1", "data": exam | {"sat_at": said}}
        for value in (ever | {"time": said}, sat, ever | {"data": ITEM["data"] | {"ended_at": said}}, ITEM | {"ingested_at": said}):
            answered, asked = answered + agree(json.dumps(value).encode(), timestamp=END_MS - AHEAD_MS - 1), asked + 1
    assert 500 < answered < asked - 10_000


def test_content_writes_every_day_there_is() -> None:
    both(text())
    for ms in [
        *range(0, END_MS - AHEAD_MS, 86_400_000 * 13 + 12_345_678),
        0,
        1,
        999,
        951_782_400_000,
        951_868_799_999,
        END_MS - AHEAD_MS - 1,
    ]:
        said = rfc3339(ms)
        assert agree(text(type="chalkstream.platform.visited.v1", data={}, time=said, ingested_at=said))


@pytest.mark.parametrize("ahead", [-1, 0, 1, 999, 1000])
def test_nothing_is_further_ahead_than_clocks_may_differ(ahead: int) -> None:
    """On the limit it is read quickly, beyond it by nobody."""
    both(text())
    limit = parse_instant(ITEM["ingested_at"]) + AHEAD_MS + ahead
    exam = {"course_id": "c1", "attempt_id": "t", "form": "online", "score": 1, "sat_at": rfc3339(limit)}
    for value in (text(time=rfc3339(limit)), text(type="chalkstream.exam.marked.v1", data=exam)):
        assert agree(value) == (ahead <= 0)
    without = {name: said for name, said in (ITEM | {"time": rfc3339(limit)}).items() if name != "ingested_at"}
    assert agree(json.dumps(without).encode(), timestamp=limit - AHEAD_MS - ahead) == (ahead <= 0)


@pytest.mark.parametrize("timestamp", [-1, 0, END_MS - AHEAD_MS, END_MS, (1 << 63) - 1, -(1 << 63)])
def test_any_timestamp_of_a_record_that_does_not_say_when_it_was_accepted(timestamp: int) -> None:
    both(text())
    without = {name: said for name, said in ITEM.items() if name != "ingested_at"}
    for time in (ITEM["time"], "1970-01-01T00:00:00Z"):
        agree(json.dumps(without | {"time": time}).encode(), timestamp=timestamp)


@pytest.mark.parametrize(("seconds", "answered"), [(0, False), (1, True), (86_400, True), (86_401, False)])
def test_study_lasts_from_a_second_to_a_day(seconds: int, answered: bool) -> None:
    both(text())
    started = parse_instant("2023-05-31T08:00:00Z")
    assert agree(data(started_at=rfc3339(started + 999), ended_at=rfc3339(started + seconds * 1000))) == answered


def test_sizes_at_their_limits() -> None:
    both(text())
    for size in (1, 63, 64, 65):
        assert agree(data(course_id="c" * size)) == (size <= 64)
        assert agree(data(session_id="s" * size)) == (size <= 64)
        assert agree(text(programme="p" * size)) == (size <= 64)
    for size in (1, 128, 129):
        assert agree(text(id="i" * size)) == (size <= 128)
    submitted = {"course_id": "c1", "assignment_id": "a", "submission_id": "s"}
    for size in (0, 1, 256, 257):
        value = text(type="chalkstream.assignment.submitted.v1", data=submitted | {"fingerprint": "f" * size})
        assert agree(value) == (1 <= size <= 256)
    for blanks in (3_000, 3_583, 5_000, 1_000_000):  # however long: the compiled code leaves what is longer than any platform writes
        padded = text()[:-1] + b" " * (blanks - len(text())) + b"}"
        assert agree(padded) == (len(padded) <= 3_584)


def test_every_byte_in_an_identifier_and_in_a_text() -> None:
    both(text())
    for byte in range(128):
        said = json.dumps(chr(byte)).encode()
        for value in (text(id="?"), data(course_id="?"), data(session_id="?"), text(programme="?")):
            agree(value.replace(b'"?"', said))
            agree(value.replace(b'"?"', b'"a' + bytes([byte]) + b'b"'))


def test_a_source_is_taken_when_it_was_met_and_only_as_it_is() -> None:
    name = "/never/met/before"
    assert read_sound(text(source=name), "L1", NOW) is None
    both(text(source=name))
    assert agree(text(source=name))
    assert agree(text(source=name).replace(b"/", b"\\/"))
    for wrong in (b"\\\\never", b"\\/never\\/met\\/before\\", b"\\u002fnever/met/before", b""):
        assert not agree(text(source="?").replace(b'"?"', b'"' + wrong + b'"'))


def test_texts_that_share_a_place_in_memory_stay_themselves() -> None:
    """Far more identifiers and sources than are remembered."""
    for n in range(20_000):
        sound = read_sound(data(course_id=f"c-{n}"), "L1", NOW)
        assert sound is not None
        assert sound.interval is not None
        assert sound.interval[1] == f"c-{n}"


def test_a_subject_is_the_key_and_nothing_else() -> None:
    both(text())
    for subject in ("L", "L11", "l1", "", "中1", None):
        assert read_sound(text(), subject, NOW) is None
    assert read_sound(None, "L1", NOW) is None
    assert read_sound(text(), "L1", NOW) is not None


def test_the_types_that_it_takes() -> None:
    """All whose fields are judged one by one; the others have texts of people, years, or a rule across fields."""
    others = {"learner.enrolled", "follow_up.recorded", "reminder.failed", "work.published"}
    assert set(LEARNER_TYPES) - TYPES == {f"chalkstream.{name}.v1" for name in others}
