"""Happenings as VoIPBIN's webhooks: which are sent, where to, in which envelope, and once however often they are told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from tapeline.api.voipbin import shapes
from tapeline.api.voipbin import webhooks as voipbin_webhooks
from tapeline.api.voipbin.activeflow_shapes import activeflow
from tapeline.api.voipbin.webhooks import SENT, Target, VoipbinWebhooks, shaped
from tapeline.calls.views import Address, CallView, ConferenceView, RecordingView
from tapeline.core.happening import Happening
from tapeline.core.ids import ZERO_ID, new_id
from tapeline.store import Account, ActiveflowRow, DatabaseUnavailable, DeliveryRow

ACCOUNT = new_id()
RUN = new_id()
PARTIES = {"source": Address("tel", "+1"), "destination": Address("sip", "x@y")}
CALL = CallView(new_id(), ACCOUNT, "incoming", "ringing", 1000.0, **PARTIES, activeflow_id=RUN)
RECORDING = RecordingView(new_id(), ACCOUNT, "available", 1000.0, call_id=CALL.id, activeflow_id=RUN, started=1000.5, ended=1002.0)
CONFERENCE = ConferenceView(new_id(), ACCOUNT, "progressing", 1000.0, "conference", name="Ü")
FLOW_RUN = ActiveflowRow(RUN, ACCOUNT, "running", 1000.0, new_id(), "call", CALL.id, current_action={"id": new_id(), "type": "talk"})


class Desk:
    """The listener, over accounts and runs in memory."""

    def __init__(self, **account: str) -> None:
        self.account = Account(ACCOUNT, "default", **account)  # type: ignore[arg-type]
        self.runs: dict[str, Target] = {}
        self.behind: list[DeliveryRow] = []
        self.at_once: list[DeliveryRow] = []
        self.asked = 0
        self.changes = 0
        self.away = 0  # how often it does not answer
        self.listener = VoipbinWebhooks(self, "here", self.behind.append, self._add, self._target)

    async def get(self, account_id: str) -> Account | None:
        self.asked += 1
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable("away")
        return self.account if account_id == ACCOUNT else None

    async def _add(self, *rows: DeliveryRow) -> None:
        self.at_once += rows

    async def _target(self, run_id: str) -> Target | None:
        return self.runs.get(run_id)

    async def tell(self, kind: str, data: Any, subject: str = "", account: str = ACCOUNT, happening_id: str = "") -> None:
        work = self.listener(Happening(kind, account, subject or data.id, 1234.5, data, happening_id or new_id()))
        if work is not None:
            await work


@pytest.mark.parametrize(
    ("kind", "data", "shape"),
    [
        ("call_ringing", CALL, shapes.call(CALL)),
        ("recording_started", RECORDING, shapes.recording(RECORDING)),
        ("conference_updated", CONFERENCE, shapes.conference(CONFERENCE)),
        ("activeflow_updated", FLOW_RUN, activeflow(FLOW_RUN)),
    ],
)
async def test_the_envelope_is_type_and_data_and_data_is_what_rest_shows(kind: str, data: Any, shape: dict[str, Any]) -> None:
    desk = Desk(webhook_uri="https://hooks.example/in")
    await desk.tell(kind, data)
    (row,) = desk.behind
    assert json.loads(row.body) == {"type": kind, "data": json.loads(json.dumps(shape))}
    sent = row.url, row.method, row.policy, row.signing, row.node
    assert sent == ("https://hooks.example/in", "POST", "voipbin", f"voipbin:{ACCOUNT}", "here")
    assert (row.ref, row.created, row.content_type, row.lane) == (data.id, 1234.5, "application/json", "")


async def test_what_lasts_is_written_at_once_and_told_twice_is_one_row() -> None:
    desk = Desk(webhook_uri="https://hooks.example/in", webhook_method="PUT")
    for _ in range(2):
        await desk.tell("recording_finished", RECORDING, happening_id="the same")
    assert desk.behind == []
    first, second = desk.at_once
    assert first.id == second.id
    assert first.method == "PUT" and json.loads(first.body)["data"]["status"] == "available"


async def test_50_an_export_is_told_of_when_it_is_over() -> None:
    desk = Desk(webhook_uri="https://hooks.example/in")
    await desk.tell("recording_export_finished", {"id": "x", "status": "finished"}, "x")
    (row,) = desk.at_once
    assert json.loads(row.body) == {"type": "recording_export_finished", "data": {"id": "x", "status": "finished"}}


async def test_many_events_at_a_time_look_for_their_account_once(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(webhook_uri="https://hooks.example/in")
    for told in (1, 2):
        if told == 2:
            monkeypatch.setattr(voipbin_webhooks.time, "monotonic", lambda: 1e9)  # what is known is old by now
        await asyncio.gather(*(desk.tell("call_ringing", CALL) for _ in range(100)))
        assert (desk.asked, len(desk.behind)) == (told, 100 * told)


async def test_who_gives_up_waiting_for_the_account_leaves_the_others_alone() -> None:
    desk = Desk(webhook_uri="https://hooks.example/in")
    first, second = (asyncio.ensure_future(desk.tell("call_ringing", CALL)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert (desk.asked, len(desk.behind)) == (1, 1)


async def test_without_an_address_nothing_is_sent_and_another_account_hears_nothing() -> None:
    desk = Desk()
    await desk.tell("call_ringing", CALL)
    desk = Desk(webhook_uri="https://hooks.example/in")
    await desk.tell("call_ringing", replace(CALL, account=new_id()), account=new_id())
    await desk.tell("recording_paused", RECORDING)
    await desk.tell("voicemail_left", {}, "x")
    assert desk.behind == desk.at_once == []


async def test_a_run_that_brought_an_address_along_has_its_events_sent_there_as_well() -> None:
    desk = Desk(webhook_uri="https://hooks.example/in")
    desk.runs[RUN] = "https://run.example/", ""
    for kind, data in (("call_hangup", CALL), ("activeflow_updated", FLOW_RUN), ("conference_updated", CONFERENCE)):
        await desk.tell(kind, data)
    await desk.tell("recording_finished", RECORDING)
    assert [row.url for row in desk.behind] == [
        "https://hooks.example/in", "https://run.example/", "https://hooks.example/in", "https://run.example/", "https://hooks.example/in",
    ]  # fmt: skip
    assert len({row.id for row in desk.behind}) == 5
    assert [(row.url, row.signing) for row in desk.at_once][1] == ("https://run.example/", f"voipbin:{ACCOUNT}")
    desk.runs[RUN] = "https://hooks.example/in", "PUT"
    before = len(desk.behind)
    await desk.tell("call_hangup", CALL)
    assert [row.method for row in desk.behind[before:]] == ["POST"], "one address gets one of each"


async def test_the_accounts_address_is_not_asked_for_at_each_event() -> None:
    desk = Desk(webhook_uri="https://hooks.example/in")
    for _ in range(50):
        await desk.tell("call_updated", CALL)
    assert (len(desk.behind), desk.asked) == (50, 1)
    desk.account, desk.changes = replace(desk.account, webhook_uri="https://another.example"), 1
    await desk.tell("call_updated", CALL)
    assert desk.behind[-1].url == "https://another.example", "a change of ours counts at once"


async def test_a_database_that_is_away_costs_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voipbin_webhooks, "PAUSES_S", (0.0,) * 3)
    desk = Desk(webhook_uri="https://hooks.example/in")
    desk.away = 3
    await desk.tell("call_updated", CALL)
    assert (len(desk.behind), desk.asked) == (1, 4)
    desk = Desk(webhook_uri="https://hooks.example/in")
    desk.away = 1
    with pytest.raises(DatabaseUnavailable):  # what lasts is told again by who told it
        await desk.tell("recording_finished", RECORDING)
    monkeypatch.setattr(voipbin_webhooks, "REMEMBER_S", -1.0)
    await desk.tell("recording_finished", RECORDING)
    desk.away = 1
    await desk.tell("call_updated", CALL)
    assert (len(desk.at_once), len(desk.behind)) == (1, 1), "what was known last counts while nobody can be asked"


def test_a_run_is_shown_as_the_platform_does() -> None:
    done = replace(FLOW_RUN, executed_actions=({"id": "a", "type": "answer", "tm_execute": 1000.0},), updated=1001.0, webhook_uri="https://x")
    told = shaped(done)
    assert told["forward_action_id"] == told["on_complete_flow_id"] == told["reference_activeflow_id"] == ZERO_ID
    assert (told["tm_delete"], told["tm_update"], told["webhook_uri"]) == (None, "1970-01-01T00:16:41Z", "https://x")
    assert told["executed_actions"][0]["tm_execute"] == "1970-01-01T00:16:40Z"
    assert "webhook_uri" not in shaped(FLOW_RUN) and "executed_actions" not in shaped(FLOW_RUN)
    with pytest.raises(TypeError):
        shaped(object())


def test_every_event_of_the_platform_is_sent() -> None:
    statuses = ("created", "dialing", "ringing", "progressing", "terminating", "canceling", "hangup", "updated", "deleted")
    assert {f"call_{word}" for word in statuses} <= SENT
    for thing in ("conference", "activeflow"):
        assert {f"{thing}_{word}" for word in ("created", "updated", "deleted")} <= SENT
