"""One call: the only owner of its state. Signalling, media, recordings and the flow's script meet here.

Everything happens on the event loop, in the order in which it is told; nothing here blocks. A call ends exactly once, whoever
ends it: the script, an API, the peer, the clock. Its recordings are stopped first, and its media port is given back only when
the last of them has everything.

    ringing -> progressing -> terminating -> hangup          (see docs/architecture.md, "The way of a call")
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import structlog

from tapeline import rtp, sip
from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import already_recording, disk_full, not_progressing, not_recording
from tapeline.calls.recorder import Recorder, Subject
from tapeline.calls.rows import call_row
from tapeline.calls.views import Address, CallStatus, CallView
from tapeline.core.errors import ProtocolError
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec
from tapeline.sip import offer_answer
from tapeline.sip.dtmf import info_digit

__all__ = ["Call", "Facts", "Listener"]

log = structlog.get_logger(__name__)

HANGUP_CAUSES = {  # how the end of the dialog reads in the call's hangup_reason
    "normal": "normal",
    "cancel": "cancel",
    "busy": "busy",
    "noanswer": "noanswer",
    "timeout": "timeout",
}


class Listener(Protocol):
    """Who follows a call: its script. Every method may change the call at once."""

    def established(self) -> None: ...

    def digit(self, digit: str) -> None: ...

    def hung_up(self, cause: str, by: str) -> None: ...

    @property
    def action(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What was known of a call when it came."""

    id: str
    account: str
    activeflow_id: str
    source: Address
    destination: Address
    created: float


class Call:
    def __init__(
        self,
        facts: Facts,
        session: sip.Session,
        leg: rtp.Leg,
        media: offer_answer.LocalMedia,
        equipment: Equipment,
        pump: Callable[[], None],
        on_end: Callable[[Call], None],
    ) -> None:
        self.facts = facts
        self.leg = leg
        self._session = session
        self._media = media
        self._kit = equipment
        self._pump = pump
        self._on_end = on_end
        self._listener: Listener | None = None
        self._answer: bytes | None = None  # what our 200 carries; None while an offer of ours waits for its answer
        self._offer: bytes | None = None  # ours, where the INVITE brought none
        self._heard = False  # the peer's first packet came
        self._playing = 0  # sounds that the peer hears now
        self._hangup: tuple[Literal["local", "remote"], str, str] | None = None
        self.status: CallStatus = "ringing"
        self.recorders: list[Recorder] = []
        self.ringing: float | None = equipment.clock.wall()
        self.progressing: float | None = None
        self.hungup: float | None = None
        self.updated = facts.created
        self.ended = asyncio.Event()

    # -- signalling ----------------------------------------------------------------------------------------------------

    @property
    def session_id(self) -> str:
        return self._session.id

    def follow(self, listener: Listener) -> None:
        self._listener = listener
        self._put_row()

    def offered(self, offer: bytes | None) -> bool:
        """Agree on media with the INVITE's offer, if it has one. False: refused, and the call is over."""
        if offer is None:
            self._offer = self._answer = offer_answer.make_offer(self._media)
            return True
        try:
            self._agree(offer_answer.answer_offer(offer, self._media))
        except ProtocolError as error:
            log.info("call refused: no media in common", call_id=self.facts.id, error=str(error))
            self._session.reject(error.status, self._now())
            self._pump()
            return False
        return True

    def _agree(self, agreed: offer_answer.Agreed) -> None:
        self._answer = agreed.sdp
        self.leg.configure(stream_spec(agreed, self._kit.settings.server.media_timeout_seconds))

    def ring(self) -> None:
        if self.status == "ringing":
            self._session.ring(self._now())
            self._pump()

    def answer(self) -> None:
        """Send the 200; `established` follows with the caller's ACK."""
        if self.status == "ringing" and self.progressing is None and self._answer is not None:
            self._session.accept(self._answer, self._now())
            self._pump()

    def on_signal(self, event: sip.Event) -> None:
        match event:
            case sip.Established(body=body):
                self._established(body)
            case sip.Reoffered(body=body):
                self._reoffered(body)
            case sip.ReofferAcknowledged(body=body):
                self._answered_late(body)
            case sip.InfoReceived(content_type=content_type, body=body):
                self._info(content_type, body)
            case sip.Ended(by=by, cause=cause, text=text):
                self._ended(by, cause, text)
            case _:
                pass

    def _established(self, body: bytes | None) -> None:
        if self.status != "ringing":
            return
        if self._offer is not None:
            try:
                self._agree(offer_answer.read_answer(self._offer, body or b"", self._media))
            except ProtocolError as error:
                log.info("call ended: the answer in the ACK is of no use", call_id=self.facts.id, error=str(error))
                self.hang_up("failed", str(error))
                return
        self.status = "progressing"
        self.progressing = self._kit.clock.wall()
        self._touch()
        if self._listener is not None:
            self._listener.established()

    def _reoffered(self, offer: bytes | None) -> None:
        """A re-INVITE: hold, resume, another address or codec. Without an offer we make one, and keep what we have until its answer."""
        now = self._now()
        if offer is None:
            self._media = self._media.next_version()
            self._offer = offer_answer.make_offer(self._media)
            self._session.answer_reoffer(self._offer, now)
        else:
            media = self._media.next_version()
            try:
                agreed = offer_answer.answer_offer(offer, media)
            except ProtocolError as error:
                self._session.refuse_reoffer(error.status, now)
            else:
                self._media = media
                self._agree(agreed)
                self._session.answer_reoffer(agreed.sdp, now)
                for recorder in self.recorders:
                    if recorder.active:
                        recorder.note("media", direction=agreed.direction, codec=agreed.codec)
        self._pump()

    def _answered_late(self, answer: bytes | None) -> None:
        """The ACK that answers the offer we made in a 2xx. One that is of no use leaves the media as they were."""
        if self._offer is None or answer is None:
            return
        try:
            self._agree(offer_answer.read_answer(self._offer, answer, self._media))
        except ProtocolError as error:
            log.info("an answer to our offer is of no use; media stay as they were", call_id=self.facts.id, error=str(error))

    def _info(self, content_type: str, body: bytes) -> None:
        digit = info_digit(content_type, body)
        if digit:
            self.on_digit(digit, self._now())

    def hang_up(self, reason: str = "normal", text: str = "") -> None:
        """End the call from our side. Does nothing where it is over or ending."""
        if self.status in ("terminating", "hangup"):
            return
        self._hangup = ("local", reason, text)
        self.status = "terminating"
        self._touch()
        self._stop_recordings("hangup")
        self._session.hangup(self._now(), text)
        self._pump()

    def _ended(self, by: Literal["local", "remote"], cause: str, text: str) -> None:
        if self.status == "hangup":
            return
        if self._hangup is None:
            self._hangup = (by, HANGUP_CAUSES.get(cause, "failed"), text)
        self.status = "hangup"
        self.hungup = self._kit.clock.wall()
        self._stop_recordings("hangup")
        self._touch()
        log.info("call ended", call_id=self.facts.id, by=self._hangup[0], reason=self._hangup[1], text=self._hangup[2])
        if self._listener is not None:
            self._listener.hung_up(self._hangup[1], self._hangup[0])
        self._kit.spawn(self._release())

    async def _release(self) -> None:
        """Give the port back once every recording has what the leg heard."""
        for recorder in self.recorders:
            await recorder.done.wait()
            self._kit.recorders.pop(recorder.id)
        self.leg.close()
        self.ended.set()
        self._on_end(self)

    # -- media ---------------------------------------------------------------------------------------------------------

    def on_media(self, event: rtp.Event) -> None:
        match event:
            case rtp.Digit(digit=digit, at=at):
                self.on_digit(digit, at)
            case rtp.MediaStarted(at=at):
                self._heard = True
                self._sounded(at, "in")
            case rtp.Voice(voiced=voiced, at=at):
                for recorder in self.recorders:
                    if recorder.active:
                        recorder.voice(voiced, at)
            case rtp.MediaTimeout(idle_s=idle):
                log.warning("no media from the peer", call_id=self.facts.id, idle_s=idle)
                self.hang_up("timeout", f"no media for {idle:.0f} s")
            case _:
                pass

    def on_digit(self, digit: str, at: float) -> None:
        for recorder in list(self.recorders):
            if recorder.active:
                recorder.digit(digit, at)
        if self._listener is not None and self.status == "progressing":
            self._listener.digit(digit)

    def play(self, samples: Any, then: Callable[[bool], None], *, loop: bool = False) -> rtp.Player:
        """Play samples (int16[n] at the leg's rate) to the peer; `then(stopped)` follows in any case."""
        player = self.leg.play(samples, loop=loop)
        self._playing += 1

        def ended(stopped: bool) -> None:
            self._playing -= 1
            then(stopped)

        self._kit.players[player.id] = ended
        self._sounded(self._now(), "out")
        return player

    def _sounded(self, at: float, kind: Literal["in", "out"]) -> None:
        """The peer is heard, or hears something: tell the recordings that listen there."""
        for recorder in self.recorders:
            if recorder.active and recorder.listens(kind):
                recorder.media(at)

    # -- recordings ----------------------------------------------------------------------------------------------------

    @property
    def active_recorder(self) -> Recorder | None:
        """The newest recording that is active now."""
        return next((recorder for recorder in reversed(self.recorders) if recorder.active), None)

    def start_recording(self, spec: RecordSpec) -> Recorder:
        """Raises InvalidState (not progressing, already recording) or Exhausted (the disk's watermark)."""
        if self.status != "progressing":
            raise not_progressing(self.status)
        active = self.active_recorder
        if spec.exclusive and active is not None:
            raise already_recording(active.id)
        wanted = self._kit.settings.recording.min_free_mb
        if self._kit.free_bytes < wanted * 1_000_000:
            raise disk_full(self._kit.free_bytes // 1_000_000, wanted)
        recorder = Recorder(
            new_id(), spec, self._subject(), self.leg, self._kit, on_change=self._recording_changed, on_beep=self._beep
        )
        self.recorders.append(recorder)
        self._kit.recorders[recorder.id] = recorder
        if spec.silence is not None:
            self.leg.watch_voice(spec.silence.threshold)
        recorder.start()
        if self._heard:
            self._sounded(self._now(), "in")
        if self._playing:
            self._sounded(self._now(), "out")
        self._touch()
        return recorder

    def stop_recording(self) -> Recorder:
        """Stop the newest active one. Raises InvalidState where none is."""
        active = self.active_recorder
        if active is None:
            raise not_recording()
        active.stop("stopped")
        self._touch()
        return active

    def _stop_recordings(self, reason: str) -> None:
        for recorder in self.recorders:
            recorder.stop(reason)

    def _recording_changed(self, recorder: Recorder) -> None:
        self._touch()

    def _beep(self) -> None:
        self.play(self._kit.prompts.beep(self.leg.rate), lambda stopped: None)

    def _subject(self) -> Subject:
        return Subject(
            account=self.facts.account,
            call_id=self.facts.id,
            activeflow_id=self.facts.activeflow_id,
            sip_call_id=self._session.call_id,
            source=self.facts.source.target,
            destination=self.facts.destination.target,
            incoming=self._session.incoming,
        )

    # -- what is told of it --------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._kit.clock.now()

    def _touch(self) -> None:
        self.updated = self._kit.clock.wall()
        self._put_row()

    def _put_row(self) -> None:
        self._kit.writer.put(call_row(self.view(), self._kit.node))

    def view(self) -> CallView:
        active = self.active_recorder
        by, reason, text = self._hangup or ("", "", "")
        ended = self.status == "hangup"
        return CallView(
            id=self.facts.id,
            account=self.facts.account,
            direction="incoming" if self._session.incoming else "outgoing",
            status=self.status,
            source=self.facts.source,
            destination=self.facts.destination,
            created=self.facts.created,
            sip_call_id=self._session.call_id,
            activeflow_id=self.facts.activeflow_id,
            recording_id=active.id if active is not None else "",
            recording_ids=tuple(recorder.id for recorder in self.recorders),
            action=self._listener.action if self._listener is not None else {},
            hangup_by=by if ended else "",
            hangup_reason=reason if ended else "",
            hangup_cause=text if ended else "",
            ringing=self.ringing,
            progressing=self.progressing,
            hungup=self.hungup,
            updated=self.updated,
        )


def stream_spec(agreed: offer_answer.Agreed, timeout_s: float) -> rtp.StreamSpec:
    """What offer and answer agreed on, in the media engine's words."""
    remote = (agreed.remote_address, agreed.remote_port) if agreed.remote_address else None
    receiving = agreed.direction in ("sendrecv", "recvonly")
    return rtp.StreamSpec(
        codec=agreed.codec,
        payload_type=agreed.payload_type,
        rate=agreed.rate,
        ptime=agreed.ptime,
        remote=remote,
        remote_rtcp=agreed.remote_rtcp,
        rtcp_mux=agreed.rtcp_mux,
        dtmf_payload_type=agreed.dtmf_payload_type,
        dtmf_rate=agreed.dtmf_rate,
        comfort_noise_payload_type=agreed.comfort_noise_payload_type,
        direction=cast(rtp.Direction, agreed.direction),
        timeout_s=timeout_s if receiving else 0.0,
    )
