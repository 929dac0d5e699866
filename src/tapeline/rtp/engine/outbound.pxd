cimport cython
from tapeline.rtp.engine.samples cimport add, clear, compress, fill, gather, pack, saturate, store, zero
from tapeline.rtp.engine.structs cimport DIGITS, L16, PLAYER_ENDED, Bus, Leg, Player, Report, Shard, ms, ntp_seconds, player_of, position, push, whole
from tapeline.rtp.engine.system cimport send_packet
from tapeline.rtp.engine.wire cimport build, build_reports

@cython.locals(skipped=cython.longlong)
cdef void send_due(Shard* shard, Leg* leg, long long now) noexcept nogil
@cython.locals(n=cython.int, sounding=cython.int, dialling=cython.int)
cdef void send_frame(Shard* shard, Leg* leg, long long when) noexcept nogil
cdef void transmit(Shard* shard, Leg* leg, int n, long long when) noexcept nogil
cdef void encode(Shard* shard, Leg* leg, int n, int sounding) noexcept nogil
@cython.locals(sounding=cython.int, pos=cython.longlong, bus="Bus*")
cdef int mix_frame(Shard* shard, Leg* leg, long long when, int n) noexcept nogil
@cython.locals(i=cython.int, leg="Leg*", delay=cython.longlong)
cdef void total(Shard* shard, Bus* bus, long long when, long long pos, int n, int rate) noexcept nogil
@cython.locals(i=cython.int)
cdef void add_mix(int* acc, const int* other, int n) noexcept nogil
@cython.locals(i=cython.int, player="Player*", done=cython.int, part=cython.longlong)
cdef void play(Shard* shard, Leg* leg, long long when, int n) noexcept nogil
@cython.locals(kept=cython.int, i=cython.int, player="Player*")
cdef void release_players(Shard* shard, Leg* leg) noexcept nogil
cdef void place_sent(Shard* shard, Leg* leg, long long pos, int n, int sounding) noexcept nogil
@cython.locals(span=cython.longlong, goal=cython.longlong, end=cython.int, reported=cython.longlong, first=cython.int, i=cython.int)
cdef void send_digit(Shard* shard, Leg* leg, long long when, int n) noexcept nogil
@cython.locals(report="Report*", wall=cython.longlong, heard=cython.int, size=cython.int)
cdef void send_report(Shard* shard, Leg* leg, long long now) noexcept nogil
@cython.locals(report="Report*", expected=cython.longlong, lost=cython.longlong, interval=cython.longlong, missing=cython.longlong)
cdef void fill_block(Shard* shard, Leg* leg, long long now) noexcept nogil
cdef void start_player(Shard* shard, Leg* leg, long long handle) noexcept nogil
@cython.locals(i=cython.int)
cdef void stop_player(Shard* shard, Leg* leg, long long number, long long at) noexcept nogil
@cython.locals(k=cython.int)
cdef void dial(Shard* shard, Leg* leg, int i) noexcept nogil
cdef void join(Bus* bus, Leg* leg, int hear, int speak) noexcept nogil
@cython.locals(bus="Bus*", i=cython.int)
cdef void leave(Leg* leg) noexcept nogil
cdef void close_bus(Bus* bus, long long at) noexcept nogil
cdef void set_live(Leg* leg) noexcept nogil
@cython.locals(n=cython.int, pos=cython.longlong)
cdef void place_mix(Shard* shard, Bus* bus, long long when) noexcept nogil
