"""The command line: `tapeline COMMAND ...`.

Each command is a module beside this one. What goes wrong is told in a line or two that name what to change, on standard error,
and the exit code is 1 (2 where the command line itself cannot be read); a traceback appears only with `--verbose`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

import tapeline
from tapeline.cli import agent, application, audit, call, deliveries, demo, doctor, flow, recordings, terminal, token
from tapeline.cli.serve import serve
from tapeline.core.errors import TapelineError

__all__ = ["app", "main"]

app = typer.Typer(
    name="tapeline",
    help="A self-hosted call recorder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(flow.app, name="flow")
app.add_typer(recordings.app, name="recordings")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(audit.app, name="audit")
app.add_typer(token.app, name="token")
app.add_typer(application.app, name="application")
app.add_typer(agent.app, name="agent")
app.command()(serve)
app.command()(call.call)
app.command()(demo.demo)
app.command()(doctor.doctor)


def _version(asked: bool) -> None:
    if asked:
        terminal.emit(f"tapeline {tapeline.__version__}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show where an error came from (may stand anywhere).")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """A self-hosted call recorder."""  # `main` reads --verbose itself; here it is only declared


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name; the process's own by default) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options_end = arguments.index("--") if "--" in arguments else len(arguments)
    verbose = "--verbose" in arguments[:options_end]  # wherever it stands: people add it after the command that failed
    arguments = [word for place, word in enumerate(arguments) if word != "--verbose" or place > options_end]
    failure: Exception
    try:
        app(args=arguments, prog_name="tapeline")
        return 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except TapelineError as error:
        failure, lines = error, terminal.describe(error)
    except OSError as error:
        failure, lines = error, [f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error.strerror or error}"]
    except Exception as error:  # noqa: BLE001 - the last frame: what no command foresaw is told in a line as well
        hint = "hint: this is a defect of tapeline; run it again with --verbose and report what that prints"
        failure, lines = error, [f"error: {type(error).__name__}: {error}", hint]
    if verbose:
        lines += "".join(traceback.format_exception(failure)).splitlines()
    for line in lines:
        terminal.notice(line)
    return 1
