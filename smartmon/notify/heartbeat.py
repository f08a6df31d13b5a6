"""Call a URL while smartmon is healthy, so that somebody notices when smartmon itself falls silent."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import structlog

from smartmon.notify.redact import Redactor

log = structlog.get_logger(__name__)


class Heartbeat:
    """GETs `url` at most every `interval` seconds from a thread of its own; no URL, no calls.

    A receiver that hangs costs one thread until `timeout`; the caller never waits. A failure is logged when it
    starts and when it ends, not each time.
    """

    def __init__(self, url: Any, interval: float, *, timeout: float = 10.0) -> None:
        """Take the URL as text, as a `SecretStr`, or None."""
        secret = getattr(url, "get_secret_value", None)
        self._url: str | None = secret() if secret is not None else url
        self._interval = interval
        self._timeout = timeout
        self._due = 0.0
        self._thread: threading.Thread | None = None
        self._failing = False
        self._redactor = Redactor()
        if self._url:
            self._redactor.add(self._url)

    def beat(self, now: float, healthy: bool) -> bool:
        """Start a call when one is due and all is well; returns whether one was started."""
        busy = self._thread is not None and self._thread.is_alive()
        # A clock that was set back must not silence us.
        waiting = now < self._due <= now + self._interval
        if self._url is None or not healthy or waiting or busy:
            return False
        self._due = now + self._interval
        self._thread = threading.Thread(target=self._call, args=(self._url,), name="heartbeat", daemon=True)
        self._thread.start()
        return True

    def wait(self, timeout: float) -> None:
        """Wait for the call in flight, if there is one."""
        if self._thread is not None:
            self._thread.join(timeout)

    def stop(self) -> None:
        """Start no further call. One in flight ends by itself and holds nobody up."""
        self._url = None

    def _call(self, url: str) -> None:
        # Imported late: HTTP and TLS cost 3 MB that a daemon without a heartbeat can spare.
        request_module: Any = importlib.import_module("urllib.request")
        http: Any = importlib.import_module("http.client")
        error = ""
        try:
            if not url.startswith(("http://", "https://")):
                raise ValueError("heartbeat_url must start with http:// or https://")
            request = request_module.Request(url, headers={"User-Agent": "smartmon"})
            with request_module.urlopen(request, timeout=self._timeout) as answer:
                answer.read(1)
        except (OSError, http.HTTPException, ValueError) as trouble:
            # An HTTPError is an OSError that holds the answer's socket.
            getattr(trouble, "close", lambda: None)()
            error = self._redactor.clean(str(trouble)) or type(trouble).__name__
        if error and not self._failing:
            log.warning("heartbeat.failed", error=error)
        elif self._failing and not error:
            log.info("heartbeat.recovered")
        self._failing = bool(error)
