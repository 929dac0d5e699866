"""KAZOO's modules that record: both sides, the caller alone, a message in a box.

Each becomes one specification of a recording. What names a file, or the place that it is sent to, stays a text and never becomes a path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

from tapeline.core.errors import InvalidInput
from tapeline.core.recordspec import Delivery, Format, RecordSpec, SilenceRule
from tapeline.flow.diagnostics import Problems
from tapeline.flow.dialects.kazoo.module import KEYS, LONGEST_S, Module, Plan, template
from tapeline.flow.fields import Fields
from tapeline.flow.jsondoc import wrap
from tapeline.flow.ops.answering import Answer
from tapeline.flow.ops.ending import Skip
from tapeline.flow.ops.mailbox import AtBox, CheckMailbox
from tapeline.flow.ops.recording import Record, StopRecording, filled
from tapeline.flow.ops.sounding import Play, Say, Tone
from tapeline.flow.ops.stored import Described
from tapeline.flow.program import Op

__all__ = ["recording_spec", "record_call", "record_caller", "voicemail"]

_TOLD: Final = ("from", "to", "caller_id_name", "caller_id_number", "owner_id", "interaction_id")
RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


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


def _format(module: Module) -> tuple[Format, bool]:
    """The format, and whether the document names it."""
    named = module.data.text("format", choices=("", "mp3", "wav"), lower=True)
    return cast(Format, named or "mp3"), bool(named)


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
    told = {name: f"${{kazoo.{name}}}" for name in _TOLD}
    return {name: value for name, value in found.items() if value} | told | {"dialect": "kazoo"}


def recording_spec(
    data: Mapping[str, Any], fill: Callable[[str], str], *, origin: str, follow_transfer: bool = True, label: str = ""
) -> RecordSpec:
    """What `record_call` would record with this data, asked for by something else than a flow. `fill` fills in variables of the call.

    Raises InvalidInput where the data make no recording.
    """
    problems = Problems()
    fields = Fields(wrap(dict(data), problems), problems)
    spec = _call_spec(Module("record_call", fields, label))
    if spec is None or problems.failed:
        raise InvalidInput("this is no recording", problems=[str(found) for found in problems.sorted()], reason="INVALID_RECORDING")
    return replace(filled(spec, fill), origin=origin, follow_transfer=follow_transfer)


def record_call(module: Module) -> Plan:
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
    on_answer, on_bridge = data.boolean("record_on_answer"), data.boolean("record_on_bridge")
    label = module.text("label") or template(module.document) or "${kazoo.dialled}"
    form, named = _format(module)
    spec = RecordSpec(
        heard="both",
        channels=2,
        format=form,
        format_named=named,
        rate=_rate(module),
        begin="answer" if on_answer else "bridge" if on_bridge else "media",
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


def record_caller(module: Module) -> Plan:
    """Answers, holds the flow, and records only the caller, until a key, silence, the limit or hang-up."""
    data = module.data
    data.ignore("origin", "action", "record_on_answer", "record_on_bridge", "should_follow_transfer")  # it is answered, and alone
    deliver = _delivery(module)
    form, named = _format(module)
    spec = RecordSpec(
        heard="caller",
        channels=1,
        format=form,
        format_named=named,
        rate=_rate(module),
        max_s=_limit(module),
        min_s=float(data.integer("record_min_sec", 0, low=0, clamp=True)),
        silence=_silence(module) or SilenceRule(200, initial_s=5.0, final_s=5.0),
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
    return Plan((Record(spec, answers=True, asks_first=True),))


def voicemail(module: Module) -> Plan:
    """Greeting, beep, message. The message is a recording like any other, of the box that it was left in. Who calls its own hears it."""
    data = module.data
    box = module.text("id")
    check = CheckMailbox(
        box,
        "${kazoo.language}",
        single=data.boolean("single_mailbox_login"),
        by_caller=data.boolean("callerid_match_login"),
        between_s=data.integer("interdigit_timeout", 2000, low=1, clamp=True) / 1000,
    )
    if data.text("action", "compose", choices=("", "compose", "check")) == "check":
        data.ignore("max_message_length")
        return Plan((check,))
    box = box or "${kazoo.box_id}"
    minimum = data.number("min_message_size", 0.5, low=0, high=60, clamp=True)
    spec = RecordSpec(
        heard="caller",
        format="mp3",
        rate=0,
        max_s=float(data.integer("max_message_length", 500, low=1, high=LONGEST_S, clamp=True)),
        min_s=minimum,
        silence=SilenceRule(200, initial_s=10.0, final_s=10.0),
        end_keys=frozenset(KEYS),
        exclusive=False,
        blocking=True,
        label="voicemail",
        origin="voicemail",
        custom={**_custom(module), "voicemail_box": box},
    )
    media = Fields(data.node("media"), data.problems, data.place)
    greeting = partial(_greeting, template(media.text("unavailable")), module.text("greeting"))
    door = AtBox(box, replace(check, box=box))
    return Plan((door, Described("vmbox", box, greeting, needed=False), Tone("beep"), Record(spec, answers=True)), missing=True)


def _greeting(own: str, text: str, document: Mapping[str, Any]) -> Op:
    """What the data say, else what the box's document does, else some words."""
    media = document.get("media")
    kept = media.get("unavailable") if isinstance(media, Mapping) else None
    address = own or (template(kept) if isinstance(kept, str) and not text else "")
    if address:
        return Play((address,), answers=True, stop_keys=KEYS)
    said = text or ("" if document.get("skip_greeting") is True else "The person you are calling is not available.")
    if not text and document.get("skip_instructions") is not True:
        said = f"{said} Please leave a message after the tone.".strip()
    return Say(said, "${kazoo.language}", stop_keys=KEYS) if said else Answer()
