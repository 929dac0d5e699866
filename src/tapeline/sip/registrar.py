"""The registrar (RFC 3261 section 10): where each user is reached just now, and whether who calls is who he says.

A user may be in several places, each a `Binding`: a contact, and the flow its REGISTER came over. Calls to the user go out over that flow,
which is the one way through a NAT; a UDP flow that leads through one is kept open by a blank line every so often, a binding over a
connection ends with it. A REGISTER changes all that it names or nothing. Users are known by one name each, however they log in.

    REGISTER -> admit (Digest, who may) -> bindings -> Registered, Unregistered           INVITE -> admit -> Incoming.user

Wrong passwords are counted by source; a source with too many is refused unheard, but for a user over the flow it is registered by. Answers
that ask for a password are stateless, so that asking costs nothing. This module knows nothing of calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tapeline.sip.auth import DigestServer
from tapeline.sip.config import Flow
from tapeline.sip.errors import MalformedMessage, MalformedUri
from tapeline.sip.events import Event, LoginFailed, Registered, Unregistered
from tapeline.sip.headers import NameAddr, parse_name_addr
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.limits import FailedLogins
from tapeline.sip.message import Field, Request
from tapeline.sip.timers import Timer, Timers
from tapeline.sip.uri import Uri, host_port, parse_uri

__all__ = ["Admission", "Binding", "Registrar", "RegistrarConfig"]

_PING = b"\r\n\r\n"
LONGEST_NAME = 64  # of a user that is told of


@dataclass(frozen=True, slots=True)
class RegistrarConfig:
    """Seconds, but for counts. `most_failures` wrong passwords from one source shut it out for `shut_out_s`; 0 never."""

    min_expires: int = 60
    max_expires: int = 7200
    default_expires: int = 3600
    most_contacts: int = 10  # of one user
    ping_s: float = 25.0  # 0: NATs are not kept open
    most_failures: int = 10
    shut_out_s: float = 300.0
    algorithms: tuple[str, ...] = ("SHA-256", "MD5")


@dataclass(frozen=True, slots=True)
class Binding:
    """One place where a user is. `uri` is to be asked for over `flow`; `expires_at` is on the clock of the endpoint's `now`."""

    uri: str
    flow: Flow
    q: float
    expires_at: float
    user_agent: str
    behind_nat: bool = False
    since: float = 0.0  # when it was first registered
    call_id: str = ""
    cseq: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may go on: `status` 0 where it may, else what to answer. `user` is who sent it, "" where nobody need be known."""

    status: int = 0
    user: str = ""
    fields: tuple[Field, ...] = ()
    stateless: bool = False


class Owner(Protocol):
    """The endpoint, as the registrar sees it."""

    layer: TransactionLayer
    standing: Timers

    def emit(self, event: Event) -> None: ...


class _Entry:
    """A binding and its timers."""

    __slots__ = ("_owner", "_registrar", "_timers", "binding", "key", "username")

    def __init__(self, registrar: Registrar, owner: Owner, username: str, key: str) -> None:
        self._registrar = registrar
        self._owner = owner
        self._timers: dict[str, Timer] = {}
        self.username = username
        self.key = key
        self.binding: Binding

    def set(self, binding: Binding, ping_s: float, now: float) -> None:
        self.binding = binding
        self.stop()
        self._timers["expiry"] = self._owner.standing.start(binding.expires_at, self, "expiry")
        if ping_s and binding.behind_nat and binding.flow.transport == "udp":
            self._timers["ping"] = self._owner.standing.start(now + ping_s, self, "ping")

    def stop(self) -> None:
        for timer in self._timers.values():
            self._owner.standing.cancel(timer)
        self._timers.clear()

    def on_timer(self, name: str, now: float) -> None:
        if name == "expiry":
            self._registrar.remove(self, "expired")
        else:
            self._owner.layer.transmit(_PING, self.binding.flow, None, now)
            self._timers["ping"] = self._owner.standing.start(now + self._registrar.config.ping_s, self, "ping")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One contact of a REGISTER. `expires` 0: to be removed."""

    key: str
    uri: str
    expires: int
    q: float


class _Refused(Exception):
    def __init__(self, status: int, *fields: Field) -> None:
        super().__init__(status)
        self.status = status
        self.fields = fields


class Registrar:
    """`secrets(username)` gives a password, None where nobody has that name; `name_of(user)` the one name of who may also be called by an
    extension, None where it is nobody. Give it to the endpoint, which asks it."""

    def __init__(
        self,
        realm: str,
        secrets: Callable[[str], str | None],
        entropy: Callable[[int], bytes],
        *,
        name_of: Callable[[str], str | None] | None = None,
        config: RegistrarConfig = RegistrarConfig(),  # frozen
    ) -> None:
        """Raises KeyError for an algorithm that is none of ours."""
        self.config = config
        self.digest = DigestServer(realm, secrets, entropy, algorithms=config.algorithms)
        self._name_of = name_of or (lambda user: user if secrets(user) is not None else None)
        self._failures = FailedLogins(config.most_failures, config.shut_out_s)
        self._entries: dict[str, dict[str, _Entry]] = {}  # by user and key
        self._by_flow: dict[Flow, dict[tuple[str, str], _Entry]] = {}
        self.owner: Owner  # set by the endpoint

    # ---- what others ask

    def contacts(self, username: str, now: float) -> tuple[Binding, ...]:
        """Where a user (by name or extension) is, the best place first; () where nowhere."""
        name = self._name_of(username)
        entries = self._entries.get(name, {}).values() if name is not None else ()
        living = [entry.binding for entry in entries if entry.binding.expires_at > now]
        return tuple(sorted(living, key=lambda binding: (-binding.q, -binding.since)))

    def knows(self, user: str) -> str | None:
        """The name of the user who is called `user`, registered or not; None where nobody is."""
        return self._name_of(user)

    def reaches(self, flow: Flow, uri: str) -> bool:
        """Whether somebody is registered at just this place."""
        return any(entry.binding.uri == uri for entry in self._by_flow.get(flow, {}).values())

    @property
    def registered(self) -> int:
        """How many bindings there are."""
        return sum(len(entries) for entries in self._entries.values())

    # ---- who somebody is

    def admit(self, request: Request, flow: Flow, now: float) -> Admission:
        """Whether the request is from who it says it is. Raises MalformedMessage.

        REGISTER must be from the user whom it registers; any other from the user in From, where that is one of ours.
        """
        registering = request.method == "REGISTER"
        claimed = self._name_of(_user(request.to if registering else request.from_))
        if claimed is None and not registering:
            return Admission()
        counters = self.owner.layer.counters
        if self._failures.shut_out(flow.remote[0], now) and not self._at_home(claimed, flow):
            counters.refused_logins += 1
            return Admission(403, stateless=True)
        verdict = self.digest.check(request, "authorization" if registering else "proxy-authorization", now)
        if verdict.outcome == "missing" and not registering:
            verdict = self.digest.check(request, "authorization", now)
        if verdict.outcome in ("missing", "stale"):
            counters.challenged += 1
            asked = self.digest.challenges(now, stale=verdict.outcome == "stale", agent=request.get("user-agent") or "")
            header = "WWW-Authenticate" if registering else "Proxy-Authenticate"
            return Admission(401 if registering else 407, fields=tuple((header, value) for value in asked), stateless=True)
        if verdict.outcome == "denied" or claimed is None or self._name_of(verdict.username) != claimed:
            counters.failed_logins += 1
            self._failures.failed(flow.remote[0], now)
            self.owner.emit(LoginFailed(verdict.username[:LONGEST_NAME], request.method, flow.remote[0]))
            return Admission(403)
        return Admission(user=claimed)

    def _at_home(self, username: str | None, flow: Flow) -> bool:
        """Whether the user is registered over this very flow: others at the same address must not lock a user's phone out."""
        return any(entry.username == username for entry in self._by_flow.get(flow, {}).values())

    # ---- REGISTER

    def register(self, request: Request, username: str, flow: Flow, now: float) -> tuple[int, list[Field]]:
        """What an admitted REGISTER asks for: the status and headers of its answer. Raises MalformedMessage."""
        try:
            wanted = self._wanted(request, username)
            self._check_order(request, username, wanted)
        except _Refused as refused:
            return refused.status, list(refused.fields)
        alone = len(request.items("via")) == 1
        self._drop_former(request, username, flow if alone else None, {item.key for item in wanted})
        for item in wanted:
            self._apply(item, request, username, flow, alone, now)
        return 200, [("Contact", _shown(binding, now)) for binding in self.contacts(username, now)]

    def _wanted(self, request: Request, username: str) -> list[_Wanted]:
        """RFC 3261 section 10.3, steps 6 and 7."""
        items = request.items("contact")
        if "*" in items:
            if len(items) != 1 or (request.get("expires") or "").strip() != "0":
                raise _Refused(400)
            return [_Wanted(entry.key, entry.binding.uri, 0, 0.0) for entry in self._entries.get(username, {}).values()]
        if len(items) > self.config.most_contacts:
            raise _Refused(403)
        found = {}
        for item in items:
            wanted = self._contact(parse_name_addr(item), request.get("expires"))
            found[wanted.key] = wanted
        return list(found.values())

    def _contact(self, contact: NameAddr, header: str | None) -> _Wanted:
        config = self.config
        uri = contact.uri
        if not uri.is_sip:
            raise _Refused(400)
        stated = contact.parameters.get("expires") or header
        expires = min(config.default_expires, config.max_expires)
        if stated is not None and stated.strip().isascii() and stated.strip().isdigit():
            expires = min(int(stated.strip()[:10]), config.max_expires)
        if 0 < expires < config.min_expires:
            raise _Refused(423, ("Min-Expires", str(config.min_expires)))
        return _Wanted(_key(contact, uri), contact.uri_text, expires, _quality(contact.parameters.get("q")))

    def _check_order(self, request: Request, username: str, wanted: list[_Wanted]) -> None:
        """A REGISTER that was overtaken by a later one changes nothing."""
        mine = self._entries.get(username, {})
        for item in wanted:
            entry = mine.get(item.key)
            if entry is not None and entry.binding.call_id == request.call_id and request.cseq[0] <= entry.binding.cseq:
                raise _Refused(500)

    def _drop_former(self, request: Request, username: str, flow: Flow | None, kept: set[str]) -> None:
        """A phone that was started anew registers another contact from the same socket: what it was before is gone."""
        if flow is None or not kept:
            return
        for entry in list(self._by_flow.get(flow, {}).values()):
            if entry.username == username and entry.key not in kept and entry.binding.call_id != request.call_id:
                self.remove(entry, "replaced")

    def _apply(self, item: _Wanted, request: Request, username: str, flow: Flow, alone: bool, now: float) -> None:
        mine = self._entries.get(username, {})
        entry = mine.get(item.key)
        if not item.expires:
            if entry is not None:
                self.remove(entry, "removed")
            return
        fresh = entry is None
        since = now
        if entry is None:
            if len(mine) >= self.config.most_contacts:
                self.remove(min(mine.values(), key=lambda other: other.binding.expires_at), "replaced")
            entry = _Entry(self, self.owner, username, item.key)
            self._entries.setdefault(username, {})[item.key] = entry
        else:
            since = entry.binding.since
            self._forget_flow(entry)
        behind_nat = alone and _elsewhere(request, parse_uri(item.uri), flow)
        agent = (request.get("user-agent") or "")[:200]
        binding = Binding(item.uri, flow, item.q, now + item.expires, agent, behind_nat, since, request.call_id, request.cseq[0])
        entry.set(binding, self.config.ping_s, now)
        self._by_flow.setdefault(flow, {})[username, item.key] = entry
        self.owner.emit(Registered(username, binding, fresh))

    # ---- the end of a binding

    def remove(self, entry: _Entry, reason: str) -> None:
        """End a binding and say so."""
        entry.stop()
        self._forget_flow(entry)
        mine = self._entries[entry.username]
        del mine[entry.key]
        if not mine:
            del self._entries[entry.username]
        self.owner.emit(Unregistered(entry.username, entry.binding.uri, reason))  # type: ignore[arg-type]  # our own words

    def _forget_flow(self, entry: _Entry) -> None:
        flow = entry.binding.flow
        there = self._by_flow.get(flow, {})
        there.pop((entry.username, entry.key), None)
        if not there:
            self._by_flow.pop(flow, None)

    def lost(self, flow: Flow) -> None:
        """A connection has closed: who was reached over it no longer is."""
        for entry in list(self._by_flow.get(flow, {}).values()):
            self.remove(entry, "lost")


def _user(address: NameAddr) -> str:
    try:
        return address.uri.plain_user
    except MalformedUri as error:
        raise MalformedMessage(error.message) from error


def _quality(text: str | None) -> float:
    """The q of a contact, from 0 to 1; 1 where there is none or it cannot be read."""
    try:
        found = float(text) if text and len(text) < 8 else 1.0
    except ValueError:
        return 1.0
    return min(1.0, max(0.0, found)) if found == found else 1.0


def _key(contact: NameAddr, uri: Uri) -> str:
    """What makes two contacts the same: instance and number of the flow (RFC 5626 section 6), else the URI (RFC 3261 section 19.1.4)."""
    instance, number = contact.parameters.get("+sip.instance"), contact.parameters.get("reg-id")
    if instance and number:
        return f"{instance.lower()} {number}"
    return f"{uri.scheme}:{uri.plain_user}@{host_port(uri.host.lower(), uri.port)};{uri.transport}"


def _elsewhere(request: Request, uri: Uri, flow: Flow) -> bool:
    """Whether the phone thinks it is somewhere else than where its packets come from: a NAT is between us."""
    host, port = flow.remote
    via = request.via
    contact_differs = uri.host.lower() != host or (flow.transport == "udp" and (uri.port or 5060) != port)
    return contact_differs or via.host.lower() != host


def _shown(binding: Binding, now: float) -> str:
    return f"<{binding.uri}>;q={binding.q:.3g};expires={max(0, round(binding.expires_at - now))}"
