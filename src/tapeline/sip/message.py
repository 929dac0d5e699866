"""Messages: bytes to `Request` or `Response` and back.

The head is split into lines once; what a header means is read when somebody asks for it. Header text is UTF-8 with surrogateescape,
so any bytes survive; a header nobody knows is kept as it came, name included. The body is bytes and stays bytes: Content-Length counts
octets. What is refused is refused with the status that tells the peer so (RFC 3261 sections 7, 18.3, 20; RFC 4475 section 3). Where we
are lenient, the leniency has a name in `Leniency`, and the message says which of them it needed. This module knows nothing of sockets,
transactions or dialogs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from tapeline.sip.errors import MalformedMessage, MalformedUri
from tapeline.sip.headers import TOKEN, NameAddr, Via, parse_cseq, parse_name_addr, parse_via, quality, split_list
from tapeline.sip.uri import Uri, parse_uri

__all__ = [
    "COMPACT",
    "REASONS",
    "Field",
    "Leniency",
    "Message",
    "Request",
    "Response",
    "contacts_of",
    "content_length",
    "parse_message",
    "reply_fields",
    "whole_lines",
]

Field = tuple[str, str]

COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition", "e": "content-encoding", "f": "from",
    "i": "call-id", "j": "reject-contact", "k": "supported", "l": "content-length", "m": "contact", "n": "identity-info", "o": "event",
    "r": "refer-to", "s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
}  # fmt: skip

REASONS = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress", 199: "Early Dialog Terminated",
    200: "OK", 202: "Accepted", 300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
    380: "Alternative Service", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone",
    412: "Conditional Request Failed", 413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type",
    416: "Unsupported URI Scheme", 417: "Unknown Resource-Priority", 420: "Bad Extension", 421: "Extension Required",
    422: "Session Interval Too Small", 423: "Interval Too Brief", 424: "Bad Location Information", 428: "Use Identity Header",
    429: "Provide Referrer Identity", 430: "Flow Failed", 433: "Anonymity Disallowed", 436: "Bad Identity-Info",
    437: "Unsupported Certificate", 438: "Invalid Identity Header", 439: "First Hop Lacks Outbound Support", 440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected",
    483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending", 493: "Undecipherable", 494: "Security Agreement Required",
    500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Server Time-out",
    505: "Version Not Supported", 513: "Message Too Large", 580: "Precondition Failed", 600: "Busy Everywhere", 603: "Decline",
    604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted", 608: "Rejected",
}  # fmt: skip

_MOST_HEADERS = 512
_MOST_CONTACTS = 16  # of a redirection
_FOLD = re.compile(r"[ \t]*\n[ \t]+")
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2}) (.*)", re.IGNORECASE)
_VERSION = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE)
_SINGLE = ("from", "to", "call-id", "cseq")
_KEYS: dict[str, str] = {}  # names as commonly written, so that most need no lower()
for _name in ("Via", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards", "Content-Length", "Content-Type", "User-Agent", "Allow",
              "Supported", "Require", "Route", "Record-Route", "Accept", "Subject", "Server", "Call-Id", "Expires", "Date"):  # fmt: skip
    _KEYS[_name] = _name.lower()
_KEYS |= COMPACT


class Leniency(StrEnum):
    """What we take although the grammar does not allow it. Each is tested by its name."""

    BARE_LINE_FEEDS = "lines end in LF, or some do, instead of CRLF"
    LEADING_BLANK_LINES = "blank lines before the start line (also as keep-alive, RFC 3261 section 7.5)"
    NO_BLANK_LINE = "the head is not closed by a blank line in a datagram without body"
    LINE_WITHOUT_COLON = "a header line without a colon is passed over"
    LOWER_CASE_VERSION = "SIP/2.0 in other case than upper"
    NO_MAX_FORWARDS = "a request without Max-Forwards (as RFC 2543 allows)"
    NO_COOKIE = "a branch that does not begin with z9hG4bK, or is nothing but that (as RFC 2543 allows)"
    NO_FROM_TAG = "a From without tag (as RFC 2543 allows)"
    NO_CONTACT = "an INVITE without Contact (as RFC 2543 allows); its From is where the caller is"
    REPEATED_LENGTH = "Content-Length more than once, with the same number each time"


class Message:
    """What requests and responses share: headers in their order, and a body.

    `fields` holds (name as written, value with folds resolved); `get` and `all` find by name in any case or compact form.
    """

    __slots__ = ("_cseq", "_from", "_index", "_to", "_via", "body", "fields", "leniencies")

    def __init__(self, fields: list[Field], body: bytes, index: dict[str, list[str]] | None = None) -> None:
        self.fields = fields
        self.body = body
        self.leniencies: tuple[Leniency, ...] = ()
        self._index = index
        self._via: Via | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None
        self._cseq: tuple[int, str] | None = None

    @property
    def start_line(self) -> str:
        raise TypeError("only requests and responses have a start line")

    def _indexed(self) -> dict[str, list[str]]:
        index = self._index
        if index is None:
            index = self._index = {}
            for name, value in self.fields:
                index.setdefault(_KEYS.get(name) or header_key(name), []).append(value)
        return index

    def get(self, name: str) -> str | None:
        """The first value of a header, or None. `name` is the long form, lower case."""
        values = (self._index or self._indexed()).get(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """Every line of a header, in order, lists not taken apart."""
        return (self._index or self._indexed()).get(name) or []

    def items(self, name: str) -> list[str]:
        """Every value of a header that is a list, across lines and commas."""
        return [item for line in self.all(name) for item in split_list(line) if item]

    def tokens(self, name: str) -> list[str]:
        """A list header's values in lower case, parameters left off: option tags, media ranges and the like."""
        return [item.partition(";")[0].strip().lower() for item in self.items(name)]

    @property
    def via(self) -> Via:
        """The topmost Via. Raises MalformedMessage."""
        if self._via is None:
            values = self.all("via")
            if not values:
                raise MalformedMessage("no Via")
            self._via = parse_via(split_list(values[0])[0])
        return self._via

    @property
    def from_(self) -> NameAddr:
        if self._from is None:
            self._from = parse_name_addr(self.need("from"))
        return self._from

    @property
    def to(self) -> NameAddr:
        if self._to is None:
            self._to = parse_name_addr(self.need("to"))
        return self._to

    @property
    def cseq(self) -> tuple[int, str]:
        if self._cseq is None:
            self._cseq = parse_cseq(self.need("cseq"))
        return self._cseq

    @property
    def call_id(self) -> str:
        return self.need("call-id")

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact, or None where there is none or it is `*`."""
        values = self.items("contact")
        return parse_name_addr(values[0]) if values and values[0] != "*" else None

    @property
    def content_type(self) -> str:
        """Type and subtype in lower case, parameters left off; "" where there is no such header."""
        return (self.get("content-type") or "").partition(";")[0].strip().lower()

    def need(self, name: str) -> str:
        value = self.get(name)
        if not value:
            raise MalformedMessage(f"no {name}")
        return value

    def serialise(self) -> bytes:
        """The message as octets. Content-Length is set to the body's length, whatever the fields say."""
        lines = [self.start_line]
        lines += [f"{name}: {value}" for name, value in self.fields if name not in _LENGTHS]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body


_LENGTHS = frozenset(("Content-Length", "l", "L", "content-length", "Content-length", "CONTENT-LENGTH"))


class Request(Message):
    """A request. `uri_text` is the Request-URI as written; `uri` reads it. `tries`: how often it was sent again after a 401 or 407."""

    __slots__ = ("method", "tries", "uri_text")

    def __init__(self, method: str, uri: str, fields: list[Field], body: bytes = b"", index: dict[str, list[str]] | None = None) -> None:
        super().__init__(fields, body, index)
        self.method = method
        self.uri_text = uri
        self.tries = 0

    @property
    def start_line(self) -> str:
        return f"{self.method} {self.uri_text} SIP/2.0"

    @property
    def uri(self) -> Uri:
        """Raises MalformedUri."""
        return parse_uri(self.uri_text)


class Response(Message):
    """A response. `reason` is text for people and may be empty."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str, fields: list[Field], body: bytes = b"", index: dict[str, list[str]] | None = None) -> None:
        super().__init__(fields, body, index)
        self.status = status
        self.reason = reason

    @property
    def start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"


def header_key(name: str) -> str:
    """The one key of a header's name: long form, lower case."""
    lowered = name.strip().lower()
    return COMPACT.get(lowered, lowered)


def whole_lines(fields: Iterable[Field]) -> list[Field]:
    """Headers from outside, which must not make more lines than they are. Raises ValueError."""
    checked = list(fields)
    for name, value in checked:
        if not TOKEN.fullmatch(name) or "\n" in value or "\r" in value:
            raise ValueError(f"a header that is none: {name!r}")
    return checked


def reply_fields(request: Request, to_tag: str = "") -> list[Field]:
    """What each response copies from its request (RFC 3261 section 8.2.6.2); `to_tag` is added where To has none.

    Also fit for a broken request: what it lacks is left out.
    """
    fields = [("Via", value) for value in request.all("via")]
    for name, key in (("From", "from"), ("To", "to"), ("Call-ID", "call-id"), ("CSeq", "cseq")):
        value = request.get(key)
        if value is not None:
            if to_tag and key == "to" and not _has_tag(value):
                value = f"{value};tag={to_tag}"
            fields.append((name, value))
    return fields


def contacts_of(response: Response) -> tuple[str, ...]:
    """The URIs of a redirection that can be called, each once, best first (RFC 3261 section 8.1.3.4). What cannot be read is left out."""
    found: dict[str, float] = {}
    try:
        values = response.items("contact")[:_MOST_CONTACTS]
    except MalformedMessage:
        return ()
    for value in values:
        try:
            contact = parse_name_addr(value)
            if contact.uri.scheme in ("sip", "sips", "tel"):
                found.setdefault(contact.uri_text, quality(contact.parameters.get("q")))
        except MalformedMessage:
            continue
    return tuple(sorted(found, key=lambda uri: -found[uri]))


def _has_tag(to: str) -> bool:
    if "tag" not in to.lower():
        return False
    try:
        return "tag" in parse_name_addr(to).parameters
    except MalformedMessage:
        return True


def content_length(values: Iterable[str]) -> int | None:
    """The number that Content-Length says, None where there is none. Raises MalformedMessage where they differ or are no numbers."""
    found: int | None = None
    for value in values:
        if not (value.isascii() and value.isdigit()) or len(value) > 10:
            raise MalformedMessage(f"a Content-Length that is none: {value[:20]!r}")
        number = int(value)
        if found is not None and found != number:
            raise MalformedMessage("two Content-Lengths that differ")
        found = number
    return found


def parse_message(data: bytes) -> Request | Response:
    """Read one message: a datagram, or what a stream's framing cut out. Octets beyond Content-Length are dropped (RFC 3261 section 18.3).

    Raises MalformedMessage; its `partial` is the request to answer with its `status`, where there is one.
    """
    leniencies: list[Leniency] = []
    if data[:1] in (b"\r", b"\n"):
        leniencies.append(Leniency.LEADING_BLANK_LINES)
        data = data.lstrip(b"\r\n")
    head, blank, body = data.partition(b"\r\n\r\n")
    if head.count(b"\n") != head.count(b"\r\n") or (not blank and b"\n\n" in data):
        leniencies.append(Leniency.BARE_LINE_FEEDS)
        head, blank, body = _split_loosely(data)
    if not blank:
        leniencies.append(Leniency.NO_BLANK_LINE)
    text = head.decode("utf-8", "surrogateescape")
    if "\r\n " in text or "\r\n\t" in text or "\n " in text or "\n\t" in text:
        text = _unfold(text)
    lines = text.split("\r\n") if Leniency.BARE_LINE_FEEDS not in leniencies else text.replace("\r\n", "\n").split("\n")
    fields, index = _read_fields(lines, leniencies)
    message = _read_start(lines[0], fields, index, leniencies)
    _check(message, body, leniencies)
    if leniencies:
        message.leniencies = tuple(leniencies)
    return message


def _split_loosely(data: bytes) -> tuple[bytes, bytes, bytes]:
    found = re.search(rb"\r?\n\r?\n", data)
    if found is None:
        return data, b"", b""
    return data[: found.start()], found.group(), data[found.end() :]


def _unfold(text: str) -> str:
    """RFC 3261 section 7.3.1: a line that begins with white space goes on with the one before it."""
    return _FOLD.sub(" ", text.replace("\r\n", "\n")).replace("\n", "\r\n")


def _read_fields(lines: list[str], leniencies: list[Leniency]) -> tuple[list[Field], dict[str, list[str]]]:
    if len(lines) > _MOST_HEADERS:
        raise MalformedMessage(f"more than {_MOST_HEADERS} headers", status=513)
    fields: list[Field] = []
    index: dict[str, list[str]] = {}
    known = _KEYS
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            if line.strip():
                leniencies.append(Leniency.LINE_WITHOUT_COLON)
            continue
        value = value.strip()
        key = known.get(name)
        if key is None:
            key = header_key(name)
        fields.append((name, value))
        if key in index:
            index[key].append(value)
        else:
            index[key] = [value]
    return fields, index


def _read_start(line: str, fields: list[Field], index: dict[str, list[str]], leniencies: list[Leniency]) -> Request | Response:
    if line[:4].upper() == "SIP/":
        found = _STATUS_LINE.fullmatch(line)
        if found is None:
            raise MalformedMessage(f"a status line that is none: {line[:60]!r}", status=0)
        if not line.startswith("SIP/2.0"):
            leniencies.append(Leniency.LOWER_CASE_VERSION)
        return Response(int(found.group(1)), found.group(2), fields, b"", index)
    parts = line.split(" ")
    request = Request(parts[0], parts[1] if len(parts) > 1 else "", fields, b"", index)
    if not TOKEN.fullmatch(parts[0]) or not _VERSION.fullmatch(parts[-1].strip() or parts[-1] or "?"):
        # Not even something that asks to be SIP: a trailing space is told apart from noise below.
        if not TOKEN.fullmatch(parts[0]) or not _VERSION.search(line):
            raise MalformedMessage(f"a start line that is none: {line[:60]!r}", status=0)
        raise MalformedMessage("a request line is method, URI and version, parted by one space each", partial=request)
    if len(parts) != 3 or not parts[1]:
        raise MalformedMessage("a request line is method, URI and version, parted by one space each", partial=request)
    if parts[2] != "SIP/2.0":
        if parts[2].upper() != "SIP/2.0":
            raise MalformedMessage(f"version {parts[2]!r}", status=505, partial=request)
        leniencies.append(Leniency.LOWER_CASE_VERSION)
    return request


def _check(message: Request | Response, body: bytes, leniencies: list[Leniency]) -> None:
    """What each message needs, whatever it is for (RFC 3261 section 8.1.1), and the body by its length (section 18.3)."""
    index = message._indexed()
    partial = message if isinstance(message, Request) else None
    try:
        lengths = index.get("content-length")
        if lengths:
            length = content_length(lengths)
            assert length is not None
            if length > len(body):
                raise MalformedMessage(f"Content-Length says {length}, there are {len(body)} octets")
            if len(lengths) > 1:
                leniencies.append(Leniency.REPEATED_LENGTH)
            message.body = body if length == len(body) else body[:length]
        else:
            message.body = body
        for name in _SINGLE:
            values = index.get(name)
            if not values or not values[0]:
                raise MalformedMessage(f"no {name}")
            if len(values) > 1:
                raise MalformedMessage(f"{name} more than once")
        _check_typed(message, index, leniencies)
    except MalformedMessage as error:
        if error.partial is None:
            error.partial = partial
        if partial is None:
            error.status = 0  # a response is never answered
        raise


def _check_typed(message: Request | Response, index: dict[str, list[str]], leniencies: list[Leniency]) -> None:
    method = message.cseq[1]
    branch = message.via.branch
    if not message.from_.tag:
        leniencies.append(Leniency.NO_FROM_TAG)
    _ = message.to  # raises where it is none
    if len(branch) <= 7 or branch[:7].lower() != "z9hg4bk":
        leniencies.append(Leniency.NO_COOKIE)
    if isinstance(message, Response):
        return
    if method != message.method:
        raise MalformedMessage(f"CSeq names {method}, the request line {message.method}")
    if method == "INVITE" and "contact" not in index:
        leniencies.append(Leniency.NO_CONTACT)
    hops = index.get("max-forwards")
    if not hops:
        leniencies.append(Leniency.NO_MAX_FORWARDS)
    elif len(hops) > 1 or not (hops[0].isascii() and hops[0].isdigit()) or int(hops[0][:9]) > 255:
        raise MalformedMessage("a Max-Forwards that is none")
    if "<" in message.uri_text or ">" in message.uri_text:
        raise MalformedUri("a Request-URI stands without angle brackets")
    uri = message.uri
    if uri.is_sip and uri.headers:
        raise MalformedUri("a Request-URI may not carry headers (RFC 3261 section 19.1.1)")
