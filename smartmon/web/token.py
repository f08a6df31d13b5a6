"""The token that stands before a dashboard which more than this machine can reach: one file, one line, mode 0600."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from smartmon.errors import StoreError
from smartmon.text import clean

_MOST = 4096
_YEAR = 365 * 86400


def token(path: Path) -> bytes:
    """Return the token in a file; one that is missing is made. Raises StoreError in plain words."""
    doing = f"the dashboard's token file {clean(path)} cannot be"
    try:
        if not os.path.lexists(path):
            # Folders that are made on the way get the umask's mode: the state dir is made on its own.
            path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _make(path)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise StoreError(f"{doing} used: others may read it; run: chmod 600 {clean(path)}")
            found = file.read(_MOST).strip()
    except OSError as error:
        raise StoreError(
            f"{doing} read: {error.strerror}; serve this machine alone with --host 127.0.0.1, or set state_dir"
        ) from None
    if len(found) < 16 or not found.isascii() or not found.decode("ascii").isprintable() or b" " in found:
        raise StoreError(f"{doing} used: it must hold one token of at least 16 letters and digits; delete it for a new")
    return found


def _make(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_urlsafe(32).encode() + b"\n")
        file.flush()
        os.fsync(descriptor)


class Key:
    """Knows the token: whether a request shows it, and the cookie that shows it from then on."""

    def __init__(self, secret: bytes, port: int) -> None:
        self._secret = secret
        # Cookies do not tell ports apart: two dashboards on one machine must not take each other's away.
        self._cookie = f"smartmon_{port}"

    def fits(self, given: str) -> bool:
        """Whether this is the token; takes as long whatever is given."""
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._secret)

    def shown_by(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request shows the token, in its Authorization header or in our cookie."""
        for name, value in headers:
            text = value.decode("latin-1")
            if name == b"authorization":
                scheme, _, given = text.partition(" ")
                if scheme.lower() == "bearer" and self.fits(given.strip()):
                    return True
            elif name == b"cookie" and any(self.fits(given) for given in self._from_cookie(text)):
                return True
        return False

    def _from_cookie(self, text: str) -> list[str]:
        # By hand: the standard library gives up on all of them where a neighbour on this machine has set an odd one.
        pairs = (part.partition("=") for part in text.split(";"))
        return [value.strip() for name, _, value in pairs if name.strip() == self._cookie]

    @property
    def cookie(self) -> str:
        """The value of a Set-Cookie header."""
        secret = self._secret.decode("ascii")
        return f"{self._cookie}={secret}; Path=/; Max-Age={_YEAR}; HttpOnly; SameSite=Strict"
