"""How one delivery is carried to its receiver: which protocol its address asks for, and what is sent over it.

    http https       the file, or the message, as the body of one request
    ftp ftps         the file; see `ftp`
                     with a document in the row's body beside the file: a form of both
    couchdb couchdbs the row's body as a document, and the file as its attachment; see `couch`
    s3               the file, to a bucket of the account's own; see `s3`

Gives the status of the answer. What it means, and whether it is tried again, is decided by `send`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from tapeline.delivery import couch, s3
from tapeline.delivery.bodies import Multipart, StoredBody
from tapeline.delivery.couch import CouchAccess, put_couch
from tapeline.delivery.errors import DeliveryFailed, Refused
from tapeline.delivery.ftp import put_ftp
from tapeline.delivery.http import GuardedClient, Response, Streamed
from tapeline.delivery.plans import Handler, handler_in
from tapeline.delivery.policies import Policy, policy_of
from tapeline.store import DeliveryRow, ObjectStore
from tapeline.store.objects.remote import error_code

__all__ = ["Carrier"]

ANSWER_BYTES = 65536


class Carrier:
    """Over one object store and one guarded client. `access`: the CouchDB of the settings, which `trusted` may reach wherever it is.
    `storage` gives an account's document of storage plans."""

    def __init__(
        self,
        objects: ObjectStore,
        client: GuardedClient,
        access: CouchAccess | None = None,
        trusted: GuardedClient | None = None,
        storage: Callable[[str], Awaitable[Mapping[str, Any]]] | None = None,
    ) -> None:
        self._objects = objects
        self._client = client
        self._access = access
        self._trusted = trusted or client
        self._storage = storage

    async def send(self, row: DeliveryRow, signature: Sequence[tuple[str, str]] = ()) -> int:
        """The status of the answer; for FTP, 226 where the file was taken. `signature` goes along with a message. Raises TapelineError."""
        policy = policy_of(row.policy)
        scheme = urlsplit(row.url).scheme.lower()
        if scheme in {"http", "https"}:
            return (await self._over_http(row, row.url, signature)).status
        if not row.object_key:
            raise Refused(f"only files are sent over {scheme}")
        if scheme == s3.SCHEME:
            return await self._to_bucket(row)
        body = await StoredBody.of(self._objects, row.object_key)
        if scheme in couch.SCHEMES:
            return await self._to_couch(row, body, policy)
        if scheme in {"ftp", "ftps"}:
            return await put_ftp(row.url, body, self._client.addresses, idle_s=policy.idle_s, answer_s=policy.answer_s)
        raise Refused(f"nothing is sent over {scheme or 'no protocol'}")

    async def _to_bucket(self, row: DeliveryRow) -> int:
        answer = await self._over_http(row, s3.signed("PUT", row.url, await self._handler(row)), ())
        if not answer.ok:
            said = error_code(answer.body.decode("utf-8", "replace"))
            raise DeliveryFailed(f"answered {answer.status}" + (f": {said}" if said else ""), fault="destination", status=answer.status)
        return answer.status

    async def _over_http(self, row: DeliveryRow, url: str, signature: Sequence[tuple[str, str]]) -> Response:
        policy = policy_of(row.policy)
        body: Streamed | bytes = row.body.encode()
        content_type, headers = row.content_type, row.headers
        if row.object_key:
            body = await StoredBody.of(self._objects, row.object_key)
            if row.body:
                body = Multipart(row.body, body, content_type, names=_names(row.body), headers=headers)
                content_type, headers = body.content_type, {}
        return await self._client.request(
            row.method,
            url,
            body=body,
            headers=[("Content-Type", content_type), *headers.items(), *signature],
            timeout_s=policy.timeout_s,
            idle_s=policy.idle_s,
            answer_s=policy.answer_s,
            max_bytes=ANSWER_BYTES,
            redirects=policy.redirects,
        )

    async def _handler(self, row: DeliveryRow) -> Handler:
        """Whose credentials are used. Raises DeliveryFailed where the account has put it away: it may come back."""
        wanted = s3.handler_id(row.url)
        found = handler_in(await self._storage(row.account), wanted) if self._storage is not None else None
        if found is None:
            raise DeliveryFailed(f"the account's storage document has no handler {wanted[:64]!r}", fault="us")
        return found

    async def _to_couch(self, row: DeliveryRow, body: StoredBody, policy: Policy) -> int:
        ours = self._access is not None and self._access.owns(row.url)
        access = self._access if ours and self._access is not None else CouchAccess("")
        client = self._trusted if ours else self._client
        limits = {"timeout_s": policy.timeout_s, "idle_s": policy.idle_s, "answer_s": policy.answer_s}
        return await put_couch(row.url, row.body, row.content_type, body, client, access, **limits)


def _names(document: str) -> tuple[str, str]:
    """Of the two parts of a form: the document's id, and the file's name."""
    found = json.loads(document)
    return str(found.get("id", "")), str(found.get("name", ""))
