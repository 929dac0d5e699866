"""What each module of a KAZOO callflow means in operations of the model. The tree around them is walked in `kazoo`.

Where KAZOO is lenient at run time, so is this: values out of range are moved into it, with a warning. Texts may hold KAZOO's
documentation placeholders (`{ACCOUNT_ID}`), which become variables of the call; `${` means nothing in KAZOO and stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from tapeline.core.recordspec import Delivery, Format, RecordSpec, SilenceRule
from tapeline.core.roomspec import JoinSpec, RoomSpec
from tapeline.flow.commands import Party
from tapeline.flow.fields import Fields
from tapeline.flow.ops.answering import Answer
from tapeline.flow.ops.connecting import Dial, JoinRoom
from tapeline.flow.ops.deciding import Branch, SetVariable
from tapeline.flow.ops.ending import Hangup, Skip
from tapeline.flow.ops.fetching import FetchProgram, LoadProgram, Notify
from tapeline.flow.ops.keys import Gather, SendDigits
from tapeline.flow.ops.menu import Menu
from tapeline.flow.ops.recording import Record, StopRecording
from tapeline.flow.ops.sounding import Play, Say, Tone
from tapeline.flow.ops.waiting import Hold, Sleep
from tapeline.flow.program import Op
from tapeline.flow.variables import DIGITS

__all__ = ["MODULES", "Module", "Plan"]

KEYS: Final = "0123456789*#"
LONGEST_S: Final = 10_800  # the schema's limit of time_limit
RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_PLACEHOLDER = re.compile(r"\{(ACCOUNT_ID|USER_ID|BOX_ID|VMBOX_ID|CALL_ID)\}")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_CONNECT: Final = ("answered",)
_MOST_REPEATS: Final = 10


@dataclass(frozen=True, slots=True)
class Module:
    """One action: its name, its data, and the name of the document that it stands in."""

    name: str
    data: Fields
    document: str

    def warn(self, message: str, name: str = "", hint: str = "") -> None:
        self.data.problems.warning(self.data.at(name), message, hint=hint)

    def text(self, name: str, default: str = "") -> str:
        return template(self.data.text(name, default))


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations in a row. `settled`: results that end the flow whatever the children; `again`: those that lead back to the first;
    without `falls_through`, `_` is not taken."""

    ops: tuple[Op, ...]
    settled: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    falls_through: bool = True


def template(text: str) -> str:
    """KAZOO's text as a template of ours."""
    literal = text.replace("${", "${kazoo.dollar}{")
    return _PLACEHOLDER.sub(lambda found: "${kazoo." + found.group(1).lower().replace("vmbox", "box") + "}", literal)


# --- hearing and pressing


def _terminators(module: Module) -> str:
    if "terminators" not in module.data:
        return KEYS
    return "".join(key for key in module.data.texts("terminators") if len(key) == 1 and key in KEYS)


def _answer(module: Module) -> Plan:
    return Plan((Answer(),))


def _tts(module: Module) -> Plan:
    data = module.data
    data.ignore("engine")
    if module.name == "say":
        module.warn("KAZOO has no callflow module `say`", hint="it is taken as `tts`")
    words = module.text("text")
    if not words.strip():
        module.warn("there is no text to speak", "text")
    language = module.text("language") or "${kazoo.language}"
    loops = 0 if data.boolean("endless_playback") else 1
    return Plan((Say(words, language, voice=data.text("voice", "female"), stop_keys=_terminators(module), loops=loops),))


def _play(module: Module) -> Plan:
    data = module.data
    url = module.text("id")
    loops = 0 if data.boolean("endless_playback") else data.integer("loop_count", 1, low=1, high=1000, clamp=True)
    answers = data.boolean("answer", True)
    keys = _terminators(module)
    if not url:
        module.warn("there is nothing to play", "id")
        return Plan((Skip("play", "it names nothing to play"),))
    return Plan((Play((url,), answers=answers, stop_keys=keys, loops=loops),))


def _audio_macro(module: Module) -> Plan:
    data = module.data
    keys, language = _terminators(module), module.text("language") or "${kazoo.language}"
    ops: list[Op] = []
    for macro in data.objects("macros"):
        kind = macro.text("macro")
        if kind in ("tts", "say"):
            ops.append(Say(template(macro.text("text")), template(macro.text("language")) or language, stop_keys=keys))
        elif kind in ("play", "prompt"):
            ops.append(Play((template(macro.text("id")),), answers=True, stop_keys=keys))
        elif kind == "tone":
            ops.append(Tone("beep"))
        else:
            macro.problems.warning(macro.place, f"no such macro: {kind[:40]!r}", hint="it is passed over")
    return Plan(tuple(ops) or (Skip("audio_macro", "it holds nothing to play"),))


def _menu(module: Module) -> Plan:
    """KAZOO keeps a menu as a document of its own; here its fields may stand in the data."""
    data = module.data
    data.ignore("hunt", "hunt_allow", "hunt_deny", "record_pin", "allow_record_from_offnet", "name")
    greeting = module.text("greeting") or module.text("text")
    media = Fields(data.node("media"), data.problems, data.place)
    prompt = template(media.text("greeting"))
    media.ignore("invalid_media", "exit_media", "transfer_media")
    media.done()
    menu = Menu(
        menu=module.text("id"),
        text="" if prompt else greeting,
        media=prompt,
        retries=data.integer("retries", 3, low=1, high=10, clamp=True),
        timeout_s=data.integer("timeout", 10_000, low=1, clamp=True) / 1000,
        between_s=data.integer("interdigit_timeout", 2000, low=1, clamp=True) / 1000,
        max_digits=data.integer("max_extension_length", 4, low=1, high=6, clamp=True),
    )
    return Plan((menu,), again=("again",))


def _collect_dtmf(module: Module) -> Plan:
    data = module.data
    ends = "".join(key for key in data.texts("terminators") if key in KEYS) if "terminators" in data else data.text("terminator", "#")
    collection = data.text("collection_name", "default") or "default"
    return Plan(
        (
            Gather(
                max_digits=data.integer("max_digits", 1, low=1, high=256, clamp=True),
                end_keys=ends,
                first_s=data.integer("timeout", 5000, low=1, clamp=True) / 1000,
                between_s=data.integer("interdigit_timeout", 2000, low=1, clamp=True) / 1000,
                keep_end_key=False,
                into=f"kazoo.collection.{collection}",
                answers=True,
            ),
        )
    )


def _flush_dtmf(module: Module) -> Plan:
    name = module.data.text("collection_name", "default") or "default"
    return Plan((SetVariable(((f"kazoo.collection.{name}", ""), (DIGITS, ""))),))


def _send_dtmf(module: Module) -> Plan:
    data = module.data
    duration = data.integer("duration_ms", 200, low=50, high=5000, clamp=True)
    return Plan((SendDigits(module.text("digits"), duration),))


# --- recording


def _delivery(module: Module) -> tuple[Delivery, ...] | None:
    """Where the file goes; None where it can go nowhere, and so is not to be recorded."""
    url = module.data.text("url").strip()
    method = module.data.text("method", "put", choices=("", "put", "post"), lower=True) or "put"
    if not url:
        return ()
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https", "ftp", "ftps"):
        module.warn("recordings are sent to http, https, ftp and ftps addresses only", "url", "this recording would be kept nowhere")
        return None
    return (Delivery(template(url), cast(Literal["PUT", "POST"], method.upper()), naming="kazoo"),)


def _format(module: Module) -> Format:
    return cast(Format, module.data.text("format", "mp3", choices=("", "mp3", "wav"), lower=True) or "mp3")


def _limit(module: Module) -> float:
    return float(module.data.integer("time_limit", 3600, low=5, high=LONGEST_S, clamp=True) or 3600)


def _milliseconds(module: Module, name: str, default_s: float) -> float:
    """A time of silence in seconds. Below 100 it can only have been meant as seconds."""
    if name not in module.data:
        return default_s
    value = module.data.integer(name, 0, low=0, high=86_400_000, clamp=True)
    if 0 < value < 100:
        module.warn(f"{value} ms of silence is no time at all", name, f"{value} s is used")
        return float(value)
    return value / 1000


def _silence(module: Module) -> SilenceRule | None:
    data = module.data
    wanted = data.boolean("silence_detection")
    threshold = data.integer("silence_threshold", 200, low=0, high=32_767, clamp=True)
    initial, final = _milliseconds(module, "silence_initial_timeout", 0.0), _milliseconds(module, "silence_final_timeout", 5.0)
    return SilenceRule(threshold, initial, final) if wanted else None


def _rate(module: Module) -> int:
    rate = module.data.integer("record_sample_rate", 0)
    if rate and rate not in RATES:
        module.warn(f"{rate} Hz is no rate of a recording", "record_sample_rate", "the call's own is used")
        return 0
    return rate


def _custom(module: Module) -> dict[str, str]:
    """What names the recording to KAZOO's users, and the call to its receivers; none of it ever becomes a path."""
    found = {name: module.text(name) for name in ("media_id", "media_name")}
    told = {name: f"${{kazoo.{name}}}" for name in ("from", "to", "caller_id_name", "caller_id_number")}
    return {name: value for name, value in found.items() if value} | told | {"dialect": "kazoo"}


def _record_call(module: Module) -> Plan:
    data = module.data
    data.ignore("origin")
    action = data.text("action")
    if action not in ("start", "stop"):
        module.warn("the action must be `start` or `stop`", "action", "it starts")
    spec = _call_spec(module)
    if action == "stop":
        return Plan((StopRecording("newest"),))
    if spec is None:
        return Plan((Skip("record_call", "its recording could be kept nowhere"),))
    return Plan((Record(spec),))


def _call_spec(module: Module) -> RecordSpec | None:
    data = module.data
    deliver = _delivery(module)
    on_bridge = data.boolean("record_on_bridge") and not data.boolean("record_on_answer")
    data.ignore("record_on_answer")  # nothing is recorded before that anyway
    label = module.text("label") or template(module.document) or "${kazoo.dialled}"
    spec = RecordSpec(
        heard="both",
        channels=2,
        format=_format(module),
        rate=_rate(module),
        begin="bridge" if on_bridge else "answer",
        max_s=_limit(module),
        min_s=float(data.integer("record_min_sec", 0, low=0, clamp=True)),
        silence=_silence(module),
        follow_transfer=data.boolean("should_follow_transfer", True),
        exclusive=False,
        deliver=deliver or (),
        label=label,
        origin="flow",
        custom=_custom(module),
    )
    return None if deliver is None else spec


def _record_caller(module: Module) -> Plan:
    """Answers, holds the flow, and records only the caller, until a key, silence, the limit or hang-up."""
    data = module.data
    data.ignore("origin", "action", "record_on_answer", "record_on_bridge", "should_follow_transfer")
    data.ignore("silence_detection", "silence_final_timeout", "silence_initial_timeout", "silence_threshold")
    deliver = _delivery(module)
    spec = RecordSpec(
        heard="caller",
        channels=1,
        format=_format(module),
        rate=_rate(module),
        max_s=_limit(module),
        min_s=float(data.integer("record_min_sec", 0, low=0, clamp=True)),
        silence=SilenceRule(200, initial_s=5.0, final_s=5.0),
        end_keys=frozenset(KEYS),
        exclusive=False,
        blocking=True,
        deliver=deliver or (),
        label=module.text("label") or template(module.document) or "${kazoo.dialled}",
        origin="flow",
        custom=_custom(module),
    )
    if deliver is None:
        return Plan((Skip("record_caller", "its recording could be kept nowhere"),))
    return Plan((Record(spec, answers=True),))


def _voicemail(module: Module) -> Plan:
    """Greeting, beep, message. The message is a recording like any other, of the box that it was left in."""
    data = module.data
    data.ignore("interdigit_timeout", "single_mailbox_login", "callerid_match_login")
    if data.text("action", "compose") == "check":
        module.warn("listening to a box by telephone is not part of this system", "action", "messages are listed over the API")
        return Plan((Skip("voicemail", "messages are listed over the API"),))
    box = module.text("id") or "${kazoo.box_id}"
    spec = RecordSpec(
        heard="caller",
        format="mp3",
        rate=0,
        max_s=float(data.integer("max_message_length", 500, low=1, high=LONGEST_S, clamp=True)),
        silence=SilenceRule(200, initial_s=10.0, final_s=10.0),
        end_keys=frozenset(KEYS),
        exclusive=False,
        blocking=True,
        label="voicemail",
        origin="voicemail",
        custom={"dialect": "kazoo", "voicemail_box": box},
    )
    greeting = module.text("greeting") or "The person you are calling is not available. Please leave a message after the tone."
    return Plan((Say(greeting, "${kazoo.language}", stop_keys=KEYS), Tone("beep"), Record(spec, answers=True)))


# --- other parties


def _dial_options(module: Module) -> None:
    module.data.ignore(
        "can_call_self", "can_text_self", "custom_sip_headers", "delay", "fail_on_single_reject", "static_invite", "suppress_clid",
        "ringtones", "ringback", "ignore_forward", "caller_id_type", "use_local_resources", "bypass_e164", "do_not_normalize",
        "outbound_flags", "dynamic_flags", "emit_account_id", "format_from_uri", "from_uri_realm", "hunt_account_id", "resource_type",
    )  # fmt: skip


def _endpoint(module: Module) -> Plan:
    data = module.data
    _dial_options(module)
    target = module.text("id")
    strategy = data.text("strategy" if module.name == "user" else "dial_strategy", "simultaneous")
    timeout = data.integer("timeout", 20, low=0, high=3600, clamp=True) or 20
    if not target:
        module.warn(f"the {module.name} has no id", "id", "the account's only one is called")
        target = "${kazoo.user_id}"
    dial = Dial((Party(module.name, target),), timeout_s=float(timeout), options=_strategy(strategy))
    return Plan((dial,), settled=_CONNECT)


def _strategy(name: str) -> dict[str, str]:
    return {"strategy": "all" if name == "simultaneous" else "one_by_one"}


def _ring_group(module: Module) -> Plan:
    data = module.data
    _dial_options(module)
    parties = []
    node = data.node("endpoints")
    for item in node.value if node is not None and isinstance(node.value, list) else []:
        if isinstance(item.value, str):
            data.problems.warning(item.place, "an endpoint must be an object", hint="the id is taken as a user's")
            parties.append(Party("user", template(item.value)))
            continue
        fields = Fields(item, data.problems)
        fields.ignore("delay", "timeout", "weight", "name")
        parties.append(Party(fields.text("endpoint_type", "user") or "user", template(fields.text("id"))))
        fields.done()
    if node is None or not isinstance(node.value, list):
        data.problems.error(data.at("endpoints"), "a ring_group needs endpoints", hint='[{"endpoint_type": "user", "id": "..."}]')
    strategy = data.text("strategy", "simultaneous", choices=("simultaneous", "single", "weighted_random"))
    timeout = data.integer("timeout", 20, low=1, high=3600, clamp=True)
    repeats = data.integer("repeats", 1, low=1, high=_MOST_REPEATS, clamp=True)
    name = data.text("name")
    parties = [party for party in parties if party.target]
    if not parties:
        return Plan((Skip("ring_group", f"it rings nobody {name}".strip()),))
    dial = Dial(tuple(parties), timeout_s=float(timeout), options=_strategy(strategy))
    return Plan((dial,) * repeats, settled=_CONNECT)


def _resources(module: Module) -> Plan:
    data = module.data
    _dial_options(module)
    number = module.text("to_did") or "${kazoo.dialled}"
    early = not data.boolean("ignore_early_media")
    timeout = data.integer("timeout", 60, low=0, high=3600, clamp=True) or 60
    return Plan((Dial((Party("tel", number),), timeout_s=float(timeout), early_media=early),), settled=_CONNECT, falls_through=False)


def _callflow(module: Module) -> Plan:
    return Plan((LoadProgram(module.text("id")),))


def _pivot(module: Module) -> Plan:
    data = module.data
    data.ignore("cdr_url", "debug")
    if data.text("req_format", "kazoo") == "twiml":
        module.warn("TwiML is not spoken here", "req_format", "a KAZOO action is asked for")
    method = data.text("method", "get", choices=("", "get", "post"), lower=True) or "get"
    encoding = data.text("req_body_format", "form", choices=("", "form", "json"), lower=True) or "form"
    timeout = data.integer("req_timeout_ms", 5000, low=1, high=5000, clamp=True) / 1000
    fields = (
        ("Call-ID", "${kazoo.call_id}"), ("Account-ID", "${kazoo.account_id}"), ("From", "${kazoo.from}"), ("To", "${kazoo.to}"),
        ("Request", "${kazoo.request}"), ("Caller-ID-Name", "${kazoo.caller_id_name}"),
        ("Caller-ID-Number", "${kazoo.caller_id_number}"), ("Direction", "inbound"), ("Language", "${kazoo.language}"),
        ("Digits", "${kazoo.collection.default}"),
    )  # fmt: skip
    json_body = encoding == "json" and method == "post"
    url = module.text("voice_url")
    if not url:
        data.problems.error(data.at("voice_url"), "a pivot needs a voice_url")
    return Plan(
        (FetchProgram(url, method.upper(), fields, "json" if json_body else "form", timeout, mode="replace"),)
    )


def _conference(module: Module) -> Plan:
    """The caller takes part until it leaves or the conference ends; then the flow is over."""
    data = module.data
    data.ignore("welcome_prompt")
    config = Fields(data.node("config"), data.problems, data.place)
    room = module.text("id") or template(config.text("name")) or "${kazoo.dialled}"
    spec = JoinSpec(
        moderator=data.boolean("moderator") if "moderator" in data else None,
        join_tone=None if data.boolean("play_entry_tone", True) else "",
        leave_tone=None if data.boolean("play_exit_tone", True) else "",
        create=RoomSpec(),
    )
    return Plan((Answer(), JoinRoom(room, "conversation", spec)), falls_through=False)


# --- the call itself


def _hangup(module: Module) -> Plan:
    return Plan((Hangup(),))


def _response(module: Module) -> Plan:
    data = module.data
    code = data.integer("code", 486, low=300, high=699, clamp=True)
    media, words = module.text("media"), module.text("message")
    end = Hangup(status=code, text=words)
    return Plan((Play((media,)), end) if media else (end,))


def _sleep(module: Module) -> Plan:
    data = module.data
    unit = data.text("unit", "s", choices=tuple(_UNITS))
    seconds = data.number("duration", 0.0, low=0) * _UNITS[unit]
    return Plan((Sleep(min(seconds, 86_400.0)),))


def _hold(module: Module) -> Plan:
    module.data.ignore(*_PARK)
    return Plan((Answer(), Hold()) if module.name != "wait_for_hangup" else (Hold(),))


_PARK: Final = (
    "action", "custom_presence_id", "default_callback_timeout", "default_presence_type", "default_ringback_timeout", "max_slot_number",
    "presence_id", "slot", "slots",
)  # fmt: skip


def _noop(module: Module) -> Plan:
    return Plan((Skip("noop", "it does nothing"),))


def _set_variable(module: Module) -> Plan:
    data = module.data
    data.ignore("channel")
    return Plan((SetVariable(((f"kazoo.var.{data.text('variable')}", module.text("value")),)),))


def _set_variables(module: Module) -> Plan:
    data = module.data
    data.ignore("export")
    given = data.members("custom_application_vars")
    pairs = tuple(
        (f"kazoo.var.{name}", template(node.value if isinstance(node.value, str) else json.dumps(node.plain())))
        for name, node in given.items()
    )
    return Plan((SetVariable(pairs),))


def _branch_variable(module: Module) -> Plan:
    module.data.ignore("scope")
    return Plan((Branch(f"kazoo.var.{module.data.text('variable')}"),))


def _language(module: Module) -> Plan:
    return Plan((SetVariable((("kazoo.language", module.text("language", "en-US")),)),))


def _prepend_cid(module: Module) -> Plan:
    data = module.data
    data.ignore("apply_to")
    if data.text("action", "prepend", choices=("", "prepend", "reset")) == "reset":
        pairs = tuple((f"kazoo.{name}", f"${{kazoo.original_{name}}}") for name in _CALLER)
        data.ignore(*(f"{name}_prefix" for name in _CALLER))
        return Plan((SetVariable(pairs),))
    pairs = tuple((f"kazoo.{name}", module.text(f"{name}_prefix") + f"${{kazoo.{name}}}") for name in _CALLER)
    return Plan((SetVariable(pairs),))


_CALLER: Final = ("caller_id_name", "caller_id_number")


def _set_cid(module: Module) -> Plan:
    given = [(name, module.text(name)) for name in _CALLER]
    return Plan((SetVariable(tuple((f"kazoo.{name}", value) for name, value in given if value)),))


def _webhook(module: Module) -> Plan:
    data = module.data
    data.ignore("retries")
    custom = data.node("custom_data")
    body = {"call_id": "${kazoo.call_id}", "account_id": "${kazoo.account_id}", "custom_data": custom.plain() if custom else {}}
    verb = data.text("http_verb", "post", choices=("", "get", "post"), lower=True) or "post"
    url = module.text("uri")
    if not url:
        module.warn("no uri: nothing is sent", "uri")
        return Plan((Skip("webhook", "it names no uri"),))
    return Plan((Notify(url, verb.upper(), "application/json", json.dumps(body)),))


MODULES: Final[dict[str, Callable[[Module], Plan]]] = {
    "answer": _answer,
    "audio_macro": _audio_macro,
    "branch_variable": _branch_variable,
    "callflow": _callflow,
    "collect_dtmf": _collect_dtmf,
    "conference": _conference,
    "dead_air": _hold,
    "device": _endpoint,
    "flush_dtmf": _flush_dtmf,
    "hangup": _hangup,
    "language": _language,
    "menu": _menu,
    "noop": _noop,
    "offnet": _resources,
    "park": _hold,
    "pivot": _pivot,
    "play": _play,
    "prepend_cid": _prepend_cid,
    "record_call": _record_call,
    "record_caller": _record_caller,
    "resources": _resources,
    "response": _response,
    "ring_group": _ring_group,
    "say": _tts,
    "send_dtmf": _send_dtmf,
    "set_cid": _set_cid,
    "set_variable": _set_variable,
    "set_variables": _set_variables,
    "sleep": _sleep,
    "tts": _tts,
    "user": _endpoint,
    "voicemail": _voicemail,
    "wait_for_hangup": _hold,
    "webhook": _webhook,
}
