"""Under which names a dashboard answers: a page of somebody else's must not reach it by a name of its own."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::\d{1,5})?", re.IGNORECASE)
_LOCAL = ("127.0.0.1", "localhost", "[::1]")


class Hosts:
    """The allow-list of one server."""

    def __init__(self, bound: str, public_url: str | None, machine: str | None = None) -> None:
        """`bound`: the address that it listens on. `machine`: this machine's name."""
        names = {*_LOCAL, bracketed(bound)}
        if public_url and (named := urlsplit(public_url).hostname):
            names.add(bracketed(named))
        if not is_loopback(bound):
            own = machine or socket.gethostname()
            names |= {own, own.partition(".")[0], f"{own.partition('.')[0]}.local"}
        self._names = frozenset(name.lower() for name in names if name)
        # Whoever listens on every address is reached by any of them, and no page can take over a bare address.
        self._any_address = bound in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

    def problem(self, given: list[bytes]) -> tuple[int, str] | None:
        """Return status and sentence for a request whose Host headers are not to be trusted, or None."""
        if len(given) != 1:
            return 400, "a request must have one Host header"
        match = _HOST.fullmatch(given[0].decode("latin-1"))
        if match is None:
            return 400, "the Host header is malformed"
        name = match[1].lower()
        if name in self._names or (self._any_address and _is_address(name)):
            return None
        return 421, "this server does not go by that name; set public_url under [dashboard] to one that it should"


def bracketed(host: str) -> str:
    """Return a host as URLs have it: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name that is not `localhost` counts as reached by others."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
