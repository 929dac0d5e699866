"""Deliveries over a real database, store and HTTP server, in a time of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tapeline.core.ids import new_id
from tapeline.delivery.carry import Carrier
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.policies import KEEP_TRYING_S
from tapeline.delivery.send import Sender
from tapeline.store import AttemptRow, Database, DeliveryRow, ObjectStore
from tapeline.testing.receiver import Receiver

AUDIO = bytes(range(256)) * 40_000  # ten megabytes: more than the buffers of two sockets hold


@dataclass
class Bench:
    database: Database
    objects: ObjectStore
    receiver: Receiver
    client: GuardedClient
    folder: Path
    now: float = 1000.0
    said: list[Mapping[str, Any]] = field(default_factory=list)
    audio: bytes = field(default=AUDIO, repr=False)  # asyncio writes out what a fixture gave, and ten megabytes take a while

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another process over the same rows."""
        self.sender = Sender(self.database, Carrier(self.objects, self.client), self.said.append, wall=lambda: self.now)

    async def upload(self, path: str = "/in/file.mp3", **fields: Any) -> DeliveryRow:
        recording, account = new_id(), new_id()
        key = f"{account}/{recording}.mp3"
        source = self.folder / recording
        source.write_bytes(self.audio)
        await self.objects.put_file(key, source, "audio/mpeg")
        given = {"url": self.receiver.url + path, "object_key": key, "content_type": "audio/mpeg"} | fields
        row = DeliveryRow(new_id(), account, "upload", recording, created=self.now, until=self.now + KEEP_TRYING_S, **given)
        await self.database.deliveries.add(row)
        return row

    async def row(self, delivery: DeliveryRow) -> DeliveryRow:
        found = await self.database.deliveries.get(delivery.id)
        assert found is not None
        return found

    async def attempts(self, delivery: DeliveryRow) -> list[AttemptRow]:
        return await self.database.attempts.list(delivery.id)

    async def run(self, delivery: DeliveryRow, most: int = 1000) -> int:
        """Try until it is over, letting the pauses pass at once. How many tries."""
        for count in range(1, most + 1):
            pause = await self.sender.attempt(delivery.id, 0)
            if pause is None:
                return count
            self.now += pause
        raise AssertionError("it never ends")
