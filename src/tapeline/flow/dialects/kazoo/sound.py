"""KAZOO's modules that the caller hears, and those that take its keys.

Most of them answer the call by themselves. A key that cuts a prompt short is kept for whoever asks for keys next.
"""

from __future__ import annotations

from tapeline.flow.dialects.kazoo.module import KEYS, Module, Plan, template, terminators
from tapeline.flow.ops.answering import Answer
from tapeline.flow.ops.deciding import SetVariable
from tapeline.flow.ops.ending import Skip
from tapeline.flow.ops.keys import Gather, SendDigits
from tapeline.flow.ops.sounding import Play, Say, Tone
from tapeline.flow.program import Op
from tapeline.flow.variables import DIGITS

__all__ = ["answer", "audio_macro", "collect_dtmf", "flush_dtmf", "play", "send_dtmf", "tts"]


def answer(module: Module) -> Plan:
    return Plan((Answer(),))


def tts(module: Module) -> Plan:
    data = module.data
    data.ignore("engine")
    if module.name == "say":
        module.warn("KAZOO has no callflow module `say`", hint="it is taken as `tts`")
    words = module.text("text")
    if not words.strip():
        module.warn("there is no text to speak", "text")
    language = module.text("language") or "${kazoo.language}"
    loops = 0 if data.boolean("endless_playback") else 1
    return Plan((Say(words, language, voice=data.text("voice", "female"), stop_keys=terminators(module), loops=loops),))


def play(module: Module) -> Plan:
    data = module.data
    url = module.text("id")
    loops = 0 if data.boolean("endless_playback") else data.integer("loop_count", 1, low=1, high=1000, clamp=True)
    answers = data.boolean("answer", True)
    keys = terminators(module)
    if not url:
        module.warn("there is nothing to play", "id")
        return Plan((Skip("play", "it names nothing to play"),))
    return Plan((Play((url,), answers=answers, stop_keys=keys, loops=loops),))


def audio_macro(module: Module) -> Plan:
    data = module.data
    keys, language = terminators(module), module.text("language") or "${kazoo.language}"
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


def collect_dtmf(module: Module) -> Plan:
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


def flush_dtmf(module: Module) -> Plan:
    name = module.data.text("collection_name", "default") or "default"
    return Plan((SetVariable(((f"kazoo.collection.{name}", ""), (DIGITS, ""))),))


def send_dtmf(module: Module) -> Plan:
    data = module.data
    duration = data.integer("duration_ms", 200, low=50, high=5000, clamp=True)
    return Plan((SendDigits(module.text("digits"), duration),))
