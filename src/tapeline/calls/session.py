"""One call: the only owner of its state, whichever way it goes. Signalling, media, recordings and whoever follows it meet here.

Everything happens on the event loop, in the order in which it is told; nothing here blocks. A call ends exactly once, whoever
ends it: the script, an API, the peer, the clock. Its recordings are stopped first, and its media port is given back only when
the last of them has everything. Its media part is `calls.media`, its recordings are `calls.recordings`, and what it is in with others
(a bridge, a conference) is a `calls.place.Place`.

    incoming    ringing -> progressing -> terminating -> hangup          (see docs/architecture.md, "The way of a call")
    outgoing    dialing -> ringing -> progressing -> terminating -> hangup
                dialing, ringing -> canceling -> hangup
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import structlog

from tapeline import rtp, sip
from tapeline.calls import company
from tapeline.calls.changes import tell
from tapeline.calls.controls import Controls
from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import not_progressing
from tapeline.calls.layout import OfCall
from tapeline.calls.media import Media
from tapeline.calls.place import Place
from tapeline.calls.recorder import Moment, Recorder, Subject
from tapeline.calls.recordings import Recordings
from tapeline.calls.rows import call_row
from tapeline.calls.views import Address, CallView
from tapeline.core.errors import InvalidState, ProtocolError
from tapeline.core.facts import CallStatus
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec

__all__ = ["Call", "Facts", "Listener"]

log = structlog.get_logger(__name__)

HANGUP_REASONS = {  # how the end of the dialog reads in the call's hangup_reason
    "normal": "normal",
    "cancel": "cancel",
    "busy": "busy",
    "noanswer": "noanswer",
    "timeout": "timeout",
}
REFUSALS = {"busy": 486, "rejected": 603, "failed": 500}  # how an incoming call is refused, by its hangup_reason; else 480


class Listener(Protocol):
    """Who follows a call: its script, or whoever dialled it. Every method may change the call at once."""

    def progressed(self, status: int) -> None:
        """A provisional answer (101 to 199) to a call of ours; where it brought early media, `Call.media` has agreed on them."""

    def established(self) -> None: ...

    def digit(self, digit: str) -> None: ...

    def hung_up(self, cause: str, by: str) -> None: ...

    @property
    def action(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a call from its beginning."""

    id: str
    account: str
    activeflow_id: str
    source: Address
    destination: Address
    created: float
    flow_id: str = ""
    application_id: str = ""  # the Vonage application that it belongs to
    event_url: str = ""  # where its events go; "" where the application's go
    event_method: str = ""
    event_asked: bool = False  # who dialled it tells why it was not answered
    master_call_id: str = ""  # the call that this one was dialled for, and with which it ends
    user: str = ""  # the name of the user of ours who is at its end, proved by a password or by being registered there


class Call:
    """`ended` is set once everything of it is over; `final` then says how the signalling ended."""

    def __init__(
        self,
        facts: Facts,
        session: sip.Session,
        media: Media,
        equipment: Equipment,
        pump: Callable[[], None],
        on_end: Callable[[Call], None],
    ) -> None:
        now = equipment.clock.wall()
        self.facts = facts
        self.session = session
        self.media = media
        self.leg = media.leg
        self.place: Place | None = None
        self.controls = Controls(self, equipment)
        self.chained: list[Call] = []  # dialled for this call: they end with it
        self.final: sip.Ended | None = None
        self._kit = equipment
        self._pump = pump
        self._on_end = on_end
        self._listener: Listener | None = None
        self._answer: bytes | None = None  # what our 200 to the INVITE carries
        self._answering = False  # our 200 has gone, or waits for a PRACK
        self._early = False  # media flow although it is not answered
        self.heard = False  # the peer's first packet came
        self.keys_told: tuple[str, str] | None = None  # where the party's keys are told one by one: URL and method
        self.led = False  # a flow decides what becomes of it
        self.transfers = 0  # that its party has asked for
        self.instead: Callable[[Call], None] | None = None  # while it is dialled: takes a call that answers in its place
        self._when_over: list[Callable[[], None]] = []
        self._by_info = False  # the peer sends its keys by INFO
        self._hangup: tuple[Literal["local", "remote"], str, str] | None = None
        self.status: CallStatus = "ringing" if session.incoming else "dialing"
        self.recordings = Recordings(equipment, on_change=self._touch, on_beep=self._beep)
        self.ringing: float | None = now if session.incoming else None
        self.progressing: float | None = None
        self.hungup: float | None = None
        self.updated = facts.created
        self._told: CallView | None = None  # what listeners know of it
        self.ended = asyncio.Event()
        media.on_play = lambda: self.recordings.sounded(self._now(), "out")

    @property
    def incoming(self) -> bool:
        return self.session.incoming

    @property
    def over(self) -> bool:
        """Whether it has ended, or is about to."""
        return self.status in ("terminating", "canceling", "hangup")

    @property
    def listener(self) -> Listener | None:
        """Who follows the call."""
        return self._listener

    def follow(self, listener: Listener) -> None:
        """From now on `listener` is told, in place of whoever was before."""
        self._listener = listener
        self._put_row()

    def announce(self) -> None:
        """Let it be known that there is this call."""
        self._put_row()

    def lead(self, listener: Listener) -> None:
        """From now on `listener` follows the call that is up; who did before is told that for it the call has ended."""
        before, self._listener = self._listener, listener
        if before is not None:
            before.hung_up("normal", "local")
        self._put_row()

    @property
    def hears(self) -> bool:
        """Whether the peer is to hear the others of its place."""
        return not self.media.held and not self.controls.on_hold and self.controls.muted not in ("out", "both")

    @property
    def speaks(self) -> bool:
        """Whether the others of its place are to hear the peer."""
        return not self.media.held and not self.controls.on_hold and self.controls.muted not in ("in", "both")

    @property
    def other_party(self) -> Address:
        """Who is at the other end."""
        return self.facts.source if self.incoming else self.facts.destination

    def begin_anew(self) -> None:
        """What runs on it from now on is another run than before, in a conversation of its own."""
        self.facts = replace(self.facts, activeflow_id=new_id())

    def belong(self, activeflow_id: str) -> None:
        """It is in the conversation of another call from now on."""
        self.facts = replace(self.facts, activeflow_id=activeflow_id)
        self._touch()

    def when_over(self, then: Callable[[], None]) -> None:
        """Call `then` once the call has ended."""
        self._when_over.append(then)

    def chain(self, call: Call) -> None:
        """`call` was dialled for this one, and ends with it."""
        self.chained.append(call)
        self._touch()

    def unchain(self, call: Call) -> None:
        """`call` goes its own way from now on."""
        self.chained.remove(call)
        self._touch()

    # -- an incoming call until it is answered -------------------------------------------------------------------------

    def offered(self, offer: bytes | None) -> bool:
        """Agree on media with the INVITE's offer, if it has one. False: refused, and the call is over."""
        if offer is None:
            self._answer = self.media.offer()
            return True
        try:
            self._answer = self.media.accept(offer)
        except ProtocolError as error:
            log.info("call refused: no media in common", call_id=self.facts.id, error=str(error))
            self.session.reject(error.status, self._now())
            self._pump()
            return False
        return True

    def ring(self) -> None:
        """Tell the caller that it rings."""
        if self.incoming and self.status == "ringing" and not self._answering:
            self.session.ring(self._now())
            self._pump()

    def early_media(self) -> bool:
        """Let the caller hear something before it is answered (183). False where it cannot: it is up, or waits for our offer."""
        if not self.incoming or self.status != "ringing" or self._answering or self._answer is None or self.media.unanswered:
            return False
        self.session.ring(self._now(), 183, self._answer)
        self._pump()
        self._early_media_begun()
        return True

    def _early_media_begun(self) -> None:
        self._early = True
        self.recordings.reached("media")

    def answer(self) -> None:
        """Send the 200; `established` follows with the caller's ACK."""
        if self.incoming and self.status == "ringing" and not self._answering and self._answer is not None:
            self._answering = True
            self.session.accept(self._answer, self._now())
            self._pump()

    # -- signalling ----------------------------------------------------------------------------------------------------

    def on_signal(self, event: sip.Event) -> None:
        match event:
            case sip.Progress(status=status, body=body):
                self._progressed(status, body)
            case sip.Accepted(body=body):
                self._accepted(body)
            case sip.Established(body=body):
                self._established(body)
            case sip.Reoffered(body=body):
                self._reoffered(body)
            case sip.ReofferAcknowledged(body=body):
                self._answered_late(body)
            case sip.ReofferAccepted(body=body, offer=offer):
                self._answered_late(body, offer)
            case sip.ReofferRefused(status=status):
                log.info("the peer refused a new offer", call_id=self.facts.id, status=status)
                self.media.reoffer_refused()
            case sip.InfoReceived(content_type=content_type, body=body):
                self._info(content_type, body)
            case sip.Ended():
                self._ended(event)
            case _:
                pass

    def _progressed(self, status: int, body: bytes | None) -> None:
        if self.status not in ("dialing", "ringing"):
            return
        if body:
            try:
                self.media.answered(body, final=False)
                self._early_media_begun()
            except ProtocolError as error:
                log.info("early media are of no use", call_id=self.facts.id, error=str(error))
        if self.status == "dialing" and status >= 180:
            self.status = "ringing"
            self.ringing = self._kit.clock.wall()
            self._touch()
        if self._listener is not None:
            self._listener.progressed(status)

    def _accepted(self, body: bytes | None) -> None:
        """The 2xx to our INVITE; its answer may have come with an earlier 183 (RFC 3261 section 13.2.1)."""
        if self.status not in ("dialing", "ringing"):
            return
        try:
            if body:
                self.media.answered(body)
            elif self.media.agreed is None:
                raise sip.NoCommonMedia("the 2xx has no answer to our offer")
            else:
                self.media.settle()
        except ProtocolError as error:
            log.info("call ended: the answer is of no use", call_id=self.facts.id, error=str(error))
            self.hang_up("failed", str(error))
            return
        self._up()

    def _established(self, body: bytes | None) -> None:
        if self.status != "ringing":
            return
        if self.media.unanswered:
            try:
                self.media.answered(body or b"")
            except ProtocolError as error:
                log.info("call ended: the answer in the ACK is of no use", call_id=self.facts.id, error=str(error))
                self.hang_up("failed", str(error))
                return
        self._up()

    def _up(self) -> None:
        self.status = "progressing"
        self.progressing = self._kit.clock.wall()
        self.media.established()
        self.recordings.reached("media")
        self.recordings.reached("answer")
        company.met(self)
        self._touch()
        if self._listener is not None:
            self._listener.established()

    def _reoffered(self, offer: bytes | None) -> None:
        """A re-INVITE: hold, resume, another address or codec. Without an offer we make one, and keep what we have until its answer."""
        now = self._now()
        was_held = self.media.held
        if offer is None:
            self.session.answer_reoffer(self.media.reoffer(), now)
        else:
            try:
                answer = self.media.reaccept(offer)
            except ProtocolError as error:
                self.session.refuse_reoffer(error.status, now)
            else:
                self.session.answer_reoffer(answer, now)
                self._media_changed(was_held)
        self._pump()

    def _media_changed(self, was_held: bool) -> None:
        agreed = self.media.agreed
        assert agreed is not None
        self.recordings.note("media", direction=agreed.direction, codec=agreed.codec)
        if self.media.held != was_held:
            if not self.controls.on_hold:
                company.holds(self)
            if self.place is not None:
                self.place.held(self, self.media.held)

    def _answered_late(self, answer: bytes | None, offer: bytes = b"") -> None:
        """The answer to an offer we made within the call, or to the repetition of an earlier `offer` (a refresh). One that is of no use
        leaves the media as they were."""
        if answer is None or not (self.media.unanswered or offer):
            return
        was_held = self.media.held
        try:
            self.media.answered(answer, offer=offer)
        except ProtocolError as error:
            log.info("an answer to our offer is of no use; media stay as they were", call_id=self.facts.id, error=str(error))
        else:
            self._media_changed(was_held)

    def _info(self, content_type: str, body: bytes) -> None:
        digit = sip.info_digit(content_type, body)
        if digit:
            self._by_info = True
            self.on_digit(digit, self._now(), event=False)

    def reoffer(self, direction: str = "") -> None:
        """Send a re-INVITE, in `direction` from now on. Raises InvalidState where none can be sent now."""
        offer = self.media.reoffer(direction)
        try:
            self.session.reoffer(offer, self._now())
        except InvalidState:
            self.media.reoffer_refused()
            raise
        self._pump()

    # -- the end -------------------------------------------------------------------------------------------------------

    def hang_up(self, reason: str = "normal", text: str = "", status: int = 0) -> None:
        """End the call from our side, as its state asks for: refusal, CANCEL or BYE. Does nothing where it is over or ending.

        The peer is told `status`: that of a refusal (0: what fits the reason), or that of the Reason in CANCEL (0: none) and BYE.
        """
        if self.over:
            return
        self._hangup = ("local", reason, text)
        waiting = self.session.state in ("proceeding", "early")
        self.status = "terminating" if self.incoming or self.status == "progressing" else "canceling"
        self._touch()
        self._leave()
        self.recordings.stop_all("hangup")
        if self.incoming and waiting:
            self.session.reject(status or REFUSALS.get(reason, 480), self._now(), text)
        else:
            self.session.hangup(self._now(), text, status)
        self._pump()

    def _leave(self) -> None:
        if self.place is not None:
            self.place.leave(self)

    def _ended(self, event: sip.Ended) -> None:
        if self.status == "hangup":
            return
        self.final = event
        if self._hangup is None:
            text = f"{event.status} {event.text}".strip() if event.status >= 300 and event.by == "remote" else event.text
            self._hangup = (event.by, HANGUP_REASONS.get(event.cause, "failed"), text)
        self.status = "hangup"
        self.hungup = self._kit.clock.wall()
        self._leave()
        self.recordings.stop_all("hangup")
        self._touch()
        by, reason, text = self._hangup
        log.info("call ended", call_id=self.facts.id, by=by, reason=reason, text=text)
        if self._listener is not None:
            self._listener.hung_up(reason, by)
        for call in list(self.chained):
            call.hang_up("normal" if call.status == "progressing" else "cancel", "the call that it was dialled for has ended")
        for then in self._when_over:
            then()
        self._kit.spawn(self._release())

    async def _release(self) -> None:
        """Give the port back once every recording has what the leg heard."""
        await self.recordings.released()
        self.leg.close()
        self.ended.set()
        self._on_end(self)

    # -- media ---------------------------------------------------------------------------------------------------------

    def on_media(self, event: rtp.Event) -> None:
        match event:
            case rtp.Digit(digit=digit, at=at):
                self.on_digit(digit, at, event=True)
            case rtp.MediaStarted(at=at):
                self.heard = True
                company.heard(self, at)
            case rtp.Voice(voiced=voiced, at=at):
                company.spoke(self, voiced, at)
            case rtp.MediaTimeout(idle_s=idle):
                log.warning("no media from the peer", call_id=self.facts.id, idle_s=idle)
                self.hang_up("timeout", f"no media for {idle:.0f} s")
            case _:
                pass

    def on_digit(self, digit: str, at: float, *, event: bool) -> None:
        """The peer pressed a key; `event`: it was an event among its media."""
        self.recordings.digit(digit, at)
        self._kit.pressed(self, digit)
        if self.place is not None:
            self.place.on_digit(self, digit, event=event)
        if self._listener is not None and self.status == "progressing":
            self._listener.digit(digit)

    def send_digits(self, digits: str, duration_ms: int = 100, gap_ms: int = 100) -> None:
        """Send keys to the peer: as events where those were agreed, by INFO where the peer itself sends its keys so, else as tones."""
        agreed = self.media.agreed
        if self._by_info and (agreed is None or agreed.dtmf_payload_type is None) and self.session.state == "confirmed":
            for digit in digits:
                self.session.info("application/dtmf-relay", f"Signal={digit}\r\nDuration={duration_ms}\r\n".encode(), self._now())
            self._pump()
        else:
            self.leg.send_digits(digits, duration_ms=duration_ms, gap_ms=gap_ms)

    def play(self, samples: Any, then: Callable[[bool], None], *, loop: bool = False) -> rtp.Player:
        """Play samples (int16[n] at the leg's rate) to the peer; `then(stopped)` follows in any case."""
        return self.media.play(samples, then, loop=loop)

    # -- recordings ----------------------------------------------------------------------------------------------------

    def start_recording(self, spec: RecordSpec) -> Recorder:
        """Raises InvalidState (not progressing, already recording) or Exhausted (the disk's watermark).

        One that begins with media, the answer or the bridge may be asked for while the call still rings.
        """
        up = self.status == "progressing"
        if not up and (spec.begin == "now" or self.over):
            raise not_progressing(self.status)
        reached: tuple[Moment, ...] = ("media", "answer") if up else ("media",) if self._early else ()
        ears = OfCall(self.leg, caller=self.incoming, muted=self.controls.muted in ("in", "both"))
        recorder = self.recordings.start(spec, self._subject(), ears, reached)
        company.present(recorder, self)
        for other in company.others(self):
            self.recordings.meet(other.leg, other.heard)
        company.met(self)
        if self.heard:
            self.recordings.sounded(self._now(), "in")
        if self.media.playing:
            self.recordings.sounded(self._now(), "out")
        self._touch()
        return recorder

    def stop_recording(self) -> Recorder:
        """Stop the newest active one. Raises InvalidState where none is."""
        stopped = self.recordings.stop()
        self._touch()
        return stopped

    def _beep(self) -> None:
        self.play(self._kit.prompts.beep(self.leg.rate), lambda stopped: None)

    def _subject(self) -> Subject:
        return Subject(
            account=self.facts.account,
            call_id=self.facts.id,
            activeflow_id=self.facts.activeflow_id,
            sip_call_id=self.session.call_id,
            source=self.facts.source.target,
            destination=self.facts.destination.target,
            direction="incoming" if self.incoming else "outgoing",
            application_id=self.facts.application_id,
            flow_id=self.facts.flow_id,
        )

    # -- what is told of it --------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._kit.clock.now()

    def _touch(self) -> None:
        self.updated = self._kit.clock.wall()
        self._put_row()

    def _put_row(self) -> None:
        view = self.view()
        self._kit.writer.put(call_row(view, self._kit.node))
        self._told = tell(self._kit, "call", view, self._told)

    def view(self) -> CallView:
        active = self.recordings.active
        by, reason, text = self._hangup or ("", "", "")
        ended = self.status == "hangup"
        facts = self.facts
        return CallView(
            id=facts.id,
            account=facts.account,
            direction="incoming" if self.incoming else "outgoing",
            status=self.status,
            source=facts.source,
            destination=facts.destination,
            created=facts.created,
            sip_call_id=self.session.call_id,
            flow_id=facts.flow_id,
            activeflow_id=facts.activeflow_id,
            master_call_id=facts.master_call_id,
            chained_call_ids=tuple(call.facts.id for call in self.chained),
            recording_id=active.id if active is not None else "",
            recording_ids=self.recordings.ids,
            mute_direction=self.controls.muted,
            action=self._listener.action if self._listener is not None else {},
            hangup_by=by if ended else "",
            hangup_reason=reason if ended else "",
            hangup_cause=text if ended else "",
            ringing=self.ringing,
            progressing=self.progressing,
            hungup=self.hungup,
            updated=self.updated,
            application_id=facts.application_id,
            event_url=facts.event_url,
            event_method=facts.event_method,
            event_asked=facts.event_asked,
        )
