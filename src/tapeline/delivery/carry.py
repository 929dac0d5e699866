"""How one delivery is carried to its receiver: which protocol its address asks for, and what is sent over it.

    http https       the file, or the message, as the body of one request
    ftp ftps         the file; see `ftp`
    couchdb couchdbs the row's body as a document, and the file as its attachment; see `couch`

Gives the status of the answer. What it means, and whether it is tried again, is decided by `send`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from tapeline.delivery import couch
from tapeline.delivery.bodies import StoredBody
from tapeline.delivery.couch import CouchAccess, put_couch
from tapeline.delivery.errors import Refused
from tapeline.delivery.ftp import put_ftp
from tapeline.delivery.http import GuardedClient
from tapeline.store import DeliveryRow, ObjectStore

__all__ = ["Carrier"]

IDLE_S = 30.0  # a receiver that takes or says nothing for so long is given up, this time
LONGEST_S = 4 * 3600.0  # one try as a whole
MAX_REDIRECTS = 10
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

    async def send(self, row: DeliveryRow) -> int:
        """The status of the answer; for FTP, 226 where the file was taken. Raises TapelineError."""
        scheme = urlsplit(row.url).scheme.lower()
        if scheme in {"ftp", "ftps"} | couch.SCHEMES.keys():
            if not row.object_key:
                raise Refused(f"only files are sent over {scheme}")
            body = await StoredBody.of(self._objects, row.object_key)
            if scheme in couch.SCHEMES:
                return await self._to_couch(row, body)
            return await put_ftp(row.url, body, self._client.addresses, idle_s=IDLE_S)
        answer = await self._client.request(
            row.method,
            row.url,
            body=await StoredBody.of(self._objects, row.object_key) if row.object_key else row.body.encode(),
            headers=[("Content-Type", row.content_type), *row.headers.items()],
            timeout_s=LONGEST_S,
            idle_s=IDLE_S,
            max_bytes=ANSWER_BYTES,
            redirects=MAX_REDIRECTS,
        )
        return answer.status

    async def _to_couch(self, row: DeliveryRow, body: StoredBody) -> int:
        ours = self._access is not None and self._access.owns(row.url)
        access = self._access if ours and self._access is not None else CouchAccess("")
        client = self._trusted if ours else self._client
        return await put_couch(row.url, row.body, row.content_type, body, client, access, timeout_s=LONGEST_S, idle_s=IDLE_S)
