"""Certificates: whom we are to those who connect, and whom we believe when we connect ourselves.

A TLS connection is a TCP connection with a context around it; framing and reuse are the same. A peer that we connect to must show a
certificate for the name that it was looked up by, or for its address where it was given as one (RFC 5922 section 7.3 by way of
subjectAltName). This module knows nothing of connections.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from functools import cache
from pathlib import Path

from tapeline.core.errors import InvalidInput
from tapeline.sip.config import Address

__all__ = ["Tls"]

_MOST_NAMES = 4096


class Tls:
    """`server` is None without a certificate of our own: then nobody can connect to us over TLS."""

    def __init__(self, cert: str = "", key: str = "", authority: str = "") -> None:
        """PEM files. `authority` holds the certificates to believe, "" those of the system. Raises InvalidInput naming the setting."""
        if bool(cert) != bool(key):
            raise InvalidInput("tls_cert and tls_key are given together or not at all")
        if authority:
            self.client = _believing(authority)
        else:
            self.client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH) if cert else _showing_nothing()
        self.server: ssl.SSLContext | None = None
        if cert:
            self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            for context in (self.server, self.client):
                _show(context, cert, key)
        self._names: OrderedDict[Address, str] = OrderedDict()

    def expect(self, remote: Address, name: str) -> None:
        """From now on `remote` is to show a certificate for `name`. Raises LookupError where no certificate can be for that."""
        try:
            name.encode("idna")
        except UnicodeError as error:
            raise LookupError(f"{name!r} is no host that could have a certificate") from error
        self._names[remote] = name
        self._names.move_to_end(remote)
        if len(self._names) > _MOST_NAMES:
            self._names.popitem(last=False)

    def name_of(self, remote: Address) -> str:
        """What the certificate of `remote` is to be for."""
        return self._names.get(remote, remote[0])


@cache
def _showing_nothing() -> ssl.SSLContext:
    """Shared by all that have no certificate of their own: to read those of the system takes longer than to open a socket."""
    return ssl.create_default_context(ssl.Purpose.SERVER_AUTH)


def _believing(authority: str) -> ssl.SSLContext:
    _readable(authority, "tls_ca")
    try:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    except ssl.SSLError as error:
        raise InvalidInput(f"tls_ca: {authority} holds no certificate in PEM: {error.reason}") from error


def _show(context: ssl.SSLContext, cert: str, key: str) -> None:
    _readable(cert, "tls_cert")
    _readable(key, "tls_key")
    try:
        context.load_cert_chain(cert, key, password="")  # an encrypted key is an error, and not a question on the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidInput(f"tls_key: the key in {key} is not that of the certificate in {cert}") from error
        hint = "both files are PEM, the certificate first and then those that signed it, the key without a password"
        said = f"tls_cert, tls_key: {cert} and {key} cannot be used: {error.reason or error}"
        raise InvalidInput(said, hint=hint) from error


def _readable(path: str, setting: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise InvalidInput(f"{setting}: {path} cannot be read: {error.strerror}", hint="name a PEM file that can be read") from error
