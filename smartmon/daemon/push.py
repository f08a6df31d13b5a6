"""Takes what Hugging Face's Trainer posts to `KUBEFLOW_TRAINER_SERVER_URL`, and puts it where the `push` source reads.

Nothing is judged here: a post is checked, written to a small file of its run, and answered. Everything else goes the
way of every source, so that a kill between two posts loses nothing. Only this machine is listened to, and only who
shows the token.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog

from smartmon.config import Config
from smartmon.errors import SmartmonError
from smartmon.records import Json
from smartmon.sources import jsontext
from smartmon.sources.discovery import expand
from smartmon.sources.push import path_of, place_of
from smartmon.text import clean

log = structlog.get_logger(__name__)

MOST_BYTES = 64 << 10
"""The longest body: a post holds a few dozen numbers."""
MOST_CONNECTIONS = 16
"""Each has a thread for as long as it lasts."""
SILENCE = 5.0
"""Seconds for which a connection may say nothing; the trainer's own patience is as long."""
LONGEST = 15.0
"""Seconds after which a connection is cut, however busily it trickles."""
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_NAMES_SHOWN = 10
_TOLD_MOST = 1000
_LOOK = 0.5
"""Seconds between two looks at whether the daemon is about to end."""


class PushError(SmartmonError):
    """The receiver cannot listen; it is tried again."""


class RefusedError(Exception):
    """Why a post is not taken, in one sentence for whoever sent it."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class Receiver:
    """Listens for posts; `step` is the unit of work of a worker of the daemon."""

    def __init__(
        self, config: Config, known: Callable[[], Mapping[str, Path]], clock: Callable[[], float] = time.time
    ) -> None:
        """`known`: run -> its folder, of the runs under watch now."""
        self._config = config
        self._known = known
        self._clock = clock
        self._server: _Server | None = None
        self._token = b""
        self._writing = threading.Lock()
        self._told: set[str] = set()

    def step(self) -> float:
        """Wait a moment for a post and take it. Raises PushError where nothing can be listened to."""
        if self._server is None:
            self._server = self._open()
            log.info("push.listening", url=self.url, token_file=str(self._config.push_token_file))
        self._server.handle_request()
        return 0.0

    @property
    def url(self) -> str:
        """What to set `KUBEFLOW_TRAINER_SERVER_URL` to, a run's name after it."""
        host = self._config.push.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._config.push.port}/"

    def close(self) -> None:
        """Listen no more."""
        server, self._server = self._server, None
        if server is not None:
            server.server_close()

    def _open(self) -> _Server:
        self._token = token(self._config.push_token_file)
        settings = self._config.push
        try:
            return _Server((settings.host, settings.port), self)
        except OSError as error:
            raise PushError(
                f"cannot listen for posts at {settings.host}:{settings.port}: {error.strerror}; set push.port in the "
                "config to another one"
            ) from None

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> str:
        """Take one post and return what to answer. Raises RefusedError; ValueError for a malformed path."""
        self._check(headers)
        run = self._run(unquote(urlsplit(path).path, errors="strict").strip("/"))
        status = _status(body)
        self._write(run, status)
        if run not in self._told:
            self._told.add(run)
            log.info("push.received", run=run)
        return f"taken for {run}"

    def refused(self, error: RefusedError) -> None:
        """Log a refusal, each reason once: whoever is refused tries again every few seconds."""
        why = str(error)
        if why not in self._told and len(self._told) < _TOLD_MOST:
            self._told.add(why)
            log.warning("push.refused", status=error.status.value, reason=why)

    def _check(self, headers: Mapping[str, str]) -> None:
        host = urlsplit(f"//{headers.get('Host') or ''}").hostname
        if host not in _LOCAL | {self._config.push.host}:
            # A page in a browser may be led here under a name of its own; a trainer was told the address.
            raise RefusedError(HTTPStatus.FORBIDDEN, "post to this machine by its address, such as 127.0.0.1")
        if headers.get("Origin"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "this is for trainers, not for pages in a browser")
        scheme, _, given = (headers.get("Authorization") or "").partition(" ")
        shown = given.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown, self._token):
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "show the token: set KUBEFLOW_TRAINER_SERVER_TOKEN to the path of smartmon's token file",
            )

    def _run(self, asked: str) -> str:
        """Return the name of the run that is meant; none is the only one, or the base dir's own."""
        known, bases = self._known(), expand(self._config.base_dirs)
        if not asked:
            own = [name for name, path in known.items() if path in bases]
            if len(own) == 1 or len(known) == 1:
                return own[0] if len(own) == 1 else next(iter(known))
            if not known and len(bases) == 1:
                return bases[0].name
        elif asked in known or place_of(asked, bases) is not None:
            return asked
        names = [clean(name) for name in sorted(known)[:_NAMES_SHOWN]] + ["..."] * (len(known) > _NAMES_SHOWN)
        there = f"there are {', '.join(names)}" if names else "there is none yet"
        which = f"there is no run {clean(asked)[:200]}" if asked else "which run is meant must stand in the path"
        raise RefusedError(HTTPStatus.NOT_FOUND, f"{which}; {there}")

    def _write(self, run: str, status: Json) -> None:
        path = path_of(self._config.state_dir, run)
        data = json.dumps({"run": run, "received_at": self._clock(), "trainerStatus": status}).encode("ascii")
        temporary = path.with_suffix(".new")
        try:
            with self._writing:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                temporary.unlink(missing_ok=True)
                _new_file(temporary, data)
                temporary.replace(path)
        except OSError as error:
            why = f"it cannot be stored: {error.strerror}"
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, why) from None


def token(path: Path) -> bytes:
    """Return the token in a file; one that is missing is made. Raises PushError."""
    doing = f"the token file {clean(path)} cannot be"
    try:
        if not os.path.lexists(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _new_file(path, secrets.token_urlsafe(32).encode() + b"\n")
        with path.open("rb") as file:
            found = file.read(MOST_BYTES).strip()
    except OSError as error:
        raise PushError(f"{doing} read: {error.strerror}") from None
    if not found or b"\n" in found:
        raise PushError(f"{doing} used: it must hold one token on one line")
    return found


def _new_file(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _status(body: bytes) -> dict[str, Any]:
    try:
        status = jsontext.load_object(body).get("trainerStatus")
    except jsontext.BadJson as problem:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the body {problem}") from None
    if not isinstance(status, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body must be a JSON object with an object trainerStatus")
    return status


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST_CONNECTIONS
    timeout = _LOOK

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the server's own signature
        """Turn away what is one too many; it is closed without a word."""
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        end = threading.Timer(LONGEST, _cut, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the server's own signature
        """Tell what a request came to grief on, without a traceback: its variables hold the token."""
        error = sys.exception()
        if isinstance(error, OSError):
            # A connection that broke off is the trainer's affair, and it posts again.
            return
        log.error("push.failed", error=f"{type(error).__name__}: {error}"[:300])


def _cut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SILENCE
    server_version = "smartmon"
    sys_version = ""

    def do_POST(self) -> None:
        receiver = self.server.receiver
        try:
            # Read before anything is checked: who closes on unread data takes the answer away with it.
            body = self.rfile.read(self._length())
            self._answer(
                HTTPStatus.OK,
                receiver.take(self.path, {name.title(): value for name, value in self.headers.items()}, body),
            )
        except RefusedError as error:
            receiver.refused(error)
            self._answer(error.status, str(error))
        except ValueError:
            self._answer(HTTPStatus.BAD_REQUEST, "the path or a header is malformed")

    def _length(self) -> int:
        given = self.headers.get("Content-Length") or ""
        if not (given.isascii() and given.isdigit()) or self.headers.get("Transfer-Encoding"):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "say with Content-Length how long the body is")
        # A number may have more digits than Python converts.
        length = int(given) if len(given) < 10 else 10**9
        if length > MOST_BYTES:
            self.rfile.read(min(length, 16 * MOST_BYTES))
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a post may be at most {MOST_BYTES} bytes long")
        return length

    def do_GET(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "post to this address; nothing can be read from it")

    do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = do_GET

    def _answer(self, status: HTTPStatus, sentence: str) -> None:
        data = sentence.encode("utf-8", "backslashreplace") + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Posts are no events; refusals are logged once."""
