"""KAZOO's modules that bring others into the call, or another flow.

After a conversation the flow is over, whatever the children say; where nobody was reached the cause of it names the child.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final, Literal

from tapeline.core.roomspec import JoinSpec, RoomSpec
from tapeline.flow.commands import Party
from tapeline.flow.dialects.kazoo.module import Module, Plan, template
from tapeline.flow.fields import Fields
from tapeline.flow.ops.answering import Answer
from tapeline.flow.ops.connecting import Dial, JoinRoom, Page, PassOn
from tapeline.flow.ops.ending import Skip
from tapeline.flow.ops.fetching import FetchProgram, LoadProgram
from tapeline.flow.ops.sounding import Play

__all__ = ["callflow", "conference", "endpoint", "group", "page_group", "pivot", "resources", "ring_group", "transfer"]

_CONNECT: Final = ("answered",)
_MOST_REPEATS: Final = 10


_SOURCE: Final = Party("tel", "${kazoo.shown_number}", "${kazoo.shown_name}")  # empty where the flow has not set it: the caller's own
_HEADERS: Final = ("alert-info", "call-info", "diversion", "subject", "user-to-user")  # that a document may set, besides those of X-
_TOKEN = re.compile(r"[A-Za-z0-9-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MOST_HEADERS: Final = 32


def _options(module: Module, strategy: str) -> dict[str, Any]:
    """What the modules that call somebody have in common. The rest belongs to networks that are not here."""
    data = module.data
    data.ignore(
        "can_text_self", "static_invite", "caller_id_type", "use_local_resources", "bypass_e164", "do_not_normalize", "outbound_flags",
        "dynamic_flags", "emit_account_id", "format_from_uri", "from_uri_realm", "hunt_account_id", "resource_type",
    )  # fmt: skip
    strategies = {"simultaneous": "all", "weighted_random": "by_weight"}
    found: dict[str, Any] = {"strategy": strategies.get(strategy, "one_by_one")}
    if headers := _headers(module):
        found["headers"] = headers
    if ringback := module.text("ringback"):
        found["ringback"] = ringback
    if data.boolean("fail_on_single_reject"):
        found["single_reject"] = True
    return found


def _headers(module: Module) -> tuple[tuple[str, str], ...]:
    """`custom_sip_headers` (flat, or below `out`) and the ringtone, as headers of the INVITE."""
    node = module.data.node("custom_sip_headers")
    fields = Fields(node, module.data.problems, module.data.place)
    given = fields.members("out")
    if not given and "in" not in fields and node is not None and isinstance(node.value, dict):
        given = node.value
    found: list[tuple[str, str]] = []
    for name, item in given.items():
        value = item.value
        known = name.lower().startswith("x-") or name.lower() in _HEADERS
        if not known or not _TOKEN.fullmatch(name) or not isinstance(value, str) or _CONTROL.search(value) or len(value) > 1000:
            module.data.problems.warning(item.place, f"{name[:64]!r} is no header that can be set", hint="names of own ones begin with X-")
        elif len(found) < _MOST_HEADERS:
            found.append((name, value))
    tones = Fields(module.data.node("ringtones"), module.data.problems, module.data.place)
    tone = tones.text("internal") or tones.text("external")
    if tone and not _CONTROL.search(tone):
        found.append(("Alert-Info", tone[:1000]))
    return tuple(found)


def endpoint(module: Module) -> Plan:
    data = module.data
    target = module.text("id")
    options = _options(module, data.text("strategy" if module.name == "user" else "dial_strategy", "simultaneous"))
    timeout = float(data.integer("timeout", 20, low=0, high=3600, clamp=True) or 20)
    delay = float(data.integer("delay", 0, low=0, high=3600, clamp=True))
    if not target:
        module.warn(f"the {module.name} has no id", "id", "the account's only one is called")
        target = "${kazoo.user_id}"
    if not data.boolean("can_call_self"):
        options["not_self"] = True
    hidden: Literal["yes", "auto"] = "yes" if data.boolean("suppress_clid") else "auto"
    party = Party(module.name, target, delay_s=delay)
    return Plan((Dial((party,), _SOURCE, timeout + delay, early_media=True, anonymous=hidden, options=options),), settled=_CONNECT)


def _members(module: Module) -> list[Party]:
    """Whom a ring_group rings, each in its own time."""
    data = module.data
    node = data.node("endpoints")
    if node is None or not isinstance(node.value, list):
        data.problems.error(data.at("endpoints"), f"a {module.name} needs endpoints", hint='[{"endpoint_type": "user", "id": "..."}]')
        return []
    parties = []
    for item in node.value:
        if isinstance(item.value, str):
            data.problems.warning(item.place, "an endpoint must be an object", hint="whatever has this id is called")
            parties.append(Party("endpoint", template(item.value)))
            continue
        fields = Fields(item, data.problems)
        fields.ignore("name")
        parties.append(
            Party(
                fields.text("endpoint_type", "user") or "user",
                template(fields.text("id")),
                delay_s=float(fields.integer("delay", 0, low=0, high=3600, clamp=True)),
                limit_s=float(fields.integer("timeout", 0, low=0, high=3600, clamp=True)),
                weight=fields.integer("weight", 1, low=1, high=100, clamp=True),
            )
        )
        fields.done()
    return [party for party in parties if party.target]


def ring_group(module: Module) -> Plan:
    return _ringing(module, _members(module))


def group(module: Module) -> Plan:
    """A group that is stored, or the parties that the data name."""
    data = module.data
    data.ignore("id")
    listed = data.node("endpoints")
    if listed is not None and listed.value != []:
        return _ringing(module, _members(module))
    name = module.text("id")
    if not name:
        module.warn("the group has no id", "id", "nobody is called")
    return _ringing(module, [Party("group", name)] if name else [])


def _ringing(module: Module, parties: list[Party]) -> Plan:
    data = module.data
    strategy = data.text("strategy", "simultaneous", choices=("simultaneous", "single", "weighted_random"))
    timeout = float(data.integer("timeout", 20, low=1, high=3600, clamp=True))
    repeats = data.integer("repeats", 1, low=1, high=_MOST_REPEATS, clamp=True)
    name = data.text("name")
    options = _options(module, strategy) | {"redirects": not data.boolean("ignore_forward", True)}
    if strategy != "simultaneous":  # each has a time of its own; the group's is for all of them
        parties = [replace(party, limit_s=party.limit_s or 20.0) for party in parties]
        options["each_s"] = timeout
    if not parties:
        return Plan((Skip(module.name, f"it rings nobody {name}".strip()),))
    dial = Dial(tuple(parties), _SOURCE, timeout, early_media=True, options=options)
    return Plan((dial,) * repeats, settled=_CONNECT)


def page_group(module: Module) -> Plan:
    data = module.data
    data.ignore("barge_calls", "name")
    parties = _members(module)
    timeout = float(data.integer("timeout", 5, low=1, high=3600, clamp=True))
    one_way = data.text("audio", "one-way", choices=("one-way", "two-way")) == "one-way"
    if not parties:
        return Plan((Skip("page_group", "it calls nobody"),))
    return Plan((Page(tuple(parties), _SOURCE, one_way, timeout),), falls_through=False)


def resources(module: Module) -> Plan:
    """Where no child is named for why it came to nothing, the caller is refused for the same reason."""
    data = module.data
    options = _options(module, "simultaneous")
    number = module.text("to_did") or "${kazoo.dialled}"
    early = not data.boolean("ignore_early_media")
    timeout = float(data.integer("timeout", 60, low=0, high=3600, clamp=True) or 60)
    return Plan((Dial((Party("tel", number),), _SOURCE, timeout, early, options=options),), settled=_CONNECT, otherwise=PassOn())


def transfer(module: Module) -> Plan:
    """The caller goes to somebody else for good: into the flow that answers there, or to whom the number leads."""
    data = module.data
    data.ignore("captures")
    if data.text("leg", "self") == "bleg":
        module.warn("there is no other leg here to be transferred", "leg", "the caller is")
    if data.text("transfer_type", "blind", choices=("attended", "blind")) == "attended":
        module.warn("a flow has nobody to ask first", "transfer_type", "it is a blind transfer")
    target = module.text("target") or "${kazoo.capture_group}"
    dial = Dial((Party("", target),), _SOURCE, 60.0, early_media=True)
    return Plan((LoadProgram("", "replace", number=target), dial), settled=_CONNECT, otherwise=PassOn())


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
        ("Digits", "${kazoo.collection.default}"), ("User-ID", "${kazoo.owner_id}"), ("Recording-ID", "${tapeline.recording.id}"),
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
    config = Fields(data.node("config"), data.problems, data.place)
    room = module.text("id") or template(config.text("name")) or "${kazoo.dialled}"
    spec = JoinSpec(
        moderator=data.boolean("moderator") if "moderator" in data else None,
        join_tone=None if data.boolean("play_entry_tone", True) else "",
        leave_tone=None if data.boolean("play_exit_tone", True) else "",
        create=RoomSpec(),
    )
    welcome = Fields(data.node("welcome_prompt"), data.problems, data.place)
    media = template(welcome.text("media_id")) if welcome.boolean("play", True) else ""
    greeting = (Play((media,)),) if media else ()
    return Plan((Answer(), *greeting, JoinRoom(room, "conversation", spec)), falls_through=False)
