"""`tapeline application add`, `list`, `show` and `delete`: Vonage applications, kept beside those of the settings.

A server that runs takes a change over within a few seconds. The signature secret is shown when the application is made, and by `show`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tapeline.cli import opened, terminal
from tapeline.cli.options import AsJson, Config, Data, settings_of
from tapeline.core.errors import InvalidInput, NotFound
from tapeline.core.ids import is_id, new_id
from tapeline.core.settings import Settings
from tapeline.core.web import is_web

if TYPE_CHECKING:
    from tapeline.store import Application

__all__ = ["app"]

app = typer.Typer(help="Make, list, show and delete Vonage applications.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The application's id, from `tapeline application list`.")]
_SHOWN = ("name", "answer_url", "answer_method", "fallback_url", "fallback_method", "event_url", "event_method", "signature_secret")


def _unknown(application_id: str) -> NotFound:
    return NotFound(f"no application has the id {application_id}", hint="`tapeline application list` shows those that were added")


def _key(given: Path | None, new: Path | None) -> str:
    """The public key in the file `given`, or that of a new private key written to `new`. Raises InvalidInput, OSError."""
    from tapeline.calls.vonage.applications import new_key, public_key

    if (given is None) == (new is None):
        raise InvalidInput("give either --public-key or --new-key")
    if given is not None:
        pem = given.read_text("utf-8", "replace")
        public_key(pem)
        return pem
    assert new is not None
    private, public = new_key()
    new.touch(mode=0o600, exist_ok=False)
    new.write_text(private)
    return public


@app.command()
def add(
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What it is for.")] = "",
    key: Annotated[Path | None, typer.Option("--public-key", metavar="FILE", help="Its public key, PEM.")] = None,
    new_key: Annotated[Path | None, typer.Option("--new-key", metavar="FILE", help="Make a key; the private one is written here.")] = None,
    answer_url: Annotated[str, typer.Option("--answer-url", metavar="URL", help="Where the NCCO of its calls is.")] = "",
    answer_method: Annotated[str, typer.Option("--answer-method", metavar="VERB", help="GET or POST.")] = "GET",
    fallback_url: Annotated[str, typer.Option("--fallback-url", metavar="URL", help="Asked where the answer URL fails.")] = "",
    fallback_method: Annotated[str, typer.Option("--fallback-method", metavar="VERB", help="GET or POST.")] = "GET",
    event_url: Annotated[str, typer.Option("--event-url", metavar="URL", help="Where its events go.")] = "",
    event_method: Annotated[str, typer.Option("--event-method", metavar="VERB", help="GET or POST.")] = "POST",
    secret: Annotated[str, typer.Option("--signature-secret", metavar="TEXT", help="Signs its webhooks; a new one where absent.")] = "",
    application_id: Annotated[str, typer.Option("--id", metavar="UUID", help="Its id; a new one where absent.")] = "",
    account: Annotated[str, typer.Option("--account", metavar="NAME", help="The account that it belongs to.")] = "default",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an application and print its id."""
    if application_id and not is_id(application_id):
        raise InvalidInput(f"{application_id!r} is not a UUID")
    methods = (answer_method, fallback_method, event_method)
    if any(method.upper() not in ("GET", "POST") for method in methods):
        raise InvalidInput("methods are GET and POST")
    for option, url in (("--answer-url", answer_url), ("--fallback-url", fallback_url), ("--event-url", event_url)):
        if url and not is_web(url):
            raise InvalidInput(f"{option} {url!r} is no web address", hint="it begins with http:// or https:// and a host")
    fields: dict[str, Any] = {
        "id": application_id.lower() or new_id(),
        "name": name,
        "public_key": _key(key, new_key),
        "answer_url": answer_url,
        "answer_method": answer_method.upper(),
        "fallback_url": fallback_url,
        "fallback_method": fallback_method.upper(),
        "event_url": event_url,
        "event_method": event_method.upper(),
        "signature_secret": secret or secrets.token_hex(32),
        "created": time.time(),
    }

    asyncio.run(_make(settings_of(config, data), account, fields, as_json))


async def _make(settings: Settings, account: str, fields: dict[str, Any], as_json: bool) -> None:
    from tapeline.store import Application

    async with opened.database(settings, create=True) as rows:
        taken = any(each.id == fields["id"] for each in settings.applications) or await rows.applications.get(fields["id"]) is not None
        if taken:
            raise InvalidInput(f"there is an application {fields['id']} already")
        owner = await rows.accounts.ensure(account)
        await rows.applications.put(Application(account=owner.id, **fields))
    if as_json:
        terminal.emit_json({**fields, "account": owner.name})
    else:
        terminal.notice(f"application {fields['name'] or 'without a name'}, account {owner.name}; its signature secret:")
        terminal.notice(fields["signature_secret"])
        terminal.emit(fields["id"])


@app.command("list")
def list_(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the applications that were added; those of the settings stand there."""

    async def show_all() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            found = await rows.applications.all()
            owners = {account.id: account.name for account in await rows.accounts.list()}
        if as_json:
            terminal.emit_json([_public(row, owners) for row in found])
            return
        lines = [[row.id, owners.get(row.account, ""), row.name or "-", row.answer_url or "-", row.event_url or "-"] for row in found]
        terminal.table(("ID", "ACCOUNT", "NAME", "ANSWER", "EVENTS"), lines, keep=("ID",))

    asyncio.run(show_all())


def _public(row: Application, owners: dict[str, str]) -> dict[str, Any]:
    """Without the secret: a list ends up in many places."""
    shown = {name: getattr(row, name) for name in ("id", *_SHOWN, "public_key", "created") if name != "signature_secret"}
    return {**shown, "account": owners.get(row.account, row.account)}


@app.command()
def show(application_id: _Id, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show one application, its signature secret too."""

    async def tell() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            row = await rows.applications.get(application_id)
            owners = {account.id: account.name for account in await rows.accounts.list()}
        if row is None or row.deleted is not None:
            raise _unknown(application_id)
        if as_json:
            terminal.emit_json({**_public(row, owners), "signature_secret": row.signature_secret})
            return
        facts = [("application", row.id), ("account", owners.get(row.account, row.account))]
        facts += [(name.replace("_", " "), str(getattr(row, name))) for name in _SHOWN]
        for name, value in facts:
            if value:
                terminal.emit(f"{name:<17} {value}")
        terminal.emit(row.public_key.strip())

    asyncio.run(tell())


@app.command()
def delete(application_id: _Id, config: Config = None, data: Data = None) -> None:
    """Delete an application: its tokens are worthless from then on, and so its recordings can no longer be downloaded with them."""

    async def end() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            row = await rows.applications.get(application_id)
            if row is None or row.deleted is not None:
                raise _unknown(application_id)
            await rows.applications.delete(application_id)
        terminal.emit(f"deleted {application_id}")

    asyncio.run(end())
