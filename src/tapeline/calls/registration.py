"""Who may register here, from the settings, and what is told of those who do.

The endpoint's registrar does the work; here is who has which password, and by which names a user is known. A user without a password can
be called nowhere and calls as nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from tapeline import sip
from tapeline.core.errors import InvalidInput
from tapeline.core.settings import ServerSettings, User

__all__ = ["make_registrar", "tell_registration"]

log = structlog.get_logger(__name__)


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
        min_expires=server.register_min_seconds, algorithms=tuple(server.digest), most_failures=server.max_failed_logins
    )
    return sip.Registrar(server.realm, secret, entropy, name_of=name_of, config=config) if known else None


def tell_registration(event: sip.Registered | sip.Unregistered) -> None:
    """Write into the log who came and who went; refreshes are not told."""
    if isinstance(event, sip.Unregistered):
        log.info("phone gone", user=event.username, contact=event.uri, reason=event.reason)
    elif event.fresh:
        binding = event.binding
        log.info("phone registered", user=event.username, contact=binding.uri, transport=binding.flow.transport, agent=binding.user_agent)
