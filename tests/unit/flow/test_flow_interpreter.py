"""The run: its table, its budgets, stale events, deadlines."""

from __future__ import annotations

import json

import pytest

from tapeline import flow
from tapeline.flow.interpreter import TRANSITIONS
from tapeline.flow.ops.answering import Answer, Ring
from tapeline.flow.ops.deciding import Jump, SetVariable
from tapeline.flow.ops.keys import Gather
from tapeline.flow.ops.sounding import Say
from tapeline.flow.ops.waiting import Hold, Sleep


def run_in(state, phone):
    call = phone(flow.Program.chain(Hold()))
    if state != "ready":
        call.start()
    if state == "finished":
        call.tell(flow.HungUp())
    return call


INPUTS = {
    "start": lambda call: call.run.start(call.now),
    "event": lambda call: call.run.handle(flow.Digit("1"), call.now),
    "hungup": lambda call: call.run.handle(flow.HungUp(), call.now),
}
AFTER = {"begin": "waiting", "deliver": "waiting", "note": "ready", "finish": "finished", "ignore": "finished"}


@pytest.mark.parametrize("cell", sorted(TRANSITIONS))
def test_each_cell_of_the_table(phone, cell):
    state, kind = cell
    call, reaction = run_in(state, phone), TRANSITIONS[cell]
    if reaction == "misuse":
        with pytest.raises(flow.RunMisused):
            INPUTS[kind](call)
        return
    assert INPUTS[kind](call) == []
    assert call.run._state == AFTER[reaction]
    assert call.run.finished == (AFTER[reaction] == "finished")
    assert (call.run.variables.get(flow.DIGITS) == "1") == (kind == "event" and reaction in ("note", "deliver"))


def test_the_table_is_complete():
    assert set(TRANSITIONS) == {(state, kind) for state in ("ready", "waiting", "finished") for kind in ("start", "event", "hungup")}


def test_another_program_takes_the_place_of_what_waits(phone):
    call = phone(flow.Program.chain(Sleep(5.0), Hold()))
    call.start()
    waiting = call.run.current
    call.tell(flow.Replaced(flow.Program.chain(Sleep(1.0))))
    assert call.run.current is not waiting and call.run.next_deadline() == call.now + 1.0 and not call.run.finished
    early = phone(flow.Program.chain(Hold()))
    assert early.run.handle(flow.Replaced(flow.Program.chain(Sleep(1.0))), early.now) == [] and early.run.current is None


def test_status_told_before_the_start_counts(phone):
    call = phone(flow.Program.chain(Answer(), Hold()))
    call.tell(flow.CallStatus("progressing"))
    assert call.start().issued == []


def test_a_loop_without_waiting_is_cut(phone):
    spin = flow.Program("a", {"a": flow.Step("a", SetVariable((("x", "${x}y"),)), {"_": "a"})})
    call = phone(spin).start()
    assert call.run.finished and call.names == ["Hangup"]
    assert call.logs[-1].message == "the flow takes too many steps" and call.run.steps_taken == 1000


def test_a_loop_with_waiting_is_cut_in_the_end(phone):
    loop = flow.Program("a", {"a": flow.Step("a", Sleep(1), {"_": "a"})})
    call = phone(loop, limits=flow.Limits(total=50)).start()
    call.wait(49.5)
    assert not call.run.finished
    call.wait(1)
    assert call.run.finished and call.run.steps_taken == 50


def test_programs_that_call_themselves_are_cut(phone):
    document = [{"type": "fetch_flow", "option": {"flow_id": "me"}}]
    call = phone(document, replies={flow.LoadFlow: lambda command: flow.FlowLoaded(command.token, document)}).start()
    assert call.run.finished and call.logs[-1].message == "programs call one another too deeply"
    assert call.names.count("LoadFlow") == 100


def test_an_event_of_a_step_gone_by_is_ignored(phone, actions):
    document = actions(("talk", {"text": "a", "digits_handle": "next"}), ("talk", {"text": "b"}), ("talk", {"text": "c"}))
    call = phone(document, open=[flow.Say]).start()
    old = call.last(flow.Say).token
    call.press("1")
    assert call.said == ["a", "b"] and call.issued[-2] == flow.StopPlay(old)
    call.tell(flow.PlayEnded(old, interrupted=True))
    assert call.said == ["a", "b"]
    call.tell(flow.PlayEnded(call.last(flow.Say).token))
    assert call.said == ["a", "b", "c"]


def test_an_event_of_a_token_never_given_is_ignored(phone):
    call = phone(flow.Program.chain(Say("x")), open=[flow.Say]).start()
    for event in (
        flow.PlayEnded(99),
        flow.Answered(99),
        flow.RecordingStarted(99, "r"),
        flow.RecordingEnded(99, "x"),
        flow.Unsupported(99),
    ):
        call.tell(event)
    assert not call.run.finished and "tapeline.recording.id" not in call.run.variables


def test_an_unsupported_command_goes_on_to_the_next_step(phone, actions):
    document = actions(
        "answer",
        ("talk", {"text": "a"}),
        "beep",
        ("play", {"stream_urls": ["u"]}),
        ("digits_send", {"digits": "1"}),
        "recording_start",
        ("recording_start", {"wait": True}),
        ("connect", {"destinations": [{"type": "tel", "target": "1"}]}),
        ("confbridge_join", {"confbridge_id": "c"}),
        ("fetch", {"event_url": "http://x"}),
        ("fetch_flow", {"flow_id": "f"}),
        ("webhook_send", {"uri": "http://x", "sync": True}),
    )
    found = flow.compile(document).program
    names = ("Answer", "Say", "Play", "Tone", "SendDigits", "StartRecording", "Dial", "JoinRoom", "Fetch", "LoadFlow", "Send")
    none = {getattr(flow, name): lambda command: flow.Unsupported(command.token) for name in names}
    call = phone(found, replies=none).start()
    assert call.run.finished
    assert call.names == ["Answer", "Answer", "Say", "Tone", "Play", "SendDigits", "StartRecording", "StartRecording", "Dial",
                          "Answer", "JoinRoom",
                          "Fetch", "LoadFlow", "Send", "Hangup"]  # fmt: skip


def test_nothing_is_issued_after_the_hang_up(phone, actions):
    call = phone(actions(("echo", {"duration": 1000}), ("talk", {"text": "x"}))).start()
    assert call.run.handle(flow.HungUp("normal", "remote"), call.now) == []
    assert call.run.finished and call.run.next_deadline() is None and call.run.status == "hangup"
    assert call.run.tick(call.now + 5) == []
    assert call.run.handle(flow.Digit("1"), call.now) == []


def test_the_status_hangup_ends_the_run_too(phone):
    call = phone(flow.Program.chain(Hold())).start()
    call.tell(flow.CallStatus("hangup"))
    assert call.run.finished


def test_a_call_that_is_up_is_not_answered_again(phone):
    assert phone(flow.Program.chain(Answer(), Say("x")), status="progressing").start().names == ["Say", "Hangup"]


def test_answering_waits_until_the_call_is_up(phone):
    call = phone(flow.Program.chain(Answer(), Say("x")), open=[flow.Answer]).start()
    call.press("1")
    assert call.names == ["Answer"]
    call.tell(flow.CallStatus("progressing"))
    assert call.said == ["x"]


def test_keys_other_than_telephone_keys_are_ignored(phone):
    call = phone(flow.Program.chain(Gather(max_digits=2), Say("x"))).start()
    call.press("xé ")
    assert call.run.variables.get(flow.DIGITS) == ""
    call.press("a1")
    assert call.run.variables.get(flow.DIGITS) == "A1" and call.said == ["x"]


def test_only_so_many_keys_are_kept(phone):
    call = phone(flow.Program.chain(Gather())).start()
    call.press("1" * 300)
    assert len(call.run.variables.get(flow.DIGITS)) == 256


def test_time_does_not_run_back(phone):
    call = phone(flow.Program.chain(Sleep(5))).start()
    assert call.run.next_deadline() == 105.0
    call.run.tick(50.0)
    assert call.run.now == 100.0 and not call.run.finished


def test_a_pushed_list_counts_its_jumps_anew(phone, actions):
    body = json.dumps(
        [{"id": "in", "type": "talk", "option": {"text": "x"}}, {"type": "goto", "option": {"target_id": "in", "loop_count": 1}}]
    )
    document = actions({"id": "get", "type": "fetch", "option": {"event_url": "http://x"}}, ("goto", {"target_id": "get", "loop_count": 1}))
    call = phone(document, replies={flow.Fetch: lambda command: flow.Fetched(command.token, 200, body.encode())}).start()
    assert call.said == ["x"] * 4


def test_jump_counts_its_own_visits(phone):
    steps = {"a": flow.Step("a", Say("a"), {"_": "j"}), "j": flow.Step("j", Jump(2), {"again": "a"})}
    assert phone(flow.Program("a", steps)).start().said == ["a"] * 3


def test_ring(phone):
    assert phone(flow.Program.chain(Ring())).start().issued[0] == flow.Ring()


def test_logs_name_the_step(phone):
    call = phone(flow.Program.chain(Say(" ")), status="progressing").start()
    assert call.logs == [flow.Log("warning", "nothing to say", {"step": "1", "op": "say"})]


def test_waiting_for_one_answer_lets_all_else_pass(phone, actions):
    call = phone(actions("answer", ("digits_send", {"digits": "1"}), ("talk", {"text": "x"})), open=[flow.SendDigits]).start()
    call.press("1")
    call.tell(flow.Answered(1))
    call.tell(flow.CallStatus("progressing"))
    assert call.said == []
    call.tell(flow.DigitsSent(call.last(flow.SendDigits).token))
    assert call.said == ["x"]


def test_a_run_without_any_budget_ends_before_its_first_step(phone):
    call = phone(flow.Program.chain(Hold()), limits=flow.Limits(total=0)).start()
    assert call.run.finished and call.run.current is None and call.logs[-1].fields == {"steps": 0}
