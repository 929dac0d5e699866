cimport cython
from tapeline.rtp.engine.samples cimport add_mix, gather, shape, zero
from tapeline.rtp.engine.structs cimport ALL, DEAF, OTHERS, OWN, RAMP, STAYS, SUMS, Bus, Leg, Shard, forever, ms, position

cdef void join(Bus* bus, Leg* leg, int hear, int speak, long long at) noexcept nogil
@cython.locals(bus="Bus*", i=cython.int)
cdef void leave(Leg* leg, long long at) noexcept nogil
@cython.locals(i=cython.int)
cdef void ignore(Leg* leg, long long number) noexcept nogil
@cython.locals(i=cython.int, k=cython.int, kept=cython.int)
cdef void forget_gone(Leg* leg) noexcept nogil
@cython.locals(i=cython.int)
cdef int unheard(Leg* leg, long long number) noexcept nogil
@cython.locals(gain=cython.int, i=cython.int)
cdef void retune(Leg* leg, long long at) noexcept nogil
@cython.locals(i=cython.int)
cdef void open_span(Bus* bus, Leg* leg, int gain, long long at) noexcept nogil
@cython.locals(oldest=cython.int, i=cython.int)
cdef void forget_oldest(Bus* bus) noexcept nogil
@cython.locals(last=cython.int)
cdef void forget_span(Bus* bus, int i) noexcept nogil
@cython.locals(k=cython.int)
cdef void forget_stay(Leg* leg, int i) noexcept nogil
cdef int crowded(Leg* leg, Bus* bus) noexcept nogil
@cython.locals(i=cython.int, k=cython.int, bus="Bus*", leg="Leg*")
cdef void forget_past(Shard* shard, long long oldest) noexcept nogil
cdef void close_bus(Bus* bus, long long at) noexcept nogil
cdef void watch_voice(Leg* leg, int threshold, long long hangover_ms) noexcept nogil
cdef void set_live(Leg* leg) noexcept nogil
@cython.locals(pos=cython.longlong, heard=cython.int, i=cython.int, begin=cython.longlong, end=cython.longlong)
cdef int hear_live(Shard* shard, Leg* leg, long long when, int n) noexcept nogil
@cython.locals(i=cython.int, begin=cython.longlong, end=cython.longlong)
cdef void hear_recorded(Shard* shard, Leg* leg, long long pos, int n, int rate) noexcept nogil
@cython.locals(bus="Bus*", ramp=cython.int)
cdef void hear_stay(Shard* shard, Leg* leg, int i, long long pos, int n, int rate, long long when, long long begin, long long end) noexcept nogil
cdef void mix_bus(Shard* shard, int* acc, Leg* leg, Bus* bus, long long pos, int n, int rate, long long when) noexcept nogil
@cython.locals(oldest=cython.int, i=cython.int)
cdef int total(Shard* shard, Bus* bus, long long pos, int n, int rate, long long when) noexcept nogil
@cython.locals(i=cython.int)
cdef void forget_sums(Bus* bus) noexcept nogil
@cython.locals(beyond=cython.int)
cdef int ahead(Shard* shard, int n, int rate) noexcept nogil
@cython.locals(voice="Leg*")
cdef void mix_voice(int* acc, Bus* bus, long long pos, int n, int rate) noexcept nogil
@cython.locals(ramp=cython.int, i=cython.int, leg="Leg*", begin=cython.longlong, end=cython.longlong, at=cython.longlong, beyond=cython.int)
cdef void mix_spans(Shard* shard, int* acc, Bus* bus, Leg* hearer, int which, long long pos, int n, int rate, long long when) noexcept nogil
@cython.locals(i=cython.int)
cdef void note_heard(Bus* bus, long long pos, int rate) noexcept nogil
@cython.locals(place=cython.longlong)
cdef void note_leg(Leg* leg, long long pos, int rate) noexcept nogil
