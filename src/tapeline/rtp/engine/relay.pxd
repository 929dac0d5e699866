cimport cython
from tapeline.rtp.engine.buses cimport ahead, unheard
from tapeline.rtp.engine.coding cimport samples_of
from tapeline.rtp.engine.outbound cimport encode, transmit
from tapeline.rtp.engine.samples cimport carry, gather, saturate, zero
from tapeline.rtp.engine.structs cimport CALM, CATCH_UP, SILENT, Header, Leg, Shard, moment, ms, position
from tapeline.rtp.engine.wire cimport build, get16, put16

cdef int fits(Leg* leg, Leg* other) noexcept nogil
@cython.locals(other="Leg*", kind=cython.int, n=cython.int, place=cython.longlong)
cdef void forward(Shard* shard, Leg* leg, const unsigned char* buf, long long sequence, long long stamp, long long at) noexcept nogil
@cython.locals(expected=cython.longlong, wrong=cython.longlong)
cdef long long outgoing_stamp(Leg* leg, Leg* other, long long sequence, long long stamp, long long at) noexcept nogil
cdef long long lag(Shard* shard, Leg* leg, Leg* other) noexcept nogil
@cython.locals(cursor=cython.longlong, gap=cython.longlong, n=cython.int)
cdef int begin_relay(Shard* shard, Leg* leg, Leg* other, long long sequence, long long stamp) noexcept nogil
@cython.locals(header="Header*", next_sequence=cython.longlong, overtaken=cython.int)
cdef void send_on(Shard* shard, Leg* leg, Leg* other, const unsigned char* buf, int kind, long long sequence, long long stamp, int span, long long at) noexcept nogil
@cython.locals(header="Header*", place=cython.longlong, span=cython.longlong)
cdef void forward_event(Shard* shard, Leg* leg, Leg* other, const unsigned char* buf, long long sequence, long long stamp, long long at) noexcept nogil
@cython.locals(missed=cython.longlong)
cdef void end_relay(Shard* shard, Leg* other, long long now) noexcept nogil
@cython.locals(talker="Leg*")
cdef void watch_relay(Shard* shard, Leg* leg, long long when) noexcept nogil
