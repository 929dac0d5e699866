"""Vonage's NCCOs: what compiles to what, what is wrong with a document, and how it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tapeline import flow
from tapeline.core.recordspec import SilenceRule
from tapeline.flow.dialects.vonage.document import ACTIONS

SEED = """[
  {"action": "talk",
   "text": "Please leave a message after the tone, then press #. We will get back to you as soon as we can"},
  {"action": "record", "eventUrl": [""], "endOnSilence": "3", "endOnKey" : "#", "beepStart": "true"},
  {"action": "talk", "text": "Thank you for your message. Goodbye"}
]"""
HOOK = "https://example.org/hook"


def ncco(*actions):
    return [{"action": name, **options} for name, options in actions]


def compiled(*actions):
    found = flow.compile(ncco(*actions))
    assert found.program is not None, found.problems
    return found.program


def problems_of(*actions):
    return [str(problem) for problem in flow.compile(json.dumps(ncco(*actions))).problems]


def spec_of(**options):
    return next(step.op for step in compiled(("record", options)).steps.values() if hasattr(step.op, "spec")).spec


def asked(document=None):
    """Answers an `Ask` at once."""
    found = None if document is None else flow.compile(document)
    return {flow.Ask: lambda command: flow.Asked(command.token, found)}


LINGERING = {flow.Linger: lambda command: flow.Parted(command.token)}


# --- documents


def test_ncco_parsing(phone):
    """JSON array run in order; `talk`, `record`, `talk` of the seed runs unmodified."""
    found = flow.compile(SEED)
    assert (found.dialect, found.problems) == ("vonage", ())
    call = phone(SEED, replies=LINGERING).start()
    assert call.names == ["Answer", "Say", "Tone", "StartRecording"]
    token = call.last(flow.StartRecording).token
    call.tell(flow.RecordingEnded(token, "key"))
    assert call.names[4:] == ["Say", "Linger", "Hangup"] and call.said[1] == "Thank you for your message. Goodbye"


def test_string_values():
    """Strings behave as the numbers and booleans that they hold, for every such option."""
    texts = {"endOnSilence": "3", "timeOut": "60", "channels": "3", "beepStart": "true", "endOnKey": "5"}
    typed = {"endOnSilence": 3, "timeOut": 60, "channels": 3, "beepStart": True, "endOnKey": 5}
    assert [step.op for step in compiled(("record", texts)).steps.values()] == [
        step.op for step in compiled(("record", typed)).steps.values()
    ]
    steps = compiled(("record", {"beepStart": "false"})).steps
    assert [step.op.kind for step in steps.values()] == ["record", "remain"]
    member = next(
        iter(compiled(("conversation", {"name": "n", "record": "true", "startOnEnter": "false", "endOnExit": "true"})).steps.values())
    ).op
    assert (member.spec.record is not None, member.spec.moderator, member.spec.end_on_exit) == (True, False, True)
    talk = next(iter(compiled(("talk", {"text": "x", "loop": "2", "level": "-0.5"})).steps.values())).op
    assert (talk.loops, talk.level) == (2, -0.5)
    pressed = compiled(("input", {"type": ["dtmf"], "dtmf": {"timeOut": "5", "maxDigits": "2", "submitOnHash": "true"}}))
    asks = next(iter(pressed.steps.values())).op
    assert (asks.first_s, asks.max_digits, asks.on_hash) == (5.0, 2, True)


def test_null_and_unknown_keys():
    """null = absent; unknown keys are ignored, with a warning."""
    empty = dict.fromkeys(("format", "split", "channels", "endOnSilence", "endOnKey", "timeOut", "beepStart", "eventUrl", "transcription"))
    assert spec_of(**empty) == spec_of() and not spec_of().blocking
    assert problems_of(("talk", {"text": "x", "txet": 1})) == ["1:42: warning: [0].txet: unknown key 'txet' (did you mean 'text'?)"]


def test_the_defaults_of_a_recording():
    spec = spec_of()
    assert (spec.format, spec.rate, spec.channels, spec.heard, spec.max_s, spec.silence, spec.end_keys) == (
        "mp3", 16000, 1, "both", 7200.0, None, frozenset(),
    )  # fmt: skip
    assert not spec.blocking and not spec.exclusive and spec.follow_transfer


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"split": "conversation"}, (2, "both", "mp3")),
        ({"split": "conversation", "channels": 2}, (2, "both", "mp3")),
        ({"channels": 3}, (3, "participants", "wav")),
        ({"channels": 32, "split": "conversation", "format": "mp3"}, (32, "participants", "wav")),
        ({"channels": 4, "format": "ogg"}, (4, "participants", "ogg")),
        ({"split": "conversation", "format": "wav"}, (2, "both", "wav")),
    ],
)
def test_split_and_channels(options, expected):
    spec = spec_of(**options)
    assert (spec.channels, spec.heard, spec.format) == expected


def test_any_ending_condition_makes_it_wait():
    assert spec_of(endOnSilence=3).silence == SilenceRule(initial_s=3.0, final_s=3.0)
    assert all(spec_of(**one).blocking for one in ({"endOnSilence": 3}, {"endOnKey": "#"}, {"timeOut": 3}))
    assert spec_of(timeOut=3).max_s == 3.0


def test_where_its_event_goes():
    told = spec_of(eventUrl=["", HOOK], eventMethod="get").custom
    assert told == {"dialect": "vonage", "event_url": HOOK, "event_method": "GET"}
    assert spec_of(eventUrl=HOOK).custom["event_url"] == HOOK
    assert json.loads(spec_of(transcription={}).custom["transcription"])["language"] == "en-US"


@pytest.mark.parametrize(
    ("action", "options", "message"),
    [
        ("record", {"endOnSilence": 2}, "error: [0].endOnSilence: must be within 3 and 10"),
        ("record", {"timeOut": 7201}, "error: [0].timeOut: must be within 3 and 7200"),
        ("record", {"channels": 33}, "error: [0].channels: must be within 1 and 32"),
        ("record", {"endOnKey": "##"}, "error: [0].endOnKey: '##' is no key (one of 0-9 * #)"),
        ("record", {"format": "flac"}, "error: [0].format: 'flac' is none of mp3, wav, ogg"),
        ("record", {"split": "yes"}, "error: [0].split: 'yes' is none of conversation"),
        ("record", {"eventUrl": ["ftp://x"]}, "error: [0].eventUrl: 'ftp://x' is no http(s) address"),
        ("record", {"beepStart": []}, "error: [0].beepStart: must be true or false"),
        ("talk", {}, "error: [0]: talk needs a text"),
        ("talk", {"text": "x" * 1501}, "error: [0].text: the text is longer than 1500 characters"),
        ("talk", {"text": "x", "level": 2}, "error: [0].level: must be within -1.0 and 1.0"),
        ("stream", {}, """error: [0]: stream needs a streamUrl (["https://..."])"""),
        ("input", {"type": ["video"]}, "error: [0].type: 'video' is no type of input (dtmf or speech)"),
        ("input", {"dtmf": {"maxDigits": 21}}, "error: [0].dtmf.maxDigits: must be within 1 and 20"),
        ("notify", {"payload": {}}, """error: [0]: notify needs an eventUrl (["https://..."])"""),
        ("notify", {"eventUrl": [HOOK]}, "error: [0]: notify needs a payload, an object"),
        ("conversation", {}, "error: [0]: conversation needs a name"),
        ("conversation", {"name": "n", "mute": True, "canSpeak": []}, "error: [0].mute: mute and canSpeak exclude each other"),
        ("transfer", {}, "error: [0]: transfer needs a conversationId"),
        (
            "connect",
            {"endpoint": []},
            """error: [0].endpoint: connect needs exactly one endpoint ([{"type": "phone", "number": "447700900000"}])""",
        ),
        ("connect", {"endpoint": [{"type": "pigeon"}]}, "error: [0].endpoint[0].type: 'pigeon' is none of phone, sip, websocket, app, vbc"),
        (
            "connect",
            {"endpoint": [{"type": "sip", "uri": "sip:a@b", "user": "c"}]},
            "error: [0].endpoint[0].uri: uri excludes user and domain",
        ),
        ("connect", {"endpoint": [{"type": "websocket", "uri": "http://x"}]}, "error: [0].endpoint[0].uri: 'http://x' is no ws(s) address"),
        ("pay", {}, "error: [0].action: the action pay is not supported"),
        ("tlak", {}, "error: [0].action: unknown action 'tlak' (did you mean 'talk'?)"),
    ],
)
def test_what_is_wrong_is_an_error_in_its_place(action, options, message):
    found = [problem.partition(": ")[2] for problem in problems_of((action, options))]
    assert message in found
    assert flow.compile(ncco((action, options))).program is None


def test_a_wait_out_of_range_is_moved_into_it():
    assert [next(iter(compiled(("wait", {"timeout": value})).steps.values())).op.seconds for value in (0, "2.5", 9000)] == [
        0.1,
        2.5,
        7200.0,
    ]


def test_what_stands_after_a_conversation_never_runs():
    found = flow.compile(ncco(("conversation", {"name": "n"}), ("talk", {"text": "x"})))
    assert found.program is not None and [problem.message for problem in found.problems] == ["nothing runs after conversation"]


# --- how they run


def test_record_voicemail_mode(phone):
    """With an ending condition the next action does not start before the recording ends."""
    call = phone(ncco(("record", {"endOnSilence": 3}), ("talk", {"text": "bye"})), replies=LINGERING).start()
    call.tell(flow.RecordingStarted(call.last(flow.StartRecording).token, "rec"))
    assert call.names[-1] == "StartRecording"
    call.tell(flow.RecordingEnded(call.last(flow.StartRecording).token, "silence"))
    assert call.said == ["bye"]


def test_record_without_condition_goes_on_at_once_and_the_call_ends_with_the_document(phone):
    call = phone(ncco(("record", {}), ("talk", {"text": "x"})), replies=LINGERING).start()
    assert call.names == ["Answer", "StartRecording", "Say", "Linger", "Hangup"]


def test_last_position_record(phone):
    """`record` without condition as last action keeps the call up until hang-up."""
    call = phone(ncco(("talk", {"text": "x"}), ("record", {})), replies=LINGERING).start()
    assert call.names[-1] == "Linger" and not call.run.finished
    call.wait(7000)
    assert not call.run.finished
    call.tell(flow.RecordingEnded(call.last(flow.StartRecording).token, "max_seconds"))
    assert call.names[-1] == "Hangup"


def test_who_was_connected_does_not_stay_for_a_last_record(phone):
    call = phone(ncco(("record", {})), replies={flow.Linger: lambda command: flow.Parted(command.token, True)}).start()
    assert call.names[-1] == "Hangup"


def test_a_key_during_barge_in_counts_for_the_input_behind_it(phone):
    document = ncco(
        ("talk", {"text": "one", "bargeIn": True}),
        ("talk", {"text": "two"}),
        ("input", {"type": ["dtmf"], "dtmf": {"maxDigits": 2}, "eventUrl": [HOOK]}),
    )
    call = phone(document, open=[flow.Say]).start()
    call.press("4")
    assert call.said == ["one"] and call.names[-1] == "StopPlay"
    call.press("2")
    event = call.last(flow.Ask)
    assert event.fields == {"dtmf": {"digits": "42", "timed_out": False}, "speech": {"error": "Speech was not enabled"}}
    assert (event.kind, event.url, event.method) == ("input", HOOK, "POST")


def test_keys_pressed_before_a_barge_in_do_not_count(phone):
    document = ncco(("record", {"endOnKey": "#"}), ("talk", {"text": "one", "bargeIn": True}), ("input", {"type": ["dtmf"]}))
    call = phone(document, replies=asked() | LINGERING).start()
    call.press("#")
    call.tell(flow.RecordingEnded(call.last(flow.StartRecording).token, "key"))
    call.wait(3.0)
    assert call.last(flow.Ask).fields["dtmf"] == {"digits": "", "timed_out": True}


@pytest.mark.parametrize(
    ("options", "pressed", "digits", "timed_out"),
    [
        ({}, "1234", "1234", False),
        ({}, "12", "12", True),
        ({"submitOnHash": True, "maxDigits": 20}, "12#", "12", False),
        ({"maxDigits": 3}, "1#*", "1#*", False),
        ({"timeOut": 0}, "", "", True),
    ],
)
def test_input_dtmf(phone, options, pressed, digits, timed_out):
    call = phone(ncco(("input", {"type": ["dtmf"], "dtmf": options})), replies=asked() | LINGERING).start()
    call.press(pressed)
    call.wait(3.0)
    assert call.last(flow.Ask).fields["dtmf"] == {"digits": digits, "timed_out": timed_out}
    assert call.names[-1] == "Hangup"


def test_old_input_has_its_settings_on_the_action(phone):
    call = phone(ncco(("input", {"maxDigits": 1, "timeOut": 10, "submitOnHash": False})), replies=asked() | LINGERING).start()
    call.press("7")
    assert call.last(flow.Ask).fields["dtmf"]["digits"] == "7"


def test_speech_is_honestly_not_available(phone):
    call = phone(ncco(("input", {"type": ["speech"], "speech": {"startTimeout": 2}})), replies=asked() | LINGERING).start()
    call.press("1")
    call.wait(2.0)
    assert call.last(flow.Ask).fields == {"speech": {"error": "Speech recognition is not available"}}


def test_an_answer_replaces_all_that_was_to_follow(phone):
    more = asked(ncco(("talk", {"text": "instead"}))) | LINGERING
    call = phone(ncco(("notify", {"payload": {"a": 1}, "eventUrl": [HOOK]}), ("talk", {"text": "never"})), replies=more).start()
    assert call.last(flow.Ask).fields == {"payload": {"a": 1}}
    assert call.said == ["instead"] and call.names[-1] == "Hangup"


def test_an_answer_that_cannot_run_is_told_and_the_flow_goes_on(phone):
    more = asked([{"action": "nonsense"}]) | LINGERING
    call = phone(ncco(("notify", {"payload": {}, "eventUrl": [HOOK]}), ("talk", {"text": "on"})), replies=more).start()
    assert "unknown action 'nonsense'" in call.last(flow.Complain).problems[0] and call.said == ["on"]


def test_asynchronous_input_goes_on_at_once(phone):
    call = phone(
        ncco(("input", {"type": ["dtmf"], "mode": "asynchronous", "eventUrl": [HOOK]}), ("talk", {"text": "x"})), replies=LINGERING
    ).start()
    assert call.names == ["Answer", "ReportDigits", "Say", "Linger", "Hangup"]


def test_connect_goes_on_when_answered_and_when_not(phone):
    to = {"endpoint": [{"type": "phone", "number": "+447700900000"}], "from": "447700900001", "timeout": "45"}
    for answered in (True, False):
        call = phone(
            ncco(("connect", to), ("talk", {"text": "x"})),
            replies={flow.Dial: lambda command, answered=answered: flow.DialEnded(command.token, answered, ("BUSY", "sip:486"))}
            | LINGERING,
        ).start()
        assert call.names == ["Dial", "Answer", "Say", "Linger", "Hangup"]
        dialled = call.last(flow.Dial)
        assert (dialled.destinations[0], dialled.timeout_s) == (flow.Party("tel", "447700900000"), 45.0)
        assert dialled.source == flow.Party("tel", "447700900001") and dialled.options["stay"] and dialled.options["limit_s"] == 7200.0


def test_a_synchronous_connect_asks_when_nobody_answers(phone):
    to = {"endpoint": [{"type": "app", "user": "alice"}], "eventType": "synchronous", "eventUrl": [HOOK]}
    more = {flow.Dial: lambda command: flow.DialEnded(command.token, False, ("BUSY", "sip:486"), "busy")}
    call = phone(
        ncco(("connect", to), ("talk", {"text": "never"})), replies=more | asked(ncco(("talk", {"text": "instead"}))) | LINGERING
    ).start()
    assert call.last(flow.Ask).fields["causes"] == ("BUSY", "sip:486") and call.said == ["instead"]


def test_the_endpoints():
    def dialled(**endpoint):
        op = next(iter(compiled(("connect", {"endpoint": [endpoint]})).steps.values())).op
        return op.destination, op.options

    party, options = dialled(
        type="sip", uri="sip:a@b;transport=tls", headers={"location": "New York"}, standardHeaders={"User-to-User": "ab;c"}
    )
    assert (party.kind, party.target) == ("sip", "sip:a@b;transport=tls")
    assert options["headers"] == (("X-location", "New York"), ("User-to-User", "ab;c"))
    assert dialled(type="sip", user="a", domain="b.example")[0].target == "sip:a@b.example"
    party, options = dialled(type="websocket", uri="wss://x/y", **{"content-type": "audio/l16;rate=8000", "headers": {"a": {"b": 1}}})
    assert (party.kind, options["websocket"]["rate"], options["websocket"]["headers"]) == ("websocket", 8000, {"a": {"b": 1}})
    assert dialled(type="vbc", extension="123")[0] == flow.Party("extension", "123")
    _, options = dialled(type="phone", number="44", dtmfAnswer="2p02p", onAnswer={"url": HOOK, "ringback": "https://x/t.mp3"})
    assert (options["dtmf_answer"], options["on_answer"], options["ringback"]) == ("2p02p", HOOK, "https://x/t.mp3")


def test_every_action_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "vonage.md").read_text()
    headings = text.partition("## NCCO actions")[2].partition("\n## ")[0]
    assert sorted(line[4:] for line in headings.splitlines() if line.startswith("### ")) == sorted(ACTIONS)
