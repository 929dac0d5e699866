"""Calls to conferences, placed by themselves: a flow at one end, a member at the other.

    near call (outgoing, runs the flow) -- RTP over this machine's own loop -- far call (incoming, in the conference)

What the flow says is heard in the conference, and it hears (records) what the conference says. Both are calls like any other: a
`LoopLine` stands in the place of each one's SIP session, and what the one is told becomes an event of the other. The far one is answered
at once, and both end together. The flows that come before and after a conference are for callers, and do not run here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, cast

import structlog

from tapeline import sip
from tapeline.calls.dialer import Wish
from tapeline.calls.equipment import Equipment
from tapeline.calls.media import Media
from tapeline.calls.session import Call, Facts
from tapeline.calls.views import Address
from tapeline.core.errors import Exhausted, InvalidState
from tapeline.core.ids import new_id
from tapeline.core.roomspec import JoinSpec
from tapeline.sip import offer_answer

__all__ = ["LoopLine", "Loops"]

log = structlog.get_logger(__name__)

HERE = "127.0.0.1"
CODEC = "L16/16000"


class LoopLine:
    """What a call asks of its session, for one end of a loop. `call` and `far` are set by who makes them."""

    trace = None
    keep_trace = False
    call: Call
    far: LoopLine

    def __init__(self, incoming: bool, uri: str) -> None:
        self.id = self.call_id = new_id()
        self.incoming = incoming
        self.state = "proceeding" if incoming else "calling"
        self.local_uri = self.remote_uri = self.request_uri = uri

    def ring(self, now: float, status: int = 180, body: bytes | None = None) -> None:
        """It is answered at once."""

    def accept(self, body: bytes, now: float) -> None:
        self.state = self.far.state = "confirmed"
        _soon(self, sip.Established(self._session, None))
        _soon(self.far, sip.Accepted(self.far._session, body, cast(sip.Response, None)))

    def reject(self, status: int, now: float, reason: str = "") -> None:
        self._end("local", status, reason)

    def hangup(self, now: float, reason: str = "", status: int = 0) -> None:
        self._end("local", 200, reason)

    def info(self, content_type: str, body: bytes, now: float) -> None:
        """Keys go as events in the media."""

    def reoffer(self, body: bytes, now: float) -> None:
        raise InvalidState("a call to a conference cannot be put on hold")

    @property
    def _session(self) -> sip.Session:
        return cast(sip.Session, self)

    def _end(self, by: Literal["local", "remote"], status: int, text: str) -> None:
        if self.state != "terminated":
            self.state = "terminated"
            _soon(self, sip.Ended(self._session, by, status, "normal", text))
            self.far._end("remote", status, text)


def _soon(line: LoopLine, event: sip.Event) -> None:
    asyncio.get_running_loop().call_soon(line.call.on_signal, event)


class Loops:
    """Places calls to conferences. `add` and `remove` are the switch's."""

    def __init__(self, equipment: Equipment, add: Callable[[Call], None], remove: Callable[[Call], None]) -> None:
        self._kit = equipment
        self._add = add
        self._remove = remove

    def place(self, wish: Wish, answered: Callable[[Call], None]) -> Call | None:
        """Call the conference that is the only party of `wish`, and hand the call to `answered` once it is up. Returns at once; None where
        there is no such conference, it is full, or there is no port."""
        party = wish.parties[0]
        room = self._kit.conferences.find(wish.account, party.target, named=False)
        if room is None or room.full:
            log.info("a conference cannot be called", conference_id=party.target, found=room is not None)
            return None
        destination = Address("conference", room.id, party.name)
        try:
            near = self._call(wish, destination)
        except Exhausted as error:
            log.error("a conference cannot be called: no media port", error=str(error))
            return None
        try:
            far = self._call(wish, destination, near)
        except Exhausted as error:
            log.error("a conference cannot be called: no media port", error=str(error))
            near.leg.close()
            return None
        near.session.far, far.session.far = far.session, near.session  # type: ignore[attr-defined]
        self._add(near)
        self._add(far)
        near.chain(far)
        log.info("call to a conference", call_id=near.facts.id, conference_id=room.id)
        far.follow(_End(far, lambda: self._join(far, room.id)))
        near.follow(_End(near, lambda: answered(near)))
        if far.offered(near.media.offer()):
            far.answer()
        return near

    def _join(self, far: Call, room: str) -> None:
        refused = self._kit.conferences.join(far, room, JoinSpec(), lambda reason: far.hang_up("normal"), named=False)
        if refused:
            far.hang_up("failed", "the conference cannot be joined")

    def _call(self, wish: Wish, destination: Address, near: Call | None = None) -> Call:
        """One end: that of the flow, or with `near` that of the conference. Raises Exhausted."""
        kit = self._kit
        leg = kit.engine.open_leg(HERE, beside=near.leg if near is not None else None)
        facts = Facts(
            id=new_id(),
            account=wish.account,
            activeflow_id=new_id(),
            source=wish.source or Address(),
            destination=destination,
            created=round(kit.clock.wall(), 6),
            flow_id=wish.flow_id if near is None else "",
            master_call_id=near.facts.id if near is not None else "",
        )
        line = LoopLine(near is not None, f"conference:{destination.target}")
        own = offer_answer.LocalMedia(address=HERE, port=leg.port, codecs=(CODEC,), comfort_noise=False)
        call = Call(facts, cast(sip.Session, line), Media(leg, own, kit), kit, lambda: None, self._remove)
        line.call = call
        return call


class _End:
    """Follows one end of a loop until it is up."""

    def __init__(self, call: Call, up: Callable[[], None]) -> None:
        self._call = call
        self._up = up

    @property
    def action(self) -> dict[str, Any]:
        return {}

    def progressed(self, status: int) -> None:
        """It never rings."""

    def established(self) -> None:
        self._call.controls.silence(True)  # an end that sends nothing for long would seem to be gone
        self._up()

    def digit(self, digit: str) -> None:
        """Keys are for the conference, which lets nobody hear them."""

    def hung_up(self, cause: str, by: str) -> None:
        """The other end is told by the line."""
