"""`tapeline deliveries list`, `show` and `replay`: what was sent to whom, what was not and why, and sending it again.

Rows are opened directly, so all of this works while the server is down; a replay is sent by the server within a few seconds of its
running.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from tapeline.cli import opened, terminal
from tapeline.cli.options import AsJson, Config, Data, settings_of
from tapeline.core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from tapeline.store import DeliveryRow

__all__ = ["app"]

app = typer.Typer(help="List, show and replay deliveries.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The delivery's id, from `tapeline deliveries list`.")]
_STATES = ("waiting", "delivered", "failed")


def _unknown(delivery_id: str) -> NotFound:
    return NotFound(f"no delivery has the id {delivery_id}", hint="`tapeline deliveries list` shows them")


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="How many at most, newest first.")] = 50,
    state: Annotated[str, typer.Option("--state", help=f"Only this state ({', '.join(_STATES)}).")] = "",
    recording: Annotated[str, typer.Option("--recording", metavar="ID", help="Only those of one recording.")] = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first."""
    if state and state not in _STATES:
        raise InvalidInput(f"{state!r} is not a state", hint="states are: " + " ".join(_STATES))

    async def show_all() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            found = await rows.deliveries.list(None, None, limit, ref=recording, state=state)
        if as_json:
            terminal.emit_json(found)
        else:
            lines = [[row.id, row.state, str(row.tries), terminal.stamp(row.done or row.due), row.reason or "-", row.url] for row in found]
            terminal.table(("ID", "STATE", "TRIES", "DONE OR NEXT", "REASON", "TO"), lines, right=("TRIES",), keep=("ID",))

    asyncio.run(show_all())


@app.command()
def show(delivery_id: _Id, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show one delivery and every try of it."""

    async def tell() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            row = await rows.deliveries.get(delivery_id)
            if row is None:
                raise _unknown(delivery_id)
            tries = await rows.attempts.list(delivery_id)
        if as_json:
            terminal.emit_json({"delivery": row, "attempts": tries})
            return
        _print(row)
        lines = [
            [terminal.stamp(each.time), each.outcome, str(each.status or "-"), each.fault or "-", each.reason or "-"] for each in tries
        ]
        terminal.emit()
        terminal.table(("WHEN", "OUTCOME", "STATUS", "FAULT", "REASON"), lines, right=("STATUS",))

    asyncio.run(tell())


def _print(row: DeliveryRow) -> None:
    facts = [
        ("delivery", row.id),
        ("state", row.state),
        ("of", f"{row.kind} {row.ref}"),
        ("to", f"{row.method} {row.url}"),
        ("made", terminal.stamp(row.created)),
        ("done", terminal.stamp(row.done) if row.done else ""),
        ("next try", terminal.stamp(row.due) if row.due else ""),
        ("given up", terminal.stamp(row.until) if row.state == "waiting" else ""),
        ("reason", row.reason),
    ]
    for name, value in facts:
        if value:
            terminal.emit(f"{name:<12} {value}")


@app.command()
def replay(delivery_id: _Id, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Send it again, whatever became of it before."""

    async def begin() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            row = await rows.deliveries.replay(delivery_id, time.time())
        if row is None:
            raise _unknown(delivery_id)
        if as_json:
            terminal.emit_json(row)
        else:
            terminal.notice(f"delivery {row.id} is sent again to {row.url}")

    asyncio.run(begin())
