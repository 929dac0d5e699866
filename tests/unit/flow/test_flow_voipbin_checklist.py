"""Each line of the VoIPBIN checklist for flows (31 to 46), as far as one leg carries it."""

from __future__ import annotations

import json

import pytest

from tapeline import flow
from tapeline.core.roomspec import JoinSpec
from voipbin_samples import EXAMPLE


def test_31_seed_example_1_runs_unmodified(phone):
    compiled = flow.compile(EXAMPLE)
    assert compiled.problems == () and compiled.dialect == "voipbin"
    call = phone(EXAMPLE).start()
    assert call.names == ["Answer", "StartRecording", "Say", "Dial"]
    spec = call.last(flow.StartRecording).spec
    assert (spec.format, spec.rate, spec.channels, spec.heard, spec.max_s) == ("wav", 8000, 1, "both", 86400.0)
    assert call.last(flow.Dial).destinations == (flow.Party("tel", "+15551234567"),)
    call.tell(flow.DialEnded(call.last(flow.Dial).token, answered=True))
    assert call.names[4:] == ["StopRecording", "Hangup"]
    assert call.run.finished


def test_31_seed_example_1_goes_on_where_nobody_can_be_connected(phone):
    call = phone(EXAMPLE, replies={flow.Dial: lambda command: flow.Unsupported(command.token)}).start()
    assert call.names[-2:] == ["StopRecording", "Hangup"]


def test_32_recording_actions_without_options(phone, actions):
    call = phone(actions("answer", "recording_start", "recording_stop")).start()
    assert call.last(flow.StartRecording).spec.format == "wav"
    assert call.last(flow.StopRecording).which == "active"


def consent(actions):
    return actions(
        "answer",
        ("talk", {"text": "Press 1 to consent to recording"}),
        ("digits_receive", {"length": 1, "duration": 5000}),
        ("branch", {"target_ids": {"1": "record"}, "default_target_id": "on"}),
        {"id": "record", "type": "recording_start"},
        {"id": "on", "type": "talk", "option": {"text": "welcome"}},
        ("sleep", {"duration": 1000}),
    )


def test_33_consent_given_records(phone, actions):
    call = phone(consent(actions)).start()
    call.press("1")
    assert call.names == ["Answer", "Say", "StartRecording", "Say"]


@pytest.mark.parametrize("keys", ["2", ""])
def test_33_consent_not_given_goes_on_without(phone, actions, keys):
    call = phone(consent(actions)).start()
    call.press(keys)
    call.wait(5.5)
    assert call.names[:3] == ["Answer", "Say", "Say"]
    assert call.said[1] == "welcome"


def test_34_conference_is_joined_and_left(phone, actions):
    call = phone(actions("answer", ("conference_join", {"conference_id": "c-1"}), ("talk", {"text": "bye"}))).start()
    command = call.last(flow.JoinRoom)
    assert (command.room, command.kind) == ("c-1", "conference")
    assert command.spec == JoinSpec() and command.prelude
    call.tell(flow.RoomLeft(command.token))
    assert call.said == ["bye"]


def test_34_a_flow_branches_on_how_a_conference_came_out(phone, actions):
    branch = {"variable": "voipbin.conference.result", "target_ids": {"full": "late"}, "default_target_id": "bye"}
    document = actions(("conference_join", {"conference_id": "c-1"}), ("branch", branch))["actions"]
    document += [{"id": "late", "type": "talk", "option": {"text": "full"}}, {"id": "bye", "type": "hangup"}]
    call = phone({"actions": document}).start()
    call.tell(flow.RoomLeft(call.last(flow.JoinRoom).token, "full"))
    assert call.said == ["full"]


def test_34_a_conference_may_have_a_flow_that_comes_first(phone, actions):
    call = phone(actions(("conference_join", {"conference_id": "${x}", "mute": "true"}), ("talk", {"text": "bye"}))).start()
    assert call.names == ["Answer", "JoinRoom"]
    call.tell(flow.RoomPrelude(call.last(flow.JoinRoom).token, "f-1"))
    load = call.last(flow.LoadFlow)
    assert load.flow_id == "f-1"
    call.tell(flow.FlowLoaded(load.token, actions(("talk", {"text": "welcome"}))))
    again = call.last(flow.JoinRoom)
    assert (again.prelude, again.spec) == (False, JoinSpec(mute=True)) and call.said == ["welcome"]
    call.tell(flow.RoomLeft(again.token, "ended"))
    assert call.said == ["welcome", "bye"] and call.run.finished


def test_34_a_first_flow_that_cannot_be_had_keeps_nobody_out(phone, actions):
    call = phone(actions(("conference_join", {"conference_id": "c-1"}))).start()
    call.tell(flow.RoomPrelude(call.last(flow.JoinRoom).token, "gone"))
    call.tell(flow.FlowLoaded(call.last(flow.LoadFlow).token, None, "no such flow"))
    assert not call.last(flow.JoinRoom).prelude


def test_34_a_conference_has_a_flow_that_comes_afterwards(phone, actions):
    call = phone(actions(("conference_join", {"conference_id": "c-1"}), ("talk", {"text": "more"}))).start()
    call.tell(flow.RoomLeft(call.last(flow.JoinRoom).token, "kicked", "f-2"))
    load = call.last(flow.LoadFlow)
    assert load.flow_id == "f-2" and call.said == []
    call.tell(flow.FlowLoaded(load.token, actions(("talk", {"text": "bye"}))))
    assert call.said == ["bye", "more"]


@pytest.mark.parametrize(("reason", "result"), [("left", "answered"), ("ended", "answered"), ("full", "BUSY"), ("not_found", "NOT_FOUND")])
def test_34_who_answers_may_be_a_conference(phone, actions, reason, result):
    option = {"destinations": [{"type": "conference", "target": "c-1"}]}
    call = phone(actions(("connect", option), ("talk", {"text": "${voipbin.connect.result}"}))).start()
    call.tell(flow.DialRoom(call.last(flow.Dial).token, "c-1"))
    command = call.last(flow.JoinRoom)
    assert (command.room, command.kind, command.prelude) == ("c-1", "conference", True)
    call.tell(flow.RoomLeft(command.token, reason))
    assert call.said == [result]


def test_34_a_conference_that_was_dialled_passes_its_reason_on(phone, actions):
    option = {"destinations": [{"type": "conference", "target": "c-1"}], "relay_reason": True}
    call = phone(actions(("connect", option), ("talk", {"text": "never"}))).start()
    call.tell(flow.DialRoom(call.last(flow.Dial).token, "c-1"))
    call.tell(flow.RoomLeft(call.last(flow.JoinRoom).token, "full"))
    assert (call.last(flow.Hangup).cause, call.said, call.run.finished) == ("busy", [], True)


def test_35_stop_sensitive_part_start(phone, actions):
    document = actions(
        "answer", "recording_start", "recording_stop", ("digits_receive", {"length": 4, "duration": 9000}), "recording_start", "stop"
    )
    call = phone(document).start()
    assert call.names == ["Answer", "StartRecording", "StopRecording"]
    call.press("1234")
    assert call.names[3:] == ["StartRecording", "Hangup"]
    first, second = (command.token for command in call.issued if isinstance(command, flow.StartRecording))
    assert first != second


def test_36_talk_has_a_default_language(phone, actions):
    call = phone(actions(("talk", {"text": "a"}), ("talk", {"text": "b", "language": "de-DE", "voice_id": "v"}))).start()
    assert [(c.language, c.voice) for c in call.issued if isinstance(c, flow.Say)] == [("en-US", ""), ("de-DE", "v")]
    assert call.names[0] == "Answer"  # talk answers an unanswered call


def test_37_recording_start_does_not_hold_the_flow(phone, actions):
    option = {"duration": 60, "end_of_silence": 3, "end_of_key": "#"}
    call = phone(actions("answer", ("recording_start", option), ("talk", {"text": "on"}))).start()
    assert call.said == ["on"]


def test_37_recording_start_that_nobody_answers_does_not_hold_it_long(phone, actions):
    call = phone(actions("answer", "recording_start", ("talk", {"text": "on"})), open=[flow.StartRecording]).start()
    assert call.said == []
    call.wait(2.1)
    assert call.said == ["on"]
    assert "the start of a recording was not answered in time" in call.messages


def test_38_a_refused_recording_goes_on(phone, actions):
    refuse = {flow.StartRecording: lambda command: flow.RecordingRefused(command.token, "RECORDING_ALREADY_ACTIVE")}
    call = phone(actions("recording_start", ("talk", {"text": "on"})), replies=refuse).start()
    assert call.said == ["on"]
    assert call.logs[0].fields["reason"] == "RECORDING_ALREADY_ACTIVE"


def test_39_beep_start(phone, actions):
    assert phone(actions(("recording_start", {"beep_start": True}))).start().last(flow.StartRecording).spec.beep


def test_40_next_id_jumps(phone, actions):
    document = actions(
        {"type": "talk", "option": {"text": "1"}, "next_id": "c"},
        {"id": "b", "type": "talk", "option": {"text": "never"}},
        {"id": "c", "type": "talk", "option": {"text": "3"}},
    )
    assert phone(document).start().said == ["1", "3"]


@pytest.mark.parametrize(("count", "times"), [(0, 1), (1, 2), (3, 4), ("2", 3), (None, 1)])
def test_40_goto_counts_its_loops(phone, actions, count, times):
    document = actions({"id": "top", "type": "talk", "option": {"text": "x"}}, ("goto", {"target_id": "top", "loop_count": count}))
    assert phone(document).start().said == ["x"] * times


def fetched(*actions_):
    return json.dumps([{"type": kind, "option": option} for kind, option in actions_]).encode()


def test_40_pushed_list_returns_after_the_action_that_pushed_it(phone, actions):
    document = actions(("fetch", {"event_url": "http://x/f"}), ("talk", {"text": "after"}))
    call = phone(document, variables={"voipbin.activeflow.reference_id": "c1", "voipbin.activeflow.id": "a1"}).start()
    command = call.last(flow.Fetch)
    assert (command.url, command.method, json.loads(command.body)) == ("http://x/f", "POST", {"activeflow_id": "a1", "reference_id": "c1"})
    call.tell(flow.Fetched(command.token, 200, fetched(("talk", {"text": "in"}))))
    assert call.said == ["in", "after"]
    assert call.run.finished


def test_40_targets_are_searched_outward_and_frames_left_are_dropped(phone, actions):
    document = actions(
        ("fetch", {"event_url": "http://x/f"}), ("talk", {"text": "skipped"}), {"id": "out", "type": "talk", "option": {"text": "out"}}
    )
    call = phone(document).start()
    call.tell(flow.Fetched(call.last(flow.Fetch).token, 200, b'[{"type":"goto","option":{"target_id":"out","loop_count":1}}]'))
    assert call.said == ["out"]
    assert call.run.finished


def test_40_target_nowhere_ends_the_flow(phone, actions):
    call = phone(actions(("fetch", {"event_url": "http://x/f"}), ("talk", {"text": "after"}))).start()
    call.tell(flow.Fetched(call.last(flow.Fetch).token, 200, b'[{"type":"goto","option":{"target_id":"no","loop_count":1}}]'))
    assert call.said == [] and call.names[-1] == "Hangup" and call.run.finished
    assert call.logs[-1].level == "error"


def test_40_stop_within_a_pushed_list_ends_everything(phone, actions):
    call = phone(actions(("fetch", {"event_url": "http://x/f"}), ("talk", {"text": "after"}))).start()
    call.tell(flow.Fetched(call.last(flow.Fetch).token, 200, b'[{"type":"stop"}]'))
    assert call.said == [] and call.names[-1] == "Hangup"


def test_41_a_key_overwrites_outside_and_appends_inside(phone, actions):
    call = phone(
        actions(("sleep", {"duration": 1000}), ("digits_receive", {"length": 3, "duration": 9000}), ("sleep", {"duration": 1000}))
    ).start()
    call.press("12")
    assert call.run.variables.get("voipbin.call.digits") == "2"
    call.wait(1)
    call.press("34")
    assert call.run.variables.get("voipbin.call.digits") == "234"
    call.press("5")
    assert call.run.variables.get("voipbin.call.digits") == "5"


def test_41_a_key_pressed_in_the_prompt_counts(phone, actions):
    call = phone(
        actions(
            ("talk", {"text": "p"}), ("digits_receive", {"length": 1, "duration": 5000}), ("talk", {"text": "got ${voipbin.call.digits}"})
        ),
        open=[flow.Say],
    ).start()
    call.press("7")
    call.tell(flow.PlayEnded(call.last(flow.Say).token))
    assert call.said == ["p", "got 7"]


def test_41_branch_clears(phone, actions):
    call = phone(actions(("sleep", {"duration": 100}), "branch", ("sleep", {"duration": 100}))).start()
    call.press("1")
    call.wait(0.1)
    assert "voipbin.call.digits" not in call.run.variables


def test_42_variables_and_those_of_the_recording(phone, actions):
    document = actions(
        "recording_start", ("talk", {"text": "${voipbin.call.source.target} ${voipbin.recording.id} ${voipbin.recording.format}${no}"})
    )
    call = phone(document, variables={"voipbin.call.source.target": "+1555"}).start()
    assert call.said == [f"+1555 rec-{call.last(flow.StartRecording).token} wav"]


def test_43_on_end_flow_id_goes_with_the_recording(phone, actions):
    assert phone(actions(("recording_start", {"on_end_flow_id": "f-1"}))).start().last(flow.StartRecording).spec.on_end_flow_id == "f-1"


def test_44_unknown_type_is_refused(actions):
    found = flow.compile(json.dumps(actions("answer", "anwser")))
    assert found.program is None
    (problem,) = found.problems
    assert (problem.code, problem.severity, problem.path) == ("INVALID_ACTION_TYPE", "error", "actions[1].type")
    assert (problem.line, problem.column) == (1, 43)


OTHERS = (
    "ai_summary", "ai_talk", "ai_task", "amd", "block", "case_create", "conversation_send", "email_send", "external_media_start",
    "external_media_stop", "message_send", "mute", "queue_join", "transcribe_start", "transcribe_stop", "transcribe_recording",
)  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_44_known_but_unsupported_types_are_skipped(phone, actions, kind):
    call = phone(actions((kind, {"anything": {"at": ["all"]}}), ("talk", {"text": "on"}))).start()
    assert call.said == ["on"]
    assert call.logs[0].message == "action skipped" and call.logs[0].fields["what"] == kind


@pytest.mark.parametrize("handle", ["", "hangup", "continue"])
def test_44_amd_recognises_no_machine_says_so_and_goes_on(phone, actions, handle):
    branch = {"variable": "voipbin.amd.result", "target_ids": {"machine": "gone", "unsupported": "on"}, "default_target_id": "gone"}
    document = actions(
        "answer", ("amd", {"machine_handle": handle, "async": False}), ("branch", branch),
        {"id": "gone", "type": "hangup"}, {"id": "on", "type": "talk", "option": {"text": "hello"}},
    )  # fmt: skip
    problems = flow.compile(document).problems
    assert [problem.path for problem in problems] == (["actions[1].option.machine_handle"] if handle == "hangup" else [])
    assert phone(document).start().said == ["hello"]


def test_44_mute_does_nothing_as_on_the_platform(phone, actions):
    call = phone(actions("answer", ("mute", {"direction": "both"}), ("talk", {"text": "heard"}))).start()
    assert call.names[:2] == ["Answer", "Say"] and call.said == ["heard"]


def test_44_block_waits_in_a_run_without_a_call_only(phone, actions):
    document = actions("block", ("talk", {"text": "on"}))
    assert phone(document, variables={"voipbin.activeflow.reference_type": "call"}).start().said == ["on"]
    for kind in ("api", ""):
        run = phone(document, variables={"voipbin.activeflow.reference_type": kind}).start()
        run.wait(80_000)
        assert run.said == [] and not run.run.finished
        run.wait(10_000)
        assert run.said == ["on"], "a day is the longest"


@pytest.mark.parametrize("early", [False, True])
def test_44_a_call_of_its_own_may_begin_its_flow_while_it_rings(phone, actions, early):
    option = {"destinations": [{"type": "tel", "target": "+1555"}], "flow_id": "f-1", "early_execution": early}
    call = phone(actions(("call", option), ("talk", {"text": "on"}))).start()
    command = call.last(flow.PlaceCall)
    assert (command.early, command.flow_id, call.said) == (early, "f-1", ["on"])


@pytest.mark.parametrize("format", ["mp3", "ogg", "WAV"])
def test_45_other_formats_are_honoured(phone, actions, format):
    assert phone(actions(("recording_start", {"format": format}))).start().last(flow.StartRecording).spec.format == format.lower()


def test_45_unknown_format_is_wav_with_a_warning(actions):
    found = flow.compile(actions(("recording_start", {"format": "flac"})))
    assert found.program is not None and [problem.severity for problem in found.problems] == ["warning"]
    assert next(iter(found.program.steps.values())).op.spec.format == "wav"


def test_46_any_string_is_an_id(phone, actions):
    document = actions(
        ("branch", {"target_ids": {"": "start-recording"}}),
        ("talk", {"text": "no"}),
        {"id": "start-recording", "type": "talk", "option": {"text": "yes"}},
    )
    assert phone(document).start().said == ["yes"]


def test_46_actions_without_ids_get_uuids_that_are_shown(phone, actions):
    call = phone(actions(("sleep", {"duration": 9}))).start()
    shown = call.run.current.action
    assert len(shown["id"]) == 36 and shown["type"] == "sleep" and shown["option"] == {"duration": 9}
