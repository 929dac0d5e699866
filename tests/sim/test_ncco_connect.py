"""NCCOs that connect others, ask their application, and take its answers for the rest of the document. In virtual time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ncco_stage import SPOKEN_HZ, TUNE_HZ, Stage, level

from tapeline.calls.dialer import DialResult
from tapeline.calls.session import Call
from tapeline.flow import Party

HOOK = "https://example.org"


def to(number: str = "447700900000", **options: Any) -> dict[str, Any]:
    endpoint = {"type": "phone", "number": number, **options.pop("endpoint", {})}
    return {"action": "connect", "endpoint": [endpoint], **options}


SAY = {"action": "talk", "text": "x"}


async def test_connect_joins_the_conversation_and_the_document_goes_on(tmp_path: Path) -> None:
    """The next action runs once the leg has answered; what is spoken then, all hear; the call lasts until the parties hang up."""
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([to(), SAY])
        await stage.wait(2.0)
        assert call.status == "ringing", "it is answered when somebody answers"
        await stage.outcome(answered=True)
        began = stage.engine.now()
        await stage.wait(2.0)
        other = stage.calls[1]
        for each in (call, other):
            assert level(stage.heard(each, began, began + 0.9), 8000, SPOKEN_HZ) > 0.05
        await stage.wait(30.0)
        assert call.status == other.status == "progressing"
        stage.bye(call)
        await stage.wait(0.5)
        assert other.status == "hangup"


async def test_connects_in_a_row_hunt_through_endpoints(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([to("1"), to("2"), SAY])
        for expected in ("1", "2"):
            (wish, _) = stage.dialled[0]
            assert wish.parties == (Party("tel", expected),)
            await stage.outcome(answered=False)
        await stage.wait(0.5)
        assert call.status == "progressing", "the prompt answers it"
        await stage.wait(3.0)
        assert call.status == "hangup"


async def test_synchronous_fallback(tmp_path: Path) -> None:
    """`eventType: synchronous`: the address is told of the failure, and its NCCO takes the place of the rest."""
    async with Stage(tmp_path) as stage:
        stage.receiver.answers["/sync"] = [{"action": "wait", "timeout": 1}, SAY]
        document = [to(eventType="synchronous", eventUrl=[f"{HOOK}/sync"], **{"from": "447700900001"}), {"action": "wait", "timeout": 600}]
        call = await stage.dial_in(document)
        (wish, _) = stage.dialled[0]
        assert (wish.event_url, wish.event_asked, wish.timeout_s) == (f"{HOOK}/sync", True, 60.0)
        await stage.outcome(answered=False)
        await stage.wait(4.0)
        assert call.status == "hangup"
        ((method, path, event),) = stage.receiver.told
    assert (method, path) == ("POST", "/sync")
    assert {name: event[name] for name in ("status", "to", "from", "direction", "sip_code")} == {
        "status": "busy", "to": "447700900000", "from": "447700900001", "direction": "outbound", "sip_code": 486,
    }  # fmt: skip


def socket_to(url: str) -> dict[str, Any]:
    endpoint = {"type": "websocket", "uri": "wss://example.org/socket"}
    return {"action": "connect", "endpoint": [endpoint], "eventType": "synchronous", "eventUrl": [url]}


async def closes(stage: Stage, call: Call) -> None:
    """The only websocket of `call` closes; what is told of that goes the way that the connect has given."""
    other, asks = stage.sockets.pop()
    asks(other, {"status": "disconnected", "uuid": other.facts.id})
    stage.bye(other)
    await stage.settle()


class SocketStage(Stage):
    """Websockets are open at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sockets: list[tuple[Call, Any]] = []
        self.kit.sockets = SimpleNamespace(dial=self._open)  # type: ignore[assignment]

    async def _open(self, caller: Call, uri: str, options: Any, timeout_s: float, asks: Any) -> DialResult:
        other = self.callee(caller)
        other.facts = replace(other.facts, event_url=options["event_url"], event_method=options["event_method"])
        self.arrive(other)
        self.sockets.append((other, asks))
        return DialResult(other)


@pytest.mark.parametrize("rest", [[], [{**SAY, "loop": 0}], [{"action": "wait", "timeout": 600}], [{"action": "record", "endOnKey": "#"}]])
async def test_a_websocket_that_closes_may_be_answered_with_an_ncco(tmp_path: Path, rest: list[dict[str, Any]]) -> None:
    """With `eventType: synchronous`, whatever the document does meanwhile; its end waits for that."""
    async with SocketStage(tmp_path) as stage:
        stage.receiver.answers["/sync"] = [{"action": "stream", "streamUrl": [f"{HOOK}/next.mp3"]}]
        call = await stage.dial_in([socket_to(f"{HOOK}/sync"), *rest])
        await stage.wait(2.0)
        assert call.place is not None
        await closes(stage, call)
        began = stage.engine.now()
        await stage.wait(0.9)
        sound = stage.heard(call, began + 0.1, began + 0.8)
        assert level(sound, 8000, TUNE_HZ) > 0.05 and level(sound, 8000, SPOKEN_HZ) < 0.02
        await stage.wait(2.0)
        assert call.status == "hangup" and all(not recorder.active for recorder in stage.recordings(call))
        assert [(path, event["status"]) for _, path, event in stage.receiver.told] == [("/sync", "disconnected")]


@pytest.mark.parametrize(("answer", "complaints"), [(b"", 0), (b"[1", 1), ([{"action": "pay"}], 1)])
async def test_a_websocket_that_closes_and_no_ncco_that_can_run_changes_nothing(tmp_path: Path, answer: Any, complaints: int) -> None:
    async with SocketStage(tmp_path) as stage:
        happened: list[str] = []
        stage.kit.listeners.append(lambda happening: happened.append(happening.kind))
        stage.receiver.answers["/sync"] = answer
        call = await stage.dial_in([socket_to(f"{HOOK}/sync"), {"action": "wait", "timeout": 2}])
        await closes(stage, call)
        await stage.wait(1.5)
        assert call.status == "progressing" and happened.count("call_event") == complaints
        await stage.wait(1.0)
        assert call.status == "hangup"


async def test_an_answer_that_is_no_ncco_continues(tmp_path: Path) -> None:
    for number, answer in enumerate((b"", b"[]", b"ok", b'{"a": 1}', b"[1", [{"action": "pay"}])):
        async with Stage(tmp_path / str(number)) as stage:
            stage.receiver.answers["/n"] = answer
            call = await stage.dial_in([{"action": "notify", "payload": {"a": [1]}, "eventUrl": [f"{HOOK}/n"]}, SAY])
            await stage.wait(0.5)
            assert call.status == "progressing"
            assert stage.receiver.told[0][2]["payload"] == {"a": [1]}
            assert sorted(stage.receiver.told[0][2]) == ["conversation_uuid", "payload", "timestamp"]


async def test_input(tmp_path: Path) -> None:
    """The keys are told in the platform's fields; GET has them as query parameters; an NCCO in the answer takes the place of the rest."""
    async with Stage(tmp_path) as stage:
        stage.receiver.answers["/i"] = [SAY]
        ask = {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": "2"}, "eventUrl": [f"{HOOK}/i"], "eventMethod": "GET"}
        call = await stage.dial_in([{**SAY, "bargeIn": True, "loop": "0"}, ask, {"action": "wait", "timeout": 600}])
        await stage.wait(3.0)
        await stage.press(call, "42")
        await stage.wait(3.0)
        assert call.status == "hangup"
        ((method, _, event),) = stage.receiver.told
    assert method == "GET" and json.loads(event["dtmf"]) == {"digits": "42", "timed_out": False}
    assert json.loads(event["speech"]) == {"error": "Speech was not enabled"}
    assert sorted(event) == ["conversation_uuid", "dtmf", "from", "speech", "timestamp", "to", "uuid"]
    assert event["uuid"] == call.facts.id and event["conversation_uuid"] == f"CON-{call.facts.activeflow_id}"


async def test_on_answer(tmp_path: Path) -> None:
    """The NCCO of `onAnswer` is run on the callee before it joins; the caller hears the ringing tone of its own meanwhile."""
    async with Stage(tmp_path) as stage:
        stage.receiver.answers["/screen"] = [SAY]
        connect = to(endpoint={"onAnswer": {"url": f"{HOOK}/screen", "ringbackTone": f"{HOOK}/tone.mp3"}, "dtmfAnswer": "1p2"})
        call = await stage.dial_in([{"action": "wait", "timeout": 0.1}, {"action": "record"}, connect])
        await stage.wait(1.0)
        await stage.outcome(answered=True)
        began, other = stage.engine.now(), stage.calls[1]
        await stage.wait(0.8)
        assert level(stage.heard(other, began, began + 0.8), 8000, SPOKEN_HZ) > 0.05
        meanwhile = stage.heard(call, began, began + 0.8)
        assert level(meanwhile, 8000, SPOKEN_HZ) < 0.01 < level(meanwhile, 8000, TUNE_HZ)
        assert other.place is None
        await stage.wait(3.0)
        end = stage.engine.now()
        assert other.place is call.place is not None
        assert level(stage.heard(call, end - 0.8, end), 8000, stage.voice(other)) > 0.05
        assert level(stage.heard(call, end - 0.8, end), 8000, TUNE_HZ) < 0.01
        (method, path, asked) = stage.receiver.told[0]
        assert (method, path, sorted(asked)) == ("GET", "/screen", ["conversation_uuid", "from", "to", "uuid"])
        stage.bye(other)
        await stage.wait(1.0)
        assert call.status == "hangup"


async def test_who_hangs_up_during_on_answer_lets_the_document_go_on(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        stage.receiver.answers["/screen"] = [{"action": "wait", "timeout": 60}]
        call = await stage.dial_in([to(endpoint={"onAnswer": {"url": f"{HOOK}/screen"}}), SAY])
        await stage.outcome(answered=True)
        await stage.wait(1.0)
        stage.bye(stage.calls[1])
        await stage.wait(0.5)
        assert call.status == "progressing"
        await stage.wait(2.0)
        assert call.status == "hangup"


async def test_limit(tmp_path: Path) -> None:
    """The leg is hung up when it has lasted as long as it may."""
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([to(limit="5")])
        await stage.outcome(answered=True)
        await stage.wait(4.0)
        assert call.status == "progressing"
        await stage.wait(3.0)
        assert call.status == "hangup"


@pytest.mark.parametrize("tone", ["tone.mp3", "missing.mp3"])
async def test_ringback_tone(tmp_path: Path, tone: str) -> None:
    """Looped to the caller until connected; one that cannot be had gives way to the usual tone."""
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([SAY, to(ringbackTone=[f"{HOOK}/{tone}"])])
        await stage.wait(3.5)
        end = stage.engine.now()
        assert (level(stage.heard(call, end - 0.9, end), 8000, TUNE_HZ) > 0.05) == (tone == "tone.mp3")
        assert (level(stage.heard(call, end - 0.9, end), 8000, 425.0) > 0.02) == (tone != "tone.mp3")
        await stage.outcome(answered=True)
        await stage.wait(1.0)
        end = stage.engine.now()
        assert level(stage.heard(call, end - 0.8, end), 8000, TUNE_HZ) < 0.01


async def test_asynchronous_input_tells_key_by_key(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        told: list[Any] = []
        stage.kit.listeners.append(lambda happening: told.append(happening) if happening.kind == "call_event" else None)  # type: ignore[arg-type]
        ask = {"action": "input", "type": ["dtmf"], "mode": "asynchronous", "eventUrl": [f"{HOOK}/keys"]}
        call = await stage.dial_in([ask, {"action": "wait", "timeout": 3}])
        await stage.wait(0.5)
        await stage.press(call, "12")
        await stage.wait(0.5)
    assert [each.data["event"]["dtmf"] for each in told] == [{"digits": key, "timed_out": False} for key in "12"]
    assert {each.data["url"] for each in told} == {f"{HOOK}/keys"}


async def test_a_muted_leg_of_a_conversation_hears_and_is_not_heard_by_the_third(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([to("1"), to("2")])
        for _ in range(2):
            await stage.outcome(answered=True)
            await stage.wait(0.5)
        stage.calls[1].controls.mute("in")
        await stage.wait(1.0)
        end = stage.engine.now()
        sounds = [stage.heard(each, end - 0.8, end) for each in stage.calls]
        heard = [[level(sound, 8000, stage.voice(other)) > 0.05 for other in stage.calls] for sound in sounds]
        assert heard == [[False, False, True], [True, False, True], [True, False, False]]
        stage.bye(call)
        await stage.wait(0.5)
