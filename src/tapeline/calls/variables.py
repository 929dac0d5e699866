"""What a flow's variables say of its call, under each platform's names (VoIPBIN: spec of the dialect, section "Variables")."""

from __future__ import annotations

from collections.abc import Mapping

from tapeline import flow
from tapeline.calls.session import Call
from tapeline.calls.views import Address
from tapeline.core.kazoo import gregorian
from tapeline.core.settings import Settings

__all__ = ["variables_of"]


def variables_of(call: Call, settings: Settings, given: Mapping[str, str] | None = None) -> flow.Variables:
    """The variables of a flow that begins on `call`; `given` are the starter's own."""
    return flow.Variables({**(given or {}), **_voipbin(call), **_kazoo(call, settings)})


def _voipbin(call: Call) -> dict[str, str]:
    facts = call.facts
    values = {
        "voipbin.call.id": facts.id,
        "voipbin.call.direction": "incoming" if call.incoming else "outgoing",
        "voipbin.call.master_call_id": facts.master_call_id,
        "voipbin.call.digits": "",
        "voipbin.activeflow.id": facts.activeflow_id,
        "voipbin.activeflow.reference_type": "call",
        "voipbin.activeflow.reference_id": facts.id,
        "voipbin.activeflow.flow_id": facts.flow_id,
    }
    for side, address in (("source", facts.source), ("destination", facts.destination)):
        values[f"voipbin.call.{side}.type"] = address.kind
        values[f"voipbin.call.{side}.target"] = address.target
        values[f"voipbin.call.{side}.target_name"] = address.name
        values[f"voipbin.call.{side}.name"] = address.name
        values[f"voipbin.call.{side}.detail"] = ""
    return values


def _kazoo(call: Call, settings: Settings) -> dict[str, str]:
    """What KAZOO's documents name by placeholders, and what its requests tell. An account with one user means that one by `{USER_ID}`."""
    facts, session, users = call.facts, call.session, settings.users
    only = users[0] if len(users) == 1 else None
    boxes = [user for user in users if user.voicemail]
    box = boxes[0] if len(boxes) == 1 else None
    number = _user(facts.source)
    return {
        "kazoo.dollar": "$",
        "kazoo.language": "en-US",
        "kazoo.account_id": facts.account.replace("-", ""),  # as its API shows it
        "kazoo.call_id": session.call_id,
        "kazoo.user_id": (only.id or only.name) if only is not None else "",
        "kazoo.box_id": (box.id or box.name) if box is not None else "",
        "kazoo.owner_id": next((user.id or user.name for user in users if user.name == facts.user), ""),
        "kazoo.interaction_id": f"{gregorian(facts.created)}-{facts.activeflow_id.replace('-', '')[:8]}",
        "kazoo.dialled": _user(facts.destination),
        "kazoo.from": _address(session.remote_uri),
        "kazoo.to": _address(session.local_uri),
        "kazoo.request": _address(session.request_uri),
        "kazoo.caller_id_name": facts.source.name,
        "kazoo.caller_id_number": number,
        "kazoo.original_caller_id_name": facts.source.name,
        "kazoo.original_caller_id_number": number,
    }


def _user(party: Address) -> str:
    return party.target.removeprefix("sip:").partition("@")[0]


def _address(uri: str) -> str:
    """`user@realm` of a SIP URI."""
    return uri.removeprefix("sips:").removeprefix("sip:").partition(";")[0]
