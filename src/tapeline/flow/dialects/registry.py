"""The dialects that documents may be written in, and how each is told by its shape.

A dialect is one module here with a `DIALECT`; adding one is adding the module and its line. The first whose shape fits is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tapeline.flow.dialects import kazoo, voipbin, vonage
from tapeline.flow.dialects.dialect import Dialect

__all__ = ["DIALECTS"]

DIALECTS: Final[Mapping[str, Dialect]] = {dialect.name: dialect for dialect in (voipbin.DIALECT, kazoo.DIALECT, vonage.DIALECT)}
