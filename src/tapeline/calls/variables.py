"""What a flow's variables say of its call, under VoIPBIN's names (spec of the dialect, section "Variables")."""

from __future__ import annotations

from collections.abc import Mapping

from tapeline import flow
from tapeline.calls.session import Call

__all__ = ["variables_of"]


def variables_of(call: Call, given: Mapping[str, str] | None = None) -> flow.Variables:
    """The variables of a flow that begins on `call`; `given` are the starter's own."""
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
    return flow.Variables({**(given or {}), **values})
