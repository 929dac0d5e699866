"""The filters of KAZOO's lists: `filter_KEY`, `filter_not_KEY`, `has_key`, `key_missing`, `has_value`, `value_missing`, `modified_from/to`.

They compare with the document as it is answered, exactly and as text; paths may be dotted, and a value may be a JSON list of those that are
right. What a column holds as well is asked of the database (`columns`), so that a list of one call does not read the account's month.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tapeline.core.errors import InvalidInput
from tapeline.core.ids import is_id

__all__ = ["Test", "columns", "filters", "fits", "plain"]

MOST_TESTS = 50
DEEPEST = 20  # parts of a path

Test = tuple[str, str, frozenset[str]]  # kind, dotted path, values


def filters(query: Mapping[str, str], fixed: Mapping[str, frozenset[str]]) -> list[Test]:
    """What a document must fulfil: all of these, and of `fixed` a field's values. Raises InvalidInput."""
    tests: list[Test] = [("filter", name, values) for name, values in fixed.items()]
    for name, value in query.items():
        for prefix in ("filter_not_", "filter_"):
            if name.startswith(prefix):
                tests.append((prefix.rstrip("_"), name.removeprefix(prefix), frozenset(_values(value))))
                break
        if name in ("has_key", "key_missing", "has_value", "value_missing"):
            tests += [(name, path, frozenset()) for path in _values(value)]
    if len(tests) > MOST_TESTS:
        raise InvalidInput(f"more than {MOST_TESTS} filters", reason="INVALID_REQUEST_PARAMETER")
    return tests


def columns(query: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What of it the database can look for. A call's id that is one of ours is not the SIP Call-ID that the column holds."""
    wanted = _values(query["filter_call_id"]) if "filter_call_id" in query else []
    return {"sip_call_id": tuple(wanted)} if wanted and not any(is_id(value) or not plain(value) for value in wanted) else {}


def plain(text: str) -> bool:
    """Whether any database takes it: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _values(text: str) -> list[str]:
    """A JSON list of texts, or the text itself."""
    if text.startswith("["):
        try:
            return [str(item) for item in json.loads(text)]
        except (ValueError, RecursionError):
            pass
    return [text]


def fits(told: Mapping[str, Any], tests: list[Test]) -> bool:
    return all(_passes(_at(told, path), kind, values) for kind, path, values in tests)


def _passes(value: Any, kind: str, values: frozenset[str]) -> bool:
    if kind == "filter":
        return value is not None and _text(value) in values
    if kind == "filter_not":
        return value is None or _text(value) not in values
    if kind in ("has_key", "key_missing"):
        return (value is not None) == (kind == "has_key")
    return (value not in (None, "", [], {})) == (kind == "has_value")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _at(told: Mapping[str, Any], path: str) -> Any:
    value: Any = told
    for part in path.split(".", DEEPEST):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
