"""Object stores that are reached over a network: how they are opened, and what they say when they refuse.

Credentials and addresses come from the environment (docs/storage.md), and so do obstore's options for HTTP. What differs from its own
choice is patience: it ends every request after 30 seconds, whatever it carries, which the end of a long recording would never survive on a
slow line; and it tries again for three minutes without a word, where our own pauses are visible and survive a restart.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError
from obstore.store import from_url

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Backend

__all__ = ["NO_BUCKET", "UPLOAD_IDLE_S", "answered", "error_code", "open_remote", "words"]

IDLE_S: Final = 30.0  # without a byte from there
UPLOAD_IDLE_S: Final = 300.0  # the same where a part of a file goes up first, which counts as idle
_WHOLE: Final = timedelta(hours=6)  # for one request, and all that it carries
_RETRIES: Final = {"max_retries": 2, "retry_timeout": timedelta(minutes=2)}

NO_BUCKET: Final = "NoSuchBucket"
_ADVICE: Final[Mapping[str, str]] = {
    "SignatureDoesNotMatch": "the secret does not belong to the key: AWS_SECRET_ACCESS_KEY",
    "InvalidAccessKeyId": "the key is not known there: AWS_ACCESS_KEY_ID",
    "InvalidToken": "the token of the session is not taken: AWS_SESSION_TOKEN",
    "ExpiredToken": "the token of the session is over: AWS_SESSION_TOKEN",
    "AuthorizationHeaderMalformed": "the bucket is in another region: AWS_REGION",
    "PermanentRedirect": "the bucket is in another region: AWS_REGION",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "AccessDenied": "the key may not do that: its permissions on the bucket",
    NO_BUCKET: "there is no such bucket: server.objects",
}
_REFUSED: Final = "access denied: key and secret of the environment (S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or what they may do"
_NO_KEY: Final = "no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and the machine has no role of its own"
_ROLE: Final = ("/latest/api/token", "/latest/meta-data/")  # what a machine asks for when it wants to know its role
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")

_PREFIXES: Final = {"s3": "AWS", "s3a": "AWS", "gs": "GOOGLE", "az": "AZURE"}
_FLAGS: Final = ("allow_http", "allow_invalid_certificates")
_TEXTS: Final = ("connect_timeout", "proxy_ca_certificate", "proxy_excludes", "proxy_url", "read_timeout", "root_certificate", "timeout")


def open_remote(url: str, idle_s: float = IDLE_S) -> Backend:
    """The store at `url`. Nothing is sent yet. Raises BaseError, ValueError."""
    options: dict[str, Any] = {"timeout": _WHOLE, "read_timeout": timedelta(seconds=idle_s), **_chosen(os.environ, urlsplit(url).scheme)}
    return from_url(url, client_options=options, retry_config=_RETRIES)  # type: ignore[call-overload, no-any-return]


def _chosen(environment: Mapping[str, str], scheme: str) -> dict[str, Any]:
    """What the environment says of HTTP: obstore forgets it as soon as it is given options. An endpoint at `http://` is meant so."""
    prefix = _PREFIXES.get(scheme, scheme.upper())
    said = {name: environment.get(f"{prefix}_{name.upper()}", "") for name in (*_FLAGS, *_TEXTS)}
    options: dict[str, Any] = {name: said[name] for name in _TEXTS if said[name]}
    options |= {name: said[name].lower() in ("1", "true", "yes") for name in _FLAGS if said[name]}
    endpoints = (environment.get(f"{prefix}_{name}", "") for name in ("ENDPOINT", "ENDPOINT_URL", "ENDPOINT_URL_S3"))
    if any(each.startswith("http://") for each in endpoints):
        options.setdefault("allow_http", True)
    return options


def answered(error: Exception) -> bool:
    """Whether the store has said no itself."""
    return "Server returned non-2xx status code" in str(error)


def words(error: Exception) -> str:
    """What went wrong, on one line: for what an operator can put right, which setting it is."""
    text = str(error).strip()
    code = error_code(text)
    if advice := _ADVICE.get(code):
        return f"{code}: {advice}"
    if any(path in text for path in _ROLE):
        return _NO_KEY
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return _REFUSED
    return (text.splitlines() or [type(error).__name__])[0][:300]


def error_code(text: str) -> str:
    """What S3 calls the error that an answer, or a message around it, tells of; "" for none."""
    found = _CODE.search(text)
    return found[1] if found else ""
