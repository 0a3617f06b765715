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

from schemas.bulk import IDS, STUDY, StudyData, is_id, quick_ms, remembered, sound_envelope
from schemas.envelope import GOOD_SOURCES
from schemas.instants import rfc3339
from schemas.plain import FORMS, ID, INSTANT, TEXT, decode_envelope, is_sound
from schemas.reading import AHEAD_MS, LONGEST_S, partition_of
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


_study = msgspec.json.Decoder(StudyData).decode


# -- rows ---------------------------------------------------------------------------------------------------------------


def quick_rows(
    key: bytes | None, value: bytes | None, timestamp_ms: int, partition: int, partitions: int, offset: int
) -> tuple[Row, Row] | None:
    """The rows of store.events and store.records; None: ask the long way."""
    # skipped or nested text is where decoders differ: nothing unknown, nothing nested, and no byte beyond ASCII is taken here
    if value is None or key is None or not value.isascii():
        return None
    try:
        found = decode_envelope(value)
        id, source, subject, programme, said_time, said_type = (
            found.id,
            found.source,
            found.subject,
            found.programme,
            found.time,
            found.type,
        )
        if not sound_envelope(found, GOOD_SOURCES) or key != subject.encode() or partition_of(key, partitions) != partition:
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
            plain = FORMS.get(said_type)
            if plain is None:
                return None
            form = plain.decode(raw)
            parts, own_ms = [], time_ms
            for name, kind, start in plain.fields:
                text = getattr(form, name)
                if text is None:
                    continue
                if kind == INSTANT:
                    own_ms = quick_ms(text)
                    parts.append(f'{start}"{rfc3339(own_ms)}"')
                elif not is_sound(kind, text):
                    return None
                elif kind == ID:
                    parts.append(f'{start}"{text}"')
                elif kind == TEXT:
                    parts.append(start + encode_basestring(text))
                else:
                    parts.append(start + str(text, "ascii"))
            if own_ms > ingested + AHEAD_MS:
                return None
            data = ",".join(parts)
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
