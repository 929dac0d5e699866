"""A voicemail box by telephone: who is let in, what each key does, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from tapeline import flow

NEXT = {"module": "tts", "data": {"text": "next"}}
VARIABLES = {"kazoo.dollar": "$", "kazoo.language": "en-US"}


def message(name: str, folder: str = "new", caller: str = "1001") -> flow.Message:
    return flow.Message(name, caller, "Monday, November 2, 9:05", folder, f"recording:{name}")


class Office:
    """Answers what a run asks about boxes."""

    def __init__(self, first: str = "in", pin: str = "1234", messages: tuple[flow.Message, ...] = ()) -> None:
        self.first, self.pin, self.messages = first, pin, list(messages)
        self.asked: list[flow.Mailbox] = []

    def __call__(self, command: flow.Mailbox) -> flow.MailboxTold:
        self.asked.append(command)
        result = {"open": self.first, "number": "pin", "list": "done", "file": "done", "whose": ""}.get(command.action, "")
        if command.action == "pin":
            result = "in" if command.value == self.pin else "wrong"
        if command.action == "file":
            self.messages = [message(one.id, command.folder) if one.id == command.value else one for one in self.messages]
        return flow.MailboxTold(command.token, result, tuple(self.messages) if command.action == "list" else ())

    def filed(self) -> list[tuple[str, str]]:
        return [(command.value, command.folder) for command in self.asked if command.action == "file"]


def checking(phone: Any, office: Office, **data: Any) -> Any:
    document = {"module": "voicemail", "data": {"action": "check", **data}, "children": {"_": NEXT}}
    return phone(document, variables=VARIABLES, replies={flow.Mailbox: office}).start()


def played(call: Any) -> list[str]:
    return [command.urls[0] for command in call.issued if isinstance(command, flow.Play)]


def press(call: Any, keys: str) -> None:
    """One after the other, with a time between that ends what is being collected."""
    for key in keys:
        call.press(key)
        call.wait(0.1)


def test_the_owner_hears_new_messages_saves_one_and_deletes_another(phone: Any) -> None:
    office = Office(messages=(message("a"), message("b"), message("old", "saved")))
    call = checking(phone, office, id="b1")
    assert call.said[0] == "You have 2 new messages and 1 saved message." and office.asked[0].value == "b1"
    press(call, "1")
    assert played(call) == ["recording:a"] and "Message 1 of 2, from 1 0 0 1, Monday, November 2, 9:05." in call.said
    press(call, "1")
    assert played(call) == ["recording:a", "recording:b"] and "Saved." in call.said
    press(call, "27")
    assert played(call) == ["recording:a", "recording:b", "recording:b"] and call.said[-3] == "There are no more messages."
    assert office.filed() == [("a", "saved"), ("b", "deleted")] and call.said[-2] == "You have no new messages and 2 saved messages."
    press(call, "*")
    assert call.said[-2:] == ["Goodbye.", "next"] and call.run.finished


def test_saved_messages_are_gone_through_there_and_back(phone: Any) -> None:
    office = Office(messages=(message("a", "saved"), message("b", "saved"), message("gone", "deleted")))
    call = checking(phone, office, id="b1")
    press(call, "2" + "6" + "4" + "4")
    assert played(call) == [f"recording:{name}" for name in "abaa"]
    press(call, "0" + "1")
    assert "There are none." in call.said and not office.filed()
    call.wait(60)
    assert call.said[-2:] == ["Goodbye.", "next"]


def test_who_presses_nothing_hears_all_and_is_let_go(phone: Any) -> None:
    office = Office(messages=(message("a"), message("b")))
    call = checking(phone, office, id="b1")
    press(call, "1")
    call.wait(100)
    assert played(call) == ["recording:a", "recording:b"] and not office.filed() and call.run.finished


def test_a_pin_is_asked_for_and_three_wrong_ones_are_enough(phone: Any) -> None:
    office = Office("pin")
    call = checking(phone, office, id="b1")
    call.press("1234#")
    assert [command.action for command in office.asked] == ["open", "pin", "list"]
    wrong = Office("pin")
    call = checking(phone, wrong, id="b1")
    for number in range(3):
        assert not call.run.finished, number
        call.press("9999#")
    assert call.said.count("That is not right.") == 3 and call.said[-2:] == ["Goodbye.", "next"]
    assert "list" not in [command.action for command in wrong.asked]


def test_a_box_is_named_by_its_number_and_an_unknown_one_is_not_told_from_a_wrong_pin(phone: Any) -> None:
    office = Office("missing", pin="55")
    call = checking(phone, office, single_mailbox_login=True, callerid_match_login=True)
    assert office.asked[0].single and office.asked[0].by_caller and office.asked[0].value == ""
    call.press("1001#")
    call.press("55#")
    assert [(command.action, command.value) for command in office.asked] == [("open", ""), ("number", "1001"), ("pin", "55"), ("list", "")]
    nothing = checking(phone, Office("missing"))
    nothing.wait(60)
    assert nothing.said[-2:] == ["Goodbye.", "next"]


def test_a_pin_stays_nowhere(phone: Any) -> None:
    for keys in ("123", "1234#", "9999#", "12"):
        call = checking(phone, Office("pin"), id="b1")
        call.press(keys)
        call.tell(flow.HungUp())
        assert call.run.finished and keys[:2] not in str(call.run.variables.as_dict()), keys


@pytest.mark.parametrize(("state", "said"), [("closed", "cannot be heard"), ("locked", "is locked")])
def test_who_is_not_let_in_is_told_so(phone: Any, state: str, said: str) -> None:
    call = checking(phone, Office(state), id="b1")
    assert said in call.said[0] and call.said[-1] == "next"


def test_a_message_that_cannot_be_played_is_said_and_the_others_follow(phone: Any) -> None:
    office = Office(messages=(message("a"), message("b")))
    document = {"module": "voicemail", "data": {"action": "check", "id": "b1"}}
    failing = {flow.Play: lambda command: flow.PlayEnded(command.token, error="gone" if "a" in command.urls[0][-1] else "")}
    call = phone(document, variables=VARIABLES, replies={flow.Mailbox: office, **failing}).start()
    press(call, "1")
    call.wait(6)
    assert "This message cannot be played." in call.said and played(call) == ["recording:a", "recording:b"]


def test_an_archive_that_is_away_is_said_and_the_flow_goes_on(phone: Any) -> None:
    away = {flow.Mailbox: lambda command: flow.MailboxTold(command.token, "in" if command.action == "open" else "failed")}
    document = {"module": "voicemail", "data": {"action": "check", "id": "b1"}, "children": {"_": NEXT}}
    call = phone(document, variables=VARIABLES, replies=away).start()
    assert call.said == ["Your messages cannot be had now. Please call again later.", "Goodbye.", "next"]
    deaf = phone(document, variables=VARIABLES, open=[flow.Mailbox]).start()  # nobody answers at all
    deaf.wait(31)
    assert deaf.said[-1] == "next"


# --- leaving one


def test_who_calls_its_own_box_hears_it_and_others_leave_a_message(phone: Any) -> None:
    document = {"module": "voicemail", "data": {"id": "b1"}, "children": {"_": NEXT}}
    own = {flow.Mailbox: lambda command: flow.MailboxTold(command.token, {"whose": "own", "open": "in"}.get(command.action, "done"))}
    call = phone(document, variables=VARIABLES, replies=own).start()
    call.press("*")
    assert call.said[-1] == "next" and "StartRecording" not in call.names
    other = phone(document, variables=VARIABLES, replies={flow.Mailbox: Office()}).start()
    assert other.last(flow.StartRecording).spec.custom["voicemail_box"] == "b1"


@pytest.mark.parametrize(
    ("box", "data", "said", "file"),
    [
        (None, {}, ["The person you are calling is not available. Please leave a message after the tone."], []),
        ({"media": {"unavailable": "own.wav"}}, {}, [], ["own.wav"]),
        ({"media": {"unavailable": "own.wav"}}, {"media": {"unavailable": "data.wav"}}, [], ["data.wav"]),
        ({"media": {"unavailable": "own.wav"}}, {"greeting": "Hello"}, ["Hello"], []),
        ({"skip_greeting": True}, {}, ["Please leave a message after the tone."], []),
        ({"skip_instructions": True}, {}, ["The person you are calling is not available."], []),
        ({"skip_greeting": True, "skip_instructions": True, "media": 5}, {}, [], []),
    ],
)
def test_a_boxs_document_says_how_it_greets(phone: Any, box: Any, data: dict[str, Any], said: list[str], file: list[str]) -> None:
    replies = {flow.Mailbox: Office(), flow.LookUp: lambda command: flow.LookedUp(command.token, box)}
    call = phone({"module": "voicemail", "data": {"id": "b1", **data}}, variables=VARIABLES, replies=replies).start()
    assert (call.said, played(call)) == (said, file) and call.names.count("StartRecording") == 1
    assert call.names.index("Answer") < call.names.index("StartRecording")
