"""The receiver of the Hugging Face push channel: what it takes, what it refuses, and the way through the daemon."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smartmon.config import load
from smartmon.daemon import push as module
from smartmon.daemon.push import MOST_BYTES, PushError, Receiver, token
from smartmon.errors import ConfigError
from smartmon.sources.push import path_of
from tests.e2e.world import Receiver as Phone
from tests.e2e.world import Run, notifier, started, until

NOW = 2_000_000_000.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Trainer:
    """Posts what `KubeflowCallback` of transformers 5.4 posts, by the same library and with the same headers."""

    def __init__(self, url: str, token_file: Path) -> None:
        self.url = url
        self.token_file = token_file

    def update(self, percent: int, remaining: int | None = None, **metrics: object) -> int:
        """Return the status of the answer, as the callback cares for 200 alone."""
        status: dict[str, Any] = {"lastUpdatedTime": "2026-11-21T12:00:00+00:00", "progressPercentage": percent}
        if remaining is not None:
            status["estimatedRemainingSeconds"] = remaining
        if metrics:
            status["metrics"] = [{"name": name, "value": str(value)} for name, value in metrics.items()]
        return self.post(json.dumps({"trainerStatus": status}).encode())[0]

    def post(self, body: bytes, *, method: str = "POST", **headers: str) -> tuple[int, str]:
        """Return the status and the sentence of the answer."""
        told = {"Authorization": f"Bearer {self.token_file.read_text().strip()}", "Content-Type": "application/json"}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url, data=body, headers=told, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode().strip()


class World:
    """A receiver that serves from a thread, as a worker does."""

    def __init__(self, base: Path, runs: dict[str, Path]) -> None:
        base.mkdir(exist_ok=True)
        self.base = base
        self.runs = runs
        self.port = free_port()
        self.config = load(environ={}, base_dirs=[base], overrides={"push.enabled": True, "push.port": self.port})
        self.config.state_dir.mkdir(exist_ok=True)
        self.receiver = Receiver(self.config, lambda: self.runs, lambda: NOW)
        self.receiver._server = self.receiver._open()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._ended.is_set():
            self.receiver.step()

    def trainer(self, run: str = "") -> Trainer:
        return Trainer(self.receiver.url + run, self.config.push_token_file)

    def stored(self, run: str) -> dict[str, Any]:
        return json.loads(path_of(self.config.state_dir, run).read_text())

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.receiver.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(module, "_LOOK", 0.02)
    monkeypatch.setattr(module._Server, "timeout", 0.02)
    base = tmp_path / "train"
    made = World(base, {"train": base, "a/b c": base / "a" / "b c"})
    yield made
    made.close()


GOOD = b'{"trainerStatus": {"metrics": [{"name": "current_step", "value": "11"}]}}'


@pytest.mark.parametrize(
    ("path", "run"), [("", "train"), ("train", "train"), ("a/b%20c", "a/b c"), ("a%2Fb%20c/?x=1#y", "a/b c")]
)
def test_a_post_is_stored_for_the_run_in_its_path(world: World, path: str, run: str):
    assert world.trainer(path).post(GOOD) == (200, f"taken for {run}")
    assert world.stored(run) == {"run": run, "received_at": NOW, **json.loads(GOOD)}
    assert stat.S_IMODE(path_of(world.config.state_dir, run).stat().st_mode) == 0o600
    assert stat.S_IMODE((world.config.state_dir / "push").stat().st_mode) == 0o700


def test_the_path_may_be_left_out_where_there_is_one_run(world: World):
    world.runs = {"only": world.base / "only"}
    assert world.trainer().post(GOOD) == (200, "taken for only")
    world.runs = {}
    assert world.trainer().post(GOOD) == (200, "taken for train")


def test_which_of_several_runs_is_meant_must_be_said(world: World):
    world.runs = {name: world.base / name for name in ("b", "a")}
    assert world.trainer().post(GOOD) == (404, "which run is meant must stand in the path; there are a, b")


def test_a_run_that_is_not_known_is_told_which_are(world: World):
    assert world.trainer("nope").post(GOOD) == (404, "there is no run nope; there are a/b c, train")
    assert world.trainer("..%2Ftrain").post(GOOD)[0] == 404
    assert sorted(path.name for path in (world.config.state_dir / "push").iterdir()) == ["token"]


def test_a_folder_in_the_base_dir_will_be_a_run(world: World):
    (world.base / "fresh").mkdir()
    assert world.trainer("fresh").post(GOOD)[0] == 200


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Basic x", "Bearer \xff", "bearer  "])
def test_without_the_token_nothing_is_taken_and_no_run_is_named(world: World, given: str):
    status, told = world.trainer("nope").post(GOOD, Authorization=given)
    assert status == 401
    assert "KUBEFLOW_TRAINER_SERVER_TOKEN" in told
    assert "train," not in told


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty"),
        (b"{", "is not valid JSON"),
        (b"[1]", "holds a list"),
        (b"{}", "an object trainerStatus"),
        (b'{"trainerStatus": 5}', "an object trainerStatus"),
        (b'{"trainerStatus": {"a": ' + b"[" * 2000 + b"]" * 2000 + b"}}", "nested deeper"),
        (b"\xff\xfe\x00\xd8", "the body"),
    ],
)
def test_a_body_that_is_no_status_is_refused_in_a_sentence(world: World, body: bytes, words: str):
    status, told = world.trainer().post(body)
    assert status == 400
    assert words in told


def test_a_long_body_is_refused(world: World):
    assert world.trainer().post(b" " * (MOST_BYTES + 1)) == (413, f"a post may be at most {MOST_BYTES} bytes long")
    assert world.trainer().post(GOOD + b" " * (MOST_BYTES - len(GOOD)))[0] == 200


def test_a_page_in_a_browser_gets_nothing(world: World):
    assert world.trainer().post(GOOD, Host="smartmon.example.org")[0] == 403
    assert world.trainer().post(GOOD, Host="")[0] in (400, 403)
    assert world.trainer().post(GOOD, Origin="http://127.0.0.1")[0] == 403
    assert world.trainer().post(GOOD, Host=f"localhost:{world.port}")[0] == 200
    assert world.trainer().post(GOOD, Host=f"[::1]:{world.port}")[0] == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_read(world: World, method: str):
    assert world.trainer().post(b"", method=method)[0] == 405


def raw(world: World, *lines: str, end: bytes = b"") -> bytes:
    """Send a request as it stands and return the answer."""
    with socket.create_connection(("127.0.0.1", world.port), timeout=5) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + end)
        with contextlib.suppress(ConnectionResetError):
            return connection.recv(4096)
    return b""


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["POST / HTTP/1.1", "Host: localhost"], b" 411 "),
        (["POST / HTTP/1.1", "Host: localhost", "Content-Length: -1"], b" 411 "),
        (["POST / HTTP/1.1", "Host: localhost", "Content-Length: 2", "Transfer-Encoding: chunked"], b" 411 "),
        (["POST / HTTP/1.1", "Host: [bad", "Content-Length: 0"], b" 400 "),
        (["POST / HTTP/1.1", "Content-Length: 0"], b" 403 "),
        (["BREW / HTTP/1.1", "Host: localhost"], b" 501 "),
        (["\x16\x03\x01 hello"], b"400"),
        (["POST /" + "x" * 70_000 + " HTTP/1.1"], b" 414 "),
    ],
)
def test_a_malformed_request_is_answered_and_the_next_one_taken(world: World, lines: list[str], status: bytes):
    assert status in raw(world, *lines)
    assert world.trainer().post(GOOD)[0] == 200


def test_a_client_that_says_nothing_more_is_let_go(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module._Handler, "timeout", 0.1)
    assert raw(world, "POST / HTTP/1.1", "Host: localhost", "Content-Length: 5", end=b"12") == b""


def test_a_client_that_trickles_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LONGEST", 0.1)
    assert raw(world, "POST / HTTP/1.1", "Host: localhost", "Content-Length: 5", end=b"12") == b""


def test_connections_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch):
    with contextlib.ExitStack() as stack:
        for _ in range(module.MOST_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", world.port), timeout=5)).sendall(b"POST")
        assert world.receiver._server is not None
        until(lambda: world.receiver._server._free._value == 0)
        with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
            world.trainer().post(GOOD)
    until(lambda: world.receiver._server._free._value == module.MOST_CONNECTIONS)
    assert world.trainer().post(GOOD)[0] == 200


def test_a_disk_that_refuses_is_told_to_the_trainer(world: World):
    path_of(world.config.state_dir, "train").mkdir(parents=True)
    status, told = world.trainer().post(GOOD)
    assert status == 503
    assert "cannot be stored" in told


class TestToken:
    """Only the person who runs the daemon can read it."""

    def test_it_is_made_once(self, tmp_path: Path):
        made = token(tmp_path / "push" / "token")
        assert len(made) >= 32
        assert token(tmp_path / "push" / "token") == made
        assert stat.S_IMODE((tmp_path / "push" / "token").stat().st_mode) == 0o600

    def test_one_of_ones_own_is_taken_as_it_is(self, tmp_path: Path):
        (tmp_path / "own").write_text("  secret\n")
        assert token(tmp_path / "own") == b"secret"

    @pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n"])
    def test_an_empty_one_opens_no_door(self, tmp_path: Path, content: bytes):
        (tmp_path / "own").write_bytes(content)
        with pytest.raises(PushError, match="one token on one line"):
            token(tmp_path / "own")

    def test_config_says_where_it_is(self, tmp_path: Path):
        (tmp_path / "c.toml").write_text('[push]\ntoken_file = "own"\n')
        assert load(tmp_path / "c.toml", environ={}, base_dirs=[tmp_path]).push_token_file == tmp_path / "own"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_no_other_machine_is_ever_listened_to(tmp_path: Path, host: str):
    with pytest.raises(ConfigError, match="of this machine alone"):
        load(environ={}, base_dirs=[tmp_path], overrides={"push.host": host})


def test_a_port_that_is_taken_is_said_so(world: World):
    with pytest.raises(PushError, match=f"cannot listen for posts at 127.0.0.1:{world.port}: .*push.port"):
        Receiver(world.config, dict).step()


def config(phone: Phone, port: int) -> str:
    return notifier(phone) + f"[push]\nenabled = true\nport = {port}\n"


def test_a_run_is_watched_from_its_first_post_to_the_alert_of_its_nan(tmp_path: Path):
    """Nothing of it is on disk but an empty folder, as before Hugging Face's first checkpoint."""
    base = tmp_path / "out"
    base.mkdir()
    port = free_port()
    with Phone() as phone, started(base, config=config(phone, port)) as daemon:
        token_file = base / ".smartmon" / "push" / "token"
        until(token_file.exists)
        trainer = Trainer(f"http://127.0.0.1:{port}/", token_file)
        until(lambda: answered(trainer))
        for step, loss in ((5, 2.5), (10, 2.4), (15, 2.4), (20, 2.3)):
            assert trainer.update(step, 42, loss=loss, learning_rate=1e-4, current_step=step, total_steps=100) == 200
            until(lambda step=step: daemon.rows("select 1 from runs where step = ?", step))
        (run,) = daemon.cli("status")["runs"]
        assert (run["run"], run["state"], run["step"], run["total_steps"]) == ("out", "running", 20, 100)
        assert run["loss"] == 2.3
        assert Trainer(trainer.url, write(tmp_path / "other", "wrong")).update(21, current_step=21) == 401
        for step in range(25, 60, 5):
            nan = {"loss": "nan", "epoch": step / 100, "current_step": step, "total_steps": 100}
            assert trainer.update(step, 40, **nan) == 200
            until(lambda step=step: daemon.rows("select 1 from runs where step = ?", step))
        until(lambda: len(phone.texts) > 1)
        assert "NaN" in phone.texts[0]
        assert [row[1] for row in daemon.events("nonfinite")][::6] == ["warning", "critical"]
        assert trainer.update(100, 0, loss="nan", epoch=0.55, train_runtime=9.1, train_loss=2.4) == 200
        until(lambda: daemon.rows("select 1 from runs where state = 'completed'"))
        assert daemon.stop() == 0


def test_a_known_run_shows_the_step_between_its_logs_and_keeps_it_over_a_restart(tmp_path: Path):
    run = Run(tmp_path / "train")
    run.log([{"step": step, "loss": 2.0 - step / 1000, "epoch": 0.1} for step in range(0, 200, 10)])
    port = free_port()
    with Phone() as phone, started(run.base, config=config(phone, port)) as daemon:
        token_file = run.base / ".smartmon" / "push" / "token"
        until(token_file.exists)
        trainer = Trainer(f"http://127.0.0.1:{port}/train", token_file)
        until(lambda: answered(trainer))
        assert trainer.update(19, 42, loss=9.9, current_step=195, total_steps=1000) == 200
        until(lambda: daemon.rows("select 1 from runs where step = 195"))
        daemon.kill()
        assert json.loads(path_of(run.base / ".smartmon", "train").read_text())["run"] == "train"
        daemon.told.clear()
        daemon.start()
        (shown,) = daemon.cli("status")["runs"]
        assert (shown["step"], shown["total_steps"]) == (195, 1000)
        # The log is the run's history; what is pushed beside it does not speak for the loss.
        assert shown["loss"] == pytest.approx(1.81)
        assert daemon.stop() == 0


def answered(trainer: Trainer) -> bool:
    """Whether the receiver listens: the first post of a run tells no step."""
    try:
        return trainer.update(0, total_steps=100) == 200
    except OSError:
        return False


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_nothing_listens_unless_it_is_asked_for(tmp_path: Path):
    run = Run(tmp_path / "train")
    port = free_port()
    with started(run.base, config=f"[push]\nport = {port}\n"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        assert not os.path.lexists(run.base / ".smartmon" / "push")
