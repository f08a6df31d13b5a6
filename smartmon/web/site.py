"""What all routes share: the configuration, the database, the clock, the machine."""

from __future__ import annotations

import shlex
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar, cast

from smartmon.config import Config
from smartmon.errors import UsageError
from smartmon.host import Host
from smartmon.text import clean
from smartmon.web.draw import Pictures
from smartmon.web.past import Past
from smartmon.web.readers import Readers

_T = TypeVar("_T")


class AbsentError(UsageError):
    """What was asked for is not there."""


class Site:
    """One dashboard."""

    def __init__(self, config: Config, locate: Callable[[], Path], clock: Callable[[], float] = time.time) -> None:
        """`locate` says where the database is now."""
        self.config = config
        self.readers = Readers(locate)
        self.clock = clock
        self.past = Past(Host(config.monitor.host_interval), clock)
        self.memory = Memory()
        self.large = Memory(8)
        self.pictures = Pictures()

    @property
    def command(self) -> str:
        """How to start a daemon here."""
        return " ".join(["smartmon run", *(f"--base-dir {shlex.quote(clean(base))}" for base in self.config.base_dirs)])

    def close(self) -> None:
        """Give everything back."""
        self.past.stop()
        self.pictures.close()
        self.readers.close()


class Memory:
    """Remembers what is costly to find out, as long as what it depends on is the same."""

    def __init__(self, most: int = 1024) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[Hashable, object]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: Hashable, version: Hashable, find: Callable[[], _T]) -> _T:
        """Return what was found under this name for this version, or find it."""
        with self._lock:
            known = self._kept.get(name)
            if known is not None and known[0] == version:
                self._kept.move_to_end(name)
                return cast(_T, known[1])
        found = find()
        with self._lock:
            self._kept[name] = (version, found)
            self._kept.move_to_end(name)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found
