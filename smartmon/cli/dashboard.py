"""`smartmon dashboard`: the web page, in a process of its own."""

from __future__ import annotations

import importlib
import socket
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smartmon.cli.options import BaseDirs, ConfigPath

if TYPE_CHECKING:
    from smartmon.web.serve import Served

NEEDS = "the dashboard needs packages that are not installed here ({name}); pip install 'smartmon[dashboard]'"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dashboard")(dashboard)


def dashboard(
    base_dir: BaseDirs = None,
    config: ConfigPath = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 0.0.0.0 for every one.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.", show_default="8081")
    ] = None,
) -> None:
    """Serve the runs as a live web page.

    It reads what the daemon has stored, and changes nothing. Only this machine reaches it: with another --host all
    need the token, which is printed as a link and as a QR code for a phone. From afar, an SSH tunnel is safer, as the
    page speaks plain HTTP.

    Example: smartmon dashboard --base-dir ~/train
    """
    from smartmon import log
    from smartmon.cli.context import database_path, load_config
    from smartmon.config import fixed_part
    from smartmon.errors import StoreError, UsageError
    from smartmon.notify.redact import Redactor
    from smartmon.text import clean

    given: dict[str, Any] = {"dashboard.host": host, "dashboard.port": port}
    settings = load_config(base_dir, config, {key: value for key, value in given.items() if value is not None})
    base = settings.base_dirs[0]
    if not fixed_part(base).is_dir():
        # A trainer may refuse a folder that is there already: we do not make it for a token.
        raise StoreError(f"there is no folder {clean(base)}; name the training directory with --base-dir")
    try:
        from smartmon.web.serve import serve, settle
    except ModuleNotFoundError as error:
        raise UsageError(NEEDS.format(name=error.name)) from None

    log.setup(form=settings.log.format, level=settings.log.level, redact=Redactor(settings).clean)

    def listening(served: Served) -> None:
        settle()
        _tell(served)

    serve(settings, lambda: database_path(settings), listening)


def _tell(served: Served) -> None:
    """Print where it is, and how to get there from a phone or from afar. A link is one line, to be copied whole."""
    print(f"smartmon dashboard at {served.link()}")
    if served.secret:
        link = served.link(_address() if served.host in ("0.0.0.0", "::") else served.host)  # noqa: S104 - compared
        print(f"from another machine: {link}", _qr(link), sep="\n")
        print("Whoever has this link sees everything, and it goes in plain HTTP: use it in a")
        print("network that you trust. For a new token delete the file that holds it:")
        print(served.token_file)
    print(f"from afar: ssh -N -L {served.port}:127.0.0.1:{served.port} {socket.gethostname()}")
    print(f"           and open http://127.0.0.1:{served.port}/")
    print("Ctrl-C ends it.", flush=True)


def _address() -> str:
    """Return the address by which the local network knows this machine, as far as its routes tell; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _qr(link: str) -> str:
    """Return the link as a QR code in half blocks, where somebody looks and the package is there."""
    if not sys.stdout.isatty():
        return "A phone takes a QR code, which is drawn on a terminal."
    try:
        segno = importlib.import_module("segno")
    except ModuleNotFoundError:
        return "A QR code for the phone comes with: pip install 'smartmon[dashboard]'"
    rows = [list(row) for row in segno.make(link, error="l", micro=False).matrix_iter(border=2)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    lines = ["".join(blocks[bool(a), bool(b)] for a, b in zip(*pair)) for pair in zip(rows[::2], rows[1::2])]
    return "\n".join(lines)
