"""`tapeline recordings list`, `show`, `download`, `verify` and `delete`: the store, on the command line.

Rows and objects are opened directly, so all of this works while the server is down.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from tapeline.cli import opened, terminal, waveform
from tapeline.cli.options import AsJson, Config, Data, settings_of
from tapeline.core.errors import InvalidInput, InvalidState, NotFound
from tapeline.core.settings import Settings

if TYPE_CHECKING:
    from tapeline.store import Database, RecordingRow
    from tapeline.store.objects import ObjectStore

__all__ = ["app"]

app = typer.Typer(help="List, show, download, verify and delete recordings.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The recording's id, from `tapeline recordings list`.")]
_SETBACKS = 5
_STATES = ("starting", "recording", "stopping", "available", "failed")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Shelf:
    rows: Database
    objects: ObjectStore

    async def find(self, recording_id: str) -> RecordingRow:
        row = await self.rows.recordings.get(recording_id)
        if row is None or row.deleted is not None:
            raise NotFound(f"no recording has the id {recording_id}", hint="`tapeline recordings list` shows them")
        return row

    async def stored(self, recording_id: str) -> RecordingRow:
        """A recording whose audio is in the object store. Raises NotFound, InvalidState."""
        row = await self.find(recording_id)
        if row.state != "available" or not row.object_key:
            why = f" ({row.reason})" if row.reason else ""
            raise InvalidState(f"recording {recording_id} is {row.state}{why}, not available: it has no stored audio")
        return row


@asynccontextmanager
async def _shelf(settings: Settings) -> AsyncIterator[_Shelf]:
    from tapeline.store.objects import ObjectStore

    async with opened.database(settings) as rows:
        yield _Shelf(rows, ObjectStore(settings.server.objects_url))


def _facts(row: RecordingRow, account: str) -> dict[str, Any]:
    """The row as told to people and in JSON, without what only the store needs."""
    facts: dict[str, Any] = terminal.plain(row)
    facts["account"] = account
    return facts


async def _owners(rows: Database) -> dict[str, str]:
    return {account.id: account.name for account in await rows.accounts.list()}


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="How many at most, newest first.")] = 50,
    state: Annotated[list[str] | None, typer.Option("--state", help=f"Only these states ({', '.join(_STATES)}); may be repeated.")] = None,
    account: Annotated[str, typer.Option("--account", metavar="NAME", help="Only those of one account.")] = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List recordings, newest first."""
    for wanted in state or ():
        if wanted not in _STATES:
            raise InvalidInput(f"{wanted!r} is not a state", hint="states are: " + " ".join(_STATES))

    async def show() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            owners = await _owners(rows)
            owner = None
            if account:
                found = await rows.accounts.by_name(account)
                if found is None:
                    raise NotFound(f"no account is named {account!r}", hint="accounts are: " + " ".join(sorted(owners.values())))
                owner = found.id
            recordings = await rows.recordings.list(owner, None, limit, states=tuple(state) if state else None)
            del recordings[limit:]  # a page does not part rows of one moment, so it may be longer
        if as_json:
            terminal.emit_json([_facts(row, owners.get(row.account, row.account)) for row in recordings])
        else:
            _print_list(recordings, owners)

    asyncio.run(show())


_WIDE = 140  # columns of a terminal on which a row of the list fits with all it has


def _print_list(recordings: list[RecordingRow], owners: Mapping[str, str]) -> None:
    wide = terminal.console().width >= _WIDE
    rows = []
    for row in recordings:
        state = row.state + (f": {row.reason}" if row.state == "failed" and row.reason else "") + (" (recovered)" if row.recovered else "")
        cells = [row.id, state, terminal.stamp(row.created), terminal.clock(row.duration), terminal.size(row.size)]
        rest = [f"{row.format} {row.rate} Hz x{row.channels}", owners.get(row.account, row.account), row.call_id]
        rows.append(cells + rest if wide else cells)
    columns = ("ID", "STATE", "MADE", "LENGTH", "SIZE") + (("SOUND", "ACCOUNT", "CALL") if wide else ())
    terminal.table(columns, rows, right=("LENGTH", "SIZE"), keep=("ID", "MADE"))


@app.command()
def show(recording_id: _Id, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show one recording: its facts, its timeline and its waveform, and the last tries at finishing it that failed."""

    async def tell() -> None:
        async with _shelf(settings_of(config, data)) as shelf:
            row = await shelf.find(recording_id)
            owner = (await _owners(shelf.rows)).get(row.account, row.account)
            setbacks = await shelf.rows.attempts.list(row.id, last=_SETBACKS)
        if as_json:
            terminal.emit_json(_facts(row, owner) | {"attempts": setbacks})
        else:
            _print_recording(row, owner)
            for setback in setbacks:
                terminal.emit(f"{terminal.stamp(setback.time)}  {setback.kind} failed at {setback.target}: {setback.reason}")

    asyncio.run(tell())


def _print_recording(row: RecordingRow, owner: str) -> None:
    facts = [
        ("recording", row.id),
        ("state", row.state + (", recovered after a crash" if row.recovered else "")),
        ("reason", row.reason),
        ("account", owner),
        ("call", row.call_id),
        ("label", row.label),
        ("made", terminal.stamp(row.created)),
        ("length", f"{terminal.clock(row.duration)} ({row.duration:.3f} s)" if row.duration is not None else "-"),
        ("sound", f"{row.format}, {row.rate} Hz, {row.channels} channel{'s' * (row.channels != 1)}"),
        ("size", terminal.size(row.size)),
        ("sha256", row.sha256),
        ("object", row.object_key),
        *((name.replace("_", " "), _measure(value)) for name, value in row.measures.items()),
    ]
    for name, value in facts:
        if value:
            terminal.emit(f"{name:<12} {value}")
    if row.timeline:
        terminal.emit()
        for event in row.timeline:
            rest = " ".join(f"{key}={value}" for key, value in event.items() if key not in ("at", "event") and value not in ("", None))
            terminal.emit(f"{terminal.clock(event.get('at')):>10}  {event.get('event', '')} {rest}".rstrip())
    draw(row.peaks, row.duration or 0.0)


def _measure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, (list, tuple)):
        return ", ".join(_measure(item) for item in value)
    return "" if value is None else str(value)


def draw(peaks: tuple[tuple[float, ...], ...], duration_s: float, names: tuple[str, ...] = ()) -> None:
    """Print a waveform for each channel, and a ruler below."""
    width = min(100, max(40, terminal.console().width - 2))
    for place, channel in enumerate(peaks):
        if names or len(peaks) > 1:
            terminal.emit()
            terminal.emit(names[place] if place < len(names) else f"channel {place + 1}")
        else:
            terminal.emit()
        for line in waveform.waveform(channel, width=width):
            terminal.emit(line)
    if peaks:
        terminal.emit(waveform.timeline(duration_s, width=width))


@app.command()
def download(
    recording_id: _Id,
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="`-`: standard output. Default: ID.EXTENSION here.")] = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Fetch a recording's audio, checking its checksum on the way."""

    async def fetch() -> None:
        async with _shelf(settings_of(config, data)) as shelf:
            row = await shelf.stored(recording_id)
            if output == "-":
                await _copy(shelf, row, sys.stdout.buffer)
                return
            target = Path(output or f"{row.id}.{Path(row.object_key).suffix.lstrip('.') or row.format}")
            await _save(shelf, row, target)
        terminal.notice(f"{target}: {terminal.size(row.size)}, {terminal.clock(row.duration)}")

    asyncio.run(fetch())


async def _copy(shelf: _Shelf, row: RecordingRow, out: BinaryIO) -> None:
    """Write the object to `out`. Raises InvalidState where what was read is not what was stored."""
    seen = hashlib.sha256()
    size = (await shelf.objects.stat(row.object_key)).size
    async for block in shelf.objects.read(row.object_key, 0, size):
        seen.update(block)
        out.write(block)
    out.flush()
    if row.sha256 and seen.hexdigest() != row.sha256:
        raise InvalidState(
            f"the stored audio of {row.id} is damaged: its sha256 is {seen.hexdigest()}, it should be {row.sha256}",
            hint="restore the object from a backup of the object store",
        )


async def _save(shelf: _Shelf, row: RecordingRow, target: Path) -> None:
    """The object as the file `target`, which appears only when it is whole."""
    try:
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise InvalidInput(f"cannot write {target}: {error.strerror}", hint="give another place with -o") from error
    try:
        with os.fdopen(handle, "wb") as out:
            await _copy(shelf, row, out)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(part, 0o666 & ~mask)  # mkstemp makes it private; a download is as readable as any new file
        os.replace(part, target)
    except BaseException:
        os.unlink(part)
        raise


@app.command()
def verify(recording_id: _Id, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Read a recording back: compare its size and sha256 with its row, and decode all of its audio. Exit 1 if anything differs."""

    async def check() -> bool:
        async with _shelf(settings_of(config, data)) as shelf:
            row = await shelf.stored(recording_id)
            found = await _verify(shelf, row)
        problems = found["problems"]
        if as_json:
            terminal.emit_json({"id": row.id, "ok": not problems, **found})
        elif problems:
            for problem in problems:
                terminal.emit(f"{row.id}: {problem}")
        else:
            sound = f"{found['channels']} channel(s) at {found['rate']} Hz, {found['duration']:.3f} s decoded"
            terminal.emit(f"{row.id}: intact: sha256 agrees, {sound}")
        return not problems

    if not asyncio.run(check()):
        raise typer.Exit(1)


async def _verify(shelf: _Shelf, row: RecordingRow) -> dict[str, Any]:
    """What is found on reading the object: `problems` (sentences) and the facts of what was decoded."""
    from tapeline.cli import listening

    with tempfile.NamedTemporaryFile(prefix="tapeline-verify-", suffix=f".{row.format}") as file:
        seen = hashlib.sha256()
        try:
            size = (await shelf.objects.stat(row.object_key)).size
        except NotFound:
            return {"problems": [f"the object {row.object_key} is gone"]}
        async for block in shelf.objects.read(row.object_key, 0, size):
            seen.update(block)
            file.write(block)
        file.flush()
        problems = []
        if row.size is not None and size != row.size:
            problems.append(f"the object has {size} bytes, its row says {row.size}")
        if row.sha256 and seen.hexdigest() != row.sha256:
            problems.append(f"the object's sha256 is {seen.hexdigest()}, its row says {row.sha256}")
        heard = await asyncio.to_thread(listening.decode, Path(file.name), row)
        return {"sha256": seen.hexdigest(), "size": size, **heard.facts, "problems": [*problems, *heard.problems]}


@app.command()
def delete(recording_id: _Id, config: Config = None, data: Data = None) -> None:
    """Delete a recording: its audio is removed, its row is kept as deleted."""

    async def remove() -> None:
        async with _shelf(settings_of(config, data)) as shelf:
            row = await shelf.find(recording_id)
            if row.state not in ("available", "failed"):
                raise InvalidState(f"recording {row.id} is still {row.state}", hint="stop it first, or wait until it is available")
            if row.held is not None:
                raise InvalidState(f"recording {row.id} is under a hold", hint="it can be deleted once the hold is taken off")
            # First the row: one without audio says so, audio without a row is never found again.
            if not await shelf.rows.removals.remove([row.id], time.time()):
                raise InvalidState(f"recording {row.id} was put under a hold or deleted by somebody else just now")
            if row.object_key:
                await shelf.objects.delete(row.object_key)
                await shelf.rows.removals.done([row.object_key])
        terminal.emit(f"deleted {recording_id}")

    asyncio.run(remove())
