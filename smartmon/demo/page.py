"""The live page of the demonstration: where it is, and when it can be looked at."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import time
import urllib.request

from smartmon.demo.narrator import Narrator

_USUAL = 8081
_PATIENCE = 30.0
_LOOK = 0.1


def free_port() -> int | None:
    """A port of this machine for the page, the usual one where nobody has it; None where no page can be served."""
    if not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn")):
        return None
    for port in (_USUAL, 0):
        with socket.socket() as link, contextlib.suppress(OSError):
            # As a server does it: connections that an earlier demonstration has closed do not stand in the way.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            link.bind(("127.0.0.1", port))
            return int(link.getsockname()[1])
    return None


def tell(url: str, narrator: Narrator) -> None:
    """Say where the page is as soon as it answers."""
    # Whatever proxy this machine uses, the page is not behind it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            opener.open(url, timeout=5).close()
            narrator.tell("demo", f"the page: {url} shows it live once the model is loaded, as long as this lasts")
            return
        time.sleep(_LOOK)
    narrator.tell("demo", f"the page does not answer at {url}; output.log says why")
