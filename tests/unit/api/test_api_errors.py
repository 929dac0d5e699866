"""One table from error type to HTTP status: it covers every error there is, and the drawn tree is the real one."""

from __future__ import annotations

import re

import pytest

import tapeline.calls.errors
import tapeline.store.errors
from tapeline.api import errors
from tapeline.api.errors import STATUSES, error_response, status_of
from tapeline.core.errors import Exhausted, InvalidInput, ProtocolError, TapelineError

WORDS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "FAILED_PRECONDITION",
         429: "RESOURCE_EXHAUSTED", 413: "INVALID_ARGUMENT", 416: "INVALID_ARGUMENT", 500: "INTERNAL", 503: "UNAVAILABLE"}  # fmt: skip


def every(kind: type[TapelineError]) -> list[type[TapelineError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in every(child))]


@pytest.mark.parametrize("kind", sorted(every(TapelineError), key=lambda kind: kind.__name__))
def test_every_error_has_a_status_and_the_platforms_word_for_it(kind: type[TapelineError]) -> None:
    error = kind.__new__(kind)
    code, word = status_of(error)
    assert WORDS[code] == word
    if issubclass(kind, ProtocolError):
        assert code == 500  # a SIP peer's fault is never the HTTP client's


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +(\d{3}) ", errors.__doc__ or ""))
    ours = {kind.__name__: str(status_of(kind.__new__(kind))[0]) for kind in STATUSES if kind.__module__ == errors.__name__}
    assert drawn == ours


def test_errors_of_other_packages_are_covered_by_their_base() -> None:
    assert status_of(tapeline.store.errors.DatabaseUnavailable("away")) == (503, "UNAVAILABLE")
    assert status_of(tapeline.calls.errors.disk_full(1, 2)) == (503, "UNAVAILABLE")
    assert status_of(Exhausted("no port")) == (503, "UNAVAILABLE")


def test_problems_become_details() -> None:
    answer = error_response(InvalidInput("a; b", problems=["a", "b"]), "req_1")
    assert answer.status_code == 400
    assert answer.body == (
        b'{"error":{"status":"INVALID_ARGUMENT","reason":"INVALID_ARGUMENT","message":"a; b","request_id":"req_1",'
        b'"details":[{"description":"a"},{"description":"b"}]}}'
    )
