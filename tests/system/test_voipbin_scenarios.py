"""The flows of VoIPBIN's recording guide, as they stand there, with a carrier behind a trunk: who is in each recording, and who is not.

Its Scenario 3, a conference of three recorded over REST, is in test_conferences.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tapeline.calls.phone import Phone, PhoneCall, PhoneConfig, resolve
from tapeline.testing import Heard, Plan, decode, tone
from tapeline.testing.presence import sounding, stretches
from tapeline.testing.process import free_port, until
from tapeline.testing.server import Server
from tapeline.testing.sippcarrier import Behaviour, SippCarrier, carrier_missing
from voipbin_samples import EXAMPLE

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(carrier_missing()), reason=carrier_missing())]

CARRIER = free_port(socket.SOCK_DGRAM)
NUMBER = "+15551234567"
CONNECT = {"type": "connect", "option": {"destinations": [{"type": "tel", "target": NUMBER}]}}

ENTIRE_CALL = {"actions": [{"type": "answer"}, {"type": "recording_start"}, CONNECT, {"type": "recording_stop"}]}
# The picture: press 1 to consent; then recorded, else not, and the call goes on either way.
CONSENT = {
    "actions": [
        {"type": "answer"},
        {"type": "talk", "option": {"text": "Press 1 to consent to recording"}},
        {"type": "digits_receive", "option": {"length": 1, "duration": 10000}},
        {
            "type": "branch",
            "option": {"variable": "voipbin.call.digits", "target_ids": {"1": "record"}, "default_target_id": "go on"},
        },
        {"id": "record", "type": "recording_start"},
        {"id": "go on", **CONNECT},
    ]
}
# The picture: recording active, the question, STOP, the card number, START (a new file), and on.
CARD = {
    "actions": [
        {"type": "answer"},
        {"type": "recording_start"},
        {"type": "talk", "option": {"text": "Please provide your credit card number"}},
        {"type": "recording_stop"},
        {"type": "sleep", "option": {"duration": 3000}},
        {"type": "recording_start"},
        CONNECT,
    ]
}
FLOWS = {"example": json.loads(EXAMPLE), "entire": ENTIRE_CALL, "consent": CONSENT, "card": CARD}
# What each says all the time, and the card's digits.
CALLER_HZ, CARRIER_HZ = 517.0, 917.0
CARD_HZ = (2017.0, 2217.0, 2417.0, 2617.0)
TALK_S = 3.0  # long enough for what the caller says meanwhile, however late that begins


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    trunks = [{"name": "carrier", "target": f"127.0.0.1:{CARRIER}"}]
    with Server(tmp_path_factory.mktemp("server"), FLOWS, tables={"trunks": trunks}) as running:
        yield running


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[SippCarrier]:
    voice = Plan.of([tone(CARRIER_HZ, 20.0)])
    with SippCarrier(tmp_path / "carrier", [voice], Behaviour(ring_s=0.3, hang_up_s=TALK_S), port=CARRIER) as running:
        yield running


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    made = Phone(PhoneConfig(user="caller"))
    await made.start()
    yield made
    await made.stop()


async def call(phone: Phone, server: Server, number: str) -> PhoneCall:
    placed = phone.call(await resolve(server.uri(number)))
    await placed.answered()
    return placed


async def row_of(server: Server, placed: PhoneCall, status: str) -> Any:
    """What the API says of the call, once it has that status."""

    def found() -> Any:
        rows = [row for row in server.api.calls() if row["tapeline"]["sip_call_id"] == placed.session.call_id]
        return rows[0] if rows and rows[0]["status"] == status else None

    return await asyncio.to_thread(until, found, f"the call to be {status}")


async def recordings(server: Server, placed: PhoneCall) -> list[Any]:
    """All recordings of a call that is over, in the order of their beginning, finished."""
    kept = (await row_of(server, placed, "hangup")).get("recording_ids", [])

    def finished() -> bool:
        return all(server.api.recording(each)["status"] == "available" for each in kept)

    await asyncio.to_thread(until, finished, "the recordings", 40)
    return [server.api.recording(each) for each in kept]


def file_of(server: Server, recording: Any) -> Heard:
    heard = decode(server.api.file(recording["id"]))
    assert (heard.channels, heard.rate) == (1, 8000), "a call is one channel, both directions mixed, at 8 kHz"
    return heard


def loudest(heard: Heard, begin: float, end: float) -> float:
    """The peak of what sounds there, 0 to 1."""
    return float(abs(heard.samples[round(begin * heard.rate) : round(end * heard.rate)]).max())


async def test_the_example_holds_the_greeting_and_both_parties(server: Server, carrier: SippCarrier, phone: Phone) -> None:
    placed = await call(phone, server, "example")
    await asyncio.to_thread(until, lambda: carrier.received("ACK"), "the carrier to be connected", 40)
    speaking = asyncio.create_task(placed.play(Plan.of([tone(CALLER_HZ, 1.5)]).voice()))
    await placed.over()
    await speaking
    assert f"INVITE sip:{NUMBER}@" in carrier.received("INVITE")[0]
    (recording,) = await recordings(server, placed)
    heard = file_of(server, recording)
    ((answered, parted),) = stretches(heard, CARRIER_HZ)
    assert parted - answered == pytest.approx(TALK_S, abs=0.3)
    assert parted == pytest.approx(heard.seconds, abs=0.15), "it ends with the bridge"
    assert answered > 2.0, "the greeting takes its time"
    assert loudest(heard, 0.0, 2.0) > 0.05, "the greeting is heard"
    assert sounding(heard, CALLER_HZ) == pytest.approx(1.5, abs=0.1)


async def test_the_entire_call_is_recorded(server: Server, carrier: SippCarrier, phone: Phone) -> None:
    placed = await call(phone, server, "entire")
    speaking = asyncio.create_task(placed.play(Plan.of([tone(CALLER_HZ, 1.5)]).voice()))
    await placed.over()
    await speaking
    (recording,) = await recordings(server, placed)
    heard = file_of(server, recording)
    assert sounding(heard, CARRIER_HZ) == pytest.approx(TALK_S, abs=0.3)
    assert sounding(heard, CALLER_HZ) == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(("key", "recorded"), [("1", True), ("2", False)])
async def test_recorded_only_after_consent(server: Server, carrier: SippCarrier, phone: Phone, key: str, recorded: bool) -> None:
    placed = await call(phone, server, "consent")
    await asyncio.sleep(0.5)  # it may be pressed while the question is still being asked
    await placed.press(key)
    await placed.over()
    assert carrier.received("ACK"), "connected either way"
    kept = await recordings(server, placed)
    assert len(kept) == int(recorded)
    if recorded:
        heard = file_of(server, kept[0])
        assert sounding(heard, CARRIER_HZ) == pytest.approx(TALK_S, abs=0.3)
        assert heard.seconds < TALK_S + 1.5, "nothing of what was before"


async def test_card_digits_are_in_neither_file(server: Server, carrier: SippCarrier, phone: Phone, tmp_path: Path) -> None:
    placed = await call(phone, server, "card")
    first = (await row_of(server, placed, "progressing"))["recording_id"]
    talking = asyncio.create_task(placed.play(Plan.of([tone(CALLER_HZ, 0.6)]).voice()))
    await asyncio.to_thread(until, lambda: server.api.recording(first)["status"] != "recording", "the recording to stop", 40)
    await talking
    placed.save(tmp_path / "both.wav", both=True)
    card = Plan.of([tone(hertz, 0.5) for hertz in CARD_HZ])
    await placed.play(card.voice())
    await asyncio.to_thread(until, lambda: carrier.received("ACK"), "the carrier to be connected", 40)
    await placed.play(Plan.of([tone(CALLER_HZ, 0.6)]).voice())
    await placed.over()
    before, after = await recordings(server, placed)
    assert before["id"] == first != after["id"]
    said = decode(tmp_path / "both.wav")
    for hertz in CARD_HZ:
        assert max(sounding(said, hertz, channel=number) for number in range(said.channels)) > 0.4, "the digits were said"
        for recording in (before, after):
            assert sounding(file_of(server, recording), hertz) == 0, f"{hertz} Hz of the card is in a recording"
    assert sounding(file_of(server, before), CALLER_HZ) == pytest.approx(0.6, abs=0.1)
    assert sounding(file_of(server, after), CALLER_HZ) == pytest.approx(0.6, abs=0.1)
    assert sounding(file_of(server, after), CARRIER_HZ) == pytest.approx(TALK_S, abs=0.3)
