"""VoIPBIN's recording guide against a running server: each of its curl commands as it stands there, but for host, ids and token, and each
symptom of its troubleshooting tables, brought about and cured as the table says.
"""

from __future__ import annotations

import asyncio
import io
import json
import shlex
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline.core.ids import ZERO_ID, new_id
from tapeline.store import Database
from tapeline.testing.api import Api
from tapeline.testing.process import Child, until
from tapeline.testing.server import Server

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

HOST = "https://api.voipbin.net"
LONG = {"actions": [{"type": "answer"}, {"type": "sleep", "option": {"duration": 600_000}}]}
CONFERENCE = new_id()
JOINS = {"actions": [{"type": "conference_join", "option": {"conference_id": CONFERENCE}}]}
RINGS = {"actions": [{"type": "sleep", "option": {"duration": 600_000}}]}

START_CALL = """curl -X POST 'https://api.voipbin.net/v1.0/calls/<id>/recording_start?token=<token>' \\
    --header 'Content-Type: application/json' \\
    --data '{ "format": "wav" }'"""
STOP_CALL = "curl -X POST 'https://api.voipbin.net/v1.0/calls/<id>/recording_stop?token=<token>'"
START_CONFERENCE = """curl -X POST 'https://api.voipbin.net/v1.0/conferences/<id>/recording_start?token=<token>' \\
    --header 'Content-Type: application/json' \\
    --data '{ "format": "wav" }'"""
LIST = "curl -X GET 'https://api.voipbin.net/v1.0/recordings?token=<token>'"
METADATA = "curl -X GET 'https://api.voipbin.net/v1.0/recordings/<id>?token=<token>'"
DOWNLOAD = """curl -X GET 'https://api.voipbin.net/v1.0/recordings/<id>/file?token=<token>' \\
    --output recording.wav"""
EXPORT = """curl -X POST 'https://api.voipbin.net/v1.0/recordings/export?token=<token>' \\
    --header 'Content-Type: application/json' \\
    --data '{ "recording_ids": [ "recording-id-1", "recording-id-2", "recording-id-3" ] }'"""


class Caller:
    """A softphone that calls and says a tone for as long as it is up."""

    def __init__(self, server: Server, folder: Path, number: str) -> None:
        samples = (np.sin(np.arange(8000 * 240) * 2 * np.pi * 517 / 8000) * 8000).astype("<i2")
        with wave.open(str(folder / "tone.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples.tobytes())
        known = {call["id"] for call in server.api.calls()}
        command = [sys.executable, "-m", "tapeline", "call", server.uri(number), "--play", str(folder / "tone.wav"), "--seconds", "300"]
        self.child = Child(f"caller-{number}", command, folder)
        self.child.start()
        self.call_id: str = until(lambda: [call["id"] for call in server.api.calls() if call["id"] not in known], "the call", 20)[0]

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exception: object) -> None:
        self.child.end()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), {"1000": LONG, "2000": RINGS, "3000": LONG, "4000": JOINS}) as running:
        yield running


@pytest.fixture(scope="module")
def call(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A call that is up, with sound."""
    with Caller(server, tmp_path_factory.mktemp("caller"), "1000") as caller:
        until(lambda: server.api.get(f"/v1.0/calls/{caller.call_id}").json()["status"] == "progressing", "the answer", 20)
        time.sleep(0.5)  # its sound begins
        yield caller.call_id


def run(command: str, server: Server, folder: Path, thing: str = "", token: str = "") -> Any:
    """What the command prints; its JSON, where it is any. curl itself must succeed."""
    command = command.replace("<id>", thing).replace("<token>", token or server.token).replace(HOST, server.base_url)
    done = subprocess.run([*shlex.split(command.replace("\\\n", " ")), "--silent"], cwd=folder, capture_output=True, timeout=30, check=True)
    return json.loads(done.stdout) if done.stdout else None


def state(server: Server, recording_id: str, wanted: str) -> Any:
    return until(lambda: (found := server.api.recording(recording_id))["status"] == wanted and found, f"{wanted}", 30)


def record(server: Server, call: str, seconds: float) -> str:
    """A recording of so long, available."""
    found: str = server.api.post(f"/v1.0/calls/{call}/recording_start", {"format": "wav"}).ok().json()["recording_id"]
    state(server, found, "recording")
    time.sleep(seconds)
    server.api.post(f"/v1.0/calls/{call}/recording_stop").ok()
    state(server, found, "available")
    return found


def samples(data: bytes) -> Any:
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getcomptype()) == (1, 2, 8000, "NONE")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["reason"]


def test_the_commands_of_the_guide(server: Server, call: str, tmp_path: Path) -> None:
    started = run(START_CALL, server, tmp_path, call)
    assert started["id"] == call and started["recording_id"] == started["recording_ids"][-1] != ZERO_ID
    recording_id = started["recording_id"]
    state(server, recording_id, "recording")
    time.sleep(1.0)
    assert run(STOP_CALL, server, tmp_path, call)["recording_id"] == ZERO_ID
    state(server, recording_id, "available")

    assert recording_id in [found["id"] for found in run(LIST, server, tmp_path)["result"]]
    metadata = run(METADATA, server, tmp_path, recording_id)
    assert (metadata["status"], metadata["format"], metadata["reference_id"]) == ("available", "wav", call)
    run(DOWNLOAD, server, tmp_path, recording_id)
    assert len(samples((tmp_path / "recording.wav").read_bytes())) > 6000

    others = [record(server, call, 0.2), record(server, call, 0.2)]
    command = EXPORT
    for number, found in enumerate([recording_id, *others], 1):
        command = command.replace(f"recording-id-{number}", found)
    export = run(command, server, tmp_path)
    assert export["status"] == "progressing" and export["id"]


def test_the_command_for_conferences(server: Server, tmp_path: Path) -> None:
    server.api.post("/v1.0/conferences", {"id": CONFERENCE, "name": "three"})
    with Caller(server, tmp_path, "4000"):
        until(lambda: server.api.get(f"/v1.0/conferences/{CONFERENCE}").json().get("conferencecall_ids"), "somebody in it", 20)
        started = run(START_CONFERENCE, server, tmp_path, CONFERENCE)
        assert started["id"] == CONFERENCE and started["recording_id"] == started["recording_ids"][-1] != ZERO_ID
        time.sleep(0.5)
        assert server.api.post(f"/v1.0/conferences/{CONFERENCE}/recording_stop").ok().json()["recording_id"] == ZERO_ID
        assert state(server, started["recording_id"], "available")["reference_type"] == "confbridge"


# -- Recording Not Starting


def test_no_recording_id_returned(server: Server, tmp_path: Path) -> None:
    """Verify call/conference is in "progressing" status before starting recording."""
    with Caller(server, tmp_path, "2000") as caller:
        early = server.api.post(f"/v1.0/calls/{caller.call_id}/recording_start", {"format": "wav"})
        assert refusal(early) == (409, "CALL_STATE_INVALID") and "recording_id" not in early.json()
        shown = server.api.get(f"/v1.0/calls/{caller.call_id}").json()
        assert shown["status"] == "ringing" and shown["recording_id"] == ZERO_ID
    with Caller(server, tmp_path, "3000") as caller:
        until(lambda: server.api.get(f"/v1.0/calls/{caller.call_id}").json()["status"] == "progressing", "the answer", 20)
        cured = server.api.post(f"/v1.0/calls/{caller.call_id}/recording_start", {"format": "wav"}).ok().json()
        assert cured["recording_id"] != ZERO_ID
        path = f"/v1.0/calls/{caller.call_id}"
        assert server.api.request("DELETE", path).ok().json()["tm_delete"]
        assert refusal(server.api.get(path)) == refusal(server.api.request("DELETE", path)) == (404, "RESOURCE_NOT_FOUND")
        assert refusal(server.api.post(path + "/recording_start", {"format": "wav"})) == (409, "STATE_INVALID")
        assert caller.call_id not in [found["id"] for found in server.api.calls()]


def test_permission_denied(server: Server, call: str) -> None:
    """Check API token has recording permissions."""
    people = {}
    for role, permission in (("agent", 16), ("manager", 64)):
        body = {"username": f"{role}-{new_id()}", "password": "correct horse", "permission": permission}
        server.api.post("/v1.0/agents", body).ok()
        login = Api(*server.http).post("/auth/login", body).ok().json()
        people[role] = Api(*server.http, login["token"])
    denied = people["agent"].post(f"/v1.0/calls/{call}/recording_start", {"format": "wav"})
    assert refusal(denied) == (403, "PERMISSION_DENIED")
    started = people["manager"].post(f"/v1.0/calls/{call}/recording_start", {"format": "wav"}).ok().json()
    assert started["recording_id"] != ZERO_ID
    people["manager"].post(f"/v1.0/calls/{call}/recording_stop").ok()
    state(server, started["recording_id"], "available")


def test_recording_starts_but_immediately_stops(server: Server, call: str) -> None:
    """Check if another recording is already active (only one active recording per call)."""
    first = server.api.post(f"/v1.0/calls/{call}/recording_start", {"format": "wav"}).ok().json()
    second = server.api.post(f"/v1.0/calls/{call}/recording_start", {"format": "wav"})
    assert refusal(second) == (409, "RECORDING_ALREADY_ACTIVE")
    shown = server.api.get(f"/v1.0/calls/{call}").json()
    assert shown["recording_id"] == first["recording_id"] and shown["recording_ids"] == first["recording_ids"]
    server.api.post(f"/v1.0/calls/{call}/recording_stop").ok()
    cured = server.api.post(f"/v1.0/calls/{call}/recording_start", {"format": "wav"}).ok().json()
    assert cured["recording_id"] not in first["recording_ids"]
    server.api.post(f"/v1.0/calls/{call}/recording_stop").ok()
    state(server, first["recording_id"], "available")
    state(server, cured["recording_id"], "available")


# -- Empty or Corrupted Files


def test_file_size_is_0_bytes(server: Server, call: str) -> None:
    """Recording may have been stopped immediately after starting. Ensure audio is flowing."""
    found = server.api.post(f"/v1.0/calls/{call}/recording_start", {"format": "wav"}).ok().json()["recording_id"]
    server.api.post(f"/v1.0/calls/{call}/recording_stop").ok()
    state(server, found, "available")
    assert len(samples(server.api.file(found))) < 8000  # a whole file all the same, with little or nothing in it
    assert len(samples(server.api.file(record(server, call, 1.0)))) > 6000


def test_file_won_t_play(server: Server, call: str) -> None:
    """Verify file format. VoIPBIN uses WAV format. Some players may not support 8kHz mono."""
    data = server.api.file(record(server, call, 0.3))
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    assert len(samples(data)) > 0
    answer = server.api.post(f"/v1.0/calls/{call}/recording_start", {"format": "flac"})
    assert refusal(answer) == (400, "INVALID_ARGUMENT")


def test_audio_is_silent(server: Server, call: str) -> None:
    """Check that audio was flowing during recording. Muted calls produce silent recordings."""
    server.api.post(f"/v1.0/calls/{call}/mute", {"direction": "in"}).ok()
    time.sleep(0.2)
    silent = samples(server.api.file(record(server, call, 0.8)))
    server.api.request("DELETE", f"/v1.0/calls/{call}/mute").ok()
    time.sleep(0.2)
    heard = samples(server.api.file(record(server, call, 0.8)))
    assert len(silent) > 3000 and np.abs(silent[800:]).max(initial=0) < 50
    assert np.abs(heard).max(initial=0) > 4000


# -- Download Failures


def test_404_not_found(server: Server, call: str) -> None:
    """Recording may still be processing. Wait for "available" status before downloading."""
    found = server.api.post(f"/v1.0/calls/{call}/recording_start", {"format": "wav"}).ok().json()["recording_id"]
    assert server.api.get(f"/v1.0/recordings/{found}/file").status == 404
    server.api.post(f"/v1.0/calls/{call}/recording_stop").ok()
    at_once = server.api.get(f"/v1.0/recordings/{found}/file").status
    assert at_once == 404 or server.api.recording(found)["status"] == "available"
    state(server, found, "available")
    assert server.api.get(f"/v1.0/recordings/{found}/file").status == 200


def test_timeout_on_large_files(server: Server, call: str) -> None:
    """Use streaming download with Range headers for large recordings."""
    found = record(server, call, 1.0)
    whole, path = server.api.file(found), f"/v1.0/recordings/{found}/file"
    pieces = b""
    while len(pieces) < len(whole):
        answer = server.api.request("GET", path, headers={"Range": f"bytes={len(pieces)}-{len(pieces) + 2999}"})
        assert answer.status == 206 and answer.headers["content-range"].endswith(f"/{len(whole)}")
        pieces += answer.body
    assert pieces == whole
    assert server.api.request("GET", path, headers={"Range": f"bytes={len(whole)}-"}).status == 416


def test_recording_expired(server: Server, call: str) -> None:
    """Recording exceeded retention period. Check your retention settings."""
    expired, kept = record(server, call, 0.3), record(server, call, 0.3)
    assert server.api.get("/v1.0/retention").ok().json() == {"retention_days": None, "default_days": 30.0}
    second = 1 / 86400
    for recording_id, days in ((expired, second / 10), (kept, 60)):
        shown = server.api.request("PUT", f"/v1.0/recordings/{recording_id}", {"retention_days": days}).ok().json()
        assert shown["tapeline"]["retention_days"] == days
    time.sleep(0.2)
    asyncio.run(sweep(server))
    gone = server.api.get(f"/v1.0/recordings/{expired}/file")
    assert refusal(gone) == (404, "RESOURCE_NOT_FOUND") and server.api.get(f"/v1.0/recordings/{expired}").status == 404
    assert len(samples(server.api.file(kept))) > 1000
    assert kept in (listed := [found["id"] for found in server.api.recordings()]) and expired not in listed


async def sweep(server: Server) -> None:
    """What the worker does once a minute; the audio of what it makes a tombstone is the worker's to remove."""
    database = Database(f"sqlite:///{server.data / 'tapeline.sqlite'}")
    await database.open()
    try:
        await database.removals.sweep(time.time(), 30.0, 100)
    finally:
        await database.close()


def test_a_run_over_rest_and_the_flow_that_follows_it(server: Server) -> None:
    last = {"actions": [{"type": "variable_set", "option": {"key": "second", "value": "${first} ${voipbin.activeflow.complete_count}"}}]}
    following = server.api.post("/v1.0/flows", last).ok().json()["id"]
    first = {"actions": [{"type": "variable_set", "option": {"key": "first", "value": "${given}"}}], "on_complete_flow_id": following}
    flow_id = server.api.post("/v1.0/flows", first).ok().json()["id"]
    made = server.api.post("/v1.0/activeflows", {"flow_id": flow_id, "variables": {"given": "hello"}}).ok().json()
    assert made["reference_type"] == "api" and made["flow_id"] == flow_id

    def followed() -> Any:
        runs = server.api.everything("activeflows")
        return [run for run in runs if run["reference_activeflow_id"] == made["id"] and run["status"] == "ended"]

    (after,) = until(followed, "the flow that follows", 20)
    assert after["flow_id"] == following and after["executed_actions"][-1]["type"] == "variable_set"
    waits = server.api.post("/v1.0/activeflows", LONG).ok().json()
    assert server.api.post(f"/v1.0/activeflows/{waits['id']}/stop").ok().json()["status"] == "ended"
    assert server.api.post(f"/v1.0/activeflows/{waits['id']}/stop").ok().json()["status"] == "ended"
    assert refusal(server.api.post("/v1.0/activeflows", LONG | {"id": waits["id"]})) == (409, "ACTIVEFLOW_ALREADY_EXISTS")
    assert server.api.request("DELETE", f"/v1.0/activeflows/{waits['id']}").ok().json()["tm_delete"]
    assert server.api.get(f"/v1.0/activeflows/{waits['id']}").status == 404
