"""Calls that are recorded because the settings say so, and keys that act on it, with a real telephone and real events in its media."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tapeline.testing import Plan, decode, tone
from tapeline.testing.baresip import Account, Baresip, baresip_missing
from tapeline.testing.presence import sounding, stretches
from tapeline.testing.process import until
from tapeline.testing.server import Server

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(baresip_missing()), reason=baresip_missing())]

ALICE_HZ = 617.0
FLOW = {"module": "answer", "data": {}, "children": {"_": {"module": "sleep", "data": {"duration": 60}}}}
SETTINGS = """
[[accounts]]
name = "default"
[accounts.call_recording.account.inbound.onnet]
enabled = true
format = "wav"

[[users]]
name = "alice"
id = "alice-id"
password = "wonderland"
[users.call_recording.any.any]
enabled = true
format = "mp3"
[users.metaflows]
digit_timeout = 1200
[users.metaflows.numbers]
4 = { module = "record_call", data = { action = "mask" } }
5 = { module = "record_call", data = { action = "unmask" } }
6 = { module = "record_call", data = { action = "start", format = "wav" } }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("settings")
    made = Server(folder, {"2000": FLOW})
    with (folder / "tapeline.toml").open("a") as config:
        config.write(SETTINGS)
    with made:
        yield made


def timeline(server: Server, recording: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.api.get(f"/v1.0/recordings/{recording['id']}/timeline").ok().json()["result"]
    return found


def test_calls_are_recorded_by_themselves_and_masked_and_more_is_recorded_by_keys(server: Server, tmp_path: Path) -> None:
    def noted(event: str, count: int) -> bool:
        return sum(entry["event"] == event for one in server.api.recordings() for entry in timeline(server, one)) >= count

    plan = Plan.of([tone(ALICE_HZ, 60.0)])
    with Baresip(tmp_path / "alice", plan, account=Account(server.sip, "alice", "wonderland")) as alice:
        alice.dial("2000")
        until(lambda: len(server.api.recordings()) == 2, "both recordings to run", 40.0)
        alice.listen_for(1.5)
        alice.press("*4")
        until(lambda: noted("masked", 2), "both to be masked", 40.0)
        alice.listen_for(1.5)
        alice.press("*5")
        until(lambda: noted("unmasked", 2), "both to go on", 40.0)
        alice.press("*6")
        until(lambda: len(server.api.recordings()) == 3, "one more recording", 40.0)
        alice.listen_for(1.0)
        alice.hang_up()
    recordings = server.api.wait_for_recordings(3)
    account = server.api.request("PUT", "/v2/api_auth", {"data": {"api_key": server.token}}).ok().json()["data"]["account_id"]
    listed: list[dict[str, Any]] = server.api.get(f"/v2/accounts/{account}/recordings").ok().json()["data"]
    by_origin = {one["origin"]: one for one in listed}
    assert set(by_origin) == {"inbound from onnet to account", "outbound to onnet from endpoint", "untracked : 2000"}
    assert by_origin["outbound to onnet from endpoint"]["owner_id"] == "alice-id"
    of_alice = server.api.get(f"/v2/accounts/{account}/users/alice-id/recordings").ok().json()["data"]
    assert by_origin["outbound to onnet from endpoint"]["id"] in {one["id"] for one in of_alice}
    masked = [one for one in recordings if any(entry["event"] == "masked" for entry in timeline(server, one))]
    assert len(masked) == 2
    for one in masked:
        heard = decode(server.api.file(one["id"]))
        hidden = {entry["event"]: entry["at"] for entry in timeline(server, one)}
        silence = hidden["unmasked"] - hidden["masked"]
        assert heard.channels == 2 and heard.seconds == pytest.approx(one["tapeline"]["duration"], abs=0.2)
        assert len(stretches(heard, ALICE_HZ)) >= 2, "heard before the mask, and after it"
        assert sounding(heard, ALICE_HZ) < heard.seconds - silence + 0.3
