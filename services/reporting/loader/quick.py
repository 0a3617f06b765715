"""The quick way for the log's bulk: a record of `learning.activity` straight to its rows, without the event between.

`quick_rows` answers only where the long way (`rows.activity_rows`) would answer the very same rows, and leaves to that whatever is
unusual, let alone wrong. So it judges nothing by itself: a test feeds both with the same records.

It takes study, and the types whose data is nothing but ids, words of a list, plain scores and instants: with the envelope they are all
checked by typed decoding, sets of ids met before, and instants by parts met before.
"""

from __future__ import annotations

from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any

import msgspec
from msgspec.structs import astuple

from schemas.activity import LONGEST_S
from schemas.envelope import AHEAD_MS
from schemas.instants import rfc3339
from schemas.reading import placed
from schemas.remembered import IDS, is_id, quick_instant, quick_ms, remembered
from schemas.typed import FORMS, ID, INSTANT, STUDY, TEXT, WORD, Envelope, StudyData, is_sound, sound_envelope
from schemas.verdicts import Bad

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


class _Record(Envelope, forbid_unknown_fields=True, gc=False, kw_only=True):
    """Data stays as it was received: it is stored so."""

    type: str
    data: msgspec.Raw


_decode = msgspec.json.Decoder(_Record).decode
_study = msgspec.json.Decoder(StudyData).decode
_DATA = {
    name: (msgspec.json.Decoder(form.data).decode, form.kinds, tuple(f'"{field}":' for field in form.names)) for name, form in FORMS.items()
}


# -- rows ---------------------------------------------------------------------------------------------------------------


def quick_rows(
    key: bytes | None, value: bytes | None, timestamp_ms: int, partition: int, partitions: int, offset: int
) -> tuple[Row, Row] | None:
    """The rows of store.events and store.records; None: ask the long way."""
    # skipped or nested text is where decoders differ: nothing unknown, nothing nested, and no byte beyond ASCII is taken here
    subject = placed(key, partition, partitions)
    if value is None or subject is None or not value.isascii():
        return None
    try:
        found = _decode(value)
        if not sound_envelope(found, subject):
            return None
        id, source, programme = found.id, found.source, found.programme
        said_time, said_type, raw = found.time, found.type, found.data
        time_ms, time = quick_instant(said_time)
        accepted = found.ingested_at
        ingested = timestamp_ms if accepted is msgspec.UNSET else _accepted.get(accepted) or _accepted_ms(accepted)
        if time_ms > ingested + AHEAD_MS:
            return None
        if said_type == STUDY:
            study = _study(raw)
            course, session, class_id = study.course_id, study.session_id, ""
            if not (course in IDS or remembered(course)) or not (session is None or is_id(session)):
                return None
            # platforms tell of study as it ends
            own_ms, ended = _whole_second((time_ms, time) if study.ended_at == said_time else quick_instant(study.ended_at))
            started_ms, started = _whole_second(quick_instant(study.started_at))
            if own_ms > ingested + AHEAD_MS or not 0 < own_ms - started_ms <= LONGEST_S * 1000:
                return None
            with_session = "" if session is None else f'"session_id":"{session}",'
            data = f'"channel":"{study.channel}","course_id":"{course}","ended_at":"{ended}",{with_session}"started_at":"{started}"'
        else:
            known = _DATA.get(said_type)
            if known is None:
                return None
            decode, kinds, starts = known
            form = decode(raw)
            parts, own_ms = [], time_ms
            for text, kind, start in zip(astuple(form), kinds, starts, strict=True):
                if text is None:
                    continue
                if kind == INSTANT:
                    own_ms, text = quick_instant(text)
                    parts.append(f'{start}"{text}"')
                elif not is_sound(kind, text):
                    return None
                elif kind == ID:
                    parts.append(f'{start}"{text}"')
                elif kind in (TEXT, WORD):
                    parts.append(start + encode_basestring(text))
                else:
                    parts.append(start + str(text, "ascii"))
            if own_ms > ingested + AHEAD_MS:
                return None
            data = ",".join(parts)
            course, class_id = getattr(form, "course_id", None) or "", getattr(form, "class_id", None) or ""
    except (msgspec.MsgspecError, Bad):
        return None
    content = f'{{"data":{{{data}}},"programme":"{programme}","subject":"{subject}","time":"{time}","type":"{said_type}"}}'
    digest = sha256(content.encode()).hexdigest()
    if not 0 <= ingested <= LAST_MS:
        ingested = min(max(ingested, 0), LAST_MS)
    late = 1 if ingested - own_ms > LATE_MS else 0
    return (
        programme, subject, source, id, digest, said_type, course, time_ms, ingested, str(raw, "ascii"), partition, offset,
        first_wins(ingested, partition, offset),
    ), (programme, source, event_key(source, id, digest), partition, offset, ingested, class_id, course, late, 0, "")  # fmt: skip


def _whole_second(instant: tuple[int, str]) -> tuple[int, str]:
    ms = instant[0]
    return (ms - ms % 1000, rfc3339(ms - ms % 1000)) if ms % 1000 else instant


_accepted: dict[str, int] = {}


def _accepted_ms(text: str) -> int:
    """`quick_ms`, remembered: events that came in one request have one `ingested_at`. Raises Bad."""
    ms = quick_ms(text)
    if len(_accepted) >= 10_000:
        _accepted.clear()
    _accepted[text] = ms
    return ms
