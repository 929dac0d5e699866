"""The command line as a whole: one clear line for what goes wrong, and a page that tells of every command."""

import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

import tapeline
from tapeline.cli import app, main

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name."""

    def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
        for word, child in (children or {}).items():
            yield from walk(f"{name} {word}", child)

    return walk("tapeline", typer.main.get_command(app))


def sections() -> dict[str, str]:
    """The page's parts by their headings (of any level), back-quotes removed."""
    parts = re.split(r"^#+ (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    return {heading.replace("`", "").strip(): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_has_its_heading(name: str) -> None:
    assert name in sections()


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_option_is_told_under_its_command(name: str, command: click.Command) -> None:
    body = sections()[name] + sections()["Options that several commands share"]
    for parameter in command.params:
        if not getattr(parameter, "hidden", False):
            for option in parameter.opts:
                assert not option.startswith("--") or f"`{option}" in body, f"{option} is not told under {name}"


def test_no_heading_tells_of_a_command_that_is_not_there() -> None:
    known = {name for name, _ in commands()}
    assert {heading for heading in sections() if heading.startswith("tapeline ")} <= known


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tapeline {tapeline.__version__}\n"


def test_a_wrong_setting_is_told_with_its_nearest_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "tapeline.toml"
    config.write_text("[server]\nhtpp = '1'\n")
    assert main(["recordings", "list", "--config", str(config)]) == 1
    err = capsys.readouterr().err
    assert "server.htpp is not a known setting; did you mean 'http'?" in err and "Traceback" not in err


def test_verbose_shows_where_an_error_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--verbose", "recordings", "list"], ["recordings", "list", "--verbose"]):
        assert main([*words, "--data", str(tmp_path / "none")]) == 1
        err = capsys.readouterr().err
        assert err.startswith("error: there is no tapeline database") and "Traceback" in err


def test_a_wrong_command_line_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recordings", "lst"]) == 2
    assert "lst" in capsys.readouterr().err


def test_the_package_runs_as_a_module() -> None:
    run = subprocess.run([sys.executable, "-m", "tapeline", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"tapeline {tapeline.__version__}\n"


def test_light_commands_load_no_heavy_parts() -> None:
    """`tapeline --help` and `flow check` start fast: no database, web or media code is imported for them."""
    code = "import sys, tapeline.cli; print([m for m in ('sqlalchemy', 'fastapi', 'numpy', 'dbos', 'obstore') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_level_of_the_log_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--log-level", "loud"]) == 1
    assert capsys.readouterr().err == "error: --log-level 'loud' is not a level\nhint: levels are: debug info warning error\n"
    assert not list(tmp_path.iterdir())


def test_a_new_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    from tapeline.app import make_data_folder

    make_data_folder(tmp_path / "new" / "data")
    assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700
