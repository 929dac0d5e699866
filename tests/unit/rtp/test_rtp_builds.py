"""Two builds of one source: what the uncompiled one declares for itself must be what the compiled one declares."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tapeline.rtp import COMPILED
from tapeline.rtp.engine import build, constants, queues, state

ENGINE = Path(build.__file__).parent
STRUCTS = (ENGINE / "structs.pxd").read_text()


def test_numbers_agree() -> None:
    body = STRUCTS[STRUCTS.index("cdef enum:") : STRUCTS.index("cdef struct")]
    compiled = {name: int(value) for name, value in re.findall(r"^    (\w+) = (\d+)$", body, re.M)}
    plain = {name: value for name, value in vars(constants).items() if name.isupper()}
    assert compiled == plain


def test_structures_agree() -> None:
    compiled = {
        name: re.findall(r"(\w+)(?:\[\w+\])?$", re.sub(r"^    #.*\n", "", body, flags=re.M), re.M)
        for name, body in re.findall(r"cdef struct (\w+):\n((?:    .*\n)+)", STRUCTS)
    }
    plain = {name: list(getattr(queues if name in ("Task", "Line") else state, name).__slots__) for name in compiled}
    assert compiled == plain


def test_both_faces_have_the_same_functions() -> None:
    native = (ENGINE / "native.pyx").read_text()
    plain = (ENGINE / "plain.py").read_text()
    assert set(re.findall(r"^def ([a-z]\w+)\(", native, re.M)) - {"address", "numbers"} == set(
        re.findall(r"^def ([a-z]\w+)\(", plain, re.M)
    )


def test_system_calls_have_the_same_names() -> None:
    calls = set(re.findall(r"^cdef inline .*?(\w+)\(", (ENGINE / "system.pxd").read_text(), re.M)) - {
        "prepare",
        "note",
        "capture",
        "open_epoll",
    }
    portable = set(re.findall(r"^def (\w+)\(", (ENGINE / "portable.py").read_text(), re.M)) - {
        "address",
        "numbers",
        "adopt",
        "release_poll",
    }
    assert calls == portable


def test_compiled_modules_are_few_and_short() -> None:
    hot = [path for path in ENGINE.iterdir() if path.suffix == ".pyx" or (path.suffix == ".py" and path.with_suffix(".pxd").exists())]
    assert len(hot) <= 12
    assert {path.stem for path in hot} == {*build.HOT, "native"}
    assert {path.name: count for path in hot if (count := len(path.read_text().splitlines())) > 400} == {}


def test_no_function_of_the_engine_holds_the_lock() -> None:
    for path in ENGINE.glob("*.pxd"):
        for line in path.read_text().splitlines():
            if re.match(r"cdef (inline )?\w.*\)", line):
                assert line.rstrip(":").endswith("noexcept nogil"), f"{path.name}: {line}"


ASK = "import logging; logging.basicConfig(); "
ASK += "import tapeline.rtp; from tapeline.rtp.engine import loop; print(tapeline.rtp.COMPILED, loop.__file__)"


def ask(mode: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "TAPELINE_COMPILED"}
    return subprocess.run(
        [sys.executable, "-c", ASK], env=environ | {"TAPELINE_COMPILED": mode}, capture_output=True, text=True, check=False
    )


def test_the_uncompiled_build_can_be_forced() -> None:
    answer = ask("0")
    assert answer.stdout.split() == ["False", str(ENGINE / "loop.py")]
    assert answer.stderr == "", "what was asked for is no warning"


@pytest.mark.skipif(not COMPILED, reason="no compiled build here, or it is switched off")
def test_the_compiled_build_can_be_forced() -> None:
    answer = ask("1")
    assert answer.stdout.startswith("True ") and answer.stdout.strip().endswith(".so")


def test_a_missing_build_is_told_once_or_refused(tmp_path: Path) -> None:
    """The package without its extension modules."""
    source = ENGINE.parents[1]
    package = tmp_path / "tapeline"
    for path in source.rglob("*"):
        if path.suffix in (".py", ".pxd") and path.relative_to(source).parts[0] in ("core", "rtp", "__init__.py"):
            target = tmp_path / "tapeline" / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    environ = {name: value for name, value in os.environ.items() if name != "TAPELINE_COMPILED"} | {"PYTHONPATH": str(tmp_path)}

    def run(extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", ASK], env=environ | extra, cwd=tmp_path, capture_output=True, text=True, check=False)

    plain = run({})
    assert plain.stdout.split() == ["False", str(package / "rtp" / "engine" / "loop.py")]
    assert plain.stderr.count("compiled engine is missing") == 1
    forced = run({"TAPELINE_COMPILED": "1"})
    assert forced.returncode != 0 and "ImportError" in forced.stderr
