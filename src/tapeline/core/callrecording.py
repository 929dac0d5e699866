"""Which calls are recorded without a flow's word: KAZOO's `call_recording` of accounts, users and devices, resolved.

A setting names parameters by direction (`inbound`, `outbound`, `any`) and network (`onnet`, `offnet`, `any`). Resolved, each of the
four pairs has its parameters, of which `enabled` decides. Directions are seen from the endpoint or the account. What a call is, and how
it is recorded, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

__all__ = ["PAIRS", "Direction", "Network", "Pair", "Rules", "filled", "legacy", "merged", "parameters"]

Direction = Literal["inbound", "outbound"]
Network = Literal["onnet", "offnet"]
Pair = tuple[Direction, Network]
Rules = Mapping[Pair, Mapping[str, Any]]

DIRECTIONS: Final[tuple[Direction, ...]] = ("inbound", "outbound")
NETWORKS: Final[tuple[Network, ...]] = ("onnet", "offnet")
PAIRS: Final[tuple[Pair, ...]] = tuple((direction, network) for direction in DIRECTIONS for network in NETWORKS)


def filled(setting: object) -> Rules:
    """The parameters of each pair by one level's setting: `any` fills what is not named, and what is still missing is not enabled.
    Without any setting there are none: the level decides nothing."""
    setting = _object(setting)
    if not setting:
        return {}
    rules: dict[Pair, Mapping[str, Any]] = {}
    for direction in DIRECTIONS:
        source = _over(_object(setting.get("any")), _object(setting.get(direction)))
        for network in NETWORKS:
            found = {**_object(source.get("any")), **_object(source.get(network))}
            rules[direction, network] = {name: value for name, value in found.items() if value is not None} or {"enabled": False}
    return rules


def merged(*levels: object) -> Rules:
    """The settings of several levels (account, user, device), field by field: a later one wins."""
    rules: dict[Pair, Mapping[str, Any]] = {}
    for level in levels:
        for pair, found in filled(level).items():
            rules[pair] = {**rules.get(pair, {}), **found}
    return rules


def parameters(rules: Rules, direction: Direction, network: Network) -> Mapping[str, Any] | None:
    """The parameters where such calls are recorded; None where they are not."""
    found = rules.get((direction, network), {})
    return found if found.get("enabled") is True else None


def legacy(record_call: object) -> Mapping[str, Any]:
    """The older `record_call` of a user or device (true, or parameters) as a setting of today."""
    if record_call is True:
        return {"any": {"any": {"enabled": True}}}
    found = _object(record_call)
    return {"any": {"any": {"enabled": True, **found}}} if found else {}


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _over(general: Mapping[str, Any], specific: Mapping[str, Any]) -> Mapping[str, Any]:
    """`specific` over `general`, network by network and field by field."""
    return {name: {**_object(general.get(name)), **_object(specific.get(name))} for name in {**general, **specific}}
