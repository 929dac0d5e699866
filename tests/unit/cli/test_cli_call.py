"""What `tapeline call` refuses before anything rings."""

from pathlib import Path

import pytest

from tapeline.cli import main
from tapeline.cli.call import Errand
from tapeline.core.errors import InvalidInput


@pytest.mark.parametrize(
    ("errand", "told"),
    [
        (Errand("x", text="hello", file=Path("a.wav")), "both given"),
        (Errand("x", file=Path("nowhere.wav")), "no file nowhere.wav"),
        (Errand("x", save=Path("no/such/folder.wav")), "there is no folder"),
        (Errand("x", keys="12e"), "no key E"),
        (Errand("x", password="y"), "without --user"),
    ],
)
def test_refused(errand: Errand, told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        errand.check()
    assert caught.value.hint


def test_keys_and_pauses_are_fine() -> None:
    Errand("x", keys="0123456789*#abcdABCD,").check()


def test_with_nothing_to_say_it_only_listens() -> None:
    assert Errand("x").listens_only and Errand("x", save=Path("a.wav")).listens_only
    assert not Errand("x", text="hello").listens_only and not Errand("x", keys="1").listens_only


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["1000@127.0.0.1", "--from", "alice"], "--from 'alice' is no SIP address"),
        (["sip:1000@bad host"], "is no SIP address"),
        (["sip:1000@127.0.0.1;transport=ws"], "is not spoken here"),
        (["sips:1000@127.0.0.1", "--tls-ca", "nowhere.pem"], "tls_ca: nowhere.pem cannot be read"),
    ],
)
def test_a_wrong_target_is_one_clear_error(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", *words]) == 1
    err = capsys.readouterr().err
    assert told in err and "hint:" in err and "Traceback" not in err
