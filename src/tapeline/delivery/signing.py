"""Signs what is sent, as it is sent: the secret stands in its owner's row, never in that of a delivery, and a new one holds at once.

`DeliveryRow.signing` says who signs: `<scheme>:<id>`. A scheme is one function of `SCHEMES`.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tapeline.core.ids import new_id
from tapeline.core.vonage import signature, signed_part
from tapeline.store import Application, Database, DeliveryRow

__all__ = ["SCHEMES", "Headers", "Scheme", "Signer", "voipbin_signature", "vonage"]

Headers = list[tuple[str, str]]
Scheme = Callable[[Database, str, DeliveryRow, bytes], Awaitable[Headers]]


def voipbin_signature(secret: str, body: bytes) -> str:
    """The value of `X-VoIPBIN-Signature`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def _voipbin(database: Database, account_id: str, row: DeliveryRow, body: bytes) -> Headers:
    """With the account's own secret; without one there is no header."""
    account = await database.accounts.get(account_id)
    if account is None or not account.webhook_secret:
        return []
    return [("X-VoIPBIN-Signature", voipbin_signature(account.webhook_secret, body))]


def vonage(declared: Mapping[str, Sequence[str]]) -> Scheme:
    """A scheme that knows the applications of the settings (id -> account's name and secret), and looks the others up."""

    async def sign(database: Database, application_id: str, row: DeliveryRow, body: bytes) -> Headers:
        if application_id in declared:
            name, secret = declared[application_id]
            account = await database.accounts.by_name(name)
            found: Application | None = Application(application_id, account.id if account is not None else name, signature_secret=secret)
        else:
            found = await database.applications.get(application_id)
        if found is None or not found.signature_secret:
            return []
        token = signature(found, signed_part(row.method, row.url, body), time.time(), new_id())
        return [("Authorization", f"Bearer {token}")]

    return sign


SCHEMES: Mapping[str, Scheme] = {"voipbin": _voipbin, "vonage": vonage({})}


class Signer:
    """Headers for a delivery, by its `signing`."""

    def __init__(self, database: Database, schemes: Mapping[str, Scheme] = SCHEMES) -> None:
        self._database = database
        self._schemes = schemes

    async def headers(self, row: DeliveryRow, body: bytes) -> Headers:
        """Raises DatabaseUnavailable: what cannot be signed now is sent later."""
        scheme, _, owner = row.signing.partition(":")
        sign = self._schemes.get(scheme)
        return await sign(self._database, owner, row, body) if sign is not None else []
