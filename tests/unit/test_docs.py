"""The names that the pages of the project speak of exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tapeline import flow

PROJECT = Path(__file__).parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("src/**/README.md")])
NAME = re.compile(r"`(tapeline(?:\.[A-Za-z_][A-Za-z0-9_]*)+)(?:\([^`]*\))?`")
PACKAGES = sorted(path.name for path in (PROJECT / "src/tapeline").iterdir() if (path / "__init__.py").is_file())
OURS = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+)`")
MODULES = re.compile(r"^\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \|", re.MULTILINE)  # a row of a README's table of modules begins with them
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def resolve(name: str) -> bool:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_dotted_names_resolve(page: Path) -> None:
    missing = [name for name in NAME.findall(page.read_text()) if not name.endswith((".toml", ".sqlite")) and not resolve(name)]
    assert not missing


def test_the_architecture_s_names_resolve() -> None:
    names = OURS.findall((PROJECT / "docs/architecture.md").read_text())
    assert names and not [name for name in names if not resolve(f"tapeline.{name}")]


def test_the_modules_that_calls_lists_are_there() -> None:
    cells = MODULES.findall((PROJECT / "src/tapeline/calls/README.md").read_text())
    listed = [name for cell in cells for name in re.findall(r"[a-z_.]+", cell)]
    assert listed and not [name for name in listed if not resolve(f"tapeline.calls.{name}")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_the_readme_s_flows_have_no_problems() -> None:
    documents = re.findall(r"```json\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert documents
    for found in map(flow.compile, documents):
        assert found.program is not None and not found.problems


def test_every_package_has_its_page() -> None:
    packages = [path for path in (PROJECT / "src/tapeline").iterdir() if path.is_dir() and any(path.glob("*.py")) and path.name != "web"]
    missing = [path.name for path in packages if path.name not in ("core",) and not (path / "README.md").is_file()]
    assert not missing
