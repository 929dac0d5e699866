"""Connecting a caller with others: what it hears while they ring, the bridge once one answers, and how that came out.

A script's `Dial` is carried out here. The caller is answered when somebody answers, if it was not before. Its flow goes on when the
two have parted, and the others' calls end with the caller's.
"""

from __future__ import annotations

import structlog

from tapeline import flow, rtp
from tapeline.calls.bridge import Bridge, until_alone
from tapeline.calls.dialer import Wish
from tapeline.calls.equipment import Equipment
from tapeline.calls.session import Call
from tapeline.calls.views import Address
from tapeline.core.errors import TapelineError

__all__ = ["connect"]

log = structlog.get_logger(__name__)


async def connect(call: Call, command: flow.Dial, kit: Equipment) -> flow.DialEnded:
    """Carry out `command` for `call`, to the end. Cancelled, it leaves nobody ringing."""
    source = command.source
    wish = Wish(
        parties=command.destinations,
        account=call.facts.account,
        caller=call,
        source=Address(source.kind, source.target, source.name) if source is not None and source.target else None,
        timeout_s=command.timeout_s,
        anonymous=command.anonymous,
        together=command.options.get("strategy", "all") == "all",
        each_s=command.options.get("each_s", 0.0),
        activeflow_id=call.facts.activeflow_id,
    )
    waiting = _Waiting(call, command.early_media, kit)
    try:
        waiting.ringback()
        result = await kit.dialer.dial(wish, waiting.progressed)
        if result.call is None:
            return flow.DialEnded(command.token, False, result.causes, result.reason, result.status)
        if result.call.over:  # it answered, and hung up in the same moment
            return flow.DialEnded(command.token, True, (), "normal")
        try:
            waiting.bridged(result.call)
        except TapelineError:
            result.call.hang_up("failed", "it could not be connected")
            raise
    finally:
        waiting.end()
    call.answer()
    others = await until_alone(call)
    for other in others:
        other.hang_up("normal")
    return flow.DialEnded(command.token, True, (), "normal")


class _Waiting:
    """What a caller hears until somebody answers."""

    def __init__(self, call: Call, early_media: bool, kit: Equipment) -> None:
        self._call = call
        self._early_media = early_media
        self._kit = kit
        self._tone: rtp.Player | None = None
        self._bridge: Bridge | None = None
        self._waits = True

    def ringback(self) -> None:
        """Say that it rings: to a caller that is up by a tone, else by a 180."""
        if self._call.status == "progressing":
            if self._tone is None:
                self._tone = self._call.play(self._kit.prompts.ringback(self._call.leg.rate), lambda stopped: None, loop=True)
        else:
            self._call.ring()

    def progressed(self, other: Call, status: int) -> None:
        """Somebody rings. The first who sends early media is heard, where that is wanted."""
        if not self._early_media or other.media.agreed is None or self._call.place is not None:
            return
        if self._call.status == "progressing" or self._call.early_media():
            self._quiet()
            self._bridge = Bridge(self._call, other, self._kit)
            other.when_over(self._early_media_over)

    def _early_media_over(self) -> None:
        """Who was heard early is gone; where others still ring, the caller is to know that."""
        if self._waits and self._bridge is not None:
            self._bridge = None
            self.ringback()

    def bridged(self, other: Call) -> Bridge:
        """The bridge with who answered: that of its early media, or a new one."""
        self._quiet()
        if self._bridge is not None and other.place is self._bridge and self._call.place is self._bridge:
            bridge, self._bridge = self._bridge, None
        else:
            bridge = Bridge(self._call, other, self._kit)
        return bridge

    def _quiet(self) -> None:
        tone, self._tone = self._tone, None
        if tone is not None:
            tone.stop()

    def end(self) -> None:
        self._waits = False
        self._quiet()
        if self._bridge is not None:
            self._bridge.leave(self._call)
