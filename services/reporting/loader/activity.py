"""Records of `learning.activity` to rows. Pure.

Each is judged by the shared checks. Of one that stands, what Kafka knows and the event says is inserted into `store.incoming`: from there
ClickHouse itself works out digest, identity and versions. One that does not stand is a row of `store.records` like any other, with the
reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from schemas.activity import ExamMarked, StudyRecorded
from schemas.instants import parse_instant
from schemas.reading import Event, content, placed, read_activity
from schemas.verdicts import Bad, Verdict
from services.reporting.loader.quick import pack
from services.shared.packed import Row, Rows
from services.shared.record import Record

INCOMING, RECORDS = "store.incoming", "store.records"
COLUMNS: dict[str, tuple[str, ...]] = {
    INCOMING: (
        "programme", "learner_id", "source", "event_id", "type", "course_id", "class_id", "time_ms", "own_ms", "ingested_ms", "data",
        "content", "log_partition", "log_offset",
    ),
    RECORDS: (
        "programme", "source", "event_key", "log_partition", "log_offset", "ingested_at", "class_id", "course_id", "late", "unreadable",
        "code",
    ),
}  # fmt: skip
LAST_MS = 4_102_444_800_000
"""2100: what a foreign writer's record timestamp is cut to."""


class _Data(msgspec.Struct):
    data: msgspec.Raw


_DATA = msgspec.json.Decoder(_Data)
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def add_rows(rows: dict[str, Rows], records: Sequence[Record], partition: int, partitions: int) -> None:
    """The row of each record, added to those of its table."""
    packed, left = pack(records, partition, lambda key: placed(key, partition, partitions))
    if packed.count:
        rows.setdefault(INCOMING, []).append(packed)
    for record in left:  # it is unusual, maybe unsound
        value, offset = record.value, record.offset
        event = read_activity(record.key, value, record.timestamp, partition, partitions)
        if isinstance(event, Event):
            rows.setdefault(INCOMING, []).append(_row(event, value or b"", partition, offset))
        else:
            row = _unsound_row(value, record.timestamp, partition, offset, event)
            rows.setdefault(RECORDS, []).append(row)


def _row(event: Event, value: bytes, partition: int, offset: int) -> Row:
    """Of store.incoming; as `quick_columns` writes it."""
    said, text = event.data.__dict__, content(event)
    return (
        event.programme, event.subject, event.source, event.id, event.type, said.get("course_id") or "", said.get("class_id") or "",
        event.time_ms, own_time_ms(event), min(max(event.ingested_at_ms, 0), LAST_MS), _data_text(value) or _canonical_data(text), text,
        partition, offset,
    )  # fmt: skip


def own_time_ms(event: Event) -> int:
    """When it happened, as an act: the end of a study interval, the sitting of an exam, else `time`."""
    if type(event.data) is StudyRecorded:
        return event.data.ended_at * 1000
    return event.data.sat_at if type(event.data) is ExamMarked else event.time_ms


def _data_text(value: bytes) -> str:
    """The `data` object as received, ''  where an oddity elsewhere in the envelope hides it.

    Where a sound record has two pairs of braces in all, the inner one is it: its other attributes are texts.
    """
    begins = value.find(b"{", 1)
    ends = value.find(b"}", begins)
    if value[0] == _OPEN and value.find(b"{", begins + 1) < 0 and value.find(b"}", ends + 1) == len(value) - 1:
        return str(value[begins : ends + 1], "utf-8")
    try:
        return bytes(_DATA.decode(value).data).decode()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


_OPEN = ord("{")


def _canonical_data(text: str) -> str:
    """Of an event's content: the same data in canonical form."""
    start = len('{"data":')
    return text[start : json.JSONDecoder().raw_decode(text, start)[1]]


def storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _unsound_row(value: bytes | None, timestamp_ms: int, partition: int, offset: int, verdicts: list[Verdict]) -> Row:
    """What can be told of a record that does not stand."""
    try:
        found = json.loads((value or b"").decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        found = None
    item: Mapping[str, object] = found if isinstance(found, dict) else {}
    source, programme, stamp = item.get("source"), item.get("programme"), item.get("ingested_at")
    ingested = timestamp_ms
    if isinstance(stamp, str):
        with suppress(Bad):
            ingested = parse_instant(stamp)
    return (
        programme if isinstance(programme, str) and _ID.fullmatch(programme) else "",
        storable(source[:256]) if isinstance(source, str) else "",
        0,
        partition,
        offset,
        min(max(ingested, 0), LAST_MS),
        "",
        "",
        0,
        1,
        verdicts[0].code,
    )
