"""Passwords as they are stored: scrypt (RFC 7914) with a salt of its own, all of its parameters beside the result.

Both functions take a good part of a second of one processor and 32 MB: never call them on the event loop.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

__all__ = ["LONGEST", "SHORTEST", "hashed", "matches"]

SHORTEST, LONGEST = 8, 256
_N, _R, _P = 2**15, 8, 3
_MEMORY = 64 * 1024 * 1024
_NOBODY = f"scrypt${_N}${_R}${_P}$AAAAAAAAAAAAAAAAAAAAAA==$AAAA"


def hashed(password: str) -> str:
    """`scrypt$N$r$p$salt$hash`, both in Base64."""
    salt = secrets.token_bytes(16)
    found = hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=_MEMORY)
    return "$".join(("scrypt", str(_N), str(_R), str(_P), base64.b64encode(salt).decode(), base64.b64encode(found).decode()))


def matches(password: str, stored: str) -> bool:
    """Whether `stored` was made of `password`. With "" it takes as long and is never so: nobody learns by the time who exists."""
    _, n, r, p, salt, expected = (stored or _NOBODY).split("$")
    found = hashlib.scrypt(password.encode(), salt=base64.b64decode(salt), n=int(n), r=int(r), p=int(p), maxmem=_MEMORY)
    return hmac.compare_digest(found, base64.b64decode(expected)) and bool(stored)
