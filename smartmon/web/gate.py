"""Stands before every route: who may ask, by which name, how much; and what every answer carries.

Nothing behind it writes, so only GET and HEAD pass. What a request is refused for is said in one sentence of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smartmon.web.hosts import Hosts
from smartmon.web.token import Key

MOST_HEADERS = 100
MOST_HEADER_BYTES = 16 << 10
MOST_URL_BYTES = 8 << 10

OPEN = ("/api/", "/metrics", "/health")
"""Where data is: all else is the page itself, the same for everybody."""

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_FORMS = (b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain")
_READING = ("GET", "HEAD")
Refusal = tuple[int, str, dict[bytes, bytes]]


class Gate:
    """ASGI middleware; the outermost one."""

    def __init__(self, app: ASGIApp, hosts: Hosts, key: Key | None) -> None:
        """`key`: None where no token is asked for."""
        self._app = app
        self._hosts = hosts
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # There are no WebSockets; an answer that ends the handshake is the polite one.
            await send({"type": "websocket.close", "code": 1008})
            return
        asked = _Asked(scope)
        armed = _with_headers(send, data=asked.for_data)
        refusal = self._refusal(asked)
        if refusal is not None:
            await _answer(armed, *refusal)
        elif (place := self._login(asked)) is not None:
            await _redirect(armed, *place)
        elif asked.method == "HEAD":
            await self._app({**scope, "method": "GET", "smartmon.head": True}, receive, armed)
        else:
            await self._app(scope, receive, armed)

    def _refusal(self, asked: _Asked) -> Refusal | None:
        """Return status, sentence and headers of a refusal. The name by which we are asked comes before all else."""
        if problem := self._hosts.problem(asked.all(b"host")) or _too_much(asked):
            return *problem, {}
        foreign = asked.one(b"sec-fetch-site") in (b"cross-site", b"same-site")
        known = self._key is None or self._key.shown_by(asked.headers)
        if asked.method not in _READING:
            return self._no_writing(asked, foreign, known)
        if asked.has_body:
            return 413, "a question has no body", {}
        if foreign and asked.for_data and asked.one(b"sec-fetch-mode") != b"navigate":
            return 403, "another site's page may not read this", {}
        if asked.for_data and not known:
            sentence = "show the token, as a header Authorization: Bearer TOKEN or by opening /?token=TOKEN once"
            return 401, sentence, {b"www-authenticate": b'Bearer realm="smartmon"'}
        return None

    @staticmethod
    def _no_writing(asked: _Asked, foreign: bool, known: bool) -> Refusal:
        origin, host = asked.one(b"origin"), asked.one(b"host")
        own = origin in (b"", b"http://" + host, b"https://" + host)
        if foreign or not own or asked.one(b"content-type").partition(b";")[0].strip().lower() in _FORMS or not known:
            return 403, "nothing can be sent here, least of all by another site's page", {}
        return 405, "this server only tells; it changes nothing", {b"allow": b"GET, HEAD"}

    def _login(self, asked: _Asked) -> tuple[str, str] | None:
        """Return where to go on and the cookie to set, for a page that was opened with the token in its address."""
        if asked.for_data or b"token=" not in asked.query:
            return None
        pairs = parse_qsl(asked.query.decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in pairs if name == "token"]
        if self._key is not None and not any(self._key.fits(value) for value in given):
            return None
        rest = urlencode([(name, value) for name, value in pairs if name != "token"])
        # Relative: below a proxy's path it stays there, and no address that was sent leads to another machine.
        return f"./?{rest}" if rest else "./", self._key.cookie if self._key is not None else ""


class _Asked:
    """A request, as far as the gate looks at it."""

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        raw: bytes = scope.get("raw_path") or b""
        self.query: bytes = scope["query_string"]
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.url_bytes = len(raw) + len(self.query)
        # As routes see it: `//api/runs` is no route, and `/api` alone tells about the API.
        self.for_data = self.path.startswith(OPEN)

    @property
    def header_bytes(self) -> int:
        return sum(len(name) + len(value) for name, value in self.headers)

    @property
    def has_body(self) -> bool:
        """Whether more follows the headers: nobody would read it, and a proxy may take it for the next request."""
        return any(length != b"0" for length in self.all(b"content-length")) or bool(self.all(b"transfer-encoding"))

    def all(self, wanted: bytes) -> list[bytes]:
        return [value for name, value in self.headers if name == wanted]

    def one(self, wanted: bytes) -> bytes:
        """Return a header's value; empty where there is none, or more than one."""
        found = self.all(wanted)
        return found[0] if len(found) == 1 else b""


def _too_much(asked: _Asked) -> tuple[int, str] | None:
    if len(asked.headers) > MOST_HEADERS or asked.header_bytes > MOST_HEADER_BYTES:
        return 431, f"a request may have at most {MOST_HEADERS} headers and {MOST_HEADER_BYTES} bytes of them"
    if asked.url_bytes > MOST_URL_BYTES:
        return 400, f"an address may be at most {MOST_URL_BYTES} bytes long"
    return None if asked.path.startswith("/") else (400, "an address must begin with a slash")


def _with_headers(send: Send, *, data: bool) -> Send:
    async def armed(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            wanted = [*HEADERS, (b"cache-control", b"no-store" if data else b"no-cache")]
            message = {**message, "headers": [*given, *(pair for pair in wanted if pair[0] not in names)]}
        await send(message)

    return armed


async def _answer(send: Send, status: int, sentence: str, headers: dict[bytes, bytes]) -> None:
    body = json.dumps({"error": sentence}).encode()
    # A body that nobody reads would be taken for the next request.
    fixed = ((b"content-type", b"application/json"), (b"connection", b"close"))
    await _send(send, status, body, [*fixed, *headers.items()])


async def _redirect(send: Send, place: str, cookie: str) -> None:
    headers = [(b"location", place.encode("latin-1", "replace")), (b"cache-control", b"no-store")]
    if cookie:
        headers.append((b"set-cookie", cookie.encode("ascii")))
    await _send(send, 303, b"", headers)


async def _send(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    sized = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body})
