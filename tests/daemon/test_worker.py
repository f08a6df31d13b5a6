"""A worker outlives what its step raises, and its silence shows."""

from __future__ import annotations

import threading

from smartmon.daemon.worker import FRESH, Worker


def test_a_step_that_raises_is_tried_again():
    tries = threading.Semaphore(0)
    halted = threading.Event()

    def step() -> float:
        tries.release()
        raise RuntimeError("a bug")

    worker = Worker("x", step, halted)
    worker.start()
    assert tries.acquire(timeout=5)
    worker.wake()
    assert tries.acquire(timeout=5)
    worker.halt()
    worker.join(5)
    assert not worker.is_alive()


def test_a_wake_ends_the_wait():
    steps = threading.Semaphore(0)
    worker = Worker("x", lambda: steps.release() or 3600.0, threading.Event())
    worker.start()
    assert steps.acquire(timeout=5)
    worker.wake()
    assert steps.acquire(timeout=5)
    worker.halt()
    worker.join(5)


def test_a_stuck_step_is_unhealthy_after_a_while_and_a_long_wait_is_not():
    inside, leave = threading.Event(), threading.Event()

    def step() -> float:
        inside.set()
        leave.wait(30)
        return 1000.0

    worker = Worker("x", step, threading.Event())
    worker.start()
    assert inside.wait(5)
    beat = worker._beat
    assert worker.healthy(beat + FRESH - 1)
    assert not worker.healthy(beat + FRESH + 1)
    leave.set()
    worker.halt()
    worker.join(5)


def test_halting_closes_what_the_worker_holds():
    closed = threading.Event()
    worker = Worker("x", lambda: 3600.0, threading.Event(), close=closed.set)
    worker.start()
    worker.halt()
    worker.join(5)
    assert closed.is_set()
