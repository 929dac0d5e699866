"""What each module of a KAZOO callflow means in operations of the model. The tree around them is walked in `kazoo`.

Where KAZOO is lenient at run time, so is this: values out of range are moved into it, with a warning. Here stand the table of all
modules, and those that change the call itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, Literal, cast

from tapeline.flow.dialects.kazoo import caller, parties, recording, sound, stored
from tapeline.flow.dialects.kazoo.module import Module, Plan, template
from tapeline.flow.ops.answering import Answer
from tapeline.flow.ops.connecting import Park
from tapeline.flow.ops.deciding import Branch, SetVariable
from tapeline.flow.ops.ending import Hangup, Skip
from tapeline.flow.ops.fetching import Notify
from tapeline.flow.ops.sounding import Play
from tapeline.flow.ops.waiting import Hold, Sleep

__all__ = ["MODULES"]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


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
    return Plan((Answer(), Hold()) if module.name != "wait_for_hangup" else (Hold(),))


def _park(module: Module) -> Plan:
    """In the slot that is named, or that the number dialled names; music until somebody takes it from there."""
    data = module.data
    data.ignore(
        "custom_presence_id", "default_callback_timeout", "default_presence_type", "default_ringback_timeout", "max_slot_number",
        "presence_id", "slots",
    )  # fmt: skip
    action = data.text("action", "park", choices=("direct_park", "park", "retrieve", "auto")).removeprefix("direct_")
    slot = module.text("slot") or "${kazoo.capture_group}"
    return Plan((Park(slot, cast(Literal["park", "retrieve", "auto"], action)),), settled=("answered",))


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


def _set(module: Module) -> Plan:
    """Each field is a variable."""
    fields = {name: value for name, value in module.data.plain().items() if name != "skip_module"}
    module.data.ignore(*fields)
    pairs = ((f"kazoo.var.{name}", template(value if isinstance(value, str) else json.dumps(value))) for name, value in fields.items())
    return Plan((SetVariable(tuple(pairs)),))


def _branch_variable(module: Module) -> Plan:
    module.data.ignore("scope")
    return Plan((Branch(f"kazoo.var.{module.data.text('variable')}"),))


def _branch_bnumber(module: Module) -> Plan:
    module.data.ignore("hunt", "hunt_allow", "hunt_deny")
    return Plan((Branch("kazoo.capture_group"),))


def _language(module: Module) -> Plan:
    return Plan((SetVariable((("kazoo.language", module.text("language", "en-US")),)),))


def _webhook(module: Module) -> Plan:
    data = module.data
    retries = data.integer("retries", 2, low=0, high=4, clamp=True)
    custom = data.node("custom_data")
    names = ("call_id", "account_id", "from", "to", "request", "caller_id_name", "caller_id_number", "interaction_id", "owner_id")
    fields = tuple((name, f"${{kazoo.{name}}}") for name in names)
    verb = data.text("http_verb", "post", choices=("", "get", "post"), lower=True) or "post"
    url = module.text("uri")
    if not url:
        module.warn("no uri: nothing is sent", "uri")
        return Plan((Skip("webhook", "it names no uri"),))
    return Plan((Notify(url, verb.upper(), fields=fields, custom=json.dumps(custom.plain() if custom else {}), retries=retries),))


MODULES: Final[dict[str, Callable[[Module], Plan]]] = {
    "answer": sound.answer,
    "audio_macro": sound.audio_macro,
    "branch_bnumber": _branch_bnumber,
    "branch_variable": _branch_variable,
    "callflow": parties.callflow,
    "check_cid": caller.check_cid,
    "cidlistmatch": caller.cidlistmatch,
    "collect_dtmf": sound.collect_dtmf,
    "conference": parties.conference,
    "dead_air": _hold,
    "dynamic_cid": caller.dynamic_cid,
    "device": parties.endpoint,
    "flush_dtmf": sound.flush_dtmf,
    "group": parties.group,
    "hangup": _hangup,
    "language": _language,
    "menu": stored.menu,
    "noop": _noop,
    "offnet": parties.resources,
    "page_group": parties.page_group,
    "park": _park,
    "pivot": parties.pivot,
    "play": sound.play,
    "prepend_cid": caller.prepend_cid,
    "record_call": recording.record_call,
    "record_caller": recording.record_caller,
    "resources": parties.resources,
    "response": _response,
    "ring_group": parties.ring_group,
    "say": sound.tts,
    "send_dtmf": sound.send_dtmf,
    "set": _set,
    "set_cid": caller.set_cid,
    "set_variable": _set_variable,
    "set_variables": _set_variables,
    "sleep": _sleep,
    "temporal_route": stored.temporal_route,
    "transfer": parties.transfer,
    "tts": sound.tts,
    "user": parties.endpoint,
    "voicemail": recording.voicemail,
    "wait_for_hangup": _hold,
    "webhook": _webhook,
}
