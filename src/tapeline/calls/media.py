"""The media part of one call: its leg, what was agreed about it with the peer, and what is played to it.

Offers and answers go in and out as bytes; when they are due is the call's business. This module knows nothing of SIP's messages, of
recordings or of who else is on the line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

from tapeline import rtp
from tapeline.calls.equipment import Equipment
from tapeline.core.errors import InvalidInput
from tapeline.core.settings import Srtp
from tapeline.sip import offer_answer, sdes, sdp

__all__ = ["Media", "check_codecs", "own_media", "stream_spec", "usable"]


class Media:
    """`agreed` is what holds now, None before the first agreement. Methods that read the peer's bytes raise ProtocolError."""

    def __init__(self, leg: rtp.Leg, local: offer_answer.LocalMedia, equipment: Equipment) -> None:
        self.leg = leg
        self.agreed: offer_answer.Agreed | None = None
        self.held = False  # the peer has put us on hold
        self.playing = 0  # sounds that the peer hears now
        self._sounds: dict[int, rtp.Player] = {}  # those of them that end by themselves
        self.on_play: Callable[[], None] | None = None  # told when a sound begins
        self._local = local
        self._kit = equipment
        self._up = False
        self._reoffering = False  # that offer is one within the call
        self._before = local.direction  # what it was when we made it
        self._offered: bytes | None = None  # ours, while its answer has not come

    # -- offers and answers --------------------------------------------------------------------------------------------

    def offer(self) -> bytes:
        """Our offer; `answered` is due."""
        self._offered = offer_answer.make_offer(self._local)
        return self._offered

    def accept(self, offer: bytes) -> bytes:
        """Agree to the peer's first offer: our answer."""
        self._agree(offer_answer.answer_offer(offer, self._local))
        assert self.agreed is not None
        return self.agreed.sdp

    @property
    def unanswered(self) -> bool:
        """Whether an offer of ours waits for its answer."""
        return self._offered is not None

    def answered(self, answer: bytes, *, offer: bytes = b"", final: bool = True) -> None:
        """The answer to our offer, or to an earlier `offer` repeated; another may follow unless `final` (early media of a fork)."""
        agreed = offer_answer.read_answer(offer or self._offered or b"", answer, self._local)
        if self._reoffering or offer:
            self._hold(agreed, self._local)
        self._agree(agreed)
        if final:
            self._offered = None
            self._reoffering = False

    def settle(self) -> None:
        """The answer that came early is the final one."""
        self._offered = None

    def established(self) -> None:
        """The call is up: from now on silence on the line counts."""
        self._up = True
        if self.agreed is not None:
            self._agree(self.agreed)

    def reoffer(self, direction: str = "") -> bytes:
        """A new offer within the call, in `direction` from now on where one is given."""
        self._before = self._local.direction
        self._reoffering = True
        self._local = replace(self._local.next_version(), direction=direction or self._local.direction)
        return self.offer()

    def reoffer_refused(self) -> None:
        """Our new offer came to nothing: everything stays as it was."""
        self._offered = None
        self._reoffering = False
        self._local = replace(self._local, direction=self._before)

    def reaccept(self, offer: bytes) -> bytes:
        """Agree to a new offer of the peer's: hold, resume, another address or codec. Our answer."""
        local = self._local.next_version()
        agreed = offer_answer.answer_offer(offer, local)
        self._local = local
        self._hold(agreed, local)
        self._agree(agreed)
        return agreed.sdp

    def _hold(self, agreed: offer_answer.Agreed, local: offer_answer.LocalMedia) -> None:
        self.held = agreed.direction in ("recvonly", "inactive") and local.direction == "sendrecv"

    def _agree(self, agreed: offer_answer.Agreed) -> None:
        self.agreed = agreed
        if agreed.srtp is not None and not self._local.keyed:
            self._local = replace(self._local, keyed=_protocol(agreed.sdp))
        # Who is not answered yet, or holds a call, may say nothing for as long as it likes.
        timeout = self._kit.settings.server.media_timeout_seconds if self._up and not self.held else 0.0
        self.leg.configure(stream_spec(agreed, timeout))

    # -- sound ---------------------------------------------------------------------------------------------------------

    def break_off(self) -> None:
        """End what is being played, but for what goes on for ever: music, a tone that says that it rings."""
        for player in list(self._sounds.values()):
            player.stop()

    def play(self, samples: Any, then: Callable[[bool], None], *, loop: bool = False) -> rtp.Player:
        """Play samples (int16[n] at the leg's rate) to the peer; `then(stopped)` follows in any case."""
        player = self.leg.play(samples, loop=loop)
        self.playing += 1
        if not loop:
            self._sounds[player.id] = player

        def ended(stopped: bool) -> None:
            self.playing -= 1
            self._sounds.pop(player.id, None)
            then(stopped)

        self._kit.players[player.id] = ended
        if self.on_play is not None:
            self.on_play()
        return player


def own_media(srtp: Srtp, codecs: Sequence[str], address: str, port: int, session_id: int) -> offer_answer.LocalMedia:
    """Our side of a call's media."""
    key = b"" if srtp == "off" else os.urandom(sdes.KEY_OCTETS)
    return offer_answer.LocalMedia(address=address, port=port, codecs=codecs, session_id=session_id, srtp=srtp, srtp_key=key)


def _protocol(description: bytes) -> str:
    """That of the audio line in use."""
    return next((media.protocol for media in sdp.parse(description).media if media.kind == "audio" and media.port), "")


def usable(names: Iterable[str]) -> list[str]:
    """Of these codecs those that can be offered: known to signalling, and what they need is installed."""
    known = {name.lower() for name in offer_answer.CODECS}
    wanted = ((name, name.partition("/")[0]) for name in names)
    return [name for name, codec in wanted if codec.lower() in known and rtp.codecs.available(codec)]


def check_codecs(names: Sequence[str]) -> None:
    """Raises InvalidInput where one is none that we know, or none of them can be offered."""
    known = {name.lower() for name in offer_answer.CODECS}
    wrong = [name for name in names if name.partition("/")[0].lower() not in known]
    if wrong:
        raise InvalidInput(f"server.codecs: {', '.join(wrong)}: not known", hint=f"known are {', '.join(offer_answer.CODECS)}")
    if not usable(names):
        raise InvalidInput("server.codecs: none of them can be offered", hint="name PCMU or PCMA, or run `tapeline doctor`")


def stream_spec(agreed: offer_answer.Agreed, timeout_s: float) -> rtp.StreamSpec:
    """What offer and answer agreed on, in the media engine's words."""
    remote = (agreed.remote_address, agreed.remote_port) if agreed.remote_address else None
    receiving = agreed.direction in ("sendrecv", "recvonly")
    return rtp.StreamSpec(
        codec=agreed.codec,
        payload_type=agreed.payload_type,
        rate=agreed.rate,
        channels=agreed.channels,
        fmtp=agreed.fmtp,
        srtp=rtp.SrtpKeys(agreed.srtp.suite, agreed.srtp.local, agreed.srtp.remote) if agreed.srtp else None,
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
