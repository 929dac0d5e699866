"""How one delivery is carried to its receiver: which protocol its address asks for, and what is sent over it.

    http https       the file, or the message, as the body of one request
    ftp ftps         the file; see `ftp`
    couchdb couchdbs the row's body as a document, and the file as its attachment; see `couch`

Gives the status of the answer. What it means, and whether it is tried again, is decided by `send`.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from tapeline.delivery import couch
from tapeline.delivery.bodies import StoredBody
from tapeline.delivery.couch import CouchAccess, put_couch
from tapeline.delivery.errors import Refused
from tapeline.delivery.ftp import put_ftp
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.policies import Policy, policy_of
from tapeline.store import DeliveryRow, ObjectStore

__all__ = ["Carrier"]

ANSWER_BYTES = 65536


class Carrier:
    """Over one object store and one guarded client. `access`: the CouchDB of the settings, which `trusted` may reach wherever it is."""

    def __init__(
        self, objects: ObjectStore, client: GuardedClient, access: CouchAccess | None = None, trusted: GuardedClient | None = None
    ) -> None:
        self._objects = objects
        self._client = client
        self._access = access
        self._trusted = trusted or client

    async def send(self, row: DeliveryRow, signature: Sequence[tuple[str, str]] = ()) -> int:
        """The status of the answer; for FTP, 226 where the file was taken. `signature` goes along with a message. Raises TapelineError."""
        policy = policy_of(row.policy)
        scheme = urlsplit(row.url).scheme.lower()
        if scheme in {"ftp", "ftps"} | couch.SCHEMES.keys():
            if not row.object_key:
                raise Refused(f"only files are sent over {scheme}")
            body = await StoredBody.of(self._objects, row.object_key)
            if scheme in couch.SCHEMES:
                return await self._to_couch(row, body, policy)
            return await put_ftp(row.url, body, self._client.addresses, idle_s=policy.idle_s)
        answer = await self._client.request(
            row.method,
            row.url,
            body=await StoredBody.of(self._objects, row.object_key) if row.object_key else row.body.encode(),
            headers=[("Content-Type", row.content_type), *row.headers.items(), *signature],
            timeout_s=policy.timeout_s,
            idle_s=policy.idle_s,
            max_bytes=ANSWER_BYTES,
            redirects=policy.redirects,
        )
        return answer.status

    async def _to_couch(self, row: DeliveryRow, body: StoredBody, policy: Policy) -> int:
        ours = self._access is not None and self._access.owns(row.url)
        access = self._access if ours and self._access is not None else CouchAccess("")
        client = self._trusted if ours else self._client
        limits = {"timeout_s": policy.timeout_s, "idle_s": policy.idle_s}
        return await put_couch(row.url, row.body, row.content_type, body, client, access, **limits)
