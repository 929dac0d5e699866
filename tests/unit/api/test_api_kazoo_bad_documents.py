"""Documents made to break something: each gets a clear answer in the platform's form, in bounded time and memory, and none stays."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kazoo_world import KazooWorld

from tapeline.api import bodies
from tapeline.api.kazoo.bodies import DEEPEST
from tapeline.api.kazoo.rules import Rules
from tapeline.api.kazoo.schema import MOST, check
from tapeline.calls.kazoo.stored import CallflowBroken, ready
from tapeline.core.ids import new_id
from tapeline.store import FlowRow

RULES = Rules(allow_private=False)


@pytest.fixture
def world(house: KazooWorld) -> KazooWorld:
    return house


async def put(client: httpx2.AsyncClient, house: KazooWorld, content: bytes | AsyncIterator[bytes]) -> httpx2.Response:
    return await client.put(house.path("/callflows"), content=content)


def nested(depth: int) -> dict[str, Any]:
    flow: dict[str, Any] = {"module": "hangup", "data": {}}
    for _ in range(depth):
        flow = {"module": "answer", "data": {}, "children": {"_": flow}}
    return {"data": {"flow": flow, "numbers": [str(depth)]}}


async def endless() -> AsyncIterator[bytes]:
    """Ten megabytes of nesting, without a length told beforehand."""
    for _ in range(160):
        yield b'{"data":' * 8192


async def test_ten_megabytes_of_nesting_are_too_much_and_are_not_read_to_the_end(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    for content in (endless(), b"[" * 10_000_000):
        answer = await put(client, house, content)
        assert (answer.status_code, answer.json()["error"]) == (413, "413")


@pytest.mark.parametrize("content", [b"[" * 900_000, b'{"data":' * 100_000, b'{"data":{"flow":' * 50_000 + b"1" + b"}" * 100_000])
async def test_nesting_that_no_document_has_is_refused(house: KazooWorld, client: httpx2.AsyncClient, content: bytes) -> None:
    answer = await put(client, house, content)
    assert (answer.status_code, answer.json()["status"]) == (400, "error")


async def test_a_flow_as_deep_as_is_allowed_runs_and_one_deeper_is_refused(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    most = (DEEPEST - 4) // 2
    assert (await put(client, house, json.dumps(nested(most)).encode())).status_code == 201
    assert house.stored.find(str(most)) is not None
    answer = await put(client, house, json.dumps(nested(most + 2)).encode())
    assert answer.status_code == 400 and house.stored.find(str(most + 2)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b'"flow"', b"{", b'{"data":}', b'{"data": []}', b'{"data": null}', b'{"data": "x"}',
        b'{"data": {"flow": NaN}}',
        b'{"data": {"flow": {"module": "\\ud800", "data": {}}}}', b'{"data": {"flow": {"module": "tts", "data": {"text": 1e400}}}}',
        b"\xff\xfe", b'{"data": {"flow": {"module": "x", "data": {}, "children": {"_": {"module": []}}}}}',
    ],
)  # fmt: skip
async def test_what_is_no_document_is_refused_in_the_envelope(house: KazooWorld, client: httpx2.AsyncClient, content: bytes) -> None:
    answer = await put(client, house, content)
    assert (answer.status_code, answer.json()["error"], answer.json()["status"]) == (400, "400", "error")
    assert (await client.get(house.path("/callflows"))).json()["data"] == []


async def test_big_bodies_are_read_checked_and_compiled_off_the_loop(
    house: KazooWorld, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    parsed = bodies._parsed
    monkeypatch.setattr(bodies, "_parsed", lambda received: (read.append(threading.get_ident()), parsed(received))[1])
    children = {f"k{n}": {"module": "hangup", "data": {}} for n in range(9000)}
    wide = {"module": "branch_variable", "data": {"variable": "x"}, "children": children}
    answer = await put(client, house, json.dumps({"data": {"flow": wide, "numbers": ["1"]}}).encode())
    assert answer.status_code == 201 and house.stored.find("1") is not None
    assert read and threading.get_ident() not in read


async def test_all_that_is_wrong_is_told_up_to_a_limit(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    children = {f"k{n}": {"module": "sleep", "data": {"unit": "year"}} for n in range(3000)}
    answer = await put(client, house, json.dumps({"data": {"flow": {"module": "menu", "data": {}, "children": children}}}).encode())
    told = answer.json()["data"]
    assert answer.status_code == 400 and len(told) == MOST and all("enum" in rules for rules in told.values())


def test_long_keys_cost_no_memory() -> None:
    children = {str(n): {"module": "hangup", "data": {}} for n in range(2000)}
    inner = {"module": "menu", "data": {}, "children": {"x" * 500_000: {"module": "menu", "data": {}, "children": children}}}
    tracemalloc.start()
    try:
        assert not check({"flow": inner}, RULES.callflow)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["start", "3", "true", "http://[x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    module=st.sampled_from([*sorted(RULES.modules), "nobody"]),
    chosen=st.data(),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_stands_in_a_module_s_data_is_refused_with_a_field_or_runs(module: str, chosen: st.DataObject) -> None:
    rule = RULES.modules.get(module)
    names = sorted(rule.fields) if rule is not None else ["id"]
    data = chosen.draw(st.dictionaries(st.sampled_from(names or ["id"]), VALUES, max_size=4))
    document = {"flow": {"module": module, "data": data, "children": chosen.draw(VALUES)}}
    faults = check(document, RULES.callflow)
    assert all(path and rules for path, rules in faults.items())
    text = json.dumps(document)
    if faults or "NaN" in text or "Infinity" in text:
        return
    try:
        assert ready(FlowRow(new_id(), new_id(), "", text, "kazoo", 1.0, 1.0)).program is not None
    except CallflowBroken as error:
        assert all(message for _, message, _ in error.found)
