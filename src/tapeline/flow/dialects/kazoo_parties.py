"""KAZOO's modules that bring others into the call, or another flow.

After a conversation the flow is over, whatever the children say; where nobody was reached the cause of it names the child.
"""

from __future__ import annotations

from typing import Final

from tapeline.core.roomspec import JoinSpec, RoomSpec
from tapeline.flow.commands import Party
from tapeline.flow.dialects.kazoo_module import Module, Plan, template
from tapeline.flow.fields import Fields
from tapeline.flow.ops.answering import Answer
from tapeline.flow.ops.connecting import Dial, JoinRoom
from tapeline.flow.ops.ending import Skip
from tapeline.flow.ops.fetching import FetchProgram, LoadProgram

__all__ = ["callflow", "conference", "endpoint", "pivot", "resources", "ring_group"]

_CONNECT: Final = ("answered",)
_MOST_REPEATS: Final = 10


def _dial_options(module: Module) -> None:
    module.data.ignore(
        "can_call_self", "can_text_self", "custom_sip_headers", "delay", "fail_on_single_reject", "static_invite", "suppress_clid",
        "ringtones", "ringback", "ignore_forward", "caller_id_type", "use_local_resources", "bypass_e164", "do_not_normalize",
        "outbound_flags", "dynamic_flags", "emit_account_id", "format_from_uri", "from_uri_realm", "hunt_account_id", "resource_type",
    )  # fmt: skip


def endpoint(module: Module) -> Plan:
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


def ring_group(module: Module) -> Plan:
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


def resources(module: Module) -> Plan:
    data = module.data
    _dial_options(module)
    number = module.text("to_did") or "${kazoo.dialled}"
    early = not data.boolean("ignore_early_media")
    timeout = data.integer("timeout", 60, low=0, high=3600, clamp=True) or 60
    return Plan((Dial((Party("tel", number),), timeout_s=float(timeout), early_media=early),), settled=_CONNECT, falls_through=False)


def callflow(module: Module) -> Plan:
    return Plan((LoadProgram(module.text("id")),))


def pivot(module: Module) -> Plan:
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


def conference(module: Module) -> Plan:
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
