"""Real receivers on loopback, with scripted answers."""

from __future__ import annotations

import contextlib
import email
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


class Receiver(ThreadingHTTPServer):
    """Keeps every request; answers with the next scripted status, 200 when there is none left."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.script: list[int] = []
        self.headers: dict[str, str] = {}
        self.hang = threading.Event()
        self.hang.set()
        self.arrived = threading.Event()

    def url(self, path: str = "in", scheme: str = "json") -> str:
        return f"{scheme}://127.0.0.1:{self.server_port}/{path}"

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.bodies]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with contextlib.suppress(ValueError):
            self.server.bodies.append(json.loads(sent))
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.server.paths.append(self.path)
        self.server.arrived.set()
        self.server.hang.wait(30)
        with contextlib.suppress(OSError):
            self.send_response(self.server.script.pop(0) if self.server.script else 200)
            for name, value in self.server.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """Serve until the block ends."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.hang.set()
            server.shutdown()
            thread.join()


class Mailbox:
    """Keeps every letter."""

    def __init__(self) -> None:
        self.letters: list[Any] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        self.letters.append(email.message_from_bytes(envelope.content))
        return "250 OK"


@contextlib.contextmanager
def mail() -> Iterator[tuple[Mailbox, int]]:
    """Take mail until the block ends, at the port that is told."""
    mailbox = Mailbox()
    with silent_port() as port:
        pass
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mailbox, port
    finally:
        controller.stop()


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def until(condition: Callable[[], bool], patience: float = 20.0) -> None:
    """Wait until something in another thread or process has come true."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
