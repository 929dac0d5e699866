"""The HTTP receiver keeps what it gets and misbehaves as asked; the API client tells answers from failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead
from urllib.parse import urlsplit

import pytest

from tapeline.testing.api import Api
from tapeline.testing.process import ChildFailed
from tapeline.testing.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


def client(receiver: Receiver, timeout_s: float = 5.0) -> Api:
    port = urlsplit(receiver.url).port
    assert port is not None
    return Api("127.0.0.1", port, token="secret", timeout_s=timeout_s)


def test_it_keeps_each_request_whole(receiver: Receiver) -> None:
    assert client(receiver).post("/hook?a=1", {"x": "é"}).status == 200
    (request,) = receiver.wait_for("/hook")
    assert (request.method, json.loads(request.body)) == ("POST", {"x": "é"})
    assert request.headers["authorization"] == "Bearer secret"


def test_it_serves_pages(receiver: Receiver) -> None:
    assert receiver.serve("/flow", b'{"actions": []}') == receiver.url + "/flow"
    answer = client(receiver).get("/flow").ok()
    assert answer.json() == {"actions": []}
    assert answer.headers["content-type"] == "application/json"


def test_faults_come_first_and_once_each(receiver: Receiver) -> None:
    receiver.fail("/hook", 500, 503)
    assert [client(receiver).post("/hook").status for _ in range(3)] == [500, 503, 200]
    with pytest.raises(AssertionError, match="HTTP 404"):
        receiver.fail("/hook", 404)
        client(receiver).post("/hook").ok()


def test_it_closes_without_an_answer(receiver: Receiver) -> None:
    receiver.fail("/hook", "close")
    with pytest.raises((HTTPException, OSError)):
        client(receiver).post("/hook")
    assert len(receiver.received("/hook")) == 1


def test_it_closes_half_way(receiver: Receiver) -> None:
    receiver.fail("/hook", "half")
    with pytest.raises(IncompleteRead):
        client(receiver).get("/hook")


def test_it_hangs_until_closed_and_then_leaves_no_thread() -> None:
    before = threading.active_count()
    receiver = Receiver()
    receiver.start()
    receiver.fail("/hook", "hang")
    with pytest.raises(TimeoutError):
        client(receiver, timeout_s=0.1).post("/hook")
    receiver.close()
    assert threading.active_count() == before


def test_waiting_for_what_does_not_come_is_an_error(receiver: Receiver) -> None:
    with pytest.raises(ChildFailed, match="still waiting for 2 requests for /hook"):
        receiver.wait_for("/hook", 2, timeout_s=0.05)


def test_lists_are_read_page_by_page(receiver: Receiver) -> None:
    receiver.serve("/v1.0/calls", b'{"result": [], "next_page_token": ""}')
    assert client(receiver).calls() == []
    assert len(receiver.received("/v1.0/calls")) == 1
