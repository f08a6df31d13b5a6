"""The heartbeat: regular while healthy, silent otherwise, never in the way."""

from __future__ import annotations

from structlog.testing import capture_logs

from smartmon.notify.heartbeat import Heartbeat
from tests.notify.servers import Receiver, silent_port


def beat(heart: Heartbeat, now: float, *, healthy: bool = True) -> bool:
    started = heart.beat(now, healthy)
    heart.wait(10)
    return started


def test_it_calls_once_an_interval(receiver: Receiver) -> None:
    heart = Heartbeat(receiver.url("ping", "http"), 60.0)
    assert [beat(heart, now) for now in (0.0, 30.0, 60.0, 61.0, 125.0)] == [True, False, True, False, True]
    assert receiver.paths == ["/ping"] * 3


def test_it_is_silent_while_something_is_stuck(receiver: Receiver) -> None:
    heart = Heartbeat(receiver.url("ping", "http"), 60.0)
    assert not beat(heart, 0.0, healthy=False)
    assert beat(heart, 1.0)


def test_a_clock_that_was_set_back_does_not_silence_it(receiver: Receiver) -> None:
    heart = Heartbeat(receiver.url("ping", "http"), 60.0)
    assert beat(heart, 1000.0)
    assert beat(heart, 100.0)


def test_without_a_url_or_after_stop_it_does_nothing(receiver: Receiver) -> None:
    assert not Heartbeat(None, 60.0).beat(0.0, healthy=True)
    heart = Heartbeat(receiver.url("ping", "http"), 60.0)
    heart.stop()
    assert not heart.beat(0.0, healthy=True)


def test_a_hanging_receiver_holds_up_nobody_and_gets_no_second_call() -> None:
    with silent_port() as port:
        heart = Heartbeat(f"http://127.0.0.1:{port}/x", 60.0, timeout=0.3)
        assert heart.beat(0.0, healthy=True)
        assert not heart.beat(60.0, healthy=True)
        heart.wait(10)
        assert beat(heart, 61.0)


def test_a_failure_is_logged_when_it_starts_and_when_it_ends(receiver: Receiver) -> None:
    receiver.script = [500, 500, 200, 200]
    heart = Heartbeat(receiver.url("s3cret-ping", "http"), 60.0)
    with capture_logs() as logs:
        for n in range(4):
            beat(heart, n * 60.0)
    assert [entry["event"] for entry in logs] == ["heartbeat.failed", "heartbeat.recovered"]
    assert "500" in logs[0]["error"]


def test_other_schemes_are_refused_and_the_url_stays_secret() -> None:
    heart = Heartbeat("file:///s3cret-path", 60.0)
    with capture_logs() as logs:
        beat(heart, 0.0)
    assert "http" in logs[0]["error"]
    assert "s3cret" not in str(logs)
