"""An FTP server of its own process (pyftpdlib): one user, one folder, plain or with TLS where the client asks for it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from tapeline.testing.authority import Certificate
from tapeline.testing.process import Child, Daemon, free_port

__all__ = ["FtpServer", "ftp_server_missing"]


def ftp_server_missing() -> str:
    """Why it cannot be used here, or nothing."""
    found = all(importlib.util.find_spec(name) for name in ("pyftpdlib", "OpenSSL"))
    return "" if found else "pyftpdlib is not installed (pip install pyftpdlib pyopenssl)"


class FtpServer(Daemon):
    """The server at `address`. What is stored as `/a/b` is the file `files / "a/b"`. With a certificate the login must be over TLS."""

    USERNAME, PASSWORD = "recorder", "p@ss/word"
    patience_s = 30.0

    def __init__(self, folder: Path, certificate: Certificate | None = None, *, port: int = 0) -> None:
        self.files = folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.address = ("127.0.0.1", port or free_port())
        options = ["-i", self.address[0], "-p", str(self.address[1]), "-w", "-d", str(self.files.absolute())]
        options += ["-u", self.USERNAME, "-P", self.PASSWORD]
        if certificate is not None:
            options += ["--tls", "--certfile", str(certificate.certificate.absolute()), "--keyfile", str(certificate.key.absolute())]
            options += ["--tls-control-required", "--tls-data-required"]
        self.child = Child("ftp", [sys.executable, "-m", "pyftpdlib", *options], folder)
