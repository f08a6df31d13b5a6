"""The short-lived process that sends one message to one Apprise URL: `python -m smartmon.notify.child`.

Standard input: one JSON object `{url, title, body, severity, limit, chart}`. Standard output: one JSON line
`{ok, permanent, error, retry_after, status}`. The only attachment is the picture that is drawn here of the numbers in
`chart`: no path and no address ever becomes one. The URL never stands on a command line, in the environment or in the
answer. Apprise is imported here and nowhere else: it costs the daemon's budget of memory twice over.
"""

from __future__ import annotations

import contextlib
import ctypes
import email.utils
import importlib
import importlib.util
import json
import logging
import os
import re
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from smartmon.notify.redact import Redactor
from smartmon.text import clean

TRY_AGAIN = frozenset({408, 425, 429})
"""The 4xx answers that may go away by themselves."""

LONGEST_ERROR = 300
_PR_SET_PDEATHSIG = 1


@dataclass
class Seen:
    """What went over the wire, as far as it can be seen from outside a plugin."""

    status: int | None = None
    retry_after: float | None = None
    said: list[str] = field(default_factory=list)


class _Listener(logging.Handler):
    """Keeps Apprise's own words about a failure; they are the only way to learn its cause."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(logging.DEBUG)
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            status = re.search(r"\berror=(\d{3})\b", message)
            if status and self._seen.status is None:
                self._seen.status = int(status[1])
            self._seen.said.append(message)
        elif message.startswith("Socket Exception"):
            # The innermost cause stands last: `[Errno 111] Connection refused`.
            cause = re.findall(r"\[Errno -?\d+\] [^'\")\]]+", message)
            self._seen.said.append(cause[-1] if cause else message)


def retry_after(value: str | None, now: float) -> float | None:
    """Read a Retry-After header: seconds, or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _watch_http(seen: Seen) -> None:
    """Note the status and Retry-After of every HTTP answer: Apprise keeps the latter to itself."""
    session: Any = importlib.import_module("requests").Session
    send = session.send

    def watched(self: Any, request: Any, **options: Any) -> Any:
        response = send(self, request, **options)
        seen.status = int(response.status_code)
        seen.retry_after = retry_after(response.headers.get("Retry-After"), time.time())
        return response

    session.send = watched


def cut(text: str, limit: int) -> str:
    """Shorten a text to `limit` characters, the last one an ellipsis."""
    return text if len(text) <= limit else text[: max(0, limit - 1)].rstrip() + "…"


def fit(title: str, body: str, *, title_limit: int, body_limit: int, together: bool) -> tuple[str, str]:
    """Shorten title and body to what the service takes; `together` says that both share the body's limit.

    The last line, which has the delivery's id, outlives the cut.
    """
    if title_limit > 0:
        title = cut(title, title_limit)
    if together or title_limit <= 0:
        title = cut(title, body_limit // 2)
        body_limit -= len(title) + 8
    if len(body) <= body_limit:
        return title, body
    head, line_end, last = body.rpartition("\n")
    if not line_end or len(last) + 2 > body_limit // 2:
        return title, cut(body, body_limit)
    return title, cut(head, body_limit - len(last) - 1) + "\n" + last


def _deliver(request: dict[str, Any], seen: Seen) -> tuple[bool, str]:
    """Send the message; returns whether it arrived, and a reason that is final where sending was not even tried."""
    apprise: Any = importlib.import_module("apprise")
    _watch_http(seen)
    asset = apprise.AppriseAsset(app_id="smartmon", app_desc="smartmon", async_mode=False, secure_logging=True)
    service = apprise.Apprise.instantiate(request["url"], asset=asset)
    if service is None:
        why = cut(seen.said[-1], LONGEST_ERROR) if seen.said else "unknown service, or parts are missing"
        return False, f"Apprise does not accept the URL: {why}"
    # Its own 4 seconds are short for a busy server; the wall-clock limit stands above.
    service.socket_read_timeout = max(float(service.socket_read_timeout), 0.6 * float(request["limit"]))
    title, body = fit(
        request["title"],
        request["body"],
        title_limit=int(service.title_maxlen),
        body_limit=int(service.body_maxlen),
        together=bool(service.overflow_amalgamate_title),
    )
    sender = apprise.Apprise(asset=asset)
    sender.add(service)
    # Compared by truth: the type of the result differs between Apprise's major versions.
    message = {"body": body, "title": title, "notify_type": request["severity"], "body_format": "text"}
    picture = _picture(request) if getattr(service, "attachment_support", False) else None
    if picture is not None:
        if sender.notify(**message, attach=picture):
            return True, ""
        if not refused(seen):
            return False, ""
        # Too large, perhaps, or not allowed: no picture is worth an alert that does not arrive.
        seen.status, seen.retry_after = None, None
        seen.said.clear()
    return bool(sender.notify(**message)), ""


def refused(seen: Seen) -> bool:
    """Whether the service said that the same message again would not do."""
    return seen.status is not None and 400 <= seen.status < 500 and seen.status not in TRY_AGAIN


def _picture(request: dict[str, Any]) -> Any:
    """Draw the chart, as an attachment that never was a file. None without one: the words must arrive in any case."""
    told = request.get("chart")
    if not told or importlib.util.find_spec("matplotlib") is None:
        return None

    def too_slow(_signal: int, _frame: object) -> None:
        raise TimeoutError

    # The first picture on a machine may have to look through all its fonts.
    before = signal.signal(signal.SIGALRM, too_slow)
    left = signal.alarm(max(1, int(float(request["limit"]) / 3)))
    begun = time.monotonic()
    try:
        from smartmon.notify.chart import NAME, draw

        memory: Any = importlib.import_module("apprise.attachment.memory").AttachMemory
        return memory(content=draw(told), name=NAME, mimetype="image/png")
    except Exception:  # noqa: BLE001 - whatever goes wrong with a picture, the alert is what matters
        return None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.alarm(max(1, left - int(time.monotonic() - begun)))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Send one message and say what came of it. Never raises for what a service or a library does."""
    seen = Seen()
    logger = logging.getLogger("apprise")
    logger.handlers = [_Listener(seen)]
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    try:
        ok, final = _deliver(request, seen)
    except ImportError as error:
        ok, final = False, f"a Python package is missing: {error.name or 'apprise'}"
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and the daemon must hear of it
        ok, final = False, ""
        seen.said.append(f"{type(error).__name__}: {error}")
    if ok:
        return {"ok": True, "permanent": False, "error": "", "retry_after": None, "status": seen.status}
    why = final or " ".join(dict.fromkeys(seen.said[-3:])) or "the service did not take the message"
    redactor = Redactor()
    redactor.add(str(request.get("url", "")))
    return {
        "ok": False,
        "permanent": bool(final) or refused(seen),
        "error": cut(clean(redactor.clean(why)), LONGEST_ERROR),
        "retry_after": seen.retry_after,
        "status": seen.status,
    }


def _die_with_parent() -> None:
    """Ask the kernel to end this process when the daemon dies, however it dies (Linux only)."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Read the request, send, answer. Whatever a library prints goes nowhere."""
    parent = os.getppid()
    _die_with_parent()
    request = json.loads(sys.stdin.buffer.read())
    signal.alarm(int(float(request["limit"])) + 2)
    out = os.dup(1)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    if os.getppid() != parent:  # it died before the kernel knew our wish
        return
    line = json.dumps(answer(request)) + "\n"
    os.write(out, line.encode())
    # A plugin's left-over thread must not hold the process.
    os._exit(0)


if __name__ == "__main__":
    main()
