"""What happens is told as it happens, and nothing that happened meanwhile is missed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from smartmon.store import Store
from smartmon.web import feed
from smartmon.web.serve import Served
from tests.web.world import RUN, fill, served


class Listener:
    """Reads a stream of events, message by message."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.comments = 0

    def message(self) -> tuple[int, dict[str, object]]:
        """Return the id and the data of the next message."""
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                fields[name] = value
            elif "data" in fields:
                assert fields["event"] == "update"
                return int(fields["id"]), json.loads(fields["data"])
        raise AssertionError("the stream ended")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Served, Store]]:
    """A server of its own, and who writes what it serves."""
    base = tmp_path / "train"
    fill(base)
    with Store.open(base / ".smartmon" / "smartmon.db") as store, served(base) as where:
        yield where, store


def listen(where: Served, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=where.url, trust_env=False, headers=headers, timeout=httpx.Timeout(10))


def step(store: Store, number: int) -> None:
    run = store.run(RUN)
    assert run is not None
    with store.transaction():
        store.append(run.id, 2, number, time.time(), {"loss": 0.5})
        store.update_run(run.id, step=number, data={"latest": {"loss": 0.5}})


def event(store: Store, message: str) -> int:
    run = store.run(RUN)
    assert run is not None
    return store.add_event(at=time.time(), kind="loss_spike", message=message, run_id=run.id, severity="warning")


def test_a_step_and_an_event_arrive_without_being_asked_for(live: tuple[Served, Store]) -> None:
    where, store = live
    with listen(where) as client, client.stream("GET", "/api/stream") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        listener = Listener(response)
        cursor, first = listener.message()
        assert (cursor, len(first["runs"]), first["events"]) == (store.last_event_id(), 2, [])
        step(store, 1001)
        told: list[str] = []
        while not told:
            _, update = listener.message()
            told = [one["run"] for one in update["runs"] if one["step"] == 1001]
        assert told == [RUN]
        number = event(store, "it happened")
        happened: list[object] = []
        while not happened:
            cursor, update = listener.message()
            happened = update["events"]
        assert (cursor, happened[0]["id"], happened[0]["message"]) == (number, number, "it happened")


@pytest.mark.parametrize("by", ["header", "parameter"])
def test_who_comes_back_is_told_what_was_missed(live: tuple[Served, Store], by: str) -> None:
    where, store = live
    seen = store.last_event_id()
    missed = [event(store, f"missed {n}") for n in range(3)]
    headers = {"Last-Event-ID": str(seen)} if by == "header" else {}
    params = {"last_event_id": seen} if by == "parameter" else {}
    with listen(where, **headers) as client, client.stream("GET", "/api/stream", params=params) as response:
        cursor, update = Listener(response).message()
    assert [one["id"] for one in update["events"]] == missed
    assert (cursor, update["more"]) == (missed[-1], False)


def test_more_than_a_message_holds_is_said_to_be_more(live: tuple[Served, Store]) -> None:
    where, store = live
    with store.transaction():
        for n in range(205):
            event(store, f"event {n}")
    with listen(where, **{"Last-Event-ID": "0"}) as client, client.stream("GET", "/api/stream") as response:
        _, update = Listener(response).message()
    assert (len(update["events"]), update["more"]) == (200, True)


def test_a_silent_stream_says_that_it_lives(live: tuple[Served, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT", 0.1)
    where, _store = live
    with listen(where) as client, client.stream("GET", "/api/stream") as response:
        listener = Listener(response)
        listener.message()
        lines = iter(listener._lines)
        assert ": alive" in (next(lines) for _ in range(10))


def test_there_are_so_many_viewers_and_no_more(live: tuple[Served, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_VIEWERS", 1)
    where, _store = live
    with listen(where) as client, client.stream("GET", "/api/stream") as response:
        listener = Listener(response)
        listener.message()
        assert client.get("/api/stream").status_code == 503


def test_a_stream_outlives_the_database_that_it_began_with(live: tuple[Served, Store]) -> None:
    where, store = live
    with listen(where) as client, client.stream("GET", "/api/stream") as response:
        listener = Listener(response)
        listener.message()
        store.close()
        for path in store.path.parent.iterdir():
            path.unlink()
        with Store.open(store.path) as fresh:
            run = fresh.ensure_run("again", store.path.parent, store.path.parent, time.time())
            deadline, told = time.monotonic() + 10, []
            while not told:
                assert time.monotonic() < deadline
                fresh.update_run(run.id, step=int(1000 * time.monotonic()))
                told = [one["run"] for one in listener.message()[1]["runs"]]
    assert told == ["again"]
