"""`tapeline audit verify`, `list` and `export`: who did what with recordings, and whether anybody changed that.

Rows are opened directly, so all of this works while the server is down, and does not disturb one that runs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from tapeline.cli import opened, terminal
from tapeline.cli.options import AsJson, Config, Data, settings_of
from tapeline.core.errors import TapelineError

if TYPE_CHECKING:
    from tapeline.core.settings import Settings

__all__ = ["app"]

app = typer.Typer(help="List, export and verify the audit.", no_args_is_help=True)


class ChainBroken(TapelineError):
    """The audit is not as it was written."""


@app.command()
def verify(
    head: Annotated[str, typer.Option("--head", metavar="HASH", help="A last row's hash, noted earlier: it must still be there.")] = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Check every row's place in the chain. Exit 1 where it is broken."""

    async def check() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            verdict = await rows.audit.verify(head.strip().lower())
        if as_json:
            terminal.emit_json(verdict)
        else:
            terminal.emit(f"{verdict.rows} rows, last hash {verdict.head}")
        if verdict.problem:
            raise ChainBroken(f"the audit is broken: {verdict.problem}", hint=f"the {verdict.rows} rows before that are whole")

    asyncio.run(check())


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="How many at most, newest first.")] = 50,
    recording: Annotated[str, typer.Option("--recording", metavar="ID", help="Only what was done to one recording.")] = "",
    action: Annotated[str, typer.Option("--action", metavar="NAME", help="Only deeds of one name, such as listened.")] = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List what was done, newest first."""

    async def show() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            found = await rows.audit.list(limit=limit, subject=recording, action=action)
        if as_json:
            terminal.emit_json([asdict(row) | {"detail": json.loads(row.detail)} for row in found])
            return
        lines = [
            [str(row.seq), terminal.stamp(row.time), row.actor, row.action, str(row.status or "-"), row.subject or "-"] for row in found
        ]
        terminal.table(("SEQ", "WHEN", "WHO", "WHAT", "STATUS", "TO"), lines, right=("SEQ", "STATUS"), keep=("TO",))

    asyncio.run(show())


@app.command()
def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to; - for standard output.")], config: Config = None, data: Data = None
) -> None:
    """Write every row, oldest first, as one JSON object on each line."""
    settings = settings_of(config, data)
    if file == "-":
        asyncio.run(_export(settings, sys.stdout))
        return
    with Path(file).open("w", encoding="utf-8") as opened_file:
        count = asyncio.run(_export(settings, opened_file))
    terminal.notice(f"{count} rows in {file}")


async def _export(settings: Settings, to: TextIO) -> int:
    count = 0
    async with opened.database(settings) as rows:
        while page := await rows.audit.after(count):
            for row in page:
                to.write(json.dumps(asdict(row)) + "\n")
            count = page[-1].seq
    return count
