"""What applications do with their calls, in memory: orders are kept, calls are views of the world, what is asked of one is noted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tapeline.calls.errors import call_not_found, not_progressing
from tapeline.calls.views import Address, CallView
from tapeline.calls.vonage.voice import Order
from tapeline.core.errors import InvalidState
from tapeline.store import Application, CallFilter


class MemoryVoice:
    def __init__(self, calls: dict[str, CallView], make: Callable[..., str]) -> None:
        self._calls = calls
        self._make = make
        self.orders: list[Order] = []
        self.filters: list[CallFilter] = []
        self.done: list[tuple[Any, ...]] = []

    async def place(self, order: Order, application: Application) -> CallView:
        if order.to.target == "nowhere":
            raise InvalidState("this endpoint cannot be called", reason="DESTINATION_UNREACHABLE")
        self.orders.append(order)
        call_id = self._make(
            application.account, "dialing", direction="outgoing", application_id=application.id, activeflow_id=application.id,
            destination=Address(order.to.kind, order.to.target), source=Address("tel", order.source),
        )  # fmt: skip
        return self._calls[call_id]

    async def get(self, call_id: str, application: Application) -> CallView:
        view = self._calls.get(call_id)
        if view is None or view.application_id != application.id:
            raise call_not_found(call_id)
        return view

    async def list(self, wanted: CallFilter, application: Application) -> tuple[int, Sequence[CallView]]:
        self.filters.append(wanted)
        own = [view for view in self._calls.values() if view.application_id == application.id]
        return len(own), own[wanted.offset : wanted.offset + wanted.limit]

    async def hang_up(self, call_id: str, application: Application) -> None:
        view = await self.get(call_id, application)
        if view.status == "hangup":
            raise InvalidState("the call is over", reason="CALL_ALREADY_HANGUP")
        self._calls[call_id] = replace(view, status="hangup", hangup_by="local", hangup_reason="normal", hungup=view.created + 5.0)

    async def _up(self, *what: Any) -> None:
        view = await self.get(what[1], what[2])
        if view.status != "progressing":
            raise not_progressing(view.status)
        self.done.append((what[0], *what[3:]))

    async def mute(self, call_id: str, application: Application, *, heard: bool | None = None, hears: bool | None = None) -> None:
        await self._up("mute", call_id, application, heard, hears)

    async def transfer(self, call_id: str, application: Application, program: Any, url: str = "") -> None:
        await self._up("transfer", call_id, application, program is not None, url)

    async def talk(self, call_id: str, application: Application, text: str, language: str, *, loops: int, level: float) -> None:
        await self._up("talk", call_id, application, text, language, loops, level)

    async def stream(self, call_id: str, application: Application, url: str, *, loops: int, level: float) -> None:
        await self._up("stream", call_id, application, url, loops, level)

    async def hush(self, call_id: str, application: Application, kind: str) -> None:
        await self._up("hush", call_id, application, kind)

    async def press(self, call_id: str, application: Application, keys: str) -> None:
        await self._up("press", call_id, application, keys)

    async def tell_keys(self, call_id: str, application: Application, address: tuple[str, str] | None) -> None:
        await self._up("tell_keys", call_id, application, address)
