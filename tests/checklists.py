"""Checklists as tables: each line of one names the tests that show it, as `path::test`, or `path` for a whole file of them.

Paths are below tests/.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent


@cache
def defined(path: str) -> frozenset[str]:
    """The names of the functions in a file."""
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def is_there(where: str) -> bool:
    """Whether there is the test, or any function in the file, that `where` names."""
    path, _, name = where.partition("::")
    return name in defined(path) if name else bool(defined(path))
