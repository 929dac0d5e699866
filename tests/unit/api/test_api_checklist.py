"""VoIPBIN's acceptance checklist for REST (8.1): one test or more for each line, named after it."""

from __future__ import annotations

import re
from dataclasses import replace

import httpx2
import pytest
from api_world import World

from tapeline.api.voipbin.states import recording_shaper
from tapeline.api.voipbin.webhooks import shaped
from tapeline.calls.views import Address
from tapeline.core.ids import ZERO_ID, is_id
from tapeline.core.principal import ALL_SCOPES
from tapeline.core.recordspec import RecordSpec, SilenceRule

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z")


async def start(client: httpx2.AsyncClient, call_id: str, **body: object) -> httpx2.Response:
    return await client.post(f"/v1.0/calls/{call_id}/recording_start", json=body or {"format": "wav"})


def reason(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["reason"]


async def test_01_start_on_call(world: World) -> None:
    call_id = world.service.call(world.account)
    async with world.client("") as anonymous:
        answer = await anonymous.post(f"/v1.0/calls/{call_id}/recording_start?token={world.secret}", content=b'{"format":"wav"}')
    body = answer.json()
    assert answer.status_code == 200
    assert body["id"] == call_id
    assert is_id(body["recording_id"]) and body["recording_id"] != ZERO_ID
    assert body["recording_ids"][-1] == body["recording_id"]


async def test_02_optional_start_fields_are_honoured(world: World, client: httpx2.AsyncClient) -> None:
    flow = "6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11"
    full = {"format": "wav", "end_of_silence": 5, "duration": 60, "end_of_key": "#", "on_end_flow_id": flow}
    body = (await start(client, world.service.call(world.account), **full)).json()
    assert world.service.specs[body["recording_id"]] == RecordSpec(
        max_s=60, silence=SilenceRule(initial_s=5, final_s=5), end_keys=frozenset("#"), on_end_flow_id=flow
    )


@pytest.mark.parametrize(
    "body", [{}, {"end_of_silence": 0, "duration": 0, "end_of_key": "", "on_end_flow_id": ZERO_ID, "format": ""}, {"duration": None}]
)
async def test_02_optional_start_fields_are_off_when_absent_zero_or_empty(
    world: World, client: httpx2.AsyncClient, body: dict[str, object]
) -> None:
    answer = await client.post(f"/v1.0/calls/{world.service.call(world.account)}/recording_start", json=body)
    assert world.service.specs[answer.json()["recording_id"]] == RecordSpec()


async def test_03_stop_on_call_without_body_or_content_type(world: World, client: httpx2.AsyncClient) -> None:
    call_id = world.service.call(world.account)
    started = (await start(client, call_id)).json()["recording_id"]
    answer = await client.post(f"/v1.0/calls/{call_id}/recording_stop")
    assert answer.status_code == 200
    assert answer.json()["recording_id"] == ZERO_ID
    assert answer.json()["recording_ids"] == [started]


async def test_04_start_on_conference(world: World) -> None:
    conference_id = world.service.conferences.conference(world.account)
    async with world.client("") as anonymous:
        path = f"/v1.0/conferences/{conference_id}/recording_start?token={world.secret}"
        answer = await anonymous.post(path, content=b'{ "format": "wav" }')
    body = answer.json()
    assert answer.status_code == 200
    assert (body["id"], body["type"], body["status"]) == (conference_id, "conference", "progressing")
    assert is_id(body["recording_id"]) and body["recording_id"] != ZERO_ID
    assert body["recording_ids"][-1] == body["recording_id"]
    (spec,) = world.service.conferences.specs
    assert (spec.format, spec.rate, spec.channels, spec.heard, spec.max_s) == ("wav", 8000, 1, "mix", 86400)


async def test_05_stop_on_conference_without_body_or_content_type(world: World, client: httpx2.AsyncClient) -> None:
    path = f"/v1.0/conferences/{world.service.conferences.conference(world.account)}"
    started = (await client.post(f"{path}/recording_start", json={"format": "wav"})).json()["recording_id"]
    answer = await client.post(f"{path}/recording_stop")
    assert answer.status_code == 200
    assert answer.json()["recording_id"] == ZERO_ID
    assert answer.json()["recording_ids"] == [started]
    shown = (await client.get(path)).json()
    assert (shown["recording_id"], shown["recording_ids"]) == (ZERO_ID, [started])


@pytest.mark.parametrize("status", ["dialing", "ringing", "terminating", "canceling", "hangup"])
async def test_06_only_when_progressing(world: World, client: httpx2.AsyncClient, status: str) -> None:
    call_id = world.service.call(world.account, status)
    answer = await start(client, call_id)
    assert reason(answer) == (409, "CALL_STATE_INVALID")
    assert answer.json()["error"]["status"] == "FAILED_PRECONDITION"
    call = (await client.get(f"/v1.0/calls/{call_id}")).json()
    assert call["recording_id"] == ZERO_ID and "recording_ids" not in call
    assert not world.service.recordings


async def test_a_transfer_takes_an_address_or_its_target(world: World, client: httpx2.AsyncClient) -> None:
    call_id = world.service.call(world.account)
    for given in ({"type": "Tel", "target": " +4930123 "}, "sip:somebody@192.0.2.1"):
        answer = await client.post(f"/v1.0/calls/{call_id}/transfer", json={"destination": given})
        assert answer.status_code == 200 and answer.json()["id"] == call_id
    assert world.service.transferred == [(call_id, Address("tel", "+4930123")), (call_id, Address("", "sip:somebody@192.0.2.1"))]
    for wrong in ({"destination": ""}, {"destination": {"type": "tel"}}, {"destination": "x" * 257}):
        assert reason(await client.post(f"/v1.0/calls/{call_id}/transfer", json=wrong)) == (400, "INVALID_ARGUMENT")
    for wrong in ({}, {"destination": []}, {"destination": {"target": 7}}):
        assert reason(await client.post(f"/v1.0/calls/{call_id}/transfer", json=wrong)) == (400, "INVALID_JSON_BODY")


async def test_07_one_active_per_call(world: World, client: httpx2.AsyncClient) -> None:
    call_id = world.service.call(world.account)
    first = (await start(client, call_id)).json()["recording_id"]
    assert reason(await start(client, call_id)) == (409, "RECORDING_ALREADY_ACTIVE")
    call = (await client.get(f"/v1.0/calls/{call_id}")).json()
    assert (call["recording_id"], call["recording_ids"]) == (first, [first])


async def test_08_stop_when_idle(world: World, client: httpx2.AsyncClient) -> None:
    answer = await client.post(f"/v1.0/calls/{world.service.call(world.account)}/recording_stop")
    assert reason(answer) == (409, "RECORDING_NOT_ACTIVE")


async def test_09_list_is_newest_first_and_pages(world: World, client: httpx2.AsyncClient) -> None:
    made = [world.service.recording(world.account) for _ in range(5)]
    seen: list[str] = []
    token = ""
    for _ in range(3):
        page = (await client.get("/v1.0/recordings", params={"page_size": 2, "page_token": token})).json()
        seen += [item["id"] for item in page["result"]]
        token = page["next_page_token"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", token)
    assert seen == made[::-1]
    assert (await client.get("/v1.0/recordings", params={"page_token": token})).json() == {"result": [], "next_page_token": ""}


async def test_09_the_older_token_form_works_too(world: World, client: httpx2.AsyncClient) -> None:
    first, _ = world.service.recording(world.account), world.service.recording(world.account)
    token = (await client.get("/v1.0/recordings", params={"page_size": 1})).json()["next_page_token"]
    old = token.replace("T", " ").removesuffix("Z")
    page = (await client.get("/v1.0/recordings", params={"page_token": old})).json()
    assert [item["id"] for item in page["result"]] == [first]


@pytest.mark.parametrize(("size", "got"), [("0", 100), ("-3", 100), ("101", 100), ("9" * 5000, 100), ("", 100), ("1", 1), ("100", 100)])
async def test_09_page_sizes_out_of_range_become_a_hundred(world: World, client: httpx2.AsyncClient, size: str, got: int) -> None:
    for _ in range(102):
        world.service.call(world.account)
    assert len((await client.get("/v1.0/calls", params={"page_size": size})).json()["result"]) == got


async def test_10_metadata(world: World, client: httpx2.AsyncClient) -> None:
    flow = "6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11"
    recording_id = world.service.recording(world.account, activeflow_id=flow)
    body = (await client.get(f"/v1.0/recordings/{recording_id}")).json()
    view = world.service.recordings[recording_id]
    extra = body.pop("tapeline")
    times = {name: body.pop(name) for name in ("tm_start", "tm_end", "tm_create")}
    assert all(TIME.fullmatch(moment) for moment in times.values())
    assert body == {
        "id": recording_id, "customer_id": world.account, "owner_type": "", "owner_id": ZERO_ID, "activeflow_id": flow,
        "reference_type": "call", "reference_id": view.call_id, "status": "available", "format": "wav", "on_end_flow_id": ZERO_ID,
    }  # fmt: skip
    assert extra["duration"] == 1.5 and extra["size"] == view.size and extra["measures"] == {"loudness_lufs": None, "peak_db": -3.5}


async def test_11_download_is_the_bytes_without_redirect(world: World) -> None:
    audio = b"RIFF" + bytes(range(256)) * 50
    recording_id = world.service.recording(world.account, audio=audio)
    async with world.client("") as anonymous:
        answer = await anonymous.get(f"/v1.0/recordings/{recording_id}/file?token={world.secret}")
    assert (answer.status_code, answer.content) == (200, audio)
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["content-length"] == str(len(audio))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == f'attachment; filename="{recording_id}.wav"'


@pytest.mark.parametrize("state", ["starting", "recording", "stopping", "failed"])
async def test_12_no_download_before_available(world: World, client: httpx2.AsyncClient, state: str) -> None:
    answer = await client.get(f"/v1.0/recordings/{world.service.recording(world.account, state)}/file")
    assert reason(answer) == (404, "RECORDING_NOT_FOUND")


async def test_13_range(world: World, client: httpx2.AsyncClient) -> None:
    audio = bytes(range(256)) * 20
    path = f"/v1.0/recordings/{world.service.recording(world.account, audio=audio)}/file"
    part = await client.get(path, headers={"Range": "bytes=10-2109"})
    assert (part.status_code, part.content) == (206, audio[10:2110])
    assert part.headers["content-range"] == f"bytes 10-2109/{len(audio)}"
    assert part.headers["content-length"] == "2100"
    beyond = await client.get(path, headers={"Range": f"bytes={len(audio)}-"})
    assert reason(beyond) == (416, "RANGE_NOT_SATISFIABLE")
    assert beyond.headers["content-range"] == f"bytes */{len(audio)}"


async def test_14_recordingfiles_answers_with_the_same_bytes(world: World, client: httpx2.AsyncClient) -> None:
    recording_id = world.service.recording(world.account, audio=b"RIFFabc")
    answer = await client.get(f"/v1.0/recordingfiles/{recording_id}")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"RIFFabc", "audio/wav")


async def test_15_delete(world: World, client: httpx2.AsyncClient) -> None:
    recording_id = world.service.recording(world.account)
    gone = await client.delete(f"/v1.0/recordings/{recording_id}")
    assert gone.status_code == 200 and TIME.fullmatch(gone.json()["tm_delete"]) and gone.json()["id"] == recording_id
    for path in (f"/v1.0/recordings/{recording_id}", f"/v1.0/recordings/{recording_id}/file"):
        assert reason(await client.get(path)) == (404, "RESOURCE_NOT_FOUND")
    assert reason(await client.delete(f"/v1.0/recordings/{recording_id}")) == (404, "RESOURCE_NOT_FOUND")
    assert (await client.get("/v1.0/recordings")).json()["result"] == []


async def test_16_export_is_accepted_at_once_and_done_in_the_background(world: World, client: httpx2.AsyncClient) -> None:
    ids = [world.service.recording(world.account) for _ in range(3)]
    async with world.client("") as anonymous:
        path = f"/v1.0/recordings/export?token={world.secret}"
        answer = await anonymous.post(path, json={"recording_ids": ids})
    body = answer.json()
    assert answer.status_code == 200
    assert is_id(body["id"]) and (body["customer_id"], body["status"]) == (world.account, "progressing")
    assert TIME.fullmatch(body["tm_create"]) and not body.get("download_uri")
    done = replace(world.service.exports.views[body["id"]], status="finished")
    world.service.exports.views[body["id"]] = done
    assert (await client.get(f"/v1.0/recordings/exports/{body['id']}")).json()["status"] == "finished"


@pytest.mark.parametrize("verb", ["pause", "resume", "mask", "unmask"])
async def test_17_an_available_recording_is_not_editable(world: World, client: httpx2.AsyncClient, verb: str) -> None:
    recording_id = world.service.recording(world.account)
    before = (await client.get(f"/v1.0/recordings/{recording_id}")).json()
    assert reason(await client.post(f"/v1.0/recordings/{recording_id}/{verb}")) == (409, "RECORDING_NOT_ACTIVE")
    for method in ("PATCH", "POST"):
        edit = await client.request(method, f"/v1.0/recordings/{recording_id}", json={"status": "failed"})
        assert reason(edit) == (404, "ROUTE_NOT_FOUND")
    await client.put(f"/v1.0/recordings/{recording_id}", json={"status": "failed"})  # that changes tags and note, and nothing else
    assert (await client.get(f"/v1.0/recordings/{recording_id}")).json() == before


async def test_18_call_fields(world: World, client: httpx2.AsyncClient) -> None:
    call_id = world.service.call(world.account, action={"id": "greet", "type": "talk", "option": {"text": "hello"}})
    first = (await start(client, call_id)).json()["recording_id"]
    await client.post(f"/v1.0/calls/{call_id}/recording_stop")
    second = (await start(client, call_id)).json()["recording_id"]
    body = (await client.get(f"/v1.0/calls/{call_id}")).json()
    body.pop("tapeline")
    times = {name: body.pop(name) for name in ("tm_ringing", "tm_progressing", "tm_create")}
    assert all(TIME.fullmatch(moment) for moment in times.values())
    assert body == {
        "id": call_id, "customer_id": world.account, "owner_type": "", "owner_id": ZERO_ID, "flow_id": ZERO_ID, "activeflow_id": ZERO_ID,
        "type": "flow", "master_call_id": ZERO_ID, "recording_id": second, "recording_ids": [first, second], "groupcall_id": ZERO_ID,
        "source": {"type": "tel", "target": "+15551234567", "target_name": "Ann"}, "destination": {"type": "extension", "target": "1000"},
        "status": "progressing", "direction": "incoming",
        "action": {"id": "greet", "next_id": ZERO_ID, "type": "talk", "option": {"text": "hello"}, "tm_execute": None},
    }  # fmt: skip


@pytest.mark.parametrize("end", ["stop", "limit", "hangup", "delete"])
async def test_19_pointer_is_cleared_on_any_end(world: World, client: httpx2.AsyncClient, end: str) -> None:
    call_id = world.service.call(world.account)
    started = (await start(client, call_id)).json()["recording_id"]
    if end == "stop":
        body = (await client.post(f"/v1.0/calls/{call_id}/recording_stop")).json()
    elif end == "limit":
        world.service.limit_reached(call_id)
        body = (await client.get(f"/v1.0/calls/{call_id}")).json()
    elif end == "hangup":
        body = (await client.post(f"/v1.0/calls/{call_id}/hangup")).json()
        assert body["status"] == "hangup"
    else:
        body = (await client.delete(f"/v1.0/calls/{call_id}")).json()
        assert TIME.fullmatch(body["tm_delete"])
    assert (body["recording_id"], body["recording_ids"]) == (ZERO_ID, [started])


async def test_20_repeat_gives_a_new_id_each_time(world: World, client: httpx2.AsyncClient) -> None:
    call_id = world.service.call(world.account)
    ids = []
    for _ in range(4):
        ids.append((await start(client, call_id)).json()["recording_id"])
        body = (await client.post(f"/v1.0/calls/{call_id}/recording_stop")).json()
    assert len(set(ids)) == 4
    assert body["recording_ids"] == ids


@pytest.mark.parametrize("state", ["starting", "recording", "stopping", "available", "failed"])
async def test_21_lifecycle_names(world: World, client: httpx2.AsyncClient, state: str) -> None:
    recording_id = world.service.recording(world.account, state)
    assert (await client.get(f"/v1.0/recordings/{recording_id}")).json()["status"] == state


async def test_21_the_names_of_the_platform_s_code_where_they_are_set() -> None:
    world = World(states="code")
    names = {"starting": "initiating", "recording": "recording", "stopping": "stopping", "available": "ended", "failed": "ended"}
    async with world.client() as client:
        for state, name in names.items():
            made = world.service.recording(world.account, state)
            assert (await client.get(f"/v1.0/recordings/{made}")).json()["status"] == name
            assert made in {one["id"]: one for one in (await client.get("/v1.0/recordings")).json()["result"] if one["status"] == name}
            assert (await client.put(f"/v1.0/recordings/{made}", json={"note": "x"})).json()["status"] == name
            for wanted in (state, name):
                found = (await client.get("/v1.0/recordings", params={"status": wanted})).json()["result"]
                assert made in [one["id"] for one in found]
            assert shaped(world.service.recordings[made], recording_shaper("code"))["status"] == name


async def test_22_forward_only(world: World, client: httpx2.AsyncClient) -> None:
    call_id = world.service.call(world.account)
    recording_id = (await start(client, call_id)).json()["recording_id"]
    call, recording = f"/v1.0/calls/{call_id}", f"/v1.0/recordings/{recording_id}"
    seen = [(await client.get(recording)).json()["status"]]

    async def ask(*paths: str) -> None:
        for path in paths:
            await client.post(path, json={"format": "wav"})
            seen.append((await client.get(recording)).json()["status"])

    await ask(f"{call}/recording_start", f"{recording}/mask", f"{call}/recording_stop", f"{call}/recording_stop", f"{recording}/unmask")
    world.service.finish(recording_id)
    await ask(f"{call}/recording_stop", f"{recording}/pause", f"{call}/recording_start", f"{call}/recording_stop", f"{call}/hangup")
    world.service.remote_hangup(call_id)  # late: it was hung up before
    await ask(f"{call}/recording_start", f"{call}/recording_stop")
    assert list(dict.fromkeys(seen)) == ["starting", "stopping", "available"]
    assert [state for number, state in enumerate(seen) if state != seen[number - 1]][1:] == ["stopping", "available"]


async def test_23_hangup_stops_through_stopping_to_available(world: World, client: httpx2.AsyncClient) -> None:
    call_id = world.service.call(world.account)
    recording_id = (await start(client, call_id)).json()["recording_id"]
    path = f"/v1.0/recordings/{recording_id}"
    states = [(await client.get(path)).json()["status"]]
    world.service.remote_hangup(call_id)
    states.append((await client.get(path)).json()["status"])
    world.service.finish(recording_id)
    states.append((await client.get(path)).json()["status"])
    assert states == ["starting", "stopping", "available"]


@pytest.mark.parametrize("body", [{"format": "wav"}, {"duration": 0}, {"duration": 10**9}])
async def test_24_no_recording_is_asked_to_be_longer_than_a_day(
    world: World, client: httpx2.AsyncClient, body: dict[str, object]
) -> None:
    answer = await start(client, world.service.call(world.account), **body)
    assert world.service.specs[answer.json()["recording_id"]].max_s == 86400


async def test_25_format_is_one_mixed_8_khz_wav(world: World, client: httpx2.AsyncClient) -> None:
    answer = await start(client, world.service.call(world.account))
    spec = world.service.specs[answer.json()["recording_id"]]
    assert (spec.format, spec.rate, spec.channels, spec.heard) == ("wav", 8000, 1, "both")


async def test_26_after_retention_it_is_gone(world: World, client: httpx2.AsyncClient) -> None:
    recording_id = world.service.recording(world.account)
    world.service.expire(recording_id)
    assert (await client.get(f"/v1.0/recordings/{recording_id}/file")).status_code == 404
    assert (await client.get(f"/v1.0/recordings/{recording_id}")).status_code == 404


async def test_27_errors_have_the_envelope_and_the_request_id(client: httpx2.AsyncClient) -> None:
    unknown = "6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11"
    answer = await client.get(f"/v1.0/calls/{unknown}", headers={"X-Request-Id": "my-own_ID-1"})
    assert answer.json() == {
        "error": {
            "status": "NOT_FOUND", "reason": "CALL_NOT_FOUND", "message": f"no call has the id {unknown}", "request_id": "my-own_ID-1"
        }
    }  # fmt: skip
    assert answer.headers["x-request-id"] == "my-own_ID-1"
    for bad in ("", "x" * 65, "white space", "semi;colon", "ünïcode"):
        made = (await client.get("/ping", headers={"X-Request-Id": bad.encode()})).headers["x-request-id"]
        assert re.fullmatch(r"req_[A-Z2-7]{26}", made)


@pytest.mark.parametrize("kind", ["query token", "query accesskey", "bearer", "cookie token", "cookie accesskey"])
async def test_28_each_place_of_a_credential_works(world: World, kind: str) -> None:
    place, _, name = kind.partition(" ")
    async with world.client("") as anonymous:
        params = {name: world.secret} if place == "query" else {}
        headers = {"bearer": {"Authorization": f"Bearer {world.secret}"}, "cookie": {"Cookie": f"{name}={world.secret}"}}.get(place, {})
        assert (await anonymous.get("/v1.0/recordings", params=params, headers=headers)).status_code == 200
        assert reason(await anonymous.get("/v1.0/recordings")) == (401, "AUTHENTICATION_REQUIRED")
        assert reason(await anonymous.get("/v1.0/recordings?token=vb_wrong")) == (401, "INVALID_CREDENTIALS")


async def test_29_permission(world: World) -> None:
    async with world.client(world.tokens.issue(world.account)) as agent:
        answer = await agent.get("/v1.0/recordings")
    assert reason(answer) == (403, "PERMISSION_DENIED")
    assert answer.json()["error"]["status"] == "PERMISSION_DENIED"


async def test_30_tenancy(world: World, client: httpx2.AsyncClient) -> None:
    foreign_call, mine = world.service.call(world.other_account), world.service.call(world.account)
    foreign = world.service.recording(world.other_account)
    for path in (f"calls/{foreign_call}", f"recordings/{foreign}", f"recordings/{foreign}/file", f"recordings/{foreign}/timeline"):
        assert reason(await client.get(f"/v1.0/{path}")) == (403, "PERMISSION_DENIED")
    assert reason(await client.delete(f"/v1.0/recordings/{foreign}")) == (403, "PERMISSION_DENIED")
    assert reason(await start(client, foreign_call)) == (403, "PERMISSION_DENIED")
    assert [item["id"] for item in (await client.get("/v1.0/calls")).json()["result"]] == [mine]
    assert (await client.get("/v1.0/recordings")).json()["result"] == []
    async with world.client(world.tokens.issue(world.account, *ALL_SCOPES)) as administrator:
        assert len((await administrator.get("/v1.0/calls")).json()["result"]) == 2
