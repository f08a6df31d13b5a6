"""The dashboard as a child of the daemon: `python -m smartmon.web`, its settings on standard input.

It says in one line of JSON on standard output where it listens, or why it does not, and ends when its input does: a
daemon that was killed leaves no server behind.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> int:
    """Serve until told to stop. Returns the exit status."""
    told: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    from smartmon.errors import SmartmonError

    try:
        from smartmon import log
        from smartmon.config import load
        from smartmon.notify.redact import Redactor
        from smartmon.web.serve import Served, serve, settle

        config = load(
            Path(told["config"]) if told["config"] else None,
            base_dirs=[Path(base) for base in told["base_dirs"]],
            overrides=told["overrides"],
            environ=os.environ,
        )
        # Standard output is for one line, which the daemon reads: a second one would fill the pipe some day.
        log.setup(form=config.log.format, level=config.log.level, redact=Redactor(config).clean)
        database = Path(told["database"])

        def listening(served: Served) -> None:
            settle()
            _say({"url": served.url})

        serve(config, lambda: database, listening, stop=_end_with_input)
    except ModuleNotFoundError as error:
        _say({"error": f"packages are not installed here ({error.name}); pip install 'smartmon[dashboard]'"})
        return 2
    except SmartmonError as error:
        _say({"error": str(error)})
        return error.exit_code
    return 0


def _say(what: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _end_with_input(end: Callable[[], None]) -> None:
    def wait() -> None:
        sys.stdin.buffer.read()
        end()

    threading.Thread(target=wait, name="input", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
