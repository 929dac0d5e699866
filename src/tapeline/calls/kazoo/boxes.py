"""Voicemail boxes as a telephone is let into them: whose each is, its PIN, its messages.

A box is a document (`vmbox`: `mailbox`, `owner_id`, `pin`, `require_pin`), or a user's of the settings, without a PIN. Its owner's phones
need none unless `require_pin` says so; all others need it, and where there is none they are not let in. Wrong ones count for the box, over
all calls: after ten it is locked for a quarter of an hour. A run reaches the one box that it was let into, and nothing else.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Protocol

import structlog

from tapeline import flow
from tapeline.calls.equipment import Equipment
from tapeline.calls.kazoo import temporal
from tapeline.calls.kazoo.profiles import user_named
from tapeline.calls.session import Call
from tapeline.calls.views import RecordingView
from tapeline.core.errors import TapelineError
from tapeline.core.kazoo import hex_id
from tapeline.core.principal import Principal
from tapeline.core.settings import User
from tapeline.store import Search

__all__ = ["Boxes", "Visit", "box_names", "folder_of", "messages_of"]

log = structlog.get_logger(__name__)

MOST_WRONG = 10
LOCKED_S = 900.0
MOST_TOLD = 100  # messages in one visit
LOOKED_AT = 20_000  # rows of other boxes that one request may pass over
SCOPES = frozenset({"recordings:read", "recordings:write"})


class Archive(Protocol):
    async def search(self, wanted: Search, principal: Principal) -> list[RecordingView]: ...

    async def annotate(self, recording_id: str, notes: Mapping[str, Any], principal: Principal) -> RecordingView: ...


def box_names(users: Sequence[User], box: str) -> frozenset[str]:
    """What a box may be called by, in lower case."""
    user = user_named(users, box)
    own = (user.id, user.name, user.extension, hex_id(user.id)) if user is not None else ()
    return frozenset(name.lower() for name in (box, hex_id(box), *own) if name)


def folder_of(view: RecordingView) -> str:
    notes = view.custom.get("notes")
    return str(notes.get("folder", "new")) if isinstance(notes, dict) else "new"


async def messages_of(
    search: Callable[[Search], Awaitable[list[RecordingView]]],
    account: str,
    names: Collection[str],
    most: int,
    after: tuple[float, str] | None = None,
) -> list[RecordingView]:
    """Up to `most` messages of the box of these names, newest first."""
    found: list[RecordingView] = []
    looked = 0
    while len(found) < most and looked < LOOKED_AT:
        wanted = Search(account, after=after, limit=max(most, 200), equal={"state": ("available",), "origin": ("voicemail",)})
        rows = await search(wanted)
        looked += len(rows)
        found += [row for row in rows if str(row.custom.get("voicemail_box", "")).lower() in names]
        if len(rows) < wanted.limit:
            break
        after = (rows[-1].created, rows[-1].id)
    return found[:most]


@dataclass(frozen=True, slots=True)
class _Box:
    name: str
    document: Mapping[str, Any] = field(default_factory=dict)
    own: bool = False  # the caller's


class Boxes:
    """Of this node: all boxes, and how often somebody was not let into one."""

    def __init__(self, equipment: Equipment, archive: Archive) -> None:
        self.kit = equipment
        self.archive = archive
        self._wrong: dict[tuple[str, str], tuple[int, float]] = {}  # by account and box: how often, and when last

    def locked(self, account: str, box: str) -> bool:
        count, last = self._wrong.get((account, box), (0, 0.0))
        if count and self.kit.clock.now() - last > LOCKED_S:
            del self._wrong[account, box]
            return False
        return count >= MOST_WRONG

    def tried(self, account: str, box: str, right: bool) -> None:
        if right:
            self._wrong.pop((account, box), None)
            return
        count = self._wrong.get((account, box), (0, 0.0))[0] + 1
        self._wrong[account, box] = count, self.kit.clock.now()
        log.warning("a wrong PIN was entered for a voicemail box", account=account, box=box, count=count, locked=count >= MOST_WRONG)


class Visit:
    """One run's way to boxes."""

    def __init__(self, call: Call, equipment: Equipment) -> None:
        self._call = call
        self._kit = equipment
        self._account = call.facts.account
        self._asked: _Box | None = None  # whose PIN is asked for
        self._open: _Box | None = None
        self._shown: frozenset[str] = frozenset()  # messages that it was told of

    @property
    def playable(self) -> frozenset[str]:
        """Addresses of the messages that it was told of."""
        return frozenset(f"recording:{recording_id}" for recording_id in self._shown)

    async def answer(self, command: flow.Mailbox) -> flow.MailboxTold:
        """Raises Unavailable where the archive is away."""
        match command.action:
            case "whose":
                found = self._box(command.value)
                own = found is not None and found.own and bool(found.document) and found.document.get("check_if_owner") is not False
                return flow.MailboxTold(command.token, "own" if own else "")
            case "open":
                box = self._box(command.value) if command.value else self._by_itself(command)
                return flow.MailboxTold(command.token, self._enter(box) if box is not None else "missing")
            case "number":
                self._asked = self._numbered(command.value)
                return flow.MailboxTold(command.token, "pin")  # also where there is none: nobody shall learn which there are
            case "pin":
                return flow.MailboxTold(command.token, self._let_in(command.value))
            case "list":
                return flow.MailboxTold(command.token, "done", await self._messages())
            case "file":
                return flow.MailboxTold(command.token, await self._file(command.value, command.folder))
        return flow.MailboxTold(command.token, "closed")

    # -- whose box -----------------------------------------------------------------------------------------------------

    @property
    def _caller(self) -> User | None:
        return next((user for user in self._kit.settings.users if user.name and user.name == self._call.facts.user), None)

    def _box(self, name: str) -> _Box | None:
        """The box of that name; None where neither document nor user has it."""
        users, caller = self._kit.settings.users, self._caller
        document = self._kit.stored.document(self._account, "vmbox", name.lower())
        owner = user_named(users, str(document.get("owner_id") or "") if document else name)
        if not document and owner is None:
            return None
        return _Box(name.lower(), document, caller is not None and owner is caller)

    def _by_itself(self, command: flow.Mailbox) -> _Box | None:
        """The box of a caller that names none."""
        documents = self._kit.stored.all(self._account, "vmbox")
        if command.by_caller:
            number = self._call.facts.source.target.removeprefix("sip:").partition("@")[0]
            return next((self._box(row.name) for row in documents if number and str(row.body.get("mailbox")) == number), None)
        caller = self._caller
        if caller is None:
            return None
        own = [box for row in documents if (box := self._box(row.name)) is not None and box.own]
        if len(own) == 1 and command.single:
            return own[0]
        return self._box(caller.name) if not own and caller.voicemail else None

    def _numbered(self, number: str) -> _Box | None:
        rows = self._kit.stored.all(self._account, "vmbox")
        return next((self._box(row.name) for row in rows if str(row.body.get("mailbox")) == number), None)

    def _enter(self, box: _Box) -> str:
        if box.own and box.document.get("require_pin") is not True:
            self._open = box
            return "in"
        if not box.document.get("pin"):
            return "closed"
        self._asked = box
        return "locked" if self._kit.boxes.locked(self._account, box.name) else "pin"

    def _let_in(self, pin: str) -> str:
        box, boxes = self._asked, self._kit.boxes
        if box is None:
            return "wrong"
        if boxes.locked(self._account, box.name):
            return "locked"
        wanted = str(box.document.get("pin") or "")
        right = bool(wanted) and hmac.compare_digest(wanted.encode(), pin.encode())
        boxes.tried(self._account, box.name, right)
        if right:
            self._open = box
        return "in" if right else "wrong"

    # -- its messages --------------------------------------------------------------------------------------------------

    @property
    def _principal(self) -> Principal:
        return Principal(self._account, SCOPES, "voicemail")

    async def _messages(self) -> tuple[flow.Message, ...]:
        """The oldest first."""
        box = self._open
        if box is None:
            return ()
        names = box_names(self._kit.settings.users, box.name)
        found = await messages_of(lambda wanted: self._kit.boxes.archive.search(wanted, self._principal), self._account, names, MOST_TOLD)
        self._shown = frozenset(view.id for view in found)
        where = await self._kit.thread(_zone, str(box.document.get("timezone") or ""))
        return tuple(_told(view, where) for view in reversed(found))

    async def _file(self, recording_id: str, folder: str) -> str:
        if recording_id not in self._shown:
            return "failed"
        try:
            await self._kit.boxes.archive.annotate(recording_id, {"folder": folder}, self._principal)
        except TapelineError as error:
            log.warning("a message could not be filed", recording_id=recording_id, error=str(error))
            return "failed"
        return "done"


def _zone(name: str) -> tzinfo:
    try:
        return temporal.zone(name)
    except ValueError:
        return UTC


def _told(view: RecordingView, where: tzinfo) -> flow.Message:
    caller = str(view.custom.get("caller_id_number") or view.custom.get("caller_id_name") or "")[:40]
    at = datetime.fromtimestamp(view.started or view.created, where)
    return flow.Message(view.id, caller, f"{at:%A, %B} {at.day}, {at.hour}:{at:%M}", folder_of(view), f"recording:{view.id}")
