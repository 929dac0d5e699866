cimport cython
from tapeline.rtp.engine.structs cimport Header, Report

cdef int get16(const unsigned char* buf, int at) noexcept nogil
@cython.locals(high=cython.longlong, low=cython.longlong)
cdef long long get32(const unsigned char* buf, int at) noexcept nogil
cdef void put16(unsigned char* buf, int at, long long value) noexcept nogil
cdef void put32(unsigned char* buf, int at, long long value) noexcept nogil
@cython.locals(offset=cython.int, end=cython.int, padding=cython.int)
cdef int parse(Header* header, const unsigned char* buf, int n) noexcept nogil
cdef void build(unsigned char* buf, int marker, int payload_type, long long sequence, long long timestamp, long long ssrc) noexcept nogil
@cython.locals(at=cython.int, parts=cython.int, kind=cython.int, count=cython.int, size=cython.int, body=cython.int, padding=cython.int)
cdef int parse_reports(Report* report, const unsigned char* buf, int n) noexcept nogil
@cython.locals(blocks=cython.int, i=cython.int)
cdef int parse_part(Report* report, const unsigned char* buf, int at, int kind, int count, int size) noexcept nogil
@cython.locals(lost=cython.longlong)
cdef void read_block(Report* report, const unsigned char* buf, int at) noexcept nogil
@cython.locals(text=cython.int)
cdef int reason_fits(const unsigned char* buf, int at, int count, int size) noexcept nogil
@cython.locals(start=cython.int, _=cython.int)
cdef int parse_description(Report* report, const unsigned char* buf, int at, int end, int count) noexcept nogil
@cython.locals(at=cython.int, i=cython.int, digit=cython.int)
cdef int build_reports(unsigned char* buf, Report* report, long long source, int heard, unsigned long long name) noexcept nogil
