"""The quick way for the log's bulk: a record of `learning.activity` straight to its rows, without the event between.

`quick_rows` answers only where the long way (`rows.activity_rows`) would answer the very same rows, and leaves to that whatever is
unusual, let alone wrong. So it judges nothing by itself: a test feeds both with the same records.

It takes study, and the types whose data is nothing but ids, words of a list and plain scores: with the envelope they are all checked by
typed decoding, sets of ids met before, and instants by halves met before.
"""

from __future__ import annotations

import re
from hashlib import sha256
from json.encoder import encode_basestring
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from schemas.activity import LEARNER_TYPES, StudyChannel, StudyRecorded, WorkPublished
from schemas.bulk import IDS, STUDY, is_id, quick_ms, remembered
from schemas.envelope import GOOD_SOURCES, Fingerprint, Frozen, Id, Score
from schemas.instants import rfc3339
from schemas.reading import AHEAD_MS, LONGEST_S, partition_of
from schemas.verdicts import Bad
from schemas.versions import UPCASTS

Row = tuple[Any, ...]

LATE_MS = 24 * 3600 * 1000
LAST_MS = 4_102_444_800_000
"""2100: what a foreign writer's record timestamp is cut to."""
_FIRST = ((1 << 64) - 1) << 64 | ((1 << 16) - 1) << 48 | (1 << 48) - 1


def first_wins(ingested_ms: int, partition: int, offset: int) -> int:
    """The version of a row of store.events: greatest for the smallest (ingested_at, partition, offset)."""
    return _FIRST - (ingested_ms << 64) - (partition << 48) - offset


def event_key(source: str, id: str, digest: str) -> int:
    """What store.records knows an event by, never 0: 128 bits of its identity's digest."""
    return int.from_bytes(sha256(f"{source}\0{id}\0{digest}".encode()).digest()[:16], "big") or 1


# -- forms --------------------------------------------------------------------------------------------------------------


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: str
    programme: str
    data: msgspec.Raw
    ingested_at: str | msgspec.UnsetType = msgspec.UNSET
    datacontenttype: Literal["application/json"] | msgspec.UnsetType = msgspec.UNSET


class _Study(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    course_id: str
    started_at: str
    ended_at: str
    channel: StudyChannel
    session_id: str | None = None


_ID, _TEXT, _SCORE = range(3)
_score = re.compile(rb"0(?:\.[0-9]{0,3}[1-9])?|1").fullmatch
"""Scores that are written as the digest's content writes them."""


class _Plain(NamedTuple):
    """A type of ids, words and scores: how its data is decoded, then for each field by name: what it is, and its key as JSON text."""

    decode: Any
    fields: list[tuple[str, int, str]]


def _plain(model: type[Frozen]) -> _Plain | None:
    """None where a field is anything else."""
    fields: list[tuple[str, Any, Any]] = []
    kinds: list[tuple[str, int, str]] = []
    for name, hint in sorted(get_type_hints(model, include_extras=True).items()):
        if name not in model.model_fields:
            continue
        options = [option for option in (get_args(hint) if NoneType in get_args(hint) else (hint,)) if option is not NoneType]
        option = options[0]
        is_word, is_optional = get_origin(option) is Literal, not model.model_fields[name].is_required()
        if len(options) != 1 or not (is_word or option in (Id, Fingerprint) or (option == Score and not is_optional)):
            return None
        kind = option if is_word else msgspec.Raw if option == Score else str
        fields.append((name, kind | None if is_optional else kind, None if is_optional else msgspec.NODEFAULT))
        kinds.append((name, _ID if option == Id else _SCORE if option == Score else _TEXT, f'"{name}":'))
    form = msgspec.defstruct(model.__name__, fields, forbid_unknown_fields=True, kw_only=True, gc=False)
    return _Plain(msgspec.json.Decoder(form).decode, kinds)


_envelope = msgspec.json.Decoder(_Envelope).decode
_study = msgspec.json.Decoder(_Study).decode
_PLAIN: dict[str, _Plain] = {
    name: plain
    for name, model in LEARNER_TYPES.items()
    if model not in (StudyRecorded, WorkPublished)  # these have rules across fields
    and name not in UPCASTS
    and (plain := _plain(model)) is not None
}


# -- rows ---------------------------------------------------------------------------------------------------------------


def quick_rows(
    key: bytes | None, value: bytes | None, timestamp_ms: int, partition: int, partitions: int, offset: int
) -> tuple[Row, Row] | None:
    """The rows of store.events and store.records; None: ask the long way."""
    # skipped or nested text is where decoders differ: nothing unknown, nothing nested, and no byte beyond ASCII is taken here
    if value is None or key is None or not value.isascii():
        return None
    try:
        found = _envelope(value)
        id, source, subject, programme, said_time, said_type = (
            found.id,
            found.source,
            found.subject,
            found.programme,
            found.time,
            found.type,
        )
        if (
            source not in GOOD_SOURCES
            or not 1 <= len(id) <= 128
            or not id.isprintable()
            or not (subject in IDS or remembered(subject))
            or not (programme in IDS or remembered(programme))
            or key != subject.encode()
            or partition_of(key, partitions) != partition
        ):
            return None
        time_ms = quick_ms(said_time)
        accepted = found.ingested_at
        ingested = timestamp_ms if accepted is msgspec.UNSET else _accepted.get(accepted) or _accepted_ms(accepted)
        if time_ms > ingested + AHEAD_MS:
            return None
        raw = found.data
        if said_type == STUDY:
            study = _study(raw)
            course, session, class_id = study.course_id, study.session_id, ""
            if not (course in IDS or remembered(course)) or not (session is None or is_id(session)):
                return None
            own_ms = (time_ms if study.ended_at == said_time else quick_ms(study.ended_at)) // 1000 * 1000
            started_ms = quick_ms(study.started_at) // 1000 * 1000
            if own_ms > ingested + AHEAD_MS or not 0 < own_ms - started_ms <= LONGEST_S * 1000:
                return None
            with_session = "" if session is None else f'"session_id":"{session}",'
            data = (
                f'"channel":"{study.channel}","course_id":"{course}","ended_at":"{_canonical(study.ended_at, own_ms)}",{with_session}'
                f'"started_at":"{_canonical(study.started_at, started_ms)}"'
            )
        else:
            plain = _PLAIN.get(said_type)
            if plain is None:
                return None
            form = plain.decode(raw)
            parts = []
            for name, kind, start in plain.fields:
                text = getattr(form, name)
                if text is None:
                    continue
                if kind == _ID:
                    if not (text in IDS or is_id(text)):
                        return None
                    parts.append(f'{start}"{text}"')
                elif kind == _TEXT:
                    if not 1 <= len(text) <= 256:
                        return None
                    parts.append(start + encode_basestring(text))
                elif _score(text) is not None:
                    parts.append(start + str(text, "ascii"))
                else:
                    return None
            data, own_ms = ",".join(parts), time_ms
            course, class_id = getattr(form, "course_id", None) or "", getattr(form, "class_id", None) or ""
    except (msgspec.MsgspecError, Bad):
        return None
    time = rfc3339(time_ms) if len(said_time) != 20 else _canonical(said_time, time_ms)
    content = f'{{"data":{{{data}}},"programme":"{programme}","subject":"{subject}","time":"{time}","type":"{said_type}"}}'
    digest = sha256(content.encode()).hexdigest()
    ingested = min(max(ingested, 0), LAST_MS)
    late = 1 if ingested - own_ms > LATE_MS else 0
    return (
        programme, subject, source, id, digest, said_type, course, time_ms, ingested, str(raw, "ascii"), partition, offset,
        first_wins(ingested, partition, offset),
    ), (programme, source, event_key(source, id, digest), partition, offset, ingested, class_id, course, late, 0, "")  # fmt: skip


def _canonical(text: str, ms: int) -> str:
    """`rfc3339(ms)` of a whole second, where `text` is a sound instant of that second."""
    if len(text) == 20 and text[10] == "T" and text[19] == "Z":
        return text[:19] + ".000Z"
    return rfc3339(ms)


_accepted: dict[str, int] = {}


def _accepted_ms(text: str) -> int:
    """`quick_ms`, remembered: events that came in one request have one `ingested_at`. Raises Bad."""
    ms = quick_ms(text)
    if len(_accepted) >= 10_000:
        _accepted.clear()
    _accepted[text] = ms
    return ms
