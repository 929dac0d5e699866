"""VoIPBIN's actions that bring others to a call: calls to parties, calls beside it, conferences.

A party is VoIPBIN's address: `type`, `target`, `name`.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from tapeline.core.ids import ZERO_ID
from tapeline.core.roomspec import JoinSpec
from tapeline.flow.commands import Party
from tapeline.flow.dialects.voipbin.action import Action, as_json, needed
from tapeline.flow.fields import Fields
from tapeline.flow.ops.connecting import Dial, JoinRoom, PlaceCall
from tapeline.flow.ops.ending import Skip
from tapeline.flow.program import Op

__all__ = ["call", "confbridge_join", "conference_join", "connect"]


def _party(fields: Fields) -> Party:
    fields.ignore("detail", "target_name")
    party = Party(fields.text("type"), fields.text("target").strip(), fields.text("name") or fields.text("target_name"))
    fields.done()
    return party


def _parties(action: Action) -> tuple[tuple[Party, ...], Party | None]:
    option = action.option
    destinations = []
    for fields in option.objects("destinations"):
        party = _party(fields)
        if party.target:
            destinations.append(party)
        else:
            action.option.problems.error(fields.place, "a destination needs a target")
    source = option.node("source")
    if not destinations and not option.problems.failed:
        action.fail(f"{action.type} needs a destination", "destinations", '[{"type": "tel", "target": "+15551234567"}]')
    return tuple(destinations), _party(Fields(source, option.problems)) if source is not None else None


def _anonymous(option: Fields) -> Literal["yes", "no", "auto"]:
    """Who wants to be hidden must be, so a word that says neither is no matter of a warning."""
    found = option.text("anonymous", "auto") or "auto"
    if found not in ("yes", "no", "auto"):
        option.problems.error(option.at("anonymous"), f"{found[:40]!r} is none of yes, no, auto", code="INVALID_ANONYMOUS_VALUE")
        return "auto"
    return cast('Literal["yes", "no", "auto"]', found)


def connect(action: Action) -> Op:
    """`timeout`, `strategy` and `ring_timeout` are ours."""
    option = action.option
    destinations, source = _parties(action)
    options: dict[str, Any] = {"relay_reason": True} if option.boolean("relay_reason") else {}
    early, anonymous = option.boolean("early_media"), _anonymous(option)
    timeout = option.integer("timeout", 60, low=1, high=3600, clamp=True)
    each = option.integer("ring_timeout", low=0, high=3600, clamp=True)
    if option.text("strategy", "all", choices=("", "all", "in_order")) == "in_order":
        options |= {"strategy": "one_by_one", "each_s": float(each)}
    if not destinations:
        return Skip("connect")
    return Dial(destinations, source, float(timeout), early_media=early, anonymous=anonymous, options=options)


def call(action: Action) -> Op:
    option = action.option
    destinations, source = _parties(action)
    early = option.boolean("early_execution")
    flow_id, actions = option.text("flow_id").strip(), as_json(option.node("actions"))
    flow_id = "" if flow_id == ZERO_ID else flow_id
    if not flow_id and not actions:
        action.warn("neither flow_id nor actions: who answers is hung up at once")
    return PlaceCall(destinations, source, flow_id, actions, option.boolean("chained"), _anonymous(option), early)


def conference_join(action: Action) -> Op:
    return JoinRoom(needed(action, "conference_id"), "conference", _membership(action.option))


def confbridge_join(action: Action) -> Op:
    return JoinRoom(needed(action, "confbridge_id"), "confbridge", _membership(action.option))


def _membership(option: Fields) -> JoinSpec:
    """All of these are ours: the platform's action has nothing but the id."""
    return JoinSpec(
        moderator=option.boolean("moderator") if "moderator" in option else None,
        end_on_exit=option.boolean("end_on_exit"),
        mute=option.boolean("mute"),
        deaf=option.boolean("deaf"),
        music=option.text("music") if "music" in option else None,
    )
