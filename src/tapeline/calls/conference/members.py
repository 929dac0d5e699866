"""What a conference is, and who takes part in it: its charter, and the stays of its members."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tapeline import rtp
from tapeline.core.facts import StayStatus
from tapeline.core.roomspec import JoinSpec, RoomSpec, ignores

if TYPE_CHECKING:
    from tapeline.calls.session import Call

__all__ = ["Charter", "Member"]


@dataclass(frozen=True, slots=True)
class Charter:
    """What a conference is, whoever is in it. Only `name` to `expires` can be changed while it lives."""

    id: str
    account: str
    created: float
    kind: str = "conference"
    room: str = ""  # the name under which it was opened; "": made over the API, and found by its id
    spec: RoomSpec = RoomSpec()
    name: str = ""
    detail: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    timeout: int = 0
    pre_flow_id: str = ""
    post_flow_id: str = ""
    expires: float | None = None  # wall time
    application_id: str = ""  # the Vonage application that a room's name belongs to


@dataclass(slots=True, eq=False)
class Member:
    """One stay of one call."""

    id: str
    call: Call
    spec: JoinSpec
    created: float
    left: Callable[[str], None]  # told why it is over
    muted: bool
    deaf: bool
    status: StayStatus = "joining"
    joined: float | None = None
    ended: float | None = None
    updated: float | None = None
    reason: str = ""
    replaced: bool = False  # somebody is on the way who takes its place: until then its leaving ends nothing
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    music: rtp.Player | None = None
    fetching: bool = False  # its music is being fetched, or cannot be had

    @property
    def gains(self) -> dict[str, float]:
        hears, speaks = not self.deaf and self.spec.can_hear != (), not self.muted and self.spec.can_speak != ()
        return {"hear": float(self.call.hears and hears), "speak": float(self.call.speaks and speaks)}

    def ignores(self, other: Member) -> bool:
        """Whether it is not to hear `other`."""
        return ignores((self.call.facts.id, self.spec), (other.call.facts.id, other.spec))
