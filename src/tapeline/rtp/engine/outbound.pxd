cimport cython
from tapeline.rtp.engine.buses cimport ahead, hear_live
from tapeline.rtp.engine.lines cimport put_task
from tapeline.rtp.engine.samples cimport add, clear, compress, fill, gather, pack, saturate, store, zero
from tapeline.rtp.engine.seals cimport seal
from tapeline.rtp.engine.structs cimport DIGITS, ENCODE, FRAME, L16, PACKET, PLAYER_ENDED, QUIETEN, Bus, Leg, Player, Report, Shard, ms, ntp_seconds, player_of, position, push, signed32, whole
from tapeline.rtp.engine.system cimport send_packet
from tapeline.rtp.engine.wire cimport build, build_reports

@cython.locals(skipped=cython.longlong)
cdef void send_due(Shard* shard, Leg* leg, long long now) noexcept nogil
@cython.locals(n=cython.int, sounding=cython.int, dialling=cython.int)
cdef void send_frame(Shard* shard, Leg* leg, long long when) noexcept nogil
cdef void transmit(Shard* shard, Leg* leg, int n, long long when) noexcept nogil
@cython.locals(size=cython.int, kind=cython.int)
cdef void ask_encoded(Shard* shard, Leg* leg, int n, int sounding) noexcept nogil
@cython.locals(i=cython.int)
cdef void send_encoded(Shard* shard, Leg* leg, int size, long long stamp, int marker, long long when) noexcept nogil
cdef void encode(Shard* shard, Leg* leg, int n, int sounding) noexcept nogil
@cython.locals(sounding=cython.int)
cdef int mix_frame(Shard* shard, Leg* leg, long long when, int n, int is_heard) noexcept nogil
@cython.locals(pos=cython.longlong)
cdef int mix_own(Shard* shard, Leg* leg, long long when, int n) noexcept nogil
@cython.locals(voice="Leg*", n=cython.int, pos=cython.longlong, part=cython.int)
cdef void speak_on_bus(Shard* shard, Bus* bus, long long when) noexcept nogil
@cython.locals(i=cython.int, player="Player*", done=cython.longlong, part=cython.longlong)
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
cdef void start_player(Shard* shard, Leg* leg, long long handle, long long at) noexcept nogil
@cython.locals(i=cython.int)
cdef void stop_player(Shard* shard, Leg* leg, long long number, long long at) noexcept nogil
@cython.locals(i=cython.int)
cdef void end_players(Shard* shard, Leg* leg, long long at) noexcept nogil
cdef void end_player(Player* player, long long at) noexcept nogil
@cython.locals(k=cython.int)
cdef void dial(Shard* shard, Leg* leg, int i) noexcept nogil
