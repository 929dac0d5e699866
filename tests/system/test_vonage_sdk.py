"""The platform's own SDK, as it is, against a server over HTTPS: it places a recorded call, hears of it, verifies, downloads, hangs up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from vonage import Auth, HttpClientOptions, Vonage
from vonage_http_client.errors import FileStreamingError, NotFoundError
from vonage_jwt import verify_signature
from vonage_voice import CreateCallRequest, Phone, Record, Sip, Talk
from vonage_voice.models import AudioStreamOptions, ListCallsFilter, TtsStreamOptions

from tapeline.cli.application import _key
from tapeline.core.ids import new_id
from tapeline.testing import LIVE, Plan, assert_heard, decode, quiet, spoken
from tapeline.testing.authority import Authority, authority_missing
from tapeline.testing.baresip import Baresip, baresip_missing
from tapeline.testing.process import free_port, until
from tapeline.testing.receiver import Received, Receiver
from tapeline.testing.server import Server

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(baresip_missing()), reason=baresip_missing()),
    pytest.mark.skipif(bool(authority_missing()), reason=authority_missing()),
]

SECRET = "the receiver and the server both know this one"
SPEAKS_S = 3


@dataclass(frozen=True)
class Rig:
    """A server over HTTPS with two applications, whose private keys are in files; what they are told goes to `port`."""

    server: Server
    applications: tuple[str, str]
    keys: tuple[Path, Path]
    port: int

    def client(self, number: int) -> Vonage:
        options = HttpClientOptions(api_host=f"{self.server.http[0]}:{self.server.http[1]}/api.nexmo.com", timeout=20)
        return Vonage(Auth(application_id=self.applications[number], private_key=str(self.keys[number])), options)


@dataclass
class House:
    server: Server
    receiver: Receiver
    client: Vonage
    stranger: Vonage

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.receiver.received("/event")]

    def statuses(self, uuid: str) -> list[str]:
        return [event["status"] for event in self.events() if event.get("uuid") == uuid and "status" in event]

    def call(self, phone: Baresip, *ncco: Any, **more: Any) -> Any:
        wanted = CreateCallRequest(to=[Sip(uri=phone.uri)], from_=Phone(number="14155550100"), ncco=list(ncco), **more)
        return self.client.voice.create_call(wanted)

    def wait_for(self, uuid: str, status: str) -> None:
        until(lambda: status in self.statuses(uuid), f"the event {status}", 20)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("vonage")
    authority = Authority(folder / "authority")
    port = free_port()
    keys = (folder / "one.key", folder / "two.key")
    told = {name: f"http://127.0.0.1:{port}/{name.partition('_')[0]}" for name in ("answer_url", "event_url", "fallback_url")}
    rows = [{"id": new_id(), "public_key": _key(None, key), "signature_secret": SECRET, **told} for key in keys]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(authority.certificate))
        with Server(
            folder / "server",
            settings={"server": {"vonage_files_base": "https://{HTTP}/api.nexmo.com"}},
            tables={"applications": rows, "numbers": [{"match": "4420", "application": rows[0]["id"]}]},
            certificate=authority.issue("127.0.0.1", "localhost"),
            authority=authority.certificate,
        ) as server:
            yield Rig(server, (rows[0]["id"], rows[1]["id"]), keys, port)


@pytest.fixture
def house(rig: Rig) -> Iterator[House]:
    clients = [rig.client(number) for number in range(2)]
    with Receiver(port=rig.port) as receiver:
        yield House(rig.server, receiver, *clients)
    for client in clients:
        client.http_client._session.close()
        client.http_client._last_response = None  # its connection is open as long as this is there


def signed(request: Received) -> bool:
    """As the SDK judges it."""
    return bool(verify_signature(request.headers["authorization"].removeprefix("Bearer "), SECRET))


def test_a_recorded_call_from_its_creation_to_its_file(house: House, tmp_path: Path) -> None:
    """Created, seen, hung up by the SDK; its events arrive, signed; the file is downloaded, and another application has none of it."""
    voice = Plan.of(spoken(711, 4))
    record = Record(eventUrl=[house.receiver.url + "/record"], format="mp3")
    with Baresip(tmp_path / "phone", voice, name="callee", answer="auto") as phone:
        created = house.call(phone, record, Talk(text="hello", loop=0, level=-1.0))
        uuid = created.uuid
        assert (created.status, created.direction) == ("started", "outbound")
        house.wait_for(uuid, "answered")
        found = house.client.voice.get_call(uuid)
        assert (found.uuid, found.status, found.conversation_uuid) == (uuid, "answered", created.conversation_uuid)
        phone.listen_for(2.0)
        house.client.voice.hangup(uuid)
        phone.wait_for("CALL_CLOSED")
    (told,) = house.receiver.wait_for("/record", timeout_s=20)
    house.wait_for(uuid, "completed")
    assert house.statuses(uuid) == ["started", "ringing", "answered", "completed"]
    (completed,) = [event for event in house.events() if event["uuid"] == uuid and event["status"] == "completed"]
    assert completed["disconnected_by"] == "platform" and int(completed["duration"]) >= 2
    assert signed(told) and all(signed(request) for request in house.receiver.received("/event"))
    event = json.loads(told.body)
    fields = {"start_time", "end_time", "recording_url", "recording_uuid", "size", "conversation_uuid", "timestamp"}
    assert set(event) == fields and event["recording_uuid"] not in event["recording_url"]
    assert event["conversation_uuid"] == created.conversation_uuid
    house.client.voice.download_recording(event["recording_url"], str(tmp_path / "recording.mp3"))
    audio = (tmp_path / "recording.mp3").read_bytes()
    assert len(audio) == event["size"] and decode(audio).seconds >= 1.5
    assert uuid in [call.uuid for call in house.client.voice.list_calls(ListCallsFilter(status="completed", page_size=100))[0]]
    with pytest.raises(NotFoundError):
        house.stranger.voice.get_call(uuid)
    assert not house.stranger.voice.list_calls(ListCallsFilter(page_size=10))[0]
    with pytest.raises(FileStreamingError, match="404"):
        house.stranger.voice.download_recording(event["recording_url"], str(tmp_path / "stolen.mp3"))


def test_what_was_spoken_is_in_the_file(house: House, tmp_path: Path) -> None:
    """A blocking record: its event comes before the next action, and its file holds what the telephone said."""
    voice = Plan.of([quiet(1.5), *spoken(712, SPEAKS_S), quiet(30.0)])
    record = Record(eventUrl=[house.receiver.url + "/spoken"], format="mp3", endOnSilence=3)
    with Baresip(tmp_path / "phone", voice, name="callee", answer="auto") as phone:
        created = house.call(phone, record, Talk(text="thank you, and goodbye"))
        (told,) = house.receiver.wait_for("/spoken", timeout_s=30)
        phone.wait_for("CALL_CLOSED", timeout_s=20)
    house.wait_for(created.uuid, "completed")
    order = [request.path if request is told else json.loads(request.body)["status"] for request in house.receiver.requests]
    assert order == ["started", "ringing", "answered", "/spoken", "completed"]
    event = json.loads(told.body)
    house.client.voice.download_recording(event["recording_url"], str(tmp_path / "recording.mp3"))
    file = decode(tmp_path / "recording.mp3")
    assert file.seconds == pytest.approx(1.5 + SPEAKS_S + 3.0, abs=0.7)
    lossy = replace(LIVE, residue_db=-12, phase_cycles=0.2, guard_s=0.06, edge_s=0.03, start_s=1.0, duration_s=60)
    assert_heard(file, Plan.of([quiet(1.0), *spoken(712, SPEAKS_S)]), lossy, name="the recording")


def test_a_call_that_is_up_is_changed(house: House, tmp_path: Path) -> None:
    """mute, earmuff, talk, stream, dtmf, transfer; then it hears what the new document says, and is over with it."""
    voice = house.client.voice
    prompt = Plan.of(spoken(713, 1))
    address = house.receiver.serve("/prompt.wav", prompt.write_wav(tmp_path / "prompt.wav").read_bytes(), "audio/wav")
    with Baresip(tmp_path / "phone", name="callee", answer="auto") as phone:
        uuid = house.call(phone, Talk(text="please wait", loop=0), length_timer=60).uuid
        house.wait_for(uuid, "answered")
        for change in (voice.mute, voice.unmute, voice.earmuff, voice.unearmuff):
            change(uuid)
        assert voice.play_tts_into_call(uuid, TtsStreamOptions(text="a word")).message == "Talk started"
        assert voice.stop_tts(uuid).message == "Talk stopped"
        assert voice.play_audio_into_call(uuid, AudioStreamOptions(stream_url=[address])).message == "Stream started"
        assert voice.stop_audio_stream(uuid).message == "Stream stopped"
        assert voice.play_dtmf_into_call(uuid, "12p#").message == "DTMF sent"
        house.receiver.serve("/next", json.dumps([{"action": "stream", "streamUrl": [address]}]).encode())
        voice.transfer_call_answer_url(uuid, house.receiver.url + "/next")
        phone.wait_for("CALL_CLOSED", timeout_s=20)
    house.wait_for(uuid, "completed")
    (moved,) = [event for event in house.events() if event.get("type") == "transfer"]
    assert moved["uuid"] == uuid and moved["conversation_uuid_from"] != moved["conversation_uuid_to"]


def test_a_caller_is_answered_by_the_fallback(house: House, tmp_path: Path) -> None:
    """The answer URL is down: it is asked twice, then the fallback, whose NCCO runs; the application is told of the error."""
    house.receiver.fail("/answer", 503, "close")
    house.receiver.serve("/fallback", json.dumps([{"action": "talk", "text": "hello", "loop": 0}]).encode())
    with Baresip(tmp_path / "phone", name="447700900001") as phone:
        phone.dial(house.server.uri("4420"))
        phone.hang_up()
    assert [len(house.receiver.received(path)) for path in ("/answer", "/fallback")] == [2, 1]
    assert all(signed(request) for request in house.receiver.requests)
    until(lambda: "completed" in [event.get("status") for event in house.events()], "the call's end to be told")
    news = house.events()
    assert [event.get("status", "error") for event in news] == ["started", "ringing", "error", "answered", "completed"]
    assert news[-1]["disconnected_by"] == "user" and news[-1]["direction"] == "inbound"
    assert (news[0]["to"], news[0]["from"]) == ("4420", "447700900001")


def test_a_call_that_nobody_takes(house: House, tmp_path: Path) -> None:
    with Baresip(tmp_path / "phone", name="callee", answer="manual") as phone:
        uuid = house.call(phone, Talk(text="x"), ringing_timer=1).uuid
        house.wait_for(uuid, "completed")
    assert house.statuses(uuid) == ["started", "ringing", "timeout", "completed"]
    assert house.client.voice.get_call(uuid).status == "timeout"
