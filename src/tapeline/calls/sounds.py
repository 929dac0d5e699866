"""What a program plays: to its call, to one that still rings as early media, or to all in its bridge.

Each sound has the token of the command that wants it, and ends once: `ended(token, interrupted, error)` follows in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog

from tapeline.audio import tones
from tapeline.calls.bridge import Bridge
from tapeline.calls.equipment import Equipment
from tapeline.calls.session import Call
from tapeline.core.errors import InvalidInput, TapelineError
from tapeline.rtp import Player

__all__ = ["Sounds"]

log = structlog.get_logger(__name__)

LEVEL_DB = 12.0  # what the loudest level adds to speech and files, and the softest takes away
KEPT_S = 60  # a longer sound is made anew each time it is played


class Sounds:
    def __init__(self, call: Call, equipment: Equipment, ended: Callable[[int, bool, str], None]) -> None:
        self._call = call
        self._kit = equipment
        self._ended = ended
        self._players: dict[int, Player] = {}
        self._stopped: set[int] = set()  # tokens told to stop before their sound was ready
        self._making: set[int] = set()  # tokens of what is played, or will be
        self._kept: tuple[Any, Any] | None = None  # what was played last, and its samples

    @property
    def playing(self) -> list[Player]:
        return list(self._players.values())

    def beep(self, token: int) -> None:
        self._begin(token, self._kit.prompts.beep(self._rate), lambda stopped: self._over(token, stopped))

    def play(self, token: int, makers: Sequence[partial[Any]], level: float) -> None:
        """Play one sound after another; each maker gives the samples at a rate. One that cannot be had is reported and skipped.

        `level` is from -1, the softest, to 1, the loudest.
        """
        self._kit.spawn(self._play(token, makers, LEVEL_DB * level))

    def stop(self, token: int) -> None:
        player = self._players.get(token)
        if player is not None:
            player.stop()
        else:
            self._stopped.add(token)

    def let_go(self) -> None:
        """What is about to be played is not. What plays goes on."""
        self._stopped |= self._making - self._players.keys()

    @property
    def _rate(self) -> int:
        """Of what is played now: a flow speaks to all whom its call talks with."""
        place = self._call.place
        return place.bus.rate if isinstance(place, Bridge) else self._call.leg.rate

    async def _play(self, token: int, makers: Sequence[partial[Any]], level_db: float) -> None:
        interrupted, failures = False, []
        self._making.add(token)
        for make in makers:
            try:
                samples = await self._made(make, level_db)
                if not len(samples):
                    raise InvalidInput("there is nothing in it to be heard")
            except (TapelineError, OSError) as error:
                log.warning("a prompt cannot be played", call_id=self._call.facts.id, error=str(error))
                failures.append(str(error))
                continue
            if token in self._stopped or self._call.status == "hangup":
                interrupted = True
                break
            ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._begin(token, samples, ended.set_result)
            interrupted = await ended
            if interrupted:
                break
        self._over(token, interrupted, failures[0] if failures and len(failures) == len(makers) else "")

    async def _made(self, make: partial[Any], level_db: float) -> Any:
        """The samples at the rate at which they can be played once they are there. The last ones are kept: they may be played in a loop."""
        while True:
            rate = self._rate
            what = (make.func, make.args, rate, level_db)
            if self._kept is not None and self._kept[0] == what:
                return self._kept[1]
            samples = await make(rate)
            if level_db:
                samples = await self._kit.thread(tones.louder, samples, level_db)
            self._kept = (what, samples) if len(samples) <= KEPT_S * rate else None
            if rate == self._rate:
                return samples

    def _begin(self, token: int, samples: Any, then: Callable[[bool], None]) -> None:
        if self._call.status == "ringing":
            self._call.early_media()
        place = self._call.place
        self._players[token] = place.play(samples, then) if isinstance(place, Bridge) else self._call.play(samples, then)

    def _over(self, token: int, interrupted: bool, error: str = "") -> None:
        self._players.pop(token, None)
        self._stopped.discard(token)
        self._making.discard(token)
        self._ended(token, interrupted, error)
