"""Variables, the built-in flow, the Mermaid graph, and what the package shows to others."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

from tapeline import flow
from tapeline.flow import builtin, errors
from tapeline.flow.dialects.voipbin.actions import TYPES
from tapeline.flow.ops.ending import Hangup
from tapeline.flow.variables import MAX_TEXT, MAX_TOTAL, MAX_VALUE

PACKAGE = Path(flow.__file__).parent


# --- variables


def test_voipbin_names_are_aliases():
    variables = flow.Variables({"voipbin.call.id": "c"})
    assert variables.get("tapeline.call.id") == variables.get("voipbin.call.id") == "c"
    assert "voipbin.call.id" in variables and list(variables) == ["tapeline.call.id"]
    variables.unset("voipbin.call.id")
    assert variables.as_dict() == {}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("${a}", "1"),
        ("x${a}y${b}z", "x1y${a}z"),  # a value is not looked into
        ("${none}", ""),
        ("${ a }", "1"),
        ("$a {a} $ {a} ${", "$a {a} $ {a} ${"),
        ("${${a}}", "${1}"),
        ("${}", ""),
    ],
)
def test_substitution(text, result):
    assert flow.Variables({"a": "1", "b": "${a}"}).substitute(text) == result


def test_the_store_is_bounded():
    variables = flow.Variables()
    assert variables.set("a", "x" * 100_000) and len(variables.get("a")) == MAX_VALUE
    for number in range(100):
        variables.set(f"v{number}", "x" * MAX_VALUE)
    total = sum(len(name) + len(value) for name, value in variables.as_dict().items())
    assert MAX_TOTAL - MAX_VALUE < total <= MAX_TOTAL
    assert not variables.set("more", "x" * MAX_VALUE) and "more" not in variables
    variables.unset("a")
    assert variables.set("more", "x" * MAX_VALUE)
    assert len(variables.substitute("${more}" * 1000)) == MAX_TEXT
    assert len(variables.substitute("y" * 2 * MAX_TEXT)) == 2 * MAX_TEXT
    assert len(variables.substitute("${more}${more}" + "y" * MAX_TEXT)) == MAX_TEXT + 14


def test_substitution_takes_time_in_proportion_only():
    begun = time.perf_counter()
    flow.Variables().substitute("${" * 500_000)
    flow.Variables().substitute("${a" * 300_000)
    assert time.perf_counter() - begun < 2


# --- the built-in flow


def test_builtin_flow_announces_records_and_plays_back(phone):
    assert flow.compile(builtin.DOCUMENT).problems == ()
    call = phone(flow.builtin_flow()).start()
    call.wait(1)
    assert call.names == ["Answer", "Say", "StartRecording"] and "recorded" in call.said[0]
    start = call.last(flow.StartRecording)
    assert start.wait and start.spec.beep and start.spec.end_keys == {"#"} and start.spec.max_s == 120
    call.tell(flow.RecordingEnded(start.token, "key"))
    assert call.last(flow.Play).urls == (f"recording:rec-{start.token}",)
    assert call.names[-4:] == ["Say", "Play", "Say", "Hangup"] and call.run.finished


def test_builtin_flow_says_goodbye_where_it_may_not_record(phone):
    refuse = {flow.StartRecording: lambda command: flow.RecordingRefused(command.token, "disk_full")}
    call = phone(flow.builtin_flow(), replies=refuse | {flow.Play: lambda c: flow.PlayEnded(c.token, error="no such recording")}).start()
    call.wait(1)
    assert call.said[-1] == "Goodbye." and call.run.finished


# --- Mermaid


def test_mermaid(actions):
    document = actions(
        {"id": "ask", "type": "talk", "option": {"text": 'Press "1" <now> #'}},
        ("branch", {"target_ids": {"1": "out"}}),
        ("goto", {"target_id": "ask", "loop_count": 2}),
        "hangup",
    )
    program = flow.compile(document, nested=True).program
    assert flow.mermaid(program).splitlines() == [
        "flowchart TD",
        "    start((call))",
        '    s1["talk: Press #quot;1#quot; #lt;now#gt; #35;"]',
        '    s2["branch"]',
        '    s3["goto: ask"]',
        '    s4["hangup"]',
        '    o1[/"outside: out"/]',
        "    start --> s1",
        "    s1 --> s2",
        '    s2 -->|"1"| o1',
        "    s2 --> s3",
        '    s3 -->|"again"| s1',
        "    s3 --> s4",
    ]


def test_mermaid_of_an_operation_without_an_action_names_its_kind():
    long = flow.compile([{"type": "talk", "option": {"text": "x" * 100}}]).program
    assert '["talk: ' + "x" * 53 + '…"]' in flow.mermaid(long)
    assert '["hangup"]' in flow.mermaid(flow.Program.chain(Hangup()))


def test_mermaid_draws_the_end():
    assert flow.mermaid(flow.Program.chain()).splitlines()[2:] == ['    done(("hang up"))', "    start --> done"]
    assert '    done(("stay in the call"))' in flow.mermaid(flow.Program.chain(at_end="stay"))
    assert "done" not in flow.mermaid(flow.Program.chain(Hangup()))


# --- the package


def test_public_names_are_there():
    for name in flow.__all__:
        assert getattr(flow, name) is not None


def test_the_error_tree_is_as_drawn():
    drawn = [line.strip(" ├└─") for line in errors.__doc__.splitlines() if "──" in line or line.startswith("    Flow")]
    real = [
        f"{cls.__name__}({', '.join(base.__name__ for base in cls.__bases__)})"
        for cls in (errors.FlowError, errors.RunMisused, errors.DialectUnknown)
    ]
    assert [line.split("  ")[0] for line in drawn] == real


def test_every_voipbin_type_is_known():
    listed = """
    ai_summary ai_talk ai_task amd answer beep block branch call case_create condition_call_digits
    condition_call_status condition_datetime condition_variable confbridge_join conference_join connect
    conversation_send digits_receive digits_send echo email_send external_media_start external_media_stop
    fetch fetch_flow goto hangup message_send mute play queue_join recording_start recording_stop sleep stop
    stream_echo talk transcribe_start transcribe_stop transcribe_recording variable_set webhook_send
    """
    assert set(TYPES) == set(listed.split())


def test_the_package_does_no_io():
    banned = {"asyncio", "socket", "threading", "time", "random", "secrets", "os", "selectors", "ssl"}
    for path in PACKAGE.rglob("*.py"):
        for name in imports(path):
            assert name.split(".")[0] not in banned, path
            assert not name.startswith("tapeline.") or name.startswith(("tapeline.flow", "tapeline.core")), path


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
