# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True, annotation_typing=False
"""Rows of `store.incoming` and `store.days` as columns in ClickHouse's native form, written by compiled code out of the records
themselves: what there is most of in the log. Whatever is unusual is left to the long way."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy

from schemas.quick_reader cimport Form, Place, Sound, Span, days_since_1970, read_sound

from services.shared.packed import Packed

cdef extern from "Python.h":
    const char* ascii_data "PyUnicode_1BYTE_DATA"(object text)
    Py_ssize_t length "PyUnicode_GET_LENGTH"(object text)

cdef enum:
    PROGRAMME, LEARNER, SOURCE, EVENT, TYPE, COURSE, CLASS, TIME, OWN, INGESTED, DATA, CONTENT, PARTITION, OFFSET, COUNT

cdef enum:
    OF_PROGRAMME, OF_LEARNER, DAY, SECONDS, ACTIVE, OF_PARTITION, OF_OFFSET, VERSION, DELETED

cdef struct Growing:
    char* at
    Py_ssize_t size, room


cdef inline char* _more(Growing* column, Py_ssize_t size) except NULL:
    """Where `size` bytes may be written."""
    cdef char* at
    if column.size + size > column.room:
        at = <char*>realloc(column.at, 2 * (column.size + size))
        if at == NULL:
            raise MemoryError
        column.at, column.room = at, 2 * (column.size + size)
    at = column.at + column.size
    column.size += size
    return at


cdef inline int _put(Growing* column, const char* text, Py_ssize_t size) except -1:
    """A String: its length in groups of seven bits, the lowest first, and its bytes."""
    cdef char* to
    if size < 128:
        to = _more(column, 1 + size)
        to[0] = <char>size
        memcpy(to + 1, text, size)
    else:  # below 2^14: a record that is read quickly is shorter
        to = _more(column, 2 + size)
        to[0], to[1] = <char>(size & 127 | 128), <char>(size >> 7)
        memcpy(to + 2, text, size)
    return 0


cdef inline int _put_str(Growing* column, object text) except -1:
    return _put(column, ascii_data(text), length(text))


cdef inline int _put_span(Growing* column, Span text) except -1:
    return _put(column, <const char*>text.at, text.size)


cdef inline int _put_number(Growing* column, unsigned long long number, int size) except -1:
    """An integer, little-endian as the machines that this is compiled for: the lowest bytes come first."""
    memcpy(_more(column, size), &number, size)
    return 0


cdef class _Columns:
    cdef Growing[COUNT] columns
    cdef tuple types
    cdef int count

    def __init__(self, types: tuple[str, ...]) -> None:
        self.types = types

    def __dealloc__(self) -> None:
        cdef int n
        for n in range(COUNT):
            free(self.columns[n].at)

    cdef object packed(self):
        cdef int n
        written = [PyBytes_FromStringAndSize(self.columns[n].at, self.columns[n].size) for n in range(len(self.types))]
        return Packed(self.count, self.types, written)


# -- store.incoming ---------------------------------------------------------------------------------------------------------

_INCOMING = (*["String"] * 7, *["Int64"] * 3, "String", "String", "UInt16", "UInt64")


def pack(records, partition: int, place) -> tuple[Packed, list]:
    """Those of a partition's records that can be read quickly, and the others. `place(key)` says which learner a key is, or None."""
    cdef _Columns columns = _Columns(_INCOMING)
    cdef Sound sound
    cdef dict learners = {}
    cdef int at = partition
    left = []
    for record in records:
        key = record.key
        learner = learners.get(key)
        if learner is None:
            learner = learners[key] = place(key)
        sound = read_sound(record.value, learner, record.timestamp)
        if sound is None:
            left.append(record)
        else:
            _add_event(columns, sound, at, record.offset)
    return columns.packed(), left


cdef int _add_event(_Columns to, Sound sound, int partition, unsigned long long offset) except -1:
    cdef Form form = sound.form
    _put_str(&to.columns[PROGRAMME], sound.programme)
    _put_str(&to.columns[LEARNER], sound.subject)
    _put_str(&to.columns[SOURCE], sound.source)
    _put_span(&to.columns[EVENT], sound.id_span)
    _put_span(&to.columns[TYPE], form.type_span)
    _put_field(&to.columns[COURSE], sound, form.course)
    _put_field(&to.columns[CLASS], sound, form.klass)
    _put_number(&to.columns[TIME], sound.time_ms, 8)
    _put_number(&to.columns[OWN], sound.time_ms if form.own < 0 else sound.numbers[form.own] * (1000 if form.is_study else 1), 8)
    _put_number(&to.columns[INGESTED], sound.ingested_ms, 8)
    _put_span(&to.columns[DATA], sound.data_span)
    _put_span(&to.columns[CONTENT], sound.written())
    _put_number(&to.columns[PARTITION], partition, 2)
    _put_number(&to.columns[OFFSET], offset, 8)
    to.count += 1
    return 0


cdef inline int _put_field(Growing* column, Sound sound, int n) except -1:
    """A text of the data, empty where it has none."""
    if n < 0 or sound.spans[n].at == NULL or sound.spans[n].size < 0:
        return _put(column, b"", 0)
    return _put_span(column, sound.spans[n])


# -- store.days -------------------------------------------------------------------------------------------------------------

_DAYS = ("String", "String", "Date", "UInt32", "UInt8", "UInt16", "UInt64", "UInt128", "UInt8")
DEF LAST_DAY = 65_535  # of a Date, since 1970


def pack_days(records, partition: int) -> tuple[Packed, list]:
    """Those of a partition's records of `learning.days` that are as scoring writes them, and the others, tombstones among them."""
    cdef _Columns columns = _Columns(_DAYS)
    cdef int at = partition
    left = []
    for record in records:
        if not _add_day(columns, record.value, at, record.offset):
            left.append(record)
    return columns.packed(), left


cdef bint _add_day(_Columns to, object value, int partition, unsigned long long offset) except -1:
    """False: it is not in the form, to the letter, in which `progress.encode` writes one."""
    cdef Place at, end, yes
    cdef Span programme, learner, day, updated
    cdef long long seconds, epoch, applied, tick
    cdef int days
    if not PyBytes_CheckExact(value):
        return False
    at = <Place>PyBytes_AS_STRING(value)
    end = at + PyBytes_GET_SIZE(value)
    at = _behind(_name(_behind(at, end, b'{"programme":"', 14), end, &programme), end, b'","learner_id":"', 16)
    at = _behind(_name(at, end, &learner), end, b'","day":"', 9)
    at = _behind(_name(at, end, &day), end, b'","credited_seconds":', 21)
    at = _behind(_number(at, end, &seconds), end, b',"active":', 10)
    yes = _behind(at, end, b"true", 4)
    at = _behind(yes if yes != NULL else _behind(at, end, b"false", 5), end, b',"version":[', 12)
    at = _behind(_number(at, end, &epoch), end, b",", 1)
    at = _behind(_number(at, end, &applied), end, b",", 1)
    at = _behind(_number(at, end, &tick), end, b'],"updated_at":"', 16)
    at = _behind(_name(at, end, &updated), end, b'"}', 2)
    if at != end or programme.size > 64 or learner.size > 64 or day.size != 10 or seconds > 0xFFFFFFFF or epoch > 0xFFFFFFFF:
        return False
    days = days_since_1970(day.at)
    if not 0 <= days <= LAST_DAY or (applied | tick) >> 48:
        return False
    _put_span(&to.columns[OF_PROGRAMME], programme)
    _put_span(&to.columns[OF_LEARNER], learner)
    _put_number(&to.columns[DAY], days, 2)
    _put_number(&to.columns[SECONDS], seconds, 4)
    _put_number(&to.columns[ACTIVE], yes != NULL, 1)
    _put_number(&to.columns[OF_PARTITION], partition, 2)
    _put_number(&to.columns[OF_OFFSET], offset, 8)
    _put_number(&to.columns[VERSION], applied << 48 | tick, 8)  # as `rows.packed`; what is shifted out is in the other half
    _put_number(&to.columns[VERSION], epoch << 32 | applied >> 16, 8)
    _put_number(&to.columns[DELETED], 0, 1)
    to.count += 1
    return True


cdef inline Place _behind(Place at, Place end, const char* text, Py_ssize_t size) noexcept nogil:
    return at + size if at != NULL and end - at >= size and memcmp(at, text, size) == 0 else NULL


cdef inline Place _name(Place at, Place end, Span* found) noexcept nogil:
    """Behind printable ASCII without escapes, before its quotation mark."""
    found.at = at
    while at != NULL and at < end and 32 <= at[0] < 127 and at[0] != c'"' and at[0] != c"\\":
        at += 1
    found.size = at - found.at
    return at


cdef inline Place _number(Place at, Place end, long long* found) noexcept nogil:
    """Behind a whole number of at most 18 digits as JSON writes it; NULL: there is none."""
    cdef Place start = at
    found[0] = 0
    while at != NULL and at < end and at - start < 18 and c"0" <= at[0] <= c"9":
        found[0] = found[0] * 10 + at[0] - c"0"
        at += 1
    return NULL if at == start or (start[0] == c"0" and at - start > 1) else at
