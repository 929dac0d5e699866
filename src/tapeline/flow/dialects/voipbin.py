"""VoIPBIN's flows: `{"actions": [{"id", "type", "option", "next_id"}, ...]}`, or the bare list of actions.

Actions run in order; `next_id` and the targets of branches, conditions and jumps name other actions by id, in this document or in
one that called it. Every type that VoIPBIN knows compiles: what belongs to its other products is passed over when the flow runs.
Where the platform is lenient, so is this: odd values are warnings. Knows the model and its operations, nothing that runs.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal, cast, get_args

from tapeline.core.ids import ZERO_ID
from tapeline.core.recordspec import RATES, Begin, Format, Heard, RecordSpec, SilenceRule
from tapeline.core.roomspec import JoinSpec
from tapeline.flow.commands import Party
from tapeline.flow.diagnostics import Problems
from tapeline.flow.dialects.dialect import Dialect
from tapeline.flow.fields import Fields
from tapeline.flow.jsondoc import Node
from tapeline.flow.ops.answering import Answer
from tapeline.flow.ops.connecting import Dial, JoinRoom, PlaceCall
from tapeline.flow.ops.deciding import Branch, Compare, CompareTime, Comparison, HasDigits, HasStatus, Jump, SetVariable
from tapeline.flow.ops.ending import Hangup, Skip, Stop
from tapeline.flow.ops.fetching import FetchProgram, LoadProgram, Notify
from tapeline.flow.ops.keys import Gather, SendDigits
from tapeline.flow.ops.recording import Record, StopRecording
from tapeline.flow.ops.sounding import ALL_KEYS, Echo, Play, Say, Tone
from tapeline.flow.ops.waiting import Block, Sleep
from tapeline.flow.program import DEFAULT, END, Op, Program, Step

__all__ = ["DIALECT", "TYPES"]

DAY_S: Final = 86_400
DAY_MS: Final = 86_400_000
_IDS: Final = uuid.UUID("5b7f4c1e-3b1c-4f0e-9a53-6f1f0c7d2a90")  # name space of the ids made for actions that have none
_COMPARISONS: Final = ("==", "!=", ">", ">=", "<", "<=")
_END_KEYS: Final = {"": "", "none": "", "any": ALL_KEYS}


@dataclass(slots=True)
class _Action:
    """One action while it is compiled: its option, and the edges that its type adds to the way on."""

    type: str
    option: Fields
    targets: dict[str, tuple[str, Node]] = field(default_factory=dict)  # result -> (action id, where that was said)

    def target(self, result: str, name: str) -> bool:
        """Take option `name` as the target of `result`; False where there is none."""
        node = self.option.node(name)
        target = self.option.text(name).strip()
        if node is None or target in ("", ZERO_ID):
            return False
        self.targets[result] = (target, node)
        return True

    def false_target(self) -> None:
        if not self.target("false", "false_target_id"):
            self.warn("no false_target_id: the next action runs either way")

    def warn(self, message: str, name: str = "", hint: str = "") -> None:
        self.option.problems.warning(self.option.at(name), message, hint=hint)

    def fail(self, message: str, name: str = "", hint: str = "") -> None:
        self.option.problems.error(self.option.at(name), message, hint=hint)


# --- one function for each type


def _answer(action: _Action) -> Op:
    return Answer()


def _talk(action: _Action) -> Op:
    option = action.option
    option.ignore("provider", "gender")
    text = option.text("text")
    if not text.strip():
        action.warn("there is no text to speak", "text")
    handle = option.text("digits_handle", choices=("", "next"))
    return Say(
        text,
        language=option.text("language", "en-US") or "en-US",
        voice=option.text("voice_id"),
        wait=not option.boolean("async"),
        stop_keys=ALL_KEYS if handle == "next" else "",
    )


def _play(action: _Action) -> Op:
    urls = tuple(url for url in action.option.texts("stream_urls") if url.strip())
    if not urls:
        action.warn("there is nothing to play", "stream_urls")
    return Play(urls)


def _beep(action: _Action) -> Op:
    return Tone("beep")


def _sleep(action: _Action) -> Op:
    return Sleep(action.option.integer("duration", low=0, high=DAY_MS, clamp=True) / 1000)


def _echo(action: _Action) -> Op:
    milliseconds = action.option.integer("duration", high=DAY_MS, clamp=True)
    return Echo(milliseconds / 1000 if milliseconds > 0 else 180.0)


def _recording_start(action: _Action) -> Op:
    """`split`, `heard`, `rate`, `begin`, `should_follow_transfer`, `label` and `wait` are ours."""
    option = action.option
    form = option.text("format", "wav", choices=("", "wav", "mp3", "ogg"), lower=True) or "wav"
    key = option.text("end_of_key", lower=True)
    keys = _END_KEYS.get(key, key.upper())
    if any(each not in ALL_KEYS for each in keys):
        action.warn(f"{key[:20]!r} is no key", "end_of_key", "none, any, or keys of 0-9 * #")
        keys = "".join(each for each in keys if each in ALL_KEYS)
    silence = option.integer("end_of_silence", low=0, high=DAY_S, clamp=True)
    seconds = option.integer("duration", low=0, high=DAY_S, clamp=True)
    rate = option.text("rate", str(RATES[0]), choices=("", "own", *map(str, RATES)), lower=True) or str(RATES[0])
    heard = option.text("heard", "both", choices=("", "both", "caller", "callee"), lower=True) or "both"
    begin = option.text("begin", "now", choices=("", *get_args(Begin)), lower=True) or "now"
    split = option.boolean("split")
    if split and heard != "both":
        action.warn(f"split needs both sides, and heard is {heard}", "split", "one channel is used")
    flow_id = option.text("on_end_flow_id")
    return Record(
        RecordSpec(
            heard=cast(Heard, heard),
            channels=2 if split and heard == "both" else 1,
            begin=cast(Begin, begin),
            follow_transfer=option.boolean("should_follow_transfer", True),
            format=cast(Format, form),
            rate=0 if rate == "own" else int(rate),
            max_s=float(seconds or DAY_S),
            silence=SilenceRule(initial_s=float(silence), final_s=float(silence)) if silence else None,
            end_keys=frozenset(keys),
            beep=option.boolean("beep_start"),
            blocking=option.boolean("wait"),
            on_end_flow_id="" if flow_id == ZERO_ID else flow_id,
            label=option.text("label"),
            origin="flow",
        )
    )


def _recording_stop(action: _Action) -> Op:
    return StopRecording("active")


def _digits_receive(action: _Action) -> Op:
    option = action.option
    return Gather(
        max_digits=option.integer("length", low=0, high=256, clamp=True),
        end_keys=_keys(action, "key"),
        total_s=option.integer("duration", low=0, high=DAY_MS, clamp=True) / 1000,
    )


def _keys(action: _Action, name: str) -> str:
    wanted = action.option.text(name).upper()
    keys = "".join(key for key in wanted if key in ALL_KEYS)
    if keys != wanted:
        action.warn("only 0-9, *, # and A-D are keys", name, "the rest is left out")
    return keys


def _digits_send(action: _Action) -> Op:
    option = action.option
    digits = option.text("digits")
    if len(digits) > 100 and "${" not in digits:
        action.warn("at most 100 digits are sent", "digits", "the rest is left out")
    duration = option.integer("duration", 100, low=100, high=1000, clamp=True)
    return SendDigits(digits, duration, option.integer("interval", 100, low=0, high=5000, clamp=True))


def _branch(action: _Action) -> Op:
    option = action.option
    for value, node in option.members("target_ids").items():
        if isinstance(node.value, str) and node.value.strip() not in ("", ZERO_ID):
            action.targets[value] = (node.value.strip(), node)
        elif not isinstance(node.value, str):
            option.problems.error(node.place, f"must be an action's id, not {node.type}")
    action.target(DEFAULT, "default_target_id")
    if not action.targets and "target_ids" not in option:
        action.warn("a branch without targets goes to the next action")
    return Branch(option.text("variable") or "voipbin.call.digits", clear=True)


def _comparison(action: _Action) -> Comparison:
    found = action.option.text("condition", "==").strip() or "=="
    if found not in _COMPARISONS:
        action.fail(f"no such condition: {found[:20]!r}", "condition", "one of " + " ".join(_COMPARISONS))
        return "=="
    return cast(Comparison, found)


def _condition_variable(action: _Action) -> Op:
    option = action.option
    comparison = _comparison(action)
    kind = option.text("value_type", "string", choices=("", "string", "number", "length")) or "string"
    text, number, length = option.text("value_string"), option.number("value_number"), option.integer("value_length")
    action.false_target()
    if "variable" not in option:
        action.warn("no variable to look at", hint="write ${name}")
    subject = option.text("variable")
    if kind == "string":
        return Compare(subject, comparison, text)
    return Compare(subject, comparison, number if kind == "number" else length, "number" if kind == "number" else "length")


def _condition_datetime(action: _Action) -> Op:
    option = action.option
    comparison = _comparison(action)
    parts = {
        "minute": option.integer("minute", 0, low=-1, high=59),
        "hour": option.integer("hour", 0, low=-1, high=23),
        "day": option.integer("day", 0, high=31),
        "month": option.integer("month", 0, high=12),
    }
    weekdays: set[int] = set()
    node = option.node("weekdays")
    for item in node.value if node is not None and isinstance(node.value, list) else []:
        day = int(item.value) if str(item.value) in "0123456" and len(str(item.value)) == 1 else -1
        if day < 0:
            option.problems.error(item.place, "a weekday is 0 (Sunday) to 6")
        else:
            weekdays.add(day)
    if node is not None and not isinstance(node.value, list):
        option.problems.error(node.place, f"must be a list of numbers, not {node.type}")
    action.false_target()
    return CompareTime(
        comparison,
        minute=parts["minute"] if parts["minute"] >= 0 else None,
        hour=parts["hour"] if parts["hour"] >= 0 else None,
        day=parts["day"] if parts["day"] > 0 else None,
        month=parts["month"] if parts["month"] > 0 else None,
        weekdays=frozenset(weekdays),
    )


def _condition_call_digits(action: _Action) -> Op:
    action.false_target()
    return HasDigits(action.option.integer("length", low=0, clamp=True), _keys(action, "key"))


def _condition_call_status(action: _Action) -> Op:
    action.false_target()
    return HasStatus(action.option.text("status"))


def _goto(action: _Action) -> Op:
    times = action.option.integer("loop_count", low=0, clamp=True)
    if not action.target("again", "target_id") and times:
        action.fail("goto needs a target_id", "target_id")
    if not times:
        action.warn("a goto without a loop_count is never taken", "loop_count")
    return Jump(times)


def _variable_set(action: _Action) -> Op:
    key, value = action.option.text("key"), action.option.text("value")
    if not key.strip():
        action.warn("no key: nothing is set", "key")
        return Skip("variable_set", "it names no variable")
    return SetVariable(((key, value),))


def _hangup(action: _Action) -> Op:
    reference = action.option.text("reference_id")
    return Hangup(action.option.text("reason", "normal") or "normal", "" if reference == ZERO_ID else reference)


def _stop(action: _Action) -> Op:
    return Stop()


def _party(fields: Fields) -> Party:
    fields.ignore("detail", "target_name")
    party = Party(fields.text("type"), fields.text("target").strip(), fields.text("name") or fields.text("target_name"))
    fields.done()
    return party


def _parties(action: _Action) -> tuple[tuple[Party, ...], Party | None]:
    option = action.option
    destinations = []
    for fields in option.objects("destinations"):
        party = _party(fields)
        if party.target:
            destinations.append(party)
        else:
            action.option.problems.error(fields.place, "a destination needs a target")
    source = option.node("source")
    if not destinations and not option.problems.failed:
        action.fail(f"{action.type} needs a destination", "destinations", '[{"type": "tel", "target": "+15551234567"}]')
    return tuple(destinations), _party(Fields(source, option.problems)) if source is not None else None


def _anonymous(option: Fields) -> Literal["yes", "no", "auto"]:
    """Who wants to be hidden must be, so a word that says neither is no matter of a warning."""
    found = option.text("anonymous", "auto") or "auto"
    if found not in ("yes", "no", "auto"):
        option.problems.error(option.at("anonymous"), f"{found[:40]!r} is none of yes, no, auto", code="INVALID_ANONYMOUS_VALUE")
        return "auto"
    return cast('Literal["yes", "no", "auto"]', found)


def _connect(action: _Action) -> Op:
    """`timeout`, `strategy` and `ring_timeout` are ours."""
    option = action.option
    destinations, source = _parties(action)
    options: dict[str, Any] = {"relay_reason": True} if option.boolean("relay_reason") else {}
    early, anonymous = option.boolean("early_media"), _anonymous(option)
    timeout = option.integer("timeout", 60, low=1, high=3600, clamp=True)
    each = option.integer("ring_timeout", low=0, high=3600, clamp=True)
    if option.text("strategy", "all", choices=("", "all", "in_order")) == "in_order":
        options |= {"strategy": "one_by_one", "each_s": float(each)}
    if not destinations:
        return Skip("connect")
    return Dial(destinations, source, float(timeout), early_media=early, anonymous=anonymous, options=options)


def _call(action: _Action) -> Op:
    option = action.option
    destinations, source = _parties(action)
    early = option.boolean("early_execution")
    flow_id, actions = option.text("flow_id").strip(), _json(option.node("actions"))
    flow_id = "" if flow_id == ZERO_ID else flow_id
    if not flow_id and not actions:
        action.warn("neither flow_id nor actions: who answers is hung up at once")
    return PlaceCall(destinations, source, flow_id, actions, option.boolean("chained"), _anonymous(option), early)


def _conference_join(action: _Action) -> Op:
    return JoinRoom(_needed(action, "conference_id"), "conference", _membership(action.option))


def _confbridge_join(action: _Action) -> Op:
    return JoinRoom(_needed(action, "confbridge_id"), "confbridge", _membership(action.option))


def _membership(option: Fields) -> JoinSpec:
    """All of these are ours: the platform's action has nothing but the id."""
    return JoinSpec(
        moderator=option.boolean("moderator") if "moderator" in option else None,
        end_on_exit=option.boolean("end_on_exit"),
        mute=option.boolean("mute"),
        deaf=option.boolean("deaf"),
        music=option.text("music") if "music" in option else None,
    )


def _needed(action: _Action, name: str) -> str:
    value = action.option.text(name).strip()
    if value in ("", ZERO_ID):
        action.fail(f"{action.type} needs {name}", name)
    return value


def _fetch(action: _Action) -> Op:
    url, method = _needed(action, "event_url"), _method(action, "event_method")
    fields = (("activeflow_id", "${voipbin.activeflow.id}"), ("reference_id", "${voipbin.call.id}"))
    return FetchProgram(url, method, fields, required=True)


def _fetch_flow(action: _Action) -> Op:
    return LoadProgram(_needed(action, "flow_id"), required=True)


def _method(action: _Action, name: str) -> str:
    return action.option.text(name, "POST", choices=("", "get", "post", "put", "delete"), lower=True).upper() or "POST"


def _webhook_send(action: _Action) -> Op:
    option = action.option
    url, method = option.text("uri").strip(), _method(action, "method")
    kind, data, wait = option.text("data_type"), _data(option), option.boolean("sync")
    if not url:
        action.warn("no uri: nothing is sent", "uri")
        return Skip("webhook_send", "it names no uri")
    return Notify(url, method, kind or "application/json", data, wait)


def _data(option: Fields) -> str:
    """The body; an object in place of a string is sent as JSON."""
    node = option.node("data")
    if node is not None and isinstance(node.value, dict | list):
        option.problems.warning(node.place, "data must be a string", hint="it is sent as JSON")
        return _json(node)
    return option.text("data")


def _other(action: _Action) -> Op:
    return Skip(action.type)


def _json(node: Node | None) -> str:
    return "" if node is None else json.dumps(node.plain(), ensure_ascii=False)


def _mute(action: _Action) -> Op:
    return Skip("mute", "the platform knows it and does nothing")


def _amd(action: _Action) -> Op:
    """Nobody listens for an answering machine here, and none is ever found: the flow goes on, whatever is to be done with one."""
    handle = action.option.text("machine_handle", choices=("", "hangup", "continue"), lower=True)
    action.option.boolean("async")
    if handle == "hangup":
        action.warn("answering machines are not recognised: the flow goes on with them as with people", "machine_handle")
    return Skip("amd", "answering machines are not recognised", ("tapeline.amd.result", "unsupported"))


def _block(action: _Action) -> Op:
    return Block()


TYPES: Final[dict[str, Callable[[_Action], Op]]] = {
    "amd": _amd,
    "answer": _answer,
    "beep": _beep,
    "block": _block,
    "branch": _branch,
    "call": _call,
    "condition_call_digits": _condition_call_digits,
    "condition_call_status": _condition_call_status,
    "condition_datetime": _condition_datetime,
    "condition_variable": _condition_variable,
    "confbridge_join": _confbridge_join,
    "conference_join": _conference_join,
    "connect": _connect,
    "digits_receive": _digits_receive,
    "digits_send": _digits_send,
    "echo": _echo,
    "fetch": _fetch,
    "fetch_flow": _fetch_flow,
    "goto": _goto,
    "hangup": _hangup,
    "mute": _mute,
    "play": _play,
    "recording_start": _recording_start,
    "recording_stop": _recording_stop,
    "sleep": _sleep,
    "stop": _stop,
    "stream_echo": _echo,
    "talk": _talk,
    "variable_set": _variable_set,
    "webhook_send": _webhook_send,
}
for _type in (
    "ai_summary", "ai_talk", "ai_task", "case_create", "conversation_send", "email_send", "external_media_start",
    "external_media_stop", "message_send", "queue_join", "transcribe_recording", "transcribe_start", "transcribe_stop",
):  # fmt: skip
    TYPES[_type] = _other  # the platform's other products; their options are not looked at
_WITHOUT_END: Final = (Hangup, Stop)


# --- the document


def _recognises(root: Node) -> bool:
    if isinstance(root.value, dict):
        return "actions" in root.value
    items = root.value if isinstance(root.value, list) else None
    return items is not None and all(not isinstance(item.value, dict) or "action" not in item.value for item in items)


@dataclass(slots=True)
class _Draft:
    """An action between the two passes: what it is, and where it goes."""

    id: str
    node: Node
    action: _Action
    op: Op
    next: tuple[str, Node] | None
    shown: dict[str, Any]


def _compile(root: Node, problems: Problems, *, nested: bool) -> Program | None:
    listed, name, on_complete = root, "", ""
    if isinstance(root.value, dict):
        document = Fields(root, problems)
        document.ignore("id", "customer_id", "type", "detail", "direct_hash", "tm_create", "tm_update", "tm_delete")
        name, on_complete = document.text("name"), document.text("on_complete_flow_id")
        found = document.node("actions")
        document.done()
        if found is None:
            problems.error(root.place, "there are no actions", hint='{"actions": [...]}')
            return None
        listed = found
    if not isinstance(listed.value, list):
        problems.error(listed.place, f"actions must be a list, not {listed.type}")
        return None
    drafts = _drafts(listed.value, problems)
    steps = _linked(drafts, problems, nested)
    if problems.failed:
        return None
    on_complete = "" if on_complete == ZERO_ID else on_complete
    return Program(drafts[0].id if drafts else END, steps, dialect="voipbin", name=name, on_complete_flow_id=on_complete)


def _drafts(items: list[Node], problems: Problems) -> list[_Draft]:
    """First pass: each action by itself."""
    drafts: list[_Draft] = []
    seen: set[str] = set()
    for node in items:
        if not isinstance(node.value, dict):
            problems.error(node.place, f"an action must be an object, not {node.type}")
            continue
        fields = Fields(node, problems)
        fields.ignore("tm_execute")
        own = fields.text("id").strip()
        if own in ("", ZERO_ID):
            own = ""
        elif own in seen:
            problems.warning(fields.at("id"), f"the id {own[:64]!r} is here twice", hint="targets mean the first")
            own = ""
        own = own or str(uuid.uuid5(_IDS, node.path))
        seen.add(own)
        next_node = fields.node("next_id")
        target = fields.text("next_id").strip()
        following = (target, next_node) if next_node is not None and target not in ("", ZERO_ID) else None
        option = fields.node("option")
        action = _Action(_type_of(fields, problems), Fields(option, problems, node.place))
        fields.done()
        if not action.type:
            continue
        op = TYPES[action.type](action)
        if TYPES[action.type] is not _other:
            action.option.done()
        shown = {"id": own, "next_id": target or ZERO_ID, "type": action.type, "option": option.plain() if option is not None else {}}
        drafts.append(_Draft(own, node, action, op, following, shown))
    return drafts


def _type_of(fields: Fields, problems: Problems) -> str:
    kind = fields.text("type").strip()
    if kind in TYPES:
        return kind
    near = get_close_matches(kind[:64], TYPES, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else "see the list of VoIPBIN action types"
    message = f"unknown action type {kind[:64]!r}" if kind else "an action needs a type"
    problems.error(fields.at("type"), message, hint=hint, code="INVALID_ACTION_TYPE")
    return ""


def _linked(drafts: list[_Draft], problems: Problems, nested: bool) -> dict[str, Step]:
    """Second pass: the edges."""
    known = {draft.id for draft in drafts}
    steps: dict[str, Step] = {}
    for place, draft in enumerate(drafts):
        targets = dict(draft.action.targets)
        if draft.next is not None:
            targets.setdefault(DEFAULT, draft.next)
        edges: dict[str, str] = {}
        for result, (target, node) in targets.items():
            if target not in known and not nested:
                near = get_close_matches(target[:64], known, n=1, cutoff=0.6)
                hint = f"did you mean {near[0]!r}?" if near else "give that action this id"
                problems.error(node.place, f"no action has the id {target[:64]!r}", hint=hint, code="UNKNOWN_TARGET")
            edges[result] = target
        if DEFAULT not in edges and place + 1 < len(drafts) and not isinstance(draft.op, _WITHOUT_END):
            edges[DEFAULT] = drafts[place + 1].id
        steps[draft.id] = Step(draft.id, draft.op, edges, draft.node.place, draft.action.type, draft.shown)
    return steps


DIALECT: Final = Dialect("voipbin", _recognises, _compile)
