cimport cython
from tapeline.rtp.engine.buses cimport forget_span, forget_stay, forget_sums, leave
from tapeline.rtp.engine.structs cimport MIX, MOVED, Bus, Leg, Shard, Tap, bus_of, leg_of, push
from tapeline.rtp.engine.system cimport unwatch
from tapeline.rtp.engine.taps cimport forget_source, hurry

@cython.locals(k=cython.int)
cdef void name(Shard* shard, int i) noexcept nogil
@cython.locals(i=cython.int, leg="Leg*")
cdef void depart(Shard* shard) noexcept nogil
@cython.locals(count=cython.int, i=cython.int, k=cython.int, bus="Bus*", leg="Leg*", tap="Tap*")
cdef int tangles(Shard* shard, int loosen) noexcept nogil
@cython.locals(i=cython.int, leg="Leg*")
cdef void take_out_legs(Shard* shard) noexcept nogil
@cython.locals(i=cython.int)
cdef void take_out_others(Shard* shard) noexcept nogil
cdef void tell_departures(Shard* shard) noexcept nogil
