"""KAZOO's API on a real server: a callflow that is posted answers its number, also after a kill; metaflows reach a call that is up."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tapeline.testing import Plan, spoken
from tapeline.testing.process import until
from tapeline.testing.receiver import Receiver
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())]

SAID = Plan.of(spoken(7, 6))


def action(module: str, data: dict[str, Any] | None = None, child: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"module": module, "data": data or {}, "children": {"_": child} if child else {}}


class Crossbar:
    """The account's paths under /v2, as the holder of an api_key."""

    def __init__(self, server: Server) -> None:
        self._server = server
        answer = server.api.request("PUT", "/v2/api_auth", {"data": {"api_key": server.token}}).ok().json()
        self._account, self._token = answer["data"]["account_id"], answer["auth_token"]

    def ask(self, method: str, path: str, data: Any = None) -> Any:
        headers = {"X-Auth-Token": self._token, "Authorization": ""}
        body = None if data is None else {"data": data}
        return self._server.api.request(method, f"/v2/accounts/{self._account}{path}", body, headers).ok().json()["data"]

    def channels(self) -> list[Any]:
        found: list[Any] = self.ask("GET", "/channels")
        return found

    def tell(self, channel: str, module: str, **data: Any) -> None:
        self.ask("PUT", f"/channels/{channel}", {"action": "metaflow", "data": {"module": module, "data": data}})


def call(folder: Path, server: Server, number: str, ends: Any = "callee") -> SippCallers:
    return SippCallers(folder, server.sip, [SAID], seconds=15, ends=ends, number=number)


def test_a_posted_callflow_answers_its_number_also_after_a_kill_until_it_is_deleted(tmp_path: Path) -> None:
    stop = action("record_call", {"action": "stop"}, action("hangup"))
    with Receiver() as receiver, Server(tmp_path / "server", {"1": action("hangup")}) as server:
        crossbar = Crossbar(server)
        start = {"action": "start", "time_limit": 1200, "format": "mp3", "url": receiver.url + "/kzr"}
        flow = action("answer", {}, action("record_call", start, action("sleep", {"duration": 1}, stop)))
        made = crossbar.ask("PUT", "/callflows", {"name": "sales", "numbers": ["3001"], "flow": flow})
        through = {"name": "through", "patterns": ["^32([0-9]+)$"], "flow": action("callflow", {"id": made["id"]})}
        crossbar.ask("PUT", "/callflows", through)
        assert call(tmp_path / "first", server, "3001").run().successful == 1
        server.kill()
        server.start()
        crossbar = Crossbar(server)
        assert call(tmp_path / "second", server, "3299").run().successful == 1
        server.api.wait_for_recordings(2)
        until(lambda: len(receiver.requests) >= 2, "two files", 40.0)
        told = crossbar.ask("GET", "/recordings")
        assert [one["origin"] for one in told] == ["callflow : sales"] * 2
        names = {f"call_recording_{quote(one['call_id'])}.mp3" for one in told}
        assert {request.path.rpartition("/")[2] for request in receiver.requests} == names
        crossbar.ask("DELETE", f"/callflows/{made['id']}")
        assert call(tmp_path / "third", server, "3001").run().successful == 0
        assert server.stop() == 0


def test_metaflows_sent_to_a_channel_start_mask_unmask_and_stop(tmp_path: Path) -> None:
    with Server(tmp_path / "server", {"3001": action("answer", {}, action("sleep", {"duration": 60}))}) as server:
        crossbar = Crossbar(server)
        callers = call(tmp_path / "caller", server, "3001")
        callers.start()
        until(lambda: bool(crossbar.channels()) and crossbar.channels()[0]["answered"], "a channel", 40.0)
        (channel,) = crossbar.channels()
        for wanted, status in (("start", "recording"), ("mask", ""), ("unmask", ""), ("toggle", "available")):
            crossbar.tell(channel["uuid"], "record_call", action=wanted, format="wav")
            until(lambda wanted=wanted, status=status: happened(server, wanted, status), wanted, 40.0)
        crossbar.tell(channel["uuid"], "hangup")
        assert callers.finish().successful == 1
        assert crossbar.channels() == []
        (told,) = crossbar.ask("GET", "/recordings")
        assert told["call_id"] == channel["uuid"]


def happened(server: Server, action: str, status: str) -> bool:
    recordings = server.api.recordings()
    if not recordings or (status and recordings[0]["status"] != status):
        return False
    timeline = server.api.get(f"/v1.0/recordings/{recordings[0]['id']}/timeline").ok().json()
    return bool(status) or any(event["event"] == f"{action}ed" for event in timeline["result"])
