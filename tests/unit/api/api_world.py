"""A small world in memory behind the faces: accounts, tokens, calls, recordings and their audio, with the service's rules.

It fulfils `api.ports` and behaves: states move, other tenants are refused, files come when they are available. Tests move it by
`answer`, `remote_hangup`, `finish`, `expire` ... and look at it through HTTP only.
"""

from __future__ import annotations

import base64
import builtins
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

import httpx2
from archive_world import MemoryArchive, MemoryExports
from conference_world import MemoryConferences
from delivery_world import MemoryDeliveries
from fastapi import FastAPI
from flow_world import FlowRows, MemoryActiveflows, flow_service
from telephony_world import MemoryTelephony
from voice_world import MemoryVoice

from tapeline.api import create_app
from tapeline.api.kazoo.storage import Probe
from tapeline.api.metrics import Metrics
from tapeline.api.people import Keys, Staff
from tapeline.api.sessions import Sessions
from tapeline.api.voipbin import face
from tapeline.api.voipbin.customer import CustomerFace
from tapeline.api.voipbin.people import PeopleFace
from tapeline.api.voipbin.sockets import EventSockets
from tapeline.calls.errors import (
    already_recording,
    call_not_found,
    not_progressing,
    not_recording,
    not_yours,
    recording_not_found,
)
from tapeline.calls.views import Address, CallView, Page, RecordingFile, RecordingView
from tapeline.calls.vonage.applications import Applications
from tapeline.core.errors import InvalidState, NotFound, Unavailable
from tapeline.core.ids import new_id
from tapeline.core.principal import ALL_SCOPES, Principal
from tapeline.core.recordspec import MaskMode, RecordSpec
from tapeline.core.settings import DeliverySettings, RecordingSettings, Settings, User
from tapeline.store import Account, AgentRow, Application, Deed, Search, Token
from tapeline.store.errors import AlreadyThere
from tapeline.testing.clock import FakeClock

SESSION_KEY = "k" * 64
PIECE = 1000  # bytes that the store gives at a time
FINAL = ("available", "failed")


def cheaply_hashed(password: str) -> str:
    """A stored password with the smallest cost that scrypt knows."""
    found = hashlib.scrypt(password.encode(), salt=b"salt", n=2, r=1, p=1)
    return f"scrypt$2$1$1$c2FsdA==${base64.b64encode(found).decode()}"


class TokenStore:
    def __init__(self, clock: FakeClock, maybe_broken: Callable[[], None]) -> None:
        self.clock = clock
        self.maybe_broken = maybe_broken
        self.by_secret: dict[str, Token] = {}
        self.away = False
        self.asked = 0

    def issue(self, account: str, *scopes: str, name: str = "test", detail: str = "", expires: float | None = None) -> str:
        secret = f"vb_{len(self.by_secret):032d}"
        made = self.clock.wall()
        self.clock.advance(0.001)
        token = Token(new_id(), account, name, frozenset(scopes), made, detail=detail, prefix=secret[:11], expires=expires)
        self.by_secret[secret] = token
        return secret

    async def find(self, secret: str) -> Token | None:
        self.asked += 1
        if self.away:
            raise Unavailable("the database is away")
        return self.by_secret.get(secret)

    async def get(self, token_id: str) -> Token | None:
        self.maybe_broken()
        return next((token for token in self.by_secret.values() if token.id == token_id), None)

    async def page(self, account: str | None, before: float | None, limit: int, *, administrators: bool) -> list[Token]:
        self.maybe_broken()
        found = [token for token in self.by_secret.values() if account in (None, token.account)]
        found = [token for token in found if (before is None or token.created < before) and (administrators or "admin" not in token.scopes)]
        return sorted(found, key=lambda token: -token.created)[:limit]

    async def add(
        self, account_id: str, name: str, scopes: Collection[str], *, detail: str = "", expires: float | None = None
    ) -> tuple[Token, str]:
        self.maybe_broken()
        secret = self.issue(account_id, *scopes, name=name, detail=detail, expires=expires)
        return self.by_secret[secret], secret

    async def rename(self, token_id: str, name: str, detail: str) -> None:
        for secret, token in self.by_secret.items():
            if token.id == token_id:
                self.by_secret[secret] = replace(token, name=name, detail=detail, updated=self.clock.wall())

    async def revoke(self, token_id: str) -> bool:
        found = [secret for secret, token in self.by_secret.items() if token.id == token_id]
        for secret in found:
            del self.by_secret[secret]
        return bool(found)


class AgentStore:
    def __init__(self, clock: FakeClock, maybe_broken: Callable[[], None]) -> None:
        self.clock = clock
        self.maybe_broken = maybe_broken
        self.rows: dict[str, AgentRow] = {}

    def make(self, account: str, role: str = "agent", username: str = "", password: str = "") -> str:
        """An agent, with a password that costs no time to compare."""
        agent_id = new_id()
        stored = cheaply_hashed(password)
        self.rows[agent_id] = AgentRow(agent_id, account, username or agent_id[:8], "An agent", role, stored, self.clock.wall())
        self.clock.advance(0.001)
        return agent_id

    async def get(self, agent_id: str) -> AgentRow | None:
        self.maybe_broken()
        return self.rows.get(agent_id)

    async def by_username(self, username: str) -> AgentRow | None:
        return next((row for row in self.rows.values() if row.username == username), None)

    async def list(self, account: str | None, before: float | None, limit: int) -> builtins.list[AgentRow]:
        self.maybe_broken()
        found = [row for row in self.rows.values() if account in (None, row.account) and row.deleted is None]
        return sorted((row for row in found if before is None or row.created < before), key=lambda row: -row.created)[:limit]

    async def add(self, row: AgentRow) -> None:
        self.maybe_broken()
        if await self.by_username(row.username):
            raise AlreadyThere("there is such an agent", reason="USERNAME_ALREADY_EXISTS")
        self.rows[row.id] = row
        self.clock.advance(0.001)

    async def change(self, agent_id: str, **columns: Any) -> AgentRow | None:
        self.rows[agent_id] = replace(self.rows[agent_id], **columns, updated=self.clock.wall())
        return self.rows[agent_id]

    async def delete(self, agent_id: str) -> AgentRow | None:
        return await self.change(agent_id, username=agent_id, password="", deleted=self.clock.wall())


class MemoryAccounts:
    def __init__(self, accounts: list[Account], maybe_broken: Callable[[], None] = lambda: None) -> None:
        self._accounts = accounts
        self._maybe_broken = maybe_broken

    async def get(self, account_id: str) -> Account | None:
        self._maybe_broken()
        return next((found for found in self._accounts if found.id == account_id), None)

    async def by_name(self, name: str) -> Account | None:
        return next((found for found in self._accounts if found.name == name), None)

    async def add(self, name: str, **columns: Any) -> Account | None:
        self._maybe_broken()
        if await self.by_name(name) is not None:
            return None
        self._accounts = [*self._accounts, Account(new_id(), name, 1.0 + len(self._accounts), webhook_secret="s" * 32, **columns)]
        return self._accounts[-1]

    async def page(self, before: float | None = None, limit: int = 100) -> list[Account]:
        self._maybe_broken()
        found = [account for account in self._accounts if before is None or account.created < before]
        return sorted(found, key=lambda account: -account.created)[:limit]

    async def amend(self, account_id: str, **changes: Any) -> Account | None:
        self._accounts = [replace(found, **changes) if found.id == account_id else found for found in self._accounts]
        return await self.get(account_id)


class MemoryApplications:
    """Rows of applications by their id."""

    def __init__(self) -> None:
        self.rows: dict[str, Application] = {}

    def __getitem__(self, row_id: str) -> Application:
        return self.rows[row_id]

    def __setitem__(self, row_id: str, row: Application) -> None:
        self.rows[row_id] = row

    async def all(self) -> list[Application]:
        return [row for row in self.rows.values() if row.deleted is None]

    async def get(self, row_id: str) -> Application | None:
        return self.rows.get(row_id)

    async def put(self, row: Application) -> None:
        self.rows[row.id] = row

    async def delete(self, application_id: str, at: float | None = None) -> Application | None:
        self.rows[application_id] = replace(self.rows[application_id], deleted=at or 1.0)
        return self.rows[application_id]


class MemoryTrail:
    def __init__(self) -> None:
        self.deeds: list[Deed] = []

    def note(self, deed: Deed) -> None:
        self.deeds.append(deed)


class MemoryService:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: dict[str, CallView] = {}
        self.recordings: dict[str, RecordingView] = {}
        self.archive = MemoryArchive(self.recordings, self._maybe_broken)
        self.exports = MemoryExports(self.archive, clock)
        self.specs: dict[str, RecordSpec] = {}
        self.audio: dict[str, bytes] = {}
        self.checks: dict[str, str] = {"database": "ok", "disk": "ok"}
        self.conferences = MemoryConferences(clock, self._maybe_broken)
        self.telephony = MemoryTelephony(self.get_call, lambda account: self.call(account, "dialing"), self.calls, self._maybe_broken)
        self.voice = MemoryVoice(self.calls, self.call)
        self.transferred: list[tuple[str, Address]] = []
        self.flow_rows = FlowRows(clock, self._maybe_broken)
        self.deliveries = MemoryDeliveries(self._maybe_broken)
        self.activeflows = MemoryActiveflows(clock, self._maybe_broken)
        self.flows = flow_service(self.flow_rows, clock)
        self.numbers: dict[str, float] = {"calls": 0.0, "calls_total": 0.0}
        self.open_reads = 0
        self.store_away_after: int | None = None  # pieces until the object store fails
        self.broken: Exception | None = None  # a defect of ours, raised by every use

    # -- moving the world ----------------------------------------------------------------------------------------------

    def call(self, account: str, status: Any = "progressing", **fields: Any) -> str:
        wall = self.clock.wall()
        self.clock.advance(0.001)
        view = CallView(
            id=new_id(), account=account, direction="incoming", status=status, created=wall,
            source=Address("tel", "+15551234567", "Ann"), destination=Address("extension", "1000"),
            ringing=wall, progressing=wall if status == "progressing" else None,
        )  # fmt: skip
        self.calls[view.id] = replace(view, **fields)
        return view.id

    def recording(self, account: str, state: Any = "available", audio: bytes = b"RIFF" + bytes(range(256)) * 20, **fields: Any) -> str:
        wall = self.clock.wall()
        self.clock.advance(0.001)
        view = RecordingView(id=new_id(), account=account, state="recording", created=wall, call_id=new_id(), started=wall, origin="flow")
        self.recordings[view.id] = replace(view, **fields)
        if state == "available":
            self.finish(view.id, audio)
        else:
            self.recordings[view.id] = replace(self.recordings[view.id], state=state)
        return view.id

    def answer(self, call_id: str) -> None:
        self.calls[call_id] = replace(self.calls[call_id], status="progressing", progressing=self.clock.wall())

    def remote_hangup(self, call_id: str) -> None:
        self._end_recording(call_id, "hangup")
        self.calls[call_id] = replace(
            self.calls[call_id], status="hangup", hangup_by="remote", hangup_reason="normal", hungup=self.clock.wall()
        )

    def limit_reached(self, call_id: str) -> None:
        self._end_recording(call_id, "max_seconds")

    def finish(self, recording_id: str, audio: bytes = b"RIFF") -> None:
        self.audio[recording_id] = audio
        self.recordings[recording_id] = replace(
            self.recordings[recording_id],
            state="available", size=len(audio), sha256=hashlib.sha256(audio).hexdigest(), duration=1.5, ended=self.clock.wall(),
            measures={"loudness_lufs": float("-inf"), "peak_db": -3.5}, peaks=((0.0, 0.5, 1.0),),
            timeline=({"at": 0.0, "event": "started"}, {"at": 1.5, "event": "stopped"}),
        )  # fmt: skip

    def expire(self, recording_id: str) -> None:
        del self.audio[recording_id]
        self.recordings[recording_id] = replace(self.recordings[recording_id], deleted=self.clock.wall())

    def _end_recording(self, call_id: str, reason: str) -> None:
        view = self.calls[call_id]
        if view.recording_id:
            one = self.recordings[view.recording_id]
            self.recordings[one.id] = replace(one, state="stopping", reason=reason, ended=self.clock.wall(), paused="")
            self.calls[call_id] = replace(view, recording_id="")

    # -- api.ports.Service ---------------------------------------------------------------------------------------------

    def _call(self, call_id: str, principal: Principal) -> CallView:
        self._maybe_broken()
        if call_id not in self.calls:
            raise call_not_found(call_id)
        view = self.calls[call_id]
        if not principal.may_see(view.account):
            raise not_yours("call")
        if view.deleted is not None:
            raise InvalidState("the call has been deleted")
        return view

    def _recording(self, recording_id: str, principal: Principal) -> RecordingView:
        self._maybe_broken()
        if recording_id not in self.recordings:
            raise recording_not_found(recording_id)
        view = self.recordings[recording_id]
        if not principal.may_see(view.account):
            raise not_yours("recording")
        if view.deleted is not None:
            raise NotFound("the recording has been deleted")
        return view

    def _maybe_broken(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _page(self, views: Any, principal: Principal, before: float | None, limit: int) -> Page:
        self._maybe_broken()
        mine = [view for view in views if principal.may_see(view.account) and view.deleted is None]
        mine = [view for view in mine if before is None or view.created < before]
        items = tuple(sorted(mine, key=lambda view: -view.created)[:limit])
        return Page(items, items[-1].created if items else None)

    async def list_calls(self, principal: Principal, before: float | None, limit: int) -> Page:
        return self._page(self.calls.values(), principal, before, limit)

    async def get_call(self, call_id: str, principal: Principal) -> CallView:
        view = self.calls.get(call_id)
        if view is not None and view.deleted is not None and principal.may_see(view.account):
            raise NotFound("the call has been deleted")
        return self._call(call_id, principal)

    async def hangup(self, call_id: str, principal: Principal) -> CallView:
        if self._call(call_id, principal).status == "hangup":
            raise InvalidState("the call has ended already", reason="CALL_ALREADY_HANGUP")
        self.remote_hangup(call_id)
        self.calls[call_id] = replace(self.calls[call_id], hangup_by="local")
        return self.calls[call_id]

    async def transfer(self, call_id: str, destination: Address, principal: Principal) -> CallView:
        if self._call(call_id, principal).status != "progressing":
            raise InvalidState("the call is not connected with another", reason="CALL_STATE_INVALID")
        self.transferred.append((call_id, destination))
        return self.calls[call_id]

    async def delete_call(self, call_id: str, principal: Principal) -> CallView:
        if (await self.get_call(call_id, principal)).status != "hangup":
            await self.hangup(call_id, principal)
        self.calls[call_id] = replace(self.calls[call_id], deleted=self.clock.wall())
        return self.calls[call_id]

    async def start_recording(self, call_id: str, spec: RecordSpec, principal: Principal) -> CallView:
        view = self._call(call_id, principal)
        if view.status != "progressing":
            raise not_progressing(view.status)
        if view.recording_id:
            raise already_recording(view.recording_id)
        recording_id = self.recording(
            view.account, "starting", call_id=call_id, started=None, format=spec.format, channels=spec.channels, rate=spec.rate,
            origin=spec.origin, on_end_flow_id=spec.on_end_flow_id,
        )  # fmt: skip
        self.specs[recording_id] = replace(spec, max_s=min(spec.max_s, 86400.0))
        self.calls[call_id] = replace(view, recording_id=recording_id, recording_ids=(*view.recording_ids, recording_id))
        return self.calls[call_id]

    async def stop_recording(self, call_id: str, principal: Principal) -> CallView:
        if not self._call(call_id, principal).recording_id:
            raise not_recording()
        self._end_recording(call_id, "stopped")
        return self.calls[call_id]

    async def mask_recording(self, recording_id: str, mode: MaskMode, principal: Principal) -> RecordingView:
        return self._set_mask(recording_id, mode, principal)

    async def unmask_recording(self, recording_id: str, principal: Principal) -> RecordingView:
        return self._set_mask(recording_id, "", principal)

    def _set_mask(self, recording_id: str, mode: str, principal: Principal) -> RecordingView:
        view = self._recording(recording_id, principal)
        if view.state not in ("starting", "recording"):
            raise InvalidState(f"the recording is {view.state}", reason="RECORDING_NOT_ACTIVE")
        self.recordings[recording_id] = replace(view, paused=mode)
        return self.recordings[recording_id]

    async def list_recordings(self, principal: Principal, before: float | None, limit: int) -> Page:
        return self._page(self.recordings.values(), principal, before, limit)

    async def search_recordings(self, wanted: Search, principal: Principal) -> tuple[list[RecordingView], tuple[float, str] | None]:
        self._maybe_broken()
        found = await self.archive.search(wanted, principal)
        return found, (found[-1].created, found[-1].id) if len(found) == wanted.limit else None

    async def get_recording(self, recording_id: str, principal: Principal) -> RecordingView:
        return self._recording(recording_id, principal)

    async def delete_recording(self, recording_id: str, principal: Principal) -> RecordingView:
        view = self._recording(recording_id, principal)
        if view.state not in FINAL:
            raise InvalidState(f"the recording is {view.state}")
        self.expire(recording_id)
        return self.recordings[recording_id]

    async def recording_file(self, recording_id: str, principal: Principal) -> RecordingFile:
        view = self._recording(recording_id, principal)
        if view.state != "available":
            raise NotFound(f"the recording is {view.state}", reason="RECORDING_NOT_FOUND")
        audio = self.audio[recording_id]

        async def read(start: int, end: int) -> AsyncIterator[bytes]:
            self.open_reads += 1
            try:
                for number, at in enumerate(range(start, end, PIECE)):
                    if self.store_away_after is not None and number >= self.store_away_after:
                        raise Unavailable("the object store is away")
                    yield audio[at : min(at + PIECE, end)]
            finally:
                self.open_reads -= 1

        return RecordingFile(
            size=len(audio), content_type="audio/wav", etag=view.sha256, filename=f"{recording_id}.wav", modified=view.created, read=read
        )

    async def verify_recording(self, recording_id: str, principal: Principal) -> Mapping[str, Any]:
        view = self._recording(recording_id, principal)
        if view.state != "available":
            raise InvalidState(f"the recording is {view.state}")
        found = hashlib.sha256(self.audio[recording_id]).hexdigest()
        return {"id": recording_id, "ok": found == view.sha256, "sha256": found, "expected": view.sha256}

    async def health(self) -> Mapping[str, str]:
        return self.checks

    def stats(self) -> Mapping[str, float]:
        return self.numbers


class World:
    """Service, tokens and application, with an HTTP client of one account that may do everything there."""

    def __init__(
        self, probe: Probe | None = None, *, unvalidated_storage: bool = False, states: Literal["guide", "code"] = "guide"
    ) -> None:
        self.clock = FakeClock()
        self.service = MemoryService(self.clock)
        self.flows = self.service.flow_rows
        self.tokens = TokenStore(self.clock, self.service._maybe_broken)
        self.agents = AgentStore(self.clock, self.service._maybe_broken)
        self.metrics = Metrics()
        self.account = new_id()
        self.other_account = new_id()
        self.secret = self.tokens.issue(self.account, *sorted(ALL_SCOPES - {"admin"}))
        delivery = DeliverySettings(allow_unvalidated_storage=unvalidated_storage)
        recording = RecordingSettings(voipbin_states=states)
        settings = Settings(users=[User(name="alice", password="secret")], delivery=delivery, recording=recording)
        self.accounts = MemoryAccounts(
            [Account(self.account, "default"), Account(self.other_account, "other")], self.service._maybe_broken
        )
        self.application_rows = MemoryApplications()
        self.applications = Applications((), self.application_rows)
        self.trail = MemoryTrail()
        self.events = EventSockets()
        self.app: FastAPI = create_app(
            self.service,
            self.tokens,
            self.agents,
            self.accounts,
            settings,
            session_key=SESSION_KEY,
            applications=self.applications,
            metrics=self.metrics,
            clock=self.clock,
            trail=self.trail,
            probe=probe,
            events=self.events,
        )
        self.sessions = Sessions(SESSION_KEY, self.clock)
        people = PeopleFace(Keys(self.tokens, self.clock), Staff(self.agents, self.tokens, self.clock), self.accounts)
        self.routes = face.routes(self.service, people, CustomerFace(self.accounts), settings)

    def client(self, secret: str | None = None, **headers: str) -> httpx2.AsyncClient:
        """Of `secret`, or of nobody with ""."""
        secret = self.secret if secret is None else secret
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://tapeline.test", headers=headers)
