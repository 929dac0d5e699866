"""How values and errors are told."""

import dataclasses
import json

import pytest

from tapeline.cli import terminal
from tapeline.core.errors import InvalidInput, NotFound


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0:00.0"), (7.44, "0:07.4"), (59.96, "1:00.0"), (723, "12:03.0"), (3600, "1:00:00.0"), (None, "-")],
)
def test_clock(seconds: float | None, told: str) -> None:
    assert terminal.clock(seconds) == told


@pytest.mark.parametrize(
    ("octets", "told"),
    [(0, "0 B"), (999, "999 B"), (64_200, "64.2 kB"), (999_990, "1.0 MB"), (1_400_000_000, "1.4 GB"), (3 * 10**12, "3.0 TB"), (None, "-")],
)
def test_size(octets: int | None, told: str) -> None:
    assert terminal.size(octets) == told


def test_an_error_is_a_line_and_a_hint() -> None:
    assert terminal.describe(NotFound("no such thing", hint="look elsewhere")) == ["error: no such thing", "hint: look elsewhere"]


def test_several_problems_are_a_line_each() -> None:
    error = InvalidInput("tapeline.toml: a is wrong; b is wrong", problems=["a is wrong", "b is wrong"])
    assert terminal.describe(error) == ["error: tapeline.toml", "  a is wrong", "  b is wrong"]


def test_json_is_made_of_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclasses.dataclass
    class Thing:
        name: str
        scopes: frozenset[str]
        parts: tuple[dict[str, float | None], ...]

    terminal.emit_json(Thing("[bold]é", frozenset({"b", "a"}), ({"x": 1.5, "y": float("-inf")},)))
    assert json.loads(capsys.readouterr().out) == {"name": "[bold]é", "scopes": ["a", "b"], "parts": [{"x": 1.5, "y": None}]}


def test_lines_are_never_wrapped_nor_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    line = "[red]" + "word " * 100 + "[/red] :smile:"
    terminal.emit(line)
    assert capsys.readouterr().out == line + "\n"


def test_a_table_in_a_pipe_keeps_its_cells_whole(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table(("ID", "STATE"), [("x" * 36, "[y]" * 30)], keep=("ID",))
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "STATE"]
    assert row.split() == ["x" * 36, "[y]" * 30]
