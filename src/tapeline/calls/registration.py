"""Who may register here, and where we register: both from the settings, and told in the log.

The endpoint's registrar and registrations do the work. Here is who has which password, and by which names a user is known; a user
without a password can be called nowhere and calls as nobody. And here a trunk's name is looked up, again after each failure, so that a
registration moves on to the next of its addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import quote

import structlog

from tapeline import sip
from tapeline.calls.trunks import Trunks, trunk_uri
from tapeline.core.clock import Clock
from tapeline.core.errors import InvalidInput, Unavailable
from tapeline.core.settings import ServerSettings, Trunk, User
from tapeline.sip.transports.shell import Shell
from tapeline.sip.uri import host_port

__all__ = ["Registrations", "make_registrar"]

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 30.0  # after a name that could not be looked up
FAREWELL_S = 2.0  # how long a stopping server waits for its registrations to be taken back


def make_registrar(users: Sequence[User], server: ServerSettings, entropy: Callable[[int], bytes]) -> sip.Registrar | None:
    """The registrar for the users who have a password; None where nobody has. Raises InvalidInput where two go by one name."""
    known: dict[str, User] = {}
    for user in users:
        if not user.password:
            log.warning("a user without a password cannot register", user=user.name)
            continue
        for name in {user.name.lower(), user.extension.lower()} - {""}:
            if name in known:
                raise InvalidInput(f"two users go by the name or extension {name!r}", hint="change users.name or users.extension")
            known[name] = user

    def secret(name: str) -> str | None:
        user = known.get(name.lower())
        return user.password if user is not None else None

    def name_of(name: str) -> str | None:
        user = known.get(name.lower())
        return user.name if user is not None else None

    config = sip.RegistrarConfig(
        min_expires=server.register_min_seconds,
        max_expires=server.register_max_seconds,
        algorithms=tuple(server.digest),
        most_failures=server.max_failed_logins,
    )
    return sip.Registrar(server.realm, secret, entropy, name_of=name_of, config=config) if known else None


class Registrations:
    """Ours with the trunks that want one, and the log of all."""

    def __init__(self, endpoint: sip.Endpoint, shell: Shell, clock: Clock, trunks: Trunks) -> None:
        self._endpoint = endpoint
        self._shell = shell
        self._clock = clock
        self._trunks = trunks
        self._kept: dict[sip.Registration, Trunk] = {}
        self._tried: dict[sip.Registration, set[tuple[str, int]]] = {}  # addresses that have failed since it stood
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def start(self) -> None:
        """Register with every trunk that wants it. The listeners are there."""
        for trunk in self._trunks:
            if trunk.registration:
                self._trunks.registered(trunk.name, False)
                self._run(self._begin(trunk))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, trunk: Trunk) -> None:
        target = trunk_uri(trunk)
        user = quote(trunk.username, safe="-_.!~*'()&=+$,;?/")
        aor = f"sip:{user}@{trunk.domain or host_port(target.host)}"
        credentials = sip.Credentials(trunk.username, trunk.password)
        while not self._closing:
            try:
                flow = (await self._shell.flows_to(target))[0]
                uri = f"{target.scheme}:{host_port(target.host, target.port)}"
                now = self._clock.now()
                kept = self._endpoint.register(aor, uri, local=flow, credentials=credentials, contact_user=user, now=now)
            except Unavailable as error:
                log.warning("a trunk cannot be found", trunk=trunk.name, error=error.message)
                await asyncio.sleep(LOOK_AGAIN_S)
                continue
            except sip.MalformedUri as error:
                log.error("a trunk cannot be registered with", trunk=trunk.name, error=error.message)
                return
            self._kept[kept] = trunk
            self._shell.pump()
            return

    async def _elsewhere(self, registration: sip.Registration, trunk: Trunk) -> None:
        """Go on to another address of the trunk: at once, until all have failed, then when the next try is due."""
        with contextlib.suppress(Unavailable):
            flows = await self._shell.flows_to(trunk_uri(trunk))
            tried = self._tried.setdefault(registration, set())
            tried.add(registration.flow.remote)
            untried = [flow for flow in flows if flow.remote not in tried]
            if untried and not self._closing:
                registration.move(untried[0], self._clock.now())
                self._shell.pump()
            elif not untried:
                tried.clear()
                registration.flow = flows[0]

    # -- events --------------------------------------------------------------------------------------------------------

    def on_signal(self, event: sip.Event) -> None:
        match event:
            case sip.Registered(username=user, binding=binding, fresh=True):
                agent, transport = binding.user_agent, binding.flow.transport
                log.info("phone registered", user=user, contact=binding.uri, transport=transport, agent=agent)
            case sip.Unregistered(username=user, uri=uri, reason=reason):
                log.info("phone gone", user=user, contact=uri, reason=reason)
            case sip.LoginFailed(username=user, method=method, address=address):
                log.warning("wrong password, or no such user", user=user, method=method, address=address)
            case sip.RegistrationChanged(registration=registration):
                self._changed(registration, event)

    def _changed(self, registration: sip.Registration, event: sip.RegistrationChanged) -> None:
        trunk = self._kept.get(registration)
        if trunk is None:
            return
        self._trunks.registered(trunk.name, event.state == "registered")
        if event.state == "registered":
            self._tried.pop(registration, None)
        if event.state == "failed":
            log.warning("not registered with a trunk", trunk=trunk.name, status=event.status, text=event.text)
            if event.status in (408, 503):
                self._run(self._elsewhere(registration, trunk))
        else:
            log.info("registration with a trunk", trunk=trunk.name, state=event.state)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Take all registrations back, and wait a moment for the answers."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for registration in self._kept:
            registration.stop(self._clock.now())
        self._shell.pump()
        for _ in range(round(FAREWELL_S / 0.02)):
            if not self._endpoint.registrations:
                break
            await asyncio.sleep(0.02)
