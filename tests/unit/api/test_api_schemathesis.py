"""Schemathesis makes requests out of the API's own description, good ones and bad ones: none is answered by a defect of ours."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from api_world import World
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

schemathesis: Any = pytest.importorskip("schemathesis")

SECONDS = 6.0
EXAMPLES = 3  # for each operation and kind
PUBLIC = ("/docs", "/openapi.json")
ELSEWHERE = ("/deliveries", "/callflows", "/v2/")  # what the world in memory does not have; it has tests of its own


def operations(world: World, mode: Any) -> list[Any]:
    schema = schemathesis.openapi.from_dict(world.app.openapi())
    schema.app = world.app
    found = [result.ok() for result in schema.get_all_operations()]
    return [
        (operation, operation.as_strategy(generation_mode=mode))
        for operation in found
        if operation.path not in PUBLIC and not any(part in operation.path for part in ELSEWHERE)
    ]


def explored(strategy: Any, world: World, seconds: float) -> int:
    """How many requests of one kind were made, and answered."""
    until, count = time.monotonic() + seconds, 0

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy)
    def ask(case: Any) -> None:
        nonlocal count
        if count and time.monotonic() > until:
            return
        answer = case.call(headers={"Authorization": f"Bearer {world.secret}"})
        count += 1
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)

    with suppress(Unsatisfiable):  # nothing about a route without parameters and body can be wrong
        ask()
    return count


@pytest.mark.filterwarnings("ignore")  # of the libraries that Schemathesis brings
@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_no_request_that_the_description_allows_or_forbids_is_a_server_error(mode: str) -> None:
    world = World()
    found = operations(world, getattr(schemathesis.GenerationMode, mode))
    assert len(found) > 100
    began, asked = time.monotonic(), 0
    for operation, strategy in found:
        if mode == "NEGATIVE" and (operation.method in ("get", "delete") or time.monotonic() - began > SECONDS):
            continue  # making wrong requests takes long
        asked += explored(strategy, world, SECONDS / len(found))
    assert asked >= (len(found) if mode == "POSITIVE" else 1)
