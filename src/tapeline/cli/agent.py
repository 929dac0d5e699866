"""`tapeline agent add`, `list`, `password` and `delete`: those of an account who log in. Passwords are asked for, never arguments."""

from __future__ import annotations

import asyncio
import getpass
import sys
import time
from typing import Annotated

import typer

from tapeline.cli import opened, terminal
from tapeline.cli.options import AsJson, Config, Data, settings_of
from tapeline.core.errors import InvalidInput, NotFound
from tapeline.core.ids import new_id
from tapeline.core.principal import ROLES

__all__ = ["app"]

app = typer.Typer(help="Make, list and delete agents: those of an account who log in.", no_args_is_help=True)
Username = Annotated[str, typer.Argument(metavar="USERNAME", help="The name to log in with.")]


def _new_password() -> str:
    """Asked for twice; one line of standard input where that is no terminal. Raises InvalidInput."""
    from tapeline.store import passwords

    password = getpass.getpass("password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not passwords.SHORTEST <= len(password) <= passwords.LONGEST:
        raise InvalidInput(f"a password has {passwords.SHORTEST} to {passwords.LONGEST} characters")
    if sys.stdin.isatty() and getpass.getpass("once more: ") != password:
        raise InvalidInput("the two are not the same")
    return passwords.hashed(password)


@app.command()
def add(
    username: Username,
    account: Annotated[str, typer.Option("--account", metavar="NAME", help="The account; made where it does not exist.")] = "default",
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="admin, manager or agent.")] = "agent",
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="Who it is.")] = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an agent. The password is asked for, or read from standard input."""
    if role not in ROLES:
        raise InvalidInput(f"{role!r} is not a role", hint=f"roles are: {', '.join(ROLES)}")
    known = username.strip().lower()
    if not known or not known.isprintable() or not account.strip():
        raise InvalidInput("the username and the account must not be empty")
    stored = _new_password()

    async def make() -> None:
        from tapeline.store import AgentRow

        async with opened.database(settings_of(config, data), create=True) as rows:
            owner = await rows.accounts.ensure(account)
            made = AgentRow(new_id(), owner.id, known, name, role, stored, time.time())
            await rows.agents.add(made)
        if as_json:
            terminal.emit_json({"id": made.id, "account": owner.name, "username": known, "role": role, "name": name})
        else:
            terminal.emit(f"{role} {known} of account {owner.name}: {made.id}")

    asyncio.run(make())


@app.command("list")
def list_(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the agents."""

    async def show() -> None:
        async with opened.database(settings_of(config, data)) as rows:
            agents = await rows.agents.list(limit=10_000)
            owners = {account.id: account.name for account in await rows.accounts.list()}
        if as_json:
            public = ("id", "username", "role", "name", "created")  # not the password's hash
            terminal.emit_json([{key: getattr(agent, key) for key in public} | {"account": owners.get(agent.account)} for agent in agents])
            return
        shown = ((a.id, owners.get(a.account, a.account), a.username, a.role, a.name, terminal.stamp(a.created)) for a in agents)
        terminal.table(("ID", "ACCOUNT", "USERNAME", "ROLE", "NAME", "MADE"), shown, keep=("ID", "USERNAME"))

    asyncio.run(show())


@app.command()
def password(username: Username, config: Config = None, data: Data = None) -> None:
    """Give an agent another password. Sessions of the old one end."""
    asyncio.run(_change(username, config, data, password=_new_password()))
    terminal.emit(f"changed the password of {username}")


@app.command()
def delete(username: Username, config: Config = None, data: Data = None) -> None:
    """Delete an agent, and end its sessions."""
    asyncio.run(_change(username, config, data))
    terminal.emit(f"deleted {username}")


async def _change(username: str, config: Config, data: Data, password: str = "") -> None:
    """Set the password, or delete where there is none. Raises NotFound."""
    async with opened.database(settings_of(config, data)) as rows:
        agent = await rows.agents.by_username(username.strip().lower())
        if agent is None:
            raise NotFound(f"no agent has the username {username}", hint="`tapeline agent list` shows them")
        if password:
            await rows.agents.change(agent.id, password=password)
        else:
            await rows.agents.delete(agent.id)
