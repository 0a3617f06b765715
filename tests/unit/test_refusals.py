"""What is said of a record that was refused fits into its topic, however large and however odd the record was."""

from __future__ import annotations

import base64
import json
import random

import pytest

from schemas.reading import partition_of, read_activity
from schemas.topics import load_topics
from schemas.verdicts import Verdict
from services.reporting.loader.activity import INCOMING, RECORDS
from services.reporting.loader.rows import rejected_row
from services.scoring.codec import MOST_BYTES, MOST_ERRORS, refusal
from tests.loader_rows import named, row_of

LIMIT = int(load_topics()["learning.rejected"].config["max.message.bytes"])
KEY = b"t-1"
HERE = partition_of(KEY, 4)


def refused(value: bytes, key: bytes = KEY) -> tuple[list[Verdict], bytes]:
    found = read_activity(key, value, 0, HERE, 4)
    assert isinstance(found, list)
    return found, refusal(found, "learning.activity", HERE, 7, key, value, "2023-07-13T02:30:00.000Z")


def controls(count: int) -> bytes:
    return bytes(random.Random(1).choices(range(1, 8), k=count))


ESCAPES = {"x": controls(MOST_BYTES // 7).decode(), **{"\1" * n: 1 for n in range(900)}}
LARGE = {
    "control characters": (controls(MOST_BYTES), KEY),
    "key and value": (controls(MOST_BYTES // 2), controls(MOST_BYTES // 2)),
    "larger than the topic takes": (random.Random(2).randbytes(4 * MOST_BYTES), KEY),
    "escapes everywhere": (json.dumps({"type": "chalkstream.platform.visited.v1", "data": ESCAPES}).encode(), b"\xff" * 999),
}


@pytest.mark.parametrize(("value", "key"), LARGE.values(), ids=LARGE)
def test_it_fits_uncompressed(value: bytes, key: bytes) -> None:
    assert len(refused(value, key)[1]) < LIMIT * 0.95


def test_what_is_cut_is_said() -> None:
    fields = json.dumps({"specversion": "1.0", **{f"f{n}": 0 for n in range(3)}, "data": {}, "type": "x" * 3_000_000}).encode()
    said = json.loads(refused(fields)[1])
    assert said["errors"][-1]["detail"].endswith(f"of the record's {len(fields)} bytes {MOST_BYTES} are kept")
    assert said["encoding"] is None
    assert fields.decode().startswith(said["record"])


def test_of_many_errors_the_first_are_told() -> None:
    item = {
        "specversion": "1.0", "id": "a", "source": "/s", "type": "chalkstream.platform.visited.v1", "subject": "t-1",
        "time": "1970-01-01T00:00:00Z", "programme": "p", "data": {f"f{n:05d}": 0 for n in range(MOST_ERRORS + 3)},
    }  # fmt: skip
    found, raw = refused(json.dumps(item).encode())
    errors = json.loads(raw)["errors"]
    assert [error["pointer"] for error in errors] == [verdict.pointer for verdict in found[:MOST_ERRORS]]
    assert errors[-1]["detail"].endswith("; 3 more errors are left out")


@pytest.mark.parametrize("value", [b"", b"not json", b'{"a": "\x00"}', "语文".encode(), b'{"q": "' + b'\\"' * 1000 + b'"}'])
def test_an_ordinary_record_is_kept_as_text(value: bytes) -> None:
    said = json.loads(refused(value)[1])
    assert (said["record"], said["encoding"]) == (value.decode(), None)


@pytest.mark.parametrize("place", ["id", "type", "programme", "data", "ingested_at", "subject", "source"])
def test_lone_surrogates_and_nul_in_names_and_values(place: str) -> None:
    item: dict[str, object] = {"specversion": "2.0", place: "\ud800\0", "\udfff\0": 1}
    if place == "data":
        item |= {"type": "chalkstream.platform.visited.v1", "data": {"\ud800\0": 1}}
    value = json.dumps(item).encode()
    _, raw = refused(value)
    assert json.loads(raw)["record"] == value.decode()
    assert rejected_row(raw)[3]
    assert row_of(KEY, value, 0, 7)[0] == RECORDS


def test_bytes_are_kept_exactly() -> None:
    value = random.Random(3).randbytes(100_000)
    said = json.loads(refused(value)[1])
    assert said["encoding"] == "base64"
    assert base64.b64decode(said["record"]) == value


@pytest.mark.parametrize(("stamp", "kept"), [(-1, 0), (0, 0), (1 << 62, 4_102_444_800_000)])
def test_the_timestamp_of_a_writer_without_a_clock_is_one_that_clickhouse_holds(stamp: int, kept: int) -> None:
    item = {
        "specversion": "1.0", "id": "a", "source": "/s", "type": "chalkstream.platform.visited.v1", "subject": "t-1",
        "time": "1970-01-01T00:00:00Z", "programme": "p", "data": {},
    }  # fmt: skip
    table, row = row_of(KEY, json.dumps(item).encode(), stamp, 7)
    assert table == INCOMING
    assert named(table, row)["ingested_ms"] == kept
