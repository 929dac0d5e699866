"""Putting a recording into a CouchDB: its metadata as a document, then the file as the document's attachment.

    GET  /DB/ID                       is it there?
    PUT  /DB/ID                       no: the document; the database is made where there is none
    PUT  /DB/ID/NAME?rev=REVISION     the file, onto the revision just seen

Whoever changes the document in between makes the last step a conflict: it is looked at again. Done twice it is there once: a document that
has the attachment already, with the same length and digest, is left alone. A document of that id that tells of another recording is
not touched. The address of such a delivery is `couchdb://host:port/DB/ID/NAME`, `couchdbs` over TLS.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from tapeline.delivery.bodies import StoredBody, digest
from tapeline.delivery.errors import DeliveryFailed, Refused
from tapeline.delivery.http import GuardedClient, Response

__all__ = ["OWNER", "SCHEMES", "CouchAccess", "couch_address", "put_couch"]

SCHEMES: Final = {"couchdb": "http", "couchdbs": "https"}
OWNER: Final = "pvt_recording"  # the document's field that says which recording of ours it tells of
MOST_CONFLICTS: Final = 5
ANSWER_BYTES: Final = 1_000_000
ASKING_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class CouchAccess:
    """The CouchDB that the settings name. `host` may begin with `https://`."""

    host: str
    port: int = 5984
    username: str = ""
    password: str = ""

    @property
    def base(self) -> str:
        """`couchdb://host:port`; never with the login."""
        scheme, _, host = self.host.rpartition("://")
        host = host.rstrip("/")
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"  # an IPv6 address
        return f"{'couchdbs' if scheme == 'https' else 'couchdb'}://{host}:{self.port}"

    def owns(self, url: str) -> bool:
        """Whether a delivery's address is in this CouchDB."""
        return url.startswith(self.base + "/")

    @property
    def headers(self) -> list[tuple[str, str]]:
        if not self.username:
            return []
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return [("Authorization", f"Basic {login}")]


def couch_address(base: str, database: str, document: str, name: str) -> str:
    return "/".join([base, *(quote(part, safe="") for part in (database, document, name))])


@dataclass(frozen=True, slots=True)
class _Place:
    client: GuardedClient
    headers: list[tuple[str, str]]
    database: str
    document: str
    file: str

    @classmethod
    def of(cls, url: str, client: GuardedClient, access: CouchAccess) -> _Place:
        parts = urlsplit(url)
        names = parts.path.split("/")
        if parts.scheme not in SCHEMES or len(names) != 4 or not all(names[1:]):
            raise Refused("this is not an address of a file in a CouchDB")
        database = f"{SCHEMES[parts.scheme]}://{parts.netloc}/{names[1]}"
        document = f"{database}/{names[2]}"
        return cls(client, access.headers, database, document, f"{document}/{names[3]}")

    async def ask(self, method: str, url: str, body: bytes = b"") -> Response:
        headers = [*self.headers, ("Accept", "application/json")]
        if body:
            headers.append(("Content-Type", "application/json"))
        return await self.client.request(
            method, url, body=body, headers=headers, timeout_s=ASKING_S, max_bytes=ANSWER_BYTES, redirects=0
        )


async def put_couch(
    url: str,
    document: str,
    content_type: str,
    body: StoredBody,
    client: GuardedClient,
    access: CouchAccess,
    *,
    timeout_s: float,
    idle_s: float,
    answer_s: float,
) -> int:
    """Have `document` (JSON) and the file there. The status of the answer that decided. Raises Refused, DeliveryFailed."""
    place = _Place.of(url, client, access)
    owner = json.loads(document).get(OWNER)
    for _ in range(MOST_CONFLICTS):
        found = await place.ask("GET", place.document)
        if found.status == 404:
            found = await place.ask("PUT", place.document, document.encode())
            if found.status == 404:
                made = await place.ask("PUT", place.database)
                if not made.ok and made.status != 412:  # 412: somebody else has made it
                    return made.status
                continue
            if found.status == 409:
                continue
            revision = _json(found).get("rev") if found.ok else None
        else:
            kept = _json(found) if found.ok else {}
            if found.ok and kept.get(OWNER) != owner:
                raise Refused("a document of this id is there and tells of another recording")
            if found.ok and await _holds(kept, url, body):
                return found.status
            revision = kept.get("_rev")
        if not found.ok:
            return found.status
        if not isinstance(revision, str):
            raise DeliveryFailed("the database does not say which revision it has", fault="destination")
        sent = await client.request(
            "PUT",
            f"{place.file}?rev={quote(revision, safe='')}",
            body=body,
            headers=[*place.headers, ("Content-Type", content_type)],
            timeout_s=timeout_s,
            idle_s=idle_s,
            answer_s=answer_s,
            max_bytes=ANSWER_BYTES,
            redirects=0,
        )
        if sent.status != 409:
            return sent.status
    raise DeliveryFailed("the document is changed by somebody else all the time", fault="destination")


async def _holds(kept: dict[str, Any], url: str, body: StoredBody) -> bool:
    """Whether the document has the very file attached."""
    attached = kept.get("_attachments")
    names = {quote(str(name), safe=""): stub for name, stub in attached.items()} if isinstance(attached, dict) else {}
    stub = names.get(urlsplit(url).path.rpartition("/")[2])
    if not isinstance(stub, dict) or stub.get("length") != body.size:
        return False
    return bool(stub.get("digest") == "md5-" + base64.b64encode(await digest(body)).decode())


def _json(answer: Response) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DeliveryFailed("the answer is not that of a CouchDB", fault="destination")
    return found
