"""Regular expressions in documents: whoever wrote one, it is quick.

They are matched in time that grows only with the length of what they are tried on, and in bounded memory; so there are no lookarounds
and no back-references.
"""

from __future__ import annotations

from typing import Any

import re2

from tapeline.core.errors import InvalidInput

__all__ = ["compile_pattern"]

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 20  # of one pattern


def compile_pattern(text: str) -> Any:
    """The expression, with `search` and matches as those of `re`. Raises InvalidInput."""
    try:
        return re2.compile(text, _OPTIONS)
    except re2.error as error:
        said = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        raise InvalidInput(f"not a regular expression: {said}", hint="lookarounds and back-references are not taken") from error
