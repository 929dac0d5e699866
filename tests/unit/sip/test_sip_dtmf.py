"""Digits in the bodies of INFO requests."""

import pytest

from tapeline.sip.dtmf import info_digit


@pytest.mark.parametrize(
    ("content_type", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", "5"),
        ("application/dtmf-relay", b"Signal= *\r\nDuration= 250", "*"),
        ("Application/DTMF-Relay;charset=utf-8", b"Duration=100\nSignal = #\n", "#"),
        ("application/dtmf-relay", b"Signal=11\r\n", "#"),
        ("application/dtmf-relay", b"Signal=a\r\n", "A"),
        ("application/dtmf", b"7", "7"),
        ("application/dtmf", b"10\r\n", "*"),
        ("application/dtmf-relay", b"Signal=99\r\n", ""),
        ("application/dtmf-relay", b"", ""),
        ("application/dtmf", b"hello", ""),
        ("application/dtmf", b"\xff\xfe", ""),
        ("text/plain", b"5", ""),
    ],
)
def test_an_info_body_tells_its_key(content_type: str, body: bytes, digit: str) -> None:
    assert info_digit(content_type, body) == digit
