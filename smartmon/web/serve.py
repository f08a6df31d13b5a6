"""Serves one dashboard until told to stop: the socket, uvicorn in it, and what to tell the person who started it."""

from __future__ import annotations

import errno
import gc
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from smartmon.config import Config
from smartmon.errors import SmartmonError
from smartmon.text import clean
from smartmon.web.app import application
from smartmon.web.connection import ASKING, Connection
from smartmon.web.feed import Feed
from smartmon.web.hosts import Hosts, bracketed, is_loopback
from smartmon.web.site import Site
from smartmon.web.token import Key, token

_MOST_HEADER = 16 << 10
_GRACE = 1
"""Seconds that answers get to finish when the server is told to stop."""


class ServeError(SmartmonError):
    """Nothing can be served there."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Served:
    """Where a dashboard is, once it listens."""

    host: str
    port: int
    secret: str = ""
    """The token; empty where none is asked for."""
    token_file: Path | None = None

    @property
    def url(self) -> str:
        """The address for this machine's browser, without the token."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - told, not bound
        return f"http://{bracketed(host)}:{self.port}/"

    def link(self, host: str | None = None) -> str:
        """The address by which another machine's browser gets in, token and all."""
        base = self.url if host is None else f"http://{bracketed(host)}:{self.port}/"
        return f"{base}?token={self.secret}" if self.secret else base


def serve(
    config: Config,
    locate: Callable[[], Path],
    listening: Callable[[Served], None],
    *,
    stop: Callable[[Callable[[], None]], None] = lambda _end: None,
) -> None:
    """Serve until SIGTERM or SIGINT; `listening` is told where, once it does.

    `stop` is given what ends the server from another thread. Raises ServeError where the port is taken, StoreError
    where others can reach it and no token can be kept.
    """
    bound = config.dashboard.host
    own = is_loopback(bound)
    secret = b"" if own else token(config.dashboard_token_file)
    listener = listen(bound, config.dashboard.port)
    port = int(listener.getsockname()[1])
    hosts = Hosts(bound, config.dashboard.public_url)
    app, feed = application(Site(config, locate), hosts, Key(secret, port) if secret else None)
    # It complains of every scanner that knocks, and to nobody who could help it.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    settings = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_MOST_HEADER,
        timeout_keep_alive=int(ASKING),
        timeout_graceful_shutdown=_GRACE,
    )
    file = None if own else config.dashboard_token_file
    where = Served(bound, port, secret.decode("ascii"), file)
    server = _Server(settings, feed, lambda: listening(where))
    stop(server.end)
    with listener:
        server.run([listener])


def settle() -> None:
    """Call once a process that does nothing else listens.

    What is there by now stays: the garbage collector, which a large answer wakes, need not look at it each time, which
    took 30 ms.
    """
    gc.collect()
    gc.freeze()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. ServeError says why that cannot be."""
    where = f"{clean(bracketed(host))}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # `localhost` is 127.0.0.1 to most who write it.
        family, kind, number, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        listener = socket.socket(family, kind, number)
    except OSError as error:
        raise ServeError(
            f"cannot serve at {where}: {error.strerror or error}; give another address with --host"
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        what = "something serves there already" if taken else error.strerror
        raise ServeError(f"cannot serve at {where}: {what}; give another port with --port, or 0 for any") from None
    return listener


class _Server(uvicorn.Server):
    """Ends its streams first: they would never end by themselves."""

    def __init__(self, config: uvicorn.Config, feed: Feed, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._feed = feed
        self._started = started

    def end(self) -> None:
        """Stop soon. From any thread."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so: from then on signals end it well."""
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the feed, then all else."""
        self._feed.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's own signature
        """Stop soon. The signal is not raised again afterwards: who is told to stop, and does, has not failed."""
        self.should_exit = True
