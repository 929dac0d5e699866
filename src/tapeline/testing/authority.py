"""A certificate authority for one test run, and certificates of its making, by the `openssl` command.

Keys are P-256, certificates last two days. Blocking. Knows nothing of who shows or checks them.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Authority", "Certificate", "authority_missing"]

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files."""

    certificate: Path
    key: Path


def authority_missing() -> str:
    """Why certificates cannot be made here, or nothing."""
    return "" if shutil.which("openssl") else "the openssl command is not installed (Debian package openssl); run scripts/peers"


class Authority:
    """Whoever trusts `certificate` trusts what is issued here."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / "authority.pem"
        self._key = folder / "authority.key"
        out = ("-keyout", self._key, "-out", self.certificate)
        _openssl("req", "-x509", *_KEY, *out, "-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, *hosts: str) -> Certificate:
        """A certificate for these names and addresses."""
        name = f"host-{hosts[0]}"
        issued = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        names = ",".join(("IP:" if host.replace(".", "").isdigit() or ":" in host else "DNS:") + host for host in hosts)
        signed = ("-CA", self.certificate, "-CAkey", self._key)
        about = ("-addext", f"subjectAltName={names}", "-addext", "basicConstraints=CA:FALSE")
        _openssl("req", "-x509", *_KEY, "-keyout", issued.key, "-out", issued.certificate, "-subj", f"/CN={hosts[0]}", *signed, *about)
        return issued


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")
