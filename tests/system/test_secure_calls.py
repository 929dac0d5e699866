"""Telephones over TLS, with SRTP: registered, connected, recorded; and refused where they do not trust the server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tapeline.testing import LIVE, Heard, Plan, Tolerance, anything, assert_heard, decode, spoken
from tapeline.testing.authority import Authority, authority_missing
from tapeline.testing.baresip import Account, Baresip, baresip_missing
from tapeline.testing.server import Server

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(baresip_missing() or authority_missing()), reason=baresip_missing() or authority_missing()),
]

USERS = [
    {"name": "alice", "password": "wonderland", "extension": "1001"},
    {"name": "bob", "password": "builder", "extension": "1002"},
    {"name": "carol", "password": "singer", "extension": "1003", "srtp": "required"},
]


def to(extension: str) -> dict[str, object]:
    return {
        "actions": [
            {"type": "answer"},
            {"type": "recording_start", "option": {"split": True}},
            {"type": "connect", "option": {"destinations": [{"type": "extension", "target": extension}]}},
            {"type": "hangup"},
        ]
    }


TALK_S = 3
# Two telephones of which each drops a frame on a busy machine.
BY_EAR = Tolerance(start_s=0.9, duration_s=60, edge_s=0.045, holes_s=0.1)


@dataclass(frozen=True)
class House:
    server: Server
    authority: Authority

    def account(self, name: str, password: str) -> Account:
        return Account(self.server.sips, name, password, "tls", authority=self.authority.certificate)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    authority = Authority(folder / "authority")
    certificate = authority.issue("127.0.0.1")
    with Server(folder / "server", {"2000": to("1002"), "2001": to("1003")}, tables={"users": USERS}, certificate=certificate) as server:
        yield House(server, authority)


@pytest.mark.parametrize(("of_alice", "of_bob"), [("off", "off"), ("required", "required"), ("off", "required")])
def test_two_telephones_talk_over_tls_and_srtp(house: House, tmp_path: Path, of_alice: str, of_bob: str) -> None:
    # Bob begins to send before tapeline has his answer and ends the ringing: his first half second is not judged.
    here, there = Plan.of(spoken(41, TALK_S)), Plan.of((anything(0.5), *spoken(42, TALK_S)))
    before = {recording["id"] for recording in house.server.api.recordings()}
    callee = house.account("carol", "singer") if of_bob == "required" else house.account("bob", "builder")
    with (
        Baresip(tmp_path / "bob", there, account=callee, answer="auto", srtp=of_bob) as bob,  # type: ignore[arg-type]
        Baresip(tmp_path / "alice", here, account=house.account("alice", "wonderland"), srtp=of_alice) as alice,  # type: ignore[arg-type]
    ):
        alice.dial("2001" if of_bob == "required" else "2000")
        bob.wait_for("CALL_ESTABLISHED")
        alice.listen_for(TALK_S)
        alice.hang_up()
        bob.wait_for("CALL_CLOSED")
        heard_by_alice, heard_by_bob = alice.heard(), bob.heard()
        assert ("RTP/SAVP" in alice.child.output()) == (of_alice == "required")
        assert "TLS 127.0.0.1" in alice.child.output()
        assert ("a=crypto" in bob.child.output()) == (of_bob == "required")
    assert_heard(heard_by_alice, there, BY_EAR, name="what Alice heard")
    assert_heard(heard_by_bob, here, BY_EAR, name="what Bob heard")
    recordings = house.server.api.wait_for_recordings(len(before) + 1)
    (recording,) = (each for each in recordings if each["id"] not in before)
    file = decode(house.server.api.file(recording["id"]))
    live = replace(LIVE, start_s=0.9, duration_s=60)
    for number, plan in enumerate((here, there)):
        assert_heard(Heard(file.samples[:, [number]], file.rate), plan, live, name=f"channel {number}")
