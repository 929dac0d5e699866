"""Budgets: how long a file and a function may be, and that each module says what it is for."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SOURCE = PROJECT / "src" / "tapeline"
PYTHON = sorted(path for root in ("src", "tests", "bench") for path in (PROJECT / root).rglob("*.py"))
CYTHON = sorted([*SOURCE.rglob("*.pyx"), *SOURCE.rglob("*.pxd")])

FILE_LINES = 600
COMPILED_FILE_LINES = 400
FUNCTION_LINES = 60
FUNCTION_LINES_P95 = 45
# The modules that hold the product's rules and do no I/O; each begins with its theory of operation.
CORE = ("core", "flow", "sip", "rtp", "recording")
NOT_CORE = ("sip/transports", "rtp/engine", "flow/ops")
CORE_DOCSTRING_LINES = 3

Function = ast.FunctionDef | ast.AsyncFunctionDef


def shown(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """(name, lines without its docstring) of each function."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, Function):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                text = node.body[0]
                length -= (text.end_lineno or text.lineno) - text.lineno + 1
            yield node.name, length


def test_files_are_short() -> None:
    long = [f"{shown(path)}: {lines}" for path in [*PYTHON, *CYTHON] if (lines := len(path.read_text().splitlines())) > FILE_LINES]
    assert not long, f"more than {FILE_LINES} lines: {', '.join(long)}"


def test_compiled_files_are_shorter() -> None:
    compiled = [*SOURCE.rglob("*.pyx"), *(path.with_suffix(".py") for path in SOURCE.rglob("*.pxd") if path.with_suffix(".py").exists())]
    long = [f"{shown(path)}: {lines}" for path in compiled if (lines := len(path.read_text().splitlines())) > COMPILED_FILE_LINES]
    assert not long, f"more than {COMPILED_FILE_LINES} lines: {', '.join(long)}"


def test_functions_are_short() -> None:
    long = [f"{shown(path)}: {name} {lines}" for path in PYTHON for name, lines in functions(path) if lines > FUNCTION_LINES]
    assert not long, f"more than {FUNCTION_LINES} lines: {', '.join(long)}"


def test_nearly_all_functions_are_shorter_still() -> None:
    lengths = sorted(lines for path in SOURCE.rglob("*.py") for _, lines in functions(path))
    assert lengths[int(len(lengths) * 0.95)] <= FUNCTION_LINES_P95


def test_every_module_says_what_it_is_for() -> None:
    silent = []
    for path in sorted(path for path in SOURCE.rglob("*.py") if path.read_text().strip()):
        text = ast.get_docstring(ast.parse(path.read_text(), str(path)))
        place = path.relative_to(SOURCE).as_posix()
        core = place.startswith(CORE) and not place.startswith(NOT_CORE) and path.name != "__init__.py"
        wanted = CORE_DOCSTRING_LINES if core else 1
        if len((text or "").splitlines()) < wanted:
            silent.append(f"{shown(path)} ({wanted} lines wanted)")
    assert not silent, "\n".join(silent)


def test_tests_say_what_they_are_about() -> None:
    silent = [shown(path) for path in PYTHON if path.name.startswith("test_") and ast.get_docstring(ast.parse(path.read_text())) is None]
    assert not silent


def test_modules_of_the_tests_have_names_of_their_own() -> None:
    """They are no packages: pytest would take one for the other of that name, and run neither."""
    names = Counter(path.name for path in PYTHON if PROJECT / "tests" in path.parents and path.name != "conftest.py")
    assert not [name for name, count in names.items() if count > 1]


def test_an_rfc_is_cited_by_its_number() -> None:
    wrong = []
    for path in [*SOURCE.rglob("*.py"), *CYTHON]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\bRFC\b(?!s? ?\d|s? ?nnnn)", line) and not re.search(r"\bRFC$", line.rstrip()) and "the RFC" not in line:
                wrong.append(f"{shown(path)}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def error_modules() -> list[str]:
    found = [*SOURCE.rglob("errors.py")]
    return sorted(".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in found)


@pytest.mark.parametrize("name", error_modules())
def test_the_drawn_tree_of_errors_is_the_real_one(name: str) -> None:
    module = import_module(name)
    text = module.__doc__ or ""
    defined = {item.__name__: item for item in vars(module).values() if isinstance(item, type) and item.__module__ == name}
    errors = {name: item for name, item in defined.items() if issubclass(item, BaseException)}
    drawn: dict[str, str] = {}  # error -> the one it hangs from
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if found := re.match(r"^([ │]*)(?:[├└]──? )?\s*([A-Z]\w+)", line):
            depth = len(line) - len(line.lstrip(" │├└─"))
            is_branch = "├─" in line or "└─" in line
            if not is_branch and (depth == 0 or not (hasattr(module, found[2]) or found[2] in errors)):
                continue
            above = [item for item in above if item[0] < depth]
            drawn[found[2]] = above[-1][1] if above else ""
            above.append((depth, found[2]))
    assert set(errors) <= set(drawn), f"not drawn: {', '.join(sorted(set(errors) - set(drawn)))}"
    for error, parent in drawn.items():
        if parent and error in errors:
            bases = [base.__name__ for base in errors[error].__mro__[1:]]
            assert parent in bases, f"{error} is drawn below {parent}, but descends from {', '.join(bases[:-2])}"
