"""Offers within a call, after the first: re-INVITE and UPDATE of ours, UPDATE and PRACK of the peer's that carry one, and how they meet.

One offer is open at a time (RFC 3264 section 4). Who gets one while its own is open answers 491, while the peer's earlier one is open 500
(RFC 3261 section 14.2, RFC 3311 section 5.2); our own that got 491 is tried again after a while that depends on who made the Call-ID, so
that both sides do not meet again. Before the call is answered an offer goes by UPDATE, after it by re-INVITE. A refresh (RFC 4028) is
either of them repeating what was agreed on, and nobody is told of it unless the peer's answer is another than before. This module knows
nothing of what an offer means; INVITE itself is in `invite_in` and `invite_out`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapeline.core.errors import InvalidState
from tapeline.sip.errors import MalformedMultipart
from tapeline.sip.events import ReofferAccepted, ReofferAcknowledged, Reoffered, ReofferRefused
from tapeline.sip.message import Field, Message, Request, Response
from tapeline.sip.multipart import part_of_type
from tapeline.sip.reliable import parse_rack
from tapeline.sip.timers import Timer
from tapeline.sip.transactions import ServerTransaction

if TYPE_CHECKING:
    from tapeline.sip.session import Session

__all__ = ["Offers", "retry_after", "session_description", "takes_update"]

_MOST_RETRIES = 4  # of an offer of ours that met the peer's
_PATIENCE = 16  # times T1 that an UPDATE waits for its owner's word (RFC 3311 section 5.2: soon); its sender gives up after 64


def session_description(message: Message) -> bytes | None:
    """The SDP body, taken out of a multipart body where it is in one; None where there is none."""
    if not message.body:
        return None
    kind = message.content_type
    if kind.startswith("multipart/"):
        try:
            return part_of_type(message.need("content-type"), message.body, "application/sdp")
        except MalformedMultipart:
            return None
    return message.body if kind in ("application/sdp", "") else None


def takes_update(message: Message) -> bool:
    return any("UPDATE" in line.upper() for line in message.all("allow"))


def retry_after(fraction: float) -> list[Field]:
    """RFC 3261 section 14.2: from 0 to 10 seconds."""
    return [("Retry-After", str(int(fraction * 10)))]


class Offers:
    """`asked`: an UPDATE or PRACK of the peer's waits for our answer. `updating`: an UPDATE of ours waits for the peer's."""

    __slots__ = ("_asked", "_body", "_by_update", "_patience", "_quiet", "_retries", "_retry", "_session", "updating")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked: tuple[Request, ServerTransaction, bytes] | None = None
        self._patience: Timer | None = None
        self._body = b""  # of what is under way, or is to be tried again
        self._by_update = False
        self._quiet = False  # it is a refresh
        self._retry: Timer | None = None
        self._retries = 0
        self.updating = False

    @property
    def asked(self) -> bool:
        return self._asked is not None

    @property
    def open(self) -> bool:
        """An offer by UPDATE or PRACK is not answered, in whichever direction."""
        return self._asked is not None or (self.updating and bool(self._body))

    # ---- ours

    def send(self, body: bytes, now: float, *, by_update: bool) -> None:
        """Raises InvalidState while another is under way or waits for its second try."""
        if self._session.busy() or self.updating or self._retry is not None:
            raise InvalidState("another offer is under way")
        self._begin(body, now, by_update, quiet=False)

    def refresh(self, now: float) -> bool:
        """Say that we are there; False where it has to wait."""
        session = self._session
        if session.busy() or self.updating or self._retry is not None:
            return False
        by_update = session.peer_updates
        self._begin(b"" if by_update else session.local_sdp, now, by_update, quiet=True)
        return True

    def _begin(self, body: bytes, now: float, by_update: bool, *, quiet: bool) -> None:
        self._body = body
        self._by_update = by_update
        self._quiet = quiet
        self._retries = 0
        self._go(now)

    def _go(self, now: float) -> None:
        session = self._session
        if self._by_update:
            self.updating = True
            session.send("UPDATE", now, session.offer_fields(self._body, asking=True), self._body)
        else:
            session.send_reinvite(self._body, now)

    def accepted(self, offer: bytes, answer: bytes | None) -> None:
        """A 2xx to our re-INVITE or UPDATE: `answer` is the peer's offer where we made none."""
        session = self._session
        told = answer is not None and answer != session.remote_sdp
        if offer:
            session.local_sdp = offer
        if answer is not None:
            session.remote_sdp = answer
        if not self._quiet or told:
            session.emit(ReofferAccepted(session, answer, offer))
        self._quiet = False

    def refused(self, response: Response, now: float) -> None:
        """Any other answer to our re-INVITE or UPDATE, but those that end the call."""
        session = self._session
        if response.status == 491 and self._retries < _MOST_RETRIES:
            self._retries += 1
            # RFC 3261 section 14.1: whoever made the Call-ID waits longer.
            wait = session.layer.fraction() * 2 + (0.0 if session.incoming else 2.1)
            self._retry = session.layer.timers.start(now + wait, self, "again")
        elif not self._quiet:
            session.emit(ReofferRefused(session, response.status))
        elif self._by_update and response.status in (405, 501):
            session.peer_updates = False
            self._begin(session.local_sdp, now, False, quiet=True)
        else:
            session.timer.rebuffed(now)

    def on_update_answered(self, response: Response, now: float) -> None:
        if not self.updating:
            return
        self.updating = False
        session = self._session
        if response.status < 300:
            session.dialog.refresh(response)
            session.timer.accepted(response, now)
            if self._body:
                self._settled_anew(session.dialog.remote_tag)
            self.accepted(self._body, session_description(response) if self._body else None)
        elif response.status == 422 and session.timer.refused(response):
            self._go(now)
        elif response.status in (408, 481):
            session.lose(now, response.status, response.reason)
        else:
            self.refused(response, now)

    def on_update_unanswered(self, what: str, now: float) -> None:
        if self.updating:
            self.updating = False
            self._session.unanswered(what, now)

    # ---- the peer's

    def on_update(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        body = session_description(request)
        session = self._session
        if body is None:
            session.dialog_of(request).refresh(request)
            session.reply(request, transaction, 200, now, [*session.dialog_fields(), *session.timer.answer(request, now)])
        else:
            self._on_offer(request, transaction, body, now)

    def on_prack(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """RFC 3262 sections 3 and 5. A body is the answer to an offer of ours, or else an offer. Raises MalformedMessage."""
        session = self._session
        invite = session.coming
        rseq, *acknowledged = parse_rack(request.need("rack"))
        reliable = invite.reliable if invite is not None else None
        if invite is None or reliable is None or acknowledged != [invite.seq, "INVITE"] or rseq != reliable.under_way:
            session.reply(request, transaction, 481, now)
            return
        body = session_description(request)
        answers = reliable.tells and not invite.offered and not invite.settled
        if answers and body is None:
            session.reply(request, transaction, 400, now)
            return
        reliable.acknowledged()
        invite.settled = invite.settled or reliable.tells
        if body is not None and not answers:
            self._on_offer(request, transaction, body, now)
        else:
            session.reply(request, transaction, 200, now)
        if body is not None and answers:
            session.remote_sdp = body
            session.emit(ReofferAcknowledged(session, body))
        session.go_on(now)

    def _on_offer(self, request: Request, transaction: ServerTransaction, body: bytes, now: float) -> None:
        session = self._session
        status = self._collision(request.from_.tag)
        if status:
            session.reply(request, transaction, status, now, retry_after(session.layer.fraction()) if status == 500 else ())
            return
        session.dialog_of(request).refresh(request)
        self._asked = request, transaction, body
        self._patience = session.layer.timers.start(now + _PATIENCE * session.layer.times.t1, self, "unanswered")
        session.emit(Reoffered(session, body))

    def _collision(self, tag: str) -> int:
        """The status that refuses an offer (RFC 3311 section 5.2), 0 where nothing stands against it."""
        coming, going = self._session.coming, self._session.going
        if self.asked or (coming is not None and coming.state == "open" and not coming.answered):
            return 500
        if coming is not None and coming.state != "closed" and not (coming.offered or coming.settled):
            return 491
        if going is not None and going.ack_due:
            return 500
        if going is not None and not going.final:
            branch = going.early.get(tag) if going.early is not None else None
            if branch is None or not branch.settled:
                return 491
        return 491 if self.open else 0

    def _settled_anew(self, tag: str) -> None:
        """What the early dialog `tag` had settled no longer holds."""
        early = self._session.early
        branch = early.get(tag) if early is not None else None
        if branch is not None:
            branch.answer = None

    def answer(self, body: bytes, now: float) -> None:
        request, transaction, offer = self._taken()
        session = self._session
        session.local_sdp, session.remote_sdp = body, offer
        self._settled_anew(request.from_.tag)
        fields = session.offer_fields(body)
        if request.method == "UPDATE":
            fields += session.timer.answer(request, now)
        session.reply(request, transaction, 200, now, fields, body)

    def refuse(self, status: int, now: float) -> None:
        request, transaction, _ = self._taken()
        self._session.reply(request, transaction, status, now)

    def _taken(self) -> tuple[Request, ServerTransaction, bytes]:
        assert self._asked is not None  # asked by the callers
        taken, self._asked = self._asked, None
        self._session.layer.timers.cancel(self._patience)
        self._patience = None
        return taken

    # ---- time and the end

    def on_timer(self, name: str, now: float) -> None:
        session = self._session
        if name == "unanswered":
            self._patience = None
            self.refuse(504, now)
            session.go_on(now)
            return
        self._retry = None
        if not session.busy():
            self._go(now)
        elif self._quiet:
            session.timer.put_off(now)
        else:
            session.emit(ReofferRefused(session, 491))  # the peer's own offer came first; ours is out of date

    def ended(self, now: float) -> None:
        self.updating = False
        self._session.layer.timers.cancel(self._retry)
        self._retry = None
        if self._asked is not None:
            self.refuse(487, now)
