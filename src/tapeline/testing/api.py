"""A small client of the REST API, with nothing but the standard library, for tests and the like.

It speaks as any client would: JSON and a bearer token, over one connection for each request. Answers are given as they came; only what
is no answer at all is an error. Blocking.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapeline.testing.process import ChildFailed, until

__all__ = ["Answer", "Api"]

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and body of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def ok(self) -> Answer:
        """Itself, where its status is 2xx. Raises AssertionError with the body else."""
        assert 200 <= self.status < 300, f"HTTP {self.status}: {self.body[:500]!r}"
        return self


class Api:
    """`/v1.0` of the server at host and port, as the holder of `token`. Over TLS where there is an `authority`, a certificate's file."""

    def __init__(self, host: str, port: int, token: str = "", timeout_s: float = 10.0, authority: Path | None = None) -> None:
        self._address = (host, port)
        self._trusting = ssl.create_default_context(cafile=authority) if authority is not None else None
        self._timeout_s = timeout_s
        self.token = token

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request; `body` is sent as JSON. Raises OSError or HTTPException where no answer comes."""
        connection = (
            http.client.HTTPSConnection(*self._address, timeout=self._timeout_s, context=self._trusting)
            if self._trusting is not None
            else http.client.HTTPConnection(*self._address, timeout=self._timeout_s)
        )
        sent = {"Connection": "close", **({"Authorization": f"Bearer {self.token}"} if self.token else {}), **(headers or {})}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: Any = None) -> Answer:
        return self.request("POST", path, body)

    def everything(self, kind: str) -> list[Json]:
        """All things of a list ("calls", "recordings"), newest first, page by page."""
        found: list[Json] = []
        token = ""
        while True:
            page = self.get(f"/v1.0/{kind}?page_size=100" + (f"&page_token={token}" if token else "")).ok().json()
            if not page["result"]:
                return found
            found += page["result"]
            token = page["next_page_token"]

    def calls(self) -> list[Json]:
        return self.everything("calls")

    def recordings(self) -> list[Json]:
        return self.everything("recordings")

    def recording(self, recording_id: str) -> Json:
        answer: Json = self.get(f"/v1.0/recordings/{recording_id}").ok().json()
        return answer

    def file(self, recording_id: str) -> bytes:
        """The stored audio."""
        return self.get(f"/v1.0/recordings/{recording_id}/file").ok().body

    def recordings_by_source(self) -> dict[str, Json]:
        """Each recording, by the address of the one who called. Raises AssertionError where someone has two."""
        callers = {call["id"]: call["source"]["target"] for call in self.calls()}
        found: dict[str, Json] = {}
        for recording in self.recordings():
            caller = callers[recording["reference_id"]]
            assert caller not in found, f"two recordings of {caller}: {found[caller]['id']} and {recording['id']}"
            found[caller] = recording
        return found

    def wait_for_recordings(self, count: int, status: str = "available", timeout_s: float = 30.0) -> list[Json]:
        """All recordings, once `count` of them have `status`. Raises ChildFailed that tells what states there are instead."""
        try:
            return until(lambda: self._enough(count, status), f"{count} recordings {status}", timeout_s, every_s=0.2)
        except ChildFailed as error:
            shown: dict[str, int] = {}
            for recording in self.recordings():
                name = f"{recording['status']} {recording.get('tapeline', {}).get('reason', '')}".strip()
                shown[name] = shown.get(name, 0) + 1
            raise ChildFailed(f"{error}; there are: {shown}") from None

    def _enough(self, count: int, status: str) -> list[Json] | None:
        recordings = self.recordings()
        return recordings if sum(recording["status"] == status for recording in recordings) >= count else None
