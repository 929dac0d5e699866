"""What an engine is made of, as its users hold it: legs, buses, players, taps. Each method writes one command and returns at once.

These objects belong to one `Shard`; none of them waits for it, and none knows of asyncio. What happens is told by events.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tapeline.core.errors import InvalidInput
from tapeline.rtp import codecs
from tapeline.rtp.engine import constants as c
from tapeline.rtp.engine.build import native
from tapeline.rtp.engine.coder import Coders
from tapeline.rtp.engine.shard import Shard
from tapeline.rtp.engine.srtp import Keyring
from tapeline.rtp.engine.transit import Seat, Transit, home, move, settled
from tapeline.rtp.errors import BusFull, Closed, TooManyLegs, TooManyPlayers
from tapeline.rtp.spec import Address, MaskMode, StreamSpec

__all__ = ["Bus", "Leg", "LegCounters", "Player", "Source", "Tap"]

EVENTS = "0123456789*#ABCD"  # RFC 4733 section 3.2
_CODING = struct.Struct("!BHI")  # scale of the timestamps, delay of the codec, number of the coder
_MODES = {"silence": c.SILENCE, "tone": c.TONE, "cut": c.CUT}


@dataclass(frozen=True)
class LegCounters:
    """Every datagram that came to the RTP port, and where it went: `packets` is the sum of the fields from `placed` to `reports`."""

    packets: int = 0
    placed: int = 0
    late: int = 0  # the recorder had passed already
    duplicate: int = 0
    foreign: int = 0  # from an address that is not the peer's
    malformed: int = 0
    early: int = 0  # before the stream was agreed
    wrong_payload: int = 0
    unwanted: int = 0  # while our direction says that we do not receive
    unsettled: int = 0  # of another SSRC or sequence that was not accepted
    implausible: int = 0  # a timestamp that fits nothing
    empty: int = 0
    comfort_noise: int = 0
    dtmf: int = 0
    overloaded: int = 0  # the codec thread has too much to do
    unauthentic: int = 0  # not sealed with the key that was agreed
    replayed: int = 0  # sealed, but it came before
    reports: int = 0  # RTCP on the RTP port
    jumps: int = 0  # how often the timestamps left the clock
    changes: int = 0  # of source or SSRC
    received: int = 0  # distinct packets of the present stream
    relayed: int = 0  # sent on untouched to the other leg of a bus of two
    sent: int = 0
    unsent: int = 0
    skipped: int = 0
    octets: int = 0  # of payload, sent
    rtcp_packets: int = 0
    rtcp_foreign: int = 0
    rtcp_malformed: int = 0
    rtcp_unauthentic: int = 0
    rtcp_sent: int = 0
    jitter: int = 0  # RFC 3550, in samples
    fraction_lost: int = 0  # of 256, in our last report
    remote_fraction: int = 0  # of 256, in the peer's last report
    remote_lost: int = 0
    remote_jitter: int = 0
    round_trip: int = 0  # in 1/65536 s


COUNTERS = tuple(LegCounters.__dataclass_fields__)
DROPS = COUNTERS[COUNTERS.index("placed") : COUNTERS.index("jumps")]


class Part:
    """Something in a shard, until it is closed. `gone` is what the shard does not know any more."""

    arrival = 0  # the command that makes it known to a shard

    def __init__(self, number: int, shard: Shard | Seat, clock: Callable[[], int]) -> None:
        self.id = number
        self.shard = shard
        self.closed = False
        self.gone = False
        self.handle = 0
        self.clock = clock
        self.players: dict[int, Player] = {}
        self.taps: set[Tap] = set()  # that hear it

    def _command(self, op: int, *args: int, size: int = 0, blob: bytes = b"") -> None:
        if self.closed:
            raise Closed(f"{type(self).__name__.lower()} {self.id} is closed")
        self.shard.command(op, self.handle, *args, size=size, blob=blob)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"


class Player(Part):
    """A prompt on its way into a leg or bus; ends with one PlayerEnded."""

    def __init__(self, number: int, of: Leg | Bus, pcm: NDArray[np.int16], loop: bool) -> None:
        super().__init__(number, of.shard, of.clock)
        self.of = of
        self.handle = self.shard.keep(native.new_player(number, pcm, loop), pcm)

    def stop(self) -> None:
        """End now; nothing happens when it has ended."""
        if not self.closed and not self.of.closed:
            op = c.STOP_PLAYER if isinstance(self.of, Leg) else c.STOP_BUS
            self.shard.command(op, self.of.handle, self.id, self.clock())


def _play(of: Leg | Bus, number: int, pcm: NDArray[np.int16], loop: bool) -> Player:
    if of.closed:
        raise Closed(f"{of!r} is closed")
    if len(of.players) >= c.PLAYERS:
        raise TooManyPlayers(f"{c.PLAYERS} prompts are playing on {of!r} already")
    player = Player(number, of, np.ascontiguousarray(pcm, np.int16).reshape(-1), loop)
    of.players[player.id] = player
    of.shard.command(c.ADD_PLAYER if isinstance(of, Leg) else c.PLAY_BUS, player.handle, of.handle, of.clock())
    return player


class Leg(Part):
    """One RTP session on a port of ours."""

    arrival = c.ADD_LEG

    def __init__(
        self, number: int, shard: Shard, clock: Callable[[], int], numbers: Callable[[], int], host: str, port: int, coders: Coders
    ) -> None:
        super().__init__(number, shard, clock)
        self.host = host
        self.port = port
        self._coders = coders
        self._coder: tuple[int, object] = (0, None)
        self._keyring = Keyring()
        self.spec: StreamSpec | None = None
        self.bus: Bus | None = None
        self._numbers = numbers
        self._last = LegCounters()

    @property
    def rate(self) -> int:
        """Samples a second of the agreed codec's audio; 8000 before."""
        return codecs.find(self.spec.codec, self.spec.rate).audio_rate(self.spec.rate) if self.spec else 8000

    def configure(self, spec: StreamSpec) -> None:
        """Take on what was agreed, first or anew. Raises UnknownCodec, InvalidInput."""
        codec = codecs.find(spec.codec, spec.rate)
        if not 10 <= spec.ptime <= 60:
            raise InvalidInput(f"ptime {spec.ptime} is not within 10 to 60 ms")
        high, low, port = _numbers(spec.remote)
        reports = spec.remote_rtcp
        if reports is None and spec.remote:
            reports = (spec.remote[0], spec.remote[1] + (0 if spec.rtcp_mux else 1))
        self._keyring.turn(spec.srtp, lambda *args: self._command(c.SET_KEYS, *args))
        noise = 13 if spec.comfort_noise_payload_type is None else spec.comfort_noise_payload_type
        self._command(
            c.CONFIGURE,
            codec.number,
            spec.payload_type,
            codec.audio_rate(spec.rate),
            codec.ptime(spec.ptime),
            -1 if spec.dtmf_payload_type is None else spec.dtmf_payload_type,
            spec.dtmf_rate or spec.rate,
            noise,
            spec.direction in ("sendrecv", "recvonly"),
            spec.direction in ("sendrecv", "sendonly"),
            round(spec.timeout_s * 1000),
            high,
            low,
            port,
            *_numbers(reports),
            size=int(spec.rtcp_mux),
            blob=_CODING.pack(codec.audio_rate(spec.rate) // spec.rate, codec.delay, self._set_coder(codec, spec)),
        )
        self.spec = spec

    def _set_coder(self, codec: codecs.Codec, spec: StreamSpec) -> int:
        """The number of the coder for what was agreed; a new one where something else had been agreed. 0 for a codec that needs none."""
        wanted = (codec.name, codec.ptime(spec.ptime), spec.fmtp)
        number, present = self._coder
        if wanted != present:
            self.forget_coder()
            number = self._numbers() if codec.coder else 0
            self._coder = number, wanted
            if codec.coder:
                self._coders.add(number, partial(codec.coder, codec.ptime(spec.ptime), spec.fmtp))
        return number

    def forget_coder(self) -> None:
        """Give up the decoder and encoder that the leg's codec thread keeps."""
        self._coders.remove(self._coder[0])

    def close(self) -> None:
        """Close the port. What was heard before is still recorded."""
        if not self.closed:
            self._command(c.CLOSE_LEG, self.clock())
            self.closed = True
            if self.bus:
                self.bus.forget(self)

    def play(self, pcm: NDArray[np.int16], *, loop: bool = False) -> Player:
        """Send `pcm`, int16[n] at `rate`, mixed with whatever else is sent. Raises TooManyPlayers, Closed."""
        return _play(self, self._numbers(), pcm, loop)

    def echo(self, on: bool) -> None:
        """Send back what is heard, or no longer."""
        self._command(c.SET_ECHO, int(on))

    def send_digits(self, digits: str, duration_ms: int = 100, gap_ms: int = 100) -> None:
        """Send RFC 4733 events, one after the other; as tones where the peer knows no events. Raises InvalidInput for other characters."""
        wrong = sorted(set(digits.upper()) - set(EVENTS))
        if wrong:
            raise InvalidInput(f"not digits: {' '.join(wrong)}", hint=f"digits are {EVENTS}")
        if self.spec is not None and self.spec.dtmf_payload_type is None:
            self.play(_tones(digits.upper(), duration_ms, gap_ms, self.rate))
            return
        codes = bytes(EVENTS.index(digit) for digit in digits.upper())
        for at in range(0, len(codes), c.DIGITS):
            part = codes[at : at + c.DIGITS]
            self._command(c.SEND_DIGITS, duration_ms, gap_ms, size=len(part), blob=part)

    def watch_voice(self, threshold: int, hangover_ms: int = 200) -> None:
        """Tell by Voice events when the mean magnitude of a tick passes `threshold` (of 32767); below zero: stop watching."""
        self._command(c.WATCH_VOICE, threshold, hangover_ms)

    def counters(self) -> LegCounters:
        """A snapshot; the engine may be in the middle of a packet. After the end, the last one."""
        if not self.gone:
            self._last = LegCounters(*native.leg_numbers(self.handle, COUNTERS))
        return self._last

    def remotes(self) -> tuple[Address | None, Address | None]:
        """Where RTP and RTCP go at present, as learnt from where they come; None where that is not known or the leg is gone."""
        if self.gone:
            return None, None
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        rtp, rtcp = ((native.address(high, low, family), port) if port else None for high, low, port in native.leg_addresses(self.handle))
        return rtp, rtcp


def _numbers(address: tuple[str, int] | None) -> tuple[int, int, int]:
    return (*native.numbers(address[0]), address[1]) if address else (0, 0, 0)


def _tones(digits: str, duration_ms: int, gap_ms: int, rate: int) -> NDArray[np.int16]:
    """ITU-T Q.23: each digit is a tone of its row and one of its column."""
    keypad = "123A456B789C*0#D"
    time = np.arange(duration_ms * rate // 1000) * (2 * np.pi / rate)
    gap = np.zeros(gap_ms * rate // 1000)
    parts = []
    for digit in digits:
        row, column = divmod(keypad.index(digit), 4)
        parts += [np.sin(time * (697, 770, 852, 941)[row]) + np.sin(time * (1209, 1336, 1477, 1633)[column]), gap]
    joined: NDArray[np.int16] = (np.concatenate(parts or [gap[:0]]) * 6000).astype(np.int16)
    return joined


class Bus(Part):
    """Legs that hear each other: each the sum of the others, and what is played to all. Who joins, leaves or gets another gain does so
    within 5 ms. Two members of one codec, with nothing else to hear, get each other's packets untouched."""

    arrival = c.ADD_BUS

    def __init__(
        self, number: int, shard: Shard, clock: Callable[[], int], numbers: Callable[[], int], rate: int, capacity: int, digits: bool
    ) -> None:
        super().__init__(number, shard, clock)
        self._numbers = numbers
        self.rate = rate
        self.capacity = capacity
        self.digits = digits
        self.members: dict[Leg, tuple[int, int]] = {}  # with their gains, in 1/4096
        self.ignored: dict[Leg, list[int]] = {}  # whom a member does not hear
        self.handle = shard.keep(native.new_bus(number, rate, capacity, digits))

    def add(self, leg: Leg, *, hear: float = 1.0, speak: float = 1.0) -> None:
        """Let `leg` take part. `hear` and `speak` are gains, 0 to 8; a leg is on one bus at a time. A closed leg is nobody.

        A leg of another engine thread moves to the bus's, with its players, the taps that hear it, and what else these hear.
        Raises BusFull, TooManyLegs, Closed, InvalidInput.
        """
        gains = _gain(hear), _gain(speak)
        if leg.closed:
            return
        if self.closed:
            raise Closed(f"{self!r} is closed")
        if leg not in self.members and len(self.members) >= self.capacity:
            raise BusFull(f"{self!r} has {len(self.members)} members already")
        thread = home(self)
        if home(leg) is not thread and thread.legs >= thread.max_legs:
            raise TooManyLegs(f"{thread.legs} legs are open on the thread of {self!r}")
        if leg.bus and leg.bus is not self:
            leg.bus.forget(leg)
        leg.bus = self
        self.members[leg] = gains
        self._join(leg)

    def _join(self, leg: Leg) -> None:
        if leg.bus is not self:
            return  # it left while it was on its way here
        if home(leg) is not home(self):
            move(leg, home(self), leaving=True)
        if isinstance(leg.shard, Seat) or isinstance(self.shard, Seat):
            settled((leg, self), partial(self._join, leg))
        else:
            self.shard.command(c.JOIN, self.handle, leg.handle, *self.members[leg], self.clock())
            for number in self.ignored.get(leg, ()):
                self.shard.command(c.IGNORE, leg.handle, number)

    def set_gain(self, leg: Leg, *, hear: float = 1.0, speak: float = 1.0) -> None:
        self.add(leg, hear=hear, speak=speak)

    def ignore(self, leg: Leg, other: Leg) -> None:
        """Let `leg` not hear `other` as long as it takes part; to be told before either says anything. Raises InvalidInput where `leg`
        does not take part, or ignores too many."""
        numbers = self.ignored.get(leg, [])
        if other.id in numbers:
            return
        if leg not in self.members or len(numbers) >= c.DEAF:
            raise InvalidInput(f"{leg!r} is not on {self!r}, or ignores {c.DEAF} there already")
        self.ignored[leg] = [*numbers, other.id]
        self._join(leg)

    def remove(self, leg: Leg) -> None:
        """Let `leg` take part no longer; nothing happens when it does not."""
        if leg in self.members:
            self.forget(leg)
            settled((leg,), partial(self._leave, leg))

    def _leave(self, leg: Leg) -> None:
        if leg.bus is None and not leg.closed:
            leg.shard.command(c.LEAVE, self.handle, leg.handle, self.clock())

    def passes_digits(self, leg: Leg) -> bool:
        """Whether the telephone events of `leg` go on to its partner by themselves: on a bus of two, where the partner hears it and knows
        such events. Else a Digit event is all that comes of them, and `send_digits` on the partner is left to who listens."""
        other = next((member for member in self.members if member is not leg), None)
        if not self.digits or len(self.members) != 2 or leg not in self.members or other is None or other.spec is None:
            return False
        heard = self.members[leg][1] > 0 and self.members[other][0] > 0 and leg.id not in self.ignored.get(other, ())
        return heard and other.spec.dtmf_payload_type is not None and other.spec.direction in ("sendrecv", "sendonly")

    def play(self, pcm: NDArray[np.int16], *, loop: bool = False) -> Player:
        """Let all members hear `pcm`, int16[n] at the bus's rate; it is part of `mix` and of each member's `out`.

        Raises TooManyPlayers, Closed.
        """
        return _play(self, self._numbers(), pcm, loop)

    def forget(self, leg: Leg) -> None:
        """Count `leg` among the members no longer."""
        self.members.pop(leg, None)
        self.ignored.pop(leg, None)
        self.ignored = {each: [number for number in numbers if number != leg.id] for each, numbers in self.ignored.items()}
        leg.bus = None

    def close(self) -> None:
        """All members leave, and what is played ends."""
        if not self.closed:
            self._command(c.CLOSE_BUS, self.clock())
            self.closed = True
            for leg in list(self.members):
                self.forget(leg)


def _gain(value: float) -> int:
    if not 0 <= value <= 8:
        raise InvalidInput(f"a gain of {value} is not within 0 to 8")
    return round(value * 4096)


@dataclass(frozen=True)
class Source:
    """What a tap hears, on the media clock, whatever the live path's delay: what a leg says (`in`); what it hears (`out`: its own prompts
    and echo as they were sent, and the others of its bus as they said it); or the sum of a bus (`mix`: members with their `speak` gains,
    and what is played to all)."""

    kind: Literal["in", "out", "mix"]
    of: Leg | Bus


_KINDS = {"in": c.IN, "out": c.OUT, "mix": c.MIX}


class Tap(Part):
    """A recorder's ear; ends with one TapEnded."""

    arrival = c.ARRIVE_TAP

    def __init__(
        self, number: int, thread: Shard, clock: Callable[[], int], fd: int, channels: Sequence[Sequence[Source]], rate: int
    ) -> None:
        parts = {source.of for heard in channels for source in heard}
        super().__init__(number, thread, clock)
        self.rate = rate
        self.channels = len(channels)
        self.heard: list[tuple[Source, ...]] = [tuple(heard) for heard in channels]
        self.last_frames = 0
        self.started_at = clock()
        for part in parts:
            part.taps.add(self)
            move(part, thread)
        waiting = [part for part in parts if isinstance(part.shard, Seat)]
        if waiting:
            transit = Transit(thread, [self], len(waiting), fresh=True)
            transit.then(partial(self._open, fd))
            for part in waiting:
                settled((part,), transit.arrive)
        else:
            self._open(fd)

    def _open(self, fd: int) -> None:
        shard = home(self)
        heard = [(channel, source) for channel, sources in enumerate(self.heard) for source in sources if not source.of.closed]
        here = [(channel, source) for channel, source in heard if source.of.shard is shard]
        sources = [(_KINDS[source.kind], channel, source.of.handle) for channel, source in here]
        self.handle = shard.keep(native.new_tap(self.id, fd, self.rate, self.channels, sources, os.fstat(fd).st_size, True))
        shard.command(c.ADD_TAP, self.handle, self.started_at)
        if len(here) < len(heard):  # gone on while the tap waited for the others
            for channel, found in enumerate(self.heard):
                self.hear(channel, found)

    def hear(self, channel: int, sources: Sequence[Source]) -> None:
        """From now on this channel hears these sources, and no others; a source that it hears already goes on without a break. None:
        silence. What is closed is silent; what lives on another engine thread moves to the tap's. Raises InvalidInput."""
        if not 0 <= channel < self.channels:
            raise InvalidInput(f"{self!r} has no channel {channel}")
        if sum(len(heard) for heard in self.heard) - len(self.heard[channel]) + len(sources) > c.SOURCES // 2:
            raise InvalidInput(f"a tap hears at most {c.SOURCES // 2} sources")
        if self.closed:
            return
        before = {source.of for source in self.heard[channel]}
        self.heard[channel] = named = tuple(source for source in sources if not source.of.closed)
        for part in before - {source.of for heard in self.heard for source in heard}:
            part.taps.discard(self)
        for source in named:
            source.of.taps.add(self)
            move(source.of, home(self))
        settled((self, *(source.of for source in named)), partial(self._hear, channel, named, self.clock()))

    def _hear(self, channel: int, named: tuple[Source, ...], at: int) -> None:
        if self.closed or self.heard[channel] is not named:
            return
        if any(source.of.shard is not self.shard and not source.of.closed for source in named):
            self.hear(channel, named)  # gone on meanwhile
            return
        self.shard.command(c.HEAR, self.id, channel, at, size=1)
        for source in named:
            if not source.of.closed:
                self.shard.command(c.HEAR, self.id, channel, at, _KINDS[source.kind], source.of.handle, size=2)
        self.shard.command(c.HEAR, self.id, channel, at, size=3)

    def ended(self, frames: int) -> None:
        """It has written its last frame."""
        self.last_frames = frames
        self.closed = self.gone = True
        for part in {source.of for heard in self.heard for source in heard}:
            part.taps.discard(self)

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return native.tap_frames(self.handle) if self.handle and not self.closed else self.last_frames

    def mask(self, mode: MaskMode) -> None:
        """From now on write silence, a tone, or nothing instead of what is heard."""
        self._change(_MODES[mode])

    def unmask(self) -> None:
        self._change(c.PLAIN)

    def _change(self, mode: int) -> None:
        if not self.closed:
            self.shard.command(c.SET_MASK, self.id, self.clock(), mode)

    def stop(self) -> None:
        """Hear no more from now on; TapEnded follows when all is written."""
        if not self.closed:
            self.shard.command(c.STOP_TAP, self.id, self.clock())
