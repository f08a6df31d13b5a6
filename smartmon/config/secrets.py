"""Where secrets come from: `${NAME}` in a URL stands for an environment variable, `url_file` names a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from smartmon import text
from smartmon.config.sections import Notifier

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_BYTES = 16_384


def expand(value: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the text with every `${NAME}` replaced, and the sentence that says which of them are not set."""
    missing = sorted({name for name in _VARIABLE.findall(value) if not environ.get(name)})
    if missing:
        names = ", ".join(f"${{{name}}}" for name in missing)
        return "", f"uses {names}, which the environment does not set"
    return _VARIABLE.sub(lambda match: environ[match[1]], value), ""


def of_notifier(notifier: Notifier, folder: Path, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return a notifier's URL, or the sentence that says why there is none."""
    if notifier.url is not None:
        return expand(notifier.url.get_secret_value().strip(), environ)
    if notifier.url_file is None:
        return "", "has neither url nor url_file"
    spelled, trouble = expand(str(notifier.url_file), environ)
    return ("", trouble) if trouble else _from_file(folder / spelled)


def _from_file(path: Path) -> tuple[str, str]:
    shown = text.clean(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES).decode("utf-8-sig").strip()
    except OSError as error:
        return "", f"cannot read url_file {shown}: {error.strerror}"
    except UnicodeDecodeError:
        return "", f"url_file {shown} is not text"
    except ValueError:
        return "", f"url_file {shown} is no path: it holds a NUL character"
    rows = [row.strip() for row in content.splitlines() if row.strip() and not row.lstrip().startswith("#")]
    if len(rows) != 1:
        return "", f"url_file {shown} must hold one URL on one line (found {len(rows)})"
    return rows[0], ""
