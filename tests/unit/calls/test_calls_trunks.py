"""Which trunks take a number, in which order, and what is dialled there."""

from __future__ import annotations

import pytest

from tapeline.calls.trunks import Trunks, trunk_uri
from tapeline.core.errors import InvalidInput
from tapeline.core.settings import Trunk


def names(trunks: Trunks, number: str) -> list[str]:
    return [trunk.name for trunk in trunks.for_number(number)]


def test_trunks_are_tried_in_order_and_by_what_they_take() -> None:
    trunks = Trunks(
        [
            Trunk(name="german", target="a", match="+49"),
            Trunk(name="short", target="b", match="/^[0-9]{3}$/"),
            Trunk(name="all", target="c"),
        ]
    )
    assert names(trunks, "+4930") == ["german", "all"]
    assert names(trunks, "110") == ["short", "all"]
    assert names(trunks, "+1555") == ["all"]
    assert [trunk.name for trunk in trunks] == ["german", "short", "all"]


def test_a_trunk_that_is_full_or_not_registered_steps_back() -> None:
    trunks = Trunks([Trunk(name="a", target="a", max_calls=1), Trunk(name="b", target="b")])
    trunks.took("a")
    assert names(trunks, "1") == ["b"]
    trunks.freed("a")
    assert names(trunks, "1") == ["a", "b"]
    trunks.registered("a", False)
    assert names(trunks, "1") == ["b", "a"]
    trunks.registered("a", True)
    assert names(trunks, "1") == ["a", "b"]


@pytest.mark.parametrize(
    ("target", "strip", "prefix", "uri"),
    [
        ("carrier.example", 0, "", "sip:+49301@carrier.example"),
        ("sip:carrier.example:5070;transport=tcp", 1, "00", "sip:0049301@carrier.example:5070;transport=tcp"),
        ("sips:[2001:db8::1]", 3, "0", "sips:0301@[2001:db8::1]"),
    ],
)
def test_what_is_dialled(target: str, strip: int, prefix: str, uri: str) -> None:
    trunk = Trunk(name="a", target=target, strip=strip, prefix=prefix)
    assert Trunks([trunk]).dialled("+49301", trunk) == uri


def test_a_trunk_that_cannot_be_used_is_told() -> None:
    with pytest.raises(InvalidInput, match="no SIP address"):
        trunk_uri(Trunk(name="a", target="sip:"))
    with pytest.raises(InvalidInput, match="two trunks"):
        Trunks([Trunk(name="a", target="a"), Trunk(name="a", target="b")])
    with pytest.raises(InvalidInput, match="regular expression"):
        Trunks([Trunk(name="a", target="a", match="/(/")])
