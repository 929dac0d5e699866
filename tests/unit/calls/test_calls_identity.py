"""Who a call says it is from, and how far it may still go."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tapeline.calls.identity import ANONYMOUS, hops_left, identify, user_of, wants_privacy
from tapeline.calls.session import Call
from tapeline.calls.views import Address


def caller(uri: str = "sip:ann@192.0.2.2", incoming: bool = True, **headers: str) -> Call:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    request = SimpleNamespace(all=lambda name: [lines[name]] if name in lines else [], get=lines.get)
    return SimpleNamespace(incoming=incoming, session=SimpleNamespace(request=request, remote_uri=uri))  # type: ignore[return-value]


def test_the_callers_own_number_is_kept() -> None:
    assert identify(Address("tel", "+4930", "Ann"), "192.0.2.1", anonymous=False, trusted=False).uri == "sip:+4930@192.0.2.1"
    made = identify(Address("sip", "sip:a b@host", "Ann"), "[2001:db8::1]", anonymous=False, trusted=True)
    assert (made.uri, made.name, made.headers) == ("sip:a%20b@[2001:db8::1]", "Ann", ())
    assert identify(Address(), "h", anonymous=False, trusted=False).uri == "sip:h"


def test_only_a_trunk_learns_who_an_anonymous_caller_is() -> None:
    source = Address("tel", "+4930", "Ann")
    told = identify(source, "h", anonymous=True, trusted=True)
    assert (told.uri, told.name) == (ANONYMOUS, "Anonymous")
    assert told.headers == (("Privacy", "id"), ("P-Asserted-Identity", "<sip:+4930@h>"))
    assert identify(source, "h", anonymous=True, trusted=False).headers == (("Privacy", "id"),)
    assert identify(Address(), "h", anonymous=True, trusted=True).headers == (("Privacy", "id"),)


def test_who_wants_not_to_be_shown() -> None:
    assert not wants_privacy(caller())
    assert not wants_privacy(caller(privacy="none"))
    assert wants_privacy(caller(privacy="header; ID"))
    assert wants_privacy(caller("sip:anonymous@Anonymous.invalid"))
    assert not wants_privacy(caller("nonsense"))
    assert not wants_privacy(caller(incoming=False, privacy="id"))


@pytest.mark.parametrize(("stated", "left"), [("70", 69), ("1", 0), ("0", 0), ("255", 70), ("x", 69)])
def test_hops(stated: str, left: int) -> None:
    assert hops_left(caller(max_forwards=stated)) == left


def test_a_call_of_its_own_has_all_hops() -> None:
    assert hops_left(None) == 70
    assert hops_left(caller(incoming=False)) == 70
    assert hops_left(caller()) == 69


def test_the_user_in_an_address() -> None:
    found = [user_of(Address("", text)) for text in ("sip:ann@h", "ann@h", "tel:+1;ext=2", "+1", "")]
    assert found == ["ann", "ann", "+1", "+1", ""]
