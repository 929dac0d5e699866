cimport cython
from tapeline.rtp.engine.buses cimport close_bus, forget_past, ignore, join, leave, set_live, watch_voice
from tapeline.rtp.engine.coding cimport finish_coding, take_coded
from tapeline.rtp.engine.inbound cimport close_digit, configure, receive, receive_reports, set_keys
from tapeline.rtp.engine.moves cimport depart, name, tell_departures
from tapeline.rtp.engine.outbound cimport (
    dial, end_players, release_players, send_due, send_report, speak_on_bus, start_player, stop_player,
)
from tapeline.rtp.engine.relay cimport watch_relay
from tapeline.rtp.engine.samples cimport loudness
from tapeline.rtp.engine.structs cimport (
    ADD_BUS, ADD_LEG, ADD_PLAYER, ADD_TAP, ARRIVE_TAP, BATCH, BUS_CLOSED, CLOSE_BUS, CLOSE_LEG, COMMANDS, CONFIGURE, DEPART, DEPARTED, HEAR,
    IDLE, IGNORE, JOIN, KEPT, LEAVE,
    LEG_CLOSED, MEDIA_TIMEOUT, MIX, PLAY_BUS, QUIT, SEND_DIGITS, SET_ECHO, SET_KEYS, SET_MASK, STOP_BUS, STOP_PLAYER, STOP_TAP, VOICE, WATCH_VOICE,
    Bus, Leg, Shard, Tap, bus_of, leg_of, ms, position, push, tap_of,
)
from tapeline.rtp.engine.system cimport call_coder, clock, close_sockets, read_commands, receive_batch, unwatch, wait, wall_offset, watch, write_events
from tapeline.rtp.engine.taps cimport add_tap, command_tap, due, forget_closed, hurry, make_room, oldest_needed, serve_tap, stop_tap
from tapeline.rtp.engine.timing cimport follow_lateness

@cython.locals(ready=cython.int, i=cython.int, behind=cython.longlong)
cdef void run(Shard* shard) noexcept nogil
cdef void serve_ready(Shard* shard, int i) noexcept nogil
@cython.locals(count=cython.int, total=cython.int, i=cython.int)
cdef void obey(Shard* shard) noexcept nogil
@cython.locals(limit=cython.int, count=cython.int, i=cython.int, at=cython.longlong, present=cython.longlong)
cdef void read_leg(Shard* shard, Leg* leg) noexcept nogil
@cython.locals(count=cython.int, i=cython.int)
cdef void read_reports(Shard* shard, Leg* leg) noexcept nogil
@cython.locals(i=cython.int, leg="Leg*")
cdef void tick(Shard* shard, long long when) noexcept nogil
@cython.locals(i=cython.int, j=cython.int, tap="Tap*", told=cython.int)
cdef void serve_taps(Shard* shard, long long when) noexcept nogil
@cython.locals(i=cython.int, bus="Bus*", done=cython.int)
cdef void release_buses(Shard* shard, long long when) noexcept nogil
@cython.locals(n=cython.int, level=cython.int)
cdef void listen_for_voice(Shard* shard, Leg* leg, long long when) noexcept nogil
@cython.locals(expected=cython.int)
cdef void look_after(Shard* shard, Leg* leg, long long when) noexcept nogil
@cython.locals(op=cython.int, target=cython.longlong)
cdef void execute(Shard* shard, int i) noexcept nogil
@cython.locals(op=cython.int, target=cython.longlong, first=cython.longlong, leg="Leg*")
cdef void command_leg(Shard* shard, int i) noexcept nogil
@cython.locals(op=cython.int, target=cython.longlong, first=cython.longlong)
cdef void command_bus(Shard* shard, int i) noexcept nogil
cdef void close_leg(Shard* shard, Leg* leg, long long at) noexcept nogil
@cython.locals(i=cython.int, _=cython.int)
cdef void close_all(Shard* shard) noexcept nogil
