"""From a request's bytes to each item's fate. Pure: no I/O, and `now` is handed in.

`read_item` says what is wrong for everybody; the rules here are the door's own: what this token may write, what the rule
files know, and what the clock says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.activity import LONGEST_S, ExamMarked, StudyRecorded
from schemas.envelope import AHEAD_MS
from schemas.instants import rfc3339
from schemas.organisation import DIRECTORY_TYPES
from schemas.reading import Event, ahead_of, read_item, sound_fields
from schemas.strictjson import NotJson, parse, split_array
from schemas.verdicts import Verdict, in_order

ONE, BATCH, LINES = "application/cloudevents+json", "application/cloudevents-batch+json", "application/x-ndjson"
MEDIA_TYPES = (ONE, BATCH, LINES)
_BLANK = b" \t\r\n"


class Rules(Protocol):
    """What the door needs of `schemas.programme.Programme`."""

    @property
    def opens_ms(self) -> int: ...
    @property
    def longest_interval_seconds(self) -> int: ...
    @property
    def courses(self) -> Mapping[str, Any]: ...
    @property
    def activities(self) -> Any: ...


class Allowed(Protocol):
    """What the door needs of `services.shared.tokens.Rights`."""

    @property
    def directory(self) -> bool: ...
    def may_source(self, source: str) -> bool: ...
    def may_programme(self, programme: str) -> bool: ...


class Unreadable(ValueError):
    """The body as a whole is no JSON, or has another shape than its media type says."""


class TooMany(ValueError):
    """More items than one request may carry."""


@dataclass(slots=True)
class Item:
    """One item of a request: its text as received, and the event that it is or what is wrong with it."""

    text: str
    id: str | None = None
    event: Event | None = None
    verdicts: list[Verdict] | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """What items are judged by. `now_ms` is of CHALK_CLOCK."""

    rights: Allowed
    programmes: Mapping[str, Rules]
    now_ms: int
    max_item_bytes: int
    max_items: int


def accept(body: bytes, media_type: str, door: Door) -> list[Item]:
    """The items of a body in order, each judged. `media_type` is one of MEDIA_TYPES.

    Raises Unreadable or TooMany, about the whole body; never for one bad item.
    """
    if media_type == LINES:
        return _lines(body, door)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"UTF-8 is expected; byte {error.start} is not") from None
    try:
        if media_type == ONE:
            value = parse(text)
            if type(value) is not dict:
                raise Unreadable(f"{ONE} is one JSON object; for several use {BATCH}")
            return [_judged(value, text.strip(" \t\r\n"), door)]
        pairs = split_array(text)
    except NotJson as error:
        raise Unreadable(f"the body is not JSON (RFC 8259): {error}") from None
    if pairs is None:
        raise Unreadable(f"{BATCH} is a JSON array of events; for a single one use {ONE}")
    if len(pairs) > door.max_items:
        raise TooMany(f"at most {door.max_items} events a request are taken; this one has {len(pairs)}")
    return [_judged(value, raw, door) for value, raw in pairs]


def _lines(body: bytes, door: Door) -> list[Item]:
    lines = [stripped for line in body.split(b"\n") if (stripped := line.strip(_BLANK))]
    if len(lines) > door.max_items:
        raise TooMany(f"at most {door.max_items} events a request are taken; this one has {len(lines)}")
    return [_line(line, door) for line in lines]


def _line(line: bytes, door: Door) -> Item:
    if len(line) > door.max_item_bytes:
        return _too_large("", None, door)
    try:
        text = line.decode()
        value = parse(text)
    except UnicodeDecodeError as error:
        return Item("", None, None, [Verdict("", "not_json", f"UTF-8 is expected; byte {error.start} of the line is not")])
    except NotJson as error:
        return Item("", None, None, [Verdict("", "not_json", str(error))])
    if type(value) is not dict:
        return Item("", None, None, [Verdict("", "not_json", "One JSON object a line is expected")])
    return _judged(value, text, door)


def _too_large(text: str, name: str | None, door: Door) -> Item:
    return Item(text, name, None, [Verdict("", "too_large", f"An event of at most {door.max_item_bytes} bytes is expected")])


def _judged(value: object, text: str, door: Door) -> Item:
    name = value.get("id") if type(value) is dict else None
    if type(name) is not str:
        name = None
    # a character is at most 4 bytes: most items need no count
    if len(text) * 4 > door.max_item_bytes and len(text.encode()) > door.max_item_bytes:
        return _too_large(text, name, door)
    found = read_item(value)
    if isinstance(found, Event):
        verdicts = _rules(_sound_of(found), door)
        return Item(text, name, None, in_order(verdicts)) if verdicts else Item(text, name, found)
    return Item(text, name, None, in_order(found + _rules(sound_fields(value, found), door)))


def _sound_of(event: Event) -> dict[str, Any]:
    sound = {"/source": event.source, "/type": event.type, "/time": event.time_ms}
    if event.programme:
        sound["/programme"] = event.programme
    data = event.data
    kind = type(data)
    if kind is StudyRecorded:
        sound["/data/started_at"], sound["/data/ended_at"] = data.started_at, data.ended_at
    elif kind is ExamMarked:
        sound["/data/sat_at"] = data.sat_at
    for key in ("course_id", "activity_id"):
        if key in data.__dict__:
            sound["/data/" + key] = data.__dict__[key]
    return sound


def _rules(sound: dict[str, Any], door: Door) -> list[Verdict]:
    """The door's own rules, over what is sound of an item."""
    verdicts = _may(sound, door.rights)
    time_ms, started, ended, sat = (sound.get(place) for place in ("/time", "/data/started_at", "/data/ended_at", "/data/sat_at"))
    limit = door.now_ms + AHEAD_MS
    verdicts += ahead_of(limit, time_ms, ended, None)
    if sat is not None and sat > (limit if time_ms is None else min(limit, time_ms + AHEAD_MS)):
        verdicts.append(Verdict("/data/sat_at", "in_future", "An instant at most 5 minutes after now and after time is expected"))
    programme_id = sound.get("/programme")
    if programme_id is None:
        return verdicts
    rules = door.programmes.get(programme_id)
    if rules is None:
        verdicts.append(Verdict("/programme", "unknown_programme", "A programme that a rule file describes is expected"))
        return verdicts
    opens_ms = rules.opens_ms
    for place, ms in (("/time", time_ms), ("/data/started_at", None if started is None else started * 1000), ("/data/sat_at", sat)):
        if ms is not None and ms < opens_ms:
            verdicts.append(Verdict(place, "too_early", f"An instant from the programme's opening, {rfc3339(opens_ms)}, is expected"))
    if started is not None and ended is not None and rules.longest_interval_seconds < ended - started <= LONGEST_S:
        verdicts.append(Verdict("/data/ended_at", "too_long", f"An interval of at most {rules.longest_interval_seconds} s is expected"))
    course, activity = sound.get("/data/course_id"), sound.get("/data/activity_id")
    if course is not None and course not in rules.courses:
        verdicts.append(Verdict("/data/course_id", "unknown_course", "A course of the programme is expected"))
    if activity is not None and activity not in rules.activities:
        verdicts.append(Verdict("/data/activity_id", "unknown_activity", "An activity of the programme is expected"))
    return verdicts


def _may(sound: dict[str, Any], rights: Allowed) -> list[Verdict]:
    verdicts = []
    source, programme = sound.get("/source"), sound.get("/programme")
    if source is not None and not rights.may_source(source):
        verdicts.append(Verdict("/source", "not_allowed", "This token may not write as this source"))
    if programme is not None and not rights.may_programme(programme):
        verdicts.append(Verdict("/programme", "not_allowed", "This token may not write into this programme"))
    if sound.get("/type") in DIRECTORY_TYPES and not rights.directory:
        verdicts.append(Verdict("/type", "not_allowed", "This token may not write the directory"))
    return verdicts


def stamped(text: str, ingested_at_ms: int) -> bytes:
    """A sound item's text as it goes into the log: as received, with `ingested_at` before its last brace."""
    return f'{text[: text.rindex("}")]},"ingested_at":"{rfc3339(ingested_at_ms)}"}}'.encode()
