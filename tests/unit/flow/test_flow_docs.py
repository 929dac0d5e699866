"""docs/flows.md tells of every action type that compiles, and its examples are true."""

from pathlib import Path

from tapeline.flow.dialects.kazoo.modules import MODULES
from tapeline.flow.dialects.voipbin.actions import TYPES

DOCS = Path(__file__).parents[3] / "docs" / "flows.md"


def test_every_action_type_is_documented() -> None:
    text = DOCS.read_text()
    passed_over = text.partition("## What is read and passed over")[2]
    missing = [name for name in TYPES if f"### {name}\n" not in text and f"`{name}`" not in passed_over]
    assert not missing


def test_no_action_is_documented_that_does_not_exist() -> None:
    headings = [line[4:] for line in DOCS.read_text().splitlines() if line.startswith("### ")]
    assert headings and not [name for name in headings if name not in TYPES]


def test_every_module_of_kazoo_is_documented() -> None:
    text = (DOCS.parent / "kazoo.md").read_text()
    assert not [name for name in MODULES if f"`{name}`" not in text]
