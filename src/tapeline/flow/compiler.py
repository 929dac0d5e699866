"""From a document to a program: reads the JSON, finds the dialect by the document's shape, and lets the dialect do the rest.

Whatever comes in, the answer is a `Compilation` with every problem found. Reads no file and fetches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tapeline.flow.diagnostics import Problems
from tapeline.flow.dialects.registry import DIALECTS
from tapeline.flow.errors import DialectUnknown
from tapeline.flow.jsondoc import Node, read, wrap
from tapeline.flow.program import Compilation

__all__ = ["compile"]

Source = str | bytes | Mapping[str, Any] | Sequence[Any]


def compile(source: Source, *, dialect: str | None = None, nested: bool = False) -> Compilation:
    """Compile a document: JSON text, or what was parsed from it.

    `dialect` None: found by the document's shape. `nested`: the document will be run from within another one, so targets that it
    does not hold may be in that one. Raises DialectUnknown where `dialect` is not one of the known names.
    """
    if dialect is not None and dialect not in DIALECTS:
        raise DialectUnknown(f"no dialect {dialect!r}", hint="one of " + ", ".join(sorted(DIALECTS)))
    problems = Problems()
    root = read(source, problems) if isinstance(source, str | bytes) else wrap(source, problems)
    if root is None:
        return Compilation(None, problems.sorted(), dialect or "")
    name = dialect or _found(root)
    if name in DIALECTS:
        program = DIALECTS[name].compile(root, problems, nested=nested)
        return Compilation(None if problems.failed else program, problems.sorted(), name)
    hint = 'VoIPBIN: {"actions": [...]}; Vonage: [{"action": ...}]; KAZOO: {"module": ...} or {"flow": ...}'
    problems.error(root.place, "this is no call flow of a known dialect", hint=hint, code="DIALECT_UNKNOWN")
    return Compilation(None, problems.sorted(), name)


def _found(root: Node) -> str:
    return next((name for name, dialect in DIALECTS.items() if dialect.recognises(root)), "")
