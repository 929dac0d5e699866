"""Signs what is sent, as it is sent: the secret stands in its owner's row, never in that of a delivery, a new one holds in a second.

`DeliveryRow.signing` says who signs: `<scheme>:<id>`. A scheme is one function of `SCHEMES`.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from tapeline.core.ids import new_id
from tapeline.core.vonage import signature, signed_part
from tapeline.store import Account, Application, Database, DeliveryRow

__all__ = ["SCHEMES", "Headers", "Owners", "Scheme", "Signer", "voipbin_signature", "vonage"]

Headers = list[tuple[str, str]]
R = TypeVar("R")
KEEP_S = 1.0  # how long a row that was read counts
MOST_KEPT = 1000


class Owners:
    """Rows of those who sign, each read once a second at most, however much is signed. Changes made in this process count at once."""

    def __init__(self, database: Database, now: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._now = now
        self._accounts: dict[str, tuple[float, Account | None]] = {}
        self._applications: dict[str, tuple[float, Application | None]] = {}
        self._changes = database.accounts.changes

    async def account(self, account_id: str) -> Account | None:
        self._follow()
        return await self._kept(self._accounts, account_id, self._database.accounts.get)

    async def account_named(self, name: str) -> Account | None:
        self._follow()
        return await self._kept(self._accounts, f"name {name}", lambda _: self._database.accounts.by_name(name))

    async def application(self, application_id: str) -> Application | None:
        return await self._kept(self._applications, application_id, self._database.applications.get)

    def _follow(self) -> None:
        if self._changes != self._database.accounts.changes:
            self._changes = self._database.accounts.changes
            self._accounts.clear()

    async def _kept(
        self, kept: dict[str, tuple[float, R | None]], key: str, read: Callable[[str], Awaitable[R | None]]
    ) -> R | None:
        """Raises DatabaseUnavailable."""
        found = kept.get(key)
        if found is None or found[0] <= self._now():
            began = self._now()
            found = began + KEEP_S, await read(key)
            if len(kept) >= MOST_KEPT:
                kept.clear()
            kept[key] = found
        return found[1]


Scheme = Callable[[Owners, str, DeliveryRow, bytes], Awaitable[Headers]]


def voipbin_signature(secret: str, body: bytes) -> str:
    """The value of `X-VoIPBIN-Signature`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def _voipbin(owners: Owners, account_id: str, row: DeliveryRow, body: bytes) -> Headers:
    """With the account's own secret; without one there is no header."""
    account = await owners.account(account_id)
    if account is None or not account.webhook_secret:
        return []
    return [("X-VoIPBIN-Signature", voipbin_signature(account.webhook_secret, body))]


def vonage(declared: Mapping[str, Sequence[str]]) -> Scheme:
    """A scheme that knows the applications of the settings (id -> account's name and secret), and looks the others up."""

    async def sign(owners: Owners, application_id: str, row: DeliveryRow, body: bytes) -> Headers:
        if application_id in declared:
            name, secret = declared[application_id]
            account = await owners.account_named(name)
            found: Application | None = Application(application_id, account.id if account is not None else name, signature_secret=secret)
        else:
            found = await owners.application(application_id)
        if found is None or not found.signature_secret:
            return []
        token = signature(found, signed_part(row.method, row.url, body), time.time(), new_id())
        return [("Authorization", f"Bearer {token}")]

    return sign


SCHEMES: Mapping[str, Scheme] = {"voipbin": _voipbin, "vonage": vonage({})}


class Signer:
    """Headers for a delivery, by its `signing`."""

    def __init__(
        self, database: Database, schemes: Mapping[str, Scheme] = SCHEMES, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._owners = Owners(database, now)
        self._schemes = schemes

    async def headers(self, row: DeliveryRow, body: bytes) -> Headers:
        """Raises DatabaseUnavailable: what cannot be signed now is sent later."""
        scheme, _, owner = row.signing.partition(":")
        sign = self._schemes.get(scheme)
        return await sign(self._owners, owner, row, body) if sign is not None else []
