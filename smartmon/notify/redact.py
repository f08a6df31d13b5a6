"""Keep secrets out of everything that is written: logs, events, errors, the database.

Standard library only, for the sending child uses it too.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol
from urllib.parse import quote, unquote, unquote_plus

from smartmon.errors import SmartmonError

MASK = "***"
SHORTEST = 6
"""Parts shorter than this are too common as ordinary text to be replaced."""

# fmt: off
_COMMON = frozenset({
    "localhost", "training", "trainer", "alerts", "alert", "smartmon", "webhook", "webhooks", "services",
    "service", "notify", "message", "messages", "upstream", "truncate", "markdown", "default", "channel",
    "general", "server", "client", "status", "checkpoint", "snapshots", "snapshot", "api_key", "discord",
    "mattermost", "incoming", "outgoing", "format", "overflow", "normal", "urgent", "public", "private",
})
# fmt: on
"""Words that stand in many URLs and in most of what smartmon writes: no secret, and unreadable logs without them."""


class _Notifier(Protocol):
    def resolve(self) -> str: ...


class Secrets(Protocol):
    """What the redactor reads of the configuration."""

    @property
    def notifiers(self) -> Iterable[_Notifier]: ...

    @property
    def heartbeat_url(self) -> Any: ...


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _pieces(url: str) -> Iterator[str]:
    """Split a URL by hand: Apprise takes many that `urlsplit` does not."""
    rest = url.partition("://")[2] or url
    rest, _, query = rest.partition("?")
    for pair in re.split("[&;#]", query):
        value = pair.partition("=")[2] or pair
        yield value
        yield from re.split("[,/ ]", unquote_plus(value))
    authority, _, path = rest.partition("/")
    yield from re.split("[/,]", path)
    yield path.strip("/")
    userinfo, _, host = authority.rpartition("@")
    yield userinfo
    yield from re.split("[:@]", userinfo)
    # `tgram://12345:token/chat` has its token where a port would be.
    name, _, port = host.partition(":") if not host.startswith("[") else (host.partition("]")[0], "", "")
    if not _is_address(name):
        yield host
        yield name
        yield port


def parts(url: str) -> set[str]:
    """Return the URL and each of its parts that may be a secret, in every spelling that could be written."""
    found = {url, url.partition("://")[2]}
    for piece in _pieces(url):
        found |= {piece, unquote(piece), piece.lstrip("@#+")}
    kept = {p for p in found if len(p) >= SHORTEST and p.lower() not in _COMMON and not _is_address(p)}
    return {spelling for part in kept for spelling in (part, quote(part, safe=""), json.dumps(part)[1:-1])}


class Redactor:
    """Replaces every configured secret by `***`. Thread-safe: its pattern is replaced whole, never changed."""

    def __init__(self, config: Secrets | None = None) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._urls: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        if config is not None:
            self.update(config)

    def update(self, config: Secrets) -> None:
        """Learn a configuration's secrets; those known before stay secret."""
        for notifier in config.notifiers:
            try:
                self.add(notifier.resolve())
            except (SmartmonError, OSError, ValueError):
                continue  # what cannot be read cannot leak; sending reports it
        url = config.heartbeat_url
        if url is not None:
            self.add(url.get_secret_value() if hasattr(url, "get_secret_value") else str(url))

    def add(self, url: str) -> None:
        """Learn one secret URL."""
        if not url or url in self._urls:
            return
        self._urls |= {url}
        self._secrets |= parts(url)
        ordered = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def clean(self, text: str) -> str:
        """Return the text without any secret."""
        pattern = self._pattern
        return text if pattern is None else pattern.sub(MASK, text)

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment without the variables that hold a secret URL."""
        return {name: value for name, value in environ.items() if not any(url in value for url in self._urls)}

    def scrub(self, value: Any) -> Any:
        """Clean every text inside a value of mappings, lists and texts; other values pass as they are."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, Mapping):
            return {self.scrub(key): self.scrub(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return type(value)(self.scrub(item) for item in value)
        if isinstance(value, (BaseException, bytes)) or hasattr(value, "__fspath__"):
            shown = str(value)
            cleaned = self.clean(shown)
            return value if cleaned == shown else cleaned
        return value

    def processor(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Clean a structlog event, as a processor does."""
        for key, value in event.items():
            event[key] = self.scrub(value)
        return event
