"""Reads JSON (RFC 8259) so that every value remembers where it stood.

Strict: what is not JSON is one error with its line and column. Bounded: size, depth, number of values and length of numbers have
limits, and nesting is kept on a list and not on Python's stack, so no document crashes the reader. Already parsed values (dicts,
lists) are wrapped in the same nodes, without places. This module knows no dialect.
"""

from __future__ import annotations

import bisect
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tapeline.flow.diagnostics import Place, Problems

__all__ = ["MAX_DEPTH", "MAX_SIZE", "MAX_VALUES", "Node", "read", "wrap"]

MAX_SIZE: Final = 10 * 1024 * 1024  # characters
MAX_DEPTH: Final = 400  # KAZOO nests two levels for each action
MAX_VALUES: Final = 200_000
MAX_NUMBER: Final = 64  # characters

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_ESCAPES: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX4 = re.compile(r"[0-9a-fA-F]{4}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")


class Node:
    """A JSON value and its place. `value` is None, bool, int, float, str, list[Node] or dict[str, Node].

    Line, column and path are made from the offset and the parents when somebody asks, which few do.
    """

    __slots__ = ("_key", "_lines", "_offset", "_parent", "value")

    def __init__(self, value: Any, parent: Node | None = None, key: str | int = "", offset: int = 0, lines: Sequence[int] = ()) -> None:
        self.value = value
        self._parent = parent
        self._key = key
        self._offset = offset
        self._lines = lines

    @property
    def path(self) -> str:
        parts: list[str] = []
        node = self
        while node._parent is not None:
            parts.append(_segment(node._key))
            node = node._parent
        return "".join(reversed(parts)).removeprefix(".")

    @property
    def place(self) -> Place:
        line, column = _position(self._lines, self._offset)
        return Place(line, column, self.path)

    @property
    def type(self) -> str:
        """The value's type, in JSON's words."""
        return {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}.get(
            type(self.value), "null"
        )

    def plain(self) -> Any:
        """The value without places."""
        root: list[Any] = [None]
        waiting: list[tuple[Any, Any, Node]] = [(root, 0, self)]
        while waiting:
            into, key, node = waiting.pop()
            value = node.value
            if isinstance(value, dict):
                into[key] = dict.fromkeys(value)  # keeps the order
                waiting += [(into[key], name, item) for name, item in value.items()]
            elif isinstance(value, list):
                into[key] = [None] * len(value)
                waiting += [(into[key], index, item) for index, item in enumerate(value)]
            else:
                into[key] = value
        return root[0]


def _segment(key: str | int) -> str:
    if isinstance(key, str) and len(key) <= 64 and _PLAIN_KEY.match(key):
        return "." + key
    return f"[{key[:40] if isinstance(key, str) else key!r}]"


def _position(lines: Sequence[int], offset: int) -> tuple[int, int]:
    """Line and column of an offset, from the offsets at which lines begin; both 0 where there is no text."""
    if not lines:
        return 0, 0
    line = bisect.bisect_right(lines, offset)
    return line, offset - lines[line - 1] + 1


class _Wrong(Exception):
    """The text is not JSON, or beyond a limit, at this offset."""

    def __init__(self, offset: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message
        self.hint = hint


def read(source: str | bytes, problems: Problems) -> Node | None:
    """The document's root, or None with an error in `problems`."""
    text = _decoded(source, problems)
    if text is None:
        return None
    if len(text) > MAX_SIZE:
        problems.error(Place(1, 1), f"the document is larger than {MAX_SIZE // 1024 // 1024} MB", code="INVALID_JSON")
        return None
    reader = _Reader(text, problems)
    try:
        return reader.document()
    except _Wrong as wrong:
        if text.startswith(("//", "/*", "#"), wrong.offset):
            wrong = _Wrong(wrong.offset, "JSON has no comments", "remove the comment")
        problems.error(reader.place(wrong.offset), wrong.message, hint=wrong.hint, code="INVALID_JSON")
        return None


def _decoded(source: str | bytes, problems: Problems) -> str | None:
    if isinstance(source, str):
        return source.removeprefix("\ufeff")
    try:
        return bytes(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = bytes(source)[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        problems.error(Place(line, column), "the document is not UTF-8", hint="save it as UTF-8", code="INVALID_JSON")
        return None


class _Reader:
    """One pass over the text; lists and objects that are open are kept on a list."""

    def __init__(self, text: str, problems: Problems) -> None:
        self.text = text
        self.problems = problems
        self.values = 0
        self._lines = array("I", [0])
        self._lines.extend(match.end() for match in re.finditer("\n", text))

    def place(self, offset: int) -> Place:
        return Place(*_position(self._lines, offset))

    def document(self) -> Node:
        at, root = self._tree(self._skip(0))
        at = self._skip(at)
        if at < len(self.text):
            raise _Wrong(at, "there is more after the end of the document", "a document is one JSON value")
        return root

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def _tree(self, at: int) -> tuple[int, Node]:
        """A value and all that is in it, from its first character on."""
        at, root = self._value(at)
        stack: list[Node] = [root] if self._opens(root) else []
        first = True
        while stack:
            top = stack[-1]
            at = self._skip(at)
            close = "}" if isinstance(top.value, dict) else "]"
            if self.text.startswith(close, at):
                at += 1
                stack.pop()
                first = False
                continue
            if not first:
                at = self._comma(at, close)
            at, item = self._member(at, top) if isinstance(top.value, dict) else self._item(at, top)
            first = False
            if self._opens(item):
                if len(stack) >= MAX_DEPTH:
                    raise _Wrong(at - 1, f"nested more than {MAX_DEPTH} deep")
                stack.append(item)
                first = True
        return at, root

    @staticmethod
    def _opens(node: Node) -> bool:
        return isinstance(node.value, list | dict)

    def _comma(self, at: int, close: str) -> int:
        if not self.text.startswith(",", at):
            if at >= len(self.text):
                raise _Wrong(at, f"the document ends where {close!r} or a comma must be")
            raise _Wrong(at, f"a comma or {close!r} must be here", "is a comma missing before this?")
        after = self._skip(at + 1)
        if self.text.startswith(close, after):
            raise _Wrong(at, f"a comma before {close!r}", "remove the comma")
        return after

    def _item(self, at: int, into: Node) -> tuple[int, Node]:
        at, item = self._value(at, into, len(into.value))
        into.value.append(item)
        return at, item

    def _member(self, at: int, into: Node) -> tuple[int, Node]:
        if not self.text.startswith('"', at):
            raise _Wrong(at, "a key in double quotes must be here" if at < len(self.text) else "the document ends within an object")
        start = at
        at, key = self._string(at)
        at = self._skip(at)
        if not self.text.startswith(":", at):
            raise _Wrong(at, "a colon must be here, after the key")
        if key in into.value:
            self.problems.warning(self.place(start), f"the key {key[:64]!r} is here twice", hint="the last one counts")
        at, item = self._value(self._skip(at + 1), into, key)
        into.value[key] = item
        return at, item

    def _value(self, at: int, parent: Node | None = None, key: str | int = "") -> tuple[int, Node]:
        """A scalar, or an empty list or object whose content is still to be read."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise _Wrong(at, f"more than {MAX_VALUES} values")
        begin = at
        start = self.text[at : at + 1]
        value: Any
        match = _NUMBER.match(self.text, at)
        word = next((word for word in _WORDS if self.text.startswith(word, at)), "")
        if start == "{":
            at, value = at + 1, {}
        elif start == "[":
            at, value = at + 1, []
        elif start == '"':
            at, value = self._string(at)
        elif match:
            at, value = match.end(), self._number(match)
        elif word:
            at, value = at + len(word), _WORDS[word]
        else:
            raise self._no_value(at, start)
        return at, Node(value, parent, key, begin, self._lines)

    @staticmethod
    def _no_value(at: int, start: str) -> _Wrong:
        if not start:
            return _Wrong(at, "the document ends where a value must be" if at else "the document is empty")
        hint = "strings stand in double quotes" if start == "'" or start.isalpha() else ""
        return _Wrong(at, f"a value must be here, not {start!r}", hint)

    @staticmethod
    def _number(match: re.Match[str]) -> int | float:
        literal = match.group()
        if len(literal) > MAX_NUMBER:
            raise _Wrong(match.start(), f"a number of more than {MAX_NUMBER} characters")
        if match.group(1) is None and match.group(2) is None:
            return int(literal)
        number = float(literal)
        if not math.isfinite(number):
            raise _Wrong(match.start(), "the number is too large")
        return number

    def _string(self, at: int) -> tuple[int, str]:
        """The string whose opening quote stands at `at`."""
        start = at
        at += 1
        parts: list[str] = []
        while True:
            match = _PLAIN.match(self.text, at)
            assert match is not None  # it matches the empty text
            parts.append(match.group())
            at = match.end()
            stop = self.text[at : at + 1]
            if stop == '"':
                return at + 1, self._sound("".join(parts), start)
            if stop != "\\":
                raise _Wrong(at if stop else start, "a raw line break or control character in a string" if stop else "a string without end")
            at, char = self._escape(at)
            parts.append(char)

    def _escape(self, at: int) -> tuple[int, str]:
        kind = self.text[at + 1 : at + 2]
        if kind in _ESCAPES and kind:
            return at + 2, _ESCAPES[kind]
        if kind == "u" and _HEX4.match(self.text, at + 2):
            code = int(self.text[at + 2 : at + 6], 16)
            low = self.text[at + 6 : at + 12]
            if 0xD800 <= code < 0xDC00 and low.startswith("\\u") and _HEX4.match(low, 2) and 0xDC00 <= int(low[2:], 16) < 0xE000:
                return at + 12, chr(0x10000 + ((code - 0xD800) << 10) + int(low[2:], 16) - 0xDC00)
            return at + 6, chr(code)
        raise _Wrong(at, "no such escape in a string", 'a backslash itself is written "\\\\"')

    def _sound(self, text: str, start: int) -> str:
        """Texts go to speech, rows and wires: none of these takes NUL or half a character."""
        if "\0" in text:
            raise _Wrong(start, "a NUL character in a string")
        if _SURROGATE.search(text):
            self.problems.warning(self.place(start), "half a surrogate pair in a string", hint="it is replaced")
            return _SURROGATE.sub("\ufffd", text)
        return text


def wrap(value: Any, problems: Problems) -> Node | None:
    """Parsed JSON as nodes without line and column; None with an error in `problems` where it could not have come from JSON."""
    root = Node(None)
    # each entry: the node to fill, its value, its depth
    waiting: list[tuple[Node, Any, int]] = [(root, value, 0)]
    count = 0
    while waiting:
        node, item, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            problems.error(node.place, "the document is too deep or has too many values", code="INVALID_JSON")
            return None
        if isinstance(item, dict):
            node.value = {}
            for key, child in _texts(item, problems, node.place):
                node.value[key] = Node(None, node, key)
                waiting.append((node.value[key], child, depth + 1))
        elif isinstance(item, list | tuple):
            node.value = [Node(None, node, index) for index in range(len(item))]
            waiting += [(child, part, depth + 1) for child, part in zip(node.value, item, strict=True)]
        elif isinstance(item, str):
            node.value = _SURROGATE.sub("\ufffd", item).replace("\0", "")
        elif item is None or isinstance(item, bool | int) or (isinstance(item, float) and math.isfinite(item)):
            node.value = item
        else:
            problems.error(node.place, f"a {type(item).__name__} is not a JSON value", code="INVALID_JSON")
            return None
    return root


def _texts(item: dict[Any, Any], problems: Problems, place: Place) -> Iterator[tuple[str, Any]]:
    for key, child in item.items():
        if isinstance(key, str):
            yield _SURROGATE.sub("\ufffd", key), child
        else:
            problems.warning(place, f"the key {str(key)[:40]!r} is not a text", hint="it is left out")
