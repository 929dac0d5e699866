"""KAZOO's callflows: the sample flows as written, the tree's rules, each module, and documents that are wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from beside import page
from kazoo_samples import CALLER, PER_USER, START, STOP
from tapeline import flow
from tapeline.core.recordspec import Delivery, SilenceRule
from tapeline.flow.dialects.kazoo.modules import MODULES

VARIABLES = {"kazoo.dollar": "$", "kazoo.account_id": "acc", "kazoo.user_id": "u1", "kazoo.box_id": "b1", "kazoo.dialled": "2002"}
ENDED = {
    flow.StartRecording: lambda command: (
        flow.RecordingEnded(command.token, "key") if command.wait else flow.RecordingStarted(command.token, "r", {})
    )
}


def action(module: str, data: dict[str, Any] | None = None, **children: Any) -> dict[str, Any]:
    return {"module": module, "data": data or {}, "children": children}


def say(text: str) -> dict[str, Any]:
    return action("tts", {"text": text})


def dialled(answered: bool, *causes: str) -> dict[type, Any]:
    return {flow.Dial: lambda command: flow.DialEnded(command.token, answered, causes)}


def warnings(document: Any) -> list[str]:
    return [found.message for found in flow.compile(document).warnings]


# --- the sample flows


def test_the_sample_that_starts_a_recording(phone):
    call = phone(START, variables=VARIABLES).start()
    spec = call.last(flow.StartRecording).spec
    assert (spec.heard, spec.channels, spec.format, spec.max_s, spec.exclusive) == ("both", 2, "mp3", 1200.0, False)
    assert spec.deliver == (Delivery("http://your.server.com/recordings", "PUT", naming="kazoo"),)
    assert call.names == ["StartRecording", "Hangup"]  # no child: the call is over
    assert warnings(START) == []


def test_the_sample_that_stops_a_recording(phone):
    call = phone(STOP).start()
    assert call.issued[0] == flow.StopRecording("newest")


def test_the_sample_per_user_when_the_user_answers_ends_after_the_conversation(phone):
    call = phone(PER_USER, variables=VARIABLES, replies=dialled(True)).start()
    assert call.names == ["StartRecording", "Dial", "Hangup"]
    assert call.last(flow.StartRecording).spec.deliver[0].url == "http://my.recording.server/acc/u1"
    dial = call.last(flow.Dial)
    assert (dial.destinations[0].kind, dial.destinations[0].target, dial.timeout_s) == ("user", "u1", 20.0)


def test_the_sample_per_user_when_nobody_answers_goes_to_the_box(phone):
    call = phone(PER_USER, variables=VARIABLES, replies=dialled(False, "NO_ANSWER") | ENDED).start()
    assert call.names == [
        "StartRecording", "Dial", "StopRecording", "Mailbox", "LookUp", "Answer", "Say", "Tone", "StartRecording", "Hangup"
    ]  # fmt: skip
    message = call.last(flow.StartRecording).spec
    assert (message.heard, message.origin, message.blocking, message.custom["voicemail_box"]) == ("caller", "voicemail", True, "b1")
    assert "these children are an action themselves" in warnings(PER_USER)


def test_the_sample_that_records_the_caller(phone):
    call = phone(CALLER, variables=VARIABLES, replies=ENDED).start()
    assert call.names == ["Answer", "Say", "StartRecording", "Hangup"]
    assert call.said == ["Please leave your message after the beep"]
    spec = call.last(flow.StartRecording).spec
    assert (spec.heard, spec.channels, spec.blocking, spec.max_s) == ("caller", 1, True, 360.0)
    assert spec.deliver[0].url == "http://my.recording.server/voicemail/acc/b1"
    assert warnings(CALLER) == ["KAZOO has no callflow module `say`"]


@pytest.mark.parametrize("seed", ["000_32d5e9cda8c7e5a5.txt", "001_d820d287c8332c87.txt"])
def test_every_object_in_the_documents_that_asked_for_this_compiles_as_written(seed):
    text, found, at = page(f"seeds/{seed}"), 0, 0
    while (at := text.find('{\n    "module"', at)) >= 0:
        document, end = json.JSONDecoder().raw_decode(text[at:])
        assert flow.compile(document).program is not None
        at += end
        found += 1
    assert found == 4


# --- the tree


def test_a_child_by_cause_by_code_and_the_other(phone):
    def user(*causes: str) -> list[str]:
        children = {"USER_BUSY": say("busy"), "sip:480": say("away"), "_": say("none")}
        return phone(action("user", {"id": "x"}, **children), replies=dialled(False, *causes)).start().said

    assert user("BUSY", "sip:486") == ["busy"]
    assert user("NO_ANSWER", "sip:480") == ["away"]
    assert user("REJECTED", "sip:603") == ["none"]


def test_resources_goes_on_only_where_a_child_is_named_for_the_cause(phone):
    document = action("resources", {}, _=say("no"), NO_ANSWER=say("yes"))
    assert phone(document, replies=dialled(False, "BUSY")).start().said == []
    assert phone(document, replies=dialled(False, "NO_ANSWER")).start().said == ["yes"]


def test_an_unknown_module_and_a_skipped_one_go_on_to_their_child(phone):
    document = action("acdc_member", {"id": "q"}, _=action("tts", {"text": "left out", "skip_module": "true"}, _=say("on")))
    assert phone(document).start().said == ["on"]
    assert warnings(document) == ["the module 'acdc_member' is not known"]


def test_an_empty_child_ends_the_flow(phone):
    call = phone({"module": "answer", "data": {}, "children": {"_": {}}}).start()
    assert call.names == ["Answer", "Hangup"]


def test_a_document_with_numbers_and_patterns_runs_its_flow(phone):
    document = {
        "_id": "x", "name": "sales", "numbers": ["2002"], "patterns": ["^9.*"], "featurecode": {"name": "a", "number": "1"},
        "flow": action("record_call", {"action": "start"}),
    }  # fmt: skip
    spec = phone(document, variables=VARIABLES).start().last(flow.StartRecording).spec
    assert (spec.label, spec.max_s, spec.rate) == ("sales", 3600.0, 0)
    assert flow.compile(document).warnings == ()


def test_a_callflow_comes_back_and_a_pivot_does_not(phone):
    other = say("other")
    loaded = {flow.LoadFlow: lambda command: flow.FlowLoaded(command.token, other)}
    assert phone(action("callflow", {"id": "x"}, _=say("after")), replies=loaded).start().said == ["other", "after"]
    fetched = {flow.Fetch: lambda command: flow.Fetched(command.token, 200, json.dumps(other).encode())}
    pivot = action("pivot", {"voice_url": "http://x/y"}, _=say("failed"))
    call = phone(pivot, replies=fetched).start()
    assert call.said == ["other"]
    assert "Call-ID=" in call.last(flow.Fetch).url
    broken = {flow.Fetch: lambda command: flow.Fetched(command.token, 500)}
    assert phone(pivot, replies=broken).start().said == ["failed"]


def test_a_dollar_is_just_a_dollar(phone):
    assert phone(action("tts", {"text": "that is ${x} $5"}), variables=VARIABLES).start().said == ["that is ${x} $5"]


def test_deep_trees_compile_and_run(phone):
    document: dict[str, Any] = action("sleep", {"duration": 0})
    for _ in range(150):
        document = action("sleep", {"duration": 0}, _=document)
    assert phone(document).start().run.finished


# --- modules


def menu(**children: Any) -> dict[str, Any]:
    return action("menu", {"text": "choose", "retries": 2, "timeout": 3000}, **children)


def test_a_menu_takes_the_child_of_the_digits_and_asks_again_for_others(phone):
    document = menu(**{"1": say("one"), "_": say("none")})
    call = phone(document).start()
    call.press("1")
    call.wait(2)
    assert call.said == ["choose", "one"]
    call = phone(document).start()
    call.press("7")
    call.wait(2)
    call.press("1")
    call.wait(2)
    assert call.said == ["choose", "choose", "one"]


def test_a_menu_without_input_asks_again_and_gives_up(phone):
    call = phone(menu(max_retries=say("bye"))).start()
    call.wait(6)
    assert call.said == ["choose", "choose", "bye"]
    call = phone(menu(timeout=say("slow"))).start()
    call.wait(3)
    assert call.said == ["choose", "slow"]


def test_collected_digits_are_kept_by_name_without_the_terminator(phone):
    document = action("collect_dtmf", {"max_digits": 8, "collection_name": "pin"}, _=action("sleep", {"duration": 9}))
    call = phone(document).start()
    call.press("123#")
    assert call.run.variables.get("kazoo.collection.pin") == "123"


def test_a_ring_group_rings_as_often_as_it_says(phone):
    ends = [{"endpoint_type": "user", "id": "a"}, {"endpoint_type": "device", "id": "b"}, "c"]
    document = action("ring_group", {"endpoints": ends, "repeats": 3, "strategy": "single", "timeout": 7}, _=say("none"))
    call = phone(document, replies=dialled(False, "NO_ANSWER")).start()
    assert call.names == ["Dial", "Dial", "Dial", "Answer", "Say", "Hangup"]
    dial = call.last(flow.Dial)
    assert [(party.kind, party.target) for party in dial.destinations] == [("user", "a"), ("device", "b"), ("endpoint", "c")]
    assert (dial.timeout_s, dial.options["strategy"]) == (7.0, "one_by_one")
    call = phone(document, replies=dialled(True)).start()
    assert call.names == ["Dial", "Hangup"]


def test_response_refuses_with_its_code(phone):
    refused = phone(action("response", {"code": "603", "message": "go away"})).start()
    assert refused.last(flow.Hangup) == flow.Hangup("normal", "", 603, "go away")
    assert phone(action("response")).start().last(flow.Hangup).status == 486


def test_variables_branch_by_their_value(phone):
    branch = action("branch_variable", {"variable": "lang"}, fr=say("bonjour"), _=say("hello"))
    french = action("set_variables", {"custom_application_vars": {"lang": "fr"}}, _=branch)
    assert phone(french).start().said == ["bonjour"]
    assert phone(branch).start().said == ["hello"]


def test_the_language_and_the_caller_id_are_kept_for_what_follows(phone):
    document = action("language", {"language": "fr-FR"}, _=say("x"))
    assert phone(document, variables={"kazoo.language": "en-US"}).start().last(flow.Say).language == "fr-FR"
    prepend = action("prepend_cid", {"caller_id_name_prefix": "Sales "}, _=action("sleep", {"duration": 9}))
    call = phone(prepend, variables={"kazoo.caller_id_name": "Ann"}).start()
    assert call.run.variables.get("kazoo.caller_id_name") == "Sales Ann"


def spec_of(**data: Any) -> Any:
    program = flow.compile(action("record_call", {"action": "start"} | data)).program
    assert program is not None
    return program.steps["1"].op.spec


def test_every_field_of_record_call_does_what_its_row_says():
    assert spec_of(format="wav").format == "wav" and spec_of(format="flac").format == "mp3" and spec_of().format == "mp3"
    assert spec_of(label="sales").label == "sales"
    named = spec_of(media_id="m1", media_name="../etc/x.mp3").custom
    assert (named["media_id"], named["media_name"], named["dialect"]) == ("m1", "../etc/x.mp3", "kazoo")
    assert spec_of(url="https://h/x", method="post").deliver == (Delivery("https://h/x", "POST", naming="kazoo"),)
    assert spec_of(url="ftp://h/x").deliver[0].url == "ftp://h/x" and spec_of(url="").deliver == ()
    assert spec_of(record_min_sec=5).min_s == 5.0
    assert (spec_of().begin, spec_of(record_on_answer=True).begin, spec_of(record_on_bridge="true").begin) == ("media", "answer", "bridge")
    assert spec_of(record_on_answer=True, record_on_bridge=True).begin == "answer"  # which comes first
    assert spec_of(record_sample_rate=16000).rate == 16000 and spec_of(record_sample_rate=12345).rate == 0
    assert spec_of().follow_transfer and not spec_of(should_follow_transfer=False).follow_transfer
    assert spec_of(time_limit=1200).max_s == 1200.0 and spec_of(time_limit=1).max_s == 5.0 and spec_of(time_limit=99999).max_s == 10800.0
    assert spec_of(silence_final_timeout=3000).silence is None
    assert spec_of(silence_detection=True).silence == SilenceRule(200, 0.0, 5.0)
    detected = spec_of(silence_detection=True, silence_final_timeout=3000, silence_initial_timeout=8, silence_threshold=400)
    assert detected.silence == SilenceRule(400, 8.0, 3.0)
    assert spec_of(origin="anything").origin == "flow"


def test_a_recording_that_could_be_kept_nowhere_is_not_made(phone):
    call = phone(action("record_call", {"action": "start", "url": "gopher://x/y"}, _=say("on"))).start()
    assert call.names == ["Answer", "Say", "Hangup"]
    assert warnings(action("record_caller", {"url": "file:///etc/passwd"})) == [
        "recordings are sent to http, https, ftp and ftps addresses only"
    ]


# --- what is wrong


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"flow": 1}, "an action must be an object"),
        ({"name": "x"}, None),
        ({"module": ""}, "an action needs a module"),
        ({"module": "x" * 65}, "an action needs a module"),
        ({"module": "answer", "children": []}, "children must be an object"),
        ({"module": "answer", "children": {"_": 5}}, "an action must be an object"),
        ({"module": "answer", "data": []}, "must be an object"),
        (action("pivot"), "a pivot needs a voice_url"),
        (action("ring_group"), "a ring_group needs endpoints"),
        (action("tts", {"text": {}}), "must be a string"),
    ],
)
def test_what_cannot_run_is_an_error_with_its_place(document, said):
    found = flow.compile(json.dumps(document))
    assert found.program is None and found.errors
    assert said is None or any(said in problem.message for problem in found.errors)
    assert all(problem.line for problem in found.errors)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_takes_empty_and_odd_data_without_a_crash(name):
    for data in ({}, {"id": 5}, {"url": "::"}, {"timeout": -1}, {"nonsense": [1]}, {"terminators": [["x"]]}, {"endpoints": [1, None]}):
        found = flow.compile(action(name, data))
        assert found.program is not None or found.errors
