"""`tapeline token add`, `list` and `revoke`: the API's keys. Only a hash is stored, so a secret is shown once, when it is made."""

from __future__ import annotations

import asyncio
import difflib
from typing import Annotated

import typer

from tapeline.cli import opened, terminal
from tapeline.cli.options import AsJson, Config, Data, settings_of
from tapeline.core.errors import InvalidInput, NotFound
from tapeline.core.principal import ALL_SCOPES

__all__ = ["app"]

app = typer.Typer(help="Make, list and revoke API tokens.", no_args_is_help=True)


def _scopes(given: list[str]) -> frozenset[str]:
    """The scopes named, each word alone or several with commas. Raises InvalidInput that names the nearest known one."""
    wanted = {scope for word in given for scope in word.split(",") if scope}
    problems = []
    for scope in sorted(wanted - ALL_SCOPES):
        near = difflib.get_close_matches(scope, ALL_SCOPES, n=1, cutoff=0.4)
        problems.append(f"{scope!r} is not a scope" + (f"; did you mean {near[0]!r}?" if near else ""))
    if not wanted:
        problems.append("no scope is given")
    if problems:
        raise InvalidInput("; ".join(problems), hint="scopes are: " + " ".join(sorted(ALL_SCOPES)))
    return frozenset(wanted)


@app.command()
def add(
    account: Annotated[str, typer.Option("--account", metavar="NAME", help="The account it acts for; made where it does not exist.")],
    scope: Annotated[list[str], typer.Option("--scope", metavar="SCOPE...", help="What it may do; several words, or repeated.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="SCOPE", hidden=True)] = None,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What it is for, to know it again in the list.")] = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print its secret, this once."""
    scopes = _scopes([*scope, *(more or ())])
    if not account.strip():
        raise InvalidInput("the account has no name", hint="give --account NAME, such as --account default")

    async def make() -> None:
        async with opened.database(settings_of(config, data), create=True) as rows:
            owner = await rows.accounts.ensure(account)
            token, secret = await rows.tokens.add(owner.id, name, scopes)
        if as_json:
            terminal.emit_json({"id": token.id, "account": owner.name, "name": name, "scopes": scopes, "secret": secret})
        else:
            terminal.notice(f"token {token.id} for account {owner.name}: {' '.join(sorted(scopes))}")
            terminal.notice("its secret, which is shown only now:")
            terminal.emit(secret)

    asyncio.run(make())


@app.command("list")
def list_(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the tokens, without their secrets."""

    async def show() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            tokens = await rows.tokens.list()
            owners = {account.id: account.name for account in await rows.accounts.list()}
        if as_json:
            public = ("id", "account", "name", "scopes", "created", "revoked")  # not the secret's hash
            terminal.emit_json([{key: getattr(token, key) for key in public} | {"account": owners.get(token.account)} for token in tokens])
            return
        terminal.table(
            ("ID", "ACCOUNT", "NAME", "SCOPES", "MADE", "STATE"),
            (
                (
                    token.id,
                    owners.get(token.account, token.account),
                    token.name,
                    " ".join(sorted(token.scopes)),
                    terminal.stamp(token.created),
                    "valid" if token.revoked is None else f"revoked {terminal.stamp(token.revoked)}",
                )
                for token in tokens
            ),
            keep=("ID", "MADE"),
        )

    asyncio.run(show())


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, from `tapeline token list`.")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Make a token worthless, at once."""

    async def end() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            if not await rows.tokens.revoke(token_id):
                raise NotFound(f"no token in force has the id {token_id}", hint="`tapeline token list` shows them")
        terminal.emit(f"revoked {token_id}")

    asyncio.run(end())
