"""What may be done to a call from outside while it is up: hold, music, silence, mute, speech.

Each call has one of these. It knows nothing of who asks, and leaves the flow of the call alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import structlog

from tapeline import rtp
from tapeline.calls import company
from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import not_progressing
from tapeline.core.errors import TapelineError

if TYPE_CHECKING:
    from tapeline.calls.session import Call

__all__ = ["Controls", "Muted"]

log = structlog.get_logger(__name__)

Muted = Literal["", "in", "out", "both"]


class Controls:
    """Every method raises InvalidState where the call is not up."""

    def __init__(self, call: Call, equipment: Equipment) -> None:
        self.on_hold = False  # we have put the peer on hold
        self.muted: Muted = ""  # `in`: the peer is not heard, `out`: it does not hear
        self._call = call
        self._kit = equipment
        self._wants_music = False
        self._music: rtp.Player | None = None
        self._silence: rtp.Player | None = None

    def _up(self) -> None:
        if self._call.status != "progressing":
            raise not_progressing(self._call.status)

    def hold(self, on: bool) -> None:
        """Put the peer on hold (re-INVITE, sendonly): it and who alone is with it hear music, not each other; or take it back."""
        self._up()
        if on == self.on_hold:
            return
        self._call.reoffer("sendonly" if on else "sendrecv")
        self.on_hold = on
        if not self._call.media.held:
            company.holds(self._call, by="server")
        self._changed()
        self.music(on)

    def mute(self, muted: Muted) -> None:
        self._up()
        self.muted = muted
        self._call.recordings.mute(self._call.leg, muted in ("in", "both"))
        self._call.recordings.note("muted" if muted else "unmuted", call_id=self._call.facts.id, **({"direction": muted} if muted else {}))
        self._changed()

    def _changed(self) -> None:
        if self._call.place is not None:
            self._call.place.changed(self._call)

    def music(self, on: bool) -> None:
        """Play music to the peer, or no more."""
        self._up()
        if on == self._wants_music:
            return
        self._wants_music = on
        if on:
            self._kit.spawn(self._play_music())
        elif self._music is not None:
            self._music.stop()
            self._music = None

    async def _play_music(self) -> None:
        samples = await self._kit.prompts.music(self._call.leg.rate)
        if self._wants_music and self._music is None and not self._call.over:
            self._music = self._call.play(samples, lambda stopped: None, loop=True)

    def silence(self, on: bool) -> None:
        """Send the peer packets of silence where there is nothing else to hear, or no more."""
        self._up()
        if on and self._silence is None:
            self._silence = self._call.play(self._kit.prompts.silence(self._call.leg.rate), lambda stopped: None, loop=True)
        elif not on and self._silence is not None:
            self._silence.stop()
            self._silence = None

    def talk(self, text: str, language: str) -> None:
        """Speak to the peer, beside whatever its flow does."""
        self._up()
        self._kit.spawn(self._say(text, language))

    async def _say(self, text: str, language: str) -> None:
        try:
            samples = await self._kit.prompts.say(text, language, self._call.leg.rate)
        except TapelineError as error:
            log.warning("a text cannot be spoken", call_id=self._call.facts.id, error=str(error))
            return
        if not self._call.over:
            self._call.play(samples, lambda stopped: None)
