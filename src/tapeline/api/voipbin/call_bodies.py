"""Request bodies about calls: one to be placed, who is muted, what is said. As lenient as `bodies`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from tapeline.api.bodies import Fields, flow_id
from tapeline.calls.views import Address, CallOrder

__all__ = ["MOST_ACTIONS", "MOST_DESTINATIONS", "call_order", "flow_variables", "mute_direction", "talk_text"]

MOST_ACTIONS = 1000  # of a flow
MOST_DESTINATIONS = 50
MOST_VARIABLES, LONGEST_VARIABLE, MOST_CHARACTERS = 100, 32_768, 65_536
LONGEST_TARGET = 1000
LONGEST_TALK = 10_000


def call_order(body: Mapping[str, Any]) -> CallOrder:
    """What the body of `POST /calls` asks for. Raises InvalidInput with all its problems."""
    fields = Fields(body)
    listed = fields.items("destinations", MOST_DESTINATIONS) or []
    if not listed:
        fields.problem("destinations must be a list with at least one address")
    destinations = [address for each in listed[:MOST_DESTINATIONS] if (address := _address(fields, each, "destinations")) is not None]
    source = _address(fields, body["source"], "source") if "source" in fields else None
    actions = fields.items("actions", MOST_ACTIONS)
    order = CallOrder(
        destinations=tuple(destinations),
        source=source if source is not None and source.target else None,
        flow_id=flow_id(fields, "flow_id"),
        actions=actions,
        anonymous=cast('Literal["yes", "no", "auto"]', fields.choice("anonymous", ("auto", "yes", "no"), "INVALID_ANONYMOUS_VALUE")),
        variables=flow_variables(fields),
    )
    if not order.flow_id and actions is None:
        fields.problem("flow_id or actions must say what happens once the call is answered")
    fields.finish()
    return order


def _address(fields: Fields, value: Any, name: str) -> Address | None:
    if not isinstance(value, dict):
        fields.mistyped(f"{name}: an address", "an object")
        return None
    texts = {key: value.get(key) or "" for key in ("type", "target", "name", "target_name")}
    if not all(isinstance(text, str) for text in texts.values()):
        fields.mistyped(f"{name}: type, target and name", "strings")
        return None
    if max(map(len, texts.values())) > LONGEST_TARGET:
        fields.problem(f"{name}: type, target and name must have at most {LONGEST_TARGET} characters")
        return None
    if name == "destinations" and not texts["target"].strip():
        fields.problem("destinations: an address needs a target")
        return None
    return Address(texts["type"].strip(), texts["target"].strip(), texts["name"] or texts["target_name"])


def flow_variables(fields: Fields) -> dict[str, str]:
    """The flow's variables; the platform's own names cannot be set."""
    found = {name: value for name, value in fields.mapping("variables").items() if not name.startswith("voipbin.")}
    if not all(isinstance(value, str) for value in found.values()):
        fields.mistyped("variables", "strings")
        return {}
    sizes = [len(name) + len(value) for name, value in found.items()]
    if len(found) > MOST_VARIABLES or sum(sizes) > MOST_CHARACTERS or max(sizes, default=0) > LONGEST_VARIABLE:
        fields.problem(f"variables must be at most {MOST_VARIABLES}, with {MOST_CHARACTERS} characters in all", "INVALID_VARIABLES")
    return found


def mute_direction(body: Mapping[str, Any]) -> Literal["in", "out", "both"]:
    """The `direction` of a mute. Raises InvalidInput."""
    fields = Fields(body)
    found = fields.choice("direction", ("both", "in", "out"))
    fields.finish()
    return cast('Literal["in", "out", "both"]', found)


def talk_text(body: Mapping[str, Any]) -> tuple[str, str]:
    """(text, language) of something to be said. Raises InvalidInput."""
    fields = Fields(body)
    text, language = fields.text("text"), fields.text("language") or "en-US"
    if not text.strip() or len(text) > LONGEST_TALK:
        fields.problem(f"text must have 1 to {LONGEST_TALK} characters")
    fields.finish()
    return text, language
