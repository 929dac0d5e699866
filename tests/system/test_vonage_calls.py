"""NCCOs on a real server: the voicemail of the platform's own page, and websockets that talk with a caller or are called themselves."""

from __future__ import annotations

import asyncio
import json
import socketserver
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from tapeline.audio import wav
from tapeline.calls.phone import Phone, PhoneCall, PhoneConfig, resolve
from tapeline.calls.vonage.applications import new_key
from tapeline.core.ids import new_id
from tapeline.testing import Plan, decode, sine, tone
from tapeline.testing.process import free_port, until
from tapeline.testing.receiver import Receiver
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

PORT, CALLED_PORT, ASKED_PORT = free_port(), free_port(), free_port()
APPLICATION, (PRIVATE, PUBLIC) = new_id(), new_key()
NCCOS: dict[str, Any] = {
    "voicemail": [
        {"action": "stream", "streamUrl": ["tone:600/400"]},
        {"action": "record", "eventUrl": [""], "endOnSilence": "3", "endOnKey": "#", "beepStart": "true"},
        {"action": "stream", "streamUrl": ["tone:800/400"]},
    ],
    "socket": [
        {"action": "record", "split": "conversation", "format": "wav"},
        {
            "action": "connect",
            "endpoint": [
                {
                    "type": "websocket",
                    "uri": f"ws://127.0.0.1:{PORT}/peer",
                    "content-type": "audio/l16;rate=16000",
                    "headers": {"customer": {"id": 7}},
                    "authorization": {"type": "custom", "value": "Bearer x"},
                }
            ],
        },
    ],
    "asking": [
        {
            "action": "connect",
            "endpoint": [{"type": "websocket", "uri": f"ws://127.0.0.1:{PORT}/peer", "headers": {"a": "b"}}],
            "eventType": "synchronous",
            "eventUrl": [f"http://127.0.0.1:{ASKED_PORT}/sync"],
        }
    ],
    "standup": [{"action": "conversation", "name": "standup", "record": "true"}],
    "nobody": [
        {"action": "connect", "endpoint": [{"type": "websocket", "uri": f"ws://127.0.0.1:{free_port()}/none"}]},
        {"action": "stream", "streamUrl": ["tone:800/400"]},
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    own = {"id": APPLICATION, "public_key": PUBLIC}
    with Server(tmp_path_factory.mktemp("vonage"), NCCOS, tables={"applications": [own]}) as made:
        yield made


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    made = Phone(PhoneConfig(user="caller", codecs=("L16",)))
    await made.start()
    yield made
    await made.stop()


async def dial(phone: Phone, server: Server, number: str) -> PhoneCall:
    call = phone.call(await resolve(server.uri(number)))
    await call.answered()
    return call


async def new_recording(server: Server, before: set[str], status: str = "available") -> Any:
    """The one recording that there is beside those there were, once it has `status`."""

    def found() -> Any:
        (*new,) = (row for row in server.api.recordings() if row["id"] not in before)
        assert len(new) <= 1
        return next((row for row in new if row["status"] == status), None)

    return await asyncio.to_thread(until, found, f"a recording {status}")


def recorded(server: Server) -> set[str]:
    return {row["id"] for row in server.api.recordings()}


def level(samples: np.ndarray, rate: int, hertz: float) -> float:
    """The amplitude of a tone where it is loudest for half a second, of 1."""
    n = rate // 2
    wave = np.exp(-2j * np.pi * hertz * np.arange(n) / rate)
    parts = (samples[at : at + n].astype(float) / 32768 for at in range(0, max(1, len(samples) - n), n // 2))
    return max((float(2 * abs(np.mean(part * wave[: len(part)]))) for part in parts if len(part) == n), default=0.0)


async def test_a_message_is_left_and_ends_with_silence(server: Server, phone: Phone, tmp_path: Path) -> None:
    before = recorded(server)
    call = await dial(phone, server, "voicemail")
    call.save(tmp_path / "heard.wav")
    await new_recording(server, before, "recording")
    await call.play(sine(440.0, 2.0, call.rate))
    await asyncio.wait_for(call.over(), 40)
    recording = await new_recording(server, before)
    file = decode(await asyncio.to_thread(server.api.file, recording["id"]))
    assert file.rate == 16000 and file.channels == 1 and recording["format"] == "mp3"
    assert 4.4 < file.seconds < 8.0, "two seconds of speech and three of silence"
    heard, rate = wav.read(tmp_path / "heard.wav")
    assert level(heard[:, 0], rate, 800.0) > 0.05, "the document went on when the recording had ended"


class Peer:
    """The other end of a websocket: says a tone all at once, and keeps what comes."""

    def __init__(self) -> None:
        self.texts: list[Any] = []
        self.frames: list[bytes] = []
        self.authorization = ""
        self.key = asyncio.Event()
        self.enough = asyncio.Event()

    async def talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.authorization = socket.request.headers.get("Authorization", "")
        await socket.send(sine(900.0, 3.0, 16000).astype("<i2").tobytes())
        async for message in socket:
            if isinstance(message, bytes):
                self.frames.append(message)
            else:
                self.texts.append(json.loads(message))
            if len(self.texts) > 1:
                self.key.set()
            if len(self.frames) > 200 and self.key.is_set():
                return


async def test_a_websocket_talks_with_the_caller(server: Server, phone: Phone, tmp_path: Path) -> None:
    """connect websocket: L16 both ways in frames of 20 ms, the headers first, keys as events; it ends when the peer closes."""
    peer, before = Peer(), recorded(server)
    async with serve(peer.talk, "127.0.0.1", PORT):
        call = await dial(phone, server, "socket")
        call.save(tmp_path / "heard.wav")
        speaking = asyncio.ensure_future(call.play(sine(500.0, 30.0, call.rate)))
        while not peer.frames:
            await asyncio.sleep(0.02)
        await call.press("5")
        await asyncio.wait_for(peer.key.wait(), 40)
        await asyncio.wait_for(call.over(), 40)
        await speaking
    assert peer.texts[0] == {"event": "websocket:connected", "content-type": "audio/l16;rate=16000", "customer": {"id": 7}}
    assert peer.texts[1]["event"] == "websocket:dtmf" and peer.texts[1]["digit"] == "5" and 80 <= peer.texts[1]["duration"] <= 200
    assert {len(frame) for frame in peer.frames} == {640} and peer.authorization == "Bearer x"
    assert level(np.frombuffer(b"".join(peer.frames), "<i2"), 16000, 500.0) > 0.1
    heard, rate = wav.read(tmp_path / "heard.wav")
    assert level(heard[:, 0], rate, 900.0) > 0.1
    recording = await new_recording(server, before)
    assert recording["format"] == "wav"
    samples = decode(await asyncio.to_thread(server.api.file, recording["id"]))
    left, right = np.asarray(samples.samples)[:, 0], np.asarray(samples.samples)[:, 1]
    scale = 1.0 if np.issubdtype(left.dtype, np.integer) else 32768.0
    assert level(left * scale, samples.rate, 500.0) > 0.1 > 0.01 > level(left * scale, samples.rate, 900.0)
    assert level(right * scale, samples.rate, 900.0) > 0.1 > 0.01 > level(right * scale, samples.rate, 500.0)


async def test_a_websocket_that_is_not_there_lets_the_document_go_on(server: Server, phone: Phone, tmp_path: Path) -> None:
    call = await dial(phone, server, "nobody")
    call.save(tmp_path / "heard.wav")
    await asyncio.wait_for(call.over(), 40)
    heard, rate = wav.read(tmp_path / "heard.wav")
    assert len(heard) > 0.2 * rate


async def test_a_websocket_that_closes_is_answered_with_the_next_document(server: Server, phone: Phone, tmp_path: Path) -> None:
    async def leave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.recv()

    with Receiver(port=ASKED_PORT) as receiver:
        receiver.serve("/sync", json.dumps([{"action": "stream", "streamUrl": ["tone:800/1500"]}]).encode())
        async with serve(leave, "127.0.0.1", PORT):
            call = await dial(phone, server, "asking")
            call.save(tmp_path / "heard.wav")
            await asyncio.wait_for(call.over(), 40)
        (event,) = [event for each in receiver.received("/sync") if (event := json.loads(each.body))["status"] == "disconnected"]
    assert event["headers"] == {"a": "b"} and event["direction"] == "outbound" and event["to"].startswith("ws://")
    heard, rate = wav.read(tmp_path / "heard.wav")
    assert level(heard[:, 0], rate, 800.0) > 0.05


def bearer() -> dict[str, str]:
    token = jwt.encode({"application_id": APPLICATION, "iat": int(time.time()), "jti": new_id()}, PRIVATE, "RS256")
    return {"Authorization": f"Bearer {token}"}


def place(server: Server, receiver: Receiver, port: int, *ncco: dict[str, Any], **more: Any) -> str:
    """Call a websocket at `port` as the application would; the call's id."""
    endpoint = {"type": "websocket", "uri": f"ws://127.0.0.1:{port}/called", "content-type": "audio/l16;rate=16000", "headers": {"a": "b"}}
    number = {"type": "phone", "number": "447700900001"}
    wanted = {"to": [endpoint], "from": number, "ncco": list(ncco), "event_url": [receiver.url + "/event"], **more}
    answer = server.api.request("POST", "/v1/calls", wanted, bearer())
    assert answer.status == 201, answer.body
    assert answer.json()["status"] == "started" and answer.json()["direction"] == "outbound"
    return str(answer.json()["uuid"])


def told(receiver: Receiver, uuid: str) -> list[dict[str, Any]]:
    """The events of a call, once it is over."""
    found: list[dict[str, Any]] = []

    def over() -> bool:
        found[:] = [event for each in receiver.received("/event") if (event := json.loads(each.body)).get("uuid") == uuid]
        return any(event.get("status") == "completed" for event in found)

    until(over, "the call's end to be told", 30)
    return found


async def leave_soon(socket: ServerConnection) -> None:
    """Speaks, and closes after a little more than a second."""
    await socket.send(sine(900.0, 3.0, 16000).astype("<i2").tobytes())
    for _ in range(60):
        await socket.recv()


def recordings_of(server: Server, reference: str) -> list[dict[str, Any]]:
    """What is listed under a leg or a conversation, once each is available."""

    def found() -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = server.api.get(f"/v1.0/recordings?call_id={reference}").ok().json()["result"]
        return result if result and all(each["status"] == "available" for each in result) else []

    return until(found, "the recordings", 30)


async def test_recordings_are_listed_by_leg_and_by_conversation(server: Server) -> None:
    """One of the leg and one of its conversation, each under its own; each file has its content type."""
    with Receiver() as receiver:
        record = {"action": "record", "format": "ogg", "eventUrl": [receiver.url + "/leg"]}
        room = {"action": "conversation", "name": "listed", "record": True, "eventUrl": [receiver.url + "/room"]}
        async with serve(leave_soon, "127.0.0.1", CALLED_PORT):
            uuid = await asyncio.to_thread(place, server, receiver, CALLED_PORT, record, room)
            await asyncio.to_thread(told, receiver, uuid)
        events = {path: json.loads((await asyncio.to_thread(receiver.wait_for, path, 1, 30))[0].body) for path in ("/leg", "/room")}
    for path, kind in (("/leg", "audio/ogg"), ("/room", "audio/mpeg")):
        file = await asyncio.to_thread(server.api.request, "GET", urlsplit(events[path]["recording_url"]).path, None, bearer())
        assert (file.status, file.headers["content-type"], len(file.body)) == (200, kind, events[path]["size"])
    conversation = events["/room"]["conversation_uuid"].removeprefix("CON-")
    listed = [await asyncio.to_thread(recordings_of, server, reference) for reference in (uuid, conversation)]
    assert [[each["id"] for each in found] for found in listed] == [[events[path]["recording_uuid"]] for path in ("/leg", "/room")]
    assert [found[0]["reference_type"] for found in listed] == ["call", "confbridge"]


async def test_hang_up_during_record(server: Server) -> None:
    """A record that waits for a key: who is recorded leaves. The file is closed, the event sent, its address leads to the file; the rest
    of the document is not run."""
    with Receiver() as receiver:
        record = {"action": "record", "endOnKey": "#", "eventUrl": [receiver.url + "/record"]}
        notify = {"action": "notify", "payload": {}, "eventUrl": [receiver.url + "/never"]}
        async with serve(leave_soon, "127.0.0.1", CALLED_PORT):
            uuid = await asyncio.to_thread(place, server, receiver, CALLED_PORT, record, notify)
            events = await asyncio.to_thread(told, receiver, uuid)
        (request,) = await asyncio.to_thread(receiver.wait_for, "/record", 1, 30)
        assert not receiver.received("/never")
    event = json.loads(request.body)
    file = await asyncio.to_thread(server.api.request, "GET", urlsplit(event["recording_url"]).path, None, bearer())
    assert (file.status, file.headers["content-type"], str(len(file.body))) == (200, "audio/mpeg", str(event["size"]))
    assert decode(file.body).seconds > 0.8 and event["conversation_uuid"] == events[0]["conversation_uuid"]


async def test_a_websocket_that_is_called_is_the_call(server: Server) -> None:
    """POST /v1/calls to a websocket: the NCCO runs on it, it is recorded, its events are those of any call; one that closes ends it."""
    peer = Peer()
    say, record = {"action": "stream", "streamUrl": ["tone:600/1500"]}, {"action": "record", "split": "conversation", "format": "wav"}
    with Receiver() as receiver:
        record["eventUrl"] = [receiver.url + "/record"]
        async with serve(peer.talk, "127.0.0.1", CALLED_PORT):
            uuid = await asyncio.to_thread(place, server, receiver, CALLED_PORT, record, say)
            events = await asyncio.to_thread(told, receiver, uuid)
            peer.key.set()  # the next one closes when it has heard enough
            closing = await asyncio.to_thread(place, server, receiver, CALLED_PORT, {**say, "loop": 0})
            closed = await asyncio.to_thread(told, receiver, closing)
        nobody = await asyncio.to_thread(told, receiver, await asyncio.to_thread(place, server, receiver, free_port(), say))
        with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as silent:  # takes connections, and says nothing
            port = int(silent.server_address[1])
            late = await asyncio.to_thread(told, receiver, await asyncio.to_thread(place, server, receiver, port, say, ringing_timer=1))
        (recorded,) = [json.loads(each.body) for each in await asyncio.to_thread(receiver.wait_for, "/record", 1, 30)]
    assert [event["status"] for event in events] == ["started", "ringing", "answered", "completed"]
    assert events[-1]["disconnected_by"] == "platform" and events[0]["from"] == "447700900001" and events[0]["to"].startswith("ws://")
    assert [event["status"] for event in closed] == ["started", "ringing", "answered", "disconnected", "completed"]
    assert closed[3]["headers"] == {"a": "b"} and closed[4]["disconnected_by"] == "user"
    assert [event["status"] for event in late] == ["started", "timeout", "completed"]
    assert [event["status"] for event in nobody] == ["started", "failed", "completed"]
    assert peer.texts[0] == {"event": "websocket:connected", "content-type": "audio/l16;rate=16000", "a": "b"}
    assert level(np.frombuffer(b"".join(peer.frames), "<i2"), 16000, 600.0) > 0.05
    samples = decode(await asyncio.to_thread(server.api.file, recorded["recording_uuid"]))
    left, right = (np.asarray(samples.samples)[:, side] * 32768 for side in (0, 1))
    assert level(left, samples.rate, 900.0) > 0.1 > 0.01 > level(left, samples.rate, 600.0)
    assert level(right, samples.rate, 600.0) > 0.05 > 0.01 > level(right, samples.rate, 900.0)


@pytest.mark.peer
@pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())
def test_four_sipp_telephones_in_a_conversation_are_on_one_recording(server: Server, tmp_path: Path) -> None:
    """One MP3 of 16 kHz and 32 kbit/s with all of them, from the first to the last."""

    def rooms() -> list[Any]:
        return [each for each in server.api.recordings() if each["reference_type"] == "confbridge"]

    known = {each["id"] for each in rooms()}
    tones = (417.0, 617.0, 917.0, 1217.0)
    plans = [Plan.of([tone(hertz, 10, level_db=-18.0)]) for hertz in tones]
    callers = SippCallers(tmp_path / "sipp", server.sip, plans, number="standup", rate=4.0, seconds=6, ends="caller")
    with callers.child:
        assert callers.finish().failed == 0
    recordings = until(lambda: [each for each in rooms() if each["id"] not in known], "the recording", 30)
    assert len(recordings) == 1
    found = until(lambda: (each := server.api.recording(recordings[0]["id"]))["status"] == "available" and each, "the file", 30)
    octets = server.api.file(found["id"])
    file = decode(octets)
    assert (found["format"], file.rate, file.channels) == ("mp3", 16000, 1) and 6.0 < file.seconds < 11.0
    assert len(octets) == pytest.approx(file.seconds * 4000, rel=0.05)
    middle = file.samples[2 * file.rate : round(3.5 * file.rate), 0] * 32768
    assert all(level(middle, file.rate, hertz) > 0.05 for hertz in tones)
