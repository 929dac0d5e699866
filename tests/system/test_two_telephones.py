"""Two telephones, registered with digest, talk: each hears the other, and the recording holds each second where it was said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tapeline.testing import LIVE, Heard, Plan, Tolerance, anything, assert_heard, decode, quiet, tone
from tapeline.testing.baresip import Account, Baresip, baresip_missing
from tapeline.testing.server import Server

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(baresip_missing()), reason=baresip_missing())]

USERS = [{"name": "alice", "password": "wonderland", "extension": "1001"}, {"name": "bob", "password": "builder", "extension": "1002"}]
FLOW = {
    "actions": [
        {"type": "answer"},
        {"type": "recording_start", "option": {"split": True}},
        {"type": "connect", "option": {"destinations": [{"type": "extension", "target": "1002"}]}},
        {"type": "recording_stop"},
        {"type": "hangup"},
    ]
}
TALK_S = 6
# One speaks in the even seconds, the other in the odd ones, each second with another tone.
ALICE = Plan.of([tone(417.0 + 200 * second, 1.0) if second % 2 == 0 else quiet(1.0) for second in range(TALK_S)])
BOB = Plan.of([tone(417.0 + 200 * second, 1.0) if second % 2 else quiet(1.0) for second in range(TALK_S)])
# Bob begins to send before tapeline has his answer and ends the ringing, so his first half second is not judged.
BOB_JUDGED = Plan.of([anything(0.5), quiet(0.5), *BOB.between(1.0, TALK_S).channels[0]])
# baresip writes what it hears frame by frame, not by timestamp: a frame that it drops on a busy machine shortens its file.
BY_EAR = Tolerance(start_s=0.9, duration_s=60, edge_s=0.045, holes_s=0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), {"2000": FLOW}, tables={"users": USERS}) as running:
        yield running


def test_each_hears_the_other_and_is_recorded_on_its_channel(server: Server, tmp_path: Path) -> None:
    with (
        Baresip(tmp_path / "bob", BOB, account=Account(server.sip, "bob", "builder"), answer="auto") as bob,
        Baresip(tmp_path / "alice", ALICE, account=Account(server.sip, "alice", "wonderland")) as alice,
    ):
        alice.dial("2000")
        bob.wait_for("CALL_ESTABLISHED")
        alice.listen_for(TALK_S)
        alice.hang_up()
        bob.wait_for("CALL_CLOSED")
        heard_by_alice, heard_by_bob = alice.heard(), bob.heard()
    assert_heard(heard_by_alice, BOB_JUDGED, BY_EAR, name="what Alice heard")
    assert_heard(heard_by_bob, ALICE, BY_EAR, name="what Bob heard")
    (recording,) = server.api.wait_for_recordings(1)
    file = decode(server.api.file(recording["id"]))
    assert file.channels == 2
    said, heard = (Heard(file.samples[:, [number]], file.rate) for number in (0, 1))
    live = replace(LIVE, start_s=0.9, duration_s=60)
    left = assert_heard(said, ALICE, live, name="the left channel")
    right = assert_heard(heard, BOB_JUDGED, live, name="the right channel")
    # Bob began when he was rung, after Alice had been answered, so at most a packet before her.
    assert -0.1 < left.offset < right.offset + 0.02 < left.offset + 0.9
    assert file.seconds > TALK_S - 0.5
