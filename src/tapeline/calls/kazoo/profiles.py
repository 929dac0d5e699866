"""What is set for an account, a user, a device: which of their calls are recorded, and what the keys do that they press meanwhile.

It stands in the settings (`[[accounts]]`, `[[users]]`) or in documents that were given through an API. A document's word wins over the
settings'. All is kept in memory, since a call cannot wait for the database; who reads the documents hands over those that changed (`take`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tapeline.core.callrecording import Rules, legacy, merged
from tapeline.core.kazoo import hex_id
from tapeline.core.settings import Settings, User

__all__ = ["Endpoint", "Profiles", "user_named"]


class Document(Protocol):
    """A row of `store.Documents`: of kind `account` (named by the account's id), `user` or `device`."""

    @property
    def account(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def body(self) -> Mapping[str, Any]: ...
    @property
    def deleted(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A user with its phones. `metaflows` are documents, the most particular first."""

    owner_id: str
    account: str
    recording: Rules
    metaflows: tuple[Mapping[str, Any], ...]


class Profiles:
    """`accounts` are the settings' accounts, name -> id."""

    def __init__(self, settings: Settings, accounts: Mapping[str, str]) -> None:
        self._users = {user.name: user for user in settings.users}
        wanted = {"call_recording", "metaflows"}
        self._settings = {user.name: user.model_dump(exclude_unset=True, include=wanted, exclude_none=True) for user in settings.users}
        self._ids = accounts
        self._accounts = {accounts.get(account.name, account.name): account.model_dump(exclude_unset=True) for account in settings.accounts}
        self._documents: dict[tuple[str, str, str], Mapping[str, Any]] = {}  # by account, kind, name in lower case
        self._devices: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}  # by account and what they register as, then by name

    def take(self, documents: Iterable[Document]) -> None:
        """These have changed; deleted ones are forgotten."""
        for document in documents:
            key = document.account, document.kind, document.name.lower()
            before = self._documents.pop(key, None)
            if before is not None and document.kind == "device":
                self._devices.get((document.account, _login(before)), {}).pop(key[2], None)
            if document.deleted is None:
                self._documents[key] = document.body
                if document.kind == "device":
                    self._devices.setdefault((document.account, _login(document.body)), {})[key[2]] = document.body

    def account(self, account: str) -> Mapping[str, Any]:
        """What is set for an account: `call_recording` {`account`, `endpoint`}, `metaflows`."""
        return {**self._accounts.get(account, {}), **self._documents.get((account, "account", account.lower()), {})}

    def endpoint(self, name: str) -> Endpoint | None:
        """The user who registers as `name`, with what is set for it; None where there is no such user."""
        user = self._users.get(name)
        if user is None:
            return None
        account = self._ids.get(user.account, user.account)
        levels = self._levels(user, account)
        of_account = _object(self.account(account).get("call_recording")).get("endpoint")
        recording = merged(of_account, *(_recording(level) for level in levels))
        metaflows = tuple(found for level in reversed(levels) if (found := _object(level.get("metaflows"))))
        return Endpoint(user.id or user.name, account, recording, metaflows)

    def _levels(self, user: User, account: str) -> Sequence[Mapping[str, Any]]:
        """The user and its devices as documents, from the general to the particular. A device is the user's where it has its name or id, or
        where its `sip.username` is the user's name."""
        names = dict.fromkeys(name.lower() for name in (user.name, user.id.replace("-", ""), user.id) if name)
        own = dict(self._settings[user.name])
        for name in names:
            own |= self._documents.get((account, "user", name), {})
        devices = dict(self._devices.get((account, user.name.lower()), {}))
        devices |= {name: self._documents[account, "device", name] for name in names if (account, "device", name) in self._documents}
        return (own, *devices.values())


def user_named(users: Sequence[User], text: str) -> User | None:
    """The user of that id, with or without dashes, or of that name."""
    wanted = text.lower()
    return next((user for user in users if wanted in {user.name.lower(), user.id.lower(), hex_id(user.id)} - {""}), None)


def _login(device: Mapping[str, Any]) -> str:
    """What a device registers as."""
    return str(_object(device.get("sip")).get("username", "")).lower()


def _recording(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return _object(body.get("call_recording")) or legacy(body.get("record_call"))


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
