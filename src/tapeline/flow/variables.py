"""The variables of one call, and `${name}` in texts.

One store serves every dialect. What the system itself sets is named `tapeline.call.*`, `tapeline.recording.*`,
`tapeline.activeflow.*`; VoIPBIN's names for the same (`voipbin.call.source.target`) are aliases of these. All other names are the
document's own. The store is bounded, so that no loop of assignments can fill the memory. It knows nothing of calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["DIGITS", "MAX_TEXT", "MAX_TOTAL", "MAX_VALUE", "Variables"]

DIGITS = "tapeline.call.digits"  # the keys that the caller pressed
MAX_VALUE = 65_536  # characters of one value
MAX_TOTAL = 4_194_304  # characters of all names and values
MAX_TEXT = 65_536  # characters of a text after substitution, where it was not longer before

_ALIASES = {"voipbin.": "tapeline."}
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")


def _canonical(name: str) -> str:
    name = name.strip()
    for prefix, own in _ALIASES.items():
        if name.startswith(prefix):
            return own + name[len(prefix) :]
    return name


class Variables:
    """Names to texts. Unknown names read as the empty text."""

    def __init__(self, initial: Mapping[str, str] | None = None) -> None:
        self._values: dict[str, str] = {}
        self._total = 0
        for name, value in (initial or {}).items():
            self.set(name, value)

    def get(self, name: str) -> str:
        return self._values.get(_canonical(name), "")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _canonical(name) in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def set(self, name: str, value: str) -> bool:
        """Set `name`; a value beyond MAX_VALUE is cut. False, and nothing is changed, when the store is full."""
        name = _canonical(name)
        value = value[:MAX_VALUE]
        total = self._total + len(value) - len(self._values.get(name, ""))
        if name not in self._values:
            total += len(name)
        if total > MAX_TOTAL:
            return False
        self._values[name] = value
        self._total = total
        return True

    def unset(self, name: str) -> None:
        name = _canonical(name)
        if name in self._values:
            self._total -= len(name) + len(self._values.pop(name))

    def substitute(self, text: str) -> str:
        """`text` with every `${name}` replaced by its value (once: a value is not looked into).

        The result is cut where it is longer than both `text` and MAX_TEXT, so that a document cannot grow itself.
        """
        if "${" not in text:
            return text
        most = max(MAX_TEXT, len(text))
        parts: list[str] = []
        size = end = 0
        for match in _REFERENCE.finditer(text):
            for part in (text[end : match.start()], self.get(match.group(1))):
                parts.append(part)
                size += len(part)
            end = match.end()
            if size >= most:
                break
        else:
            parts.append(text[end:])
        return "".join(parts)[:most]

    def as_dict(self) -> dict[str, str]:
        """A copy of all, by their own names."""
        return dict(self._values)
