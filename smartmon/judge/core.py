"""The judge of one run: sorts rows in, asks each detector, and turns what fires into anomalies and incidents."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from smartmon import stats
from smartmon.detectors import crashed
from smartmon.detectors.base import Moment, Outcome, Over
from smartmon.detectors.best_model import Best
from smartmon.detectors.nonfinite import NotNumbers
from smartmon.detectors.settings import JudgeSettings
from smartmon.detectors.signal import Firing, Point, Trace, Verdict
from smartmon.detectors.stalled import Pace
from smartmon.incidents import Incident, Incidents
from smartmon.judge.accuracies import Accuracies
from smartmon.judge.calm import calm_loss
from smartmon.judge.evidence import Evidence
from smartmon.judge.intake import MOVED_AGAIN, Intake, Taken
from smartmon.judge.judged import Judged
from smartmon.judge.panel import Panel, moment
from smartmon.judge.tracks import CO_SPIKE_POINTS, GradTrack, LossTrack
from smartmon.judge.watch import Watch
from smartmon.records import Finding, HostSample, Observation, Rescaled, RunState, StatusReport
from smartmon.text import duration

NEWS_AGAIN = 600.0
VERSION = 4
"""Of the state: raised when what it holds changes its meaning."""
MOVING = (RunState.RUNNING, RunState.STALLED)


class Judge:
    """Everything known of one run. `Judge(settings, judge.state())` continues exactly where `judge` was."""

    def __init__(self, settings: JudgeSettings, state: Mapping[str, Any] | None = None) -> None:
        self.settings = settings
        self._intake = Intake(settings.accuracy_unit)
        self._incidents = Incidents()
        self._loops = crashed.Attempts()
        self._watch = Watch()
        self._base_state: RunState | None = None
        self._ended_at: float | None = None
        self._restarted = False
        self._live = False
        self.latest: dict[str, float] = {}
        self.latest_step: int | None = None
        self.last_step_at: float | None = None
        self.total_steps: int | None = None
        self._forget()
        if state is not None and state.get("version") == VERSION:
            self._restore(stats.decode(dict(state)))
        elif state is not None:
            self._carry_over(stats.decode(dict(state)))

    def _forget(self) -> None:
        """Begin as for a run never seen."""
        self._loss = LossTrack()
        self._grad = GradTrack()
        self._accuracies = Accuracies()
        self._numbers = NotNumbers()
        self._best = Best()
        self._pace = Pace()
        self._evidence = Evidence()
        self._panel = Panel(self.settings)
        self._rewards = False

    @property
    def attempt(self) -> int:
        """The attempt that the run is in, from 1."""
        return self._intake.attempt

    @property
    def run_state(self) -> RunState:
        """What the run is doing: what it says of itself, or that it has stopped moving."""
        state = self._base_state or (RunState.PENDING if self.latest_step is None else RunState.RUNNING)
        return RunState.STALLED if state is RunState.RUNNING and self._pace.told else state

    @property
    def best_loss(self) -> float | None:
        """The lowest value of the metric that `best_model` goes by."""
        return self._best.lowest

    @property
    def best_metric(self) -> str:
        """The metric that `best_loss` is a value of; empty while there is none."""
        return self._best.metric

    @property
    def best_loss_step(self) -> int | None:
        """The step of `best_loss`."""
        return self._best.lowest_step

    @property
    def open_incidents(self) -> list[Incident]:
        """The open incidents, oldest first."""
        return self._incidents.all_open

    def keep_sources(self, sources: Collection[str]) -> None:
        """Note which sources the run has now: what a lost one owned is free for the others."""
        self._intake.keep(sources)

    def observe(self, obs: Observation, *, trace: bool = False) -> Judged:
        """Take one row of one source and say what is to be stored and what was found."""
        found: list[Finding] = []
        taken = self._intake.take(obs, restarted=self._moved_again(obs))
        if taken.started is not None:
            self._begin_attempt(obs, taken, found)
        for rescaled in taken.rescaled:
            self._rescale(rescaled, obs, found)
        if taken.attempt < self.attempt:
            return Judged(taken.attempt, taken.values, tuple(found))
        self._live = self._live or not obs.historic
        if taken.new_step:
            self._new_step(obs, found)
        self.latest.update(taken.fresh)
        if total := taken.fresh.get("total_steps"):
            self.total_steps = int(total) if math.isfinite(total) else None
        verdicts: list[Verdict] = []
        if taken.fresh:
            self._judge(obs, taken, found, verdicts if trace else None)
        return Judged(taken.attempt, taken.values, tuple(found), tuple(verdicts))

    def _rescale(self, rescaled: Rescaled, obs: Observation, found: list[Finding]) -> None:
        """An accuracy turned out to be in percent: what was said of it, and what is known, was in the wrong unit."""
        found.append(rescaled)
        known, changes = self._accuracies.rescale(self._incidents, rescaled.metric, obs)
        found += changes
        if known:
            self._evidence.rescale(rescaled.metric, rescaled.factor)
            self.latest[rescaled.metric] *= rescaled.factor

    def _moved_again(self, obs: Observation) -> bool:
        """Whether the run is known to have been started anew although its steps go on."""
        if self._restarted:
            return True
        ended = self._base_state is not None and self._base_state.ended and self._ended_at is not None
        return ended and obs.timed and obs.at > (self._ended_at or 0.0) + MOVED_AGAIN

    def _begin_attempt(self, obs: Observation, taken: Taken, found: list[Finding]) -> None:
        started = taken.started
        assert started is not None
        found.append(started)
        self._restarted, self._ended_at = False, None
        if self._base_state is None or self._base_state.ended:
            self._base_state = RunState.RUNNING
        text = f"attempt {started.attempt} began at step {started.step:,}"
        stays = self._panel.outlives | {"crashed"}
        for kind in [incident.kind for incident in self._incidents.all_open if incident.kind not in stays]:
            found += self._incidents.resolve(kind, obs.at, obs.step, text)
        self._incidents.new_attempt()
        if started.reset:
            self._forget()
            self.latest = {}
        else:
            self._loss.resume(obs.step)
            self._accuracies.resume(obs.step)
            self._grad.level.cut(before=obs.step)
            self._numbers = NotNumbers()
            self._pace.resume()
            self._evidence.resume(obs.step, started.previous_step)
            self._panel.resume(obs.step)
        firing = self._loops.began(self.settings.detectors.crashed, obs.at, timed=obs.timed)
        if firing is not None:
            self._raise(firing, obs.step, obs.at, obs.historic, found)

    def _new_step(self, obs: Observation, found: list[Finding]) -> None:
        """Note progress: what the silence before it says, and that it is over."""
        pace = self._pace
        if obs.timed and self.run_state in MOVING and pace.last_step is not None:
            if not obs.historic and pace.since is not None:
                pace.slept += self._watch.missed(pace.since, obs.at)
            for at, firing in pace.check(self.settings.detectors.stalled, obs.at):
                self._raise(firing, pace.last_step, at, obs.historic, found)
        silence = "" if pace.last_at is None else f" after {duration(obs.at - pace.last_at)}"
        pace.step(obs.step, obs.at, timed=obs.timed)
        found += self._incidents.resolve("stalled", obs.at, obs.step, f"moving again{silence}")
        self._loops.reached(obs.step)
        self.latest_step, self.last_step_at = obs.step, obs.at

    def _judge(self, obs: Observation, taken: Taken, found: list[Finding], trace: Trace) -> None:
        fresh, step, settings = taken.fresh, obs.step, self.settings
        self._rewards = self._rewards or any("reward" in name for name in fresh)
        self._evidence.remember(fresh, step, settings.loss_window)
        firings: list[Firing | None] = []
        loss, grad = fresh.get("loss"), fresh.get("grad_norm")
        if (epoch := fresh.get("epoch")) is not None and math.isfinite(epoch) and loss is not None:
            self._loss.new_epoch(epoch)
        if grad is not None:
            point = Point("grad_norm", step, grad)
            finite = loss is None or math.isfinite(loss)
            firings.append(self._numbers.grad(settings.detectors.nonfinite, point, loss_finite=finite, trace=trace))
        spiked = grad is not None and math.isfinite(grad) and self._grad.learn(step, grad)
        if grad is not None and not math.isfinite(grad):
            # A loss that jumps with it, or right after, did not do so by chance.
            self._grad.since_spike = -1
        if loss is not None:
            firings += self._judge_loss(obs, loss, grad, trace)
        if spiked:
            self._confirm_spike(obs, found)
        dropped, changes = self._accuracies.judge(settings, self._incidents, obs, fresh, trace)
        firings += dropped
        found += changes
        if any(name.startswith("eval_") for name in fresh):
            self._pace.phase(step)
            firings.append(self._judge_eval(obs, fresh, found, trace))
        best = settings.detectors.best_model
        if best.enabled and best.metric not in ("auto", "loss", "eval_loss"):
            value = fresh.get(best.metric, math.nan)
            if math.isfinite(value):
                firings.append(self._best.judge(best, Point(best.metric, step, value), trace=trace))
        for firing in firings:
            if firing is not None:
                self._raise(firing, step, obs.at, obs.historic, found)
        if loss is not None:
            hidden = self._numbers.zeros > 0 or self._numbers.grads_in_row > 0
            moving = self.run_state in MOVING and not self._loops.looping(self.settings.detectors.crashed)
            found += calm_loss(self._incidents, self._loss, obs, loss, hidden=hidden, moving=moving)
        seen = self._moment(step, obs.at, fresh, timed=obs.timed, historic=obs.historic)
        seen.trace = trace
        self._take(self._panel.observe(seen), seen, found)

    def _judge_loss(self, obs: Observation, loss: float, grad: float | None, trace: Trace) -> list[Firing | None]:
        settings, detectors = self.settings, self.settings.detectors
        self._incidents.points += 1
        point = Point("loss", obs.step, loss)
        may_hide = self.run_state in MOVING and not self._rewards
        firing, usable = self._numbers.loss(detectors.nonfinite, point, grad, may_hide=may_hide, trace=trace)
        if not usable:
            self._loss.calm, self._loss.score = False, None
            return [firing]
        spiked = self._grad.point()
        firings: list[Firing | None] = [firing]
        firings += self._loss.judge(settings, obs.step, loss, grad_spike=spiked, trace=trace)
        if detectors.best_model.enabled:
            firings.append(self._best.judge(detectors.best_model, point, trace=trace))
        return firings

    def _confirm_spike(self, obs: Observation, found: list[Finding]) -> None:
        """The gradient norm stands far out: a loss spike just before it was more than a bad batch."""
        confirmed = self._loss.spikes.confirmed(obs.step, CO_SPIKE_POINTS)
        if confirmed is None or not self.settings.noise_guard:
            return
        step, since, firing = confirmed
        losses = self._evidence.histories["loss_history"]
        evidence = {**firing.evidence, "loss_history": losses[: len(losses) - since]}
        self._raise(replace(firing, evidence=evidence), step, obs.at, obs.historic, found)

    def _judge_eval(
        self, obs: Observation, fresh: Mapping[str, float], found: list[Finding], trace: Trace
    ) -> Firing | None:
        value = fresh.get("eval_loss")
        if value is None:
            return None
        detectors, point = self.settings.detectors, Point("eval_loss", obs.step, value)
        firing = self._numbers.eval_loss(detectors.nonfinite, point, trace=trace)
        if not math.isfinite(value):
            return firing
        incident = self._incidents.open("nonfinite")
        if incident is not None and incident.metric == "eval_loss":
            found += self._incidents.resolve("nonfinite", obs.at, obs.step, "the evaluation loss is finite again")
        return self._best.judge(detectors.best_model, point, trace=trace) if detectors.best_model.enabled else None

    def _moment(self, step: int, at: float, fresh: Mapping[str, float], **about: bool) -> Moment:
        """Return a row, or what is known without one, as the detectors of the panel see it."""
        return moment(self, self._loss, self._grad, step=step, at=at, fresh=fresh, rewards=self._rewards, **about)

    def _take(self, outcomes: Iterable[Outcome], seen: Moment, found: list[Finding]) -> None:
        """Raise what the panel says is wrong, and resolve what it says is over."""
        for outcome in outcomes:
            if isinstance(outcome, Over):
                found += self._incidents.resolve(outcome.kind, seen.at, seen.step, outcome.text)
            else:
                self._raise(outcome, seen.step, seen.at, seen.historic, found)

    def _raise(self, firing: Firing, step: int, at: float, historic: bool, found: list[Finding]) -> None:
        """Turn a firing into an anomaly and let it reach its incident."""
        anomaly = self._evidence.anomaly(self, firing, step, at, historic)
        if anomaly is None:
            return
        found.append(anomaly)
        change = self._incidents.add(anomaly)
        if change is not None:
            found.append(change)

    def report(self, status: StatusReport, *, historic: bool = False) -> tuple[Finding, ...]:
        """Take what a run says of itself: its progress, and whether it runs, rests, ended or died."""
        found: list[Finding] = []
        if status.total_steps:
            self.total_steps = status.total_steps
        self._evidence.around.stage(status.extras, status.step or self.latest_step or 0)
        before, state = self._base_state, status.state
        if state is None or state is RunState.STALLED:
            return ()
        step = status.step if status.step is not None else (self.latest_step or 0)
        self._base_state = state
        if state is RunState.RUNNING:
            self._live = self._live or not historic
            self._restarted = self._restarted or (before is not None and before.ended)
            self._ended_at = None
            if not historic:
                self._pace.began(status.at)
        elif before is not state:
            found += self._rest(status, step, historic)
        seen = self._moment(step, status.at, {}, timed=status.timed, historic=historic)
        self._take(self._panel.report(status, seen), seen, found)
        return tuple(found)

    def host(self, sample: HostSample) -> tuple[Finding, ...]:
        """Take how the machine is while the run moves: its disk, its memory, its GPUs."""
        found: list[Finding] = []
        self._evidence.around.sample = sample
        seen = self._moment(self.latest_step or 0, sample.at, {})
        if self._live and seen.state in MOVING:
            self._take(self._panel.host(sample, seen), seen, found)
        return tuple(found)

    def _rest(self, status: StatusReport, step: int, historic: bool) -> list[Finding]:
        """The run says for the first time that it does not run: paused, ended or died."""
        found: list[Finding] = []
        state = self._base_state
        self._pace.pause()
        found += self._incidents.resolve("stalled", status.at, step, f"the run is {status.word or state}")
        if state is None or not state.ended:
            return found
        self._ended_at, self._restarted = status.at, False
        failed = state is RunState.FAILED
        for kind in [i.kind for i in self._incidents.all_open if not (failed and i.kind == "crashed")]:
            found += self._incidents.resolve(kind, status.at, step, "the run ended", tell=not failed)
        if not failed:
            # What came to its end was in no crash loop; the next run in this folder counts its own attempts.
            self._loops = crashed.Attempts()
        crash = self._incidents.open("crashed")
        if crash is not None and step > crash.end_step and status.at - crash.opened_at >= NEWS_AGAIN:
            # It had got further in the meantime: that it died again is news, though not every few minutes.
            found += self._incidents.resolve("crashed", status.at, step, f"it got to step {step:,}", tell=False)
        if failed and self.settings.detectors.crashed.enabled:
            firing = crashed.crash(status.error_type, status.error_message, step)
            self._raise(firing, step, status.at, historic, found)
        return found

    def checkpoint(self, step: int) -> None:
        """Note that a checkpoint of this step was saved: the pause around it is no stall."""
        self._pace.phase(step)

    def tick(self, now: float) -> tuple[Finding, ...]:
        """Let time pass: stalls, and reminders of what is still critical."""
        found: list[Finding] = []
        clock = self._watch.look(self._pace, now)
        done = self.total_steps is not None and (self.latest_step or 0) >= self.total_steps
        if self._live and not done and self.run_state in (*MOVING, RunState.PENDING):
            pace = self._pace
            for at, firing in pace.check(self.settings.detectors.stalled, clock):
                self._raise(firing, pace.last_step or 0, min(at + now - clock, now), False, found)
        found += self._incidents.remind(now, self.settings.reminder)
        return tuple(found)

    def end_of_history(self, now: float) -> tuple[Finding, ...]:
        """Return one summary for each incident that a history left open; nobody was told of it before."""
        return tuple(self._incidents.summary(now))

    def state(self) -> dict[str, Any]:
        """Return everything known, as strict JSON."""
        parts = {name: getattr(self, f"_{name}").state() for name in _PARTS}
        plain = {name: getattr(self, name) for name in _PLAIN}
        state: dict[str, Any] = stats.encode(parts | plain | {"latest": self.latest, "version": VERSION})
        return state

    def _carry_over(self, state: Mapping[str, Any]) -> None:
        """Keep what every version knows of a run: where it is, and what it says of itself.

        What another version's detectors knew is no ground to stand on: they begin anew, rather than refuse to watch.
        """
        with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError):
            self._intake.restore(state["intake"])
            for name in _PLAIN:
                setattr(self, name, state[name])
            self._base_state = None if self._base_state is None else RunState(self._base_state)
            self.latest = dict(state["latest"])
            self._incidents.restore(state["incidents"])

    def _restore(self, state: Mapping[str, Any]) -> None:
        for name in _PARTS:
            getattr(self, f"_{name}").restore(state[name])
        for name in _PLAIN:
            setattr(self, name, state[name])
        self._base_state = None if self._base_state is None else RunState(self._base_state)
        self.latest = dict(state["latest"])


_PARTS = (
    *("intake", "incidents", "loops", "loss", "grad", "accuracies"),
    *("numbers", "best", "pace", "watch", "evidence", "panel"),
)
_PLAIN = ("_base_state", "_ended_at", "_restarted", "_live", "_rewards", "latest_step", "last_step_at", "total_steps")
