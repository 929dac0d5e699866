"""The dialects that documents may be written in, and how each is told by its shape.

A dialect is one module here with a `DIALECT`; adding one is adding the module and its line. Dialects of which only the shape is known
yet stand in `LATER`, so that their documents are named in the diagnostic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tapeline.flow.dialects import kazoo, voipbin
from tapeline.flow.dialects.dialect import Dialect
from tapeline.flow.jsondoc import Node

__all__ = ["DIALECTS", "LATER", "Shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A dialect that is recognised and not compiled."""

    title: str
    recognises: Callable[[Node], bool]


def _is_vonage(root: Node) -> bool:
    items = root.value if isinstance(root.value, list) else []
    return any(isinstance(item.value, dict) and "action" in item.value for item in items)


DIALECTS: Final[Mapping[str, Dialect]] = {dialect.name: dialect for dialect in (voipbin.DIALECT, kazoo.DIALECT)}
LATER: Final[Mapping[str, Shape]] = {"vonage": Shape("Vonage", _is_vonage)}
