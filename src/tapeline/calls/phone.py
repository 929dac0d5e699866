"""A softphone: one end of calls, on the same signalling and media that the server uses.

A `Phone` listens on one SIP address, places calls and takes those that come. A `PhoneCall` speaks (plays samples), hears (a tap
writes what arrives to a WAV file), presses keys, and hangs up. `tapeline call`, `tapeline demo` and tests drive it. It logs in where
it is asked to; it does not register. It knows no flows, no recordings and no database.

    target -> resolve -> Phone.call -> INVITE / SDP -> Leg -> PhoneCall.play, .save, .press, .hang_up -> over
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import structlog
from numpy.typing import NDArray

from tapeline import rtp, sip
from tapeline.audio import wav
from tapeline.calls.media import stream_spec, usable
from tapeline.core.clock import Clock, SystemClock
from tapeline.core.errors import Exhausted, InvalidInput, InvalidState, ProtocolError, Unavailable
from tapeline.sip import offer_answer
from tapeline.sip.transports.resolver import Resolver
from tapeline.sip.transports.shell import Shell
from tapeline.sip.transports.tls import Tls
from tapeline.sip.uri import host_port

__all__ = ["Happening", "Phone", "PhoneCall", "PhoneConfig", "Target", "resolve", "route_to"]

log = structlog.get_logger(__name__)

Samples = NDArray[np.int16]
PORT = 5060
KEY_MS, KEY_GAP_MS = 120, 80
VOICE = 200  # mean magnitude of a tick (of 32767) that is somebody speaking
FAREWELL_S = 2.0  # how long a phone that stops waits for its peers, twice at most


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that a watcher of a call may want to show. `what` says which of the other fields count.

    ringing, talking, ended (`text`: how), key (`text`: which key the peer pressed), level (`peaks`: for each channel saved,
    0..1, of about the last second; `at_s`: seconds of sound saved so far).
    """

    what: Literal["ringing", "talking", "ended", "key", "level"]
    text: str = ""
    peaks: tuple[float, ...] = ()
    at_s: float = 0.0


Watcher = Callable[[Happening], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to call, and the address that its host stands for."""

    uri: str
    transport: Literal["udp", "tcp", "tls"]
    address: tuple[str, int]
    host: str = ""  # as it was named, which is what a certificate is for


async def resolve(text: str) -> Target:
    """`sip:1000@host:port;transport=tcp`, `1000@host`, or `host`, with its host looked up. Raises InvalidInput, Unavailable."""
    uri = text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}"
    try:
        parsed = sip.parse_uri(uri)
    except ProtocolError as error:
        raise InvalidInput(f"{text!r} is no SIP address: {error.message}", hint="write it as sip:1000@127.0.0.1:5060") from error
    found = await Resolver().resolve(parsed)
    first = found[0]
    if first.transport == "ws":
        raise Unavailable(f"{text!r}: this phone does not speak WebSocket")
    return Target(uri, first.transport, (first.host, first.port), parsed.host)


def route_to(address: tuple[str, int]) -> str:
    """The address of this machine from which `address` is reached. Raises Unavailable."""
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address[0], address[1] or PORT))
        except OSError as error:
            raise Unavailable(f"no network leads to {address[0]}: {error.strerror}") from error
        return str(probe.getsockname()[0])


@dataclass(frozen=True, slots=True)
class PhoneConfig:
    """`host` is bound for SIP and media, and told to peers. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 0
    transport: Literal["udp", "tcp", "tls"] = "udp"  # over TLS it calls only; nobody can connect to it
    user: str = "phone"
    authority: str = ""  # a PEM file of the certificates that are believed; "" those of the system
    name: str = ""
    codecs: tuple[str, ...] = ("PCMU", "PCMA", "G722", "opus", "L16")
    rtp_ports: tuple[int, int] = (30000, 39999)
    user_agent: str = "tapeline-phone"


class Phone:
    """`await start()`, then `call` or `take`; `await stop()` hangs up whatever is still up."""

    def __init__(self, config: PhoneConfig | None = None, *, clock: Clock | None = None) -> None:
        self.config = config or PhoneConfig()
        self.clock = clock or SystemClock()
        self.engine = rtp.Engine(rtp.EngineConfig(bind=self.config.host, ports=self.config.rtp_ports, cooldown_s=0.0, max_legs=64))
        self._endpoint = sip.Endpoint(sip.EndpointConfig(user_agent=self.config.user_agent, contact_user=self.config.user), os.urandom)
        self._shell = Shell(self._endpoint, self.clock, self._on_signal, Tls(authority=self.config.authority))
        self._calls: dict[str, PhoneCall] = {}
        self._waiting: asyncio.Queue[PhoneCall] = asyncio.Queue()
        self.address = (self.config.host, 0)

    async def start(self) -> None:
        """Raises Unavailable where the address cannot be bound."""
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        kind = "udp" if self.config.transport == "udp" else "tcp"
        try:
            self.address = await self._shell.listen(f"{kind}:{host}:{self.config.port}")
        except OSError as error:
            raise Unavailable(f"the phone cannot listen on {host}:{self.config.port}: {error.strerror or error}") from error
        self.engine.start(self._on_media, asyncio.get_running_loop())

    async def stop(self) -> None:
        """Hang up whatever is up, give peers a moment to take note, and close. Raises OSError where a call's sound could not be saved."""
        calls = list(self._calls.values())
        for call in calls:
            call.hang_up()
        try:
            async with asyncio.timeout(FAREWELL_S):
                await asyncio.gather(*(call.over() for call in calls))
        except TimeoutError:
            log.warning("a call did not end in time", count=len(self._calls))
        finally:
            for _ in range(round(FAREWELL_S / 0.01)):
                if not self._endpoint.sessions:
                    break
                await asyncio.sleep(0.01)  # a BYE that was lost is sent again
            await self._shell.close()
            self.engine.stop()

    @property
    def uri(self) -> str:
        """Where this phone is called."""
        host, port = self.address
        tail = "" if self.config.transport == "udp" else f";transport={self.config.transport}"
        return f"sip:{self.config.user}@{host_port(host, port)}{tail}"

    def call(
        self,
        target: Target,
        *,
        from_uri: str = "",
        credentials: sip.Credentials | None = None,
        watch: Watcher | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> PhoneCall:
        """Place a call, with more `headers` in its INVITE; it goes on at once, `PhoneCall.answered` waits for it.

        Raises LookupError for a host that no certificate is for.
        """
        leg = self.engine.open_leg()
        media = self._media(leg)
        offer = offer_answer.make_offer(media)
        session = self._endpoint.invite(
            target.uri,
            local=self._shell.flow_to(target.transport, target.address, target.host),
            from_uri=from_uri or f"sip:{self.config.user}@{host_port(*self.address)}",
            from_name=self.config.name,
            body=offer,
            credentials=credentials,
            headers=headers,
            now=self.clock.now(),
        )
        call = self._calls[session.id] = PhoneCall(self, session, leg, media, watch, offer=offer)
        self.pump()
        return call

    async def take(self) -> PhoneCall:
        """The next call that comes in; it rings already. `PhoneCall.answer` or `.hang_up` is due."""
        return await self._waiting.get()

    def pump(self) -> None:
        self._shell.pump()

    def _media(self, leg: rtp.Leg) -> offer_answer.LocalMedia:
        return offer_answer.LocalMedia(address=self.config.host, port=leg.port, codecs=usable(self.config.codecs))

    def forget(self, call: PhoneCall) -> None:
        self._calls.pop(call.session.id, None)

    def _on_signal(self, event: sip.Event) -> None:
        if isinstance(event, sip.Incoming):
            self._incoming(event)
        elif isinstance(event, sip.SessionEvent) and (found := self._calls.get(event.session.id)) is not None:
            found.on_signal(event)

    def _incoming(self, event: sip.Incoming) -> None:
        try:
            leg = self.engine.open_leg()
        except Exhausted:
            event.session.reject(503, self.clock.now())
            return
        call = PhoneCall(self, event.session, leg, self._media(leg), None)
        self._calls[event.session.id] = call
        if call.offered(event.body):
            self._waiting.put_nowait(call)

    def _on_media(self, event: rtp.Event) -> None:
        for call in list(self._calls.values()):
            call.on_media(event)


class PhoneCall:
    """One call of a phone. `state` goes calling, (ringing,) talking, ended; forward only."""

    def __init__(
        self, phone: Phone, session: sip.Session, leg: rtp.Leg, media: offer_answer.LocalMedia, watch: Watcher | None, *, offer: bytes = b""
    ) -> None:
        self.session = session
        self.leg = leg
        self.state: Literal["calling", "ringing", "talking", "ended"] = "calling"
        self.keys = ""  # what the peer has pressed
        self.agreed: offer_answer.Agreed | None = None
        self.ended: sip.Ended | None = None
        self._phone = phone
        self._media = media
        self._offer = offer  # ours, while its answer has not come
        self._watch: list[Watcher] = [watch] if watch else []
        self._changed = asyncio.Event()
        self._speaks = False  # the peer does, while `quiet` watches
        self._talked = False  # early media make an agreement too, so that one says nothing
        self._players: dict[int, asyncio.Future[bool]] = {}
        self._tap: rtp.Tap | None = None
        self._saved: tuple[Path, int, int] | None = None  # file, rate, channels
        self._finished = asyncio.Event()  # over, and what was saved is complete
        self._failure: OSError | None = None

    # -- what a person does --------------------------------------------------------------------------------------------

    def watch(self, watcher: Watcher) -> None:
        self._watch.append(watcher)

    async def answered(self) -> None:
        """Wait until the peer answers. Raises Unavailable, which says why, where the call ends before that."""
        while self.state in ("calling", "ringing"):
            self._changed.clear()
            await self._changed.wait()
        if self.ended is not None and not self._talked:
            raise refusal(self.ended)

    def answer(self) -> None:
        """Take a call that came in. Talking begins with the caller's ACK."""
        if not self.session.incoming or self.state not in ("calling", "ringing"):
            raise InvalidState(f"this call is {self.state}, it cannot be answered")
        body = self.agreed.sdp if self.agreed is not None else self._offer
        self.session.accept(body, self._phone.clock.now())
        self._phone.pump()

    def hang_up(self) -> None:
        """End the call, whatever its state; `over` waits for the end."""
        if self.state != "ended":
            self.session.hangup(self._phone.clock.now())
            self._phone.pump()

    async def over(self) -> sip.Ended:
        """Wait until the call has ended and what was saved of it is complete. Raises OSError where saving failed."""
        await self._finished.wait()
        if self._failure is not None:
            raise self._failure
        assert self.ended is not None
        return self.ended

    @property
    def rate(self) -> int:
        """Samples a second that `play` takes and `save` writes."""
        return self.leg.rate

    async def play(self, samples: Samples) -> bool:
        """Speak `samples` (int16[n] at `rate`) to the peer. False where the call ended first."""
        if self.state != "talking" or not len(samples):
            return self.state == "talking"
        player = self.leg.play(samples)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._players[player.id] = done
        try:
            return await done
        finally:
            self._players.pop(player.id, None)
            if not done.done() or done.cancelled():
                player.stop()

    async def press(self, keys: str) -> None:
        """Press keys: RFC 4733 events where agreed, SIP INFO else. Returns when the last one was released."""
        wrong = sorted(set(keys.upper()) - set("0123456789*#ABCD"))
        if wrong:
            raise InvalidInput(f"a telephone has no key {' '.join(wrong)}", hint="keys are 0-9 * # A-D")
        if self.agreed is not None and self.agreed.dtmf_payload_type is not None:
            self.leg.send_digits(keys.upper(), duration_ms=KEY_MS, gap_ms=KEY_GAP_MS)
            await asyncio.sleep(len(keys) * (KEY_MS + KEY_GAP_MS) / 1000)
            return
        for key in keys.upper():
            if self.state != "talking":
                return
            body = f"Signal={key}\r\nDuration={KEY_MS}\r\n".encode()
            self.session.info("application/dtmf-relay", body, self._phone.clock.now())
            self._phone.pump()
            await asyncio.sleep((KEY_MS + KEY_GAP_MS) / 1000)

    async def quiet(self, seconds: float, most: float) -> None:
        """Wait until the peer has said nothing for `seconds` from now on, or the call is over; `most` seconds at most."""
        now = self._phone.clock.now
        deadline = now() + most
        self.leg.watch_voice(VOICE)
        while self.state == "talking" and (left := deadline - now()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(left if self._speaks else min(seconds, left)):
                    await self._changed.wait()
            except TimeoutError:
                break
        if self.state == "talking":
            self.leg.watch_voice(-1)

    def save(self, path: Path, *, both: bool = False) -> None:
        """Write what is heard from now on to `path` (WAV); with `both`, what is spoken as a second channel."""
        channels = [[rtp.Source("in", self.leg)]] + ([[rtp.Source("out", self.leg)]] if both else [])
        path.write_bytes(wav.header(self.rate, len(channels), None))
        self._saved = (path, self.rate, len(channels))
        self._tap = self._phone.engine.open_tap(path, channels, rate=self.rate)

    # -- signalling ----------------------------------------------------------------------------------------------------

    def offered(self, offer: bytes | None) -> bool:
        """The offer of a call that came in. False: refused, since there is no media in common."""
        now = self._phone.clock.now()
        if offer is None:
            self._offer = offer_answer.make_offer(self._media)
        else:
            try:
                self._agree(offer_answer.answer_offer(offer, self._media))
            except ProtocolError as error:
                self.session.reject(error.status, now)
                return False
        self.session.ring(now)
        return True

    def on_signal(self, event: sip.Event) -> None:
        match event:
            case sip.Progress(body=body, reason=reason, status=status):
                if body and self.agreed is None:
                    self._read_answer(body, final=False)
                if status >= 180 and self.state == "calling":
                    self._enter("ringing", reason)
            case sip.Accepted(body=body):
                if (not body and self.agreed is not None) or self._read_answer(body or b"", final=True):
                    self._enter("talking")
            case sip.Established(body=body):
                if not self._offer or self._read_answer(body or b"", final=True):
                    self._enter("talking")
            case sip.Reoffered(body=body):
                self._reoffered(body)
            case sip.ReofferAcknowledged(body=body):
                self._read_answer(body or b"", final=True)
            case sip.InfoReceived(content_type=content_type, body=body):
                if key := sip.info_digit(content_type, body):
                    self._heard_key(key)
            case sip.Ended():
                self._end(event)
            case _:
                pass

    def _read_answer(self, body: bytes, *, final: bool) -> bool:
        try:
            self._agree(offer_answer.read_answer(self._offer, body, self._media))
        except ProtocolError as error:
            log.warning("the peer's answer is of no use", error=str(error))
            if final:
                self.hang_up()
            return False
        return True

    def _agree(self, agreed: offer_answer.Agreed) -> None:
        self.agreed = agreed
        self.leg.configure(stream_spec(agreed, 0.0))

    def _reoffered(self, offer: bytes | None) -> None:
        now = self._phone.clock.now()
        self._media = self._media.next_version()
        if offer is None:
            self._offer = offer_answer.make_offer(self._media)
            self.session.answer_reoffer(self._offer, now)
            return
        try:
            agreed = offer_answer.answer_offer(offer, self._media)
        except ProtocolError as error:
            self.session.refuse_reoffer(error.status, now)
            return
        self._agree(agreed)
        self.session.answer_reoffer(agreed.sdp, now)

    def _end(self, ended: sip.Ended) -> None:
        self.ended = ended
        self._enter("ended", f"{ended.cause}, by {'the peer' if ended.by == 'remote' else 'us'}")
        for waiting in self._players.values():
            if not waiting.done():
                waiting.set_result(False)
        if self._tap is not None:
            self._tap.stop()
        else:
            self._close()

    def _enter(self, state: Literal["ringing", "talking", "ended"], text: str = "") -> None:
        if self.state == "ended" or self.state == state:
            return
        self.state = state
        self._talked = self._talked or state == "talking"
        self._changed.set()
        self._tell(Happening(state, text))

    def _close(self) -> None:
        self.leg.close()
        self._phone.forget(self)
        self._finished.set()

    # -- media ---------------------------------------------------------------------------------------------------------

    def on_media(self, event: rtp.Event) -> None:
        match event:
            case rtp.Digit(leg=leg, digit=key) if leg is self.leg:
                self._heard_key(key)
            case rtp.Voice(leg=leg, voiced=voiced) if leg is self.leg:
                self._speaks = voiced
                self._changed.set()
            case rtp.PlayerEnded(player=player, stopped=stopped):
                waiting = self._players.get(player.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(not stopped)
            case rtp.TapProgress(tap=tap, frames=frames, peaks=peaks) if tap is self._tap:
                self._tell(Happening("level", peaks=peaks, at_s=frames / self.rate))
            case rtp.TapEnded(tap=tap, reason=reason, detail=detail) if tap is self._tap and self._saved is not None:
                path, rate, channels = self._saved
                if reason != "stopped":
                    self._failure = OSError(f"cannot write {path}: {detail or reason}")
                wav.complete(path, rate=rate, channels=channels)
                self._tap = None
                if self.state == "ended":
                    self._close()
            case _:
                pass

    def _heard_key(self, key: str) -> None:
        self.keys += key
        self._tell(Happening("key", key))

    def _tell(self, happening: Happening) -> None:
        for watcher in self._watch:
            watcher(happening)


def refusal(ended: sip.Ended) -> Unavailable:
    """Why a call did not come about, and what to do."""
    if ended.status in (401, 407):
        return Unavailable(
            f"the peer asks for a password ({ended.status}), and none or a wrong one was given", hint="give --user and --password"
        )
    hints: dict[Any, str] = {
        403: "are user and password right?",
        404: "is a flow set for that number ([[numbers]] in tapeline.toml)?",
        408: "does anything listen at that address and port?",
        480: "try again later",
        486: "try again later",
        488: "the peer offers none of PCMU, PCMA, G722, Opus and L16",
        503: "does anything listen there, is it not overloaded, and over TLS: is its certificate believed (--tls-ca)?",
    }
    text = f"{ended.status} {ended.text}".strip() if ended.status else ended.text
    return Unavailable(f"the call was not answered: {text or ended.cause}", hint=hints.get(ended.status, ""))
