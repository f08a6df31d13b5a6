"""`nonfinite` in the gradient norm: what a loss scaler does is no news, what comes again is."""

from __future__ import annotations

import math

import pytest

from smartmon.detectors.nonfinite import NonFinite, NotNumbers
from smartmon.detectors.signal import Point


def norms(values: list[float]) -> list[tuple[int, str]]:
    """Step and severity of what fires on gradient norms beside a finite loss."""
    state, found = NotNumbers(), []
    for step, value in enumerate(values):
        firing = state.grad(NonFinite(), Point("grad_norm", step, value), loss_finite=True)
        found += [(step, str(firing.severity))] if firing else []
    return found


def bad_at(steps: list[int], count: int = 400) -> list[float]:
    return [math.nan if step in steps else 1.0 for step in range(count)]


def test_a_gradient_that_is_nan_once_is_recorded() -> None:
    assert norms(bad_at([300])) == [(300, "info")]


@pytest.mark.parametrize(("third", "severity"), [(349, "warning"), (350, "info")])
def test_the_third_of_a_hundred_gradients_is_a_habit(third: int, severity: str) -> None:
    assert norms(bad_at([250, 300, third]))[-1] == (third, severity)


def test_a_loss_scaler_may_fail_some_times_at_the_start() -> None:
    assert {severity for _, severity in norms(bad_at([0, 1, 3, 7, 20]))} == {"info"}


def test_the_state_is_a_copy() -> None:
    state = NotNumbers()
    kept = state.state()
    state.grad(NonFinite(), Point("grad_norm", 1, math.nan), loss_finite=True)
    assert kept["grads"] == []
