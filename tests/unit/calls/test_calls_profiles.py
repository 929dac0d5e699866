"""What is set for accounts, users and devices: in the settings, in documents that come, change and go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tapeline.calls.kazoo.profiles import Profiles
from tapeline.core.callrecording import parameters
from tapeline.core.settings import Settings

ON = {"any": {"any": {"enabled": True}}}
USERS = [{"name": "alice", "id": "0a-1b", "metaflows": {"binding_digit": "#"}}, {"name": "bob"}]


def document(kind: str, name: str, body: Any, *, deleted: bool = False) -> Any:
    return SimpleNamespace(account="acc", kind=kind, name=name, body=body, deleted=1.0 if deleted else None)


def profiles(*documents: Any) -> Profiles:
    made = Profiles(Settings(users=USERS, accounts=[{"name": "default", "metaflows": {"digit_timeout": 5}}]), {"default": "acc"})
    made.take(documents)
    return made


def recorded(made: Profiles, user: str = "alice") -> bool:
    found = made.endpoint(user)
    return found is not None and parameters(found.recording, "inbound", "onnet") is not None


def test_a_user_is_found_by_its_name_or_id_with_and_without_dashes() -> None:
    for name in ("alice", "0a-1b", "0A1B"):
        assert recorded(profiles(document("user", name, {"call_recording": ON}))), name
    assert not recorded(profiles(document("user", "bob", {"call_recording": ON})))
    assert profiles().endpoint("nobody") is None


def test_a_document_s_word_wins_over_the_settings() -> None:
    own = profiles(document("user", "alice", {"metaflows": {"binding_digit": "*"}})).endpoint("alice")
    assert own is not None and own.metaflows == ({"binding_digit": "*"},)
    assert profiles(document("account", "acc", {"metaflows": {"digit_timeout": 9}})).account("acc")["metaflows"] == {"digit_timeout": 9}
    assert profiles().account("acc")["metaflows"] == {"digit_timeout": 5}


def test_a_device_that_registers_as_somebody_else_or_goes_is_no_longer_its_user_s() -> None:
    made = profiles(document("device", "d1", {"sip": {"username": "alice"}, "call_recording": ON}))
    assert recorded(made) and not recorded(made, "bob")
    made.take([document("device", "d1", {"sip": {"username": "bob"}, "call_recording": ON})])
    assert recorded(made, "bob") and not recorded(made)
    made.take([document("device", "d1", {}, deleted=True)])
    assert not recorded(made, "bob")


def test_the_device_s_keys_come_before_its_user_s() -> None:
    found = profiles(document("device", "d1", {"sip": {"username": "alice"}, "metaflows": {"binding_digit": "1"}})).endpoint("alice")
    assert found is not None and [each["binding_digit"] for each in found.metaflows] == ["1", "#"]


def test_the_older_record_call_of_a_user_or_device() -> None:
    assert recorded(profiles(document("user", "alice", {"record_call": True})))
    assert recorded(profiles(document("device", "alice", {"record_call": {"url": "http://a/b"}})))


def test_odd_documents_do_no_harm() -> None:
    for body in ({"call_recording": 5}, {"call_recording": {"any": []}}, {"sip": 7, "metaflows": "x"}, {}):
        made = profiles(*(document(kind, "alice", body) for kind in ("user", "device", "account")))
        assert not recorded(made)
