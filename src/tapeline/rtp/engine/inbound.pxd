cimport cython
from tapeline.rtp.engine.buses cimport retune
from tapeline.rtp.engine.coding cimport is_wanted, samples_of
from tapeline.rtp.engine.relay cimport forward
from tapeline.rtp.engine.samples cimport clear
from tapeline.rtp.engine.seals cimport open_sealed
from tapeline.rtp.engine.structs cimport (
    DIGIT, L16, LAG, MEDIA_RESUMED, MEDIA_STARTED, OPUS, PACKET, PAUSE, SEEN, SOURCE_CHANGED, Header, Leg, Report, Shard, ms, ntp_seconds, position, push, ring_mask, signed32,
)
from tapeline.rtp.engine.taps cimport hears, write_until
from tapeline.rtp.engine.timing cimport place
from tapeline.rtp.engine.wire cimport get16, get32, parse, parse_reports

@cython.locals(header="Header*", kind=cython.int, sequence=cython.longlong, in_order=cython.int, stamp=cython.longlong)
cdef void receive(Shard* shard, Leg* leg, const unsigned char* buf, int n, long long high, long long low, int port, long long at) noexcept nogil
cdef void note_refused(Leg* leg, int error) noexcept nogil
@cython.locals(offset=cython.int, n=cython.int)
cdef int take_payload(Shard* shard, Leg* leg, const unsigned char* buf, int size, long long stamp, int in_order, long long at) noexcept nogil
cdef void awaken(Shard* shard, Leg* leg, long long at) noexcept nogil
@cython.locals(expected=cython.int, patience=cython.longlong)
cdef int lock_source(Shard* shard, Leg* leg, long long high, long long low, int port, long long at) noexcept nogil
@cython.locals(header="Header*", delta=cython.longlong)
cdef int lock_stream(Shard* shard, Leg* leg, long long at) noexcept nogil
@cython.locals(header="Header*", i=cython.int)
cdef void begin_stream(Shard* shard, Leg* leg, long long at) noexcept nogil
@cython.locals(duration=cython.int)
cdef void take_digit(Shard* shard, Leg* leg, const unsigned char* buf, int offset, int size, long long stamp, long long at) noexcept nogil
cdef void close_digit(Shard* shard, Leg* leg, long long at) noexcept nogil
@cython.locals(report="Report*", trip=cython.longlong)
cdef void receive_reports(Shard* shard, Leg* leg, const unsigned char* buf, int n, long long high, long long low, int port, long long at) noexcept nogil
@cython.locals(wall=cython.longlong, fraction=cython.longlong)
cdef long long ntp_middle(Shard* shard, long long at) noexcept nogil
@cython.locals(rate=cython.int, codec=cython.int, was_both=cython.int)
cdef void configure(Shard* shard, Leg* leg, int i) noexcept nogil
cdef void set_keys(Shard* shard, Leg* leg, int i) noexcept nogil
cdef void set_coder(Shard* shard, Leg* leg, int i) noexcept nogil
@cython.locals(high=cython.longlong, low=cython.longlong, port=cython.int)
cdef void set_addresses(Shard* shard, Leg* leg, int i) noexcept nogil
@cython.locals(i=cython.int)
cdef void change_rate(Shard* shard, Leg* leg, int rate) noexcept nogil
