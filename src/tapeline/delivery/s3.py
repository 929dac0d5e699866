"""Requests to an S3 bucket of somebody's own, signed for the guarded client to send: the bucket's owner names the host, so it is not
trusted.

The signature stands in the query and holds for a few hours; it is made when something is sent and kept nowhere.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tapeline.delivery.errors import Refused
from tapeline.delivery.plans import Handler

__all__ = ["SCHEME", "handler_id", "signed"]

SCHEME: Final = "s3"
_HOLDS: Final = timedelta(hours=6)  # longer than one try may take
REGION: Final = "us-east-1"


def handler_id(url: str) -> str:
    """Whose credentials an address is meant for."""
    return unquote(urlsplit(url).netloc.rpartition("@")[0])


def signed(method: Literal["PUT", "GET", "DELETE"], url: str, handler: Handler) -> str:
    """The URL of a request for the object that `s3://HANDLER@BUCKET/KEY` means. Raises Refused."""
    key = unquote(urlsplit(url).path.lstrip("/"))
    bucket, access, secret = (handler.text(name) for name in ("bucket", "key", "secret"))
    if handler.kind != SCHEME or not (key and bucket and access and secret):
        raise Refused("the storage handler has no bucket, key or secret")
    host, scheme = handler.text("host"), handler.text("scheme") or "https"
    wanted = handler.text("bucket_access_method") or "auto"
    inside = handler.flag("bucket_after_host") or "." in bucket or bucket != bucket.lower()
    in_host = wanted == "vhost" or (wanted == "auto" and not host and not inside)
    options: dict[str, Any] = {}
    if host:
        port = handler.text("port")
        address = f"{host}:{port}" if port else host
        options["endpoint"] = f"{scheme}://{bucket}.{address}" if in_host else f"{scheme}://{address}"
    try:
        store = S3Store(
            bucket,
            access_key_id=access,
            secret_access_key=secret,
            region=handler.text("region") or REGION,
            virtual_hosted_style_request=in_host,
            client_options={"allow_http": scheme == "http"},
            **options,
        )
        return obstore.sign(store, method, key, _HOLDS)
    except (BaseError, ValueError, OSError) as error:
        raise Refused(f"the storage handler's settings cannot be used: {str(error)[:200]}") from error
