"""The page: files that were built into the package, served by name. A request never becomes a path."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from smartmon.web.answers import problem, tagged

STATIC = Path(__file__).with_name("static")
NOT_BUILT = "smartmon: the page was not built into this installation (pip install . builds it); the data is at /api.\n"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
_FOREVER = "public, max-age=31536000, immutable"


class Page:
    """The files of one folder, by the addresses they have."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}
        self._listed: int = -1

    def serve(self, app: FastAPI) -> None:
        """Add the page to an application, behind all other routes."""

        @app.get("/{name:path}", include_in_schema=False)
        def file(request: Request, name: str) -> Response:
            return self.answer(request, name)

    def answer(self, request: Request, name: str) -> Response:
        """Return a file of the page, or that there is none."""
        path = self._known().get(name or "index.html")
        if path is None:
            if not name:
                return Response(NOT_BUILT, 503, media_type="text/plain; charset=utf-8")
            return problem(404, "there is nothing here")
        try:
            body = path.read_bytes()
        except OSError:
            # Built anew just now.
            self._listed = -1
            return problem(404, "there is nothing here any more")
        answer = tagged(request, body, _TYPES.get(path.suffix, "application/octet-stream"))
        # Their names hold a digest of what is in them.
        answer.headers["cache-control"] = _FOREVER if name.startswith("assets/") else "no-cache"
        return answer

    def _known(self) -> dict[str, Path]:
        try:
            built = (self._folder / "index.html").stat().st_mtime_ns
        except OSError:
            return {}
        if built != self._listed:
            found = (path for path in self._folder.rglob("*") if path.is_file() and not path.is_symlink())
            self._files = {path.relative_to(self._folder).as_posix(): path for path in found}
            self._listed = built
        return self._files
