"""What KAZOO's modules ask for beyond the samples: options of those that call somebody, transfers, menus, parking, webhooks."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tapeline import flow

VARIABLES = {"kazoo.dollar": "$", "kazoo.caller_id_number": "1001", "kazoo.caller_id_name": "Ann", "kazoo.call_id": "c1"}


def action(module: str, data: dict[str, Any] | None = None, **children: Any) -> dict[str, Any]:
    return {"module": module, "data": data or {}, "children": children}


def say(text: str) -> dict[str, Any]:
    return action("tts", {"text": text})


def dialled(answered: bool, *causes: str, reason: str = "failed", status: int = 0) -> dict[type, Any]:
    return {flow.Dial: lambda command: flow.DialEnded(command.token, answered, causes, reason, status)}


def dial_of(phone: Any, module: str, **data: Any) -> Any:
    return phone(action(module, data), variables=VARIABLES, replies=dialled(True)).start().last(flow.Dial)


# --- calling somebody


def test_user_lets_early_media_be_heard_and_does_not_ring_the_caller(phone: Any) -> None:
    dial = dial_of(phone, "user", id="a", delay=3)
    assert (dial.early_media, dial.timeout_s, dial.anonymous) == (True, 23.0, "auto")
    assert dial.options["not_self"] and dial.destinations[0].delay_s == 3.0
    assert "not_self" not in dial_of(phone, "user", id="a", can_call_self=True).options
    assert dial_of(phone, "device", id="a", suppress_clid=True).anonymous == "yes"


def test_user_sets_headers_that_it_may_set_and_no_others(phone: Any) -> None:
    given = {"X-Team": "sales", "From": "<sip:x@y>", "X-Bad": "a\r\nVia: b", "Alert-Info": "ring2", "X-N": 5}
    document = action("user", {"id": "a", "custom_sip_headers": given, "ringtones": {"internal": "soft"}})
    dial = phone(document, replies=dialled(True)).start().last(flow.Dial)
    assert dial.options["headers"] == (("X-Team", "sales"), ("Alert-Info", "ring2"), ("Alert-Info", "soft"))
    assert len(flow.compile(document).warnings) == 3
    nested = dial_of(phone, "user", id="a", custom_sip_headers={"out": {"X-Out": "1"}, "in": {"X-In": "1"}})
    assert nested.options["headers"] == (("X-Out", "1"),)


def test_ring_group_rings_each_in_its_own_time_and_order(phone: Any) -> None:
    ends = [{"endpoint_type": "user", "id": "a", "delay": 2, "timeout": 9, "weight": 7}, {"endpoint_type": "device", "id": "b"}]
    dial = dial_of(phone, "ring_group", endpoints=ends)
    assert [(party.delay_s, party.limit_s, party.weight) for party in dial.destinations] == [(2.0, 9.0, 7), (0.0, 0.0, 1)]
    assert (dial.options["strategy"], dial.options["redirects"]) == ("all", False)
    single = dial_of(phone, "ring_group", endpoints=ends, strategy="single", timeout=40)
    assert [party.limit_s for party in single.destinations] == [9.0, 20.0]
    assert (single.options["strategy"], single.options["each_s"], single.timeout_s) == ("one_by_one", 40.0, 40.0)
    chance = dial_of(phone, "ring_group", endpoints=ends, strategy="weighted_random", ignore_forward=False, fail_on_single_reject=True)
    assert (chance.options["strategy"], chance.options["redirects"], chance.options["single_reject"]) == ("by_weight", True, True)


def test_what_the_caller_hears_while_it_rings(phone: Any) -> None:
    ends = [{"endpoint_type": "user", "id": "a"}]
    assert dial_of(phone, "ring_group", endpoints=ends, ringback="tone:440/500").options["ringback"] == "tone:440/500"
    assert not dial_of(phone, "resources", ignore_early_media=True).early_media and dial_of(phone, "offnet").early_media


def test_resources_without_a_child_for_the_cause_refuses_for_the_same(phone: Any) -> None:
    busy = dialled(False, "BUSY", "sip:486", reason="busy", status=486)
    assert phone(action("resources", {}, _=say("no")), replies=busy).start().last(flow.Hangup) == flow.Hangup("busy", status=486)
    assert phone(action("resources", {}, USER_BUSY=say("yes")), replies=busy).start().said == ["yes"]
    assert phone(action("resources", {}, **{"sip:486": say("yes")}), replies=busy).start().said == ["yes"]
    assert phone(action("resources"), replies=dialled(True)).start().last(flow.Hangup).cause == "normal"


def test_set_cid_and_prepend_cid_show_on_the_calls_that_follow(phone: Any) -> None:
    user = action("user", {"id": "a"})
    assert dial_of(phone, "user", id="a").source.target == ""
    set_cid = action("set_cid", {"caller_id_number": "+4930"}, _=user)
    shown = phone(set_cid, variables=VARIABLES, replies=dialled(True)).start().last(flow.Dial)
    assert (shown.source.target, shown.source.name) == ("+4930", "Ann")
    prepended = action("prepend_cid", {"caller_id_name_prefix": "Sales "}, _=user)
    dial = phone(prepended, variables=VARIABLES, replies=dialled(True)).start().last(flow.Dial)
    assert (dial.source.target, dial.source.name) == ("1001", "Sales Ann")
    reset = action("set_cid", {"caller_id_number": "5"}, _=action("prepend_cid", {"action": "reset"}, _=user))
    assert phone(reset, variables=VARIABLES, replies=dialled(True)).start().last(flow.Dial).source.target == ""


# --- another flow


def found(document: Any) -> dict[type, Any]:
    return {flow.LoadFlow: lambda command: flow.FlowLoaded(command.token, document, "" if document else "none")}


def test_transfer_goes_into_the_flow_of_its_target_for_good(phone: Any) -> None:
    program = flow.compile(say("there")).program
    call = phone(action("transfer", {"target": "3003", "transfer_type": "blind"}, _=say("back")), replies=found(program)).start()
    assert call.said == ["there"] and (call.last(flow.LoadFlow).flow_id, call.last(flow.LoadFlow).number) == ("", "3003")


def test_transfer_to_a_number_without_a_flow_calls_it(phone: Any) -> None:
    call = phone(action("transfer", {"target": "+4930"}, _=say("back")), replies=found(None) | dialled(True)).start()
    assert (call.last(flow.Dial).destinations[0].target, call.said) == ("+4930", [])
    busy = phone(action("transfer", {"target": "x"}), replies=found(None) | dialled(False, "BUSY", reason="busy", status=486)).start()
    assert busy.last(flow.Hangup).cause == "busy"


def menu(**data: Any) -> dict[str, Any]:
    return action("menu", {"text": "choose", "retries": 2, "timeout": 3000} | data, **{"1": say("one"), "_": say("none")})


def test_a_menu_that_hunts_goes_to_the_number_that_was_pressed(phone: Any) -> None:
    program = flow.compile(say("there")).program
    call = phone(menu(hunt=True), replies=found(program)).start()
    call.press("2002")
    call.wait(3)
    assert call.said == ["choose", "there", "none"] and call.last(flow.LoadFlow).number == "2002"
    lost = phone(menu(hunt=True), replies=found(None)).start()
    lost.press("2002")
    lost.wait(2)
    assert lost.said == ["choose", "choose"]


def test_a_menu_plays_its_prompts_for_what_is_wrong_and_for_the_end(phone: Any) -> None:
    media = {"invalid_media": "wrong.wav", "exit_media": "bye.wav"}
    call = phone(menu(media=media)).start()
    call.press("7")
    call.wait(3)
    call.wait(4)
    assert [command.urls for command in call.issued if isinstance(command, flow.Play)] == [("wrong.wav",), ("bye.wav",)]
    assert call.said == ["choose", "choose", "none"]


def test_branch_bnumber_takes_the_child_of_what_the_number_s_pattern_captured(phone: Any) -> None:
    document = action("branch_bnumber", {}, **{"42": say("yes"), "_": say("no")})
    assert phone(document, variables={"kazoo.capture_group": "42"}).start().said == ["yes"]
    assert phone(document).start().said == ["no"]


def test_conference_greets_first(phone: Any) -> None:
    call = phone(action("conference", {"id": "x", "welcome_prompt": {"media_id": "hello.wav"}})).start()
    assert call.names == ["Answer", "Play", "JoinRoom"]
    quiet = phone(action("conference", {"id": "x", "welcome_prompt": {"play": False, "media_id": "hello.wav"}})).start()
    assert quiet.names == ["Answer", "JoinRoom"]


# --- the call itself


@pytest.mark.parametrize(("given", "done"), [("park", "park"), ("direct_park", "park"), ("retrieve", "retrieve"), ("auto", "auto")])
def test_park_waits_in_its_slot_or_takes_who_waits_there(phone: Any, given: str, done: str) -> None:
    document = action("park", {"slot": "7", "action": given}, _=say("nobody"))
    for result, said in (("answered", []), ("empty", ["nobody"])):
        replies = {flow.Park: lambda command, result=result: flow.Unparked(command.token, result)}
        call = phone(document, replies=replies).start()
        assert (call.last(flow.Park).slot, call.last(flow.Park).action, call.said) == ("7", done, said)


def test_webhook_tells_of_the_call_and_of_what_is_its_own(phone: Any) -> None:
    nasty = VARIABLES | {"kazoo.caller_id_name": 'Ann "x", {"'}
    posted = phone(action("webhook", {"uri": "http://h/x", "custom_data": {"a": 1}, "retries": 3}), variables=nasty).start().last(flow.Send)
    body = json.loads(posted.body)
    assert (posted.method, posted.retries, body["call_id"], body["custom_data"]) == ("POST", 3, "c1", {"a": 1})
    assert body["caller_id_name"] == 'Ann "x", {"'
    asked = phone(action("webhook", {"uri": "http://h/x?y=1", "http_verb": "get"}), variables=VARIABLES).start().last(flow.Send)
    query = parse_qs(urlsplit(asked.url).query)
    assert (asked.method, asked.body, query["y"], query["call_id"], query["custom_data"]) == ("GET", b"", ["1"], ["c1"], ["{}"])


def test_response_plays_its_media_before_it_refuses(phone: Any) -> None:
    call = phone(action("response", {"code": 503, "media": "sorry.wav"})).start()
    assert call.names == ["Play", "Hangup"] and call.last(flow.Hangup).status == 503


def test_a_voicemail_box_that_nobody_knows_is_passed_over(phone: Any) -> None:
    document = action("voicemail", {"id": "{VMBOX_ID}"}, _=say("on"))
    call = phone(document, variables={"kazoo.box_id": ""}).start()
    assert call.said == ["on"] and call.messages[0] == "action passed over"


def test_a_box_greets_with_its_own_prompt(phone: Any) -> None:
    call = phone(action("voicemail", {"id": "b", "media": {"unavailable": "me.wav"}})).start()
    assert call.names[2:6] == ["Answer", "Play", "Tone", "StartRecording"]


# --- groups


def test_group_rings_the_group_that_is_stored_or_whom_the_data_name(phone: Any) -> None:
    dial = dial_of(phone, "group", id="g1", timeout=15)
    assert [(party.kind, party.target) for party in dial.destinations] == [("group", "g1")] and dial.timeout_s == 15.0
    single = dial_of(phone, "group", id="g1", strategy="single", ringback="tone:440/500", fail_on_single_reject=True)
    assert single.options["strategy"] == "one_by_one" and single.destinations[0].limit_s == 20.0 and single.options["single_reject"]
    named = dial_of(phone, "group", id="g1", endpoints=["a", "b"])
    assert [(party.kind, party.target) for party in named.destinations] == [("endpoint", "a"), ("endpoint", "b")]
    nobody = dialled(False, "NOT_FOUND", "sip:404", status=404)
    assert phone(action("group", {"id": "gone"}, _=say("next")), replies=nobody).start().said == ["next"]
    assert phone(action("group", {}, _=say("next"))).start().said == ["next"]


def test_page_group_calls_each_by_itself_into_a_conference_of_the_callers(phone: Any) -> None:
    ends = [{"endpoint_type": "group", "id": "g"}, {"endpoint_type": "device", "id": "d"}]
    for audio, mute in (("one-way", True), ("two-way", False), (None, True)):
        call = phone(action("page_group", {"endpoints": ends, "audio": audio}, _=say("no")), variables={"tapeline.call.id": "c7"}).start()
        placed, joined = call.last(flow.PlaceCall), call.last(flow.JoinRoom)
        assert [(party.kind, party.target) for party in placed.destinations] == [("group", "g"), ("device", "d")]
        assert placed.chained and placed.not_self and placed.timeout_s == 5.0 and ("Answer-Mode", "Auto") in placed.headers
        member = placed.program.steps["1"].op
        assert (member.room, member.spec.mute) == (joined.room, mute) and joined.spec.end_on_exit and not joined.spec.mute
        call.tell(flow.RoomLeft(joined.token, "normal"))
        assert call.run.finished and call.said == []
    assert phone(action("page_group", {"endpoints": []}, _=say("next"))).start().said == ["next"]


# --- who calls


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"regex": "^10"}, "match"),
        ({"regex": "^20"}, "nomatch"),
        ({}, "match"),
        ({"regex": "("}, "nomatch"),
        ({"use_absolute_mode": True}, "ann"),
        ({"use_absolute_mode": True, "regex": "^20"}, "nomatch"),
    ],
)
def test_check_cid_goes_by_the_callers_number(phone: Any, data: dict[str, Any], said: str) -> None:
    children = {"match": say("match"), "nomatch": say("nomatch"), "1001": say("ann")}
    assert phone(action("check_cid", data, **children), variables=VARIABLES).start().said == [said]


def test_check_cid_without_a_child_goes_on_and_shows_somebody_else_where_all_is_named(phone: Any) -> None:
    whose = {"caller_id": {"external": {"name": "Joe", "number": "+4977"}}, "user_id": "u1"}
    user = action("user", {"id": "a"})
    dial = phone(action("check_cid", whose, _=user), variables=VARIABLES, replies=dialled(True)).start().last(flow.Dial)
    assert (dial.source.target, dial.source.name) == ("+4977", "Joe")
    plain = phone(action("check_cid", {**whose, "user_id": ""}, _=user), variables=VARIABLES, replies=dialled(True)).start().last(flow.Dial)
    assert plain.source.target == ""


def test_dynamic_cid_shows_a_fixed_number_on_what_is_dialled_behind_the_code(phone: Any) -> None:
    data = {"action": "static", "caller_id": {"name": "Shop", "number": "+4977"}}
    document = action("dynamic_cid", data, _=action("resources"))
    behind = VARIABLES | {"kazoo.capture_group": "030123", "kazoo.dialled": "*2030123"}
    dial = phone(document, variables=behind, replies=dialled(True)).start().last(flow.Dial)
    assert (dial.destinations[0].target, dial.source.target, dial.source.name) == ("030123", "+4977", "Shop")
    alone = phone(document, variables=VARIABLES | {"kazoo.dialled": "2001"}, replies=dialled(True)).start().last(flow.Dial)
    assert alone.destinations[0].target == "2001"


@pytest.mark.parametrize(
    ("data", "keys", "shown"),
    [
        ({"min_digits": 3, "max_digits": 4}, "7777", "7777"),
        ({"min_digits": 3}, "777#", "777"),
        ({"min_digits": 3}, "77#", ""),
        ({"min_digits": 3, "whitelist_regex": "^5"}, "777#", ""),
        ({"min_digits": 3, "whitelist_regex": "("}, "777#", ""),
        ({}, "0301234567", "0301234567"),
        ({"min_digits": 3, "interdigit_timeout": 2}, "777", "777"),
        ({}, "", ""),
    ],
)
def test_dynamic_cid_shows_what_the_caller_types(phone: Any, data: dict[str, Any], keys: str, shown: str) -> None:
    document = action("dynamic_cid", {"action": "manual", "media_id": "ask.wav", **data}, _=action("user", {"id": "a"}))
    call = phone(document, variables=VARIABLES, replies=dialled(True)).start()
    call.press(keys)
    call.wait(8)
    assert call.last(flow.Play).urls == ("ask.wav",) and call.last(flow.Dial).source.target == shown
    assert call.said == ([] if shown else ["This number cannot be used."])


def test_dynamic_cid_of_a_list_is_passed_over_with_a_warning(phone: Any) -> None:
    document = action("dynamic_cid", {"action": "list", "id": "l1"}, _=say("next"))
    assert phone(document).start().said == ["next"] and flow.compile(document).warnings


def test_set_makes_each_field_a_variable(phone: Any) -> None:
    call = phone(action("set", {"team": "sales", "level": 3}, _=action("branch_variable", {"variable": "team"}, sales=say("yes")))).start()
    assert call.said == ["yes"] and not flow.compile(action("set", {"team": "sales"})).warnings


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"a": {"number": "1001"}}, "match"),
        ({"a": {"number": "+1001"}}, "match"),
        ({"a": {"number": "100"}}, "nomatch"),
        ({"a": {"prefix": "10"}}, "match"),
        ({"a": {"prefix": "20"}, "b": {"pattern": "01$"}}, "match"),
        ({"a": {"regexp": "^2"}, "b": {"pattern": "("}, "c": {"number": 1001}, "d": 5}, "nomatch"),
        (["1001"], "match"),
        ({}, "nomatch"),
        (7, "nomatch"),
        (None, "nomatch"),
    ],
)
def test_cidlistmatch_goes_by_whether_the_caller_is_in_the_list(phone: Any, entries: Any, said: str) -> None:
    replies = {flow.LookUp: lambda command: flow.LookedUp(command.token, {"entries": entries} if command.document == "list" else None)}
    document = action("cidlistmatch", {"id": "l1"}, match=say("match"), nomatch=say("nomatch"))
    assert phone(document, variables=VARIABLES, replies=replies).start().said == [said]
    assert phone(action("cidlistmatch", {"id": "l1"}, _=say("next")), variables=VARIABLES, replies=replies).start().said == ["next"]
