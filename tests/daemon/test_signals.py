"""Signals are never waited past, whichever thread the kernel gives them to."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from smartmon.daemon.signals import Signals


@pytest.fixture
def signals() -> Iterator[Signals]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    taken = Signals()
    taken.take()
    yield taken
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)
    taken.close()


def test_a_signal_that_came_before_the_wait_ends_it(signals: Signals):
    os.kill(os.getpid(), signal.SIGTERM)
    begun = time.monotonic()
    signals.wait(10)
    assert signals.stop
    assert time.monotonic() - begun < 5


def test_a_signal_to_another_thread_ends_the_wait_of_the_main_thread(signals: Signals):
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    timer = threading.Timer(0.1, lambda: signal.pthread_kill(other.ident or 0, signal.SIGHUP))
    timer.start()
    begun = time.monotonic()
    signals.wait(10)
    over.set()
    other.join()
    timer.join()
    assert signals.reload
    assert time.monotonic() - begun < 5


def test_a_storm_is_one_request(signals: Signals):
    for _ in range(5000):
        os.kill(os.getpid(), signal.SIGHUP)
    signals.wait(1)
    assert signals.reload
    begun = time.monotonic()
    signals.wait(0.05)
    assert time.monotonic() - begun >= 0.04
