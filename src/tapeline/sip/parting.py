"""How a session takes leave of its peer: CANCEL, a refusal, or BYE as soon as RFC 3261 section 15 allows.

A UAS may not say BYE before the ACK to its first 2xx has come, or is no longer to be expected: until then what the BYE will tell is kept.
Whether the session is over is not decided here, but by `Session.end`, which goes with each of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapeline.sip.invite_in import IncomingInvite
from tapeline.sip.message import Field
from tapeline.sip.reasons import Reason, reason_fields

if TYPE_CHECKING:
    from tapeline.sip.session import Session

__all__ = ["Parting"]


class Parting:
    """Of one session. `unfinished`: a BYE is under way, or waits."""

    __slots__ = ("_session", "_why", "unfinished")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.unfinished = False
        self._why: Sequence[Field] = ()  # what a BYE that has to wait will tell

    def lose(self, now: float, status: int, text: str) -> None:
        """Take leave of a peer that may be gone, and say why."""
        session = self._session
        why = reason_fields([Reason("sip", status, text)])
        if session.state == "confirmed":
            self.leave(now, why)
        elif session.going is not None:
            session.going.cancel(now, why)
        elif session.coming is not None and session.coming.state == "open":
            session.coming.respond(480, now, why)

    def leave(self, now: float, why: Sequence[Field] = ()) -> None:
        """End a confirmed session, and what is under way in it."""
        session = self._session
        coming, going = session.coming, session.going
        if coming is not None and coming.state == "open":
            coming.respond(487, now, [])
        if going is not None:
            if going.ack_due:
                going.ack(session.dialog, b"", now)
            going.abandon(now)
        self.unfinished = True
        if coming is not None and coming.state == "accepted" and coming.initial:
            self._why = why
            return
        session.send("BYE", now, why)

    def go_on(self, invite: IncomingInvite, now: float) -> None:
        """The ACK to the 2xx of `invite` has come, or is no longer to be expected."""
        if self.unfinished and invite.initial:
            self._session.send("BYE", now, self._why)
