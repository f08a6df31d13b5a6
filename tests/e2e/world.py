"""A training directory, a real daemon beside it, and a real receiver, for tests that go from file to phone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PATIENCE = 20.0


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Return the first true value of `condition`; fail the test when there is none in time."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still waiting for {getattr(condition, '__doc__', None) or condition}"
        time.sleep(0.02)
    return value


class Receiver:
    """An HTTP server on loopback that keeps every body, and answers what it is told to (200 by default)."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answers: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = outer.answers.pop(0) if outer.answers else 200
                if status == 200:
                    outer.bodies.append(json.loads(body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    @property
    def texts(self) -> list[str]:
        """Title and body of each message, in the order of arrival."""
        return [f"{body.get('title', '')}\n{body.get('message', body.get('text', ''))}" for body in self.bodies]

    def __enter__(self) -> Receiver:
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


class Run:
    """A training run on disk, written the way a trainer would."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.model = base / "current_model"
        (base / "status").mkdir(parents=True)
        self.model.mkdir()
        (self.model / "adapter_config.json").write_text('{"r": 16}\n')

    @property
    def status_path(self) -> Path:
        return self.base / "status" / "training_status.json"

    def status(self, step: int, **fields: object) -> None:
        """Replace the status file atomically."""
        temporary = self.status_path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"status": "training", "current_step": step, **fields}))
        temporary.replace(self.status_path)

    def log(self, rows: list[dict[str, object]]) -> None:
        """Append rows to the training log."""
        with (self.base / "training_log.jsonl").open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def checkpoint(self, step: int, size: int = 4096) -> Path:
        """Write a complete `checkpoint-N`, `trainer_state.json` last."""
        folder = self.model / f"checkpoint-{step}"
        folder.mkdir()
        data = os.urandom(size)
        header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
        (folder / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
        (folder / "adapter_config.json").write_text('{"r": 16}\n')
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))
        return folder


class Daemon:
    """`smartmon run` as a child process; `ready` is known from its own word on the notify socket."""

    def __init__(self, base: Path, *options: str, config: str = "", env: dict[str, str] | None = None) -> None:
        self.base = base
        self.config = base.parent / f"{base.name}.toml"
        self.config.write_text(config)
        self.log = base.parent / f"{base.name}.stderr"
        self._options = options
        self._env = env or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.told: list[str] = []

    def command(self, *words: str) -> list[str]:
        where = ["--base-dir", str(self.base), "--config", str(self.config)]
        return [sys.executable, "-m", "smartmon", *words, *where]

    def start(self, *, wait: bool = True) -> Daemon:
        """Start the daemon, and wait until it says READY."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sm"))
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            sock.bind(f"{folder}/n")
            sock.settimeout(PATIENCE)
            env = {**os.environ, **self._env, "NOTIFY_SOCKET": f"{folder}/n"}
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [*self.command("run"), *self._options], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env
                )
            while wait and not (self.told and self.told[-1].startswith("READY=1")):
                self.told.append(sock.recv(4096).decode())
        return self

    def once(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run with `--once` to its end."""
        return subprocess.run(
            [*self.command("run", "--once"), *self._options, *options],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env={**os.environ, **self._env},
        )

    def cli(self, *words: str, code: int = 0) -> Any:
        """Run another command with `--json` and return its document."""
        done = subprocess.run(
            [*self.command(*words), "--json"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database directly, read-only."""
        path = self.base / ".smartmon" / "smartmon.db"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            return db.execute(sql, values).fetchall()

    def events(self, kind: str) -> list[tuple[Any, ...]]:
        """(step, severity, message, historic) of the events of a kind, oldest first."""
        try:
            return self.rows("select step, severity, message, historic from events where kind = ? order by id", kind)
        except sqlite3.OperationalError:
            return []

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=10)

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


def notifier(receiver: Receiver, extra: str = "") -> str:
    """The config of one notifier that posts to the receiver, and quick scans."""
    return (
        '[monitor]\npoll_interval = "500ms"\n[snapshots]\nsettle = "200ms"\n'
        f'[[notifiers]]\nname = "phone"\nurl = "json://127.0.0.1:{receiver.port}/"\n{extra}'
    )


@contextlib.contextmanager
def started(base: Path, *options: str, config: str = "", env: dict[str, str] | None = None) -> Iterator[Daemon]:
    """A daemon that is ready, and gone at the end."""
    daemon = Daemon(base, *options, config=config, env=env)
    try:
        yield daemon.start()
    finally:
        daemon.close()
