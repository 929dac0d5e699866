"""Whether a storage handler works: a small text is stored with it and read back, by the very requests that recordings take."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Final

from tapeline.core.ids import new_id
from tapeline.delivery import s3
from tapeline.delivery.bodies import Bytes, Multipart
from tapeline.delivery.errors import DeliveryFailed
from tapeline.delivery.http import GuardedClient, Streamed
from tapeline.delivery.plans import Handler, place

__all__ = ["probe"]

TIMEOUT_S: Final = 15.0
TEXT: Final = b"some random content: this file tests a storage handler and may be removed\n"
NAME: Final = "storage_test.txt"


async def probe(handler: Handler, account: str, client: GuardedClient) -> None:
    """Raises Refused or DeliveryFailed, with what the handler's author has to know. `account` in hexadecimal."""
    document = {"id": f"000000-{new_id().replace('-', '')}", "name": NAME}
    wanted = place(handler, document, account, NAME)
    body: Streamed = Bytes(TEXT)
    headers = [("Content-Type", "text/plain")]
    read = wanted.url
    if handler.kind == s3.SCHEME:
        write, read = s3.signed("PUT", wanted.url, handler), s3.signed("GET", wanted.url, handler)
    else:
        write = wanted.url
        if wanted.multipart:
            form = Multipart(json.dumps(document), body, "text/plain", names=(document["id"], NAME), headers=wanted.part or {})
            body, headers = form, [("Content-Type", form.content_type)]
    stored = await client.request(wanted.method, write, body=body, headers=headers, timeout_s=TIMEOUT_S)
    if not stored.ok:
        raise DeliveryFailed(f"storing a test file was answered {stored.status}{_said(stored.body)}", fault="destination")
    found = await client.request("GET", read, timeout_s=TIMEOUT_S)
    if not found.ok:
        raise DeliveryFailed(f"reading the test file back was answered {found.status}{_said(found.body)}", fault="destination")
    if found.body not in (TEXT, base64.b64encode(TEXT)):
        raise DeliveryFailed("what was read back is not what was stored", fault="destination")
    if handler.kind == s3.SCHEME:
        with suppress(DeliveryFailed):  # it may be left there
            await client.request("DELETE", s3.signed("DELETE", wanted.url, handler), timeout_s=TIMEOUT_S)


def _said(body: bytes) -> str:
    """The beginning of an answer, as it may stand in a message."""
    text = " ".join(body[:2000].decode("utf-8", "replace").split())
    return f": {text[:200]}" if text.isprintable() and text else ""
