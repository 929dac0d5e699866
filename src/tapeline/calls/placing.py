"""Calls that stand by themselves: placed for an API or by a flow, each goes its own way once it is answered.

Whom to call, and how, is the dialer's. A call that is not answered has its row to tell why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from tapeline import flow
from tapeline.calls.dialer import Wish
from tapeline.calls.equipment import Equipment
from tapeline.calls.session import Call
from tapeline.core.errors import InvalidInput
from tapeline.core.ids import new_id

__all__ = ["compiled", "place"]

log = structlog.get_logger(__name__)


async def place(wish: Wish, kit: Equipment, answered: Callable[[Call], None]) -> tuple[Call, ...]:
    """Call, and hand who answers to `answered`. Returns at once, with the calls that are under way once the first INVITEs have gone;
    none where nobody can be called."""
    if wish.parties[0].kind.lower() == "conference":
        call = kit.loops.place(wish, answered)
        return (call,) if call is not None else ()
    placed: list[Call] = []
    begun = asyncio.Event()

    def begins(call: Call) -> None:
        placed.append(call)
        begun.set()

    async def run() -> None:
        result = await kit.dialer.dial(replace(wish, activeflow_id=new_id()), on_call=begins)
        if result.call is not None and not result.call.over:
            answered(result.call)
        elif result.call is None:
            log.info("a call that was placed did not come about", calls=[call.facts.id for call in placed], causes=result.causes)

    task = kit.spawn(run())
    waiting = asyncio.ensure_future(begun.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return tuple(placed)  # all that ring at once have begun by now


def compiled(document: str | Sequence[Any] | Mapping[str, Any], *, dialect: str | None = None) -> flow.Program:
    """The program of a flow's document. Raises InvalidInput with every problem."""
    found = flow.compile(document, dialect=dialect)
    if found.program is None:
        code = next((problem.code for problem in found.errors if problem.code), "")
        raise InvalidInput("the flow cannot run", problems=[str(problem) for problem in found.errors], reason=code)
    return found.program
