"""Accounts, and the tokens by which the API knows its callers."""

from __future__ import annotations

import builtins
import hashlib
import secrets
import string
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, cast, select, update
from sqlalchemy.engine import RowMapping

from tapeline.core.ids import new_id
from tapeline.store import tables
from tapeline.store.rows import Account, Token
from tapeline.store.statements import build, insert_for, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Accounts", "Tokens", "secret_digest"]

PREFIX_LENGTH = 11
_ALPHABET = string.ascii_letters + string.digits


def secret_digest(secret: str) -> str:
    """What is stored of a token. A plain hash is enough: the secret has 190 random bits, nobody guesses it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _random() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(32))


class Accounts:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.changes = 0  # made by this process: who remembers an account looks at it

    async def ensure(self, name: str) -> Account:
        """The account of that name; made now where there is none."""
        found = await self.by_name(name)
        if found is not None:
            return found
        await self.add(name)
        made = await self.by_name(name)
        assert made is not None
        return made

    async def add(self, name: str, **columns: Any) -> Account | None:
        """A new account with these columns; None where the name is taken."""
        account = Account(new_id(), name, time.time(), webhook_secret=_random(), **columns)
        insert = insert_for(self._database.dialect, tables.accounts).values(values(account))
        async with self._database.writing() as connection:
            new = insert.on_conflict_do_nothing(index_elements=[tables.accounts.c.name]).returning(tables.accounts.c.id)
            return account if (await connection.execute(new)).first() is not None else None

    async def page(self, before: float | None = None, limit: int = 100) -> builtins.list[Account]:
        """A page, newest first; go on with `before` = the last one's `created`."""
        query = select(tables.accounts).order_by(tables.accounts.c.created.desc(), tables.accounts.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(tables.accounts.c.created < before)
        async with self._database.reading() as connection:
            return [build(Account, row) for row in (await connection.execute(query)).mappings()]

    async def get(self, account_id: str) -> Account | None:
        return await self._one(tables.accounts.c.id == account_id)

    async def amend(self, account_id: str, **changes: Any) -> Account | None:
        """Set columns of an account. None where there is no such account."""
        async with self._database.writing() as connection:
            await connection.execute(update(tables.accounts).where(tables.accounts.c.id == account_id).values(**changes))
        self.changes += 1
        return await self.get(account_id)

    async def by_name(self, name: str) -> Account | None:
        return await self._one(tables.accounts.c.name == name)

    async def list(self) -> list[Account]:
        async with self._database.reading() as connection:
            result = await connection.execute(select(tables.accounts).order_by(tables.accounts.c.created))
            return [build(Account, row) for row in result.mappings()]

    async def _one(self, where: Any) -> Account | None:
        async with self._database.reading() as connection:
            found = (await connection.execute(select(tables.accounts).where(where))).mappings().first()
            return build(Account, found) if found else None


def _token(found: RowMapping) -> Token:
    columns = {name: value for name, value in found.items() if name != "sha256"}
    return Token(**(columns | {"scopes": frozenset(found["scopes"])}))


class Tokens:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, account_id: str, name: str, scopes: Iterable[str], *, secret: str = "", detail: str = "", expires: float | None = None
    ) -> tuple[Token, str]:
        """A new token and its secret, which cannot be had again: only its SHA-256 is stored. `secret` sets a known one."""
        prefix = "" if secret else "vb_"  # of a given one nothing is kept that helps to guess it
        secret = secret or "vb_" + _random()
        token = Token(new_id(), account_id, name, frozenset(scopes), time.time(), None, detail, prefix and secret[:PREFIX_LENGTH], expires)
        columns = values(replace(token, scopes=frozenset())) | {"scopes": sorted(token.scopes), "sha256": secret_digest(secret)}
        async with self._database.writing() as connection:
            await connection.execute(tables.tokens.insert().values(columns))
        return token, secret

    async def find(self, secret: str) -> Token | None:
        """The token of that secret, unless it was revoked. Whether its time is over is for the caller to say."""
        query = select(tables.tokens).where(tables.tokens.c.sha256 == secret_digest(secret), tables.tokens.c.revoked.is_(None))
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().first()
            return _token(found) if found else None

    async def list(self) -> list[Token]:
        async with self._database.reading() as connection:
            result = await connection.execute(select(tables.tokens).order_by(tables.tokens.c.created))
            return [_token(row) for row in result.mappings()]

    async def get(self, token_id: str) -> Token | None:
        """The token of that id, unless it was revoked."""
        query = select(tables.tokens).where(tables.tokens.c.id == token_id, tables.tokens.c.revoked.is_(None))
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().first()
            return _token(found) if found else None

    async def page(
        self, account: str | None = None, before: float | None = None, limit: int = 100, *, administrators: bool = True
    ) -> builtins.list[Token]:
        """A page of those in force, newest first. `account` None: all. Without `administrators` those of the whole server stay out."""
        table = tables.tokens
        query = select(table).where(table.c.revoked.is_(None)).order_by(table.c.created.desc(), table.c.id.desc()).limit(limit)
        if account is not None:
            query = query.where(table.c.account == account)
        if before is not None:
            query = query.where(table.c.created < before)
        if not administrators:
            query = query.where(cast(table.c.scopes, Text).not_like('%"admin"%'))
        async with self._database.reading() as connection:
            return [_token(row) for row in (await connection.execute(query)).mappings()]

    async def rename(self, token_id: str, name: str, detail: str) -> None:
        """Change what a token is called."""
        changed = update(tables.tokens).where(tables.tokens.c.id == token_id).values(name=name, detail=detail, updated=time.time())
        async with self._database.writing() as connection:
            await connection.execute(changed)

    async def revoke(self, token_id: str) -> bool:
        """Whether there was such a token in force. It is refused from now on."""
        changed = update(tables.tokens).where(tables.tokens.c.id == token_id, tables.tokens.c.revoked.is_(None))
        async with self._database.writing() as connection:
            result = await connection.execute(changed.values(revoked=time.time()))
            return result.rowcount > 0
