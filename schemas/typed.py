"""The quick way for records as platforms write them: decoded at once into typed fields, and judged by those.

It takes study, the log's bulk, and the types whose data is nothing but ids, words of a list, scores and instants. `sound_record` answers
only where the long way (`reading.read_record`) would answer the very same event; whatever is unusual, let alone wrong, it leaves to that.
So it judges nothing by itself: a test feeds both with the same records.
"""

from __future__ import annotations

import re
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import astuple

from schemas.activity import LEARNER_TYPES, LONGEST_S, StudyChannel, StudyRecorded, WorkPublished
from schemas.envelope import AHEAD_MS, GOOD_SOURCES, Fingerprint, Frozen, Id, Instant, Score
from schemas.instants import END_MS
from schemas.remembered import HOURS, IDS, RESTS, SECONDS, is_id, quick_ms, remembered
from schemas.verdicts import Bad
from schemas.versions import UPCASTS

STUDY = "chalkstream.study.recorded.v1"
ID, WORD, TEXT, SCORE, INSTANT = range(5)
is_score = re.compile(rb"0(?:\.[0-9]{0,3}[1-9])?|1").fullmatch
"""Scores that are written as the digest's content writes them."""
_Model = TypeVar("_Model", bound=Frozen)
_set, _unset = object.__setattr__, msgspec.UNSET


# -- forms --------------------------------------------------------------------------------------------------------------


class StudyData(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    course_id: str
    started_at: str
    ended_at: str
    channel: StudyChannel
    session_id: str | None = None


class Form(NamedTuple):
    """A type's data as it is decoded; its fields by name; which of them are ids; those of which decoding does not tell all."""

    model: type[Frozen]
    data: type[msgspec.Struct]
    names: tuple[str, ...]
    ids: tuple[int, ...]
    others: tuple[tuple[str, int], ...]


_KINDS: dict[Any, int] = {Id: ID, Score: SCORE, Instant: INSTANT}


def _form(model: type[Frozen]) -> Form | None:
    """None where a field is anything else."""
    fields: list[tuple[str, Any, Any]] = []
    kinds: list[int] = []
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
        kinds.append(WORD if is_word else _KINDS.get(option, TEXT))
    data = msgspec.defstruct(model.__name__, fields, forbid_unknown_fields=True, kw_only=True, gc=False)
    names = tuple(name for name, *_ in fields)
    ids = tuple(at for at, kind in enumerate(kinds) if kind == ID)
    others = tuple((name, kind) for name, kind in zip(names, kinds, strict=True) if kind not in (ID, WORD))
    return Form(model, data, names, ids, others)


FORMS: dict[str, Form] = {
    name: form
    for name, model in LEARNER_TYPES.items()
    if model not in (StudyRecorded, WorkPublished)  # these have rules across fields
    and name not in UPCASTS
    and (form := _form(model)) is not None
}


def is_sound(kind: int, text: Any) -> bool:
    """Whether a decoded TEXT or SCORE, which is the number as it was written, is what its kind has to be."""
    return 1 <= len(text) <= 256 if kind == TEXT else is_score(text) is not None


# -- records ------------------------------------------------------------------------------------------------------------


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """Every attribute that the quick ways know but `type` and `data`; nothing is checked yet but what the types say."""

    specversion: Literal["1.0"]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    source: str
    subject: str
    time: str
    programme: str
    ingested_at: str | msgspec.UnsetType = _unset
    datacontenttype: Literal["application/json"] | msgspec.UnsetType = _unset


def _record(name: str, data: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """A whole record of a type."""
    short = "".join(part.title() for part in name.split("."))
    return msgspec.defstruct(
        short, [("data", data)], bases=(Envelope,), tag_field="type", tag=name, forbid_unknown_fields=True, kw_only=True, gc=False
    )


_STUDY = _record(STUDY, StudyData)
_FORM_OF = {_record(name, form.data): (name, form) for name, form in FORMS.items()}
_TYPES = [*_FORM_OF, *([] if STUDY in UPCASTS else [_STUDY])]
_decode = msgspec.json.Decoder(Union[tuple(_TYPES)]).decode  # noqa: UP007


Interval = tuple[int, str, int]
"""A stretch of study: its start, its course, its end, in whole seconds since 1970."""
Sound = tuple[Any, str, int, int, Interval | Frozen]
"""A sound record: as it was decoded (an `Envelope`), its type, `time` and `ingested_at` in ms, and what it says: an interval where it is
study, else the frozen model of the type."""


class Writer:
    """Whose records are read: `subject`, an identifier and their key, and what the last one had, which mostly is what the next one has."""

    __slots__ = ("course", "programme", "source", "subject")

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.source: str | None = None
        self.programme: str | None = None
        self.course: str | None = None


def sound_record(value: bytes | None, writer: Writer, timestamp_ms: int) -> Sound | None:
    """What a record states of the writer's subject; None: ask the long way. `timestamp_ms` stands in for `ingested_at`."""
    # skipped or nested text is where decoders differ: nothing unknown, nothing nested, and no byte beyond ASCII is taken here
    if value is None or not value.isascii():
        return None
    try:
        found = _decode(value)
        if found.subject != writer.subject or not found.id.isprintable():
            return None
        if found.source != writer.source or found.programme != writer.programme:
            if found.source not in GOOD_SOURCES or not (found.programme in IDS or remembered(found.programme)):
                return None
            writer.source, writer.programme = found.source, found.programme
        said, time, accepted = found.data, found.time, found.ingested_at
        if found.__class__ is not _STUDY:
            return _marks(found, quick_ms(time), timestamp_ms if accepted is _unset else quick_ms(accepted))
        course, session, started, ended = said.course_id, said.session_id, said.started_at, said.ended_at
        if course != writer.course:
            if not (course in IDS or remembered(course)):
                return None
            writer.course = course
        if session is not None and not is_id(session):
            return None
        try:  # `quick_ms` without its calls
            time_ms = ended_ms = HOURS[time[:14]] + SECONDS[time[14:19]] + RESTS[time[19:]]
            started_ms = HOURS[started[:14]] + SECONDS[started[14:19]] + RESTS[started[19:]]
            if ended != time:  # platforms tell of study as it ends
                ended_ms = HOURS[ended[:14]] + SECONDS[ended[14:19]] + RESTS[ended[19:]]
            accepted_ms = timestamp_ms
            if accepted is not _unset:
                accepted_ms = HOURS[accepted[:14]] + SECONDS[accepted[14:19]] + RESTS[accepted[19:]]
        except KeyError:
            time_ms, started_ms, ended_ms = quick_ms(time), quick_ms(started), quick_ms(ended)
            accepted_ms = timestamp_ms if accepted is _unset else quick_ms(accepted)
    except (msgspec.MsgspecError, Bad):
        return None
    limit, first, last = accepted_ms + AHEAD_MS, started_ms // 1000, ended_ms // 1000
    if 0 <= time_ms <= limit < END_MS and 0 <= first < last and last * 1000 <= limit and last - first <= LONGEST_S and accepted_ms >= 0:
        return found, STUDY, time_ms, accepted_ms, (first, course, last)
    return None


def _marks(found: Any, time_ms: int, accepted_ms: int) -> Sound | None:
    """Of any type but study; None where a field is not what its kind has to be, or an instant too far ahead. Raises Bad."""
    name, form = _FORM_OF[found.__class__]
    values, limit = astuple(found.data), accepted_ms + AHEAD_MS
    if time_ms > limit:
        return None
    for at in form.ids:
        text = values[at]
        if text not in IDS and text is not None and not is_id(text):
            return None
    fields = dict(zip(form.names, values))  # noqa: B905  # a form's own
    for field, kind in form.others:
        text = fields[field]
        if kind == INSTANT:
            fields[field] = ms = quick_ms(text)
            if ms > limit:
                return None
        elif text is not None and not is_sound(kind, text):
            return None
        elif kind == SCORE:
            digits = bytes(text)
            fields[field] = 10_000 if digits == b"1" else int(digits[2:].ljust(4, b"0"))
    return found, name, time_ms, accepted_ms, made(form.model, fields)


def made(model: type[_Model], fields: dict[str, Any]) -> _Model:
    """A data model without its checks: they have been made."""
    whole = model.__new__(model)
    _set(whole, "__dict__", fields)
    _set(whole, "__pydantic_fields_set__", set(fields))
    _set(whole, "__pydantic_extra__", None)
    _set(whole, "__pydantic_private__", None)
    return whole


def study_data(found: Any, interval: Interval) -> StudyRecorded:
    """As the long way makes it, without its checks: they have been made."""
    started, course, ended = interval
    fields = {"course_id": course, "started_at": started, "ended_at": ended, "channel": found.data.channel}
    return made(StudyRecorded, fields | {"session_id": found.data.session_id})
