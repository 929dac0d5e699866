"""Addresses of the web, as settings, commands and requests name them.

Only their form is looked at here; whether such an address may be asked is decided when it is (`delivery.http`).
"""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["is_web"]


def is_web(text: str) -> bool:
    """Whether it is an address that something can be sent to."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and len(text) <= 2000 and text.isprintable()
    except ValueError:
        return False
