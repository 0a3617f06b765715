# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True, annotation_typing=False
"""The quick way for records as platforms write them: compiled code that judges a record while it walks over its bytes.

It takes study, the log's bulk, and the types whose data is nothing but ids, words of a list, short texts, scores and instants. `read_sound`
answers only where the long way (`reading.read_record`) would answer the very same event; whatever is unusual, let alone wrong, it leaves to
that: an attribute or field that it does not know, a twin of one, an attribute that is null, an escape in a text (but for `\/` in the source),
a byte beyond printable ASCII. So it judges nothing by itself: tests feed both with the same records.

`make setup` compiles this file with Cython (`deploy/reader.py`); `quick.py` imports it, and other compiled code what `quick_reader.pxd` shares.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.string cimport memcmp, memcpy, memset

from types import NoneType
from typing import Literal, get_args, get_origin, get_type_hints

from schemas.activity import LEARNER_TYPES, LONGEST_S, STUDY, WorkPublished
from schemas.envelope import AHEAD_MS, GOOD_SOURCES, Fingerprint, Id, Instant, Score, WholeSecond
from schemas.instants import END_MS
from schemas.versions import UPCASTS

cdef extern from "Python.h":
    const unsigned char* ascii_data "PyUnicode_1BYTE_DATA"(object text)
    Py_ssize_t length "PyUnicode_GET_LENGTH"(object text)
    bint is_ascii "PyUnicode_IS_ASCII"(object text)

cdef enum:  # what an envelope may have, in the order of `_attributes`
    SPECVERSION, ID, SOURCE, TYPE, SUBJECT, TIME, PROGRAMME, INGESTED_AT, DATACONTENTTYPE, DATA, ATTRIBUTES

cdef enum:  # of a field of `data`; WHOLE: an instant cut to seconds
    IS_ID, IS_WORD, IS_TEXT, IS_SCORE, IS_INSTANT, IS_WHOLE

cdef enum:  # of a character: it may stand in a text as it is; in an identifier
    PLAIN = 1
    OF_ID = 2

DEF MOST_BYTES = 4096  # of a record with its content
DEF SLOTS = 4096
DEF NO_DAY = -1_000_000  # before the year 1

cdef long long _ahead = AHEAD_MS, _longest = LONGEST_S, _end = END_MS
cdef unsigned char[256] _kinds
cdef int[12] _month_days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
cdef list _texts = []  # that spans point into


cdef Span _span(str text):
    """Of a text that stays."""
    kept = text.encode()
    _texts.append(kept)
    return Span(<Place>PyBytes_AS_STRING(kept), PyBytes_GET_SIZE(kept))


# -- forms ----------------------------------------------------------------------------------------------------------------


cdef class Form:
    """A type whose data is judged here; its fields by name, which is their order in the canonical content."""

    def __init__(self, name: str, model: type, fields: list[tuple[str, int, bool, list[str]]]) -> None:
        self.type, self.model, self.type_span = name, model, _span(name)
        self.names, self.words, self.count = [one[0] for one in fields], [one[3] for one in fields], len(fields)
        for n, (field, kind, is_optional, _) in enumerate(fields):
            self.spans[n], self.kinds[n], self.optional[n] = _span(field), kind, is_optional
        self.course, self.klass, self.started = self._place("course_id"), self._place("class_id"), self._place("started_at")
        self.own = max(self._place("ended_at"), self._place("sat_at"))
        self.is_study = name == STUDY

    def _place(self, field: str) -> int:
        return self.names.index(field) if field in self.names else -1


_KINDS = {Id: IS_ID, Fingerprint: IS_TEXT, Score: IS_SCORE, Instant: IS_INSTANT, WholeSecond: IS_WHOLE}


def _form(name: str, model: type) -> Form | None:
    """None where a field is anything else, or optional without being a text."""
    fields = []
    hints = get_type_hints(model, include_extras=True)
    for field in sorted(model.model_fields):
        options = [one for one in (get_args(hints[field]) if NoneType in get_args(hints[field]) else (hints[field],)) if one is not NoneType]
        is_word, is_optional = get_origin(options[0]) is Literal, not model.model_fields[field].is_required()
        kind = IS_WORD if is_word else _KINDS.get(options[0])
        if len(options) != 1 or kind is None or (is_optional and kind not in (IS_ID, IS_WORD, IS_TEXT)):
            return None
        fields.append((field, kind, is_optional, list(get_args(options[0])) if is_word else []))
    return Form(name, model, fields) if len(fields) <= MOST_FIELDS else None


cdef list _forms = []
for _name, _model in sorted(LEARNER_TYPES.items(), key=lambda item: item[0] != STUDY):  # the bulk is looked for first
    if _model is not WorkPublished and _name not in UPCASTS:  # works have a rule across fields
        _found = _form(_name, _model)
        if _found is not None:
            _forms.append(_found)
TYPES = frozenset([form.type for form in _forms])
"""The types that are judged here."""

cdef Span[ATTRIBUTES] _attributes
for _n, _name in enumerate(
    ["specversion", "id", "source", "type", "subject", "time", "programme", "ingested_at", "datacontenttype", "data"]
):
    _attributes[<int>_n] = _span(_name)
for _n in range(128):
    _kinds[<int>_n] = (PLAIN if 32 <= _n < 127 and chr(_n) not in '"\\' else 0) | (OF_ID if chr(_n).isalnum() or chr(_n) in "._-" else 0)
cdef Span _version = _span("1.0"), _content_type = _span("application/json")


# -- JSON -----------------------------------------------------------------------------------------------------------------


cdef inline bint _same(Span one, Span other) noexcept nogil:
    return one.size == other.size and memcmp(one.at, other.at, one.size) == 0


cdef inline Place _blanks(Place at, Place end) noexcept nogil:
    while at < end and (at[0] == c' ' or at[0] == c'\n' or at[0] == c'\t' or at[0] == c'\r'):
        at += 1
    return at


cdef inline Place _text(Place at, Place end, bint slashes, Span* found) noexcept nogil:
    """Behind a text of plain characters; NULL: there is none. `slashes`: each may have a backslash before it, as PHP writes them."""
    if at >= end or at[0] != c'"':
        return NULL
    at += 1
    found.at = at
    while at < end and (_kinds[at[0]] & PLAIN or (slashes and at[0] == c'\\' and end - at > 1 and at[1] == c'/')):
        at += 1
    if at >= end or at[0] != c'"':
        return NULL
    found.size = at - found.at
    return at + 1


cdef Place _flat(Place at, Place end, Span* found) noexcept nogil:
    """Behind an object without objects or lists in it; NULL: there is none. What is in it is not judged yet."""
    cdef Span skipped
    if at >= end or at[0] != c'{':
        return NULL
    found.at = at
    at += 1
    while at < end:
        if at[0] == c'"':
            at = _text(at, end, False, &skipped)
            if at == NULL:
                return NULL
        elif at[0] == c'}':
            found.size = at + 1 - found.at
            return at + 1
        elif at[0] == c'{' or at[0] == c'[':
            return NULL
        else:
            at += 1
    return NULL


cdef inline Place _value(Place at, Place end, Span* found) noexcept nogil:
    """Behind a text, a number as it is written, or null; NULL: it is something else."""
    if at < end and at[0] == c'"':
        return _text(at, end, False, found)
    if end - at > 4 and memcmp(at, <const char*>b"null", 4) == 0:
        found.at, found.size = at, -1
        return at + 4
    found.at = at
    while at < end and (c'0' <= at[0] <= c'9' or at[0] == c'.'):
        at += 1
    found.size = at - found.at
    return at if found.size else NULL


cdef Place _members(Place at, Place end, const Span* names, int count, bint is_envelope, Span* found) noexcept nogil:
    """Behind an object whose members are among `names`, each at most once; NULL: it is anything else."""
    cdef Span name
    cdef int n, which = -1
    if at >= end or at[0] != c'{':
        return NULL
    at = _blanks(at + 1, end)
    if at < end and at[0] == c'}':
        return at + 1
    while True:
        at = _text(at, end, False, &name)
        if at == NULL:
            return NULL
        for n in range(count):  # most come in our order, or nearly
            which = which + 1 if which + 1 < count else 0
            if _same(names[which], name):
                break
        else:
            return NULL
        at = _blanks(at, end)
        if found[which].at != NULL or at >= end or at[0] != c':':
            return NULL
        at = _blanks(at + 1, end)
        if not is_envelope:
            at = _value(at, end, &found[which])
        elif which == DATA:
            at = _flat(at, end, &found[which])
        else:
            at = _text(at, end, which == SOURCE, &found[which])
        if at == NULL:
            return NULL
        at = _blanks(at, end)
        if at >= end:
            return NULL
        if at[0] == c'}':
            return at + 1
        if at[0] != c',':
            return NULL
        at = _blanks(at + 1, end)


# -- values ---------------------------------------------------------------------------------------------------------------


cdef inline bint _is_text(Span found) noexcept nogil:
    """Whether a value was a text: no number and no null stands behind a quotation mark."""
    return found.size >= 0 and (found.at - 1)[0] == c'"'


cdef inline bint _is_id(Span found) noexcept nogil:
    cdef Py_ssize_t n
    if not 1 <= found.size <= 64:
        return False
    for n in range(found.size):
        if not _kinds[found.at[n]] & OF_ID:
            return False
    return True


cdef inline int _digits(Place at, int count) noexcept nogil:
    """A number of `count` digits, -1 where one is none."""
    cdef int n, number = 0
    for n in range(count):
        if not c'0' <= at[n] <= c'9':
            return -1
        number = number * 10 + at[n] - c'0'
    return number


cdef int days_since_1970(Place at) noexcept nogil:
    """Of the ten characters of a date; NO_DAY where they are none, and in the year 0000."""
    cdef int year, month, day, before, in_year
    if at[4] != c'-' or at[7] != c'-':
        return NO_DAY
    year, month, day = _digits(at, 4), _digits(at + 5, 2), _digits(at + 8, 2)
    if year < 1 or not 1 <= month <= 12 or day < 1:
        return NO_DAY
    if day > _month_days[month - 1] + (month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
        return NO_DAY
    before = year - (month <= 2)
    in_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return before * 365 + before // 4 - before // 100 + before // 400 + in_year - 719_468


cdef long long _instant(Span text) noexcept nogil:
    """As `instants.parse_instant`, in ms; -1 where that refuses, and in the year 0000."""
    cdef Place at = text.at, end = text.at + text.size
    cdef int days, hour, minute, second, digits = 0, thousandths = 0, offset
    cdef long long seconds, ms
    if text.size < 20 or (at[10] | 32) != c't' or at[13] != c':' or at[16] != c':':
        return -1
    days = days_since_1970(at)
    hour, minute, second = _digits(at + 11, 2), _digits(at + 14, 2), _digits(at + 17, 2)
    if days == NO_DAY or not 0 <= hour < 24 or not 0 <= minute < 60 or not 0 <= second < 60:
        return -1
    seconds = <long long>days * 86_400 + hour * 3600 + minute * 60 + second
    at += 19
    if at[0] == c'.':
        at += 1
        while at < end and c'0' <= at[0] <= c'9':
            if digits < 3:
                thousandths = thousandths * 10 + at[0] - c'0'
            digits += 1
            at += 1
        if not 1 <= digits <= 9:
            return -1
        while digits < 3:
            thousandths *= 10
            digits += 1
    if end - at == 6 and (at[0] == c'+' or at[0] == c'-') and at[3] == c':':
        hour, minute = _digits(at + 1, 2), _digits(at + 4, 2)
        if not 0 <= hour < 24 or not 0 <= minute < 60:
            return -1
        offset = hour * 3600 + minute * 60
        seconds += offset if at[0] == c'-' else -offset
    elif end - at != 1 or (at[0] | 32) != c'z':
        return -1
    ms = seconds * 1000 + thousandths
    return ms if 0 <= ms < _end else -1


cdef int _score(Span text) noexcept nogil:
    """Of 1/10000, where it is written as the canonical content writes it; else -1."""
    cdef int n, value = 0
    if text.size == 1:
        return 0 if text.at[0] == c'0' else 10_000 if text.at[0] == c'1' else -1
    if not 3 <= text.size <= 6 or text.at[0] != c'0' or text.at[1] != c'.' or text.at[text.size - 1] == c'0':
        return -1
    for n in range(2, 6):
        value *= 10
        if n < text.size:
            if not c'0' <= text.at[n] <= c'9':
                return -1
            value += text.at[n] - c'0'
    return value


# -- texts that come again ------------------------------------------------------------------------------------------------

cdef list _known_ids = [""] * SLOTS
cdef list _known_sources = [(b"", "")] * SLOTS


cdef inline unsigned int _slot(Span text) noexcept nogil:
    cdef unsigned int hashed = 2166136261
    cdef Py_ssize_t n
    for n in range(text.size):
        hashed = (hashed ^ text.at[n]) * 16777619
    return (hashed ^ hashed >> 15) % SLOTS


cdef inline bint _equal(object known, Span text) noexcept:
    return length(known) == text.size and memcmp(ascii_data(known), text.at, text.size) == 0


cdef inline str _str(Span text):
    return PyUnicode_DecodeASCII(<const char*>text.at, text.size, NULL)


cdef str _id(Span text):
    """A sound identifier: one object for nearly all its appearances, so that whoever counts by it need not compare letters."""
    cdef unsigned int slot = _slot(text)
    known = _known_ids[slot]
    if _equal(known, text):
        return known
    found = _known_ids[slot] = _str(text)
    return found


cdef str _source(Span text):
    """None: it is not known to be a good one."""
    cdef unsigned int slot = _slot(text)
    cdef tuple known = _known_sources[slot]
    cdef bytes written = known[0]
    if text.size and text.size == PyBytes_GET_SIZE(written) and memcmp(text.at, PyBytes_AS_STRING(written), text.size) == 0:
        return known[1]
    written = text.at[: text.size]
    found = written.decode("ascii").replace("\\/", "/")
    if found not in GOOD_SOURCES:
        return None
    _known_sources[slot] = (written, found)
    return found


# -- content --------------------------------------------------------------------------------------------------------------

cdef unsigned char[MOST_BYTES] _buffer


cdef inline unsigned char* _put(unsigned char* to, const char* text, Py_ssize_t size) noexcept nogil:
    memcpy(to, text, size)
    return to + size


cdef inline unsigned char* _put_number(unsigned char* to, int number, int digits) noexcept nogil:
    cdef int n
    for n in range(digits):
        to[digits - 1 - n] = <unsigned char>(c'0' + number % 10)
        number = number // 10
    return to + digits


cdef unsigned char* _put_instant(unsigned char* to, long long ms) noexcept nogil:
    """As `instants.rfc3339`."""
    cdef long long days = ms // 86_400_000 + 719_468
    cdef int rest = <int>(ms % 86_400_000), era_day, era_year, year_day, month
    era_day = <int>(days % 146_097)
    era_year = (era_day - era_day // 1460 + era_day // 36_524 - era_day // 146_096) // 365
    year_day = era_day - (365 * era_year + era_year // 4 - era_year // 100)
    month = (5 * year_day + 2) // 153  # counted from March
    to = _put_number(to, <int>(days // 146_097) * 400 + era_year + (month >= 10), 4)
    to[0] = c'-'
    to = _put_number(to + 1, month + 3 if month < 10 else month - 9, 2)
    to[0] = c'-'
    to = _put_number(to + 1, year_day - (153 * month + 2) // 5 + 1, 2)
    to[0] = c'T'
    to = _put_number(to + 1, rest // 3_600_000, 2)
    to[0] = c':'
    to = _put_number(to + 1, rest // 60_000 % 60, 2)
    to[0] = c':'
    to = _put_number(to + 1, rest // 1000 % 60, 2)
    to[0] = c'.'
    to = _put_number(to + 1, rest % 1000, 3)
    to[0] = c'Z'
    return to + 1


# -- records --------------------------------------------------------------------------------------------------------------


@cython.no_gc  # nothing that it refers to can refer to it
@cython.freelist(16)
cdef class Sound:
    """A sound record of a learner. Instants are ms since 1970 UTC; `interval` is that of study, (start, course, end) in whole seconds, else
    None; texts that were not needed to judge it are made when they are asked for."""

    @property
    def type(self) -> str:
        return self.form.type

    @property
    def model(self) -> type:
        """Of its data."""
        return self.form.model

    @property
    def id(self) -> str:
        return _str(self.id_span)

    cdef object field(self, int n):
        cdef int kind = self.form.kinds[n]
        if self.spans[n].at == NULL or self.spans[n].size < 0:
            return None
        if kind == IS_ID:
            return _id(self.spans[n])
        if kind == IS_WORD:
            return self.form.words[n][self.numbers[n]]
        return _str(self.spans[n]) if kind == IS_TEXT else self.numbers[n]

    def fields(self) -> dict[str, object]:
        """Those of its data as the long way reads them, None where they are absent."""
        cdef int n
        return {self.form.names[n]: self.field(n) for n in range(self.form.count)}

    cdef Span written(self) noexcept:
        """Its content, as `reading.content`; good until the next is asked for."""
        cdef unsigned char* to = _put(_buffer, b'{"data":{', 9)
        cdef Form form = self.form
        cdef Span found
        cdef int n, kind
        cdef bint is_first = True
        for n in range(form.count):
            found, kind = self.spans[n], form.kinds[n]
            if found.at == NULL or found.size < 0:
                continue
            to = _put(to, b',"', 2) if not is_first else _put(to, b'"', 1)
            is_first = False
            to = _put(_put(to, <const char*>form.spans[n].at, form.spans[n].size), b'":"', 2 if kind == IS_SCORE else 3)
            if kind == IS_INSTANT or kind == IS_WHOLE:
                to = _put_instant(to, self.numbers[n] * (1000 if kind == IS_WHOLE else 1))
            else:
                to = _put(to, <const char*>found.at, found.size)
            if kind != IS_SCORE:
                to = _put(to, b'"', 1)
        to = _put(to, b'},"programme":"', 15)
        to = _put(to, <const char*>ascii_data(self.programme), length(self.programme))
        to = _put(to, b'","subject":"', 13)
        to = _put(to, <const char*>ascii_data(self.subject), length(self.subject))
        to = _put_instant(_put(to, b'","time":"', 10), self.time_ms)
        to = _put(_put(to, b'","type":"', 10), <const char*>form.type_span.at, form.type_span.size)
        to = _put(to, b'"}', 2)
        return Span(<Place>_buffer, to - _buffer)


cdef bint _judge(Form form, Sound sound, long long limit):
    """Whether every field is what its kind has to be; keeps the numbers that they are."""
    cdef Span found
    cdef int n, w, kind
    cdef long long number
    for n in range(form.count):
        found, kind = sound.spans[n], form.kinds[n]
        if found.at == NULL or found.size < 0:
            if not form.optional[n]:
                return False
            continue
        if _is_text(found) == (kind == IS_SCORE):
            return False
        number = 0
        if kind == IS_ID:
            if not _is_id(found):
                return False
        elif kind == IS_TEXT:
            if not 1 <= found.size <= 256:
                return False
        elif kind == IS_WORD:
            number = -1
            words = <list>form.words[n]
            for w in range(len(words)):
                if _equal(words[w], found):
                    number = w
                    break
        elif kind == IS_SCORE:
            number = _score(found)
        else:
            number = _instant(found)
            if kind == IS_WHOLE and number >= 0:
                number = number // 1000
            if (number * 1000 if kind == IS_WHOLE else number) > limit:
                return False
        if number < 0:
            return False
        sound.numbers[n] = number
    return True


cpdef Sound read_sound(object value, str subject, long long timestamp_ms):
    """What a record states of a learner; None: ask the long way. `subject`: an identifier, the record's key, None where that is none;
    `timestamp_ms` stands in for `ingested_at`."""
    cdef Span[ATTRIBUTES] found
    cdef Place at, end
    cdef long long time_ms, ingested_ms, first, last
    cdef int n
    cdef Form form, one
    if subject is None or not PyBytes_CheckExact(value) or PyBytes_GET_SIZE(value) > MOST_BYTES - 512 or not is_ascii(subject):
        return None
    memset(found, 0, sizeof(found))
    at = <Place>PyBytes_AS_STRING(value)
    end = at + PyBytes_GET_SIZE(value)
    at = _members(_blanks(at, end), end, _attributes, ATTRIBUTES, True, found)
    if at == NULL or _blanks(at, end) != end:
        return None
    for n in range(ATTRIBUTES):
        if found[n].at == NULL and n != INGESTED_AT and n != DATACONTENTTYPE:
            return None
    if not (_same(found[SPECVERSION], _version) and _equal(subject, found[SUBJECT]) and 1 <= found[ID].size <= 128 and _is_id(found[PROGRAMME])):
        return None
    if found[DATACONTENTTYPE].at != NULL and not _same(found[DATACONTENTTYPE], _content_type):
        return None
    form = None
    for one in _forms:
        if _same(one.type_span, found[TYPE]):
            form = one
            break
    if form is None:
        return None
    time_ms = _instant(found[TIME])
    ingested_ms = timestamp_ms if found[INGESTED_AT].at == NULL else _instant(found[INGESTED_AT])
    if time_ms < 0 or not 0 <= ingested_ms < _end - _ahead or time_ms > ingested_ms + _ahead:
        return None
    sound = <Sound>Sound.__new__(Sound)
    at, end = found[DATA].at, found[DATA].at + found[DATA].size
    if _members(at, end, form.spans, form.count, False, sound.spans) != end or not _judge(form, sound, ingested_ms + _ahead):
        return None
    if form.is_study:
        first, last = sound.numbers[form.started], sound.numbers[form.own]
        if not first < last <= first + _longest:
            return None
        sound.interval = (first, _id(sound.spans[form.course]), last)
    source = _source(found[SOURCE])
    if source is None:
        return None
    sound.form, sound.source, sound.programme, sound.subject = form, source, _id(found[PROGRAMME]), subject
    sound.time_ms, sound.ingested_ms = time_ms, ingested_ms
    sound.value, sound.id_span, sound.data_span = value, found[ID], found[DATA]
    return sound
