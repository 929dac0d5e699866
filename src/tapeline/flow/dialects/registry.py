"""The dialects that documents may be written in, and how each is told by its shape.

A dialect is a package here whose `document` has a `DIALECT`; adding one is adding the package and its line. The first
whose shape fits is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tapeline.flow.dialects.dialect import Dialect
from tapeline.flow.dialects.kazoo import document as kazoo
from tapeline.flow.dialects.voipbin import document as voipbin
from tapeline.flow.dialects.vonage import document as vonage

__all__ = ["DIALECTS"]

DIALECTS: Final[Mapping[str, Dialect]] = {dialect.name: dialect for dialect in (voipbin.DIALECT, kazoo.DIALECT, vonage.DIALECT)}
