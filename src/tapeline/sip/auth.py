"""Digest authentication on both sides (RFC 7616, with RFC 8760 for SIP), without I/O: MD5 and SHA-256, qop "auth".

The server keeps no table of the nonces it gives out. A nonce holds the time it was made, some random octets and an HMAC over both, so it
proves itself. Only what has been *used* is remembered, in a table of fixed size: for each nonce the highest nonce count, so that nothing
counts twice. Where the table is full, the oldest nonce leaves it, and every nonce as old as that one is stale from then on: the client
is asked again, and no answer that was once given is ever good again. A client without qop (RFC 2069) has no count: its nonce is good once.

    request -> DigestServer.check -> Verdict          DigestServer.challenges -> WWW-Authenticate, Proxy-Authenticate
    401, 407 -> DigestClient.take -> DigestClient.fields -> Authorization, Proxy-Authorization

The digest's own URI is what is hashed; it is not compared with the Request-URI, which proxies rewrite (RFC 7616 section 3.4.6 lets the
server choose). This module knows nothing of who may do what: that is the registrar's.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tapeline.sip.errors import MalformedMessage
from tapeline.sip.headers import quote
from tapeline.sip.message import Field, Request, Response

__all__ = ["ALGORITHMS", "Authorization", "Challenge", "Credentials", "DigestClient", "DigestServer", "Verdict", "parse_authorization",
           "parse_challenges", "sent_again"]  # fmt: skip

ALGORITHMS: Mapping[str, Callable[[bytes], str]] = {  # weakest first
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),  # what phones of twenty years speak
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}
_STRENGTH = list(ALGORITHMS)
_ITEM = re.compile(r'([A-Za-z0-9\-.!%*_+`\'~]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^",\s]+)\s*(?:,\s*|$)', re.DOTALL)
_SCHEME = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+)\s+(?=[A-Za-z])")
_LONGEST = 4096
_MOST_REALMS = 8
# Clients that give up at a second challenge, or at one for SHA-256, instead of passing it over (RFC 3261 section 22.1 would have them
# pass it over). They are asked for MD5 alone.
_ONE_CHALLENGE_ONLY = re.compile(r"baresip v[0-2]\.")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What to log in with."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge, its values without their quotes."""

    realm: str
    nonce: str
    algorithm: str  # as named by the server; "MD5" where it names none
    qop: tuple[str, ...] = ()
    opaque: str | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Authorization:
    """The answer to a challenge, its values without their quotes."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str
    qop: str
    nc: str
    cnonce: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request's credentials are worth. `username` is the one that was proved, or in "denied" the one that was claimed.

    missing: there are none for our realm. stale: they were good for a nonce that no longer is. denied: they are wrong.
    """

    outcome: Literal["granted", "missing", "stale", "denied"]
    username: str = ""


# ---- reading


def _unquote(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if value[:1] == '"' else value


def _schemes(text: str) -> list[tuple[str, dict[str, str]]]:
    """Scheme (lower case) and parameters (names in lower case) of each challenge or answer in a header's value.

    A value may hold several, parted by commas as their parameters are: a word with no "=" begins the next. Raises MalformedMessage.
    """
    if len(text) > _LONGEST:
        raise MalformedMessage("credentials or a challenge of more than 4096 characters")
    found: list[tuple[str, dict[str, str]]] = []
    at, text = 0, text.strip()
    while at < len(text):
        item = _ITEM.match(text, at) if found else None
        if item is not None:
            found[-1][1].setdefault(item.group(1).lower(), _unquote(item.group(2)))
            at = item.end()
            continue
        scheme = _SCHEME.match(text, at)
        if scheme is None:
            raise MalformedMessage("credentials or a challenge that cannot be read")
        found.append((scheme.group(1).lower(), {}))
        at = scheme.end()
    return found


def parse_challenges(text: str) -> list[Challenge]:
    """The Digest challenges in one WWW-Authenticate or Proxy-Authenticate; other schemes are passed over. Raises MalformedMessage."""
    challenges = []
    for scheme, values in _schemes(text):
        if scheme != "digest":
            continue
        if "realm" not in values or not values.get("nonce"):
            raise MalformedMessage("a Digest challenge without realm or nonce")
        qop = tuple(item.strip().lower() for item in values.get("qop", "").split(",") if item.strip())
        stale = values.get("stale", "").lower() == "true"
        challenges.append(
            Challenge(values["realm"], values["nonce"], values.get("algorithm", "MD5"), qop, values.get("opaque"), stale)
        )
    return challenges


def parse_authorization(text: str) -> Authorization | None:
    """One Authorization or Proxy-Authorization; None where its scheme is not Digest. Raises MalformedMessage."""
    found = _schemes(text)
    if len(found) != 1:
        raise MalformedMessage("an Authorization holds one set of credentials")
    scheme, values = found[0]
    if scheme != "digest":
        return None
    for name in ("username", "realm", "nonce", "uri", "response"):
        if name not in values:
            raise MalformedMessage(f"Digest credentials without {name}")
    qop = values.get("qop", "").lower()
    nc, cnonce = values.get("nc", ""), values.get("cnonce", "")
    if qop and (not re.fullmatch(r"[0-9a-fA-F]{8}", nc) or not cnonce):
        raise MalformedMessage("Digest credentials with qop and without nc or cnonce")
    return Authorization(
        values["username"], values["realm"], values["nonce"], values["uri"], values["response"].lower(), values.get("algorithm", "MD5"),
        qop, nc, cnonce,
    )  # fmt: skip


# ---- reckoning


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def digest_response(credentials: Credentials, method: str, answer: Authorization) -> str:
    """RFC 7616 section 3.4.1. Raises KeyError for an algorithm that is none of ours."""
    reckon = ALGORITHMS[answer.algorithm.upper()]
    secret = reckon(_octets(f"{credentials.username}:{answer.realm}:{credentials.password}"))
    asked = reckon(_octets(f"{method}:{answer.uri}"))
    middle = f"{answer.nonce}:{answer.nc}:{answer.cnonce}:{answer.qop}" if answer.qop else answer.nonce
    return reckon(_octets(f"{secret}:{middle}:{asked}"))


class DigestServer:
    """Asks who somebody is, and judges the answer.

    `secrets(username)` gives the password, None where nobody has that name. `entropy(n)` gives n random octets; `lifetime_s` is how
    long a nonce is good, `most` how many used ones are remembered.
    """

    def __init__(
        self,
        realm: str,
        secrets: Callable[[str], str | None],
        entropy: Callable[[int], bytes],
        *,
        algorithms: Sequence[str] = ("SHA-256", "MD5"),
        lifetime_s: float = 300.0,
        most: int = 8192,
    ) -> None:
        self.realm = realm
        self.algorithms = tuple(algorithms)
        self._secrets = secrets
        self._entropy = entropy
        self._key = entropy(32)
        self._opaque = entropy(8).hex()
        self._lifetime_ms = round(lifetime_s * 1000)
        self._most = most
        self._used: OrderedDict[str, int] = OrderedDict()  # nonce -> highest nonce count seen
        self._floor = -1  # nonces made at or before this are no longer known

    def challenges(self, now: float, *, stale: bool = False, agent: str = "") -> list[str]:
        """The values of WWW-Authenticate or Proxy-Authenticate, strongest first (RFC 8760 section 2.4), all for one fresh nonce."""
        nonce = self._nonce(now)
        algorithms = ("MD5",) if "MD5" in self.algorithms and _ONE_CHALLENGE_ONLY.match(agent) else self.algorithms
        tail = ", stale=true" if stale else ""
        return [
            f'Digest realm={quote(self.realm)}, nonce="{nonce}", opaque="{self._opaque}", algorithm={algorithm}, qop="auth"{tail}'
            for algorithm in algorithms
        ]

    def _nonce(self, now: float) -> str:
        body = f"{round(now * 1000):014x}{self._entropy(6).hex()}"
        return body + self._seal(body)

    def _seal(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()[:32]

    def _made(self, nonce: str) -> int | None:
        """When a nonce of ours was made, in milliseconds; None where it is not ours."""
        body, seal = nonce[:26], nonce[26:]
        if len(nonce) != 58 or not nonce.isascii() or not hmac.compare_digest(seal, self._seal(body)):
            return None
        return int(body[:14], 16)

    def check(self, request: Request, header: str, now: float) -> Verdict:
        """Judge the credentials in `header` ("authorization", "proxy-authorization"). Raises MalformedMessage where they are unreadable."""
        for text in request.all(header):
            answer = parse_authorization(text)
            if answer is not None and answer.realm == self.realm:
                return self._judge(request.method, answer, now)
        return Verdict("missing")

    def _judge(self, method: str, answer: Authorization, now: float) -> Verdict:
        name = answer.username
        made = self._made(answer.nonce)
        if made is None:
            return Verdict("stale", name)  # of another life of this server, or invented: asked again, nothing is learnt from it
        if answer.algorithm.upper() not in self.algorithms or answer.qop not in ("", "auth"):
            return Verdict("denied", name)
        password = self._secrets(name)
        # A name that nobody has costs as much as one with a wrong password.
        expected = digest_response(Credentials(name, password if password is not None else self._opaque), method, answer)
        if not hmac.compare_digest(_octets(expected), _octets(answer.response)) or password is None:
            return Verdict("denied", name)
        if not round(now * 1000) - self._lifetime_ms < made or made <= self._floor or not self._fresh(answer, made):
            return Verdict("stale", name)
        return Verdict("granted", name)

    def _fresh(self, answer: Authorization, made: int) -> bool:
        """Note the nonce count; False where it has been there. Only who knows the password gets something into this table."""
        count = int(answer.nc, 16) if answer.qop else 1 << 32
        seen = self._used.get(answer.nonce, 0)
        if count <= seen:
            return False
        self._used[answer.nonce] = count
        while len(self._used) > self._most:
            oldest, _ = self._used.popitem(last=False)
            self._floor = max(self._floor, self._made(oldest) or 0)
        return made > self._floor


@dataclass(slots=True)
class _Known:
    """A challenge that we answer, and how often we have."""

    challenge: Challenge
    count: int = 0


class DigestClient:
    """Answers challenges with one set of credentials, and remembers them so that later requests need not be asked."""

    MOST_TRIES = 2  # of one request, beyond its first sending

    def __init__(self, credentials: Credentials, token: Callable[[], str]) -> None:
        """`token` gives random text for cnonce."""
        self._credentials = credentials
        self._token = token
        self._known: dict[tuple[str, str], _Known] = {}  # by header and realm

    def take(self, request: Request, response: Response) -> bool:
        """Learn from a 401 or 407; whether `request` is worth sending again with `fields`.

        It is not where it has been sent again twice, where what we know was already said and is wrong, or where no algorithm is ours.
        """
        if request.tries >= self.MOST_TRIES:
            return False
        asking, answering = _HEADERS[response.status]
        best: dict[str, Challenge] = {}
        for text in response.all(asking):
            with contextlib.suppress(MalformedMessage):  # what cannot be read cannot be answered; another may be
                for challenge in parse_challenges(text):
                    if _answerable(challenge) and _strength(challenge) > _strength(best.get(challenge.realm)):
                        best[challenge.realm] = challenge
        said = {answer.realm for text in request.all(answering) if (answer := parse_authorization(text)) is not None}
        for realm, challenge in best.items():
            if realm in said and request.tries and not challenge.stale:
                return False
            if len(self._known) >= _MOST_REALMS:
                self._known.clear()
            self._known[answering, realm] = _Known(challenge)
        return bool(best)

    def fields(self, method: str, uri: str) -> list[Field]:
        """The headers that answer every challenge known so far, each use with its own nonce count."""
        headers = []
        for (header, _), known in self._known.items():
            known.count += 1
            headers.append((_NAMES[header], self._answer(known, method, uri)))
        return headers

    def _answer(self, known: _Known, method: str, uri: str) -> str:
        challenge = known.challenge
        qop = "auth" if challenge.qop else ""
        nc, cnonce = (f"{known.count:08x}", self._token()) if qop else ("", "")
        credentials = self._credentials
        answer = Authorization(credentials.username, challenge.realm, challenge.nonce, uri, "", challenge.algorithm, qop, nc, cnonce)
        values = [("username", quote(answer.username)), ("realm", quote(answer.realm)), ("nonce", quote(answer.nonce)), ("uri", quote(uri))]
        values += [("response", f'"{digest_response(credentials, method, answer)}"'), ("algorithm", challenge.algorithm)]
        if qop:
            values += [("cnonce", quote(cnonce)), ("qop", qop), ("nc", nc)]
        if challenge.opaque is not None:
            values.append(("opaque", quote(challenge.opaque)))
        return "Digest " + ", ".join(f"{name}={value}" for name, value in values)


_HEADERS = {401: ("www-authenticate", "authorization"), 407: ("proxy-authenticate", "proxy-authorization")}
_NAMES = {"authorization": "Authorization", "proxy-authorization": "Proxy-Authorization"}


def _answerable(challenge: Challenge) -> bool:
    return challenge.algorithm.upper() in ALGORITHMS and (not challenge.qop or "auth" in challenge.qop)


def _strength(challenge: Challenge | None) -> int:
    return -1 if challenge is None else _STRENGTH.index(challenge.algorithm.upper())


def sent_again(request: Request, seq: int, client: DigestClient | None, *, asked: bool) -> Request:
    """`request` once more, without its Via: with `seq` in CSeq, and credentials that were not used before where there are any.

    `asked`: because it got 401 or 407.
    """
    dropped = ("via", "cseq", "authorization", "proxy-authorization")
    kept = [item for item in request.fields if item[0].lower() not in dropped]
    login = client.fields(request.method, request.uri_text) if client is not None else []
    again = Request(request.method, request.uri_text, [("CSeq", f"{seq} {request.method}"), *kept, *login], request.body)
    again.tries = request.tries + asked
    return again
