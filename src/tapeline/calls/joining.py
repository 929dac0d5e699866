"""A call and all whom it talks with go into a conversation together: a conference, or that which another call began with.

A call's own conversation is its bridge, which is made where it has been alone; its own flow goes on, and who came stays until they part.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from tapeline.calls.bridge import Bridge, until_alone
from tapeline.calls.conference.conference import Conference
from tapeline.calls.equipment import Equipment
from tapeline.calls.session import Call
from tapeline.core.errors import TapelineError
from tapeline.core.roomspec import JoinSpec
from tapeline.core.vonage import conversation_uuid

__all__ = ["move_all"]

log = structlog.get_logger(__name__)


def move_all(call: Call, conversation_id: str, spec: JoinSpec, left: Callable[[str], None], kit: Equipment) -> str:
    """Put `call` into the conversation of that id in the manner of `spec`, and whom it is bridged with beside it.

    `left(reason)` follows once, the others are hung up when they leave. Where it could not be joined: the reason; one that is not there
    has changed nothing.
    """
    conferences = kit.conferences
    found = conferences.find(call.facts.account, conversation_id, named=False)
    if found is not None and found.charter.application_id == call.facts.application_id:
        return _to_conference(call, found.id, spec, left, kit)
    other = kit.conversation(conversation_id.lower())
    ours = other is not None and (other.facts.account, other.facts.application_id) == (call.facts.account, call.facts.application_id)
    if other is None or not ours:
        return "not_found"
    if isinstance(other.place, Conference):
        return _to_conference(call, other.place.id, spec, left, kit)
    return _to_call(call, other, spec, left, kit)


def _to_conference(call: Call, conference_id: str, spec: JoinSpec, left: Callable[[str], None], kit: Equipment) -> str:
    others = _taken(call)
    refused = kit.conferences.join(call, conference_id, spec, left, named=False)
    for other in others:
        if refused or kit.conferences.join(other, conference_id, JoinSpec(), _hangs_up(other), named=False):
            other.hang_up("normal", "the conversation could not be joined")
    return refused


def _to_call(call: Call, target: Call, spec: JoinSpec, left: Callable[[str], None], kit: Equipment) -> str:
    """Join the bridge of `target`. Who is in that conversation already stays in it."""
    if target is not call and (target.place is None or target.place is not call.place):
        others = _taken(call)
        try:
            _bridged(call, target, spec, kit)
        except TapelineError as error:
            log.warning("a conversation cannot be joined", call_id=call.facts.id, error=str(error))
            for other in others:
                other.hang_up("normal", "the conversation could not be joined")
            return "full"
        for other in others:
            try:
                _bridged(other, target, JoinSpec(), kit)
            except TapelineError as error:
                other.hang_up("normal", f"the conversation could not be joined: {error}")
        if spec.mute:
            call.controls.mute("in")
    kit.spawn(_until_parted(call, left))
    return ""


def _bridged(call: Call, target: Call, spec: JoinSpec, kit: Equipment) -> None:
    place = target.place if isinstance(target.place, Bridge) else Bridge(target, None, kit)
    place.add(call, spec)
    before = conversation_uuid(call.facts.activeflow_id)
    call.belong(target.facts.activeflow_id)
    kit.webhooks.moved(call, before)


async def _until_parted(call: Call, left: Callable[[str], None]) -> None:
    await until_alone(call)
    left("ended")


def _taken(call: Call) -> tuple[Call, ...]:
    """Whom `call` is bridged with, once both have been let go."""
    others: tuple[Call, ...] = ()
    if isinstance(call.place, Bridge):
        others = call.place.others(call)
        call.place.dissolve(call)
    return others


def _hangs_up(call: Call) -> Callable[[str], None]:
    return lambda reason: call.hang_up("normal")
