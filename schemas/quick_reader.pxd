"""What other compiled modules may use of `quick_reader`."""

ctypedef const unsigned char* Place

cdef struct Span:  # of a record: a text without its quotes, a number, an object; `at` NULL: there is none, `size` -1: it is null
    Place at
    Py_ssize_t size

cdef enum:
    MOST_FIELDS = 8


cdef class Form:
    cdef readonly str type
    cdef readonly object model
    cdef list names, words
    cdef Span type_span
    cdef Span[MOST_FIELDS] spans
    cdef int[MOST_FIELDS] kinds, optional
    cdef int count, course, klass, own, started
    cdef bint is_study


cdef class Sound:
    cdef readonly str programme, subject, source
    cdef readonly tuple interval
    cdef readonly long long time_ms, ingested_ms
    cdef Form form
    cdef bytes value  # that the spans point into
    cdef Span id_span, data_span
    cdef Span[MOST_FIELDS] spans
    cdef long long[MOST_FIELDS] numbers

    cdef object field(self, int n)
    cdef Span written(self) noexcept


cpdef Sound read_sound(object value, str subject, long long timestamp_ms)
cdef int days_since_1970(Place at) noexcept nogil
