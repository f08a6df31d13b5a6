"""Pictures for the page: drawn beside the server, once, and never more of them than the machine can bear."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smartmon.store import Store
from smartmon.web import draw
from smartmon.web.draw import DrawError, Pictures

pytest.importorskip("matplotlib", reason="pip install 'smartmon[plots]'")


class Clock:
    """Moves when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "smartmon.db") as store:
        run = store.ensure_run("my-run", tmp_path / "r", tmp_path, 1.0)
        with store.transaction():
            for step in range(1, 30):
                store.append(run.id, 1, step, 1000.0 + step, {"loss": 1.0 / step})
        yield store


def test_a_picture_is_drawn_anew_when_the_run_has_gone_on_and_some_time_too(store: Store) -> None:
    clock = Clock()
    pictures = Pictures(clock)

    def got(version: int, *names: str) -> dict[str, str]:
        return pictures.get(store.path, 1, names, run="r", version=version)

    first = got(1, "loss")["loss"]
    assert base64.b64decode(first).startswith(b"\x89PNG")
    store.append(1, 1, 30, 1030.0, {"loss": 9.0})
    assert got(2, "loss")["loss"] is first
    clock.now += draw.FRESH
    assert got(1, "loss")["loss"] is first
    both = got(2, "recent", "loss")
    assert list(both) == ["recent", "loss"]
    assert both["loss"] != first


def test_however_many_ask_one_child_draws_and_the_others_are_told_to_come_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "WAIT", 60.0)
    started: list[object] = []

    class Counted(draw.Child):
        def __init__(self, *args: object) -> None:
            started.append(args)
            super().__init__(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(draw, "Child", Counted)
    pictures, together = Pictures(), threading.Barrier(12)

    def ask(_one: int) -> str:
        together.wait(10)
        try:
            return str(len(pictures.get(store.path, 1, ["loss"], run="r", version=1)))
        except DrawError as error:
            return str(error)

    with ThreadPoolExecutor(12) as pool:
        told = list(pool.map(ask, range(12)))
    assert len(started) == 1
    assert told.count("1") >= 1 + draw.WAITING
    assert set(told) <= {"1", "too many pictures are asked for at once; try again in some seconds"}


def test_what_is_remembered_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw.Child, "__init__", lambda *_: None)
    monkeypatch.setattr(draw.Child, "pictures", lambda _: {"loss": b"png"})
    pictures = Pictures()
    for run in range(3 * draw.KEPT):
        assert pictures.get(store.path, run, ["loss"], run=run, version=1)
    assert len(pictures._kept) == draw.KEPT


def test_a_server_that_ends_waits_for_no_picture(store: Store) -> None:
    pictures = Pictures()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(pictures.get, store.path, 1, ["overview"], run="r", version=1)
        deadline = time.monotonic() + 10
        while pictures._child is None and time.monotonic() < deadline:
            time.sleep(0.001)
        pictures.close()
        with pytest.raises(DrawError):
            asked.result(10)
    with pytest.raises(DrawError, match="ends"):
        pictures.get(store.path, 1, ["loss"], run="r", version=1)
