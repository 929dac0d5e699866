"""What no flow asks for: recordings, and keys that mean something, which an account, a user or a device has set, begin with the call.

    the account     what arrives is recorded on the caller's leg, before the first module of the flow: `inbound` by where it comes from,
                    or else `outbound` by where it goes. At most one.
    who calls       a user of ours that calls is recorded on its own leg: `outbound` by where it goes.
    who is called   a user's phone that answers is recorded on that leg, from its answer on: `inbound` by where the call comes from.

`offnet` is what came over a carrier, or goes where only a flow for all other numbers (`no_match`) leads; all else is `onnet`. Each of them
makes a recording of its own, and none follows a transfer. What the settings say is resolved by `core.callrecording`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from tapeline import flow
from tapeline.calls.equipment import Equipment
from tapeline.calls.kazoo.profiles import Profiles
from tapeline.calls.session import Call
from tapeline.calls.variables import variables_of
from tapeline.core.callrecording import Network, merged, parameters
from tapeline.core.errors import TapelineError

__all__ = ["Automatic"]

log = structlog.get_logger(__name__)


class Automatic:
    def __init__(self, equipment: Equipment, profiles: Profiles) -> None:
        self._kit = equipment
        self._profiles = profiles

    def arrived(self, call: Call, metaflow: Mapping[str, Any], *, offnet: bool) -> None:
        """A call has come in and its flow is about to begin, which has this `metaflow`; `offnet`: it is for a number that only a flow for
        all others takes."""
        endpoint = self._profiles.endpoint(call.facts.user) if call.facts.user else None
        of_account = self._profiles.account(call.facts.account).get("metaflows")
        documents = [*(endpoint.metaflows if endpoint is not None else ()), metaflow, of_account]
        self._kit.metaflows.own(call, [document for document in documents if isinstance(document, Mapping)])
        self._of_account(call, _network(call), "offnet" if offnet else "onnet")
        self._of_caller(call, "offnet" if offnet else "onnet")

    def answered(self, call: Call, caller: Call | None, user: str, offnet: bool) -> None:
        """`call`, to a phone of `user` ("": nobody of ours), over a trunk where `offnet`, is up. `caller` is whom it was dialled for;
        without one it stands by itself, and is the one that the account records."""
        if caller is None:
            self._of_account(call, "onnet", "offnet" if offnet else "onnet")
        endpoint = self._profiles.endpoint(user) if user else None
        if endpoint is None:
            return
        self._kit.metaflows.own(call, endpoint.metaflows)
        network = _network(caller) if caller is not None else "onnet"
        found = parameters(endpoint.recording, "inbound", network)
        if found is not None:
            self._record(call, found, f"inbound from {network} to endpoint", endpoint.owner_id, up=True)

    def _of_account(self, call: Call, source: Network, target: Network) -> None:
        setting = self._profiles.account(call.facts.account).get("call_recording")
        rules = merged(setting.get("account") if isinstance(setting, Mapping) else None)
        if (found := parameters(rules, "inbound", source)) is not None:
            self._record(call, found, f"inbound from {source} to account")
        elif (found := parameters(rules, "outbound", target)) is not None:
            self._record(call, found, f"outbound to {target} from account")

    def _of_caller(self, call: Call, target: Network) -> None:
        endpoint = self._profiles.endpoint(call.facts.user) if call.facts.user else None
        if endpoint is not None and (found := parameters(endpoint.recording, "outbound", target)) is not None:
            self._record(call, found, f"outbound to {target} from endpoint", endpoint.owner_id)

    def _record(self, call: Call, found: Mapping[str, Any], origin: str, owner_id: str = "", *, up: bool = False) -> None:
        """A recording that cannot be made is logged: the call goes on without."""
        variables = variables_of(call, self._kit.settings)
        try:
            spec = flow.recording_spec(found, variables.substitute, origin=origin, follow_transfer=False)
            if up:
                spec = replace(spec, begin="now")
            if owner_id:
                spec = replace(spec, custom={**spec.custom, "owner_id": owner_id})
            call.start_recording(self._kit.permitted(spec, call.facts.account))
        except TapelineError as error:
            log.warning("a call is not recorded as the settings say", call_id=call.facts.id, origin=origin, error=str(error))


def _network(call: Call) -> Network:
    """Where a call comes from: `onnet` from somebody of ours (a user that has proved who it is, or a call that we placed)."""
    return "onnet" if call.facts.user or not call.incoming else "offnet"
