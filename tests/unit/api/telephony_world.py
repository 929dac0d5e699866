"""Calls that are placed and controlled, in memory, with the rules that the service promises, for the faces' tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from tapeline.calls.errors import no_trace, not_progressing, not_yours
from tapeline.calls.views import CallOrder, CallView, ChannelView, GroupcallView, PlacedCalls
from tapeline.core.errors import InvalidState
from tapeline.core.ids import new_id
from tapeline.core.principal import Principal


class MemoryTelephony:
    def __init__(
        self,
        view: Callable[[str, Principal], Awaitable[CallView]],
        dial: Callable[[str], str],
        calls: dict[str, CallView],
        check: Callable[[], None],
    ) -> None:
        self._check = check  # raises what the test wants to be raised
        self._view = view
        self._dial = dial
        self._calls = calls
        self.orders: list[CallOrder] = []
        self.done: list[tuple[Any, ...]] = []
        self.traces: dict[str, str] = {}
        self.unreachable = False
        self.users: dict[str, str] = {}  # call id -> the user of ours at its end
        self.other_leg = ""  # of every channel
        self.metaflows: list[tuple[str, Mapping[str, Any]]] = []

    async def channels(self, account: str, principal: Principal) -> list[ChannelView]:
        if not principal.may_see(account):
            raise not_yours("account")
        up = [call for call in self._calls.values() if call.account == account and call.status != "hangup"]
        return [ChannelView(call, self.users.get(call.id, ""), self.other_leg) for call in up]

    async def metaflow(self, call_id: str, document: Mapping[str, Any], principal: Principal) -> None:
        await self._view(call_id, principal)
        self.metaflows.append((call_id, document))

    async def place(self, order: CallOrder, principal: Principal) -> PlacedCalls:
        principal.require("calls:write")
        self._check()
        self.orders.append(order)
        if self.unreachable:
            raise InvalidState("none of the destinations can be called", reason="DESTINATION_UNREACHABLE")
        views = [self._calls[self._dial(principal.account)] for _ in order.destinations]
        groups = tuple(
            GroupcallView(new_id(), view.account, view.source, destination, (view.id,), view.created)
            for view, destination in zip(views, order.destinations, strict=True)
            if destination.kind == "extension"
        )
        return PlacedCalls(tuple(views), groups)

    async def _up(self, call_id: str, principal: Principal) -> CallView:
        principal.require("calls:write")
        view = await self._view(call_id, principal)
        if view.status != "progressing":
            raise not_progressing(view.status)
        return view

    async def switch(self, call_id: str, what: str, on: bool, principal: Principal) -> None:
        await self._up(call_id, principal)
        self.done.append((what, on))

    async def mute(self, call_id: str, muted: Any, principal: Principal) -> None:
        self._calls[call_id] = replace(await self._up(call_id, principal), mute_direction=muted)

    async def talk(self, call_id: str, text: str, language: str, principal: Principal) -> None:
        await self._up(call_id, principal)
        self.done.append(("talk", text, language))

    async def keep_trace(self, call_id: str, on: bool, principal: Principal) -> None:
        await self._up(call_id, principal)
        if on:
            self.traces[call_id] = "--- INVITE"
        else:
            self.traces.pop(call_id, None)

    async def trace(self, call_id: str, principal: Principal) -> str:
        principal.require("calls:read")
        await self._view(call_id, principal)
        if call_id not in self.traces:
            raise no_trace()
        return self.traces[call_id]
