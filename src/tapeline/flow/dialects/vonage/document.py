"""Vonage's NCCOs: `[{"action": "talk", "text": ...}, {"action": "record", ...}, ...]`.

Actions run in order. A `record` with an ending condition (`endOnSilence`, `endOnKey`, `timeOut`) holds the document until it ends, any
other runs on; one that stands last keeps the call up. A prompt with `bargeIn` gives way to the `input` that follows it. After the last
action the call stays up for as long as it is connected with others. Strings are taken for numbers and booleans, null is absent, unknown
keys are warnings; a value out of its range or of a wrong kind is an error, as on the platform. Knows the model and its operations,
nothing that runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from tapeline.flow.diagnostics import Problems
from tapeline.flow.dialects.dialect import Dialect
from tapeline.flow.dialects.vonage.options import (
    LEVEL,
    asked,
    choice,
    dial_options,
    legs,
    membership,
    party,
    record_spec,
    spoken_length,
)
from tapeline.flow.fields import Fields
from tapeline.flow.jsondoc import Node
from tapeline.flow.ops.asking import Connect, Input, Notify, ReportDigits
from tapeline.flow.ops.connecting import JoinRoom
from tapeline.flow.ops.deciding import SetVariable
from tapeline.flow.ops.recording import Record
from tapeline.flow.ops.sounding import ALL_KEYS, Play, Say, Tone
from tapeline.flow.ops.waiting import Remain, Sleep
from tapeline.flow.program import DEFAULT, Op, Program, Step
from tapeline.flow.variables import DIGITS

__all__ = ["ACTIONS", "DIALECT"]

MAX_TEXT: Final = 1500  # characters of a talk, tags not counted
END_STEP: Final = "end"
BARGE: Final = "interrupted"  # the result of a prompt that a key has cut


@dataclass(slots=True)
class _Action:
    """One action while it is compiled: its fields, and what they say of what follows."""

    name: str
    fields: Fields
    barges: bool = False  # a prompt that a key cuts short, on the way to the next input
    after_barge: bool = False  # an input whose first key may have cut a prompt
    final: bool = False  # nothing runs after it
    runs_on: bool = False  # a recording that nobody waits for
    ops: list[Op] = field(default_factory=list)

    def fail(self, message: str, name: str = "", hint: str = "") -> None:
        self.fields.problems.error(self.fields.at(name), message, hint=hint)

    def warn(self, message: str, name: str = "", hint: str = "") -> None:
        self.fields.problems.warning(self.fields.at(name), message, hint=hint)


# --- one function for each action


def _talk(action: _Action) -> None:
    fields = action.fields
    fields.ignore("voiceName", "premium")
    text = fields.text("text")
    if not text.strip():
        action.fail("talk needs a text", "text")
    elif spoken_length(text) > MAX_TEXT:
        action.fail(f"the text is longer than {MAX_TEXT} characters", "text")
    fields.integer("style", low=0, high=1000)
    barges = fields.boolean("bargeIn") or action.barges
    action.barges = barges
    action.ops.append(
        Say(
            text,
            language=fields.text("language", "en-US") or "en-US",
            stop_keys=ALL_KEYS if barges else "",
            loops=fields.integer("loop", 1, low=0, high=1_000_000),
            level=fields.number("level", low=-LEVEL, high=LEVEL),
        )
    )


def _stream(action: _Action) -> None:
    fields = action.fields
    urls = [url.strip() for url in fields.texts("streamUrl") if url.strip()]
    if not urls:
        action.fail("stream needs a streamUrl", "streamUrl", '["https://..."]')
    elif len(urls) > 1:
        action.warn("streamUrl holds one address", "streamUrl", "the first is played")
    barges = fields.boolean("bargeIn") or action.barges
    action.barges = barges
    action.ops.append(
        Play(
            tuple(urls[:1]),
            answers=True,
            stop_keys=ALL_KEYS if barges else "",
            loops=fields.integer("loop", 1, low=0, high=1_000_000),
            level=fields.number("level", low=-LEVEL, high=LEVEL),
        )
    )


def _record(action: _Action) -> None:
    spec, beep = record_spec(action.fields)
    action.runs_on = not spec.blocking
    if beep:
        action.ops.append(Tone("beep", answers=True))
    action.ops.append(Record(spec, answers=True))


def _wait(action: _Action) -> None:
    action.ops.append(Sleep(action.fields.number("timeout", 10.0, low=0.1, high=7200.0, clamp=True)))


def _input(action: _Action) -> None:
    """Old documents have the settings of `dtmf` on the action itself, and no `type`."""
    fields = action.fields
    kinds = {kind.lower() for kind in fields.texts("type")}
    if unknown := kinds - {"dtmf", "speech"}:
        action.fail(f"{sorted(unknown)[0][:40]!r} is no type of input", "type", "dtmf or speech")
    speech = Fields(fields.node("speech"), fields.problems, fields.place) if "speech" in fields else None
    own = Fields(fields.node("dtmf"), fields.problems, fields.place) if "dtmf" in fields else fields
    if not kinds:
        kinds = {"speech"} if speech is not None and own is fields else {"dtmf"}
    seconds = own.number("timeOut", 3.0, low=0.0, high=10.0)
    most = own.integer("maxDigits", 4, low=1, high=20)
    on_hash = own.boolean("submitOnHash")
    if own is not fields:
        own.done()
    if speech is not None:
        patience = _speech(speech)
    else:
        patience = 10.0
    url, method = asked(fields)
    if choice(fields, "mode", ("synchronous", "asynchronous"), "synchronous") == "asynchronous":
        if kinds != {"dtmf"}:
            action.fail("only dtmf can be asked for asynchronously", "mode")
        action.ops.append(ReportDigits(url, method))
        return
    first = patience if "speech" in kinds else seconds
    action.ops.append(Input("dtmf" in kinds, "speech" in kinds, most, first, seconds, on_hash, not action.after_barge, url, method))


def _speech(speech: Fields) -> float:
    """Read, so that mistakes are found: there is nothing here that recognises speech. How long it may take to begin, in seconds."""
    speech.ignore("context", "provider", "providerOptions")
    speech.texts("uuid")
    speech.number("endOnSilence", 2.0, low=0.4, high=10.0)
    speech.text("language", "en-US")
    seconds = speech.number("startTimeout", 10.0, low=1.0, high=60.0)
    speech.number("maxDuration", 60.0, low=1.0, high=60.0)
    speech.boolean("saveAudio")
    speech.number("sensitivity", 90, low=10, high=100)
    speech.problems.warning(speech.place, "speech is not recognised here", hint="its event says so")
    speech.done()
    return seconds


def _notify(action: _Action) -> None:
    fields = action.fields
    payload = fields.node("payload")
    if payload is None or not isinstance(payload.value, dict):
        action.fail("notify needs a payload, an object", "payload")
    url, method = asked(fields)
    if not url:
        action.fail("notify needs an eventUrl", "eventUrl", '["https://..."]')
    action.ops.append(Notify({"payload": payload.plain() if payload is not None else {}}, url, method))


def _connect(action: _Action) -> None:
    fields = action.fields
    endpoints = list(fields.objects("endpoint"))
    if len(endpoints) != 1:
        action.fail("connect needs exactly one endpoint", "endpoint", '[{"type": "phone", "number": "447700900000"}]')
    found = [party(each) for each in endpoints[:1]]
    source, options = dial_options(fields)
    ring = fields.number("timeout", 60.0, low=1.0, high=7200.0)
    synchronous = choice(fields, "eventType", ("", "synchronous"), "") == "synchronous"
    url, method = asked(fields)
    for destination, more in found:
        if destination is not None:
            told = {"event_url": url, "event_method": method if url else "", "event_asked": synchronous}
            options |= more | told
            action.ops.append(Connect(destination, source, ring, synchronous, url, method, options))


def _conversation(action: _Action) -> None:
    fields = action.fields
    name = fields.text("name").strip()
    if not name:
        action.fail("conversation needs a name", "name")
    action.final = True
    action.ops.append(JoinRoom(name, "conversation", membership(fields), prelude=False, scoped=True))


def _transfer(action: _Action) -> None:
    fields = action.fields
    target = (fields.text("conversationId") or fields.text("conversation_id")).strip()
    if not target:
        action.fail("transfer needs a conversationId", "conversationId")
    action.final = True
    action.ops.append(JoinRoom(target, "conversation", legs(fields), prelude=False, everyone=True))


ACTIONS: Final[dict[str, Callable[[_Action], None]]] = {
    "connect": _connect,
    "conversation": _conversation,
    "input": _input,
    "notify": _notify,
    "record": _record,
    "stream": _stream,
    "talk": _talk,
    "transfer": _transfer,
    "wait": _wait,
}
_PROMPTS: Final = ("talk", "stream")


# --- the document


def _recognises(root: Node) -> bool:
    items = root.value if isinstance(root.value, list) else []
    return any(isinstance(item.value, dict) and "action" in item.value for item in items)


def _compile(root: Node, problems: Problems, *, nested: bool) -> Program | None:
    if not isinstance(root.value, list):
        problems.error(root.place, f"an NCCO is an array of actions, not {root.type}")
        return None
    drafts = _drafts(root.value, problems)
    if problems.failed:
        return None
    steps = _steps(drafts)
    keeps = bool(drafts) and drafts[-1][1].runs_on
    steps[END_STEP] = Step(END_STEP, Remain(keeps), label="end")
    return Program(next(iter(steps)), steps, dialect="vonage", substitutes=False)


def _drafts(items: list[Node], problems: Problems) -> list[tuple[Node, _Action]]:
    drafts: list[tuple[Node, _Action]] = []
    barges = final = False
    for node in items:
        if not isinstance(node.value, dict):
            problems.error(node.place, f"an action must be an object, not {node.type}")
            continue
        if final:
            problems.warning(node.place, f"nothing runs after {drafts[-1][1].name}", hint="it takes the call to its end")
            break
        fields = Fields(node, problems)
        name = _name(fields)
        if not name:
            continue
        action = _Action(name, fields, barges=barges and name in _PROMPTS, after_barge=barges)
        if barges and name not in (*_PROMPTS, "input"):
            problems.warning(node.place, "bargeIn leads to an input", hint="put the input right after the prompts")
        ACTIONS[name](action)
        fields.done()
        barges, final = action.barges and name in _PROMPTS, action.final
        drafts.append((node, action))
    return drafts


def _name(fields: Fields) -> str:
    name = fields.text("action").strip()
    if name in ACTIONS:
        return name
    if name == "pay":
        fields.problems.error(fields.at("action"), "the action pay is not supported", code="INVALID_ACTION_TYPE")
        return ""
    near = get_close_matches(name[:64], ACTIONS, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else "one of " + ", ".join(ACTIONS)
    message = f"unknown action {name[:64]!r}" if name else "an action needs its name in 'action'"
    fields.problems.error(fields.at("action"), message, hint=hint, code="INVALID_ACTION_TYPE")
    return ""


def _steps(drafts: list[tuple[Node, _Action]]) -> dict[str, Step]:
    """Each action's operations in order, then those of the next; a key during a `bargeIn` prompt goes straight to the input behind it."""
    steps: dict[str, Step] = {}
    following = behind = END_STEP  # what comes next; the first that is no prompt of a chain that a key cuts short
    for number in range(len(drafts), 0, -1):
        node, action = drafts[number - 1]
        ops = list(action.ops)
        if action.barges and not action.after_barge:
            ops.insert(0, SetVariable(((DIGITS, ""),)))  # what was pressed before is not meant for this prompt
        ids = [str(number), *(f"{number}.{each}" for each in range(2, len(ops) + 1))]
        shown = _shown(str(number), action.name, node)
        for place in range(len(ops) - 1, -1, -1):
            edges = {DEFAULT: following} | ({BARGE: behind} if action.barges else {})
            steps[ids[place]] = Step(ids[place], ops[place], edges, node.place, action.name, shown)
            following = ids[place]
        if not action.barges:
            behind = following
    return dict(reversed(steps.items()))


def _shown(number: str, name: str, node: Node) -> dict[str, Any]:
    option = node.plain()
    option.pop("action", None)
    return {"id": number, "next_id": "", "type": name, "option": option}


DIALECT: Final = Dialect("vonage", _recognises, _compile)
