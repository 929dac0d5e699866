cimport cython
from tapeline.rtp.engine.outbound cimport send_encoded
from tapeline.rtp.engine.lines cimport drop_task, first_task
from tapeline.rtp.engine.structs cimport DECODE, G722, OPUS, Bus, Leg, Shard, Task
from tapeline.rtp.engine.system cimport call_coder, wait
from tapeline.rtp.engine.timing cimport land

@cython.locals(task="Task*", leg="Leg*")
cdef void take_coded(Shard* shard, long long when) noexcept nogil
@cython.locals(_=cython.int, count=cython.int, i=cython.int)
cdef void finish_coding(Shard* shard) noexcept nogil
@cython.locals(bus="Bus*", other="Leg*")
cdef int is_wanted(Leg* leg) noexcept nogil
@cython.locals(kind=cython.int, count=cython.int, span=cython.int)
cdef int samples_of(Leg* leg, const unsigned char* buf, int offset, int size) noexcept nogil
