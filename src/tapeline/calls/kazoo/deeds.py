"""What a flow of KAZOO's asks for beside what all flows do: documents of the account, rules of time, voicemail boxes, slots to
wait in.

Each command is answered with one event of its token, also when it failed, as by `calls.script`, which hands them on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, tzinfo
from typing import Any

import structlog

from tapeline import flow
from tapeline.calls.equipment import Equipment
from tapeline.calls.kazoo import temporal
from tapeline.calls.kazoo.boxes import Visit
from tapeline.calls.session import Call
from tapeline.core.errors import TapelineError

__all__ = ["Deeds"]

log = structlog.get_logger(__name__)

RULE_SET = "rule_set"  # the child for the rules of a set that the module itself names
MOST_RULES = 1000


class Deeds:
    """Of one run on one call. `tell` gives the run its answers."""

    def __init__(self, call: Call, equipment: Equipment, tell: Callable[[flow.Event], None]) -> None:
        self._call = call
        self._kit = equipment
        self._tell = tell
        self._visit = Visit(call, equipment)

    def do(self, command: Any) -> bool:
        """Carry out `command`; False where it is none of these."""
        deed = self._deeds.get(type(command))
        if deed is not None:
            deed(self, command)
        return deed is not None

    def _document(self, kind: str, name: str) -> Mapping[str, Any]:
        return self._kit.stored.document(self._call.facts.account, kind, name.lower())

    def _look_up(self, command: flow.LookUp) -> None:
        self._tell(flow.LookedUp(command.token, self._document(command.document, command.name) or None))

    # -- rules of time -------------------------------------------------------------------------------------------------

    def _find_rule(self, command: flow.FindRule) -> None:
        self._kit.spawn(self._changed(command) if command.change else self._found(command))

    async def _found(self, command: flow.FindRule) -> None:
        rules = list(self._rules(command))[:MOST_RULES]
        where = await self._kit.thread(self._zone, command.timezone)
        self._tell(flow.RuleFound(command.token, temporal.find(rules, self._kit.clock.wall(), where)))

    def _rules(self, command: flow.FindRule) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Rules by the child that they lead to: of a set that is named among the rules, to the set's own."""
        for name in command.rules:
            of_set = self._document("temporal_rules_set", name).get("temporal_rules")
            for rule_id in of_set if isinstance(of_set, list) else (name,):
                if isinstance(rule_id, str) and (rule := self._document("temporal_rule", rule_id)):
                    yield name, rule
        listed = self._document("temporal_rules_set", command.rule_set).get("temporal_rules") if command.rule_set else None
        for rule_id in listed if isinstance(listed, list) else ():
            if isinstance(rule_id, str) and (rule := self._document("temporal_rule", rule_id)):
                yield RULE_SET, rule

    def _zone(self, wanted: str) -> tzinfo:
        """The module's own, else the caller's, else the account's, else UTC."""
        account, name = self._call.facts.account, self._call.facts.user
        user = next((user.id or user.name for user in self._kit.settings.users if user.name == name), name)
        for named in (wanted, self._document("user", user).get("timezone"), self._document("account", account).get("timezone")):
            if isinstance(named, str) and named not in ("", "inherit"):
                try:
                    return temporal.zone(named)
                except ValueError as error:
                    log.warning("a time zone cannot be used", call_id=self._call.facts.id, error=str(error))
        return UTC

    async def _changed(self, command: flow.FindRule) -> None:
        """Let rules hold, or not, whatever the time, for this call and all that follow."""
        error, count = "", 0
        for rule_id in command.rules:
            if self._document("temporal_rule", rule_id):
                try:
                    await self._kit.change_document(self._call.facts.account, "temporal_rule", rule_id.lower(), _switched(command.change))
                    count += 1
                except TapelineError as failure:
                    error = str(failure)
        if error or not count:
            log.warning("rules could not be changed", call_id=self._call.facts.id, rules=command.rules[:10], error=error or "none is known")
        self._tell(flow.RuleFound(command.token, "", error or ("" if count else "none of these rules is known")))

    # -- voicemail boxes -----------------------------------------------------------------------------------------------

    @property
    def playable(self) -> frozenset[str]:
        """Addresses of recordings that this run may play, though they are not its call's."""
        return self._visit.playable

    def _mailbox(self, command: flow.Mailbox) -> None:
        self._kit.spawn(self._visited(command))

    async def _visited(self, command: flow.Mailbox) -> None:
        try:
            told = await self._visit.answer(command)
        except TapelineError as error:
            log.warning("a voicemail box cannot be looked into", call_id=self._call.facts.id, error=str(error))
            told = flow.MailboxTold(command.token, "failed")
        self._tell(told)

    # -- slots ---------------------------------------------------------------------------------------------------------

    def _park(self, command: flow.Park) -> None:
        self._kit.spawn(self._parked(command))

    async def _parked(self, command: flow.Park) -> None:
        try:
            result: str = await self._kit.parking.visit(self._call, command.slot, command.action)
        except TapelineError as error:
            log.warning("a call could not be parked", call_id=self._call.facts.id, error=str(error))
            result = "full"
        if not self._call.over:
            self._tell(flow.Unparked(command.token, result))

    _deeds: dict[type, Callable[[Deeds, Any], None]] = {
        flow.LookUp: _look_up,
        flow.FindRule: _find_rule,
        flow.Mailbox: _mailbox,
        flow.Park: _park,
    }


def _switched(change: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    def how(old: Mapping[str, Any]) -> Mapping[str, Any]:
        rest = {name: value for name, value in old.items() if name != "enabled"}
        return rest if change == "reset" else {**rest, "enabled": change == "enable"}

    return how
