# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True, annotation_typing=False
"""Rows of `store.incoming` as columns in ClickHouse's native form, written by compiled code out of the records themselves."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from schemas.quick_reader cimport Form, Sound, Span, read_sound

from services.shared.packed import Packed

cdef extern from "Python.h":
    const char* ascii_data "PyUnicode_1BYTE_DATA"(object text)
    Py_ssize_t length "PyUnicode_GET_LENGTH"(object text)

cdef enum:
    PROGRAMME, LEARNER, SOURCE, EVENT, TYPE, COURSE, CLASS, TIME, OWN, INGESTED, DATA, CONTENT, PARTITION, OFFSET, COUNT

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


_TYPES = (*["String"] * 7, *["Int64"] * 3, "String", "String", "UInt16", "UInt64")


def pack(records, partition: int, place) -> tuple[Packed, list]:
    """Those of a partition's records that can be read quickly, and the others. `place(key)` says which learner a key is, or None."""
    cdef _Columns columns = _Columns(partition)
    cdef Sound sound
    cdef dict learners = {}
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
            columns.add(sound, record.offset)
    return columns.packed(), left


cdef class _Columns:
    cdef Growing[COUNT] columns
    cdef unsigned short partition
    cdef int count

    def __init__(self, partition: int) -> None:
        self.partition = partition

    def __dealloc__(self) -> None:
        cdef int n
        for n in range(COUNT):
            free(self.columns[n].at)

    cdef int add(self, Sound sound, unsigned long long offset) except -1:
        cdef Form form = sound.form
        cdef long long own = sound.time_ms if form.own < 0 else sound.numbers[form.own] * (1000 if form.is_study else 1)
        cdef Span none = Span(NULL, 0)
        _put_str(&self.columns[PROGRAMME], sound.programme)
        _put_str(&self.columns[LEARNER], sound.subject)
        _put_str(&self.columns[SOURCE], sound.source)
        _put_span(&self.columns[EVENT], sound.id_span)
        _put_span(&self.columns[TYPE], form.type_span)
        _put_field(&self.columns[COURSE], sound, form.course)
        _put_field(&self.columns[CLASS], sound, form.klass)
        memcpy(_more(&self.columns[TIME], 8), &sound.time_ms, 8)
        memcpy(_more(&self.columns[OWN], 8), &own, 8)
        memcpy(_more(&self.columns[INGESTED], 8), &sound.ingested_ms, 8)
        _put_span(&self.columns[DATA], sound.data_span)
        _put_span(&self.columns[CONTENT], sound.written())
        memcpy(_more(&self.columns[PARTITION], 2), &self.partition, 2)
        memcpy(_more(&self.columns[OFFSET], 8), &offset, 8)
        self.count += 1
        return 0

    cdef object packed(self):
        cdef int n
        return Packed(self.count, _TYPES, [PyBytes_FromStringAndSize(self.columns[n].at, self.columns[n].size) for n in range(COUNT)])


cdef inline int _put_field(Growing* column, Sound sound, int n) except -1:
    """A text of the data, empty where it has none."""
    if n < 0 or sound.spans[n].at == NULL or sound.spans[n].size < 0:
        return _put(column, b"", 0)
    return _put_span(column, sound.spans[n])
