"""A voicemail box by telephone: logging in, hearing messages, keeping and deleting them.

Who may be let in, and what is in a box, is the caller's (`commands.Mailbox`); here is what is said and which key does what. Keys may be
pressed ahead: what was to be said before them is not said.

    1 new messages, 2 saved ones, 0 * # good-bye
    of a message: 1 save, 2 again, 7 delete, 6 next, 4 the one before, 0 * # back
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from tapeline.flow import commands
from tapeline.flow.events import Event, MailboxTold, Message
from tapeline.flow.ops.answering import be_answered
from tapeline.flow.ops.keys import Gather
from tapeline.flow.ops.sounding import ALL_KEYS, Play, Say
from tapeline.flow.ops.waiting import reply
from tapeline.flow.program import DEFAULT, Context, Op, Performance
from tapeline.flow.variables import DIGITS

__all__ = ["AtBox", "CheckMailbox"]

PATIENCE_S = 30.0
TRIES: Final = 3  # to log in
SILENT: Final = 3  # times that nothing is pressed, until it is over
KEYS_S: Final = 5.0
LONGEST_NUMBER: Final = 30
_LEAVING: Final = "0*#"
_FOLDERS: Final = {"1": "new", "2": "saved"}

Telling = Generator[float | None, Event, None]


@dataclass(frozen=True, slots=True)
class CheckMailbox(Op):
    """Let the caller hear the box, "" the one that it logs in to. Result `_`."""

    kind: ClassVar[str] = "check_mailbox"
    collects: ClassVar[bool] = True

    box: str = ""
    language: str = "en-US"
    single: bool = False  # without a box: the caller's only one
    by_caller: bool = False  # without a box: the one that has the caller's number
    between_s: float = 2.0

    def perform(self, context: Context) -> Performance:
        context.variables.unset(DIGITS)  # what is pressed from the answer on counts
        yield from be_answered(context)
        if (yield from self._log_in(context)):
            yield from self._main(context)
        yield from self._say(context, "Goodbye.")
        return DEFAULT

    # -- logging in ----------------------------------------------------------------------------------------------------

    def _log_in(self, context: Context) -> Generator[float | None, Event, bool]:
        told = yield from self._ask(context, "open", context.text(self.box))
        state = told.result
        for _ in range(TRIES):
            if state == "missing":
                yield from self._say(context, "Please enter your mailbox number, and then press pound.")
                number = yield from self._number(context)
                if not number:
                    continue
                state = (yield from self._ask(context, "number", number)).result
            if state == "pin":
                yield from self._say(context, "Please enter your PIN, and then press pound.")
                entered = yield from self._number(context)
                result = (yield from self._ask(context, "pin", entered)).result
                if result == "wrong":
                    yield from self._say(context, "That is not right.")
                    continue
                state = result
            if state == "in":
                return True
            what = "is locked for a while" if state == "locked" else "cannot be heard by this telephone"
            yield from self._say(context, f"This mailbox {what}.")
            return False
        return False

    def _number(self, context: Context) -> Generator[float | None, Event, str]:
        """Keys up to #, without it. They do not stay in the run's variables, which are kept, not even where the caller hangs up."""
        gather = Gather(LONGEST_NUMBER, "#", first_s=KEYS_S, between_s=max(self.between_s, 3.0), keep_end_key=False)
        try:
            outcome = yield from gather.perform(context)
        finally:
            context.variables.unset(DIGITS)
        return outcome[0] if isinstance(outcome, tuple) else ""

    # -- hearing -------------------------------------------------------------------------------------------------------

    def _main(self, context: Context) -> Telling:
        silent = 0
        while silent < SILENT:
            told = yield from self._ask(context, "list")
            if told.result != "done":
                yield from self._say(context, "Your messages cannot be had now. Please call again later.")
                return
            new, saved = (tuple(one for one in told.messages if one.folder == folder) for folder in ("new", "saved"))
            yield from self._say(context, f"You have {_count(new, 'new')} and {_count(saved, 'saved')}.")
            yield from self._say(context, "To hear new messages, press 1. To hear saved messages, press 2. To leave, press star.")
            key = yield from self._key(context)
            silent = 0 if key else silent + 1
            if key and key in _LEAVING:
                return
            if key in _FOLDERS:
                yield from self._hear(context, new if key == "1" else saved)

    def _hear(self, context: Context, messages: Sequence[Message]) -> Telling:
        number = 0
        if not messages:
            yield from self._say(context, "There are none.")
        while 0 <= number < len(messages):
            one = messages[number]
            head = f"Message {number + 1} of {len(messages)}, from {_spelled(one.caller)}, {one.when}."
            yield from self._say(context, head)
            if not context.variables.get(DIGITS):
                played = yield from Play((one.url,), stop_keys=ALL_KEYS).perform(context)
                if played == "failed":
                    yield from self._say(context, "This message cannot be played.")
            yield from self._say(context, "To save it, press 1. To hear it again, 2. To delete it, 7. For the next, 6. To go back, 0.")
            key = yield from self._key(context)
            if key and key in _LEAVING:
                return
            if key in ("1", "7"):
                yield from self._filed(context, one, "saved" if key == "1" else "deleted")
            if key != "2":
                number = max(0, number - 1) if key == "4" else number + 1
        if messages:
            yield from self._say(context, "There are no more messages.")

    def _filed(self, context: Context, message: Message, folder: str) -> Telling:
        told = yield from self._ask(context, "file", message.id, folder)
        yield from self._say(context, f"{folder.capitalize()}." if told.result == "done" else "That could not be done.")

    # -- asking and saying ---------------------------------------------------------------------------------------------

    def _ask(self, context: Context, action: str, value: str = "", folder: str = "") -> Generator[float | None, Event, MailboxTold]:
        token = context.token()
        context.issue(commands.Mailbox(token, action, value, folder, self.single, self.by_caller))
        event = yield from reply(token, context.now + PATIENCE_S)
        return event if isinstance(event, MailboxTold) else MailboxTold(token, "closed")

    def _say(self, context: Context, text: str) -> Telling:
        if not context.variables.get(DIGITS):
            yield from Say(text, self.language, stop_keys=ALL_KEYS).perform(context)

    def _key(self, context: Context) -> Generator[float | None, Event, str]:
        """The next key, "" where none is pressed. Others stay for what comes next."""
        yield from Gather(1, first_s=KEYS_S, between_s=0.0).perform(context)
        digits = context.variables.get(DIGITS)
        context.variables.set(DIGITS, digits[1:])
        return digits[:1]


@dataclass(frozen=True, slots=True)
class AtBox(Op):
    """Before a message is left in `box`: who calls its own hears it instead. Result then, and where there is no box: `missing`."""

    kind: ClassVar[str] = "at_box"
    collects: ClassVar[bool] = True

    box: str
    check: CheckMailbox

    def perform(self, context: Context) -> Performance:
        box = context.text(self.box)
        if not box:
            why = "there is no such box: a placeholder stands for the only one, and there is none or more than one"
            context.log("warning", "action passed over", why=why)
            return "missing"
        token = context.token()
        context.issue(commands.Mailbox(token, "whose", box))
        event = yield from reply(token, context.now + PATIENCE_S)
        if isinstance(event, MailboxTold) and event.result == "own":
            yield from self.check.perform(context)
            return "missing"
        return DEFAULT


def _count(messages: Sequence[Message], kind: str) -> str:
    return f"{len(messages) or 'no'} {kind} message{'' if len(messages) == 1 else 's'}"


def _spelled(number: str) -> str:
    """A number digit by digit; a name as it is."""
    return " ".join(number.removeprefix("+")) if number.removeprefix("+").isdigit() else number or "an unknown number"
