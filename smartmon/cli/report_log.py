"""A log as a run that can be drawn: judged as the daemon would, into a database that lives as long as the command."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from smartmon.config import Config
from smartmon.errors import SourceError
from smartmon.judge import Judge
from smartmon.records import Anomaly, AttemptStarted, Finding, IncidentChange, Json, Rescaled, StatusReport
from smartmon.replay import opened, rounds, run_name
from smartmon.sources.merging import in_time_order
from smartmon.store import RunRow, Store
from smartmon.text import clean


@contextmanager
def of_log(path: Path, config: Config, options: Mapping[str, object]) -> Iterator[tuple[Store, RunRow]]:
    """Yield a store and the run that a log, or a folder of logs, tells of. Raises SourceError when there is none."""
    with tempfile.TemporaryDirectory(prefix="smartmon-") as scratch, Store.open(Path(scratch, "run.db")) as store:
        name = run_name(path)
        judge = Judge(config.judge_settings(name))
        with store.transaction():
            run = store.ensure_run(name, path.absolute(), path.absolute().parent, 0.0)
            problem = _read(store, run, judge, path, options)
            if problem:
                raise SourceError(f"cannot draw {clean(path)}: it {problem}")
        row = store.run_by_id(run.id)
        assert row is not None
        yield store, row


def _read(store: Store, run: RunRow, judge: Judge, path: Path, options: Mapping[str, object]) -> str:
    """Store all rows and what the judge makes of them; returns why there are none."""
    problem, rows = "", 0
    samples: dict[str, Json] = {}
    status: StatusReport | None = None
    for round_ in rounds(opened(path, options)):
        for obs in in_time_order([batch.observations for batch in round_]):
            rows += 1
            judged = judge.observe(obs)
            _before(store, run, judged.findings)
            store.append(run.id, judged.attempt, obs.step, obs.at, judged.values)
            _after(store, run, judged.findings)
        for batch in round_:
            problem = next((str(note.data["problem"]) for note in batch.notes if "problem" in note.data), problem)
            if batch.status is not None:
                status = batch.status
                samples |= dict(status.extras)
                _after(store, run, judge.report(status))
    known = {"best_loss": judge.best_loss, "best_loss_step": judge.best_loss_step, "best_metric": judge.best_metric}
    store.update_run(
        run.id,
        state=judge.run_state.value,
        attempt=judge.attempt,
        step=judge.latest_step,
        total_steps=judge.total_steps,
        data={**known, "samples": samples},
    )
    if rows or status is not None:
        return ""
    return problem or "holds no rows with a step"


def _before(store: Store, run: RunRow, findings: Sequence[Finding]) -> None:
    for finding in findings:
        if isinstance(finding, AttemptStarted):
            reason = "new run" if finding.reset else "resumed"
            store.begin_attempt(run.id, finding.attempt, finding.step, finding.at, reason)
        elif isinstance(finding, Rescaled):
            store.rescale(run.id, finding.attempt, finding.metric, finding.factor)


def _after(store: Store, run: RunRow, findings: Sequence[Finding]) -> None:
    for finding in findings:
        if isinstance(finding, Anomaly):
            store.add_event(
                at=finding.at,
                kind=finding.kind,
                message=finding.message,
                run_id=run.id,
                attempt=finding.attempt,
                severity=finding.severity.value,
                step=finding.step,
            )
        elif isinstance(finding, IncidentChange):
            store.save_incident(run.id, finding)
