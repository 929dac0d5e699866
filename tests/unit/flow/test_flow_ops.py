"""Each operation by itself, through the VoIPBIN action that compiles to it or by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tapeline import flow
from tapeline.core.recordspec import RecordSpec, SilenceRule
from tapeline.flow.ops.connecting import Dial
from tapeline.flow.ops.deciding import Branch, Compare, CompareTime
from tapeline.flow.ops.fetching import FetchProgram
from tapeline.flow.ops.keys import Gather, SendDigits
from tapeline.flow.ops.sounding import ALL_KEYS, Echo, Play, Say
from tapeline.flow.ops.waiting import Sleep

SAYS_YES = ("talk", {"text": "yes"})


def op_of(action):
    """The operation that one action compiles to, and its problems."""
    found = flow.compile({"actions": [{"type": action[0], "option": action[1]}]})
    assert found.program is not None, [str(problem) for problem in found.problems]
    return next(iter(found.program.steps.values())).op, found.problems


# --- sound


def test_talk_async_does_not_wait(phone, actions):
    call = phone(actions(("talk", {"text": "a", "async": "true"}), ("talk", {"text": "b"})), open=[flow.Say], status="progressing").start()
    assert call.said == ["a", "b"]


@pytest.mark.parametrize(("handle", "said"), [("next", ["a", "b"]), ("", ["a"]), (None, ["a"])])
def test_talk_digits_handle(phone, actions, handle, said):
    document = actions(("talk", {"text": "a", "digits_handle": handle}), ("talk", {"text": "b"}))
    call = phone(document, open=[flow.Say]).start()
    call.press("5")
    assert call.said == said


def test_talk_fills_variables_into_text_and_language(phone, actions):
    call = phone(actions(("talk", {"text": "Hi ${name}", "language": "${lang}"})), variables={"name": "Ann", "lang": "sv-SE"}).start()
    assert (call.last(flow.Say).text, call.last(flow.Say).language) == ("Hi Ann", "sv-SE")


def test_say_loops_and_stops_at_an_error(phone):
    assert phone(flow.Program.chain(Say("x", loops=3))).start().said == ["x"] * 3
    call = phone(flow.Program.chain(Say("x", loops=0), Say("y")), open=[flow.Say]).start()
    for _ in range(5):
        call.tell(flow.PlayEnded(call.last(flow.Say).token))
    assert call.said == ["x"] * 6
    call.tell(flow.PlayEnded(call.last(flow.Say).token, error="no voice"))
    assert call.said[-1] == "y" and call.messages == ["could not be played"]


def test_play_in_order_without_answering(phone, actions):
    call = phone(actions(("play", {"stream_urls": ["http://a/1.wav", "${two}", ""]})), variables={"two": "http://a/2.wav"}).start()
    assert call.names == ["Play", "Hangup"] and call.last(flow.Play).urls == ("http://a/1.wav", "http://a/2.wav")


def test_play_nothing_goes_on(phone, actions):
    call = phone(actions(("play", {"stream_urls": ["${none}"]}), SAYS_YES)).start()
    assert call.said == ["yes"] and call.messages == ["nothing to play"]


def test_play_that_may_be_cut_and_that_runs_along(phone):
    call = phone(
        flow.Program.chain(Play(("u",), wait=False), Play(("v",), stop_keys="#", answers=True), Say("x")), open=[flow.Play]
    ).start()
    call.press("1")
    assert call.said == []
    call.press("#")
    assert call.said == ["x"] and call.names == ["Play", "Answer", "Play", "StopPlay", "Say", "Hangup"]


def test_beep_waits_for_its_end(phone, actions):
    call = phone(actions("beep", SAYS_YES), open=[flow.Tone]).start()
    assert call.last(flow.Tone).kind == "beep" and call.said == []
    call.tell(flow.PlayEnded(call.last(flow.Tone).token))
    assert call.said == ["yes"]


@pytest.mark.parametrize(("option", "seconds"), [({"duration": 2500}, 2.5), ({}, 180), ({"duration": -1}, 180), ({"duration": "1000"}, 1)])
@pytest.mark.parametrize("kind", ["echo", "stream_echo"])
def test_echo(phone, actions, kind, option, seconds):
    call = phone(actions((kind, option))).start()
    assert call.issued == [flow.Echo(True)]
    call.wait(seconds - 0.1)
    assert len(call.issued) == 1
    call.wait(0.2)
    assert call.issued[1:] == [flow.Echo(False), flow.Hangup()]


# --- waiting


@pytest.mark.parametrize(("duration", "seconds"), [(1500, 1.5), ("1500", 1.5), (0, 0), (None, 0), (-5, 0), (10**12, 86400)])
def test_sleep(duration, seconds):
    assert op_of(("sleep", {"duration": duration}))[0] == Sleep(seconds)


def test_sleep_is_not_ended_by_keys(phone, actions):
    call = phone(actions(("sleep", {"duration": 1500}), SAYS_YES)).start()
    call.press("1")
    call.wait(1.4)
    assert call.said == []
    call.wait(0.2)
    assert call.said == ["yes"]


# --- keys


@pytest.mark.parametrize(
    ("option", "keys", "kept", "goes_on"),
    [
        ({"length": 3, "duration": 5000}, "123", "123", True),
        ({"length": 3, "duration": 5000}, "12", "12", False),
        ({"key": "#*", "duration": 5000}, "12*", "12*", True),  # the ending key is kept
        ({"length": 9, "key": "#", "duration": 5000}, "#", "#", True),
        ({"duration": 5000}, "1234567", "1234567", False),  # without length there is no limit
        ({"length": 3}, "", "", True),  # without duration there is no waiting
    ],
)
def test_digits_receive(phone, actions, option, keys, kept, goes_on):
    call = phone(actions(("digits_receive", option), ("sleep", {"duration": 99999}), SAYS_YES)).start()
    call.press(keys)
    assert call.run.variables.get("voipbin.call.digits") == kept
    assert (call.run.current.label == "sleep") == goes_on
    call.wait(5.1)
    assert call.run.current.label == "sleep"
    assert call.run.variables.get("voipbin.call.digits") == kept


def test_digits_receive_stored_digits_satisfy_it(phone, actions):
    document = actions(("digits_receive", {"length": 1, "duration": 5000}), ("digits_receive", {"length": 1, "duration": 5000}), SAYS_YES)
    call = phone(document).start()
    call.press("1")
    assert call.said == ["yes"]


def test_gather_between_keys_moves_digits_and_drops_the_end_key(phone):
    chain = flow.Program.chain(Gather(end_keys="#", first_s=5, between_s=2, keep_end_key=False, into="pin", answers=True), Say("${pin}!"))
    call = phone(chain).start()
    assert call.names == ["Answer"]
    call.press("1")
    call.wait(1.5)
    call.press("2")
    call.wait(1.5)
    call.press("#")
    assert call.said == ["12!"] and call.run.variables.get(flow.DIGITS) == ""


def test_gather_gives_up_between_keys_and_keeps_what_came(phone):
    call = phone(flow.Program.chain(Gather(max_digits=4, first_s=5, between_s=2), Say("${voipbin.call.digits}"))).start()
    call.wait(4.9)
    call.press("7")
    call.wait(2.1)
    assert call.said == ["7"]


@pytest.mark.parametrize(
    ("option", "sent"),
    [
        ({"digits": "12#A"}, ("12#A", 100, 100)),
        ({"digits": "1", "duration": 500, "interval": "700"}, ("1", 500, 700)),
        ({"digits": "1x2", "duration": 5, "interval": 99999}, ("12", 100, 5000)),
        ({"digits": "1" * 150}, ("1" * 100, 100, 100)),
        ({"digits": "${pin}"}, ("77", 100, 100)),
    ],
)
def test_digits_send(phone, actions, option, sent):
    command = phone(actions(("digits_send", option)), variables={"pin": "77"}).start().last(flow.SendDigits)
    assert (command.digits, command.duration_ms, command.gap_ms) == sent


def test_digits_send_of_nothing_goes_on(phone, actions):
    call = phone(actions(("digits_send", {}), SAYS_YES)).start()
    assert call.said == ["yes"] and call.messages == ["no digits to send"]


# --- recording


@pytest.mark.parametrize(
    ("option", "fields"),
    [
        ({}, {}),
        ({"duration": 60}, {"max_s": 60.0}),
        ({"duration": "90000"}, {"max_s": 86400.0}),
        ({"duration": 0, "end_of_silence": 0, "end_of_key": "none"}, {}),
        ({"end_of_silence": "3"}, {"silence": SilenceRule(initial_s=3, final_s=3)}),
        ({"end_of_key": "#"}, {"end_keys": frozenset("#")}),
        ({"end_of_key": "any"}, {"end_keys": frozenset(ALL_KEYS)}),
        ({"end_of_key": "x"}, {}),
        ({"split": True, "rate": 16000}, {"channels": 2, "rate": 16000}),
        ({"rate": 44100}, {}),
        ({"rate": "own", "heard": "callee", "split": True}, {"rate": 0, "heard": "callee"}),
        ({"begin": "bridge", "should_follow_transfer": False}, {"begin": "bridge", "follow_transfer": False}),
        ({"on_end_flow_id": "00000000-0000-0000-0000-000000000000"}, {}),
        ({"label": "l", "wait": "true", "beep_start": "false"}, {"label": "l", "blocking": True}),
    ],
)
def test_recording_start_options(option, fields):
    assert op_of(("recording_start", option))[0].spec == RecordSpec(**({"origin": "flow"} | fields))


def test_recording_start_wait_holds_the_flow(phone, actions):
    call = phone(actions(("recording_start", {"wait": True}), SAYS_YES)).start()
    assert call.last(flow.StartRecording).wait and call.said == []
    call.tell(flow.RecordingEnded(call.last(flow.StartRecording).token, "silence"))
    assert call.said == ["yes"]


def test_recording_variables_are_renamed_to_the_systems_own(phone, actions):
    reply = {
        flow.StartRecording: lambda c: flow.RecordingStarted(
            c.token, "r1", {"voipbin.recording.recording_name": "n", "reference_type": "call"}
        )
    }
    call = phone(actions("recording_start", ("sleep", {"duration": 1})), replies=reply).start()
    get = call.run.variables.get
    found = (get("voipbin.recording.id"), get("voipbin.recording.recording_name"), get("voipbin.recording.reference_type"))
    assert found == ("r1", "n", "call")


# --- deciding


def decide(phone, actions, action, **more):
    """Whether a condition holds, in a document where `false` leads elsewhere."""
    action[1]["false_target_id"] = "no"
    return phone(actions(action, SAYS_YES, "stop", {"id": "no", "type": "stop"}), **more).start().said == ["yes"]


@pytest.mark.parametrize(
    ("option", "holds"),
    [
        ({"variable": "${a}", "condition": "==", "value_type": "string", "value_string": "5"}, True),
        ({"variable": "${a}", "condition": "!=", "value_string": "5"}, False),
        ({"variable": "a", "condition": "==", "value_string": "5"}, True),  # a bare name of a variable that exists
        ({"variable": "nobody", "condition": "==", "value_string": "nobody"}, True),  # else it is a value
        ({"variable": "${a}", "condition": "==", "value_string": "${b}"}, True),
        ({"variable": "${a}", "condition": ">", "value_type": "number", "value_number": 4.5}, True),
        ({"variable": "${a}", "condition": ">=", "value_type": "number", "value_number": "5"}, True),
        ({"variable": "${a}", "condition": "<", "value_type": "number", "value_number": 5}, False),
        ({"variable": "${a}", "condition": "<=", "value_type": "number", "value_number": 5}, True),
        ({"variable": "word", "condition": "==", "value_type": "number", "value_number": 0}, False),
        ({"variable": "${word}", "condition": "==", "value_type": "length", "value_length": 4}, True),
        ({"variable": "${none}", "condition": "==", "value_type": "length"}, True),
        ({}, True),  # nothing equals nothing
    ],
)
def test_condition_variable(phone, actions, option, holds):
    assert decide(phone, actions, ("condition_variable", dict(option)), variables={"a": "5", "b": "5", "word": "four"}) == holds


SATURDAY = datetime(2026, 11, 21, 9, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("option", "holds"),
    [
        ({"condition": ">=", "hour": 9, "minute": -1}, True),
        ({"condition": "<", "hour": 9, "minute": -1}, False),
        ({"condition": "==", "hour": 9, "minute": 30, "day": 21, "month": 11}, True),
        ({"condition": "==", "hour": 9, "minute": 30, "day": 0, "month": -1}, True),
        ({"condition": "==", "hour": 9}, False),  # an omitted minute counts as 0 and is compared
        ({"condition": ">=", "hour": -1, "minute": -1, "weekdays": [6]}, True),
        ({"condition": ">=", "hour": -1, "minute": -1, "weekdays": ["1", 2]}, False),
        ({"condition": ">=", "hour": "-1", "minute": -1, "weekdays": []}, True),
    ],
)
def test_condition_datetime(phone, actions, option, holds):
    assert decide(phone, actions, ("condition_datetime", dict(option)), wall=SATURDAY) == holds


def test_sunday_is_day_0(phone, actions):
    option = {"condition": "==", "hour": -1, "minute": -1, "weekdays": [0]}
    assert decide(phone, actions, ("condition_datetime", option), wall=SATURDAY + 86400)


@pytest.mark.parametrize(
    ("option", "holds"), [({"length": 2}, True), ({"length": 3}, False), ({"key": "#2"}, True), ({"key": "9"}, False), ({}, False)]
)
def test_condition_call_digits(phone, actions, option, holds):
    assert decide(phone, actions, ("condition_call_digits", dict(option)), variables={"voipbin.call.digits": "12"}) == holds


@pytest.mark.parametrize(("status", "holds"), [("ringing", True), ("progressing", False)])
def test_condition_call_status(phone, actions, status, holds):
    assert decide(phone, actions, ("condition_call_status", {"status": status})) == holds


def test_condition_without_a_false_target_goes_on(phone, actions):
    call = phone(actions(("condition_call_status", {"status": "x"}), SAYS_YES)).start()
    assert call.said == ["yes"]


@pytest.mark.parametrize(("value", "said"), [("1", "one"), ("", "empty"), ("9", "other")])
def test_branch_on_a_variable(phone, actions, value, said):
    targets = {"1": "one", "": "empty"}
    document = actions(
        ("variable_set", {"key": "pick", "value": value}),
        ("branch", {"variable": "pick", "target_ids": targets, "default_target_id": "other"}),
        *({"id": name, "type": "talk", "option": {"text": name}, "next_id": "end"} for name in ("one", "empty", "other")),
        {"id": "end", "type": "stop"},
    )
    call = phone(document).start()
    assert call.said == [said] and "pick" not in call.run.variables


def test_variable_set(phone, actions):
    document = actions(
        ("variable_set", {"key": "a", "value": "x${b}"}), ("variable_set", {"key": "a", "value": "${a}${a}"}), ("talk", {"text": "${a}"})
    )
    assert phone(document, variables={"b": "y"}).start().said == ["xyxy"]


def test_variable_set_in_a_full_store_goes_on(phone, actions):
    document = actions(*(("variable_set", {"key": f"k{n}", "value": "${big}"}) for n in range(70)), SAYS_YES)
    call = phone(document, variables={"big": "x" * 65_536}).start()
    assert call.said == ["yes"] and "no room for another variable" in call.messages


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sleep(-1),
        lambda: Echo(0),
        lambda: Say("x", loops=-1),
        lambda: Play((), loops=-1),
        lambda: Gather(max_digits=-1),
        lambda: Gather(first_s=-1),
        lambda: SendDigits("1", 0),
        lambda: Compare("a", "=~"),
        lambda: Compare("a", "==", 1.0, "text"),
        lambda: CompareTime("==", hour=24),
        lambda: CompareTime("==", weekdays=frozenset({7})),
        lambda: Dial(()),
    ],
)
def test_operations_refuse_values_out_of_range(make):
    with pytest.raises(ValueError):
        make()


# --- HTTP, other flows


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (flow.Fetched(1, 404, b"[]"), "a request for a document failed"),
        (flow.Fetched(1, 0, b"", "refused"), "a request for a document failed"),
        (flow.Fetched(1, 200, b" " * 1_048_577 + b"[]"), "the document that came is too large"),
        (flow.Fetched(1, 200, b""), "the document that came cannot run"),
        (flow.Fetched(1, 200, b'[{"type":"x"}]'), "the document that came cannot run"),
    ],
)
def test_fetch_that_fails_ends_the_flow(phone, actions, answer, why):
    call = phone(actions(("fetch", {"event_url": "http://x"}), SAYS_YES)).start()
    call.tell(answer)
    assert call.names == ["Fetch", "Hangup"] and call.messages == [why] and call.logs[0].level == "error"


def test_fetch_that_is_never_answered_ends_the_flow(phone, actions):
    call = phone(actions(("fetch", {"event_url": "http://x", "event_method": "get"}))).start()
    assert call.last(flow.Fetch).method == "GET"
    call.wait(60)
    assert call.messages == ["no answer to a request for a document"]


def test_fetch_of_an_empty_list_goes_on(phone, actions):
    call = phone(actions(("fetch", {"event_url": "http://x"}), SAYS_YES)).start()
    call.tell(flow.Fetched(1, 200, b"[]"))
    assert call.said == ["yes"]


def test_fetch_of_an_odd_document_says_so(phone, actions):
    call = phone(actions(("fetch", {"event_url": "http://x"}), SAYS_YES)).start()
    call.tell(flow.Fetched(1, 200, b'{"actions": [{"type": "beep", "colour": 1}]}'))
    assert call.said == ["yes"] and call.messages == ["the document that came is odd"]


@pytest.mark.parametrize(
    ("method", "url", "body", "kind"),
    [("POST", "http://x?a=1", b"From=%2B1+5&To=", "application/x-www-form-urlencoded"), ("GET", "http://x?a=1&From=%2B1+5&To=", b"", "")],
)
def test_fetch_as_a_form(phone, method, url, body, kind):
    op = FetchProgram("http://x?a=1", method, (("From", "${from}"), ("To", "")), "form")
    command = phone(flow.Program.chain(op), variables={"from": "+1 5"}).start().last(flow.Fetch)
    assert (command.url, command.body, command.content_type) == (url, body, kind)


def test_fetch_flow_pushes_a_stored_flow(phone, actions):
    call = phone(actions(("fetch_flow", {"flow_id": "f"}), ("talk", {"text": "after"}))).start()
    call.tell(flow.FlowLoaded(call.last(flow.LoadFlow).token, json.dumps(actions(("talk", {"text": "in"})))))
    assert call.said == ["in", "after"]


def test_fetch_flow_that_is_not_there_ends_the_flow(phone, actions):
    call = phone(actions(("fetch_flow", {"flow_id": "f"}), SAYS_YES)).start()
    call.tell(flow.FlowLoaded(1, None, "no such flow"))
    assert call.names == ["LoadFlow", "Hangup"] and call.logs[0].fields["error"] == "no such flow"


def test_webhook_send_does_not_wait(phone, actions):
    option = {"uri": "http://x/${id}", "method": "put", "data_type": "text/plain", "data": "id=${id}"}
    call = phone(actions(("webhook_send", option), SAYS_YES), variables={"id": "7"}).start()
    assert call.issued[0] == flow.Send("http://x/7", "PUT", "text/plain", b"id=7", None)
    assert call.said == ["yes"]


@pytest.mark.parametrize(("event", "logs"), [(flow.Fetched(1, 200), []), (flow.Fetched(1, 500), ["a notification was not accepted"])])
def test_webhook_send_sync_waits_and_ignores_failure(phone, actions, event, logs):
    call = phone(actions(("webhook_send", {"uri": "http://x", "sync": True}), SAYS_YES)).start()
    assert call.names == ["Send"]
    call.tell(event)
    assert call.said == ["yes"] and call.messages == logs


def test_webhook_send_takes_an_object_as_its_json(phone, actions):
    call = phone(actions(("webhook_send", {"uri": "http://x", "data": {"a": ["${v}", 1]}})), variables={"v": "é"}).start()
    assert call.issued[0].body == '{"a": ["é", 1]}'.encode()


# --- others and the end


def test_connect_words(phone, actions):
    option = {
        "source": {"type": "tel", "target": "+1"},
        "destinations": [{"type": "tel", "target": "${to}"}, {"type": "sip", "target": "a@b", "name": "A"}],
        "early_media": "true",
        "relay_reason": True,
        "anonymous": "yes",
    }
    command = phone(actions(("connect", option)), variables={"to": "+2"}).start().last(flow.Dial)
    assert command.source == flow.Party("tel", "+1")
    assert command.destinations == (flow.Party("tel", "+2"), flow.Party("sip", "a@b", "A"))
    assert (command.early_media, command.anonymous, command.options) == (True, "yes", {"relay_reason": True})


def test_call_is_placed_and_not_waited_for(phone, actions):
    option = {"destinations": [{"type": "tel", "target": "+1"}], "actions": [{"type": "answer"}], "chained": False}
    call = phone(actions(("call", option), SAYS_YES)).start()
    assert json.loads(call.last(flow.PlaceCall).flow) == [{"type": "answer"}] and call.said == ["yes"]


@pytest.mark.parametrize(
    ("option", "command"),
    [
        ({}, flow.Hangup("normal")),
        ({"reason": "busy"}, flow.Hangup("busy")),
        ({"reference_id": "c-9"}, flow.Hangup("normal", "c-9")),
        ({"reference_id": "00000000-0000-0000-0000-000000000000"}, flow.Hangup("normal")),
    ],
)
def test_hangup(phone, actions, option, command):
    call = phone(actions(("hangup", option), SAYS_YES)).start()
    assert call.issued == [command] and call.run.finished


def test_stop_hangs_up(phone, actions):
    call = phone(actions("stop", SAYS_YES)).start()
    assert call.issued == [flow.Hangup("normal")] and call.run.finished


def test_sleep_of_no_time_goes_on_at_once(phone, actions):
    assert phone(actions("sleep", SAYS_YES)).start().said == ["yes"]


def test_play_without_files_is_a_warning():
    assert [problem.message for problem in op_of(("play", {}))[1]] == ["there is nothing to play"]


def test_branch_to_no_target_goes_on(phone, actions):
    targets = {"": "00000000-0000-0000-0000-000000000000", "1": " "}
    assert phone(actions(("branch", {"target_ids": targets}), SAYS_YES)).start().said == ["yes"]


def test_branch_that_keeps_its_variable(phone):
    call = phone(flow.Program.chain(Branch("x")), variables={"x": "1"}).start()
    assert call.run.variables.get("x") == "1"


def test_gather_is_not_disturbed_by_other_events(phone):
    call = phone(flow.Program.chain(Gather(max_digits=1, total_s=5), Say("x"))).start()
    call.tell(flow.CallStatus("progressing"))
    call.wait(4.9)
    assert call.said == []
    call.wait(0.2)
    assert call.said == ["x"]


def test_playing_is_not_disturbed_by_other_events(phone):
    call = phone(flow.Program.chain(Say("x"), Say("y")), open=[flow.Say], status="progressing").start()
    call.tell(flow.CallStatus("progressing"))
    call.press("1")
    assert call.said == ["x"]
    call.tell(flow.Unsupported(call.last(flow.Say).token))
    assert call.said == ["x", "y"]


def test_speech_into_a_call_that_is_not_answered(phone):
    assert phone(flow.Program.chain(Say("x", answers=False))).start().names == ["Say", "Hangup"]
