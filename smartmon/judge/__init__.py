"""The judge: observations in, findings out. Pure, with a state that is JSON."""

from smartmon.detectors.signal import Verdict
from smartmon.judge.core import Judge
from smartmon.judge.explain import explain
from smartmon.judge.judged import Judged

__all__ = ["Judge", "Judged", "Verdict", "explain"]
