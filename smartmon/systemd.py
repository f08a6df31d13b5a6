"""What systemd is told over `$NOTIFY_SOCKET` (sd_notify(3)), and how often it wants to hear from us."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping


class Notifier:
    """Speaks to the service manager; does nothing where there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_interval = int(usec) / 2e6 if usec.isdigit() and int(usec) else None
        """Seconds between two watchdog pings (half of what the unit allows), or None where none is wanted."""

    def _send(self, **fields: object) -> None:
        if not self._address:
            return
        message = "\n".join(f"{key}={value}" for key, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.connect(self._address)
                sock.sendall(message.encode("utf-8", "replace"))
        except OSError:
            # The manager may be gone or restarting; the watch goes on.
            return

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is complete."""
        self._send(READY=1, STATUS=status)

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(STATUS=status.replace("\n", " "))

    def alive(self) -> None:
        """Every worker is healthy: hold the watchdog off."""
        self._send(WATCHDOG=1)

    def reloading(self) -> None:
        """A reload began; `MONOTONIC_USEC` lets the manager tell it from an older one."""
        self._send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)

    def stopping(self) -> None:
        """The daemon is on its way out."""
        self._send(STOPPING=1)
