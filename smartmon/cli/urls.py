"""Whether Apprise can read a URL, asked in a child process: Apprise is large, and logs what it cannot read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

_CHILD = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from apprise import Apprise
urls = json.load(sys.stdin)
json.dump([Apprise.instantiate(url, suppress_exceptions=True) is not None for url in urls], sys.stdout)
"""


def readable(urls: Sequence[str], timeout: float = 30.0) -> list[bool] | None:
    """Return for each URL whether Apprise can read it, or None where Apprise itself does not start.

    The URLs travel on standard input, since command lines can be read by everyone on the machine.
    """
    if not urls:
        return []
    try:
        # -P keeps a file called apprise.py in the training directory from being imported.
        child = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD],
            input=json.dumps(list(urls)).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=True,
        )
        verdicts = json.loads(child.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return [bool(verdict) for verdict in verdicts]
