"""The archive of a real server: what is over goes, what is held stays, exports come and are fetched, and all of it is in the audit."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tapeline.core.ids import new_id
from tapeline.store import Database, RecordingRow
from tapeline.testing.process import until
from tapeline.testing.server import Server

DAY_S = 86400.0
AUDIO = {days: b"RIFF" + bytes([days]) * 3000 for days in (1, 2, 40, 50)}


async def stored(data: Path) -> dict[int, str]:
    """A recording for each number of days ago, as a server that ran then would have left them; the oldest is held."""
    database = Database(f"sqlite:///{data / 'tapeline.sqlite'}")
    await database.open()
    account = (await database.accounts.ensure("default")).id
    made = {}
    for days, audio in AUDIO.items():
        ended, name = time.time() - days * DAY_S, new_id()
        path = data / "objects" / account / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(audio)
        row = RecordingRow(
            name, account, "available", ended - 5.0, started=ended - 5.0, ended=ended, updated=ended, size=len(audio), duration=5.0,
            sha256=hashlib.sha256(audio).hexdigest(), object_key=f"{account}/{name}.wav", content_type="audio/wav",
            source=f"+49301{days:03d}",
        )  # fmt: skip
        await database.recordings.upsert(row)
        made[days] = name
    await database.keeping.hold(made[50], time.time(), "case 7", "clerk")
    await database.close()
    return made


@pytest.fixture
def shelf(tmp_path: Path) -> dict[int, str]:
    return asyncio.run(stored(tmp_path / "data"))


def test_a_server_s_archive(tmp_path: Path, shelf: dict[int, str]) -> None:
    with Server(tmp_path / "server", data=tmp_path / "data") as server:
        api = server.api
        until(lambda: api.get(f"/v1.0/recordings/{shelf[40]}").status == 404, "the sweep to remove what is over", 30)
        assert {item["id"] for item in api.recordings()} == {shelf[1], shelf[2], shelf[50]}
        until(lambda: len(list((tmp_path / "data/objects").rglob("*.wav"))) == 3, "its audio to go", 30)
        refused = api.request("DELETE", f"/v1.0/recordings/{shelf[50]}")
        assert (refused.status, refused.json()["error"]["reason"]) == (409, "RECORDING_HELD")
        assert api.get("/v1.0/storage_account").json()["total_file_count"] == 3
        found = api.get("/v1.0/recordings?number=301002").ok().json()
        assert [item["id"] for item in found["result"]] == [shelf[2]] and found["next_page_token"] == ""

        asked = api.post("/v1.0/recordings/export", {"recording_ids": [shelf[1], shelf[2]]}).ok().json()
        path = f"/v1.0/recordings/exports/{asked['id']}"
        until(lambda: api.get(path).json()["status"] == "finished", "the export to be finished", 30)
        link = urlsplit(api.get(path).json()["download_uri"])
        api.token = ""
        fetched = api.get(f"{link.path}?{link.query}").ok().body
        with zipfile.ZipFile(io.BytesIO(fetched)) as opened:
            listed = json.loads(opened.read("manifest.json"))["recordings"]
            assert {item["id"]: opened.read(item["name"]) for item in listed} == {shelf[1]: AUDIO[1], shelf[2]: AUDIO[2]}
        api.token = server.token
        until(lambda: any(deed["action"] == "export_downloaded" for deed in deeds(server)), "the audit to be written", 10)
        actions = {(deed["action"], deed["actor"]) for deed in deeds(server)}
        wanted = {("deleted", "retention"), ("deleted", "administrator"), ("exported", "administrator"), ("export_downloaded", "link")}
        assert wanted <= actions and ("listed", "administrator") in actions
    command = [sys.executable, "-m", "tapeline", "audit", "verify", "--data", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert " rows, last hash " in done.stdout


def deeds(server: Server) -> list[dict[str, str]]:
    result: list[dict[str, str]] = server.api.get("/v1.0/audit").ok().json()["result"]
    return result
