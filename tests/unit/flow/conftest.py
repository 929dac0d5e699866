"""A call that a flow runs on, without anything real: commands are noted and answered at once, time is a number."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from tapeline import flow

Reply = Callable[[Any], flow.Event]

AT_ONCE: dict[type, Reply] = {
    flow.Answer: lambda command: flow.Answered(command.token),
    flow.Say: lambda command: flow.PlayEnded(command.token),
    flow.Play: lambda command: flow.PlayEnded(command.token),
    flow.Tone: lambda command: flow.PlayEnded(command.token),
    flow.SendDigits: lambda command: flow.DigitsSent(command.token),
    flow.LookUp: lambda command: flow.LookedUp(command.token, None),
    flow.Mailbox: lambda command: flow.MailboxTold(command.token, ""),
    flow.StartRecording: lambda command: flow.RecordingStarted(command.token, f"rec-{command.token}", {"format": command.spec.format}),
}


class Phone:
    """One call. `open` names the commands that are not answered at once; the test answers them with `tell`."""

    def __init__(
        self,
        document: Any,
        *,
        variables: dict[str, str] | None = None,
        status: str = "ringing",
        wall: float = 0.0,
        open: Collection[type] = (),
        replies: dict[type, Reply] | None = None,
        limits: flow.Limits | None = None,
    ) -> None:
        if not isinstance(document, flow.Program):
            found = flow.compile(document)
            assert found.program is not None, [str(problem) for problem in found.problems]
            document = found.program
        self.now = 100.0
        self.replies = {kind: reply for kind, reply in (AT_ONCE | (replies or {})).items() if kind not in open}
        self.issued: list[flow.Command] = []
        self.logs: list[flow.Log] = []
        more = {"limits": limits} if limits else {}
        self.run = flow.Run(document, flow.Variables(variables), compile=flow.compile, wall=lambda: wall, status=status, **more)

    def start(self) -> Phone:
        self._take(self.run.start(self.now))
        return self

    def tell(self, event: flow.Event) -> None:
        self._take(self.run.handle(event, self.now))

    def press(self, digits: str) -> None:
        for digit in digits:
            self.tell(flow.Digit(digit))

    def wait(self, seconds: float) -> None:
        """Let time pass, with a tick at each deadline on the way."""
        end = self.now + seconds
        while (due := self.run.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self._take(self.run.tick(self.now))
        self.now = end

    def _take(self, commands: list[flow.Command]) -> None:
        waiting = list(commands)
        while waiting:
            command = waiting.pop(0)
            if isinstance(command, flow.Log):
                self.logs.append(command)
                continue
            self.issued.append(command)
            reply = self.replies.get(type(command))
            if reply is not None:
                waiting += self.run.handle(reply(command), self.now)

    @property
    def names(self) -> list[str]:
        return [type(command).__name__ for command in self.issued]

    @property
    def said(self) -> list[str]:
        return [command.text for command in self.issued if isinstance(command, flow.Say)]

    @property
    def messages(self) -> list[str]:
        return [entry.message for entry in self.logs]

    def last(self, kind: type) -> Any:
        return next(command for command in reversed(self.issued) if isinstance(command, kind))


@pytest.fixture
def phone() -> type[Phone]:
    return Phone


def _actions(*actions: Any) -> dict[str, Any]:
    """A document of actions, each a type, or a type and its option, or a whole action."""
    listed = []
    for action in actions:
        if isinstance(action, str):
            listed.append({"type": action})
        elif isinstance(action, tuple):
            listed.append({"type": action[0], "option": action[1]})
        else:
            listed.append(action)
    return {"actions": listed}


@pytest.fixture
def actions() -> Callable[..., dict[str, Any]]:
    return _actions
