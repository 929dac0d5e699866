"""Which flow answers a called number: the `[[numbers]]` of the settings, first match wins, then the callflows that are stored. A user whom
none matches is rung directly; then comes a stored callflow for `no_match`. With no `[[numbers]]` at all, every other number is answered by
the built-in flow.

Documents are compiled when the server starts, so a broken one stops the start with its problems, not a caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tapeline import flow
from tapeline.calls.kazoo.stored import Found, Stored
from tapeline.core.errors import InvalidInput
from tapeline.core.settings import Number, User
from tapeline.flow.builtin import builtin_flow
from tapeline.flow.ops.connecting import Dial

__all__ = ["Route", "Routes"]


@dataclass(frozen=True, slots=True)
class Route:
    """What happens to a call: its program, and the name of the account that it belongs to."""

    program: flow.Program | None  # None: asked for at `answer_url`, or where the application's answers come from
    account: str
    source: str  # the document's file, or "built-in"
    application: str = ""  # the id of the Vonage application that the call belongs to
    flow_id: str = ""  # of a stored flow
    account_id: str = ""  # of a stored flow, whose account has no name here
    no_match: bool = False  # it answers what nothing else does
    captures: Mapping[str, str] = field(default_factory=dict)  # variables
    answer_url: str = ""


class Routes:
    """The dial plan."""

    def __init__(self, numbers: Sequence[Number], folder: Path, users: Sequence[User] = (), stored: Stored | None = None) -> None:
        """Compile what `numbers` names; relative paths start at `folder`. Raises InvalidInput with every problem of every document."""
        self._stored = stored or Stored()
        self._rules: list[tuple[re.Pattern[str], Route]] = []
        self._users: list[tuple[re.Pattern[str], Route]] = []
        self._rest = Route(builtin_flow(), "default", "built-in") if not numbers else None
        problems: list[str] = []
        for number in numbers:
            try:
                self._rules.append((_pattern(number.match), _route(number, folder)))
            except InvalidInput as error:
                problems += [f"number {number.match!r}: {problem}" for problem in error.problems or [str(error)]]
        if problems:
            said = "the dial plan cannot be used: " + "; ".join(problems)
            raise InvalidInput(said, problems=problems, hint="see [[numbers]] in the settings; `tapeline flow check FILE` tells more")
        for user in users:
            names = "|".join(re.escape(name) for name in (user.name, user.extension, user.id) if name)
            self._users.append((re.compile(rf"(?i)\A(?:{names})\Z"), Route(_ringing(user), user.account, f"user {user.name}")))

    def find(self, number: str, account: str = "") -> Route | None:
        """The route of a called number or user name; None where nothing matches. `account` is the id of the caller's own, whose stored
        callflows alone are looked at; "" for a caller from outside, who may reach those of all accounts."""
        return (
            _matching(self._rules, number)
            or _of(self._stored.find(number, account))
            or _matching(self._users, number)
            or _of(self._stored.otherwise(number, account))
            or self._rest
        )

    @property
    def accounts(self) -> set[str]:
        return {"default"} | {route.account for _, route in (*self._rules, *self._users)}


def _matching(rules: Sequence[tuple[re.Pattern[str], Route]], number: str) -> Route | None:
    return next((route for pattern, route in rules if pattern.search(number)), None)


def _of(found: Found | None) -> Route | None:
    if found is None:
        return None
    one = found.callflow
    return Route(
        one.program,
        "",
        f"callflow {one.id}",
        flow_id=one.id,
        account_id=one.account,
        no_match=found.no_match,
        captures=found.captures,
    )


def _ringing(user: User) -> flow.Program:
    """Ring the phones of `user`; a caller whom nobody answers is refused for the same reason."""
    return flow.Program.chain(Dial((flow.Party("user", user.name),), early_media=True, options={"relay_reason": True}))


def _pattern(match: str) -> re.Pattern[str]:
    if len(match) > 1 and match.startswith("/") and match.endswith("/"):
        try:
            return re.compile(match[1:-1])
        except re.error as error:
            raise InvalidInput(f"match is not a regular expression: {error}") from error
    return re.compile(rf"\A{re.escape(match)}\Z")


def _route(number: Number, folder: Path) -> Route:
    if not number.flow and (number.answer_url or number.application):
        asked = number.answer_url or f"application {number.application}"
        return Route(None, number.account, asked, number.application.lower(), number.answer_url)
    if not number.flow:
        raise InvalidInput("it names no flow", hint='give flow = "FILE", application = "ID" or answer_url = "URL"')
    path = folder / number.flow
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    found = flow.compile(source)
    if found.program is None:
        raise InvalidInput(f"{path} cannot run", problems=[f"{path}:{problem}" for problem in found.problems])
    return Route(found.program, number.account, str(path), number.application.lower())
