"""pouchdb-server: a database that speaks CouchDB's protocol, from npm, installed by scripts/peers into the project's own folder.

It keeps all in memory. One that is not installed, or a machine without node, means tests that are skipped and say so.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tapeline.testing.process import Child, Daemon, free_port

__all__ = ["PouchDB", "pouchdb_missing"]

FOLDER = "TAPELINE_POUCHDB"  # environment variable: where it is installed, if not in .stamps/pouchdb of the project


def _program() -> Path:
    project = Path(__file__).parents[3]
    folder = Path(os.environ.get(FOLDER) or project / ".stamps" / "pouchdb")
    return folder / "node_modules" / "pouchdb-server" / "bin" / "pouchdb-server"


def pouchdb_missing() -> str:
    """Why it cannot be used here, or nothing."""
    if shutil.which("node") is None:
        return "node is not installed, which pouchdb-server needs (Debian packages nodejs, npm)"
    return "" if _program().exists() else "pouchdb-server is not installed (npm); run scripts/peers"


class PouchDB(Daemon):
    """The server at `url`, until leaving."""

    patience_s = 60.0

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.address = ("127.0.0.1", port or free_port())
        self.url = f"http://127.0.0.1:{self.address[1]}"
        options = ["--in-memory", "--host", "127.0.0.1", "--port", str(self.address[1]), "--no-color"]
        self.child = Child("pouchdb", ["node", str(_program()), *options], folder)

    def documents(self, database: str) -> list[dict[str, Any]]:
        """All documents of a database; their attachments as stubs."""
        rows = json.loads(self.get(f"{quote(database, safe='')}/_all_docs?include_docs=true"))["rows"]
        return [row["doc"] for row in rows]

    def attachment(self, database: str, document: str, name: str) -> bytes:
        return self.get("/".join(quote(part, safe="") for part in (database, document, name)))

    def get(self, path: str) -> bytes:
        """The answer's body. Raises HTTPError where it is no success."""
        return self._ask("GET", path)

    def put(self, path: str, document: object = None) -> dict[str, Any]:
        """Make a database, or a document."""
        answer: dict[str, Any] = json.loads(self._ask("PUT", path, json.dumps(document or {}).encode()))
        return answer

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.url}/{path}", body, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: bytes = answer.read()
        return found

    def answers(self) -> bool:
        try:
            self.get("")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True
