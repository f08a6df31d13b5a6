"""What every endpoint answers: the contract between the server and the page.

Moments (`..._at`, `at`) are seconds since the epoch, in UTC. A number that is not known, not finite or not there is
null. Lists of runs, events and the like come newest first unless a field says otherwise. All text is data: it may
hold anything, and is never HTML.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from smartmon.web.masks import legible, told

Color = Literal["green", "blue", "yellow", "red", "grey", "orange"]
Axis = Literal["step", "time", "elapsed", "position"]
"""`time`: seconds since the epoch. `elapsed`: seconds since the run's first row. `position`: steps, attempts end to
end."""
Icon = Literal[
    "evaluation", "checkpoint", "best", "warning", "anomaly", "incident", "snapshot", "alert", "run", "daemon"
]
Number = float | None


_NAMES = frozenset({"run", "name", "path", "base_dir", "metric", "metrics", "source", "sources", "commands"})
"""Fields by which things are asked for again: a mask would break them."""


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _legible(cls, given: Any) -> Any:
        # File names and the trainers' own texts may hold what is no text; JSON in UTF-8 cannot.
        if not isinstance(given, dict):
            return given
        return {key: legible(value) if key in _NAMES else told(value) for key, value in given.items()}


class Problem(Answer):
    """Why there is no answer."""

    error: str = Field(description="One sentence for a person: what was asked, what was found, what to do.")


class Daemon(Answer):
    """The daemon as its last beat tells it."""

    running: bool = Field(description="Whether it is alive now.")
    state: str = Field(description="`running`, `degraded`, `stopped`, `dead` (no beat any more) or `never`.")
    since: Number = Field(description="When it started.")
    beat_at: Number = Field(description="When it last said that it lives; it does every 10 s.")
    at: float = Field(description="Now, by the clock of the server.")
    version: str = Field(description="Its version; empty where none has run.")
    workers: dict[str, bool] = Field(description="Worker -> whether it is getting on.")
    failed_deliveries: int = Field(description="Alerts that were given up.")
    pending_deliveries: int = Field(description="Alerts on their way.")
    command: str = Field(description="How to start one here.")


class IncidentBrief(Answer):
    """An open incident, in a list of runs."""

    id: int = Field(description="For /api/incidents/{id}.")
    kind: str = Field(description="What kind of trouble, such as `loss_spike`.")
    severity: str = Field(description="`warning` or `critical`.")
    message: str = Field(description="What was seen, in one sentence.")
    opened_at: float = Field(description="When it opened.")


class RunCard(Answer):
    """A run in the list."""

    run: str = Field(description="Its name, for `?run=`.")
    state: str = Field(description="`running, pending, paused, completed, stopped, failed` or `stalled`.")
    color: Color = Field(description="The state's colour.")
    current: bool = Field(description="Whether this is the run that is meant where none is named.")
    step: int | None = Field(description="The newest step.")
    total_steps: int | None = Field(description="The step that it goes to.")
    estimated_total: int | None = Field(description="The same by what its rows say is left, where no file tells it.")
    progress: Number = Field(description="Share of the steps done, 0 to 1; of the estimated total where it is one.")
    epoch: Number = Field(description="The newest epoch.")
    attempt: int = Field(description="Which stretch between restarts it is in, from 1.")
    loss: Number = Field(description="The newest training loss.")
    accuracy: Number = Field(description="The newest accuracy in percent, of the evaluation where there is no other.")
    sparkline: list[Number] = Field(description="The loss from first to last in at most 60 values; null is a gap.")
    open_incidents: list[IncidentBrief] = Field(description="Open incidents, the gravest first.")
    updated_at: Number = Field(description="When its newest row was written.")
    age_seconds: Number = Field(description="How long ago that was.")
    eta_seconds: Number = Field(description="Time left.")
    model_name: str | None = Field(description="What the trainer calls the model.")
    error: str | None = Field(description="The trainer's last words of a failure.")
    gone: bool = Field(description="Whether its folder is not there any more.")
    base_dir: str = Field(description="The base dir that it lies in.")
    path: str = Field(description="Its folder.")
    started_at: Number = Field(description="When it was started, or first seen.")
    finished_at: Number = Field(description="When it ended.")


class Runs(Answer):
    """All runs."""

    daemon: Daemon = Field(description="Whether anybody watches.")
    current: str | None = Field(description="The run that is meant where none is named; null: no runs yet.")
    last_event_id: int = Field(description="For /api/stream: what happens after this event is not in this answer.")
    count: int = Field(description="How many runs match; `runs` has as many of them as were asked for.")
    runs: list[RunCard] = Field(description="The run that moved last first.")


class Warmup(Answer):
    """Where the learning rate is in its schedule."""

    state: Literal["warming_up", "done", "unknown"] = Field(description="Whether it still rises to its maximum.")
    steps: int | None = Field(description="The step at which the warm-up ends, or ended.")
    max_lr: Number = Field(description="The highest learning rate: as the config says, else seen so far.")


class Pace(Answer):
    """How fast something goes, each second."""

    now: Number = Field(description="Lately.")
    average: Number = Field(description="Over the attempt, or over the last 1,000 rows where rows tell it.")


class Best(Answer):
    """The best value so far of what the run is judged by."""

    metric: str = Field(description="`eval_loss` where the run has one, else `loss`.")
    value: Number = Field(description="The lowest value.")
    step: int | None = Field(description="Its step.")
    epoch: Number = Field(description="Its epoch.")


class Perplexity(Answer):
    """exp(loss), as far as it is finite."""

    train: Number = Field(description="Of the newest training loss.")
    eval: Number = Field(description="Of the newest evaluation.")
    best: Number = Field(description="Of the best evaluation, or of the best training loss where there is none.")


class GradNorm(Answer):
    """The gradient's norm."""

    now: Number = Field(description="The newest value.")
    mean100: Number = Field(description="The mean of the finite values of the last 100 steps, or of the last 10.")
    mean_steps: int = Field(description="How many steps that mean is over: 100, or what 10 values take.")


class Stats(Answer):
    """The top cards of a run."""

    run: str = Field(description="The run's name.")
    state: str = Field(description="As in /api/runs.")
    color: Color = Field(description="The state's colour.")
    live: bool = Field(description="Whether more is to be expected: it has not ended, and its folder is there.")
    error: str | None = Field(description="The trainer's last words of a failure.")
    model_name: str | None = Field(description="What the trainer calls the model.")
    base_dir: str = Field(description="The base dir.")
    path: str = Field(description="The run's folder.")
    attempt: int = Field(description="The attempt it is in.")
    step: int | None = Field(description="The newest step.")
    total_steps: int | None = Field(description="The step that it goes to.")
    estimated_total: int | None = Field(description="The same by what its rows say is left, where no file tells it.")
    progress: Number = Field(description="Share of the steps done, 0 to 1; of the estimated total where it is one.")
    epoch: Number = Field(description="The newest epoch.")
    loss: Number = Field(description="The newest training loss.")
    aux_loss: Number = Field(description="The newest auxiliary loss of a router.")
    eval_loss: Number = Field(description="The newest evaluation loss.")
    accuracy: Number = Field(description="The newest training accuracy, percent.")
    eval_accuracy: Number = Field(description="The newest evaluation accuracy, percent.")
    learning_rate: Number = Field(description="The newest learning rate.")
    nonfinite: list[str] = Field(description="Metrics whose newest value is NaN or infinite (null above).")
    warmup: Warmup = Field(description="How far the warm-up of the learning rate is.")
    steps_per_sec: Pace = Field(description="Steps a second.")
    samples_per_sec: Pace = Field(description="Samples a second.")
    tokens_per_sec: Pace = Field(description="Tokens a second.")
    eta_seconds: Number = Field(description="Time left.")
    elapsed_seconds: Number = Field(description="Since it was started, up to its end.")
    data_age_seconds: Number = Field(description="How old the newest row is.")
    updated_at: Number = Field(description="When the newest row was written.")
    started_at: Number = Field(description="When it was started, or first seen.")
    finished_at: Number = Field(description="When it ended.")
    best: Best = Field(description="The best value so far.")
    perplexity: Perplexity = Field(description="exp(loss).")
    grad_norm: GradNorm = Field(description="The norm of the gradient, now and lately.")
    latest: dict[str, Number] = Field(description="The newest value of every metric (64 at most).")
    metrics: list[str] = Field(description="All metrics that can be drawn, experts' shares left out.")
    has_experts: bool = Field(description="Whether /api/experts has something.")
    open_incidents: list[IncidentBrief] = Field(description="Open incidents, the gravest first.")
    snapshots_pending: int = Field(description="Snapshots that are asked for and not made yet.")
    daemon: Daemon = Field(description="Whether anybody watches.")
    last_event_id: int = Field(description="For /api/stream.")


class Attempt(Answer):
    """A stretch of a run between restarts, and how its steps lie on the axes."""

    run: str = Field(description="The run.")
    attempt: int = Field(description="Its number, from 1.")
    first_step: int = Field(description="Its first step.")
    last_step: int = Field(description="Its last step so far.")
    started_at: float = Field(description="When its first row was written.")
    offset: int = Field(description="On the axis `position`: x = step + offset.")
    origin: float = Field(description="On the axis `elapsed`: x = time - origin.")
    reason: str = Field(description="Why it began: empty for the first, `resumed`, `new run`.")


class Stretch(Answer):
    """Which points of a series are of which attempt."""

    attempt: int = Field(description="The attempt.")
    start: int = Field(description="Index of its first point.")
    points: int = Field(description="How many.")


class SeriesOne(Answer):
    """One metric of one run."""

    run: str = Field(description="The run.")
    metric: str = Field(description="The metric.")
    count: int = Field(description="How many observations the points stand for.")
    bucket: int = Field(description="How many observations a point stands for at most: 1 is every one.")
    nonfinite: list[float] = Field(description="x of what was NaN or infinite, the first 1,000.")
    nonfinite_count: int = Field(description="How many there are in all.")
    attempts: list[Stretch] = Field(description="Which points are of which attempt, in order.")
    mean_over: int | None = Field(
        description="How many observations the column `mean` reaches over; where a point stands for 64 or more, it "
        "takes one of each 64 (as `ema` does), and reaches further than was asked for."
    )
    columns: list[str] = Field(description="What a point holds: `x, value, min, max`, then `ema, mean` as asked for.")
    points: list[list[Number]] = Field(
        description="One row for each bucket: x of its last observation, its last finite value, its extremes (null: "
        "none was finite), then the smoothed values."
    )


class SeriesAnswer(Answer):
    """Series, ready to be drawn. On the axis `step`, x goes back where an attempt begins."""

    run: str = Field(description="The first run that was asked for.")
    x: Axis = Field(description="The axis.")
    attempts: list[Attempt] = Field(description="Every attempt of every run asked for.")
    series: list[SeriesOne] = Field(description="In the order asked for, run by run; a metric that is not there too.")


class Plot(Answer):
    """A picture."""

    name: str = Field(description="What it shows, as a word.")
    png: str = Field(description="The PNG file in base64.")


class Plots(Answer):
    """The pictures of a run."""

    run: str = Field(description="The run.")
    plots: list[Plot] = Field(description="In the order in which to show them.")


class CheckpointOne(Answer):
    """A checkpoint of the trainer that is there now."""

    name: str = Field(description="Its folder's or file's name.")
    path: str = Field(description="Where it is.")
    step: int | None = Field(description="Its step, where name or file tells it.")
    layout: str = Field(description="Whose way to write it is.")
    bytes: int = Field(description="Its size.")
    saved_at: float = Field(description="When it was last written to.")
    complete: bool = Field(description="Whether its trainer is done with it.")
    problem: str = Field(description="What it still lacks; empty when complete.")
    eval_loss: Number = Field(description="The evaluation at its step, or the nearest one before it.")
    perplexity: Number = Field(description="exp of that.")
    best: bool = Field(description="Whether it is of the best step, or the nearest after it.")


class Checkpoints(Answer):
    """The newest checkpoints of a run."""

    run: str = Field(description="The run.")
    count: int = Field(description="How many there are in all.")
    checkpoints: list[CheckpointOne] = Field(description="The newest 20, highest step first.")


class SnapshotOne(Answer):
    """A snapshot: a copy that smartmon keeps."""

    name: str = Field(description="Its folder's name.")
    path: str = Field(description="Where it is.")
    run: str = Field(description="The run.")
    attempt: int = Field(description="The attempt.")
    created_at: str = Field(description="ISO 8601 with zone.")
    at: Number = Field(description="The same as a moment.")
    reason: str = Field(description="Such as `loss_spike_40.7pct`.")
    triggers: list[str] = Field(description="Every reason that it was made for.")
    kinds: list[str] = Field(description="Their kinds, such as `loss_spike`.")
    severity: str = Field(description="The gravest of them.")
    step: int | None = Field(description="The step at which it was asked for.")
    loss: Number = Field(description="The loss at that step.")
    accuracy: Number = Field(description="The accuracy at that step, percent.")
    checkpoint_step: int | None = Field(description="The step of the checkpoint in it; null: there was none.")
    checkpoint_age_steps: int | None = Field(description="How many steps the checkpoint is older.")
    last_good_checkpoint_step: int | None = Field(description="The checkpoint from before the trouble in it.")
    bytes: int = Field(description="Its size.")
    copy_method: str = Field(description="`reflink`, `copy`, ...; empty where not known.")
    pinned: bool = Field(description="Whether it is kept for good.")
    state: str = Field(description="`ok, damaged, no_checkpoint` or `skipped`.")
    problem: str = Field(description="Why it is damaged.")
    has_weights: bool = Field(description="Whether retention has left the weights in it.")
    verified: bool = Field(description="Whether digests of its files are stored, for `snapshots verify --full`.")
    commands: list[str] = Field(description="To show, verify and restore it.")


class Snapshots(Answer):
    """Snapshots."""

    run: str | None = Field(description="The run; null where there is none yet.")
    count: int = Field(description="How many there are in all.")
    bytes: int = Field(description="Their size together.")
    snapshots: list[SnapshotOne] = Field(description="The newest first.")


class Event(Answer):
    """A line of the timeline."""

    id: int = Field(description="Grows with each event.")
    time: str | None = Field(description="ISO 8601 with zone.")
    at: float = Field(description="The same as a moment.")
    run: str | None = Field(description="The run; null for the daemon's own.")
    attempt: int | None = Field(description="The attempt.")
    kind: str = Field(description="Such as `loss_spike`, `checkpoint_saved`, `alert_delivered`.")
    icon: Icon = Field(description="What kind of kind that is.")
    severity: str = Field(description="`info`, `warning` or `critical`.")
    step: int | None = Field(description="The step.")
    message: str = Field(description="One sentence.")
    historic: bool = Field(description="Whether it was past already when it was read.")
    data: dict[str, Any] = Field(description="What else is known of it.")


class Events(Answer):
    """A page of the timeline."""

    run: str | None = Field(description="The run; null: of all.")
    last_event_id: int = Field(description="The newest event there is, of any run.")
    kinds: dict[str, Icon] = Field(description="Every kind known, for the filter.")
    events: list[Event] = Field(description="The newest first.")
    more: bool = Field(description="Whether there are older ones: ask with `before` the last id.")


class Incident(Answer):
    """A stretch of anomalies of one kind."""

    id: int = Field(description="For /api/incidents/{id}.")
    run: str = Field(description="The run.")
    attempt: int = Field(description="The attempt.")
    key: str = Field(description="Unique within the run.")
    kind: str = Field(description="What kind of trouble.")
    title: str = Field(description="One line that says it all, as in an alert.")
    state: Literal["open", "resolved"] = Field(description="Whether it is over.")
    severity: str = Field(description="`warning` or `critical`.")
    opened_at: float = Field(description="Since when.")
    updated_at: float = Field(description="When it last changed.")
    resolved_at: Number = Field(description="When it was over.")
    step: int = Field(description="The step of the last change.")
    start_step: int = Field(description="The first anomaly's step.")
    end_step: int = Field(description="The last anomaly's step.")
    onset_step: int | None = Field(description="Where the trouble began, where that is known to be earlier.")
    last_good_step: int | None = Field(description="The last step before it.")
    anomalies: int = Field(description="How many.")
    metric: str = Field(description="The metric that it is about.")
    value: Number = Field(description="What was seen last.")
    expected: Number = Field(description="What was expected.")
    reason: str = Field(description="The greppable word.")
    message: str = Field(description="What was seen, in one sentence.")
    resolution: str = Field(description="Why it is over.")
    historic: bool = Field(description="Whether it was past already when it was read.")


class Incidents(Answer):
    """Incidents."""

    run: str | None = Field(description="The run; null: of all.")
    incidents: list[Incident] = Field(description="The newest first.")
