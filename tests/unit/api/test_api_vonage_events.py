"""What applications are told of calls and recordings: the platform's shapes, in order, in one lane for each call."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tapeline.api.vonage.webhooks import VonageWebhooks, record_event, status_events, status_of
from tapeline.api.vonage.words import file_id
from tapeline.calls.views import Address, CallView, RecordingView
from tapeline.calls.vonage.applications import Applications
from tapeline.core.happening import Happening
from tapeline.core.ids import new_id
from tapeline.store import Application, DeliveryRow

APPLICATION = Application(new_id(), "account", event_url="https://app.test/event", signature_secret="s" * 32)
CALL = CallView(
    new_id(), "account", "outgoing", "dialing", 1.0, source=Address("tel", "+4471"), destination=Address("sip", "alice@here.test"),
    activeflow_id=new_id(), application_id=APPLICATION.id,
)  # fmt: skip
UP = replace(CALL, status="hangup", progressing=1_700_000_001.2, hungup=1_700_000_011.4, hangup_by="remote", hangup_reason="normal")
RECORDING = RecordingView(
    "53383284-b36d-498c-b733-aa0234c22340", "account", "available", 1_700_000_000.0, call_id=CALL.id, activeflow_id=CALL.activeflow_id,
    started=1_700_000_000.9, ended=1_700_000_022.9, duration=22.0, size=84413, application_id=APPLICATION.id, custom={"dialect": "vonage"},
)  # fmt: skip
WALL = 1_700_000_100.1239


class Told:
    def __init__(self, *applications: Application, transcriber: str = "") -> None:
        self.rows: list[DeliveryRow] = []
        self.kept: list[DeliveryRow] = []
        self.recorded: list[str] = []
        self.webhooks = VonageWebhooks(
            Applications(applications or (APPLICATION,)), self, self, self.recorded.append, "https://rec.test/", "here", transcriber  # type: ignore[arg-type]
        )  # fmt: skip

    def put(self, row: DeliveryRow) -> None:
        self.rows.append(row)

    async def add(self, *rows: DeliveryRow) -> None:
        self.kept += rows

    async def happen(self, kind: str, data: Any, at: float = WALL, number: str = "h") -> None:
        work = self.webhooks(Happening(kind, "account", getattr(data, "id", CALL.id), at, data, number))
        if work is not None:
            await work


def ended(**fields: Any) -> CallView:
    return replace(CALL, status="hangup", hungup=20.0, **fields)


# --- checklist: call events


async def test_call_events() -> None:
    """started, ringing, answered, completed with their fields; strings for duration, price and rate."""
    told = Told()
    steps = [("created", "dialing"), ("dialing", "dialing"), ("ringing", "ringing"), ("progressing", "progressing")]
    for number, (kind, status) in enumerate(steps):
        await told.happen(f"call_{kind}", replace(CALL, status=status), number=str(number))  # type: ignore[arg-type]
    await told.happen("call_terminating", replace(CALL, status="terminating"), number="t")
    await told.happen("call_hangup", UP, number="e")
    events = [json.loads(row.body) for row in told.rows]
    assert [event["status"] for event in events] == ["started", "ringing", "answered", "completed"]
    common = {
        "from": "4471", "to": "sip:alice@here.test", "uuid": CALL.id, "conversation_uuid": f"CON-{CALL.activeflow_id}",
        "direction": "outbound", "timestamp": "2023-11-14T22:15:00.123Z", "headers": {},
    }  # fmt: skip
    assert all(common.items() <= event.items() for event in events) and events[0] == common | {"status": "started"}
    assert {name: events[2][name] for name in ("start_time", "rate", "network")} == {"start_time": None, "rate": None, "network": None}
    assert {name: value for name, value in events[3].items() if name not in common} == {
        "status": "completed", "start_time": "2023-11-14T22:13:21.000Z", "end_time": "2023-11-14T22:13:31.000Z", "duration": "10",
        "rate": "0.00", "price": "0.00", "network": None, "disconnected_by": "user", "sip_code": 200,
    }  # fmt: skip
    assert {(row.lane, row.policy, row.signing, row.url, row.method, row.kind) for row in told.rows} == {
        (f"vonage/{CALL.id}", "vonage", f"vonage:{APPLICATION.id}", APPLICATION.event_url, "POST", "webhook")
    }
    assert len({row.id for row in told.rows}) == 4
    times = [row.created for row in told.rows]
    assert times == sorted(times) and len(set(times)) == 4  # the lane's order, although all happened at one time
    assert not any(" " in row.body for row in told.rows)


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (ended(hangup_by="remote", hangup_reason="busy", hangup_cause="486 Busy Here"), ("busy", None, 486)),
        (ended(hangup_by="remote", hangup_reason="failed", hangup_cause="603 Decline"), ("rejected", "declined", 603)),
        (ended(hangup_by="remote", hangup_reason="failed", hangup_cause="404 Not Found"), ("rejected", "invalid_number", 404)),
        (ended(hangup_by="remote", hangup_reason="failed", hangup_cause="403 Forbidden"), ("rejected", "restricted", 403)),
        (ended(hangup_by="remote", hangup_reason="noanswer", hangup_cause="480 Gone"), ("unanswered", "unavailable", 480)),
        (ended(hangup_by="remote", hangup_reason="noanswer", hangup_cause="487 x"), ("unanswered", "carrier_timeout", 487)),
        (ended(hangup_by="local", hangup_reason="noanswer"), ("timeout", None, None)),
        (ended(hangup_by="local", hangup_reason="timeout"), ("timeout", None, None)),
        (ended(hangup_by="remote", hangup_reason="cancel"), ("cancelled", None, None)),
        (ended(hangup_by="local", hangup_reason="normal"), ("cancelled", None, None)),
        (ended(hangup_by="remote", hangup_reason="failed", hangup_cause="503 Away"), ("failed", "cannot_route", 503)),
        (ended(hangup_by="local", hangup_reason="failed", hangup_cause="no port"), ("failed", "cannot_route", None)),
        (ended(hangup_by="remote", hangup_reason="failed", hangup_cause="488 Not Acceptable"), ("failed", "internal_error", 488)),
    ],
    ids=lambda item: item[0] if isinstance(item, tuple) else "",
)
def test_a_call_that_nobody_answers(view: CallView, told: tuple[str, str | None, int | None]) -> None:
    """The reason, then `completed`, unless it was rejected."""
    events = status_events("call_hangup", view, WALL)
    assert (events[0]["status"], events[0].get("detail"), events[0].get("sip_code")) == told
    assert [event["status"] for event in events[1:]] == ([] if told[0] == "rejected" else ["completed"])
    assert all(event["duration"] == "0" and event["start_time"] is None for event in events[1:])
    assert status_of(view) == told[0]


def test_words_for_calls_that_are_up() -> None:
    statuses = ("dialing", "ringing", "progressing", "terminating", "canceling")
    assert [status_of(replace(CALL, status=status)) for status in statuses] == ["started", "ringing", "answered", "completed", "completed"]
    assert status_of(UP) == "completed"


# --- checklist: record event


async def test_record_event() -> None:
    """Exactly seven fields, whole seconds, a timestamp with milliseconds, no status; sent to the recording's own address."""
    told = Told()
    custom = {"dialect": "vonage", "event_url": "https://other.test/rec", "event_method": "POST"}
    await told.happen("recording_finished", replace(RECORDING, custom=custom))
    (row,) = told.kept
    assert row.url == "https://other.test/rec" and not told.rows and told.recorded == [RECORDING.id]
    event = json.loads(row.body)
    assert event == {
        "start_time": "2023-11-14T22:13:20Z", "end_time": "2023-11-14T22:13:42Z", "size": 84413, "recording_uuid": RECORDING.id,
        "recording_url": f"https://rec.test/v1/files/{file_id(RECORDING.id)}", "conversation_uuid": f"CON-{CALL.activeflow_id}",
        "timestamp": "2023-11-14T22:15:00.123Z",
    }  # fmt: skip
    assert RECORDING.id not in event["recording_url"]
    assert (row.ref, row.lane) == (RECORDING.id, f"vonage/{CALL.id}")


async def test_event_method_get() -> None:
    """The same fields as query parameters."""
    told = Told()
    custom = {"dialect": "vonage", "event_url": "https://other.test/rec?key=1", "event_method": "GET"}
    await told.happen("recording_finished", replace(RECORDING, custom=custom))
    (row,) = told.kept
    query = dict(parse_qsl(urlsplit(row.url).query))
    assert (row.method, row.body, query.pop("key")) == ("GET", "", "1")
    assert query == {name: str(value) for name, value in record_event(RECORDING, "https://rec.test", WALL).items()}


async def test_event_url_missing_or_empty() -> None:
    """It goes to the call's event URL (which the recording carries), then to the application's; where there is none, nowhere."""
    told = Told()
    await told.happen("recording_finished", replace(RECORDING, custom={"dialect": "vonage", "event_url": ""}))
    assert told.kept[0].url == APPLICATION.event_url
    nowhere = Told(replace(APPLICATION, event_url=""))
    await nowhere.happen("recording_finished", RECORDING)
    assert not nowhere.kept and nowhere.recorded == [RECORDING.id]


async def test_each_address_of_a_recording_is_told_the_same() -> None:
    """The same recording_uuid and url; where it failed, the same error."""
    told_too = json.dumps([("https://third.test/rec", "GET")])
    custom = {"dialect": "vonage", "event_url": "", "event_method": "", "told_too": told_too}
    for kind, field in (("recording_finished", "recording_url"), ("recording_failed", "reason")):
        told = Told()
        await told.happen(kind, replace(RECORDING, custom=custom))
        first, second = told.kept
        assert first.url == APPLICATION.event_url and first.id != second.id and first.lane == second.lane
        query = dict(parse_qsl(urlsplit(second.url).query))
        assert second.url.startswith("https://third.test/rec?") and second.method == "GET"
        assert query[field] == json.loads(first.body)[field] and RECORDING.id in query.get("recording_uuid", query.get("reason", ""))


async def test_a_recording_told_twice_is_one_row() -> None:
    told = Told()
    await told.happen("recording_finished", RECORDING)
    await told.happen("recording_finished", RECORDING, at=WALL + 5)
    assert len({row.id for row in told.kept}) == 1


async def test_a_recording_of_a_conversation_is_told_by_its_conversation() -> None:
    view = replace(RECORDING, reference="confbridge", call_id="c" * 8, activeflow_id="")
    assert record_event(view, "https://rec.test", WALL)["conversation_uuid"] == "CON-" + "c" * 8


WISH = {"language": "de-DE", "event_url": "https://other.test/text", "event_method": "POST", "sentiment": True}


async def test_transcription_that_nobody_makes_is_told_honestly() -> None:
    told = Told()
    custom = {"dialect": "vonage", "event_url": "https://other.test/rec", "event_method": "POST", "transcription": json.dumps(WISH)}
    await told.happen("recording_finished", replace(RECORDING, custom=custom))
    record, text = told.kept
    assert (record.url, text.url) == ("https://other.test/rec", "https://other.test/text") and record.id != text.id
    assert json.loads(text.body) == {
        "type": "record", "status": "failed", "reason": "transcription is not available", "recording_uuid": RECORDING.id,
        "conversation_uuid": f"CON-{CALL.activeflow_id}", "timestamp": "2023-11-14T22:15:00.123Z",
    }  # fmt: skip
    custom["transcription"] = json.dumps(WISH | {"event_url": ""})
    await told.happen("recording_finished", replace(RECORDING, custom=custom), number="i")
    assert told.kept[-1].url == "https://other.test/rec"


async def test_transcription_is_handed_to_the_transcriber_where_there_is_one() -> None:
    told = Told(transcriber="https://text.test/jobs")
    custom = {"dialect": "vonage", "event_url": "https://other.test/rec", "transcription": json.dumps(WISH)}
    await told.happen("recording_finished", replace(RECORDING, custom=custom))
    record, job = told.kept
    assert job.url == "https://text.test/jobs" and job.signing
    more = {"type": "transcribe", "language": "de-DE", "sentiment_analysis": True, "event_url": WISH["event_url"], "event_method": "POST"}
    assert json.loads(job.body) == json.loads(record.body) | more


async def test_why_a_leg_was_not_answered_is_not_told_twice_where_somebody_waits_for_an_answer_to_it() -> None:
    told = Told()
    await told.happen("call_hangup", ended(hangup_reason="busy", event_asked=True))
    assert [json.loads(row.body)["status"] for row in told.rows] == ["completed"]


def test_host_check() -> None:
    """The base of a file's address may hold what the SDKs look for in it."""
    event = record_event(RECORDING, "https://rec.test/api.nexmo.com", WALL)
    assert event["recording_url"].startswith("https://rec.test/api.nexmo.com/v1/files/")


# --- who is told


async def test_the_calls_own_event_url_comes_first() -> None:
    told = Told()
    await told.happen("call_ringing", replace(CALL, status="ringing", event_url="https://own.test/e", event_method="GET"))
    (row,) = told.rows
    assert row.url.startswith("https://own.test/e?") and row.method == "GET" and dict(parse_qsl(urlsplit(row.url).query))["headers"] == "{}"


async def test_calls_of_nobody_are_told_to_nobody() -> None:
    told = Told()
    await told.happen("call_ringing", replace(CALL, application_id=""))
    await told.happen("call_ringing", replace(CALL, application_id=new_id()))
    await told.happen("recording_finished", replace(RECORDING, custom={}))
    await told.happen("recording_failed", replace(RECORDING, custom={}))
    await told.happen("conference_created", object())
    assert not told.rows and not told.kept


async def test_an_application_without_a_secret_gets_unsigned_messages() -> None:
    told = Told(replace(APPLICATION, signature_secret=""))
    await told.happen("call_ringing", replace(CALL, status="ringing"))
    assert told.rows[0].signing == ""


async def test_errors_and_keys_go_the_same_way() -> None:
    told = Told()
    event = {"reason": "x", "conversation_uuid": "CON-1", "timestamp": "t"}
    await told.happen("call_event", {"call": CALL, "event": event, "url": "", "method": ""})
    await told.happen("call_event", {"call": CALL, "event": event, "url": "https://keys.test/", "method": "POST"}, number="2")
    assert [row.url for row in told.rows] == [APPLICATION.event_url, "https://keys.test/"] and json.loads(told.rows[0].body) == event


async def test_a_recording_that_failed_is_an_error_and_nobody_waits_for_it() -> None:
    told = Told()
    await told.happen("recording_failed", replace(RECORDING, state="failed", reason="disk_full"))
    (row,) = told.kept
    event = json.loads(row.body)
    assert set(event) == {"reason", "conversation_uuid", "timestamp"} and "disk_full" in event["reason"]
    assert told.recorded == [RECORDING.id]
