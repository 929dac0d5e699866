"""The Vonage applications of this server: those of the settings and those that were added.

They are kept in memory, so that a call finds its own without asking anybody, also while the database is away.

Additions by other processes (the command line, another node) are seen within `REFRESH_S`; an id that nobody knows is looked up at once.
Knows nothing of HTTP or of tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tapeline.core.errors import InvalidInput, InvalidState, Unavailable
from tapeline.core.settings import Application as Declared
from tapeline.core.settings import Settings
from tapeline.store import Application

__all__ = ["Applications", "declared", "new_key", "public_key"]

log = structlog.get_logger(__name__)

REFRESH_S = 5.0
SMALLEST_KEY = 2048  # bits


class Rows(Protocol):
    """`store.Database.applications`."""

    async def all(self) -> list[Application]: ...

    async def get(self, row_id: str) -> Application | None: ...

    async def put(self, row: Application) -> None: ...

    async def delete(self, application_id: str, at: float | None = None) -> Application | None: ...


class Applications:
    """Of one event loop. `fixed` are those of the settings, which no row replaces."""

    def __init__(self, fixed: Iterable[Application] = (), rows: Rows | None = None) -> None:
        self._fixed = {application.id: application for application in fixed}
        self._rows = rows
        self._known = dict(self._fixed)

    def get(self, application_id: str) -> Application | None:
        """The application of that id, as far as it is known."""
        return self._known.get(application_id)

    def is_fixed(self, application_id: str) -> bool:
        """Whether it stands in the settings, and can only be changed there."""
        return application_id in self._fixed

    def of_account(self, account: str | None) -> list[Application]:
        """Those of one account (None: all), oldest first."""
        found = (application for application in self._known.values() if account in (None, application.account))
        return sorted(found, key=lambda application: (application.created, application.id))

    async def find(self, application_id: str) -> Application | None:
        """The same, and asks the database for one that is not known. Raises Unavailable where that would be needed and cannot be done."""
        known = self._known.get(application_id)
        if known is not None or self._rows is None:
            return known
        row = await self._rows.get(application_id)
        if row is None or row.deleted is not None:
            return None
        self._known[row.id] = row
        return row

    async def put(self, application: Application) -> None:
        """Keep it, in place of one of the same id. Raises InvalidState where it stands in the settings, Unavailable."""
        self._changeable(application.id)
        assert self._rows is not None
        await self._rows.put(application)
        self._known[application.id] = application

    async def delete(self, application_id: str, at: float) -> None:
        """Raises InvalidState where it stands in the settings, Unavailable."""
        self._changeable(application_id)
        assert self._rows is not None
        await self._rows.delete(application_id, at)
        self._known.pop(application_id, None)

    def _changeable(self, application_id: str) -> None:
        if application_id in self._fixed:
            raise InvalidState("this application stands in the settings, and is changed there")

    async def refresh(self) -> None:
        """Take over what the database has now. Raises Unavailable."""
        if self._rows is not None:
            self._known = {row.id: row for row in await self._rows.all()} | self._fixed

    async def follow(self) -> None:
        """Refresh for ever. A database that is away leaves what was known."""
        while True:
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("the applications cannot be read again", error=str(error))
            await asyncio.sleep(REFRESH_S)


def declared(settings: Settings, accounts: Mapping[str, str], folder: Path) -> list[Application]:
    """The applications of the settings; `accounts` are ids by name, relative names of key files start at `folder`. Blocking.

    Raises InvalidInput with every problem.
    """
    made, problems = [], []
    for each in settings.applications:
        try:
            made.append(_made(each, accounts[each.account], folder))
        except InvalidInput as error:
            problems.append(f"application {each.id}: {error.message}")
    seen = {application.id for application in made}
    if len(seen) != len(made):
        problems.append("two applications have the same id")
    for number in settings.numbers:
        if number.application and not number.flow and number.application.lower() not in seen:
            # One that is stored may be added later; one that the settings name and do not have is most likely a slip of the pen.
            log.warning("a number's application is not among those of the settings", number=number.match, application=number.application)
    if problems:
        raise InvalidInput("; ".join(problems), problems=problems, hint="see [[applications]] in the settings")
    return made


def _made(each: Declared, account: str, folder: Path) -> Application:
    key = each.public_key
    if key and "-----BEGIN" not in key:
        try:
            key = (folder / key).read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"its public key cannot be read: {error}") from error
    if key:
        public_key(key)
    return Application(
        id=each.id,
        account=account,
        name=each.name,
        public_key=key,
        answer_url=each.answer_url,
        answer_method=each.answer_method,
        fallback_url=each.fallback_url,
        fallback_method=each.fallback_method,
        event_url=each.event_url,
        event_method=each.event_method,
        signature_secret=each.signature_secret,
    )


def new_key() -> tuple[str, str]:
    """A new private key (PKCS#8) and its public key, PEM texts. Takes a while."""
    made = rsa.generate_private_key(65537, SMALLEST_KEY)
    pem = serialization.Encoding.PEM
    private = made.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), made.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@lru_cache(maxsize=1024)
def public_key(pem: str) -> RSAPublicKey:
    """The key in `pem`. Raises InvalidInput where it is no RSA key of at least 2048 bits."""
    try:
        key = load_pem_public_key(pem.strip().encode("ascii"))
    except (ValueError, UnsupportedAlgorithm, UnicodeEncodeError) as error:
        raise InvalidInput("the public key is not a PEM public key", hint="openssl rsa -in private.key -pubout makes one") from error
    if not isinstance(key, RSAPublicKey) or key.key_size < SMALLEST_KEY:
        raise InvalidInput(f"the public key must be an RSA key of at least {SMALLEST_KEY} bits")
    return key
