"""A bucket on somebody else's server: OpenStack Swift with its S3 face, which checks every signature. Its objects survive its restart.

It comes from PyPI, with the packages for development, and runs as one process (`s3cluster`).
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.store import S3Store

from tapeline.testing.process import Child, Daemon, free_port

__all__ = ["S3Server", "s3_server_missing"]

REGION = "us-east-1"


def s3_server_missing() -> str:
    """Why it cannot be used here, or nothing."""
    if not all(importlib.util.find_spec(name) for name in ("swift", "eventlet")):
        return "OpenStack Swift, an S3 server, is not installed (pip install swift)"
    with tempfile.NamedTemporaryFile() as file:
        try:
            os.setxattr(file.name, "user.tapeline", b"")
        except OSError as error:
            return f"OpenStack Swift needs extended attributes of files, which {tempfile.gettempdir()} has not: {error.strerror}"
    return ""


class S3Server(Daemon):
    """The server at `url`, with the bucket `BUCKET`. Who signs with `KEY` and `SECRET` may do everything there; the `guest` is known there,
    and may do nothing."""

    BUCKET = "calls"
    KEY, SECRET = "tapeline:recorder", "sEcret/Key+1"
    guest: Mapping[str, str] = {"AWS_ACCESS_KEY_ID": "tapeline:guest", "AWS_SECRET_ACCESS_KEY": "another"}
    patience_s = 60.0

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.address = ("127.0.0.1", port or free_port())
        self.url = f"http://127.0.0.1:{self.address[1]}"
        program = Path(__file__).with_name("s3cluster.py")
        users = (self.KEY, self.SECRET, *self.guest.values())
        command = [sys.executable, "-P", "-W", "ignore", str(program), str((folder / "swift").absolute()), str(self.address[1]), *users]
        self.child = Child("s3", command, folder)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program needs that is to work on it."""
        return {
            "AWS_ACCESS_KEY_ID": self.KEY,
            "AWS_SECRET_ACCESS_KEY": self.SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT": self.url,
        }

    def bucket(self, name: str = BUCKET) -> S3Store:
        """For a test to look into."""
        return S3Store(
            name,
            access_key_id=self.KEY,
            secret_access_key=self.SECRET,
            region=REGION,
            endpoint=self.url,
            client_options={"allow_http": True},
        )

    def keys(self, prefix: str = "") -> list[str]:
        """What is in the bucket."""
        return sorted(found["path"] for page in obstore.list(self.bucket(), prefix or None) for found in page)

    def content(self, key: str) -> tuple[bytes, str]:
        """An object and its type."""
        found = obstore.get(self.bucket(), key)
        return bytes(found.bytes()), found.attributes.get("Content-Type", "")

    def start(self) -> None:
        super().start()
        url = obstore.sign(self.bucket(), "PUT", "", timedelta(hours=1))
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=30).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 409:  # it is there already
                raise
