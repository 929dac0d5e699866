"""`tapeline application`: made with a key, listed without secrets, shown, deleted."""

import json
import stat
from pathlib import Path

import pytest

from tapeline.calls.vonage.applications import public_key
from tapeline.cli import main


def run(capsys: pytest.CaptureFixture[str], data: Path, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["application", *words, "--data", str(data)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_an_application_is_made_listed_shown_and_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "private.key"
    urls = ("--answer-url", "https://a.test/answer", "--event-url", "https://a.test/events")
    code, out, err = run(capsys, tmp_path, "add", "--name", "shop", "--new-key", str(key), *urls, "--account", "till")
    made = out.strip()
    secret = err.split()[-1]
    assert code == 0 and len(made) == 36 and len(secret) == 64
    assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----") and stat.S_IMODE(key.stat().st_mode) == 0o600

    code, out, _ = run(capsys, tmp_path, "list")
    assert code == 0 and made in out and "shop" in out and "till" in out and secret not in out
    listed = json.loads(run(capsys, tmp_path, "list", "--json")[1])
    assert listed[0]["account"] == "till" and "signature_secret" not in listed[0]
    shown = json.loads(run(capsys, tmp_path, "show", made, "--json")[1])
    assert shown["signature_secret"] == secret and shown["answer_url"] == "https://a.test/answer" and shown["event_method"] == "POST"
    public_key(shown["public_key"])
    assert secret in run(capsys, tmp_path, "show", made)[1]

    assert run(capsys, tmp_path, "delete", made)[0] == 0
    assert made not in run(capsys, tmp_path, "list")[1]
    for command in ("show", "delete"):
        code, _, err = run(capsys, tmp_path, command, made)
        assert code == 1 and "no application has the id" in err


def test_what_cannot_be_an_application_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "k.pem"
    key.write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    assert "not a PEM public key" in run(capsys, tmp_path, "add", "--public-key", str(key))[2]
    assert "either --public-key or --new-key" in run(capsys, tmp_path, "add")[2]
    new = ("--new-key", str(tmp_path / "new.key"))
    assert "not a UUID" in run(capsys, tmp_path, "add", *new, "--id", "1")[2]
    assert "--event-url 'nonsense' is no web address" in run(capsys, tmp_path, "add", *new, "--event-url", "nonsense")[2]
    assert "GET and POST" in run(capsys, tmp_path, "add", *new, "--event-method", "PUT")[2]
    assert run(capsys, tmp_path, "add", "--new-key", str(key))[0] == 1  # a key that is there is not written over
    code, out, _ = run(capsys, tmp_path, "add", *new)
    again = run(capsys, tmp_path, "add", "--new-key", str(tmp_path / "b.key"), "--id", out.strip())
    assert code == 0 and again[0] == 1 and "already" in again[2]
