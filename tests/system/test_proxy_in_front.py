"""Kamailio in front of tapeline, in the path of every call: requests within a call take the recorded route, and a number may be forked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tapeline.testing import LIVE, Heard, Plan, assert_heard, decode, spoken
from tapeline.testing.kamailio import Kamailio, kamailio_missing
from tapeline.testing.process import free_port, until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers
from tapeline.testing.sippcarrier import Behaviour, SippCarrier, carrier_missing

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(carrier_missing() or kamailio_missing()), reason=carrier_missing() or kamailio_missing()),
]

ONE, TWO, PROXY = (free_port(socket.SOCK_DGRAM) for _ in range(3))
TALK_S = 3.0


def connecting(user: str) -> dict[str, object]:
    """Answer, record, and connect with somebody whom the proxy knows where to find."""
    return {
        "actions": [
            {"type": "answer"},
            {"type": "recording_start", "option": {"split": True}},
            {"type": "connect", "option": {"destinations": [{"type": "tel", "target": user}]}},
            {"type": "hangup"},
        ]
    }


@dataclass(frozen=True)
class House:
    server: Server
    proxy: Kamailio


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    flows = {"one": connecting("+4911"), "both": connecting("+4912")}
    trunks = [{"name": "proxy", "target": f"127.0.0.1:{PROXY}"}]
    server = Server(folder / "server", flows, tables={"trunks": trunks})
    first, second = (f"sip:there@127.0.0.1:{port}" for port in (ONE, TWO))
    proxy = Kamailio(folder / "proxy", server.sip, {"+4911": [first], "+4912": [first, second]}, port=PROXY)
    with server, proxy:
        yield House(server, proxy)


def test_a_call_in_and_out_through_it(house: House, tmp_path: Path) -> None:
    here, there = Plan.of(spoken(31, 4)), Plan.of(spoken(32, 4))
    hold = Behaviour(hold_s=(1.0, 0.5))
    with SippCarrier(tmp_path / "1", [there], hold, port=ONE) as carrier:
        callers = SippCallers(tmp_path / "sipp", house.proxy.address, [here], number="one", seconds=TALK_S, ends="caller")
        result = callers.run()
        assert (result.successful, result.failed) == (1, 0), result.errors
        until(lambda: carrier.result().successful == 1, "the carrier's call to be over")
        route = f"<sip:127.0.0.1:{house.proxy.address[1]}"
        for method in ("INVITE", "ACK", "BYE"):
            assert carrier.received(method), method
        assert f"Record-Route: {route}" in carrier.received("INVITE")[0]
        assert carrier.received("BYE")[0].count("Via:") == 2, "the BYE came through the proxy"
    (recording,) = house.server.api.wait_for_recordings(1)
    file = decode(house.server.api.file(recording["id"]))
    assert_heard(Heard(file.samples[:, [0]], file.rate), here, replace(LIVE, start_s=0.5, duration_s=60), name="the caller's channel")
    assert file.seconds == pytest.approx(TALK_S, abs=0.2)


def test_of_a_forked_call_one_answer_counts_and_the_other_is_ended(house: House, tmp_path: Path) -> None:
    with (
        SippCarrier(tmp_path / "1", behaviour=Behaviour(ring_s=0.4), port=ONE) as slow,
        SippCarrier(tmp_path / "2", behaviour=Behaviour(ring_s=0.1), port=TWO) as quick,
    ):
        callers = SippCallers(tmp_path / "sipp", house.proxy.address, [Plan.of(spoken(33, 2))], number="both", seconds=1.5, ends="caller")
        result = callers.run()
        assert (result.successful, result.failed) == (1, 0), result.errors
        assert slow.received("INVITE") and quick.received("INVITE")
        until(lambda: quick.received("BYE"), "the one who answered to be hung up on")
        until(lambda: slow.received("CANCEL") or slow.received("BYE"), "the other not to be left")
    until(lambda: all(call["status"] == "hangup" for call in house.server.api.calls()), "every call to be over")
