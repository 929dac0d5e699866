"""Which flow answers a called number: the `[[numbers]]` of the settings, first match wins. A user whom none matches is rung directly;
with no `[[numbers]]` at all, every other number is answered by the built-in flow.

Documents are compiled when the server starts, so a broken one stops the start with its problems, not a caller.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tapeline import flow
from tapeline.core.errors import InvalidInput
from tapeline.core.settings import Number, User
from tapeline.flow.builtin import builtin_flow
from tapeline.flow.ops.connecting import Dial

__all__ = ["Route", "Routes"]


@dataclass(frozen=True, slots=True)
class Route:
    """What happens to a call: its program, and the name of the account that it belongs to."""

    program: flow.Program
    account: str
    source: str  # the document's file, or "built-in"
    application: str = ""  # the id of the Vonage application that the call belongs to


class Routes:
    """The dial plan."""

    def __init__(self, numbers: Sequence[Number], folder: Path, users: Sequence[User] = ()) -> None:
        """Compile what `numbers` names; relative paths start at `folder`. Raises InvalidInput with every problem of every document."""
        self._rules: list[tuple[re.Pattern[str], Route]] = []
        problems: list[str] = []
        for number in numbers:
            try:
                self._rules.append((_pattern(number.match), _route(number, folder)))
            except InvalidInput as error:
                problems += error.problems or [error.message]
        if problems:
            said = "the dial plan cannot be used:\n  " + "\n  ".join(problems)
            raise InvalidInput(said, problems=problems, hint="see [[numbers]] in the settings")
        for user in users:
            names = "|".join(re.escape(name) for name in (user.name, user.extension, user.id) if name)
            self._rules.append((re.compile(rf"(?i)\A(?:{names})\Z"), Route(_ringing(user), user.account, f"user {user.name}")))
        if not numbers:
            self._rules.append((re.compile(""), Route(builtin_flow(), "default", "built-in")))

    def find(self, number: str) -> Route | None:
        """The route of a called number or user name; None where nothing matches."""
        for pattern, route in self._rules:
            if pattern.search(number):
                return route
        return None

    @property
    def accounts(self) -> set[str]:
        return {"default"} | {route.account for _, route in self._rules}


def _ringing(user: User) -> flow.Program:
    """Ring the phones of `user`; a caller whom nobody answers is refused for the same reason."""
    return flow.Program.chain(Dial((flow.Party("user", user.name),), early_media=True, options={"relay_reason": True}))


def _pattern(match: str) -> re.Pattern[str]:
    if len(match) > 1 and match.startswith("/") and match.endswith("/"):
        try:
            return re.compile(match[1:-1])
        except re.error as error:
            raise InvalidInput(f"numbers.match {match!r} is not a regular expression: {error}") from error
    return re.compile(rf"\A{re.escape(match)}\Z")


def _route(number: Number, folder: Path) -> Route:
    if not number.flow:
        raise InvalidInput(f"number {number.match!r} names no flow", hint='give flow = "FILE"')
    path = folder / number.flow
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"number {number.match!r}: cannot read {path}: {error.strerror}") from error
    found = flow.compile(source)
    if found.program is None:
        raise InvalidInput(f"{path} cannot run", problems=[f"{path}:{problem}" for problem in found.problems])
    return Route(found.program, number.account, str(path), number.application.lower())
