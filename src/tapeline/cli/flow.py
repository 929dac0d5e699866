"""`tapeline flow check` and `tapeline flow show`: compile a document of any dialect, tell its problems, draw its program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tapeline import flow as flows
from tapeline.cli import terminal
from tapeline.cli.options import AsJson
from tapeline.core.errors import InvalidInput

__all__ = ["app"]

app = typer.Typer(help="Check a flow document, or draw it.", no_args_is_help=True)

_Document = Annotated[str, typer.Argument(metavar="FILE", help="The flow document, `-` for standard input.")]
_Dialect = Annotated[str | None, typer.Option("--dialect", metavar="NAME", help="kazoo, voipbin or vonage. Default: by its shape.")]

_COLOURS = {"error": "bold red", "warning": "yellow"}


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read {name}: {error.strerror}", hint="give the path of a flow document") from error


def _line(name: str, problem: flows.Diagnostic) -> Text:
    line = Text(f"{name}:{problem.line}:{problem.column}: ")
    line.append(problem.severity, style=_COLOURS[problem.severity])
    line.append(f": {problem.message}")
    if problem.path:
        line.append(f" [{problem.path}]")
    if problem.hint:
        line.append(f" ({problem.hint})")
    return line


@app.command()
def check(document: _Document, dialect: _Dialect = None, as_json: AsJson = False) -> None:
    """Compile FILE and print every problem with line and column; exit 1 if it cannot run."""
    compiled = flows.compile(_read(document), dialect=dialect)
    name = "<stdin>" if document == "-" else document
    program = compiled.program
    if as_json:
        terminal.emit_json({"runs": program is not None, "dialect": compiled.dialect, "problems": compiled.problems})
    else:
        for problem in compiled.problems:
            terminal.emit(_line(name, problem))
        errors = sum(problem.severity == "error" for problem in compiled.problems)
        counted = f"{errors} error{'s' * (errors != 1)}, {(rest := len(compiled.problems) - errors)} warning{'s' * (rest != 1)}"
        if program is None:
            terminal.emit(f"{name}: cannot run: {counted}")
        else:
            terminal.emit(f"{name}: runs: {compiled.dialect}, {len(program.steps)} steps, {counted}")
    if program is None:
        raise typer.Exit(1)


@app.command()
def show(document: _Document, dialect: _Dialect = None) -> None:
    """Print the program that FILE compiles to, as a Mermaid graph; problems go to standard error."""
    compiled = flows.compile(_read(document), dialect=dialect)
    name = "<stdin>" if document == "-" else document
    for problem in compiled.problems:
        terminal.notice(_line(name, problem))
    if compiled.program is None:
        raise typer.Exit(1)
    terminal.emit(flows.mermaid(compiled.program))
