"""Signs what is sent, as it is sent: the secret stands in its owner's row, never in that of a delivery, and a new one holds at once.

`DeliveryRow.signing` says who signs: `<scheme>:<id>`. A scheme is one function of `SCHEMES`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping

from tapeline.store import Database, DeliveryRow

__all__ = ["SCHEMES", "Headers", "Scheme", "Signer", "voipbin_signature"]

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


SCHEMES: Mapping[str, Scheme] = {"voipbin": _voipbin}


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
