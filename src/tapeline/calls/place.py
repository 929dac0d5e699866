"""What a call can be in with others: a bridge of two, or a conference. A call is in one place at a time.

Whoever puts a call into a place sets `Call.place`, and clears it when the call leaves. A call that ends leaves its place by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tapeline import rtp

if TYPE_CHECKING:
    from tapeline.calls.session import Call

__all__ = ["Place"]


class Place(Protocol):
    @property
    def bus(self) -> rtp.Bus:
        """What its members hear each other by."""

    def others(self, call: Call) -> tuple[Call, ...]:
        """Who is in it besides `call`."""

    def leave(self, call: Call) -> None:
        """`call` is no longer part of it; it may have ended. Nothing happens where it was not."""

    async def until_left(self, call: Call) -> tuple[Call, ...]:
        """Wait until `call` is no longer in it. Whom that leaves without anybody: with whom it was when all was over."""

    def on_digit(self, call: Call, digit: str, *, event: bool) -> None:
        """`call` pressed a key; `event`: as a telephone event in its media, else by SIP INFO."""

    def held(self, call: Call, on: bool) -> None:
        """The party of `call` put it on hold, or came back."""

    def changed(self, call: Call) -> None:
        """Whether `call` hears or is heard (`Call.hears`, `Call.speaks`) has changed."""
