"""The model carries the other two platforms: results as edges, blocking and running-on records, programs that replace themselves."""

from __future__ import annotations

import json

import pytest

from tapeline import flow
from tapeline.core.recordspec import Delivery, RecordSpec, SilenceRule
from tapeline.flow.ops.connecting import Dial
from tapeline.flow.ops.deciding import Jump
from tapeline.flow.ops.ending import Hangup, Stop
from tapeline.flow.ops.fetching import FetchProgram, LoadProgram
from tapeline.flow.ops.keys import Gather
from tapeline.flow.ops.recording import Record, StopRecording
from tapeline.flow.ops.sounding import Play, Say
from tapeline.flow.ops.waiting import Hold


def program(entry, *steps, **fields):
    """Steps as (id, operation, edges)."""
    return flow.Program(entry, {name: flow.Step(name, op, edges) for name, op, edges in steps}, **fields)


VOICEMAIL = RecordSpec(format="mp3", rate=16000, silence=SilenceRule(final_s=3), end_keys=frozenset("#"), beep=True, blocking=True)


@pytest.mark.parametrize(("reason", "heard"), [("key", "key"), ("silence", "other"), ("max_seconds", "other")])
def test_blocking_record_ends_with_a_result(phone, reason, heard):
    call = phone(
        program(
            "rec",
            ("rec", Record(VOICEMAIL, answers=True), {"key": "key", "_": "other"}),
            ("key", Say("key"), {}),
            ("other", Say("other"), {}),
        )
    ).start()
    command = call.last(flow.StartRecording)
    assert command.wait and command.spec.end_keys == {"#"}
    assert call.said == []  # started, and the flow waits
    call.wait(7000)
    assert call.said == []
    call.tell(flow.RecordingEnded(command.token, reason))
    assert call.said == [heard] and call.names[-1] == "Hangup"


def test_blocking_record_that_is_refused_goes_on(phone):
    call = phone(
        program("rec", ("rec", Record(VOICEMAIL), {"refused": "no"}), ("no", Say("sorry"), {})), open=[flow.StartRecording]
    ).start()
    call.tell(flow.RecordingRefused(call.last(flow.StartRecording).token, "disk"))
    assert call.said == ["sorry"]


def test_running_on_record_as_last_action_holds_the_call(phone):
    call = phone(flow.Program.chain(Say("hello"), Record(RecordSpec(format="mp3")), Hold("recordings"))).start()
    assert not call.run.finished and call.run.next_deadline() is None
    call.tell(flow.RecordingEnded(call.last(flow.StartRecording).token, "max_seconds"))
    assert call.names[-1] == "Hangup" and call.run.finished


def test_running_on_record_before_speech_does_not(phone):
    call = phone(flow.Program.chain(Record(RecordSpec()), Say("hello"))).start()
    assert call.names == ["StartRecording", "Answer", "Say", "Hangup"]


def test_hold_lasts_until_the_hang_up(phone):
    call = phone(flow.Program.chain(Hold())).start()
    call.wait(100_000)
    assert not call.run.finished
    call.tell(flow.HungUp())
    assert call.run.finished and call.issued == []


def menu():
    """KAZOO's menu: prompt that a key cuts, one to four keys, edges by digits, two retries, an exit prompt."""
    return program(
        "ask",
        ("ask", Play(("greeting",), answers=True, stop_keys="0123456789*#"), {"_": "keys"}),
        (
            "keys",
            Gather(max_digits=4, end_keys="#", first_s=10, between_s=3, keep_end_key=False),
            {"1": "sales", "42": "secret", "_": "again"},
        ),
        ("again", Jump(2), {"again": "invalid", "_": "exit"}),
        ("invalid", Play(("invalid",)), {"_": "clear"}),
        ("clear", Gather(fresh=True, total_s=0), {"_": "ask"}),
        ("exit", Play(("exit",)), {}),
        ("sales", Say("sales"), {}),
        ("secret", Say("secret"), {}),
        typed_ahead="all",
    )


@pytest.mark.parametrize(("keys", "heard"), [("1", "sales"), ("42#", "secret")])
def test_menu_with_edges_by_digit(phone, keys, heard):
    call = phone(menu(), open=[flow.Play]).start()
    call.press(keys[0])  # cuts the greeting, and counts
    assert call.names[-1] == "StopPlay"
    call.press(keys[1:])
    call.wait(3.1)
    assert call.said == [heard]


def test_menu_gives_up_after_its_retries(phone):
    call = phone(menu()).start()
    for _ in range(3):
        call.press("9#")
    call.wait(0.1)
    played = [command.urls[0] for command in call.issued if isinstance(command, flow.Play)]
    assert played == ["greeting", "invalid", "greeting", "invalid", "greeting", "exit"]
    assert call.run.finished


def test_menu_without_a_key_takes_its_time(phone):
    call = phone(menu()).start()
    call.wait(9.9)
    assert call.names.count("Play") == 1
    call.wait(0.2)
    assert call.names.count("Play") == 3


KAZOO_USER = (
    ("rec", Record(RecordSpec(channels=2, exclusive=False, deliver=(Delivery("http://r/x"),))), {"_": "user"}),
    ("user", Dial((flow.Party("user", "u1"),), timeout_s=20), {"answered": flow.END, "BUSY": "busy", "sip:486": "code", "_": "stop"}),
    ("busy", Say("busy"), {}),
    ("code", Say("code"), {}),
    ("stop", StopRecording("newest"), {"_": "mail"}),
    ("mail", Record(VOICEMAIL), {}),
)


@pytest.mark.parametrize(
    ("answered", "causes", "last"),
    [
        (True, (), "Hangup"),  # a finished conversation stops the flow
        (False, ("NO_ANSWER", "sip:480"), "StartRecording"),
        (False, ("USER_BUSY", "sip:486"), "Hangup"),
        (False, ("BUSY", "sip:486"), "Hangup"),
    ],
)
def test_results_as_edges_first_cause_then_code_then_default(phone, answered, causes, last):
    call = phone(program("rec", *KAZOO_USER, dialect="kazoo")).start()
    assert call.last(flow.StartRecording).spec.deliver[0].url == "http://r/x"
    call.tell(flow.DialEnded(call.last(flow.Dial).token, answered, causes))
    assert call.names[-1] == last
    assert call.said == ({"BUSY": ["busy"], "USER_BUSY": ["code"]}.get(causes[0], []) if causes else [])
    if last == "StartRecording":
        assert flow.StopRecording("newest") in call.issued


def test_a_step_replaces_the_rest_by_a_compiled_document(phone):
    """Vonage's answers to `notify` and `input`; KAZOO's `pivot`."""
    call = phone(flow.Program.chain(FetchProgram("http://x", mode="replace", empty_continues=True), Say("rest"))).start()
    call.tell(flow.Fetched(call.last(flow.Fetch).token, 200, json.dumps([{"type": "talk", "option": {"text": "new"}}]).encode()))
    assert call.said == ["new"] and call.run.finished


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_empty_answer_continues(phone, body):
    call = phone(flow.Program.chain(FetchProgram("http://x", mode="replace", empty_continues=True), Say("rest"))).start()
    call.tell(flow.Fetched(call.last(flow.Fetch).token, 204, body))
    assert call.said == ["rest"]


@pytest.mark.parametrize("answer", [(500, b"[]", ""), (0, b"", "no route"), (200, b"garbage", ""), (200, b'[{"type":"nonsense"}]', "")])
def test_a_document_that_does_not_come_takes_the_fallback(phone, answer):
    steps = (("get", FetchProgram("http://x", mode="replace"), {"failed": "fallback", "_": "next"}), ("fallback", Say("fallback"), {}))
    call = phone(program("get", *steps, ("next", Say("next"), {}))).start()
    call.tell(flow.Fetched(call.last(flow.Fetch).token, *answer))
    assert call.said == ["fallback"]
    assert call.logs[0].level == "warning"


def test_a_branch_runs_another_tree_and_then_its_saved_child(phone):
    """KAZOO's `callflow`: the rest of the present flow waits until the new one has ended."""
    other = program("x", ("x", Say("other"), {}), dialect="kazoo", substitutes=False)
    call = phone(program("go", ("go", LoadProgram("f-1"), {"_": "child"}), ("child", Say("child"), {}))).start()
    assert call.last(flow.LoadFlow).flow_id == "f-1"
    call.tell(flow.FlowLoaded(call.last(flow.LoadFlow).token, other))
    assert call.said == ["other", "child"]


def test_a_program_may_stay_in_the_call_at_its_end(phone):
    call = phone(flow.Program.chain(Say("x"), at_end="stay")).start()
    assert call.run.finished and "Hangup" not in call.names
    call = phone(flow.Program.chain(Stop(), at_end="stay")).start()
    assert call.run.finished and call.issued == []


def test_texts_of_a_dialect_without_variables_stay_as_they_are(phone):
    assert phone(flow.Program.chain(Say("${x}"), substitutes=False), variables={"x": "1"}).start().said == ["${x}"]


def test_keys_that_nobody_asked_for_are_forgotten_where_the_dialect_says_so(phone):
    call = phone(flow.Program.chain(Hold(), typed_ahead="none")).start()
    call.press("123")
    assert call.run.variables.get(flow.DIGITS) == ""


def test_the_entry_must_be_a_step():
    with pytest.raises(ValueError, match="entry"):
        flow.Program("x", {})


def test_an_empty_program_ends_at_once(phone):
    assert phone(flow.Program.chain()).start().issued == [flow.Hangup()]


def test_like_documents_compile_to_equal_operations(actions):
    found = flow.compile(actions("answer", ("hangup", {"reason": "busy"}))).program
    assert [step.op for step in found.steps.values()][-1] == Hangup("busy")
