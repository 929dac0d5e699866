"""KAZOO's channels: the calls that are up, and what may be done to one of them.

    GET /accounts/A/channels        .../users/U/channels        .../devices/D/channels
    GET /accounts/A/channels/UUID
    POST /accounts/A/channels/UUID  {"data": {"action": "transfer", "target": "2002"}}      hangup, break, callflow, intercept
    PUT /accounts/A/channels/UUID   {"data": {"action": "metaflow", "data": {"module": "record_call", "data": {"action": "start"}}}}

A channel's UUID is the call's SIP Call-ID, as it stands in recordings; our own id of the call is taken, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.auth import principal_of
from tapeline.api.bodies import read_json
from tapeline.api.kazoo.bodies import KazooRoute, data_of
from tapeline.api.kazoo.rules import Rules
from tapeline.api.kazoo.schema import check, kept
from tapeline.api.kazoo.words import BadIdentifier, FieldErrors, hex_id, success, uuid_of
from tapeline.api.ports import Service
from tapeline.calls.kazoo.profiles import user_named
from tapeline.calls.views import ChannelView
from tapeline.core.errors import InvalidInput, InvalidState
from tapeline.core.kazoo import gregorian
from tapeline.core.settings import User

__all__ = ["KazooChannels"]


COMMANDS: Final[Mapping[str, Mapping[str, str]]] = {  # of a POST, with the fields that each needs and what is said where they are missing
    "transfer": {"target": "No target destination specified"},
    "hangup": {},
    "break": {},
    "callflow": {"id": "No callflow specified"},
    "intercept": {"target_type": "No target type specified", "target_id": "No target id specified"},
}


class KazooChannels:
    def __init__(self, service: Service, rules: Rules, users: Sequence[User]) -> None:
        self._service = service
        self._rules = rules
        self._users = users

    def routes(self) -> tuple[KazooRoute, ...]:
        return (
            KazooRoute("GET", "/channels", "calls:read", self.list_channels, "Calls that are up"),
            KazooRoute("GET", "/users/{user}/channels", "calls:read", self.of_user, "A user's calls that are up"),
            KazooRoute("GET", "/devices/{device}/channels", "calls:read", self.of_device, "A device's calls that are up"),
            KazooRoute("GET", "/channels/{id}", "calls:read", self.get_channel, "A call that is up"),
            KazooRoute("PUT", "/channels/{id}", "calls:write", self.put_channel, "Do something to a call that is up"),
            KazooRoute("POST", "/channels/{id}", "calls:write", self.post_channel, "Transfer a call that is up, hang it up"),
        )

    async def list_channels(self, request: Request, account: str) -> Response:
        return self._listed(request, await self._channels(request, account))

    async def of_user(self, request: Request, account: str, user: str) -> Response:
        found = user_named(self._users, user)
        name = found.name if found is not None else None
        return self._listed(request, [one for one in await self._channels(request, account) if one.user == name])

    async def of_device(self, request: Request, account: str, device: str) -> Response:
        """A device's calls are those of the user whose name it registers with."""
        row = await self._service.documents.get(uuid_of(account), "device", device.lower(), principal_of(request))
        if row is None:
            raise BadIdentifier(device)
        sip = row.body.get("sip")
        name = str(sip.get("username", "")).lower() if isinstance(sip, Mapping) else ""
        return self._listed(request, [one for one in await self._channels(request, account) if name and one.user.lower() == name])

    async def get_channel(self, request: Request, account: str, id: str) -> Response:
        return success(request, self._told(await self._channel(request, account, id)))

    async def put_channel(self, request: Request, account: str, id: str) -> Response:
        """KAZOO takes `action` within `data` and beside it. What is asked for is done after the answer."""
        body = await read_json(request)
        data, beside = data_of(body), body.get("action")
        channel = await self._channel(request, account, id)
        action = data.get("action") if "module" not in data else beside
        if action != "metaflow":
            raise InvalidInput("invalid data", hint="the action must be metaflow")
        wanted = data.get("data") if "module" not in data else data
        if not isinstance(wanted, Mapping):
            raise FieldErrors({"data": {"required": {"message": "Field is required but missing", "target": "required"}}})
        faults = check(wanted, self._rules.metaflow, "data")
        if faults or not wanted:
            raise FieldErrors(faults or {"data.module": {"required": {"message": "Field is required but missing", "target": "required"}}})
        try:
            await self._service.telephony.metaflow(channel.call.id, wanted, principal_of(request))
        except InvalidState as error:
            raise BadIdentifier(id) from error  # it has ended meanwhile
        return success(request, {}, 202, message="metaflow sent")

    async def post_channel(self, request: Request, account: str, id: str) -> Response:
        """One of the commands of old. It is done after the answer, as a metaflow is."""
        data = data_of(await read_json(request))
        channel = await self._channel(request, account, id)
        action = str(data.get("action"))
        if action not in COMMANDS:
            raise InvalidInput("invalid data", hint=f"the action must be one of {', '.join(COMMANDS)}")
        if action in ("transfer", "intercept") and not channel.other_leg:
            raise _required("other_leg_call_id", "Channel is not bridged")
        for name, said in COMMANDS[action].items():
            if not isinstance(data.get(name), str) or not data[name]:
                raise _required(name, said)
        wanted = {"module": action, "data": {name: value for name, value in data.items() if name != "action" and value is not None}}
        kept(wanted, self._rules.metaflow)
        try:
            await self._service.telephony.metaflow(channel.call.id, wanted, principal_of(request))
        except InvalidState as error:
            raise BadIdentifier(id) from error  # it has ended meanwhile
        return success(request, {}, 202, message=f"{action} initiated")

    async def _channels(self, request: Request, account: str) -> list[ChannelView]:
        return list(await self._service.telephony.channels(uuid_of(account), principal_of(request)))

    async def _channel(self, request: Request, account: str, id: str) -> ChannelView:
        for one in await self._channels(request, account):
            if id in (one.call.sip_call_id, one.call.id, hex_id(one.call.id)):
                return one
        raise BadIdentifier(id)

    def _listed(self, request: Request, channels: Sequence[ChannelView]) -> Response:
        return success(request, [self._told(one) for one in channels], page_size=len(channels))

    def _told(self, channel: ChannelView) -> dict[str, Any]:
        call = channel.call
        user = next((user for user in self._users if user.name == channel.user), None)
        owner = (user.id or user.name) if user is not None else channel.user
        return {
            "uuid": call.sip_call_id or call.id,
            "answered": call.status == "progressing",
            "direction": "inbound" if call.direction == "incoming" else "outbound",
            "destination": call.destination.target,
            "caller_id_number": call.source.target,
            "caller_id_name": call.source.name,
            "other_leg": channel.other_leg,
            "owner_id": owner,
            "authorizing_id": owner,
            "authorizing_type": "user" if owner else "",
            "presence_id": channel.user,
            "username": channel.user,
            "timestamp": gregorian(call.created),
        }


def _required(field: str, message: str) -> FieldErrors:
    return FieldErrors({field: {"required": {"message": message, "target": "required"}}})
