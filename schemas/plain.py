"""The quick way for the types whose data is nothing but ids, words of a list, scores and instants: marks, posts, exams and their like.

As `bulk` for study: what is decoded here is what the long way (`reading.read_record`) would take, and whatever is unusual is left to that.
"""

from __future__ import annotations

import re
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from schemas.activity import LEARNER_TYPES, StudyRecorded, WorkPublished
from schemas.bulk import IDS, is_id, made, quick_ms, sound_envelope
from schemas.envelope import Fingerprint, Frozen, Id, Instant, Score
from schemas.verdicts import Bad
from schemas.versions import UPCASTS

ID, TEXT, SCORE, INSTANT = range(4)
is_score = re.compile(rb"0(?:\.[0-9]{0,3}[1-9])?|1").fullmatch
"""Scores that are written as the digest's content writes them."""


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Every attribute that the quick way knows; nothing is checked yet but the types."""

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


class Form(NamedTuple):
    """A type's data: how it is decoded, then for each field by name: what it is, and its key as JSON text."""

    model: type[Frozen]
    decode: Any
    fields: list[tuple[str, int, str]]


_KINDS: dict[Any, int] = {Id: ID, Score: SCORE, Instant: INSTANT}


def _form(model: type[Frozen]) -> Form | None:
    """None where a field is anything else."""
    fields: list[tuple[str, Any, Any]] = []
    kinds: list[tuple[str, int, str]] = []
    for name, hint in sorted(get_type_hints(model, include_extras=True).items()):
        if name not in model.model_fields:
            continue
        options = [option for option in (get_args(hint) if NoneType in get_args(hint) else (hint,)) if option is not NoneType]
        option = options[0]
        is_word, is_optional = get_origin(option) is Literal, not model.model_fields[name].is_required()
        if len(options) != 1 or not (is_word or option in (Id, Fingerprint) or (option in (Score, Instant) and not is_optional)):
            return None
        kind = option if is_word else msgspec.Raw if option == Score else str
        fields.append((name, kind | None if is_optional else kind, None if is_optional else msgspec.NODEFAULT))
        kinds.append((name, _KINDS.get(option, TEXT), f'"{name}":'))
    form = msgspec.defstruct(model.__name__, fields, forbid_unknown_fields=True, kw_only=True, gc=False)
    return Form(model, msgspec.json.Decoder(form).decode, kinds)


decode_envelope = msgspec.json.Decoder(Envelope).decode
FORMS: dict[str, Form] = {
    name: form
    for name, model in LEARNER_TYPES.items()
    if model not in (StudyRecorded, WorkPublished)  # these have rules across fields
    and name not in UPCASTS
    and (form := _form(model)) is not None
}


class Plain(NamedTuple):
    """A sound record: `time_ms`, the data model, and `ingested_ms` where the record has it. `latest_ms`: of all instants but that."""

    found: Envelope
    time_ms: int
    latest_ms: int
    data: Frozen
    ingested_ms: int | None


def plain_record(value: bytes, subject: str, sources: set[str]) -> Plain | None:
    """What a record of one of these types states of `subject`, an identifier, by `sources` known as sound; None: ask the long way."""
    # skipped or nested text is where decoders differ: nothing unknown, nothing nested, and no byte beyond ASCII is taken here
    if not value.isascii():
        return None
    try:
        found = decode_envelope(value)
        form = FORMS.get(found.type)
        if form is None or not sound_envelope(found, subject, sources):
            return None
        time_ms = latest_ms = quick_ms(found.time)
        ingested = None if found.ingested_at is msgspec.UNSET else quick_ms(found.ingested_at)
        said = form.decode(found.data)
        fields: dict[str, Any] = {}
        for name, kind, _ in form.fields:
            text = getattr(said, name)
            if text is not None:
                if kind == INSTANT:
                    text = quick_ms(text)
                    latest_ms = max(latest_ms, text)
                elif not is_sound(kind, text):
                    return None
                elif kind == SCORE:
                    digits = bytes(text)
                    text = 10_000 if digits == b"1" else int(digits[2:].ljust(4, b"0"))
            fields[name] = text
    except (msgspec.MsgspecError, Bad):
        return None
    return Plain(found, time_ms, latest_ms, made(form.model, fields), ingested)


def is_sound(kind: int, text: Any) -> bool:
    """Whether a decoded field is what its kind has to be: ID and TEXT are text, SCORE is the number as it was written.

    Not for INSTANT: reading it tells.
    """
    if kind == ID:
        return text in IDS or is_id(text) is not None
    return 1 <= len(text) <= 256 if kind == TEXT else is_score(text) is not None
