"""`tapeline demo`, run as anybody would run it, and what it leaves: a recording in which both sides are heard."""

import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tapeline.cli.demo import DemoServer, flow_to
from tapeline.core.errors import Unavailable
from tapeline.testing.listening import decode

COMMAND = [sys.executable, "-m", "tapeline", "demo"]
LONGEST_S = 110.0


def recording_of(output: str) -> Path:
    found = re.search(r"^recording  (.+)$", output, re.MULTILINE)
    assert found, output
    return Path(found[1].strip())


def level(file: Path, channel: int) -> float:
    """The share of a channel in which something is said."""
    heard = decode(file)
    step = heard.rate // 50
    frames = abs(heard.samples[: len(heard.samples) // step * step, channel]).reshape(-1, step).max(axis=1)
    return float((frames > 0.01).mean())


@pytest.mark.slow
def test_without_a_terminal_it_prints_lines_and_leaves_a_recording(tmp_path: Path) -> None:
    run = subprocess.run(
        COMMAND, capture_output=True, text=True, timeout=LONGEST_S, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "\x1b" not in run.stdout, "no colours and no cursor in a pipe"
    said = [line.split("s  ", 1)[1] for line in run.stdout.splitlines() if re.match(r" +\d+\.\d s  ", line)]
    states = {"anna": ("calling", "ringing", "talking", "ended"), "ben": ("ringing", "talking", "ended")}
    for name, expected in states.items():
        assert [line for line in said if line.startswith(f"{name}: ")] == [f"{name}: {state}" for state in expected]
    recordings = [line for line in said if line.startswith("recording: ")]
    assert recordings[-1] == "recording: available" and "recording: recording" in recordings
    for line in ("tapeline speaks", "Anna speaks", "Ben speaks", "flow: connect"):
        assert line in said
    file = recording_of(run.stdout)
    assert file.is_relative_to(tmp_path)
    told = re.search(r"^duration   ([\d.]+) s, 2 channels", run.stdout, re.MULTILINE)
    assert told and abs(decode(file).seconds - float(told[1])) < 0.001
    assert level(file, 0) > 0.2 and level(file, 1) > 0.2
    waves = [line for line in run.stdout.splitlines() if "█" in line or "▄" in line]
    assert len(waves) >= 4, "a waveform for each channel"
    assert "verified" in run.stdout
    verify = [*COMMAND[:-1], "recordings", "verify", file.stem, "--data", str(file.parents[2])]
    assert "intact" in subprocess.run(verify, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.slow
def test_without_speech_both_sides_sound_tones_and_are_found(tmp_path: Path) -> None:
    (tmp_path / "espeakng_loader.py").write_text('raise ImportError("as if it were not installed")\n')
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(COMMAND, capture_output=True, text=True, timeout=LONGEST_S, env=environment, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    file = recording_of(run.stdout)
    assert level(file, 0) > 0.2 and level(file, 1) > 0.2


@pytest.mark.slow
def test_on_a_terminal_with_keep_the_server_stays_until_ctrl_c(tmp_path: Path) -> None:
    """Its screen is a pseudo-terminal; then the API answers with the token shown, and Ctrl-C ends the server too."""
    screen, terminal = pty.openpty()
    demo = subprocess.Popen(
        [*COMMAND, "--keep"], stdin=terminal, stdout=terminal, stderr=terminal, env={**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm"}
    )
    os.close(terminal)
    shown = b""
    try:
        while b"token  " not in shown.rpartition(b"until Ctrl-C")[2] or not shown.endswith(b"\n"):
            piece = os.read(screen, 65536)
            assert piece, shown.decode(errors="replace")
            shown += piece
        text = shown.decode()
        assert "\x1b" in text and "speaking" in text and "available" in text
        token, page = re.search(r"token  (\S+)", text), re.search(r"page   (\S+)/docs", text)
        assert token and page
        request = urllib.request.Request(page[1] + "/v1.0/recordings", headers={"Authorization": f"Bearer {token[1]}"})
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 200
        demo.send_signal(signal.SIGINT)
        assert demo.wait(50) == 0
        with pytest.raises(OSError):
            urllib.request.urlopen(request, timeout=2)
    finally:
        demo.kill()
        demo.wait()
        os.close(screen)


async def test_a_server_that_cannot_start_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    server = DemoServer(tmp_path)
    try:
        with pytest.raises(Unavailable, match="the server did not start: .*data") as caught:
            await server.start(flow_to("sip:nobody@127.0.0.1"))
        assert caught.value.hint == f"its log is {tmp_path / 'server.log'}"
    finally:
        await server.stop()
    assert "Traceback" not in server.log.read_text()


async def test_settings_in_the_environment_stay_out_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPELINE_SERVER__DATABASE", f"sqlite:///{tmp_path / 'real.sqlite'}")
    server = DemoServer(tmp_path)
    try:
        await server.start(flow_to("sip:nobody@127.0.0.1"))
        assert server.target.startswith("sip:1000@127.0.0.1:")
    finally:
        await server.stop()
    assert not (tmp_path / "real.sqlite").exists()
    assert (tmp_path / "data" / "tapeline.sqlite").exists()
