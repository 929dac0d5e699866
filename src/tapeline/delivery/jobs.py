"""What the kinds of jobs do, step by step: finishing a recording, sending something to somebody, writing an export.

Only the order of the steps and the pauses between tries stand here; `durable` makes them survive, `finish` and `send` do the work.
"""

from __future__ import annotations

from functools import partial

from tapeline.delivery.durable import Kind
from tapeline.delivery.export import Exporter
from tapeline.delivery.finish import STAGES, Finisher
from tapeline.delivery.pauses import pause_after
from tapeline.delivery.send import Sender

__all__ = ["Exporting", "Finishing", "Sending", "sending_key"]


class Finishing:
    """Keyed by the recording's id."""

    def __init__(self, finisher: Finisher) -> None:
        self._finisher = finisher

    async def run(self, key: str, kind: Kind) -> str:
        for stage in STAGES:
            failures = 0
            while (outcome := await kind.step(key, stage, partial(self._finisher.run, stage, key))) == "again":
                failures += 1
                await kind.pause(key, pause_after(failures))
            if outcome == "gone":
                return "gone"
        return "finished"

    async def holds(self, key: str) -> bool:
        return await self._finisher.holds(key)


class Exporting:
    """Keyed by the export's id."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    async def run(self, key: str, kind: Kind) -> str:
        failures = 0
        while (outcome := await kind.step(key, "write", partial(self._exporter.attempt, key))) == "again":
            failures += 1
            await kind.pause(key, pause_after(failures))
        return str(outcome)

    async def holds(self, key: str) -> bool:
        return await self._exporter.holds(key)


def sending_key(delivery_id: str, round: int) -> str:
    """The workflow's id: each replay of a delivery is a workflow of its own."""
    return f"{delivery_id}.{round}"


class Sending:
    """Keyed by `sending_key`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def run(self, key: str, kind: Kind) -> str:
        delivery_id, round = _parts(key)
        while True:
            turn = self._sender.turn(delivery_id)
            pause = await kind.step(key, "try", partial(self._sender.attempt, delivery_id, round), turn)
            if pause is None:
                return "over"
            await kind.pause(key, pause)

    async def holds(self, key: str) -> bool:
        return await self._sender.holds(*_parts(key))


def _parts(key: str) -> tuple[str, int]:
    delivery_id, _, round = key.partition(".")
    return delivery_id, int(round)
