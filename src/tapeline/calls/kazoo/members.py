"""Whom an account's documents mean by a party: the members of a group, the user that a device registers as.

    group       its `endpoints`, groups among them too, each in the group's own time
    device      the user whose name is the device's `sip.username`, else its `owner_id`
    endpoint    whichever of these has that id

A party that no document tells of stays as it is: a user of the settings, perhaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tapeline.flow import Party

__all__ = ["MOST", "resolved"]

MOST = 500  # parties that groups within groups may come to

Documents = Callable[[str, str, str], Mapping[str, Any]]  # by account, kind, name


def resolved(parties: Iterable[Party], account: str, document: Documents) -> tuple[Party, ...]:
    """The parties, with those in place of a group or a device that it means; nobody, where a group has no members."""
    found: list[Party] = []
    for party in parties:
        for one in _of(party, account, document, frozenset()):
            if len(found) < MOST:
                found.append(one)
    return tuple(found)


def _of(party: Party, account: str, document: Documents, within: frozenset[str]) -> Iterator[Party]:
    kind, name = party.kind.lower(), party.target.strip().lower()
    group = document(account, "group", name) if kind in ("group", "endpoint") else {}
    if kind == "group" or group:
        yield from _members(party, name, group, account, document, within)
        return
    device = document(account, "device", name) if kind in ("device", "endpoint") else {}
    sip = device.get("sip")
    username = sip.get("username") if isinstance(sip, Mapping) else None
    user = username or device.get("owner_id")
    yield replace(party, kind="user", target=user) if isinstance(user, str) and user else party


def _members(
    party: Party, name: str, group: Mapping[str, Any], account: str, document: Documents, within: frozenset[str]
) -> Iterator[Party]:
    listed = group.get("endpoints")
    if name in within or not isinstance(listed, Mapping):
        return
    for member, said in listed.items():
        facts = said if isinstance(said, Mapping) else {}
        kind, weight = str(facts.get("type") or "endpoint"), facts.get("weight")
        weight = weight if isinstance(weight, int) and 1 <= weight <= 100 else party.weight
        yield from _of(replace(party, kind=kind, target=member, name="", weight=weight), account, document, within | {name})
