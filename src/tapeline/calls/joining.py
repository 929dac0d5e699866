"""A call and all whom it talks with go to a conference together."""

from __future__ import annotations

from collections.abc import Callable

from tapeline.calls.bridge import Bridge
from tapeline.calls.conferences import Conferences
from tapeline.calls.session import Call
from tapeline.core.roomspec import JoinSpec

__all__ = ["move_all"]


def move_all(call: Call, conference_id: str, spec: JoinSpec, left: Callable[[str], None], conferences: Conferences) -> str:
    """Put `call` into the conference of that id in the manner of `spec`, and whom it is bridged with beside it.

    `left(reason)` follows once, the others are hung up when they leave. Where it could not be joined: the reason; one that is not there
    has changed nothing.
    """
    found = conferences.find(call.facts.account, conference_id, named=False)
    if found is None or found.charter.application_id != call.facts.application_id:
        return "not_found"
    others: tuple[Call, ...] = ()
    if isinstance(call.place, Bridge):
        others = call.place.others(call)
        call.place.dissolve(call)
    refused = conferences.join(call, conference_id, spec, left, named=False)
    for other in others:
        if refused or conferences.join(other, conference_id, JoinSpec(), _hangs_up(other), named=False):
            other.hang_up("normal", "the conversation could not be joined")
    return refused


def _hangs_up(call: Call) -> Callable[[str], None]:
    return lambda reason: call.hang_up("normal")
