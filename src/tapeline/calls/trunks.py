"""The trunks of the settings: which of them take a number, under what digits, and how many calls each has now.

Registrations are kept by the endpoint; here only whether one stands is known, so that a trunk that is not registered is tried last.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tapeline import sip
from tapeline.core.errors import InvalidInput
from tapeline.core.settings import Trunk

__all__ = ["Trunks", "trunk_uri"]


class Trunks:
    """Raises InvalidInput where a trunk of the settings cannot be used."""

    def __init__(self, trunks: Sequence[Trunk]) -> None:
        self._trunks = list(trunks)
        self._patterns: dict[str, re.Pattern[str]] = {}
        self._calls: Counter[str] = Counter()
        self._down: set[str] = set()
        for trunk in trunks:
            if trunk.name in self._patterns:
                raise InvalidInput(f"two trunks have the name {trunk.name!r}")
            trunk_uri(trunk)
            self._patterns[trunk.name] = _pattern(trunk)

    def __iter__(self) -> Iterator[Trunk]:
        return iter(self._trunks)

    def for_number(self, number: str) -> list[Trunk]:
        """Those that take `number` and have a line free, in the settings' order; those that are not registered come last."""
        fitting = [trunk for trunk in self._trunks if self._patterns[trunk.name].search(number) and not self._full(trunk)]
        return sorted(fitting, key=lambda trunk: trunk.name in self._down)

    def _full(self, trunk: Trunk) -> bool:
        return bool(trunk.max_calls) and self._calls[trunk.name] >= trunk.max_calls

    def dialled(self, number: str, trunk: Trunk) -> str:
        """The request URI for `number` over `trunk`."""
        return str(replace(trunk_uri(trunk), user=trunk.prefix + number[trunk.strip :], text=""))

    def took(self, name: str) -> None:
        """A call goes out over the trunk."""
        self._calls[name] += 1

    def freed(self, name: str) -> None:
        """That call is over."""
        self._calls[name] -= 1

    def registered(self, name: str, stands: bool) -> None:
        (self._down.discard if stands else self._down.add)(name)


def trunk_uri(trunk: Trunk) -> sip.Uri:
    """Where a trunk is. Raises InvalidInput."""
    text = trunk.target if trunk.target.lower().startswith(("sip:", "sips:")) else f"sip:{trunk.target}"
    try:
        return sip.parse_uri(text)
    except sip.MalformedUri as error:
        said = f"trunk {trunk.name!r}: {trunk.target!r} is no SIP address: {error.message}"
        raise InvalidInput(said, hint='write it as target = "sip:HOST:PORT"') from error


def _pattern(trunk: Trunk) -> re.Pattern[str]:
    match = trunk.match
    if len(match) > 1 and match.startswith("/") and match.endswith("/"):
        try:
            return re.compile(match[1:-1])
        except re.error as error:
            raise InvalidInput(f"trunks.match {match!r} is not a regular expression: {error}") from error
    return re.compile(rf"\A{re.escape(match)}")  # a prefix; none fits all
