"""The checks that everybody shares: from parsed JSON, or a Kafka record, to an `Event` or to all that is wrong with it.

The door judges what it is sent with `read_item` and adds its own rules (`services.ingest.accept`); scoring and the loader
judge records with `read_record`. What these two refuse depends on nothing but the item or record itself, so a replay says
the same.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ValidationError, create_model

from schemas.activity import LEARNER_TYPES, LONGEST_S, ExamMarked, StudyRecorded, WorkPublished
from schemas.envelope import AHEAD_MS, ID_PATTERN, SCORE_UNIT, Envelope, Frozen, Id, ProgrammeEnvelope
from schemas.instants import parse_instant, rfc3339
from schemas.organisation import DIRECTORY_TYPES, STAFF_TYPES, UNIT_TYPES, StaffAssigned, StaffReleased, UnitDeclared
from schemas.quick import Sound, read_sound
from schemas.strictjson import NotJson, parse
from schemas.verdicts import CODES, Bad, Verdict, in_order, pointer
from schemas.versions import upcast

DATA: dict[str, type[Frozen]] = {**LEARNER_TYPES, **DIRECTORY_TYPES}


def _event_model(name: str, data: type[Frozen]) -> type[Envelope]:
    base: type[Envelope] = Envelope if name in UNIT_TYPES else ProgrammeEnvelope
    short = "".join(part.title() for part in name.split(".")[1:-1]).replace("_", "")
    fields: dict[str, Any] = {"type": (Literal[name], ...), "data": (data, ...)}
    return create_model(short + "Event", __base__=base, __doc__=data.__doc__, **fields)


class _Unsorted(Envelope):
    """What can be said about an event whose type is not known."""

    programme: Id | None = None
    data: dict  # type: ignore[type-arg]  # bare: its keys and values are not looked at


EVENTS: dict[str, type[Envelope]] = {name: _event_model(name, data) for name, data in DATA.items()}
_VALIDATE = {name: model.__pydantic_validator__.validate_python for name, model in EVENTS.items()}
_REQUIRES_SUBJECT = {**dict.fromkeys(UNIT_TYPES, "unit_id"), **dict.fromkeys(STAFF_TYPES, "staff_id")}


class Event(msgspec.Struct, frozen=True):
    """One sound event. Instants are milliseconds since 1970 UTC.

    `data` is the frozen model of the type: its instants are milliseconds too, but a study interval whole seconds; its scores
    are ints of 1/10000. `programme` is '' for `unit.*`.
    """

    id: str
    source: str
    type: str
    subject: str
    time_ms: int
    programme: str
    data: Any
    ingested_at_ms: int = 0

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the event's content: the same for everybody who says the same."""
        return hashlib.sha256(content(self).encode()).hexdigest()


# -- content ------------------------------------------------------------------------------------------------------------


def _plain_score(value: int) -> str:
    whole, part = divmod(value, SCORE_UNIT)
    return f"{whole}.{part:04d}".rstrip("0") if part else str(whole)


def _writers(model: type[Frozen]) -> list[tuple[str, str, Any]]:
    """(field, its key as JSON text, how its value is written), by code point."""
    found = []
    for name in sorted(model.model_fields):
        how: Any = encode_basestring
        if name == "score":
            how = _plain_score
        elif name == "birth_year":
            how = str
        elif name == "sat_at":
            how = _quoted_ms
        elif name in ("started_at", "ended_at"):
            how = _quoted_s
        found.append((name, f'"{name}":', how))
    return found


def _quoted_ms(ms: int) -> str:
    return f'"{rfc3339(ms)}"'


def _quoted_s(seconds: int) -> str:
    return f'"{rfc3339(seconds * 1000)}"'


_WRITERS = {model: _writers(model) for model in DATA.values()}


def content(event: Event) -> str:
    """The canonical JSON of what the event says: type, subject, programme, time and data, without nulls or blanks."""
    values = event.data.__dict__
    data = ",".join([key + how(values[name]) for name, key, how in _WRITERS[type(event.data)] if values[name] is not None])
    programme = f'"programme":"{event.programme}",' if event.programme else ""
    return f'{{"data":{{{data}}},{programme}"subject":"{event.subject}","time":"{rfc3339(event.time_ms)}","type":"{event.type}"}}'


# -- items --------------------------------------------------------------------------------------------------------------

_TRANSLATION = {
    "missing": "missing",
    "extra_forbidden": "unknown_field",
    "string_pattern_mismatch": "bad_format",
    "string_unicode": "bad_format",
    "string_too_short": "out_of_range",
    "string_too_long": "out_of_range",
    "string_type": "wrong_type",
    "model_type": "wrong_type",
    "model_attributes_type": "wrong_type",
    "dict_type": "wrong_type",
}


def _translated(error: ValidationError) -> list[Verdict]:
    verdicts = []
    for one in error.errors(include_url=False, include_context=False):
        kind = one["type"]
        if kind == "literal_error":
            codes = "bad_format" if isinstance(one["input"], str) else "wrong_type"
        else:
            codes = _TRANSLATION.get(kind, kind)
        for code in codes.split("+"):
            if code not in CODES:  # a new kind of pydantic's: found by tests, never answered as if it were the contract's
                raise AssertionError(f"pydantic's {kind} has no code")
            verdicts.append(Verdict(pointer(*one["loc"]), code, one["msg"]))
    return verdicts


def read_item(obj: object, *, ingested_at_ms: int | None = None) -> Event | list[Verdict]:
    """The event that a parsed JSON value is, or everything that is wrong with it for everybody, in order.

    `obj` comes from `strictjson`. `ingested_at` is an unknown field, unless `ingested_at_ms` says that this is a record.
    """
    if type(obj) is not dict:
        return [Verdict("", "wrong_type", "An object is expected")]
    if None in obj.values():  # an attribute that is null is absent
        obj = {name: value for name, value in obj.items() if value is not None}
    name = obj.get("type")
    if type(name) is not str:
        name = None
    validate = _VALIDATE.get(name or "")
    verdicts: list[Verdict] = []
    if "data_base64" in obj:
        verdicts.append(Verdict("/data_base64", "unknown_field", "Binary data is not taken; put the object into data"))
    if ingested_at_ms is None and "ingested_at" in obj:
        verdicts.append(Verdict("/ingested_at", "unknown_field", "This attribute is the door's own"))
    if name in UNIT_TYPES and "programme" in obj:
        verdicts.append(Verdict("/programme", "unknown_field", "A unit belongs to no programme"))
    if name is None or validate is None:
        return in_order(verdicts + _without_type(obj))
    try:
        model = validate(obj)
    except ValidationError:
        verdicts += _all_of(name, obj)
        return in_order(verdicts + _across(sound_fields(obj, verdicts)))
    data = model.data
    if type(data) in _ACROSS:
        verdicts += _across({"/subject": model.subject} | {"/data/" + key: value for key, value in data.__dict__.items()} | {"/type": name})
    if verdicts:
        return in_order(verdicts)
    return Event(
        model.id,
        model.source,
        name,
        model.subject,
        model.time,
        getattr(model, "programme", ""),
        upcast(name, data),
        ingested_at_ms or 0,
    )


def _all_of(name: str, obj: dict[str, Any]) -> list[Verdict]:
    """Everything that the type's model says against an item.

    Field names that the type does not have are set apart first: pydantic looks no further where one of them is no Unicode.
    """
    data, verdicts = obj.get("data"), []
    if type(data) is dict:
        known = DATA[name].model_fields
        verdicts = [
            Verdict(pointer("data", key), "unknown_field", "The type has no such field; it has " + (", ".join(known) or "none"))
            for key in data
            if key not in known
        ]
        obj = {**obj, "data": {key: value for key, value in data.items() if key in known}}
    try:
        _VALIDATE[name](obj)
    except ValidationError as error:
        verdicts += _translated(error)
    return verdicts


def _without_type(obj: dict[str, Any]) -> list[Verdict]:
    name = obj.get("type")
    verdicts: list[Verdict] = []
    try:
        _Unsorted.__pydantic_validator__.validate_python(obj)
    except ValidationError as error:
        verdicts = _translated(error)
    if type(name) is str and any("\ud800" <= char <= "\udfff" for char in name):
        verdicts.append(Verdict("/type", "bad_format", "Unicode text is expected, without lone surrogates"))
    elif type(name) is str:
        verdicts.append(Verdict("/type", "unknown_type", "One of the contract's types is expected, such as chalkstream.study.recorded.v1"))
    return verdicts


_INSTANTS = {"time": 1, "sat_at": 1, "started_at": 1000, "ended_at": 1000}  # field -> milliseconds in its unit
# What only a rule across fields says: the field itself may well be sound.
_SAID_ACROSS = {("/data/ended_at", "empty_interval"), ("/data/ended_at", "out_of_range"), ("/data/activity_id", "unknown_field")}
_ACROSS = frozenset([StudyRecorded, WorkPublished, UnitDeclared, StaffAssigned, StaffReleased])


def sound_fields(obj: object, verdicts: list[Verdict]) -> dict[str, Any]:
    """Pointer -> value of the known attributes and fields of an item that nothing is said against.

    Values are as in `Event`. For the rules across fields, which are judged only where the fields are sound.
    """
    if type(obj) is not dict:
        return {}
    wrong = {verdict.pointer for verdict in verdicts if verdict[:2] not in _SAID_ACROSS}
    found: dict[str, Any] = {}
    name = obj.get("type")
    if "/type" in wrong or type(name) is not str:
        name = None
    models: list[tuple[str, type[BaseModel], Any]] = [("", EVENTS.get(name or "", _Unsorted), obj)]
    if name in DATA and "/data" not in wrong:
        models.append(("/data", DATA[name], obj.get("data")))
    for prefix, model, values in models:
        for key in model.model_fields:
            place = f"{prefix}/{key}"
            if key == "data" or place in wrong or not isinstance(values, dict):
                continue
            value = values.get(key)
            if value is not None and key in _INSTANTS:
                try:
                    value = parse_instant(value) // _INSTANTS[key]
                except Bad:
                    continue
            found[place] = value
    return found


def _across(sound: dict[str, Any]) -> list[Verdict]:
    """The rules across fields that hold for everybody, over what is sound."""
    verdicts = []
    name = sound.get("/type")
    owner = _REQUIRES_SUBJECT.get(name or "")
    if owner is not None and "/subject" in sound and sound["/subject"] != sound.get("/data/" + owner, sound["/subject"]):
        verdicts.append(Verdict("/subject", "bad_format", f"The same as /data/{owner} is expected"))
    model = DATA.get(name or "")
    if model is StudyRecorded and "/data/started_at" in sound and "/data/ended_at" in sound:
        length = sound["/data/ended_at"] - sound["/data/started_at"]
        if length <= 0:
            verdicts.append(Verdict("/data/ended_at", "empty_interval", "An end at least one whole second after started_at is expected"))
        elif length > LONGEST_S:
            verdicts.append(Verdict("/data/ended_at", "out_of_range", "An interval of at most 24 hours is expected"))
    elif model is WorkPublished and "/data/course_id" in sound and "/data/activity_id" in sound:
        course, activity = sound["/data/course_id"], sound["/data/activity_id"]
        if course is None and activity is None:
            verdicts.append(Verdict("/data/course_id", "missing", "Either course_id or activity_id is expected"))
        elif course is not None and activity is not None:
            verdicts.append(Verdict("/data/activity_id", "unknown_field", "Only one of course_id and activity_id is expected"))
    elif model is UnitDeclared and "/data/level" in sound and "/data/parent_id" in sound:
        is_top, parent = sound["/data/level"] == "province", sound["/data/parent_id"]
        if is_top and parent is not None:
            verdicts.append(Verdict("/data/parent_id", "unknown_field", "A province has no parent"))
        elif not is_top and parent is None:
            verdicts.append(Verdict("/data/parent_id", "missing", "The unit one level up is expected"))
    return verdicts


def ahead_of(limit_ms: int, time_ms: int | None, ended_at_s: int | None, sat_at_ms: int | None) -> list[Verdict]:
    """`in_future` for each of the instants that is later than `limit_ms`."""
    late = []
    for place, ms in (("/time", time_ms), ("/data/ended_at", ended_at_s and ended_at_s * 1000), ("/data/sat_at", sat_at_ms)):
        if ms is not None and ms > limit_ms:
            late.append(Verdict(place, "in_future", "An instant at most 5 minutes ahead is expected"))
    return late


# -- records ------------------------------------------------------------------------------------------------------------


def murmur2(data: bytes) -> int:
    """The hash of Kafka's default partitioner, unsigned 32 bits."""
    length = len(data)
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ length
    end = length & ~3
    for at in range(0, end, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    rest = data[end:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


@lru_cache(1 << 18)
def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's default partitioner puts a key. Cached: in Python the hash costs 9 us."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def read_record(key: bytes | None, value: bytes | None, timestamp_ms: int, partition: int, partitions: int) -> Event | list[Verdict]:
    """The event of a Kafka record as scoring and the loader judge it, or everything that is wrong with it.

    Beyond `read_item`: `not_json`, `wrong_partition` (the key is not the subject, or lies where its hash does not put it)
    and `in_future` of the record's own `ingested_at`, for which `timestamp_ms` stands in where it is absent.
    """
    if value is None:
        return [Verdict("", "not_json", "A JSON object is expected; the record has no value")]
    return _quickly(key, value, timestamp_ms, partition, partitions) or _at_length(key, value, timestamp_ms, partition, partitions)


_is_id = re.compile(ID_PATTERN.rstrip("$")).fullmatch
_MOST_PLACED = 200_000  # of each partition
_placed: dict[tuple[int, int], dict[bytes, str]] = {}
"""By partition and number of partitions: keys met there where they belong, each with the identifier that it is."""


def placed(key: bytes | None, partition: int, partitions: int) -> str | None:
    """The identifier that a record's key is, None where it is none or belongs to another partition. Remembered."""
    keys = _placed.get((partition, partitions))
    if keys is None:
        keys = _placed[partition, partitions] = {}
    return keys.get(key) or _place(keys, key, partition, partitions)  # type: ignore[arg-type]  # None is never a key there


def _place(keys: dict[bytes, str], key: bytes | None, partition: int, partitions: int) -> str | None:
    if key is None or len(key) > 64 or not key.isascii() or partition_of(key, partitions) != partition or _is_id(key.decode()) is None:
        return None
    if len(keys) < _MOST_PLACED:
        keys[key] = key.decode()
    return key.decode()


def _quickly(key: bytes | None, value: bytes, timestamp_ms: int, partition: int, partitions: int) -> Event | None:
    sound = read_sound(value, placed(key, partition, partitions), timestamp_ms)
    return None if sound is None else event_of(sound)


def event_of(sound: Sound) -> Event:
    """The event that a record states which was read the quick way. Its data is made without its model's checks: they have been made."""
    fields, model = sound.fields(), sound.model
    data = model.__new__(model)
    _set(data, "__dict__", fields)
    _set(data, "__pydantic_fields_set__", set(fields))
    _set(data, "__pydantic_extra__", None)
    _set(data, "__pydantic_private__", None)
    return Event(sound.id, sound.source, sound.type, sound.subject, sound.time_ms, sound.programme, data, sound.ingested_ms)


_set = object.__setattr__


def _at_length(key: bytes | None, value: bytes, timestamp_ms: int, partition: int, partitions: int) -> Event | list[Verdict]:
    try:
        obj = parse(value.decode())
    except UnicodeDecodeError as error:
        return [Verdict("", "not_json", f"UTF-8 is expected; byte {error.start} is not")]
    except NotJson as error:
        return [Verdict("", "not_json", str(error))]
    if type(obj) is not dict:
        return [Verdict("", "wrong_type", "An object is expected")]
    verdicts: list[Verdict] = []
    ingested_ms: int | None = timestamp_ms
    stamp = obj.get("ingested_at")
    if stamp is not None:
        try:
            if type(stamp) is not str:
                raise Bad("wrong_type", "An RFC 3339 instant, as text, is expected")
            ingested_ms = parse_instant(stamp)
        except Bad as bad:
            ingested_ms = None
            verdicts.append(Verdict("/ingested_at", bad.code, bad.detail))
    subject = obj.get("subject")
    if key is None or len(key) > 64 or partition_of(key, partitions) != partition:  # no subject is longer: spare the hash
        verdicts.append(Verdict("", "wrong_partition", "The partition that murmur2 of the key (the subject) gives is expected"))
    elif type(subject) is str and key != subject.encode("utf-8", "surrogatepass"):
        verdicts.append(Verdict("", "wrong_partition", "The subject is expected as the record's key"))
    found = read_item(obj, ingested_at_ms=ingested_ms or 0)
    if isinstance(found, Event):
        if ingested_ms is not None:
            data = found.data
            ended = data.ended_at if type(data) is StudyRecorded else None
            sat = data.sat_at if type(data) is ExamMarked else None
            verdicts += ahead_of(ingested_ms + AHEAD_MS, found.time_ms, ended, sat)
        return in_order(verdicts) if verdicts else found
    if ingested_ms is not None:
        sound = sound_fields(obj, found)
        ended, sat = sound.get("/data/ended_at"), sound.get("/data/sat_at")
        verdicts += ahead_of(ingested_ms + AHEAD_MS, sound.get("/time"), ended, sat)
    return in_order(verdicts + found)


def _only(found: Event | list[Verdict], types: dict[str, type[Frozen]], expected: str) -> Event | list[Verdict]:
    if isinstance(found, Event) and found.type not in types:
        return [Verdict("/type", "unknown_type", expected)]
    return found


def read_activity(key: bytes | None, value: bytes | None, timestamp_ms: int, partition: int, partitions: int) -> Event | list[Verdict]:
    """`read_record` for `learning.activity`, where only a learner's events belong: units and staff are `unknown_type`."""
    found = read_record(key, value, timestamp_ms, partition, partitions)
    return _only(found, LEARNER_TYPES, "A learner's event is expected; units and staff belong to organisation.directory")


def read_directory(key: bytes | None, value: bytes | None, timestamp_ms: int, partition: int, partitions: int) -> Event | list[Verdict]:
    """`read_record` for `organisation.directory`, where only units and staff belong."""
    found = read_record(key, value, timestamp_ms, partition, partitions)
    return _only(found, DIRECTORY_TYPES, "A unit's or staff member's event is expected; learners' belong to learning.activity")
