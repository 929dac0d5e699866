"""Telephones transfer their calls, and what was recorded goes on with who is left, or ends: judged by who is heard when."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from tapeline.calls.phone import Phone, PhoneConfig, resolve
from tapeline.core.errors import Unavailable
from tapeline.core.ids import new_id
from tapeline.testing import Heard, Plan, decode, tone
from tapeline.testing.api import Json
from tapeline.testing.baresip import Baresip, baresip_missing
from tapeline.testing.frames import Frames
from tapeline.testing.process import until
from tapeline.testing.server import Server
from tapeline.testing.sippcarrier import Behaviour, SippCarrier, carrier_missing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(baresip_missing()), reason=baresip_missing())]

VOICES = {"A": 617.0, "B": 917.0, "C": 1317.0}  # what each telephone says, all the time
STEP_S = 0.1
ROOM = new_id()


class Table:
    """Telephones A, B and C around a server, where 1000 connects with B and 2000 with C, both recorded; 3000 is a sound, 4000 a room."""

    def __init__(self, folder: Path) -> None:
        self.phones: dict[str, Baresip] = {}
        for name, frequency in VOICES.items():
            answer: Literal["auto", "manual"] = "manual" if name == "A" else "auto"
            self.phones[name] = Baresip(folder / name, Plan.of([tone(frequency, 60.0)]), name=name, answer=answer)
        sounds = {"type": "play", "option": {"stream_urls": ["tone:2000/1500"]}}
        asks = self._flow("C", begin="bridge", should_follow_transfer=False)
        room = {"actions": [{"type": "answer"}, {"type": "conference_join", "option": {"conference_id": ROOM}}]}
        self.server = Server(folder / "server", {"1000": self._flow("B"), "2000": asks, "3000": {"actions": [sounds]}, "4000": room})

    def _flow(self, callee: str, **options: Any) -> dict[str, Any]:
        actions = [
            {"type": "answer"},
            {"type": "recording_start", "option": {"split": True, **options}},
            {"type": "connect", "option": {"destinations": [{"type": "sip", "target": self.phones[callee].uri}]}},
            {"type": "hangup"},
        ]
        return {"actions": actions}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    made = Table(tmp_path_factory.mktemp("table"))
    with made.server:
        yield made


class Talk:
    """A talks with B. Knows the calls and recordings made since it began."""

    def __init__(self, table: Table) -> None:
        self.phones = table.phones
        self.server = table.server
        self._stack = ExitStack()
        self._before = {row["id"] for row in (*self.server.api.calls(), *self.server.api.recordings())}

    def __enter__(self) -> Talk:
        for phone in self.phones.values():
            phone.events.clear()
            self._stack.enter_context(phone)
        self.phones["A"].dial(self.server.uri("1000"))
        self.phones["B"].wait_for("CALL_ESTABLISHED")
        self.listen(1.0)
        return self

    def __exit__(self, *error: Any) -> None:
        for call in self._own(self.server.api.calls()):
            if call["status"] != "hangup":
                self.server.api.post(f"/v1.0/calls/{call['id']}/hangup")
        self.over()
        self._stack.__exit__(*error)

    def _own(self, rows: list[Json]) -> list[Json]:
        return [row for row in rows if row["id"] not in self._before]

    def record(self, name: str, **options: Any) -> None:
        """Record the call with a telephone, too."""
        call = until(lambda: (found := self.calls().get(name)) and found["status"] == "progressing" and found, "the call to be known")
        self.server.api.post(f"/v1.0/calls/{call['id']}/recording_start", {"split": True, **options}).ok()

    def listen(self, seconds: float) -> None:
        self.phones["A"].listen_for(seconds)

    def over(self) -> None:
        """Wait until every call is over and every recording is made."""
        until(lambda: all(call["status"] == "hangup" for call in self._own(self.server.api.calls())), "every call to be over", timeout_s=40)

    def calls(self) -> dict[str, Json]:
        """The calls by whose telephone is at their end."""
        found = {}
        for call in self._own(self.server.api.calls()):
            party = call["source"] if call["direction"] == "incoming" else call["destination"]
            for name, phone in self.phones.items():
                if party["target"].endswith(str(phone.port)) or re.search(rf"^{name}@", party["target"]):
                    found[name] = call
        return found

    def recordings(self) -> list[Json]:
        """All recordings, once each is available or has failed."""

        def made() -> list[Json] | None:
            rows = self._own(self.server.api.recordings())
            return rows if all(row["status"] in ("available", "failed") for row in rows) else None

        return until(made, "the recordings") or []

    def heard(self, recording: Json) -> Heard:
        assert recording["status"] == "available", recording
        return decode(self.server.api.file(recording["id"]))

    def recording(self, call: Json) -> tuple[Json, Heard]:
        """The first recording of a call, and its sound."""
        found = next(row for row in self.recordings() if row["id"] == call["recording_ids"][0])
        return found, self.heard(found)

    def events(self, recording: Json) -> list[tuple[str, str]]:
        """What the timeline names: (event, whose)."""
        names = {call["id"]: name for name, call in self.calls().items()}
        items = self.server.api.get(f"/v1.0/recordings/{recording['id']}/timeline").ok().json()["result"]
        assert [item["at"] for item in items] == sorted(item["at"] for item in items)
        return [(item["event"], names.get(item.get("call_id", ""), "")) for item in items if "call_id" in item]


def voices(heard: Heard, channel: int) -> str:
    """Who is heard on a channel, in order, as letters; `-` for silence, `?` for anything else. What lasts less than 0.3 s is left out."""
    frames = Frames(heard.samples[:, channel], heard.rate)
    letters = []
    for step in range(int(heard.seconds / STEP_S)):
        begin, end = step * STEP_S, (step + 1) * STEP_S
        loud = {name: float(np.mean(np.abs(frames.within(begin, end, frequency)[1]))) for name, frequency in VOICES.items()}
        best = max(loud, key=loud.__getitem__)
        level = float(np.sqrt(np.mean(frames.samples[round(begin * heard.rate) : round(end * heard.rate)] ** 2)))
        letters.append("-" if level < 0.003 else best if loud[best] > level else "?")
    spans = re.findall(r"((.)\2*)", "".join(letters))
    kept = [letter for span, letter in spans if len(span) >= 3]
    return re.sub(r"(.)\1+", r"\1", "".join(kept))


def test_the_callee_transfers_and_the_callers_recording_goes_on(table: Table) -> None:
    with Talk(table) as talk:
        talk.record("B", should_follow_transfer=False)
        talk.listen(1.0)
        talk.phones["B"].transfer(talk.phones["C"].uri)
        talk.phones["C"].wait_for("CALL_ESTABLISHED")
        talk.phones["B"].wait_for("CALL_CLOSED")
        talk.listen(1.5)
        talk.phones["C"].hang_up()
        talk.over()
        calls = talk.calls()
        recording, sound = talk.recording(calls["A"])
        assert voices(sound, 0) == "A" and re.fullmatch("-?B-?C", voices(sound, 1))
        assert talk.events(recording) == [("joined", "B"), ("transfer", "B"), ("left", "B"), ("joined", "C"), ("left", "C")]
        assert recording["tapeline"]["reason"] == "hangup"
        assert calls["C"]["master_call_id"] == calls["A"]["id"] and calls["B"]["hangup_by"] in ("local", "remote")
        ended, sound = talk.recording(calls["B"])
        assert ended["tapeline"]["reason"] == "transfer"
        assert (voices(sound, 0), voices(sound, 1)) == ("B", "A") and calls["C"].get("recording_ids") is None


def test_the_recorded_party_transfers_itself_away(table: Table) -> None:
    with Talk(table) as talk:
        talk.phones["A"].transfer(talk.phones["C"].uri)
        talk.phones["C"].wait_for("CALL_ESTABLISHED")
        talk.phones["A"].wait_for("CALL_CLOSED")
        talk.listen(1.5)
        calls = talk.calls()
        assert calls["C"]["recording_id"] == calls["A"]["recording_ids"][0], "the recording is the call's that took the place"
        talk.phones["B"].hang_up()
        talk.over()
        recording, sound = talk.recording(calls["A"])
        assert recording["tapeline"]["reason"] == "hangup"
        assert re.fullmatch("A-?C", voices(sound, 0)) and re.fullmatch("-?B", voices(sound, 1))
        assert talk.events(recording) == [("joined", "B"), ("transfer", "A"), ("left", "A"), ("joined", "C"), ("left", "B")]


@pytest.mark.skipif(bool(carrier_missing()), reason=carrier_missing())
def test_a_failed_transfer_changes_nothing(table: Table, tmp_path: Path) -> None:
    busy = SippCarrier(tmp_path / "busy", behaviour=Behaviour("refuse", status=486))
    said = Plan.of([tone(VOICES["C"], 9.0)])
    carrier = SippCarrier(tmp_path / "refers", [said], Behaviour(refer_s=(1.0, busy.uri()), hang_up_s=5.0))
    with busy, Talk(table) as talk:
        talk.phones["A"].hang_up()
        talk.over()
        with carrier:
            talk.server.api.post("/v1.0/calls", order(talk.phones["B"].uri, carrier.uri())).ok()
            talk.phones["B"].wait_for("CALL_ESTABLISHED")
            until(lambda: busy.received("INVITE"), "the target to be asked")
            until(lambda: "SIP/2.0 486" in carrier.messages(), "the word that it is busy")
            until(lambda: carrier.received("BYE") or "BYE sip" in carrier.messages(), "the end")
        talk.over()
        recording = max(talk.recordings(), key=lambda made: made["tm_create"])
        assert re.fullmatch("-?C-?", voices(talk.heard(recording), 1)), "they talked on"
        assert [event for event, _ in talk.events(recording)] == ["joined", "left"]


def order(caller: str, callee: str) -> Json:
    """A call to one, which is connected with the other and recorded."""
    actions = [
        {"type": "recording_start", "option": {"split": True}},
        {"type": "connect", "option": {"destinations": [{"type": "sip", "target": callee}]}},
    ]
    return {"destinations": [{"type": "sip", "target": caller}], "actions": actions}


def test_an_attended_transfer_joins_the_two_that_are_left(table: Table) -> None:
    with Talk(table) as talk:
        transferor = talk.phones["B"]
        talk.record("B")
        transferor.hold()
        transferor.dial(talk.server.uri("2000"))
        talk.phones["C"].wait_for("CALL_ESTABLISHED")
        talk.listen(1.5)
        transferor.transfer_to_call(1)
        transferor.wait_for("CALL_CLOSED")
        talk.listen(1.5)
        talk.phones["C"].hang_up()
        talk.over()
        callers, callees, consulting = sorted(talk.recordings(), key=lambda made: made["tm_create"])
        # B held A while it asked C: music is on A's right channel only.
        sound = talk.heard(callers)
        assert voices(sound, 0) == "A" and re.fullmatch(r"-?B-?\?-?C", voices(sound, 1))
        assert [event for event, _ in talk.events(callers)] == ["joined", "held", "transfer", "unheld", "left", "joined", "left"]
        # C took the place of B, whose recording follows; of the call in which B asked it does not.
        sound = talk.heard(callees)
        assert re.fullmatch("B?-C", voices(sound, 0)) and re.fullmatch("A?-A", voices(sound, 1))
        assert consulting["tapeline"]["reason"] == "transfer"
        assert voices(talk.heard(consulting), 0) == "B" and re.fullmatch("-?C-?", voices(talk.heard(consulting), 1))
        assert "not answered in time" not in talk.server.child.output(), "a recording that waits for the bridge does not hold the flow"


@pytest.mark.skipif(bool(carrier_missing()), reason=carrier_missing())
def test_a_transferor_that_does_not_wait_leaves_the_other_ringing(table: Table, tmp_path: Path) -> None:
    slow = SippCarrier(tmp_path / "slow", [Plan.of([tone(VOICES["C"], 9.0)])], Behaviour(ring_s=3.0))
    with slow, Talk(table) as talk:
        talk.phones["A"].transfer(slow.uri())
        until(lambda: slow.received("INVITE"), "the target to ring")
        talk.phones["A"].hang_up()
        until(lambda: slow.received("ACK"), "the target to answer")
        talk.listen(1.5)
        talk.phones["B"].hang_up()
        talk.over()
        (recording,) = talk.recordings()
        sound = talk.heard(recording)
        assert voices(sound, 0) == "A-C" and re.fullmatch("-?B", voices(sound, 1))
        assert [event for event, _ in talk.events(recording)] == ["joined", "left", "transfer", "joined", "left"]


def test_a_number_of_ours_is_its_flow(table: Table) -> None:
    with Talk(table) as talk:
        talk.phones["A"].transfer(talk.server.uri("3000"))
        talk.phones["B"].wait_for("CALL_CLOSED")  # the flow has hung up
        talk.over()
        (recording,) = talk.recordings()
        sound = talk.heard(recording)
        assert voices(sound, 0) == "A-?" or voices(sound, 0) == "A?"
        assert re.fullmatch("-?B", voices(sound, 1)), "the callee speaks on"


def test_over_the_api(table: Table) -> None:
    with Talk(table) as talk:
        call = talk.calls()["A"]
        path = f"/v1.0/calls/{call['id']}/transfer"
        talk.server.api.post(path, {"destination": {"type": "sip", "target": talk.phones["C"].uri}}).ok()
        talk.phones["C"].wait_for("CALL_ESTABLISHED")
        talk.phones["B"].wait_for("CALL_CLOSED")
        talk.listen(1.5)
        talk.phones["A"].hang_up()
        talk.over()
        (recording,) = talk.recordings()
        sound = talk.heard(recording)
        assert voices(sound, 0) == "A" and re.fullmatch("-?B-?C", voices(sound, 1))
        assert talk.server.api.post(path, {"destination": "1001"}).status == 409


def test_into_a_conference_and_in_the_place_of_a_member(table: Table) -> None:
    """B asks for A to be where its other line is; there A lets C take its place."""
    api = table.server.api
    api.post("/v1.0/conferences", {"id": ROOM, "type": "conference"}).ok()

    def inside() -> list[str]:
        """Ids of the calls that are in it."""
        stays = api.get("/v1.0/conferencecalls").ok().json()["result"]
        return [stay["reference_id"] for stay in stays if stay["conference_id"] == ROOM and stay["status"] == "joined"]

    def alone(name: str) -> bool:
        call = talk.calls().get(name)
        return call is not None and inside() == [call["id"]]

    with Talk(table) as talk:
        transferor = talk.phones["B"]
        transferor.hold()
        transferor.dial(talk.server.uri("4000"))
        until(inside, "B to be in the conference")
        transferor.transfer_to_call(1)
        transferor.wait_for("CALL_CLOSED")
        until(lambda: alone("A"), "A to be in its place")
        talk.listen(1.0)
        talk.phones["A"].transfer(talk.phones["C"].uri)
        talk.phones["C"].wait_for("CALL_ESTABLISHED")
        talk.phones["A"].wait_for("CALL_CLOSED")
        until(lambda: alone("C"), "C to be in its place")
        talk.listen(1.0)
        api.request("DELETE", f"/v1.0/conferences/{ROOM}").ok()
        talk.phones["C"].wait_for("CALL_CLOSED")
        talk.over()
        recording = next(row for row in talk.recordings() if row["id"] == talk.calls()["A"]["recording_ids"][0])
        sound = talk.heard(recording)
        assert re.fullmatch("A-?C", voices(sound, 0)), "what recorded A followed to C"
        assert [event for event, _ in talk.events(recording)].count("transfer") == 2


async def test_an_invite_with_replaces_takes_the_place(tmp_path: Path) -> None:
    phone = Phone(PhoneConfig(user="phone"))
    await phone.start()
    flow = {
        "actions": [
            {"type": "answer"},
            {"type": "recording_start"},
            {"type": "connect", "option": {"destinations": [{"type": "sip", "target": phone.uri}]}},
        ]
    }
    try:
        with Server(tmp_path / "server", {"1000": flow}) as server:
            target = await resolve(server.uri("1000"))
            first = phone.call(target)
            await first.answered()
            callee = await phone.take()
            callee.answer()

            def joined() -> bool:
                made = server.api.recordings()
                return bool(made) and "joined" in server.api.get(f"/v1.0/recordings/{made[0]['id']}/timeline").ok().body.decode()

            await asyncio.to_thread(until, joined, "the two to be connected")
            session = first.session
            replaces = f"{session.call_id};to-tag={session.remote_tag};from-tag={session.local_tag}"
            unknown = phone.call(target, headers=[("Replaces", replaces.replace("from-tag=", "from-tag=x"))])
            with pytest.raises(Unavailable):
                await unknown.answered()
            second = phone.call(target, headers=[("Replaces", replaces)])
            await second.answered()
            assert (await first.over()).by == "remote"
            second.hang_up()
            assert (await callee.over()).by == "remote"
            (row,) = await asyncio.to_thread(server.api.wait_for_recordings, 1)
            timeline = server.api.get(f"/v1.0/recordings/{row['id']}/timeline").ok().json()["result"]
            assert [item.get("kind") for item in timeline if item["event"] == "transfer"] == ["replaced"]

            # -- and of one that still rings: somebody else picks it up
            first = phone.call(target)
            await first.answered()
            ringing = await phone.take()
            early = ringing.session
            replaces = f"{early.call_id};to-tag={early.remote_tag};from-tag={early.local_tag};early-only"
            second = phone.call(target, headers=[("Replaces", replaces)])
            await second.answered()
            assert (await ringing.over()).cause == "cancel"
            first.hang_up()
            assert (await second.over()).by == "remote"
    finally:
        await phone.stop()
