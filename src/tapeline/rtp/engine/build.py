"""Which build of the engine runs: `native` is either the compiled module or, with the same functions, `plain`.

The hot modules are Python files with a `.pxd` beside them. Built, an extension module stands beside each file and Python prefers it.
`TAPELINE_COMPILED=0` runs the files themselves even then: a finder in front of Python's own names the files for just these modules.
`TAPELINE_COMPILED=1` forbids that: without a complete build the import fails. Unset, what is there is used, and a missing build is
logged once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapeline.rtp.engine import plain as native

__all__ = ["COMPILED", "native"]

HOT = ("samples", "wire", "timing", "buses", "relay", "inbound", "outbound", "coding", "taps", "moves", "loop")


class SourceFinder(MetaPathFinder):
    """Finds the hot modules' Python files, whatever stands beside them."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package != "tapeline.rtp.engine" or name not in HOT:
            return None
        return spec_from_file_location(fullname, Path(__file__).with_name(f"{name}.py"))


if not TYPE_CHECKING:
    mode = os.environ.get("TAPELINE_COMPILED", "")
    native = None
    if mode != "0":
        try:
            from tapeline.rtp.engine import native
        except ImportError:
            if mode == "1":
                raise
            logging.getLogger("tapeline.rtp").warning("the compiled engine is missing; the uncompiled one carries about 120 calls")
    if native is None:
        sys.meta_path.insert(0, SourceFinder())
        from tapeline.rtp.engine import plain as native

COMPILED: bool = native.COMPILED
