"""The arrows between packages are those of docs/architecture.md, and no others; what does no I/O imports nothing that could."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SOURCE = PROJECT / "src" / "tapeline"
TESTS = PROJECT / "tests"

# Package -> what it may import of ours, as prefixes of module names. `cli` and `app` may import all.
ALLOWED: dict[str, tuple[str, ...]] = {
    "core": (),
    "sip": ("core",),
    "rtp": ("core",),
    "audio": ("core",),
    "flow": ("core",),
    "store": ("core",),
    "recording": ("core", "rtp.frames", "audio"),
    "delivery": ("core", "store", "audio", "recording"),
    "calls": ("core", "sip", "rtp", "audio", "recording", "flow", "store"),
    "api": ("core", "calls", "store", "delivery"),
    "web": ("core", "api"),
    "testing": ("core", "sip", "rtp", "audio", "flow", "store", "recording", "delivery", "calls", "api", "web"),
}
UNBOUND = ("cli", "app", "__main__")

# Modules that take bytes and `now` and give bytes, events and deadlines; and those below them that own sockets, threads or clocks.
SANS_IO = ("core", "flow", "sip", "rtp", "recording.session", "recording.timeline", "recording.table")
WITH_IO = ("core.clock", "core.settings", "sip.transports", "rtp.engine")
FORBIDDEN_IN_SANS_IO = {"asyncio", "socket", "threading", "time", "random", "secrets", "os", "selectors", "ssl"}

HTTP_CLIENTS = {"httpx2", "httpx", "httpcore2", "aiohttp", "requests", "urllib3", "http.client", "urllib.request"}
MAY_USE_HTTP_CLIENTS = ("delivery.http", "testing", "cli")


@dataclass(frozen=True)
class Import:
    """One import: who (dotted, below tapeline), what (dotted, whole), and whether it happens when the module is loaded."""

    importer: str
    imported: str
    line: int
    at_load: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "__init__"


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imports_of(name: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(), str(path))
    late = {id(node) for scope in ast.walk(tree) if _is_late(scope) for node in ast.walk(scope)}
    for node in ast.walk(tree):
        at_load = id(node) not in late
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno, at_load)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                known = whole.removeprefix("tapeline.") in modules()
                yield Import(name, whole if known else str(node.module), node.lineno, at_load)


def _is_late(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return True
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def cython_imports_of(path: Path) -> Iterator[Import]:
    name = module_name(path)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if found := re.match(r"\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", line):
            yield Import(name, found[1] or found[2], number, True)


@cache
def all_imports() -> tuple[Import, ...]:
    found = [item for name, path in modules().items() for item in imports_of(name, path)]
    for suffix in ("*.pyx", "*.pxd"):
        found += [item for path in sorted(SOURCE.rglob(suffix)) for item in cython_imports_of(path)]
    return tuple(found)


def below(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def ours() -> Iterator[tuple[Import, str]]:
    """The imports of our own modules, with the imported name below tapeline."""
    for item in all_imports():
        if item.imported.startswith("tapeline."):
            yield item, item.imported.removeprefix("tapeline.")


def test_every_package_has_its_row() -> None:
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages <= {*ALLOWED, *UNBOUND}


def test_arrows_are_those_of_the_table() -> None:
    wrong = []
    for item, imported in ours():
        package = item.importer.partition(".")[0]
        if package in UNBOUND or package == "__init__":
            continue
        if not below(imported, (package, *ALLOWED[package])):
            wrong.append(f"{item.importer} (line {item.line}) imports tapeline.{imported}")
    assert not wrong, "\n".join(wrong)


def test_only_the_demonstration_uses_the_test_kit() -> None:
    users = {item.importer for item, imported in ours() if below(imported, ("testing",)) and not below(item.importer, ("testing",))}
    assert all(below(user, ("cli.demo",)) for user in users), users


def test_only_the_composition_root_and_the_commands_import_the_composition_root() -> None:
    users = {item.importer for item, imported in ours() if below(imported, ("app",))}
    assert all(below(user, ("cli", "__main__", "app")) for user in users), users


def test_packages_do_not_import_each_other_in_a_ring() -> None:
    graph: dict[str, set[str]] = {}
    for item, imported in ours():
        source, target = item.importer.partition(".")[0], imported.partition(".")[0]
        if source != target:
            graph.setdefault(source, set()).add(target)
    assert not (ring := find_ring(graph)), " -> ".join(ring)


def test_modules_do_not_import_each_other_in_a_ring() -> None:
    """When loaded; what is imported for types alone, or within a function, cannot go round."""
    graph: dict[str, set[str]] = {}
    for item, imported in ours():
        if item.at_load and imported != item.importer and imported in modules():
            graph.setdefault(item.importer, set()).add(imported)
    assert not (ring := find_ring(graph)), " -> ".join(ring)


def find_ring(graph: dict[str, set[str]]) -> list[str]:
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for following in sorted(graph.get(node, ())):
            if ring := visit(following, [*path, node]):
                return ring
        done.add(node)
        return []

    return next((ring for node in sorted(graph) if (ring := visit(node, []))), [])


def test_a_ring_is_found() -> None:
    assert find_ring({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert find_ring({"a": {"b", "c"}, "b": {"c"}}) == []


def test_what_does_no_io_imports_nothing_that_could() -> None:
    wrong = [
        f"{item.importer} (line {item.line}) imports {item.imported}"
        for item in all_imports()
        if below(item.importer, SANS_IO)
        and not below(item.importer, WITH_IO)
        and item.imported.partition(".")[0] in FORBIDDEN_IN_SANS_IO
    ]
    assert not wrong, "\n".join(wrong)


def test_the_core_needs_only_the_standard_library_and_pydantic() -> None:
    allowed = {*sys.stdlib_module_names, "tapeline", "pydantic", "pydantic_settings"}
    needed = {item.imported.partition(".")[0] for item in all_imports() if below(item.importer, ("core",))}
    assert needed <= allowed, needed - allowed


def test_outgoing_http_goes_through_the_guarded_client_alone() -> None:
    wrong = [
        f"{item.importer} (line {item.line}) imports {item.imported}"
        for item in all_imports()
        if below(item.imported, tuple(HTTP_CLIENTS)) and not below(item.importer, MAY_USE_HTTP_CLIENTS)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_mocked() -> None:
    # The name is put together so that this file does not find itself.
    word = "unittest" + ".mock"
    users = [str(path.relative_to(PROJECT)) for root in (SOURCE, TESTS) for path in root.rglob("*.py") if word in path.read_text()]
    assert not users


@pytest.mark.parametrize("folder", ["unit", "sim"])
def test_quick_tests_do_not_wait_for_real_time(folder: str) -> None:
    """`asyncio.sleep(0)`, which only lets others run, waits for nothing."""
    wrong = []
    for path in sorted((TESTS / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if not isinstance(node, ast.Call) or ast.unparse(node) == "asyncio.sleep(0)":
                continue
            if ast.unparse(node.func).rpartition(".")[2] == "sleep":
                wrong.append(f"{path.relative_to(PROJECT)}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)
