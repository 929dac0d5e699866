"""The engine's thread: waits, reads sockets, ticks, obeys commands. One `run` for each shard, for as long as it lives.

A tick reads what came, sends what is due, lets taps write, and looks after what has timed out, in this order for all legs. Legs that
somebody hears live are asked at each tick, those that are only recorded less often (the kernel notes the time of arrival), and those
that are silent not at all: they are waited for. Knows nothing of asyncio or Python objects: commands come and events go by pipes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

if not cython.compiled:
    from tapeline.rtp.engine.buses import close_bus, forget_past, ignore, join, leave, set_live, watch_voice
    from tapeline.rtp.engine.coding import finish_coding, take_coded
    from tapeline.rtp.engine.constants import (
        ADD_BUS,
        ADD_LEG,
        ADD_PLAYER,
        ADD_TAP,
        ARRIVE_TAP,
        BATCH,
        BUS_CLOSED,
        CLOSE_BUS,
        CLOSE_LEG,
        COMMANDS,
        CONFIGURE,
        DEPART,
        DEPARTED,
        HEAR,
        IDLE,
        IGNORE,
        JOIN,
        KEPT,
        LEAVE,
        LEG_CLOSED,
        MEDIA_TIMEOUT,
        MIX,
        PLAY_BUS,
        QUIT,
        SEND_DIGITS,
        SET_ECHO,
        SET_KEYS,
        SET_MASK,
        STOP_BUS,
        STOP_PLAYER,
        STOP_TAP,
        VOICE,
        WATCH_VOICE,
    )
    from tapeline.rtp.engine.inbound import close_digit, configure, receive, receive_reports, set_keys
    from tapeline.rtp.engine.moves import depart, name, tell_departures
    from tapeline.rtp.engine.outbound import (
        dial,
        end_players,
        release_players,
        send_due,
        send_report,
        speak_on_bus,
        start_player,
        stop_player,
    )
    from tapeline.rtp.engine.portable import (
        call_coder,
        clock,
        close_sockets,
        read_commands,
        receive_batch,
        unwatch,
        wait,
        wall_offset,
        watch,
        write_events,
    )
    from tapeline.rtp.engine.relay import watch_relay
    from tapeline.rtp.engine.samples import loudness
    from tapeline.rtp.engine.state import bus_of, leg_of, ms, position, push, tap_of
    from tapeline.rtp.engine.taps import add_tap, command_tap, due, forget_closed, hurry, make_room, oldest_needed, serve_tap, stop_tap
    from tapeline.rtp.engine.timing import follow_lateness

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def run(shard: state.Shard) -> None:
    """Serve until told to quit."""
    shard.now = clock()
    shard.wall_offset = wall_offset()
    shard.next_tick = shard.now + shard.tick_ns
    shard.last_tick = shard.now
    while shard.running:
        ready = wait(shard, shard.next_tick - clock())
        shard.now = clock()
        for i in range(ready):
            serve_ready(shard, i)
        if shard.now >= shard.next_tick:
            behind = (shard.now - shard.next_tick) // shard.tick_ns
            shard.overruns += behind
            shard.next_tick += behind * shard.tick_ns
            tick(shard, shard.next_tick)
            shard.next_tick += shard.tick_ns
            shard.busy_ns += clock() - shard.now
        tell_departures(shard)
        write_events(shard)
    close_all(shard)


def serve_ready(shard: state.Shard, i: int) -> None:
    """A descriptor has something: kind 0 the command pipe, 1 a leg's RTP socket, 2 its RTCP socket."""
    if shard.ready_kind[i] == 0:
        obey(shard)
    elif shard.ready[i].closing == 0:
        if shard.ready_kind[i] == 1:
            unwatch(shard, shard.ready[i], 1)
            shard.ready[i].waiting = 0
            read_leg(shard, shard.ready[i])
        else:
            read_reports(shard, shard.ready[i])


def obey(shard: state.Shard) -> None:
    """Carry out the commands that have come; after a thousand of them, packets have their turn."""
    count = COMMANDS
    total = 0
    while count == COMMANDS and total < 1024:
        count = read_commands(shard)
        for i in range(count):
            execute(shard, i)
        total += count
    if shard.departing:
        take_coded(shard, shard.now)
        depart(shard)


def read_leg(shard: state.Shard, leg: state.Leg) -> None:
    """Take what has come to a leg's RTP socket. A leg that is asked at each tick has one packet due: it is not asked twice without need."""
    limit = 1 if leg.live or shard.read_ns <= leg.ptime_ns else BATCH
    while True:
        count = receive_batch(shard, leg.rtp, limit)
        for i in range(count):
            at = shard.at[i]
            if at > shard.now:
                # It came while this tick was at work, or while others had the processor; later than this moment it cannot have come.
                present = clock()
                if at > present:
                    at = present
            elif at < leg.read_at:
                at = leg.read_at
            receive(shard, leg, shard.data[i], shard.size[i], shard.high[i], shard.low[i], shard.port[i], at)
            leg.read_at = at
        if count < limit:
            leg.read_at = shard.now
            return
        if limit == 1:
            if shard.now - leg.read_at < leg.ptime_ns - 2000000:
                return
            limit = BATCH


def read_reports(shard: state.Shard, leg: state.Leg) -> None:
    """Take what has come to a leg's RTCP socket."""
    count = receive_batch(shard, leg.rtcp, BATCH)
    for i in range(count):
        receive_reports(shard, leg, shard.data[i], shard.size[i], shard.high[i], shard.low[i], shard.port[i], shard.now)


def tick(shard: state.Shard, when: int) -> None:
    """One step of the engine's time; `when` lies on the grid of ticks, `shard.now` may be a little later."""
    shard.ticks += 1
    shard.wall_offset = wall_offset()
    if when - shard.last_tick > 150000000:
        for i in range(shard.n_taps):
            hurry(shard, shard.taps[i], shard.now, ms(KEPT))
    shard.last_tick = when
    take_coded(shard, when)
    depart(shard)
    for i in range(shard.n_legs):
        leg = shard.legs[i]
        if leg.closing == 0 and leg.waiting == 0 and leg.rtp >= 0 and leg.moving == 0 and (leg.live or when >= leg.next_read):
            read_leg(shard, leg)
            leg.next_read = when + shard.read_ns
    for i in range(shard.n_buses):
        speak_on_bus(shard, shard.buses[i], when)
    for i in range(shard.n_legs):
        leg = shard.legs[i]
        if leg.joined or leg.relaying:
            watch_relay(shard, leg, when)
        if leg.configured and leg.closing == 0 and leg.relaying == 0 and leg.moving == 0 and (leg.sends or leg.n_players):
            send_due(shard, leg, when)
        if leg.watched:
            listen_for_voice(shard, leg, when)
    call_coder(shard)
    serve_taps(shard, when)
    if when >= shard.next_prune:
        shard.next_prune = when + 100000000
        forget_past(shard, oldest_needed(shard, when - 100000000))
    i = shard.n_legs - 1
    while i >= 0:
        leg = shard.legs[i]
        if when >= leg.next_check:
            leg.next_check = when + 100000000
            if not leg.closing:
                look_after(shard, leg, when)
            elif leg.tapped == 0 and leg.heard == 0 and leg.n_stays == 0 and leg.pending == 0:
                release_players(shard, leg)
                if leg.n_players == 0 and push(shard, LEG_CLOSED, leg.id, when, 0, 0, 0):
                    shard.n_legs -= 1
                    shard.legs[i] = shard.legs[shard.n_legs]
        i -= 1
    release_buses(shard, when)


def serve_taps(shard: state.Shard, when: int) -> None:
    """Let taps write, and let go of those that ended."""
    i = shard.n_taps - 1
    while i >= 0:
        tap = shard.taps[i]
        if due(tap, when):
            if tap.stopping:
                for j in range(tap.n_sources):
                    if tap.sources[j].kind != MIX and not tap.sources[j].leg.closing and tap.sources[j].leg.rtp >= 0:
                        read_leg(shard, tap.sources[j].leg)
            told = serve_tap(shard, tap, when)
            forget_closed(tap)
            if told:
                shard.n_taps -= 1
                shard.taps[i] = shard.taps[shard.n_taps]
        i -= 1


def release_buses(shard: state.Shard, when: int) -> None:
    i = shard.n_buses - 1
    while i >= 0:
        bus = shard.buses[i]
        if bus.closing and bus.voice.n_players:
            release_players(shard, bus.voice)
        done = bus.closing and bus.tapped == 0 and bus.stays == 0 and bus.n_spans == 0 and bus.voice.n_players == 0
        if done and push(shard, BUS_CLOSED, bus.id, when, 0, 0, 0):
            shard.n_buses -= 1
            shard.buses[i] = shard.buses[shard.n_buses]
        i -= 1


def listen_for_voice(shard: state.Shard, leg: state.Leg, when: int) -> None:
    n = shard.tick_ns // 1000000 * leg.rate_ms
    level = loudness(leg.ring, leg.mask, leg.horizon, position(when, leg.rate) - leg.delay, n)
    if level > leg.threshold:
        leg.loud_at = when
        if not leg.voiced:
            leg.voiced = 1
            push(shard, VOICE, leg.id, when, 1, 0, 0)
    elif leg.voiced and when - leg.loud_at >= leg.hangover_ns:
        leg.voiced = 0
        push(shard, VOICE, leg.id, leg.loud_at, 0, 0, 0)


def look_after(shard: state.Shard, leg: state.Leg, when: int) -> None:
    """What is not done for each packet: time-outs, reports, the live path's delay."""
    if leg.rtp >= 0 and not leg.waiting and when - leg.last_at > ms(IDLE) and when - leg.read_at < ms(IDLE):
        leg.waiting = watch(shard, leg, 1)
    if leg.digit_open and when - leg.digit_at > 250000000:
        close_digit(shard, leg, when)
    expected = leg.configured and leg.receives and not leg.held and not leg.timed_out
    if expected and leg.timeout_ns and when - leg.last_at >= leg.timeout_ns:
        leg.timed_out = push(shard, MEDIA_TIMEOUT, leg.id, when, when - leg.last_at, 0, 0)
    follow_lateness(shard, leg, when)
    if leg.configured and leg.reports_port and when >= leg.next_report:
        # RFC 3550 section 6.2: every five seconds, spread so that legs do not fall into step.
        leg.next_report = when + ms(4000) + (leg.out_ssrc & 0x7FFFFFFF)
        if leg.sends or leg.streaming:
            send_report(shard, leg, shard.now)


def execute(shard: state.Shard, i: int) -> None:
    """Carry out one command."""
    op = shard.commands[i].op
    target = shard.commands[i].target
    if op in (ADD_BUS, JOIN, LEAVE, CLOSE_BUS, PLAY_BUS, STOP_BUS):
        command_bus(shard, i)
    elif op in (SET_MASK, STOP_TAP, HEAR):
        command_tap(shard, i)
    elif op == ADD_TAP:
        add_tap(shard, tap_of(target), shard.commands[i].args[0])
    elif op == ARRIVE_TAP:
        shard.taps[shard.n_taps] = tap_of(target)
        shard.n_taps += 1
    elif op == DEPART:
        name(shard, i)
    elif op == DEPARTED:
        shard.departing += 1
        depart(shard)
    elif op == QUIT:
        shard.running = 0
    else:
        command_leg(shard, i)


def command_leg(shard: state.Shard, i: int) -> None:
    """A leg's sockets, what was agreed about it, and what it says by itself."""
    op = shard.commands[i].op
    target = shard.commands[i].target
    first = shard.commands[i].args[0]
    if op == ADD_LEG:
        leg = leg_of(target)
        shard.legs[shard.n_legs] = leg
        shard.n_legs += 1
        if leg.rtp >= 0:
            leg.waiting = watch(shard, leg, 1)
            watch(shard, leg, 2)
        leg.next_calm = shard.now
    elif op == CONFIGURE:
        configure(shard, leg_of(target), i)
    elif op == SET_KEYS:
        set_keys(shard, leg_of(target), i)
    elif op == CLOSE_LEG:
        close_leg(shard, leg_of(target), first)
    elif op == ADD_PLAYER:
        start_player(shard, leg_of(first), target, shard.commands[i].args[1])
    elif op == STOP_PLAYER:
        stop_player(shard, leg_of(target), first, shard.commands[i].args[1])
    elif op == SET_ECHO:
        leg_of(target).echo = first != 0
        set_live(leg_of(target))
    elif op == SEND_DIGITS:
        dial(shard, leg_of(target), i)
    elif op == WATCH_VOICE:
        watch_voice(leg_of(target), first, shard.commands[i].args[1])
    elif op == IGNORE:
        ignore(leg_of(target), first)


def command_bus(shard: state.Shard, i: int) -> None:
    """Who is on a bus, and what it says to all of them."""
    op = shard.commands[i].op
    target = shard.commands[i].target
    first = shard.commands[i].args[0]
    if op == ADD_BUS:
        shard.buses[shard.n_buses] = bus_of(target)
        shard.n_buses += 1
    elif op == JOIN:
        make_room(shard, leg_of(first), bus_of(target))
        join(bus_of(target), leg_of(first), shard.commands[i].args[1], shard.commands[i].args[2], shard.commands[i].args[3])
    elif op == LEAVE:
        leave(leg_of(first), shard.commands[i].args[1])
    elif op == CLOSE_BUS:
        end_players(shard, bus_of(target).voice, first)
        close_bus(bus_of(target), first)
    elif op == PLAY_BUS:
        start_player(shard, bus_of(first).voice, target, shard.commands[i].args[1])
    elif op == STOP_BUS:
        stop_player(shard, bus_of(target).voice, first, shard.commands[i].args[1])


def close_leg(shard: state.Shard, leg: state.Leg, at: int) -> None:
    """Close the sockets; the rings stay until every tap has read them to the end."""
    if leg.rtp >= 0:
        read_leg(shard, leg)
    leave(leg, at)
    end_players(shard, leg, at)
    close_sockets(shard, leg)
    leg.closing = 1
    leg.closed_at = at
    leg.watched = 0
    leg.next_check = 0


def close_all(shard: state.Shard) -> None:
    """The end: taps write all they have, sockets close, and every end is told."""
    for i in range(shard.n_taps):
        stop_tap(shard.taps[i], shard.now)
    for i in range(shard.n_legs):
        if not shard.legs[i].closing:
            close_leg(shard, shard.legs[i], shard.now)
    finish_coding(shard)
    for _ in range(500):
        serve_taps(shard, shard.now + 1000000000)
        write_events(shard)
        if shard.n_taps == 0 and shard.n_events == 0:
            return
        read_commands(shard)  # too late for them
        wait(shard, 10000000)
