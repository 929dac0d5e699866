"""What a conference itself lets its members hear: tones for all of them, music for whom waits or is alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from tapeline.calls.conference.members import Member
from tapeline.calls.equipment import Equipment
from tapeline.core.errors import TapelineError

if TYPE_CHECKING:
    from tapeline.calls.conference.conference import Conference

__all__ = ["BUS_RATE", "Sounds"]

log = structlog.get_logger(__name__)

BUS_RATE = 16000  # of tones; members hear each other, and recordings them, at their own
HOLD_MUSIC = "default"  # as an address of music: what callers on hold hear


class Sounds:
    """Of one conference. What cannot be had is left out: a conference without its tone is still one."""

    def __init__(self, conference: Conference, equipment: Equipment) -> None:
        self._conference = conference
        self._kit = equipment

    def tend(self) -> None:
        """Give music to whom waits or is alone, and take it from all others."""
        alone = len(self._conference.talking) == 1
        for member in self._conference.members:
            address = member.spec.music if member.spec.music is not None else self._conference.charter.spec.music
            waits = member.status == "joining" or (alone and self._conference.charter.spec.music_alone)
            wanted = (address or "") if waits and member.gains["hear"] else ""
            if not wanted:
                self.hush(member)
            elif member.music is None and not member.fetching:
                member.fetching = True
                self._kit.spawn(self._entertain(member, wanted))

    async def _entertain(self, member: Member, address: str) -> None:
        samples = await self._samples(address, member.call.leg.rate)
        if samples is None:
            return
        member.fetching = False
        waits = member.status == "joining" or (member.status == "joined" and len(self._conference.talking) == 1)
        if waits and member.music is None and member.gains["hear"]:
            member.music = member.call.play(samples, lambda stopped: None, loop=True)

    def hush(self, member: Member) -> None:
        """Take its music from a member."""
        if member.music is not None:
            member.music.stop()
            member.music = None

    def sound(self, address: str | None) -> None:
        """Play it to all; nothing where nobody is there to hear it."""
        if address and self._conference.talking:
            self._kit.spawn(self._announce(address))

    async def _announce(self, address: str) -> None:
        samples = await self._samples(address, BUS_RATE)
        bus = self._conference.open_bus
        if samples is None or bus is None:
            return
        try:
            bus.play(samples)
        except TapelineError as error:
            log.warning("a tone of a conference is left out", conference_id=self._conference.id, error=str(error))

    async def _samples(self, address: str, rate: int) -> Any:
        """None where it cannot be had: a conference without its tone is still one."""
        prompts = self._kit.prompts
        if address.startswith("recording:"):  # it may be anybody's
            log.warning("a recording cannot be a sound of a conference", conference_id=self._conference.id)
            return None
        try:
            return await (prompts.music(rate) if address == HOLD_MUSIC else prompts.load(address, rate))
        except (TapelineError, OSError) as error:
            log.warning("a sound of a conference cannot be played", conference_id=self._conference.id, error=str(error))
            return None
