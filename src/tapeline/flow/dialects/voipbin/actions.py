"""What each type of VoIPBIN's actions means in operations of the model. The document around them is read in `voipbin`.

Every type that VoIPBIN knows is in the table; what belongs to its other products is passed over when the flow runs. Here stand the
table, and those that sound, listen, record and send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast, get_args

from tapeline.core.ids import ZERO_ID
from tapeline.core.recordspec import RATES, Begin, Format, Heard, RecordSpec, SilenceRule
from tapeline.flow.dialects.voipbin import connecting, deciding
from tapeline.flow.dialects.voipbin.action import Action, as_json, keys_of, method_of, needed
from tapeline.flow.fields import Fields
from tapeline.flow.ops.answering import Answer
from tapeline.flow.ops.ending import Hangup, Skip, Stop
from tapeline.flow.ops.fetching import FetchProgram, LoadProgram, Notify
from tapeline.flow.ops.keys import Gather, SendDigits
from tapeline.flow.ops.recording import Record, StopRecording
from tapeline.flow.ops.sounding import ALL_KEYS, Echo, Play, Say, Tone
from tapeline.flow.ops.waiting import Block, Sleep
from tapeline.flow.program import Op

__all__ = ["OTHERS", "TYPES"]

DAY_S: Final = 86_400
DAY_MS: Final = 86_400_000
_END_KEYS: Final = {"": "", "none": "", "any": ALL_KEYS}


def _answer(action: Action) -> Op:
    return Answer()


def _talk(action: Action) -> Op:
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


def _play(action: Action) -> Op:
    urls = tuple(url for url in action.option.texts("stream_urls") if url.strip())
    if not urls:
        action.warn("there is nothing to play", "stream_urls")
    return Play(urls)


def _beep(action: Action) -> Op:
    return Tone("beep")


def _sleep(action: Action) -> Op:
    return Sleep(action.option.integer("duration", low=0, high=DAY_MS, clamp=True) / 1000)


def _echo(action: Action) -> Op:
    milliseconds = action.option.integer("duration", high=DAY_MS, clamp=True)
    return Echo(milliseconds / 1000 if milliseconds > 0 else 180.0)


def _recording_start(action: Action) -> Op:
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


def _recording_stop(action: Action) -> Op:
    return StopRecording("active")


def _digits_receive(action: Action) -> Op:
    option = action.option
    return Gather(
        max_digits=option.integer("length", low=0, high=256, clamp=True),
        end_keys=keys_of(action, "key"),
        total_s=option.integer("duration", low=0, high=DAY_MS, clamp=True) / 1000,
    )


def _digits_send(action: Action) -> Op:
    option = action.option
    digits = option.text("digits")
    if len(digits) > 100 and "${" not in digits:
        action.warn("at most 100 digits are sent", "digits", "the rest is left out")
    duration = option.integer("duration", 100, low=100, high=1000, clamp=True)
    return SendDigits(digits, duration, option.integer("interval", 100, low=0, high=5000, clamp=True))


def _hangup(action: Action) -> Op:
    reference = action.option.text("reference_id")
    return Hangup(action.option.text("reason", "normal") or "normal", "" if reference == ZERO_ID else reference)


def _stop(action: Action) -> Op:
    return Stop()


def _fetch(action: Action) -> Op:
    url, method = needed(action, "event_url"), method_of(action, "event_method")
    fields = (("activeflow_id", "${voipbin.activeflow.id}"), ("reference_id", "${voipbin.activeflow.reference_id}"))
    return FetchProgram(url, method, fields, required=True)


def _fetch_flow(action: Action) -> Op:
    return LoadProgram(needed(action, "flow_id"), required=True)


def _webhook_send(action: Action) -> Op:
    option = action.option
    url, method = option.text("uri").strip(), method_of(action, "method")
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
        return as_json(node)
    return option.text("data")


def _other(action: Action) -> Op:
    return Skip(action.type)


def _mute(action: Action) -> Op:
    return Skip("mute", "the platform knows it and does nothing")


def _amd(action: Action) -> Op:
    """Nobody listens for an answering machine here, and none is ever found: the flow goes on, whatever is to be done with one."""
    handle = action.option.text("machine_handle", choices=("", "hangup", "continue"), lower=True)
    action.option.boolean("async")
    if handle == "hangup":
        action.warn("answering machines are not recognised: the flow goes on with them as with people", "machine_handle")
    return Skip("amd", "answering machines are not recognised", ("tapeline.amd.result", "unsupported"))


def _block(action: Action) -> Op:
    return Block()


OTHERS: Final = (  # the platform's other products; their options are not looked at
    "ai_summary", "ai_talk", "ai_task", "case_create", "conversation_send", "email_send", "external_media_start",
    "external_media_stop", "message_send", "queue_join", "transcribe_recording", "transcribe_start", "transcribe_stop",
)  # fmt: skip
TYPES: Final[Mapping[str, Callable[[Action], Op]]] = {
    "amd": _amd,
    "answer": _answer,
    "beep": _beep,
    "block": _block,
    "branch": deciding.branch,
    "call": connecting.call,
    "condition_call_digits": deciding.condition_call_digits,
    "condition_call_status": deciding.condition_call_status,
    "condition_datetime": deciding.condition_datetime,
    "condition_variable": deciding.condition_variable,
    "confbridge_join": connecting.confbridge_join,
    "conference_join": connecting.conference_join,
    "connect": connecting.connect,
    "digits_receive": _digits_receive,
    "digits_send": _digits_send,
    "echo": _echo,
    "fetch": _fetch,
    "fetch_flow": _fetch_flow,
    "goto": deciding.goto,
    "hangup": _hangup,
    "mute": _mute,
    "play": _play,
    "recording_start": _recording_start,
    "recording_stop": _recording_stop,
    "sleep": _sleep,
    "stop": _stop,
    "stream_echo": _echo,
    "talk": _talk,
    "variable_set": deciding.variable_set,
    "webhook_send": _webhook_send,
} | dict.fromkeys(OTHERS, _other)
