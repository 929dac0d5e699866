"""Recordings that the settings ask for, as the table of which call starts which: direction, network, account or endpoint."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from talking_calls import ACCOUNT, Exchange

from tapeline.calls.bridge import Bridge
from tapeline.calls.kazoo.automatic import Automatic
from tapeline.calls.kazoo.profiles import Profiles
from tapeline.calls.session import Call
from tapeline.core.errors import InvalidState
from tapeline.core.recordspec import RecordSpec

COLUMNS = ("acct in/on", "acct in/off", "acct out/on", "acct out/off", "ep in/on", "ep in/off", "ep out/on", "ep out/off")
MATRIX = {  # who calls whom: which of the columns starts a recording, if it is the only one that is set
    "onnet to onnet": ("acct in/on", "acct out/on", "ep in/on", "ep out/on"),
    "onnet to offnet": ("acct in/on", "acct out/off", "ep out/off"),
    "offnet to onnet": ("acct in/off", "acct out/on", "ep in/off"),
}
ORIGINS = {
    "acct in": "inbound from {} to account",
    "acct out": "outbound to {} from account",
    "ep in": "inbound from {} to endpoint",
    "ep out": "outbound to {} from endpoint",
}


def setting(*columns: str, **more: Any) -> dict[str, Any]:
    """`call_recording` with just these pairs enabled."""
    made: dict[str, Any] = {}
    for column in columns:
        direction, _, network = column.partition(" ")[2].partition("/")
        made.setdefault("inbound" if direction == "in" else "outbound", {})[f"{network}net"] = {"enabled": True} | more
    return made


def origin(column: str) -> str:
    level, _, network = column.partition("/")
    return ORIGINS[level].format(f"{network}net")


def world(folder: Path, *columns: str, user: Any = None, device: Any = None, **more: Any) -> Exchange:
    account = setting(*(column for column in columns if column.startswith("acct")), **more)
    endpoint = setting(*(column for column in columns if column.startswith("ep")), **more)
    users = [{"name": name, "id": f"{name}-id"} | ({"call_recording": user} if user is not None else {}) for name in ("alice", "bob")]
    accounts = [{"name": "default", "call_recording": {"account": account, "endpoint": endpoint}}]
    exchange = Exchange(folder, users=users, accounts=accounts)
    profiles = Profiles(exchange.kit.settings, {"default": ACCOUNT})
    if device is not None:
        profiles.take([SimpleNamespace(account=ACCOUNT, kind="device", name="d1", body=device, deleted=None)])
    exchange.kit.automatic = Automatic(exchange.kit, profiles)
    return exchange


async def talk(exchange: Exchange, which: str) -> tuple[Call, Call]:
    """A call of that kind, answered: the caller's leg and the other one."""
    source, _, target = which.partition(" to ")
    caller = exchange.ringing("alice" if source == "onnet" else "")
    assert caller.facts.account == ACCOUNT
    exchange.kit.automatic.arrived(caller, {}, offnet=target == "offnet")
    caller.led = True
    callee = exchange.callee(caller)
    exchange.kit.automatic.answered(callee, caller, "bob" if target == "onnet" else "", target == "offnet")
    exchange.arrive(caller)
    Bridge(caller, callee, exchange.kit)
    exchange.recorders += [*caller.recordings, *callee.recordings]
    await exchange.wait(0.3)
    return caller, callee


def made(call: Call) -> list[str]:
    return [recorder.spec.origin for recorder in call.recordings]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("which", MATRIX)
async def test_which_call_starts_which_recording(tmp_path: Path, which: str, column: str) -> None:
    async with world(tmp_path, column) as exchange:
        caller, callee = await talk(exchange, which)
        expected = [origin(column)] if column in MATRIX[which] else []
        on_callee = column.startswith("ep in")
        assert (made(caller), made(callee)) == (([], expected) if on_callee else (expected, []))
        assert all(not recorder.spec.follow_transfer and recorder.state == "recording" for recorder in exchange.recorders)


@pytest.mark.parametrize(("which", "inbound", "outbound"), [
    ("onnet to onnet", "acct in/on", "acct out/on"),
    ("onnet to offnet", "acct in/on", "acct out/off"),
    ("offnet to onnet", "acct in/off", "acct out/on"),
])  # fmt: skip
async def test_the_account_s_outbound_only_where_its_inbound_is_not_set(tmp_path: Path, which: str, inbound: str, outbound: str) -> None:
    async with world(tmp_path, inbound, outbound) as exchange:
        caller, _ = await talk(exchange, which)
        assert made(caller) == [origin(inbound)]


async def test_account_and_endpoints_fire_independently(tmp_path: Path) -> None:
    async with world(tmp_path, "acct in/on", user={"any": {"any": {"enabled": True}}}) as exchange:
        caller, callee = await talk(exchange, "onnet to onnet")
        assert made(caller) == ["inbound from onnet to account", "outbound to onnet from endpoint"]
        assert made(callee) == ["inbound from onnet to endpoint"]
        owners = [recorder.spec.custom["owner_id"] for recorder in (*caller.recordings, *callee.recordings)]
        assert owners == ["alice-id", "alice-id", "bob-id"]


async def test_a_user_who_disabled_it_is_still_recorded_by_the_account(tmp_path: Path) -> None:
    columns = ("acct in/on", "ep out/on", "ep in/on")
    async with world(tmp_path, *columns, user={"any": {"any": {"enabled": False}}}) as exchange:
        caller, callee = await talk(exchange, "onnet to onnet")
        assert (made(caller), made(callee)) == (["inbound from onnet to account"], [])


async def test_a_device_s_document_decides_over_its_user(tmp_path: Path) -> None:
    device = {"sip": {"username": "bob"}, "call_recording": {"inbound": {"onnet": {"enabled": True, "format": "wav"}}}}
    user = {"any": {"any": {"enabled": False, "time_limit": 60}}}
    async with world(tmp_path, user=user, device=device) as exchange:
        _, callee = await talk(exchange, "onnet to onnet")
        (recorder,) = callee.recordings
        assert (recorder.spec.format, recorder.spec.max_s) == ("wav", 60.0)


async def test_the_caller_s_waits_as_the_flags_say_the_called_one_s_starts_with_its_answer(tmp_path: Path) -> None:
    columns = ("acct in/on", "ep in/on")
    async with world(tmp_path, *columns, record_on_bridge=True) as exchange:
        caller = exchange.ringing("alice")
        exchange.kit.automatic.arrived(caller, {}, offnet=False)
        (first,) = caller.recordings
        exchange.recorders.append(first)
        exchange.arrive(caller)
        await exchange.wait(0.3)
        assert first.waits
        caller.led = True
        callee = exchange.callee(caller)
        exchange.kit.automatic.answered(callee, caller, "bob", False)
        (second,) = callee.recordings
        exchange.recorders.append(second)
        await exchange.settle()
        assert not second.waits and first.waits
        Bridge(caller, callee, exchange.kit)
        await exchange.settle()
        assert not first.waits


async def test_early_media_are_recorded_once_there_are_any(tmp_path: Path) -> None:
    async with world(tmp_path, "acct in/on") as exchange:
        caller = exchange.ringing("alice")
        exchange.kit.automatic.arrived(caller, {}, offnet=False)
        (recorder,) = caller.recordings
        exchange.recorders.append(recorder)
        assert recorder.waits
        exchange.early(caller)
        await exchange.settle()
        assert not recorder.waits and caller.status == "ringing"


async def test_a_recording_that_could_be_kept_nowhere_is_not_made_and_the_call_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path, "acct in/on", url="gopher://x/y") as exchange:
        caller, _ = await talk(exchange, "onnet to onnet")
        assert made(caller) == [] and caller.status == "progressing"


async def test_a_call_that_we_place_is_recorded_by_the_account(tmp_path: Path) -> None:
    async with world(tmp_path, "acct out/off") as exchange:
        call = exchange.callee(None)
        exchange.kit.automatic.answered(call, None, "", True)
        exchange.recorders += call.recordings
        await exchange.wait(0.5)
        assert made(call) == ["outbound to offnet from account"]


async def test_it_keeps_no_other_recording_from_beginning(tmp_path: Path) -> None:
    async with world(tmp_path, "acct in/on") as exchange:
        caller, _ = await talk(exchange, "onnet to onnet")
        await exchange.record(caller, RecordSpec())
        with pytest.raises(InvalidState):
            caller.start_recording(RecordSpec())
        assert len(list(caller.recordings)) == 2
