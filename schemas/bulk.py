"""The quick way for the log's bulk: records of study as every platform writes them, decoded into typed fields at once.

`study_record` answers only where the long way (`reading.read_record`) would answer the very same event; whatever is unusual, let
alone wrong, it leaves to that. So it judges nothing by itself: a test feeds both with the same records.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Literal, TypeVar

import msgspec

from schemas.activity import StudyChannel, StudyRecorded
from schemas.envelope import ID_PATTERN, Frozen
from schemas.instants import END_MS, parse_instant, rfc3339
from schemas.verdicts import Bad

STUDY = "chalkstream.study.recorded.v1"
_Model = TypeVar("_Model", bound=Frozen)
MOST = 200_000  # of each kind of text that is remembered


class StudyData(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    course_id: str
    started_at: str
    ended_at: str
    channel: StudyChannel
    session_id: str | None = None


class _Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    specversion: Literal["1.0"]
    id: str
    source: str
    type: Literal["chalkstream.study.recorded.v1"]
    subject: str
    time: str
    programme: str
    data: StudyData
    ingested_at: str | msgspec.UnsetType = msgspec.UNSET
    datacontenttype: Literal["application/json"] | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Record).decode
is_id = re.compile(ID_PATTERN.rstrip("$")).fullmatch
IDS: set[str] = set()
"""Identifiers met that are well formed."""
_LENGTHS = (20, 24, 25, 29)  # 2023-06-01T08:30:00Z, …00.000Z, …00+08:00, …00.000+08:00
_hours: dict[str, int] = {}
_seconds: dict[str, int] = {}
_rests: dict[str, int] = {}
_heads: dict[str, tuple[int, str]] = {}
_tails: dict[str, tuple[int, str]] = {}
_set = object.__setattr__


def remembered(text: str) -> bool:
    """Whether it is an identifier; remembered in IDS, so ask that first."""
    if is_id(text) is None:
        return False
    if len(IDS) < MOST:
        IDS.add(text)
    return True


def sound_envelope(found: Any, subject: str, sources: set[str]) -> bool:
    """Whether it is of this subject, which is an identifier, and its id, its source and its programme are what they have to be."""
    return (
        found.subject == subject
        and found.source in sources
        and 1 <= len(found.id) <= 128
        and found.id.isprintable()
        and (found.programme in IDS or remembered(found.programme))
    )


def made(model: type[_Model], fields: dict[str, Any]) -> _Model:
    """A data model without its checks: they have been made."""
    whole = model.__new__(model)
    _set(whole, "__dict__", fields)
    _set(whole, "__pydantic_fields_set__", set(fields))
    _set(whole, "__pydantic_extra__", None)
    _set(whole, "__pydantic_private__", None)
    return whole


def quick_ms(text: str) -> int:
    """`parse_instant`, by parts that were met before: up to the hour, minute with second, and what follows. Raises Bad."""
    try:
        ms = _hours[text[:14]] + _seconds[text[14:19]] + _rests[text[19:]]
    except KeyError:
        ms = parse_instant(text)
        if len(text) in _LENGTHS:
            with suppress(Bad):  # read as UTC it may lie out of range
                _remember(text, ms)
        return ms
    return ms if 0 <= ms < END_MS else parse_instant(text)


def _remember(text: str, ms: int) -> None:
    hour = parse_instant(text[:14] + "00:00Z")
    second = parse_instant(text[:19] + "Z") - hour
    if len(_hours) < MOST and len(_rests) < MOST:
        _hours[text[:14]], _seconds[text[14:19]], _rests[text[19:]] = hour, second, ms - hour - second


def quick_instant(text: str) -> tuple[int, str]:
    """`quick_ms` of an instant and `rfc3339` of that: of whole seconds both by two parts, the hour with its offset and what is in the hour.
    Raises Bad."""
    head, tail = _heads.get(text[:13] + text[19:]), _tails.get(text[13:19])
    if head is None or tail is None:
        return _instant_at_length(text)
    return head[0] + tail[0], head[1] + tail[1]


def _instant_at_length(text: str) -> tuple[int, str]:
    ms = quick_ms(text)
    canonical = rfc3339(ms)
    if len(text) in (20, 25):  # no fraction
        with suppress(Bad):  # the hour may begin before 1970
            hour = parse_instant(text[:13] + ":00:00" + text[19:])
            # an offset of half an hour sets another minute, and of an hour that is cut by 2100 some instants are out of range
            if hour % 3_600_000 == 0 and hour + 3_600_000 <= END_MS and len(_heads) < MOST:
                _heads[text[:13] + text[19:]] = hour, rfc3339(hour)[:13]
                _tails[text[13:19]] = ms - hour, text[13:19] + ".000Z"
    return ms, canonical


Study = tuple[_Record, int, int, int, int]
"""A sound record of study: the record, its time and its `ingested_at` in ms, then start and end in whole seconds."""


def study_record(value: bytes, subject: str, timestamp_ms: int, sources: set[str], ahead_ms: int, longest_s: int) -> Study | None:
    """The study of `subject`, an identifier, that a record states, by `sources` that are known as sound; None: ask the long way.

    `timestamp_ms` stands in for an `ingested_at`; no instant may lie more than `ahead_ms` after that.
    """
    # skipped or nested text is where decoders differ: nothing unknown, nothing nested, and no byte beyond ASCII is taken here
    if b"study.recorded" not in value or not value.isascii():
        return None
    try:
        found = _decode(value)
        data = found.data
        course, session = data.course_id, data.session_id
        if (
            not sound_envelope(found, subject, sources)
            or not (course in IDS or remembered(course))
            or not (session is None or session in IDS or is_id(session))
        ):
            return None
        time, started, ended, accepted = found.time, data.started_at, data.ended_at, found.ingested_at
        accepted_ms = timestamp_ms if accepted is msgspec.UNSET else quick_ms(accepted)
        try:  # `quick_ms` without its calls
            time_ms = _hours[time[:14]] + _seconds[time[14:19]] + _rests[time[19:]]
            started_ms = _hours[started[:14]] + _seconds[started[14:19]] + _rests[started[19:]]
            ended_ms = time_ms
            if ended != time:  # platforms tell of study as it ends
                ended_ms = _hours[ended[:14]] + _seconds[ended[14:19]] + _rests[ended[19:]]
        except KeyError:
            time_ms, started_ms, ended_ms = quick_ms(time), quick_ms(started), quick_ms(ended)
    except (msgspec.MsgspecError, Bad):
        return None
    limit = accepted_ms + ahead_ms
    first, last = started_ms // 1000, ended_ms // 1000
    if 0 <= time_ms <= limit and 0 <= first < last and last * 1000 <= limit and last - first <= longest_s and limit < END_MS:
        return found, time_ms, accepted_ms, first, last
    return None


def study_data(study: Study) -> StudyRecorded:
    """As the long way makes it, without its checks: they have been made."""
    found, _, _, started, ended = study
    data = found.data
    fields = {"course_id": data.course_id, "started_at": started, "ended_at": ended, "channel": data.channel}
    return made(StudyRecorded, fields | {"session_id": data.session_id})
