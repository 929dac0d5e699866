cimport cython
from tapeline.rtp.engine.buses cimport crowded, forget_past, hear_recorded, mix_spans, mix_voice, note_heard, note_leg
from tapeline.rtp.engine.samples cimport add_mix, gather, saturate, shape, zero
from tapeline.rtp.engine.structs cimport (
    ALL, BLOCK, CHANGES, CUT, HEAR, IN, LAG, LINGER, MIX, OUT, PLAIN, RAMP, STOP_TAP, TAP_ENDED, TAP_PROGRESS, TONE, WRITE,
    Bus, Leg, Shard, Tap, bus_of, forever, leg_of, moment, ms, position, push, push_peaks,
)
from tapeline.rtp.engine.system cimport close_file, cut_file, grow_sources, write_frames

@cython.locals(i=cython.int)
cdef void add_tap(Shard* shard, Tap* tap, long long at) noexcept nogil
@cython.locals(leg="Leg*")
cdef void hold_source(Tap* tap, int i, long long at) noexcept nogil
@cython.locals(channel=cython.int, at=cython.longlong, kind=cython.int, handle=cython.longlong, k=cython.int, same=cython.int)
cdef void hear_channel(Shard* shard, Tap* tap, int i) noexcept nogil
@cython.locals(n=cython.int)
cdef void add_source(Tap* tap, int channel, int kind, long long handle, long long at) noexcept nogil
cdef void change_mask(Shard* shard, Tap* tap, int mode, long long at) noexcept nogil
@cython.locals(span=cython.longlong)
cdef void stop_tap(Tap* tap, long long at) noexcept nogil
cdef int due(Tap* tap, long long now) noexcept nogil
@cython.locals(i=cython.int)
cdef int serve_tap(Shard* shard, Tap* tap, long long now) noexcept nogil
cdef void hurry(Shard* shard, Tap* tap, long long now, long long lag_ns) noexcept nogil
@cython.locals(i=cython.int)
cdef void make_room(Shard* shard, Leg* leg, Bus* bus) noexcept nogil
@cython.locals(at=cython.longlong, n=cython.int, space=cython.int, part=cython.longlong)
cdef void write_until(Shard* shard, Tap* tap, long long pos) noexcept nogil
@cython.locals(i=cython.int)
cdef void next_mode(Tap* tap) noexcept nogil
@cython.locals(channel=cython.int, i=cython.int, peak=cython.int)
cdef void mix_part(Shard* shard, Tap* tap, long long pos, int offset, int n) noexcept nogil
@cython.locals(begin=cython.longlong, end=cython.longlong, ramp=cython.int, leg="Leg*")
cdef void listen(Shard* shard, Tap* tap, int i, long long pos, int n) noexcept nogil
@cython.locals(period=cython.int, half=cython.int, place=cython.longlong, i=cython.int)
cdef void hum(Shard* shard, Tap* tap, long long pos, int n) noexcept nogil
@cython.locals(width=cython.int, size=cython.longlong, done=cython.longlong, result=cython.longlong)
cdef void append(Shard* shard, Tap* tap, int n) noexcept nogil
cdef void finish(Tap* tap) noexcept nogil
@cython.locals(i=cython.int, k=cython.int)
cdef void note_consumed(Tap* tap) noexcept nogil
@cython.locals(i=cython.int)
cdef int hears(Tap* tap, Leg* leg) noexcept nogil
@cython.locals(i=cython.int, tap="Tap*", at=cython.longlong)
cdef long long oldest_needed(Shard* shard, long long when) noexcept nogil
@cython.locals(leg="Leg*", last=cython.int)
cdef void forget_source(Tap* tap, int i) noexcept nogil
@cython.locals(i=cython.int, gone=cython.int)
cdef void forget_closed(Tap* tap) noexcept nogil
@cython.locals(j=cython.int, tap="Tap*")
cdef void command_tap(Shard* shard, int i) noexcept nogil
