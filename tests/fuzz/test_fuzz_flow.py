"""Any document is compiled or refused with diagnostics; any program ends with its call, whatever happens on it."""

from __future__ import annotations

import importlib
import json
import os
import random
import string
import time
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline import flow
from tapeline.core.recordspec import RecordSpec
from tapeline.flow.dialects.voipbin.actions import TYPES
from tapeline.flow.dialects.vonage.document import ACTIONS
from tapeline.flow.ops import asking
from tapeline.flow.ops.answering import Answer, Ring
from tapeline.flow.ops.caller import Behind, EnterNumber, InList, Match
from tapeline.flow.ops.connecting import Dial, JoinRoom, Page, Park, PassOn, PlaceCall
from tapeline.flow.ops.deciding import Branch, Compare, CompareTime, HasDigits, HasStatus, Jump, SetVariable
from tapeline.flow.ops.ending import Hangup, Skip, Stop
from tapeline.flow.ops.fetching import FetchProgram, LoadProgram, Notify
from tapeline.flow.ops.keys import Gather, SendDigits
from tapeline.flow.ops.mailbox import AtBox, CheckMailbox
from tapeline.flow.ops.menu import Menu
from tapeline.flow.ops.recording import Record, StopRecording
from tapeline.flow.ops.sounding import Echo, Play, Say, Tone
from tapeline.flow.ops.stored import ByRule, Described, SwitchRules
from tapeline.flow.ops.waiting import Block, Hold, Remain, Sleep
from tapeline.flow.program import Op

SECONDS = float(os.environ.get("TAPELINE_FUZZ_SECONDS", "1"))
LIMITS = flow.Limits(burst=60, total=400, depth=10)
MOST_COMMANDS = 3 * (LIMITS.burst + LIMITS.depth)  # of one input: no step issues more than two commands and a log


# --- programs


TEXTS = st.sampled_from(["", "a", "${x}", "${voipbin.call.digits}", "1", "${x}${x}"])


def of_documents() -> list[st.SearchStrategy[Op]]:
    """Those that go by what an account has stored."""
    return [
        st.builds(CheckMailbox, TEXTS, single=st.booleans()),
        st.builds(AtBox, TEXTS, st.just(CheckMailbox("b"))),
        st.builds(Match, TEXTS, st.sampled_from(["", "^a", "[0-9]+"]), st.booleans()),
        st.builds(EnterNumber, TEXTS, low=st.integers(1, 3), high=st.integers(1, 3)),
        st.builds(Behind),
        st.builds(InList, TEXTS, prefixes=st.sampled_from([(), ("1",)])),
        st.builds(ByRule, st.just(("r",))),
        st.builds(SwitchRules, st.just(("r",)), st.sampled_from(["menu", "enable", "nothing"])),
        st.builds(Described, TEXTS, TEXTS, st.just(lambda document: Sleep(0.0))),
    ]


def operations() -> list[st.SearchStrategy[Op]]:
    """One strategy, or more, for each operation."""
    texts = TEXTS
    seconds = st.sampled_from([0.0, 0.001, 1.0, 60.0])
    limit = st.none() | seconds
    mode = st.sampled_from(["push", "replace"])
    keys = st.sampled_from(["", "#", "0123456789*#"])
    party = st.builds(flow.Party, texts, texts)
    compare = st.sampled_from(["==", "!=", ">", "<="])
    return [
        st.builds(Answer),
        st.builds(Ring),
        st.builds(Say, texts, wait=st.booleans(), stop_keys=keys, loops=st.integers(0, 2), answers=st.booleans()),
        st.builds(Play, st.lists(texts, max_size=2).map(tuple), wait=st.booleans(), stop_keys=keys, loops=st.integers(0, 2)),
        st.builds(Tone),
        st.builds(Echo, st.sampled_from([0.02, 5.0])),
        st.builds(Sleep, seconds),
        st.just(Block()),
        st.builds(Hold, st.sampled_from(["hangup", "recordings"])),
        st.builds(Gather, st.integers(0, 3), keys, limit, limit, limit, st.booleans(), st.booleans(), st.sampled_from(["", "x"])),
        st.builds(Menu, texts, texts, keys, invalid=texts, exit=texts, hunts=st.booleans(), retries=st.integers(1, 3), between_s=seconds),
        st.builds(SendDigits, texts),
        st.builds(Record, st.builds(RecordSpec, blocking=st.booleans(), beep=st.booleans()), st.booleans()),
        st.builds(StopRecording, st.sampled_from(["active", "newest"])),
        st.builds(Branch, st.sampled_from(["x", "${x}", "voipbin.call.digits"]), st.booleans()),
        st.builds(Compare, texts, compare, texts),
        st.builds(Compare, texts, compare, st.integers(0, 3), st.sampled_from(["number", "length"])),
        st.builds(CompareTime, compare, st.integers(0, 59), weekdays=st.frozensets(st.integers(0, 6))),
        st.builds(HasDigits, st.integers(0, 2), keys),
        st.builds(HasStatus, st.sampled_from(["ringing", "progressing"])),
        st.builds(Jump, st.integers(0, 5)),
        st.builds(SetVariable, st.tuples(st.tuples(texts, texts))),
        st.builds(
            FetchProgram,
            texts,
            mode=mode,
            required=st.booleans(),
            empty_continues=st.booleans(),
            encoding=st.sampled_from(["json", "form"]),
        ),
        st.builds(LoadProgram, texts, mode, st.booleans()),
        st.builds(Notify, texts, wait=st.booleans()),
        st.builds(Dial, st.lists(party, min_size=1, max_size=2).map(tuple)),
        st.builds(JoinRoom, texts, dialled=st.booleans(), relay_reason=st.booleans()),
        st.builds(PassOn),
        st.builds(Park, texts, st.sampled_from(["park", "retrieve", "auto"])),
        st.builds(PlaceCall, st.just(())),
        st.builds(asking.Input, dtmf=st.booleans(), speech=st.booleans(), max_digits=st.integers(1, 3), on_hash=st.booleans()),
        st.builds(asking.ReportDigits, texts),
        st.builds(asking.Notify, st.just({"payload": {}}), texts),
        st.builds(asking.Connect, party, synchronous=st.booleans()),
        st.builds(Remain, st.booleans()),
        st.builds(Hangup, texts),
        st.builds(Stop),
        st.builds(Skip, texts),
        *of_documents(),
        st.builds(Page, st.lists(party, max_size=2).map(tuple)),
    ]


@st.composite
def programs(draw: st.DrawFn) -> flow.Program:
    ids = [str(number) for number in range(draw(st.integers(1, 8)))]
    results = st.sampled_from(["_", "_", "_", "false", "again", "1", "failed", "timeout", "refused", ""])
    targets = st.sampled_from([*ids, *ids, flow.END, "nowhere"])
    steps = {name: flow.Step(name, draw(st.one_of(operations())), draw(st.dictionaries(results, targets, max_size=4))) for name in ids}
    end, ahead = draw(st.sampled_from(["hangup", "stay"])), draw(st.sampled_from(["last", "all", "none"]))
    return flow.Program("0", steps, at_end=end, typed_ahead=ahead)


# --- what happens on the call

MESSAGE = flow.Message("a", "1", "now", "new", "recording:a")
DOCUMENTS = [
    b"",
    b"[]",
    b"x",
    b'[{"type":"talk","option":{"text":"${x}"}}]',
    b'[{"action":"input","eventUrl":["https://x.test"]},{"action":"record"}]',
    b'[{"type":"goto","option":{"target_id":"0","loop_count":3}}]',
]


ANSWERS = [None, *map(flow.compile, DOCUMENTS)]


def happening(token: int, choice: random.Random, program: flow.Program) -> flow.Event | None:
    """Something that may happen now; None: time passes."""
    document = choice.choice([None, program, *DOCUMENTS])
    kinds: list[Any] = [
        None,
        flow.Answered(token),
        flow.PlayEnded(token, choice.random() < 0.5, choice.choice(["", "", "broken"])),
        flow.Digit(choice.choice([*string.digits, "*", "#", "A", "x", ""])),
        flow.RecordingStarted(token, "r", {"format": "wav"}),
        flow.RecordingRefused(token, "full"),
        flow.RecordingEnded(token, choice.choice(["key", "silence", "_", ""])),
        flow.Fetched(token, choice.choice([200, 200, 404, 0]), choice.choice(DOCUMENTS), choice.choice(["", "", "no route"])),
        flow.FlowLoaded(token, document),
        flow.DigitsSent(token),
        flow.DialEnded(token, choice.random() < 0.5, ("BUSY", "sip:486")),
        flow.Asked(token, choice.choice(ANSWERS)),
        flow.Parted(token, choice.random() < 0.5),
        flow.DialRoom(token, "room"),
        flow.RoomLeft(token, choice.choice(["left", "full"]), choice.choice(["", "", "after"])),
        flow.LookedUp(token, choice.choice([None, {"name": "x"}])),
        flow.RuleFound(token, choice.choice(["r", ""])),
        flow.MailboxTold(token, choice.choice(["in", "pin", "own", "done", "closed"]), (MESSAGE,)),
        flow.Unsupported(token),
        flow.CallStatus(choice.choice(["ringing", "progressing"])),
    ]
    return choice.choice(kinds)


def live(program: flow.Program, choice: random.Random, length: int = 60) -> None:
    """Run a program through `length` happenings and the hang-up."""
    run = flow.Run(program, flow.Variables({"x": "1"}), compile=flow.compile, wall=lambda: 1.7e9, limits=LIMITS)
    now, token = 0.0, 0
    commands = run.start(now)
    for _ in range(length):
        assert len(commands) <= MOST_COMMANDS
        assert not (commands and isinstance(commands[-1], flow.Hangup)) or run.finished
        token = max([token, *(getattr(command, "token", None) or 0 for command in commands if not isinstance(command, flow.StopPlay))])
        if run.finished:
            break
        deadline = run.next_deadline()
        event = happening(choice.randint(max(0, token - 3), token + 1), choice, program)
        if event is None:
            now = deadline if deadline is not None and choice.random() < 0.8 else now + choice.random()
            commands = run.tick(now)
        else:
            commands = run.handle(event, now)
    final = run.handle(flow.HungUp(), now)
    assert final == [] and run.finished and run.next_deadline() is None
    assert run.handle(flow.Digit("1"), now) == [] and run.tick(now + 1e6) == []


@settings(max_examples=max(1, int(25 * SECONDS)))
@given(programs(), st.randoms(use_true_random=False))
def test_any_program_ends_with_its_call(program: flow.Program, choice: random.Random) -> None:
    live(program, choice)


@settings(max_examples=max(1, int(15 * SECONDS)))
@given(programs())
def test_any_program_can_be_drawn(program: flow.Program) -> None:
    lines = flow.mermaid(program).splitlines()
    assert lines[0] == "flowchart TD" and sum("-->" in line for line in lines) >= 1


def test_every_operation_is_among_the_fuzzed() -> None:
    @settings(max_examples=1)
    @given(st.tuples(*operations()))
    def one_of_each(made: tuple[Op, ...]) -> None:
        seen.update(type(op) for op in made)

    seen: set[type] = set()
    one_of_each()
    folder = Path(flow.__file__).parent / "ops"
    modules = [importlib.import_module(f"tapeline.flow.ops.{path.stem}") for path in folder.glob("[a-z]*.py")]
    assert seen == {getattr(module, name) for module in modules for name in module.__all__ if is_op(getattr(module, name))}


def is_op(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, Op)


# --- documents

VALUES: list[Any] = [None, True, False, 0, 1, -1, 3, 1e9, 1.5, "", "1", "x", "true", "#", "any", "${x}", "=="]
VALUES += ["0", "a", "https://x", [], {}, [1], ["a"], [{}], {"1": "a"}, [{"target": "+1"}], "\u0000", "\ud800"]
KEYS = [
    "actions", "action", "module", "flow", "type", "id", "next_id", "option", "text", "language", "async", "digits_handle",
    "stream_urls", "duration", "length", "key", "digits", "interval", "variable", "target_ids", "default_target_id", "condition",
    "value_type", "value_string", "value_number", "value_length", "false_target_id", "minute", "hour", "day", "month", "weekdays",
    "target_id", "loop_count", "reason", "reference_id", "destinations", "source", "conference_id", "confbridge_id", "event_url",
    "event_method", "flow_id", "value", "uri", "method", "data", "data_type", "sync", "format", "end_of_silence", "end_of_key",
    "beep_start", "on_end_flow_id", "wait", "split", "rate", "name", "status", "target", "early_media",
]  # fmt: skip


NCCO_KEYS = [
    "text", "bargeIn", "loop", "level", "language", "streamUrl", "format", "split", "channels", "endOnSilence", "endOnKey", "timeOut",
    "beepStart", "eventUrl", "eventMethod", "transcription", "name", "startOnEnter", "endOnExit", "musicOnHoldUrl", "record", "canSpeak",
    "canHear", "mute", "endpoint", "from", "randomFromNumber", "eventType", "timeout", "limit", "ringbackTone", "machineDetection", "type",
    "dtmf", "speech", "mode", "payload", "conversationId", "maxDigits", "submitOnHash",
]  # fmt: skip
NCCO_VALUES = [
    ["https://x"], ["dtmf"], ["speech"], "conversation", "synchronous", "asynchronous", "mp3", "post", ["a", "b"], "7",
    [{"type": "phone", "number": "1"}], [{"type": "sip", "uri": "sip:a@b", "headers": {"a": 1, "\n": "b"}}], {"maxDigits": "3"},
    [{"type": "websocket", "uri": "ws://x", "content-type": "audio/l16;rate=8000", "headers": {"a": {}}}], [{"type": "app"}], {"a": [1]},
    [{"type": "vbc", "extension": 1, "onAnswer": {"url": "https://x"}, "dtmfAnswer": "1p"}],
]  # fmt: skip


def ncco(choice: random.Random) -> list[Any]:
    """Something near to an NCCO."""
    listed: list[Any] = []
    for _ in range(choice.randint(1, 5)):
        keys = [choice.choice(NCCO_KEYS) for _ in range(choice.randint(0, 6))]
        options = {key: choice.choice(NCCO_VALUES) if choice.random() < 0.7 else value(choice) for key in keys}
        listed.append(options | {"action": choice.choice([*ACTIONS, "pay"])})
    return listed


def value(choice: random.Random, depth: int = 0) -> Any:
    kind = choice.random()
    if kind < 0.6 or depth > 3:
        return choice.choice(VALUES)
    if kind < 0.8:
        return [value(choice, depth + 1) for _ in range(choice.randint(0, 3))]
    return {choice.choice(KEYS): value(choice, depth + 1) for _ in range(choice.randint(0, 4))}


def document(choice: random.Random) -> Any:
    """Something near to a flow."""
    if choice.random() < 0.3:
        return ncco(choice)
    listed = []
    for _ in range(choice.randint(0, 5)):
        option = {choice.choice(KEYS): value(choice) for _ in range(choice.randint(0, 6))}
        action = {"type": choice.choice(list(TYPES)), "id": choice.choice(["a", "b", "x", "1", None]), "option": option}
        if choice.random() < 0.2:
            action[choice.choice(KEYS)] = value(choice)
        listed.append(action)
    return listed if choice.random() < 0.5 else {"actions": listed}


def mutated(text: str, choice: random.Random) -> bytes:
    data = bytearray(text.encode("utf-8", "replace"))
    for _ in range(choice.choice([0, 1, 1, 2, 8])):
        at = choice.randrange(len(data) + 1)
        kind = choice.randrange(5)
        if kind == 0:
            data[at : at + choice.randint(1, 5)] = b""
        elif kind == 1:
            data[at:at] = choice.choice(
                [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\xff", b"\x00", b"-", b"1e9", b"null", b"//"]
            )
        elif kind == 2 and at < len(data):
            data[at] = choice.randrange(256)
        elif kind == 3:
            data[at:at] = data[: choice.randint(0, 40)]
        else:
            del data[at:]
    return bytes(data)


def check(source: Any, choice: random.Random) -> None:
    nested = choice.random() < 0.3
    found = flow.compile(source, nested=nested)
    assert (found.program is None) == bool(found.errors)
    for problem in found.problems:
        assert problem.message and str(problem) and problem.code
    if found.program is not None:
        json.dumps([dict(step.action) for step in found.program.steps.values()]).encode()
        flow.mermaid(found.program).encode()
        live(found.program, choice, 25)


def test_any_bytes_are_compiled_or_refused() -> None:
    end = time.monotonic() + SECONDS
    rounds = 0
    while time.monotonic() < end or rounds < 50:
        rounds += 1
        choice = random.Random(rounds)
        try:
            check(mutated(json.dumps(document(choice)), choice), choice)
        except Exception as error:
            raise AssertionError(f"seed {rounds}") from error


def test_any_values_are_compiled_or_refused() -> None:
    end = time.monotonic() + SECONDS
    rounds = 0
    while time.monotonic() < end or rounds < 50:
        rounds += 1
        choice = random.Random(1_000_000 + rounds)
        try:
            check(document(choice) if choice.random() < 0.8 else value(choice), choice)
        except Exception as error:
            raise AssertionError(f"seed {1_000_000 + rounds}") from error


@settings(max_examples=max(1, int(50 * SECONDS)))
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(-1e9, 1e9) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_json_writes_is_read_back(written: Any) -> None:
    from tapeline.flow.diagnostics import Problems
    from tapeline.flow.jsondoc import read

    problems = Problems()
    node = read(json.dumps(written), problems)
    if node is None:
        assert any("NUL" in problem.message for problem in problems.sorted())
    elif not problems.sorted():
        assert node.plain() == written


@settings(max_examples=max(1, int(50 * SECONDS)))
@given(st.binary(max_size=200))
def test_bytes_that_are_no_json_are_refused(data: bytes) -> None:
    found = flow.compile(data)
    try:
        json.loads(data)
    except ValueError:
        assert found.program is None
