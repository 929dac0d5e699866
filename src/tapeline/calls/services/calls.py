"""What every face uses of calls beyond seeing and ending them: placing them, hold, mute, music, speech, and their messages.

Rules on who may do what are asked here; what is done to a call is its own business (`calls.controls`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from tapeline import flow
from tapeline.calls import company
from tapeline.calls.controls import Controls, Muted
from tapeline.calls.dialer import Wish
from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import no_trace, not_progressing
from tapeline.calls.parties import USERS
from tapeline.calls.placing import compiled, place
from tapeline.calls.script import begin
from tapeline.calls.services.sight import account_seen
from tapeline.calls.session import Call
from tapeline.calls.switch import Switch
from tapeline.calls.tracing import as_text
from tapeline.calls.views import CallOrder, CallView, ChannelView, GroupcallView, PlacedCalls
from tapeline.core.errors import InvalidInput, InvalidState, Unavailable
from tapeline.core.ids import new_id
from tapeline.core.principal import Principal
from tapeline.flow import Party

__all__ = ["CallService"]

Switchable = Literal["hold", "music", "silence"]


class CallService:
    """`view` finds a call that the principal may see; it raises NotFound, Forbidden."""

    def __init__(self, switch: Switch, view: Callable[[str, Principal], Awaitable[CallView]], equipment: Equipment) -> None:
        self._switch = switch
        self._view = view
        self._kit = equipment

    async def place(self, order: CallOrder, principal: Principal) -> PlacedCalls:
        """Raises InvalidInput where the flow cannot run, InvalidState where none of the destinations can be called."""
        principal.require("calls:write")
        if not self._switch.accepting:
            raise Unavailable("the server is about to stop", reason="DRAINING")
        document = await self._kit.load_flow(order.flow_id, principal.account) if order.flow_id else order.actions or []
        program = await self._kit.thread(compiled, document)
        calls: list[CallView] = []
        groups: list[GroupcallView] = []
        for destination in order.destinations:
            wish = Wish(
                parties=(Party(destination.kind, destination.target, destination.name),),
                account=principal.account,
                source=order.source,
                anonymous=order.anonymous,
                flow_id=order.flow_id,
            )
            placed = await place(wish, self._kit, lambda call: begin(program, call, self._kit, order.variables))
            views = [call.view() for call in placed]
            calls += views
            if destination.kind.lower() in USERS and views:
                ids = tuple(view.id for view in views)
                groups.append(GroupcallView(new_id(), principal.account, views[0].source, destination, ids, views[0].created))
        if not calls:
            raise InvalidState("none of the destinations can be called", reason="DESTINATION_UNREACHABLE", hint="the log says why")
        return PlacedCalls(tuple(calls), tuple(groups))

    # -- one that is up ------------------------------------------------------------------------------------------------

    async def switch(self, call_id: str, what: Switchable, on: bool, principal: Principal) -> None:
        """Hold, music or silence, on or off. Raises InvalidState."""
        controls = await self._controls(call_id, principal)
        {"hold": controls.hold, "music": controls.music, "silence": controls.silence}[what](on)

    async def mute(self, call_id: str, muted: Muted, principal: Principal) -> None:
        (await self._controls(call_id, principal)).mute(muted)

    async def talk(self, call_id: str, text: str, language: str, principal: Principal) -> None:
        (await self._controls(call_id, principal)).talk(text, language)

    async def _controls(self, call_id: str, principal: Principal) -> Controls:
        principal.require("calls:write")
        view = await self._view(call_id, principal)
        call = self._switch.call(call_id)
        if call is None:
            raise not_progressing(view.status)
        return call.controls

    # -- as KAZOO has it -----------------------------------------------------------------------------------------------

    async def channels(self, account: str, principal: Principal) -> list[ChannelView]:
        """The calls of an account that are up on this node, newest first. Raises Forbidden."""
        principal.require("calls:read")
        account_seen(account, principal)
        calls = [call for call in self._switch.calls if call.facts.account == account and not call.over]
        return [_channel(call) for call in sorted(calls, key=lambda call: -call.facts.created)]

    async def metaflow(self, call_id: str, document: Mapping[str, Any], principal: Principal) -> None:
        """Do to a call what a metaflow's key would do: `document` has `module`, `data`, `children`. It is begun, not awaited.

        Raises NotFound, Forbidden, InvalidState where it is not up, InvalidInput where the action cannot be read."""
        principal.require("calls:write")
        if document.get("module") == "record_call":
            principal.require("recordings:write")
        view = await self._view(call_id, principal)
        call = self._switch.call(call_id)
        if call is None or call.over:
            raise not_progressing(view.status)
        problems = flow.Problems()
        action = flow.action(document, problems)
        if action is None:
            raise InvalidInput("the action cannot be read", problems=[str(problem) for problem in problems.sorted()])
        self._kit.spawn(self._switch.actions.run(call, action))

    # -- its messages --------------------------------------------------------------------------------------------------

    async def keep_trace(self, call_id: str, on: bool, principal: Principal) -> None:
        """Keep its messages from now on, or forget them."""
        principal.require("calls:write")
        view = await self._view(call_id, principal)
        call = self._switch.call(call_id)
        if call is None:
            raise not_progressing(view.status)
        call.session.keep_trace = on

    async def trace(self, call_id: str, principal: Principal) -> str:
        """Its messages as text. Raises NotFound where none are kept."""
        principal.require("calls:read")
        await self._view(call_id, principal)
        call: Call | None = self._switch.call(call_id)
        trace = call.session.trace if call is not None else self._switch.ended_trace(call_id)
        if trace is None:
            raise no_trace()
        return as_text(trace, self._kit.clock.wall() - self._kit.clock.now())


def _channel(call: Call) -> ChannelView:
    other = next(iter(company.others(call)), None)
    return ChannelView(call.view(), call.facts.user, other.session.call_id if other is not None else "")
