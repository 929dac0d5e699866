"""Callers in one conference: all voices in one file, each hears the others and not itself, and what REST does to them is heard."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tapeline.audio import wav
from tapeline.calls.phone import Phone, PhoneCall, PhoneConfig, resolve
from tapeline.core.ids import ZERO_ID, new_id
from tapeline.testing import Plan, decode, tone
from tapeline.testing.baresip import Baresip, baresip_missing
from tapeline.testing.process import ChildFailed, until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())]

ROOM, TALK, MODERATED, CROWD, HELD, NOWHERE, CALLED = (new_id() for _ in range(7))
TONES = (417.0, 617.0, 917.0)
AFTERWARDS_HZ = 2117.0  # what a flow plays when its caller has left the conference
MUSIC_HZ = 2517.0
LEVEL_DB = -18.0
LISTEN_S = 0.8  # how long is listened to what is to be heard
WAV_HEADER = len(wav.header(8000, 1, None))


def joining(conference_id: str, **option: Any) -> dict[str, Any]:
    return {
        "actions": [
            {"type": "answer"},
            {"type": "conference_join", "option": {"conference_id": conference_id, **option}},
            {"type": "play", "option": {"stream_urls": [f"tone:{AFTERWARDS_HZ:.0f}/5000"]}},
            {"type": "hangup"},
        ]
    }


FLOWS = {
    "room": joining(ROOM),
    "talk": joining(TALK),
    "attendee": joining(MODERATED),
    "moderator": joining(MODERATED, moderator=True, end_on_exit=True),
    "crowd": joining(CROWD),
    "held": joining(HELD),
    "nowhere": joining(NOWHERE),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), FLOWS) as running:
        for conference_id in (ROOM, TALK, CROWD, HELD, CALLED):
            running.api.post("/v1.0/conferences", {"type": "conference", "id": conference_id, "name": "daily"}).ok()
        options = {"moderated": True, "music": f"tone:{MUSIC_HZ:.0f}/1000"}
        running.api.post("/v1.0/conferences", {"id": MODERATED, "tapeline": options}).ok()
        yield running


def level(samples: NDArray[np.float64], rate: int, hertz: float) -> float:
    """dB of full scale of one tone over all of `samples`."""
    window = np.hanning(len(samples))
    wave = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / rate)
    return float(20 * np.log10(max(2 * abs(np.sum(samples * window * wave)) / window.sum(), 1e-9)))


def usual_level(samples: NDArray[np.float64], rate: int, hertz: float) -> float:
    """The median of the tone's level in stretches of 0.2 s: a busy machine may tear a hole into one."""
    n = rate // 5
    return float(np.median([level(samples[at : at + n], rate, hertz) for at in range(0, len(samples) - n, n)]))


@dataclass
class Speaker:
    """A phone's call that says one tone all the time and keeps what it hears."""

    call: PhoneCall
    saved: Path

    def hearing(self) -> NDArray[np.float64]:
        """The last that it heard, as far as that is written by now."""
        heard = np.frombuffer(self.saved.read_bytes()[WAV_HEADER:], np.int16)
        return heard[-round(LISTEN_S * self.call.rate) :] / 32768

    async def hears(self, *tones: float, of: Sequence[float], level_db: float = LEVEL_DB) -> None:
        """Wait until just these of all tones are heard, for a while."""
        expected, found = [hertz in tones for hertz in of], [False]

        def agrees() -> bool:
            stretch = self.hearing()
            if len(stretch) < LISTEN_S * self.call.rate:
                return False
            found[:] = [usual_level(stretch, self.call.rate, hertz) > level_db - 6 for hertz in of]
            return found == expected

        try:
            await asyncio.to_thread(until, agrees, f"{tones} of {of} to be heard in {self.saved.name}", every_s=0.1)
        except ChildFailed as late:
            raise AssertionError(f"{late}; at last it was {found}") from late


def room(server: Server, conference_id: str = ROOM) -> Any:
    return server.api.get(f"/v1.0/conferences/{conference_id}").ok().json()


def members(server: Server, conference_id: str) -> list[str]:
    found: list[str] = room(server, conference_id).get("conferencecall_ids", [])
    return found


def curl(server: Server, path: str, *more: str) -> None:
    subprocess.run(["curl", "-sf", "-X", "POST", f"{server.base_url}/v1.0/{path}?token={server.token}", *more], check=True, timeout=30)


def test_three_callers_are_recorded_into_one_file(server: Server, tmp_path: Path) -> None:
    plans = [Plan.of([tone(hertz, 9, level_db=LEVEL_DB)]) for hertz in TONES]
    callers = SippCallers(tmp_path / "sipp", server.sip, plans, number="room", seconds=6, ends="caller")
    with callers.child:
        until(lambda: len(members(server, ROOM)) == 3, "three members")
        time.sleep(0.5)
        curl(server, f"conferences/{ROOM}/recording_start", "--header", "Content-Type: application/json", "--data", '{ "format": "wav" }')
        time.sleep(2)
        conference = room(server)
        curl(server, f"conferences/{ROOM}/recording_stop")
        assert callers.finish().failed == 0
    assert members(server, ROOM) == [] and room(server)["status"] == "progressing"
    (recording,) = server.api.wait_for_recordings(1)
    assert conference["recording_id"] == recording["id"] != ZERO_ID
    assert (recording["reference_type"], recording["reference_id"]) == ("confbridge", ROOM)
    file = decode(server.api.file(recording["id"]))
    assert (file.rate, file.channels) == (8000, 1) and 1.8 < file.seconds < 4.0
    assert [level(file.samples[:, 0], file.rate, hertz) for hertz in TONES] == pytest.approx([LEVEL_DB] * 3, abs=0.5)
    assert level(file.samples[:, 0], file.rate, 1117.0) < -55
    timeline = server.api.get(f"/v1.0/recordings/{recording['id']}/timeline").ok().json()["result"]
    assert [event["event"] for event in timeline].count("joined") == 3


def test_a_channel_for_each_member_by_order_of_joining(server: Server, tmp_path: Path) -> None:
    tones = (*TONES, 1217.0)
    plans = [Plan.of([tone(hertz, 10, level_db=LEVEL_DB)]) for hertz in tones]
    callers = SippCallers(tmp_path / "sipp", server.sip, plans, number="room", rate=1.5, seconds=6, ends="caller")
    with callers.child:
        until(lambda: members(server, ROOM), "the first member")
        body = {"format": "wav", "split": True, "channels": 3}
        recording_id = server.api.post(f"/v1.0/conferences/{ROOM}/recording_start", body).ok().json()["recording_id"]
        until(lambda: len(members(server, ROOM)) == 4, "all members")
        time.sleep(1.5)
        server.api.post(f"/v1.0/conferences/{ROOM}/recording_stop").ok()
        callers.finish()
    until(lambda: server.api.recording(recording_id)["status"] == "available", "the recording", 60)
    file = decode(server.api.file(recording_id))
    assert file.channels == 3
    end = file.samples[-file.rate :]
    for channel, expected in enumerate(([True, False, False, False], [False, True, False, False], [False, False, True, True])):
        assert [level(end[:, channel], file.rate, hertz) > LEVEL_DB - 1 for hertz in tones] == expected
    assert level(file.samples[: file.rate // 4, 0], file.rate, tones[0]) == pytest.approx(LEVEL_DB, abs=0.5)
    assert abs(file.samples[: file.rate // 5, 2]).max() < 1e-3


@asynccontextmanager
async def phones(*codecs: str) -> AsyncIterator[list[Phone]]:
    made = [Phone(PhoneConfig(user=f"phone{number}", codecs=(codec,))) for number, codec in enumerate(codecs)]
    for phone in made:
        await phone.start()
    try:
        yield made
    finally:
        await asyncio.gather(*(phone.stop() for phone in made))


async def speak(server: Server, phone: Phone, number: str, hertz: float, saved: Path, level_db: float = LEVEL_DB) -> Speaker:
    """Call, say a steady tone, and keep what is heard."""
    call = phone.call(await resolve(server.uri(number)))
    await call.answered()
    call.save(saved)
    voice = Plan.of([tone(hertz, 10, level_db=level_db)]).voice(rate=call.rate)
    call.leg.play(voice, loop=True)
    return Speaker(call, saved)


async def in_it(server: Server, conference_id: str, count: int) -> list[str]:
    await asyncio.to_thread(until, lambda: len(members(server, conference_id)) == count, f"{count} members")
    return members(server, conference_id)


async def test_each_hears_the_others_and_rest_moderates(server: Server, tmp_path: Path) -> None:
    async with phones("PCMU", "PCMA", "L16") as three:
        speakers = []
        for number, (phone, hertz) in enumerate(zip(three, TONES, strict=True), 1):
            speakers.append(await speak(server, phone, "talk", hertz, tmp_path / f"{hertz:.0f}.wav"))
            stays = await in_it(server, TALK, number)
        first, second, third = speakers
        tones = (*TONES, AFTERWARDS_HZ)
        await first.hears(TONES[1], TONES[2], of=tones)
        await second.hears(TONES[0], TONES[2], of=tones)
        await third.hears(TONES[0], TONES[1], of=tones)
        stay = server.api.get(f"/v1.0/conferencecalls/{stays[0]}").ok().json()
        assert (stay["status"], stay["conference_id"]) == ("joined", TALK)
        for change in ("mute", "deaf"):
            assert server.api.post(f"/v1.0/conferencecalls/{stays[0]}/{change}").ok().json()["tapeline"][change] is True
        await first.hears(of=tones)  # deaf
        await third.hears(TONES[1], of=tones)  # and mute
        gone = server.api.request("DELETE", f"/v1.0/conferencecalls/{stays[1]}").ok().json()
        assert (gone["status"], gone["tapeline"]["reason"]) == ("leaved", "kicked")
        await second.hears(AFTERWARDS_HZ, of=tones)  # its flow goes on
        await third.hears(of=tones)
        third.call.hang_up()
        await in_it(server, TALK, 1)
        deleted = server.api.request("DELETE", f"/v1.0/conferences/{TALK}").ok().json()
        assert deleted["status"] == "terminated" and deleted["tm_delete"]
        await first.hears(AFTERWARDS_HZ, of=tones)
    assert server.api.get(f"/v1.0/conferences/{TALK}").status == 404
    past = [stay for stay in server.api.everything("conferencecalls") if stay["conference_id"] == TALK]
    assert sorted(stay["tapeline"]["reason"] for stay in past) == ["ended", "kicked", "left"]


async def test_eight_of_four_codecs_hear_the_seven_others_and_are_recorded_at_one_level(server: Server, tmp_path: Path) -> None:
    quiet_db, tones = -26.0, [417.0 + 200 * number for number in range(8)]
    async with phones("PCMU", "PCMA", "G722", "opus") as four:
        speakers = [
            await speak(server, four[number % 4], "crowd", hertz, tmp_path / f"{number}.wav", quiet_db)
            for number, hertz in enumerate(tones)
        ]
        assert sorted({speaker.call.rate for speaker in speakers}) == [8000, 16000, 48000]
        await in_it(server, CROWD, 8)
        for own, speaker in zip(tones, speakers, strict=True):
            await speaker.hears(*(hertz for hertz in tones if hertz != own), of=tones, level_db=quiet_db - 3)
        body = {"format": "wav", "rate": 16000}
        recording_id = server.api.post(f"/v1.0/conferences/{CROWD}/recording_start", body).ok().json()["recording_id"]
        await asyncio.sleep(1.5)
        stretches = [speaker.hearing() for speaker in speakers]
        server.api.post(f"/v1.0/conferences/{CROWD}/recording_stop").ok()
    for number, (own, speaker, stretch) in enumerate(zip(tones, speakers, stretches, strict=True)):
        for hertz in tones:
            found = usual_level(stretch, speaker.call.rate, hertz)
            # Opus codes a chord of seven steady tones less exactly than a voice.
            tolerance_db = 6.0 if speaker.call.rate == 48000 else 2.0
            assert (found < -45) if hertz == own else (found == pytest.approx(quiet_db, abs=tolerance_db)), (number, hertz)
    await asyncio.to_thread(until, lambda: server.api.recording(recording_id)["status"] == "available", "the recording", 60)
    file = decode(server.api.file(recording_id))
    assert file.rate == 16000
    assert [usual_level(file.samples[:, 0], file.rate, hertz) for hertz in tones] == pytest.approx([quiet_db] * 8, abs=2.0)


async def test_music_until_the_moderator_comes_and_the_end_with_it(server: Server, tmp_path: Path) -> None:
    async with phones("PCMU", "PCMA") as (one, other):
        attendee = await speak(server, one, "attendee", TONES[0], tmp_path / "attendee.wav")
        (stay,) = await in_it(server, MODERATED, 1)
        tones = (TONES[1], MUSIC_HZ, AFTERWARDS_HZ)
        assert server.api.get(f"/v1.0/conferencecalls/{stay}").ok().json()["status"] == "joining"
        refused = server.api.post(f"/v1.0/conferences/{MODERATED}/recording_start", {"format": "wav"})
        assert (refused.status, refused.json()["error"]["reason"]) == (409, "STATE_INVALID")
        await attendee.hears(MUSIC_HZ, of=tones)
        moderator = await speak(server, other, "moderator", TONES[1], tmp_path / "moderator.wav")
        await in_it(server, MODERATED, 2)
        await attendee.hears(TONES[1], of=tones)
        moderator.call.hang_up()
        await asyncio.to_thread(until, lambda: server.api.get(f"/v1.0/conferences/{MODERATED}").status == 404, "the end")
        await attendee.hears(AFTERWARDS_HZ, of=tones)


def holds(server: Server, recording_id: str) -> list[Any]:
    timeline = server.api.get(f"/v1.0/recordings/{recording_id}/timeline").ok().json()["result"]
    return [event for event in timeline if event["event"] in ("held", "unheld")]


@pytest.mark.skipif(bool(baresip_missing()), reason=baresip_missing())
async def test_who_holds_is_not_heard_whatever_it_plays(server: Server, tmp_path: Path) -> None:
    with Baresip(tmp_path / "baresip", Plan.of([tone(TONES[0], 60, level_db=LEVEL_DB)])) as holder:
        async with phones("PCMA") as (phone,):
            await asyncio.to_thread(holder.dial, server.uri("held"))
            listener = await speak(server, phone, "held", TONES[1], tmp_path / "heard.wav")
            await in_it(server, HELD, 2)
            recording_id = server.api.post(f"/v1.0/conferences/{HELD}/recording_start", {"format": "wav"}).ok().json()["recording_id"]
            await listener.hears(TONES[0], of=TONES)
            holder.hold()
            await asyncio.to_thread(until, lambda: len(holds(server, recording_id)) == 1, "the hold")
            await listener.hears(of=TONES)
            holder.resume()
            await asyncio.to_thread(until, lambda: len(holds(server, recording_id)) == 2, "its end")
            await listener.hears(TONES[0], of=TONES)
    first, second = holds(server, recording_id)
    assert (first["event"], second["event"]) == ("held", "unheld")
    server.api.post(f"/v1.0/conferences/{HELD}/recording_stop").ok()
    await asyncio.to_thread(until, lambda: server.api.recording(recording_id)["status"] == "available", "the recording", 60)
    file = decode(server.api.file(recording_id))
    stretch = file.samples[round((first["at"] + 0.15) * 8000) : round((second["at"] - 0.15) * 8000), 0]
    assert level(stretch, 8000, TONES[0]) < -45 < LEVEL_DB - 2 < level(stretch, 8000, TONES[1])


async def test_a_conference_that_is_not_there_keeps_no_flow(server: Server, tmp_path: Path) -> None:
    async with phones("PCMU") as (phone,):
        speaker = await speak(server, phone, "nowhere", TONES[0], tmp_path / "heard.wav")
        await speaker.hears(AFTERWARDS_HZ, of=(AFTERWARDS_HZ,))


def test_calls_to_a_conference_hear_each_other(server: Server) -> None:
    """Two calls that nobody makes by telephone: one plays a tone in the conference, one records what is heard there."""

    def call(*actions: tuple[str, dict[str, Any]]) -> Any:
        flow = [{"type": name, "option": option} for name, option in actions]
        body = {"destinations": [{"type": "conference", "target": CALLED}], "source": {"type": "tel", "target": "+4930"}, "actions": flow}
        (made,) = server.api.post("/v1.0/calls", body).ok().json()["calls"]
        return made

    call(("play", {"stream_urls": [f"tone:{TONES[0]:.0f}/60000"]}))
    listening = call(("recording_start", {"format": "wav", "duration": 2}), ("sleep", {"duration": 60000}))
    (recording,) = until(lambda: server.api.get(f"/v1.0/calls/{listening['id']}").ok().json()["recording_ids"], "its recording")
    until(lambda: server.api.recording(recording)["status"] == "available", "its file", timeout_s=20)
    assert len(members(server, CALLED)) == 2
    refused = server.api.post("/v1.0/calls", {"destinations": [{"type": "conference", "target": NOWHERE}], "actions": []})
    assert (refused.status, refused.json()["error"]["reason"]) == (409, "DESTINATION_UNREACHABLE")
    server.api.request("DELETE", f"/v1.0/conferences/{CALLED}").ok()
    until(lambda: server.api.get(f"/v1.0/calls/{listening['id']}").ok().json()["status"] == "hangup", "its end")
    file = decode(server.api.file(recording))
    assert usual_level(file.samples[:, 0], file.rate, TONES[0]) > -24


def test_a_crash_ends_no_conference_and_loses_no_recording(server: Server, tmp_path: Path) -> None:
    before = room(server).get("recording_ids", [])
    server.api.request("PUT", f"/v1.0/conferences/{ROOM}", {"detail": "after lunch", "timeout": 30}).ok()
    callers = SippCallers(tmp_path / "sipp", server.sip, [Plan.of([tone(TONES[0], 9)])], number="room", seconds=9, ends="callee")
    with callers.child:
        (stay,) = until(lambda: members(server, ROOM), "a member")
        recording_id = server.api.post(f"/v1.0/conferences/{ROOM}/recording_start", {"format": "wav"}).ok().json()["recording_id"]
        time.sleep(2.5)
        server.kill()
        server.start()
    after = room(server)
    assert (after["name"], after["detail"], after["timeout"]) == ("daily", "after lunch", 86400)
    assert after["status"] == "progressing" and "conferencecall_ids" not in after
    assert (after["recording_id"], after["recording_ids"]) == (ZERO_ID, [*before, recording_id])
    gone = until(lambda: (found := server.api.get(f"/v1.0/conferencecalls/{stay}").json())["status"] == "leaved" and found, "the stay")
    assert gone["tapeline"]["reason"] == "restart"
    recording = until(lambda: (found := server.api.recording(recording_id))["status"] == "available" and found, "the recording", 60)
    assert recording["tapeline"]["recovered"] and (recording["reference_type"], recording["reference_id"]) == ("confbridge", ROOM)
    assert level(decode(server.api.file(recording_id)).samples[:4000, 0], 8000, TONES[0]) > -13
