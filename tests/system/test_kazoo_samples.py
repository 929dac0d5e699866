"""KAZOO's sample flows, posted over its API and called: what reaches the web server is decoded and heard, and has its name and type.

The flows stand as in KAZOO's own page; only the host of a `url` is the web server's, and a sample that begins something goes on somewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from kazoo_samples import CALLER, PER_USER, START, STOP
from tapeline.testing import LIVE, Heard, Plan, assert_heard, decode, tone
from tapeline.testing.baresip import Account, Baresip, baresip_missing
from tapeline.testing.nginx import Nginx, nginx_missing
from tapeline.testing.presence import sounding
from tapeline.testing.process import until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

MISSING = sipp_missing() or baresip_missing() or nginx_missing()
pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

USERS = [{"name": "bob", "id": "f0e1d2c3b4a5968778695a4b3c2d1e0f", "password": "builder", "extension": "1002", "voicemail": True}]
CALLER_HZ, BOB_HZ = 617.0, 1017.0
SAYS = Plan.of([tone(CALLER_HZ, 60.0)])


def start(url: str, *after: dict[str, Any]) -> dict[str, Any]:
    """The sample that starts a recording, and what comes after it, one by one."""
    first: dict[str, Any] = json.loads(START.replace("http://your.server.com", url))
    last = first
    for action in after:
        last["children"] = {"_": action}
        last = action
    return first


@dataclass
class House:
    server: Server
    web: Nginx
    folder: Path
    account: str
    callers: dict[str, SippCallers] = field(default_factory=dict)  # who call nobody but the server, all at once

    def post(self, number: str, flow: Any) -> None:
        """Store a callflow for `number`, as its author would."""
        body = {"data": {"name": f"sample {number}", "numbers": [number], "flow": flow}}
        answer = self.server.api.request("PUT", f"/v2/accounts/{self.account}/callflows", body)
        assert answer.status == 201, answer.body

    def call(self, number: str, seconds: float, ends: Any = "caller") -> SippCallers:
        callers = SippCallers(self.folder / number, self.server.sip, [SAYS], seconds=seconds, ends=ends, number=number)
        callers.start()
        return callers

    def received(self, below: str) -> tuple[str, bytes]:
        """Name and content of the one file below that folder of the web server."""
        folder = self.web.files / below

        def found() -> Path | None:
            return next((path for path in sorted(folder.glob("*")) if path.is_file()), None)

        path = until(found, f"a file below {below}", 40.0)
        assert path is not None
        line = next(line for line in self.web.requests() if f"/{below}/" in unquote(line))
        assert line.startswith("PUT ") and line.endswith((" 201", " 204")), line
        return path.name, path.read_bytes()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("samples")
    with Nginx(folder / "web") as web, Server(folder / "server", tables={"users": USERS}) as server:
        answer = server.api.request("PUT", "/v2/api_auth", {"data": {"api_key": server.token}})
        account = answer.ok().json()["data"]["account_id"]
        made = House(server, web, folder, account)
        sleep, user = {"module": "sleep", "data": {"duration": 3}}, {"module": "user", "data": {"id": "{USER_ID}"}}
        made.post("2001", {"module": "answer", "data": {}, "children": {"_": start(web.url, sleep, json.loads(STOP), dict(sleep))}})
        for number in ("2002", "2005"):
            made.post(number, json.loads(PER_USER.replace("http://my.recording.server", web.url)))
        made.post("2003", json.loads(CALLER.replace("http://my.recording.server", web.url)))
        made.post("2004", start(f"{web.url}/both", user))
        made.callers = {"2001": made.call("2001", 15, "callee"), "2002": made.call("2002", 9), "2003": made.call("2003", 9)}
        yield made


def calling_id(name: str) -> str:
    """What stands for the call in a file's name."""
    assert name.startswith("call_recording_") and name.endswith(".mp3"), name
    return name.removeprefix("call_recording_").removesuffix(".mp3")


def assert_recorded_as(house: House, name: str, *, count: int = 1) -> dict[str, Any]:
    """The API lists it as what it is, by the call that stands in the file's name."""
    listed = house.server.api.get(f"/v2/accounts/{house.account}/recordings").ok().json()["data"]
    found = [one for one in listed if one["call_id"] == calling_id(name)]
    assert len(found) == count, listed
    assert (found[0]["content_type"], found[0]["media_type"]) == ("audio/mpeg", "mp3")
    return found[0]


def test_start_and_stop_puts_what_was_said_between_them(house: House) -> None:
    assert house.callers["2001"].finish().successful == 1
    name, body = house.received("recordings")
    heard = decode(body)
    assert heard.channels == 2 and heard.seconds == pytest.approx(3.0, abs=0.3)
    assert_heard(Heard(heard.samples[:, [0]], heard.rate), SAYS.between(0, heard.seconds), LIVE, seconds=heard.seconds)
    listed = assert_recorded_as(house, name)
    assert listed["origin"] == "callflow : sample 2001" and listed["duration"] in (2, 3)


def test_per_user_goes_to_voicemail_where_nobody_is_there_and_the_box_lists_it(house: House) -> None:
    assert house.callers["2002"].finish().successful == 1
    box = f"/v2/accounts/{house.account}/vmboxes/{USERS[0]['id']}/messages"
    until(lambda: house.server.api.get(box).ok().json()["data"], "a message in the box", 40.0)
    (message,) = house.server.api.get(box).ok().json()["data"]
    sound = house.server.api.get(f"{box}/{message['media_id']}/raw").ok().body
    heard = decode(sound)
    assert heard.channels == 1 and sounding(heard, CALLER_HZ) > 1.0, "what the caller said after the beep"
    assert message["length"] == pytest.approx(heard.seconds * 1000, abs=200) and message["folder"] == "new"
    assert not (house.web.files / house.account).exists(), "the recording was stopped before anything was there to record"


def test_record_caller_puts_the_caller_alone(house: House) -> None:
    assert house.callers["2003"].finish().successful == 1
    name, body = house.received(f"voicemail/{house.account}/{USERS[0]['id']}")
    heard = decode(body)
    assert heard.channels == 1 and heard.seconds > 1.0
    assert sounding(heard, CALLER_HZ) > heard.seconds - 0.5, "only the caller, all the time"
    assert_recorded_as(house, name)


def test_start_and_per_user_put_both_sides_of_a_conversation(house: House) -> None:
    bob = Baresip(house.folder / "bob", Plan.of([tone(BOB_HZ, 30.0)]), account=Account(house.server.sip, "bob", "builder"), answer="auto")
    with bob:
        for number in ("2004", "2005"):
            callers = house.call(number, 5)
            bob.wait_for("CALL_ESTABLISHED")
            assert callers.finish().successful == 1
            bob.wait_for("CALL_CLOSED")
    for below in ("both/recordings", f"{house.account}/{USERS[0]['id']}"):
        name, body = house.received(below)
        heard = decode(body)
        assert heard.channels == 2 and heard.seconds > 3.0
        for channel, hertz, other in ((0, CALLER_HZ, BOB_HZ), (1, BOB_HZ, CALLER_HZ)):
            assert sounding(heard, hertz, channel=channel) > heard.seconds - 2.0
            assert sounding(heard, other, channel=channel) < 0.3
        assert_recorded_as(house, name)
