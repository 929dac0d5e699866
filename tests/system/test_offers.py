"""Offers and answers on a live call, seen from the wire and heard in the file: hold, resume elsewhere, delayed offer, INFO, CANCEL.

The caller is tapeline's own endpoint over real sockets, with audio sent by hand, so that every step happens when it is planned.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import sip
from tapeline.core.clock import SystemClock
from tapeline.sip.offer_answer import Agreed, LocalMedia, answer_offer, make_offer, read_answer
from tapeline.sip.transports.shell import Shell
from tapeline.testing import decode
from tapeline.testing.server import Server
from tapeline.testing.waveforms import sine, ulaw_encode

FIRST_HZ, SECOND_HZ = 440.0, 1000.0


class Ear:
    """A UDP socket that sends a tone as PCMU in real time and counts what comes back."""

    def __init__(self, ssrc: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self._ssrc = ssrc

    async def speak(self, hertz: float, seconds: float, to: tuple[str, int]) -> None:
        audio = ulaw_encode(sine(hertz, seconds))
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(len(audio) // 160):
            header = bytes([0x80, 0]) + number.to_bytes(2, "big") + (number * 160).to_bytes(4, "big") + self._ssrc.to_bytes(4, "big")
            self.socket.sendto(header + audio[number * 160 : number * 160 + 160], to)
            await asyncio.sleep(max(0.0, began + (number + 1) * 0.02 - loop.time()))

    def heard(self) -> int:
        """How many packets came since this was last asked."""
        count = 0
        while True:
            try:
                self.socket.recv(2048)
            except BlockingIOError:
                return count
            count += 1


class Caller:
    def __init__(self) -> None:
        self.clock = SystemClock()
        self.endpoint = sip.Endpoint(sip.EndpointConfig(), os.urandom)
        self.shell = Shell(self.endpoint, self.clock, lambda event: self.events.put_nowait(event))
        self.events: asyncio.Queue[sip.Event] = asyncio.Queue()
        self.ears = [Ear(0x1111), Ear(0x2222)]

    def media(self, ear: Ear, **options: Any) -> LocalMedia:
        return LocalMedia("127.0.0.1", ear.port, **options)

    def invite(self, uri: str, port: int, body: bytes | None) -> sip.Session:
        flow = self.shell.flow_to("udp", ("127.0.0.1", port))
        session = self.endpoint.invite(uri, local=flow, from_uri="sip:caller@127.0.0.1", body=body, now=self.clock.now())
        self.shell.pump()
        return session

    async def until(self, kind: type[Any]) -> Any:
        async with asyncio.timeout(10):
            while True:
                event = await self.events.get()
                if isinstance(event, kind):
                    return event
                assert not isinstance(event, sip.Ended), event

    async def reoffer(self, session: sip.Session, media: LocalMedia) -> Agreed:
        offer = make_offer(media)
        session.reoffer(offer, self.clock.now())
        self.shell.pump()
        accepted = await self.until(sip.ReofferAccepted)
        return read_answer(offer, accepted.body, media)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    made = Caller()
    await made.shell.listen("udp:127.0.0.1:0")
    yield made
    await made.shell.close()
    for ear in made.ears:
        ear.socket.close()


def loudest(samples: Any, rate: int, begin: float, end: float) -> tuple[float, float]:
    """(frequency, level 0..1) of a stretch of the recording."""
    part = samples[round(begin * rate) : round(end * rate)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(np.argmax(spectrum) * rate / len(part)), float(np.sqrt(np.mean(np.square(part))))


FLOW = {"actions": [{"type": "answer"}, {"type": "recording_start"}, {"type": "sleep", "option": {"duration": 20_000}}]}


async def test_held_and_resumed_from_another_address_the_recording_keeps_its_time(tmp_path: Path, caller: Caller) -> None:
    with Server(tmp_path / "server", {"1000": FLOW}) as server:
        first, second = caller.ears
        offer = make_offer(caller.media(first))
        session = caller.invite(server.uri(), server.sip[1], offer)
        accepted = await caller.until(sip.Accepted)
        agreed = read_answer(offer, accepted.body, caller.media(first))
        target = (str(agreed.remote_address), agreed.remote_port)
        await first.speak(FIRST_HZ, 2.0, target)
        assert first.heard() > 80
        held = await caller.reoffer(session, caller.media(first, version=2, direction="sendonly"))
        assert held.direction == "sendonly"  # ours: we send (music), they only listen
        await asyncio.sleep(1.5)
        first.heard()
        resumed = await caller.reoffer(session, caller.media(second, version=3))
        assert (resumed.direction, resumed.remote_port) == ("sendrecv", agreed.remote_port)
        await second.speak(SECOND_HZ, 2.0, target)
        assert second.heard() > 80, "media must go to the new address"
        assert first.heard() < 10, "and no longer to the old one"
        session.hangup(caller.clock.now())
        caller.shell.pump()
        (recording,) = await asyncio.to_thread(server.api.wait_for_recordings, 1)
        heard = decode(await asyncio.to_thread(server.api.file, recording["id"]))
    samples = heard.samples[:, 0]
    assert heard.seconds == pytest.approx(5.5, abs=0.25)
    hertz, level = loudest(samples, heard.rate, 0.4, 1.6)
    assert hertz == pytest.approx(FIRST_HZ, abs=3) and level > 0.05
    assert loudest(samples, heard.rate, 2.3, 3.3)[1] < 0.001
    hertz, level = loudest(samples, heard.rate, 3.9, 5.1)
    assert hertz == pytest.approx(SECOND_HZ, abs=3) and level > 0.05


async def test_an_invite_without_an_offer_gets_ours(tmp_path: Path, caller: Caller) -> None:
    with Server(tmp_path / "server", {"1000": FLOW}) as server:
        ear = caller.ears[0]
        session = caller.invite(server.uri(), server.sip[1], None)
        accepted = await caller.until(sip.Accepted)
        agreed = answer_offer(accepted.body, caller.media(ear))
        session.ack(agreed.sdp, caller.clock.now())
        caller.shell.pump()
        await ear.speak(FIRST_HZ, 1.5, (str(agreed.remote_address), agreed.remote_port))
        assert ear.heard() > 50
        session.hangup(caller.clock.now())
        caller.shell.pump()
        (recording,) = await asyncio.to_thread(server.api.wait_for_recordings, 1)
        heard = decode(await asyncio.to_thread(server.api.file, recording["id"]))
    hertz, level = loudest(heard.samples[:, 0], heard.rate, 0.3, 1.1)
    assert hertz == pytest.approx(FIRST_HZ, abs=3) and level > 0.05


async def test_a_key_in_an_info_ends_what_waits_for_it(tmp_path: Path, caller: Caller) -> None:
    document = {
        "actions": [
            {"type": "answer"},
            {"type": "recording_start", "option": {"end_of_key": "#", "wait": True}},
            {"type": "hangup"},
        ]
    }
    with Server(tmp_path / "server", {"1000": document}) as server:
        ear = caller.ears[0]
        offer = make_offer(caller.media(ear, dtmf=False))
        session = caller.invite(server.uri(), server.sip[1], offer)
        accepted = await caller.until(sip.Accepted)
        agreed = read_answer(offer, accepted.body, caller.media(ear, dtmf=False))
        await ear.speak(FIRST_HZ, 1.0, (str(agreed.remote_address), agreed.remote_port))
        session.info("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", caller.clock.now())
        session.info("application/dtmf-relay", b"Signal=#\r\nDuration=160\r\n", caller.clock.now())
        caller.shell.pump()
        async with asyncio.timeout(10):
            while not isinstance(event := await caller.events.get(), sip.Ended):
                pass
        assert (event.by, event.cause) == ("remote", "normal")
        (recording,) = await asyncio.to_thread(server.api.wait_for_recordings, 1)
    assert recording["tapeline"]["reason"] == "key"


async def test_a_caller_who_gives_up_leaves_nothing(tmp_path: Path, caller: Caller) -> None:
    with Server(tmp_path / "server", {"1000": {"actions": [{"type": "sleep", "option": {"duration": 20_000}}]}}) as server:
        session = caller.invite(server.uri(), server.sip[1], make_offer(caller.media(caller.ears[0])))
        await caller.until(sip.Progress)
        session.hangup(caller.clock.now())
        caller.shell.pump()

        def ended() -> list[Any]:
            return [call for call in server.api.calls() if call["status"] == "hangup"]

        async with asyncio.timeout(10):
            while not (found := await asyncio.to_thread(ended)):
                await asyncio.sleep(0.05)
        assert (found[0]["hangup_by"], found[0]["hangup_reason"]) == ("remote", "cancel")
        assert "recording_ids" not in found[0]


async def test_media_that_cannot_be_agreed_on_are_refused(tmp_path: Path, caller: Caller) -> None:
    with Server(tmp_path / "server", {"1000": FLOW}) as server:
        offer = make_offer(caller.media(caller.ears[0]))
        for known, unknown in ((b"RTP/AVP 0 8", b"RTP/AVP 96 97"), (b":0 PCMU", b":96 GSMX"), (b":8 PCMA", b":97 GSMY")):
            assert known in offer
            offer = offer.replace(known, unknown)
        session = caller.invite(server.uri(), server.sip[1], offer)
        async with asyncio.timeout(10):
            while not isinstance(event := await caller.events.get(), sip.Ended):
                pass
    assert event.session is session and event.status == 488
