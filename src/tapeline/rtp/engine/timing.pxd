cimport cython
from tapeline.rtp.engine.lines cimport put_task
from tapeline.rtp.engine.samples cimport clear, expand, loudness, move, pick, unpack
from tapeline.rtp.engine.structs cimport AHEAD, CONFIRM, DECODE, EARLY, HUSH, KEPT, L16, LAG, PAUSE, POINTS, SETTLE, SUSPECT, TASKS, Leg, Shard, exact, ms, position, whole

@cython.locals(when=cython.double, behind=cython.double, pos=cython.longlong, limit=cython.longlong, gap=cython.longlong)
cdef void place(Shard* shard, Leg* leg, const unsigned char* buf, int offset, int n, long long stamp, int in_order, long long at) noexcept nogil
@cython.locals(v=cython.int)
cdef void note_placed(Leg* leg, long long pos, int n, long long gap) noexcept nogil
@cython.locals(size=cython.int)
cdef void ask(Shard* shard, Leg* leg, const unsigned char* buf, int offset, int n, long long pos) noexcept nogil
@cython.locals(limit=cython.longlong, skipped=cython.int, gap=cython.longlong)
cdef void land(Shard* shard, Leg* leg, const unsigned char* data, int n, long long pos) noexcept nogil
cdef void anchor(Leg* leg, long long stamp, double when, long long at) noexcept nogil
cdef void settle(Leg* leg, long long pos, long long at) noexcept nogil
@cython.locals(rate_ms=cython.int, drift=cython.double, settled=cython.int, shift=cython.longlong)
cdef double judge(Shard* shard, Leg* leg, long long stamp, double when, double behind, long long at) noexcept nogil
@cython.locals(shift=cython.longlong)
cdef void suspect(Leg* leg, long long stamp, double behind, long long at) noexcept nogil
cdef void back_from_detour(Leg* leg) noexcept nogil
@cython.locals(least=cython.longlong)
cdef void shift_placed(Leg* leg, long long pos, long long delta) noexcept nogil
@cython.locals(offset=cython.double, i=cython.int)
cdef void track(Shard* shard, Leg* leg, long long stamp, double when, long long at) noexcept nogil
cdef void follow(Leg* leg, long long stamp, double ahead) noexcept nogil
@cython.locals(n=cython.int, k=cython.int, i=cython.int, j=cython.int, a=cython.int, b=cython.int, middle=cython.double, slope=cython.double, steepest=cython.double, scatter=cython.double, rise=cython.double, least=cython.double)
cdef void draw_line(Shard* shard, Leg* leg) noexcept nogil
@cython.locals(rise=cython.double)
cdef int above(Leg* leg, int a, int b, int c) noexcept nogil
@cython.locals(most=cython.longlong)
cdef void follow_lateness(Shard* shard, Leg* leg, long long when) noexcept nogil
@cython.locals(wanted=cython.longlong)
cdef void set_delay(Shard* shard, Leg* leg, long long lateness, int slack_ms) noexcept nogil
