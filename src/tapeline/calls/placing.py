"""Calls that stand by themselves: placed for an API or by a flow, each goes its own way once it is answered.

Whom to call, and how, is the dialer's. A call that is not answered has its row to tell why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import structlog

from tapeline import flow
from tapeline.calls.dialer import Wish
from tapeline.calls.equipment import Equipment
from tapeline.calls.kazoo.members import resolved
from tapeline.calls.session import Call, Listener
from tapeline.calls.views import Address
from tapeline.core.errors import InvalidInput, TapelineError
from tapeline.core.ids import new_id

__all__ = ["Lead", "Leader", "compiled", "place", "place_each"]

log = structlog.get_logger(__name__)


class Leader(Listener, Protocol):
    """What leads a call, a flow's program: it follows the call from `start` on."""

    def start(self) -> None: ...


class Lead:
    """What runs on a call that is placed: from its answer on, or, where it is to begin `early`, from its first ringing on.

    Where several ring for one party, it begins on the first of them, and ends with that one; it begins anew on another that answers.
    """

    def __init__(self, make: Callable[[Call], Leader], *, early: bool = False) -> None:
        self._make = make
        self._early = early
        self._begun: tuple[Call, Leader] | None = None

    def rang(self, call: Call, status: int) -> None:
        """A provisional answer came."""
        if self._early and self._begun is None and status >= 180 and call.listener is not None:
            leader = self._make(call)
            self._begun = call, leader
            call.follow(_Both(call.listener, leader))
            leader.start()

    def answered(self, call: Call) -> None:
        if self._begun is not None and self._begun[0] is call:
            leader = self._begun[1]
            call.follow(leader)
            leader.established()
        else:
            leader = self._make(call)
            call.follow(leader)
            leader.start()


class _Both:
    """Follows a call that rings: whoever dialled it waits for the answer, and what leads it has begun. Its keys and its end are both's."""

    def __init__(self, dialling: Listener, leader: Leader) -> None:
        self._dialling = dialling
        self._leader = leader

    def progressed(self, status: int) -> None:
        self._dialling.progressed(status)

    def established(self) -> None:
        """The leader is told as soon as the call is its own."""
        self._dialling.established()

    def digit(self, digit: str) -> None:
        self._leader.digit(digit)

    def hung_up(self, cause: str, by: str) -> None:
        self._dialling.hung_up(cause, by)
        self._leader.hung_up(cause, by)

    @property
    def action(self) -> dict[str, Any]:
        return self._leader.action


async def place(
    wish: Wish, kit: Equipment, answered: Callable[[Call], None], rang: Callable[[Call, int], None] = lambda call, status: None
) -> tuple[Call, ...]:
    """Call, and hand who answers to `answered`; `rang` is told of each provisional answer, with its status.

    Returns at once, with the calls that are under way once the first INVITEs have gone; none where nobody can be called.
    """
    if wish.parties[0].kind.lower() == "conference":
        call = kit.loops.place(wish, answered)
        return (call,) if call is not None else ()
    placed: list[Call] = []
    begun = asyncio.Event()

    def begins(call: Call) -> None:
        placed.append(call)
        begun.set()

    async def run() -> None:
        result = await kit.dialer.dial(replace(wish, activeflow_id=new_id()), rang, begins)
        if result.call is not None and not result.call.over:
            answered(result.call)
        elif result.call is None:
            log.info("a call that was placed did not come about", calls=[call.facts.id for call in placed], causes=result.causes)

    task = kit.spawn(run())
    waiting = asyncio.ensure_future(begun.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return tuple(placed)  # all that ring at once have begun by now


async def place_each(
    command: flow.PlaceCall,
    kit: Equipment,
    account: str,
    make: Callable[[flow.Program, Call, Equipment], Leader],
    *,
    caller: Call | None = None,
    **whose: str,
) -> None:
    """What a flow commands: calls of their own, one to each destination, each led by what `make` gives for its program. Nobody waits for
    them; with `chained` they end with `caller`. `whose` names in the log whose flow it is."""
    program = command.program
    try:
        if program is None:
            document = await kit.load_flow(command.flow_id, account) if command.flow_id else command.flow or "[]"
            program = await kit.thread(compiled, document)
    except TapelineError as error:
        log.warning("no call is placed: its flow cannot run", error=str(error), **whose)
        return
    source = command.source
    for party in resolved(command.destinations, account, kit.stored.document):
        wish = Wish(
            parties=(party,),
            account=account,
            caller=caller,
            chained=command.chained,
            source=Address(source.kind, source.target, source.name) if source is not None and source.target else None,
            anonymous=command.anonymous,
            flow_id=command.flow_id,
            timeout_s=command.timeout_s,
            headers=command.headers,
            without=caller.facts.user if caller is not None and command.not_self else "",
        )
        lead = Lead(lambda call: make(program, call, kit), early=command.early)
        await place(wish, kit, lead.answered, lead.rang)


def compiled(document: str | Sequence[Any] | Mapping[str, Any], *, dialect: str | None = None) -> flow.Program:
    """The program of a flow's document. Raises InvalidInput with every problem."""
    found = flow.compile(document, dialect=dialect)
    if found.program is None:
        code = next((problem.code for problem in found.errors if problem.code), "")
        raise InvalidInput("the flow cannot run", problems=[str(problem) for problem in found.errors], reason=code)
    return found.program
