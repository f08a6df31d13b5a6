"""What the endpoints answer that look at one thing closely. As in `models.py`: null is not known or not finite."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from smartmon.web.models import Answer, Daemon, Event, Incident, Number, RunCard, SnapshotOne

Verdict = Literal["match", "mismatch", "missing", "extra"]
LineKind = Literal["start", "end", "step", "checkpoint", "evaluation", "warning", "error", "text"]


class Kept(Answer):
    """What became of a request for a snapshot."""

    state: str = Field(description="`pending, waiting, copying, held, done, skipped` or `dropped`.")
    step: int = Field(description="The step at which it was asked for.")
    reasons: list[str] = Field(description="Why.")
    snapshot: str = Field(description="The snapshot's name, once there is one.")
    note: str = Field(description="What there is to say about it.")
    sentence: str = Field(description="The same in words, as in an alert.")
    checkpoint_step: int | None = Field(description="The step of the checkpoint in it.")


class Delivery(Answer):
    """One alert to one notifier."""

    id: str = Field(description="Stands in the message.")
    notifier: str = Field(description="To whom.")
    kind: str = Field(description="`opened, escalated, resolved, reminder, summary` or `event`.")
    severity: str = Field(description="How grave.")
    state: str = Field(description="`pending, sending, sent` or `dead` (given up).")
    created_at: float = Field(description="When it was to be sent.")
    sent_at: Number = Field(description="When it arrived.")
    next_at: Number = Field(description="When it is tried next; null: never again.")
    attempts: int = Field(description="How often it was tried.")
    error: str = Field(description="What went wrong last.")


class IncidentDetail(Answer):
    """Everything about one incident."""

    incident: Incident = Field(description="The incident.")
    since: str = Field(description="Since when, in words.")
    advice: str = Field(description="What to make of it.")
    cause: str = Field(description="The likely cause, where one was found.")
    around: list[str] = Field(description="What else moved or changed around its beginning.")
    latest: dict[str, Number] = Field(description="The value of every metric at its last change.")
    histories: dict[str, list[Number]] = Field(description="`loss, accuracy, learning_rate`: oldest first.")
    last_lines: list[str] = Field(description="The trainer's last words.")
    metrics: list[str] = Field(description="What to draw of it on one axis, the most telling first.")
    from_step: int = Field(description="Where such a chart begins.")
    to_step: int = Field(description="Where it ends.")
    kept: list[Kept] = Field(description="What was kept.")
    snapshots: list[SnapshotOne] = Field(description="The snapshots of these, as far as they are there.")
    deliveries: list[Delivery] = Field(description="Who was told, oldest first.")
    events: list[Event] = Field(description="Its anomalies and changes, oldest first, 200 at most.")
    commands: list[str] = Field(description="What to run next, in the base dir.")
    base_dir: str = Field(description="Where.")


class GpuOne(Answer):
    """One GPU now."""

    index: int = Field(description="Its number.")
    name: str = Field(description="Its name.")
    memory_used: int | None = Field(description="Bytes.")
    memory_total: int | None = Field(description="Bytes.")
    utilization: Number = Field(description="Percent.")
    temperature: Number = Field(description="Degrees Celsius.")
    temperature_limit: Number = Field(description="Where the driver slows it down.")
    power: Number = Field(description="Watts.")
    power_limit: Number = Field(description="Watts.")
    throttled: str = Field(description="Why it runs slower than it could; empty when it does not.")


class Process(Answer):
    """The process that trains, where the run's status names it and it is on this machine."""

    pid: int = Field(description="Its id.")
    host: str = Field(description="The machine that it runs on, as the status says.")
    alive: bool | None = Field(description="Whether it is there; null: on another machine.")
    memory: int | None = Field(description="Resident bytes.")
    threads: int | None = Field(description="Its threads.")
    cpu_percent: Number = Field(description="Of one core, since the look before.")
    started_at: Number = Field(description="When it was started.")


class PastSeries(Answer):
    """How a value of the machine was since the dashboard began to look, and its disk since the daemon did."""

    name: str = Field(description="`disk_free, memory_available`, or as `gpu0/temperature` what a GPU tells.")
    points: list[list[Number]] = Field(description="When and what, oldest first.")


class Gpu(Answer):
    """The machine of a run now."""

    run: str = Field(description="The run.")
    at: float = Field(description="When it was looked at.")
    gpus: list[GpuOne] = Field(description="What NVML tells; empty without a GPU, its driver or nvidia-ml-py.")
    gpu_note: str = Field(description="Why there are none, where something is to be done about it.")
    disk: str = Field(description="The folder whose file system is meant.")
    disk_free: int | None = Field(description="Bytes.")
    disk_total: int | None = Field(description="Bytes.")
    disk_full_seconds: Number = Field(description="Time until it is full at this hour's rate; null: not, or not known.")
    memory_available: int | None = Field(description="Bytes, within the container's limit.")
    memory_total: int | None = Field(description="Bytes.")
    process: Process | None = Field(description="What trains.")
    past: list[PastSeries] = Field(description="What went before, where it is known.")
    metrics: list[str] = Field(description="The run's own series about GPU and machine, for /api/series.")


class Message(Answer):
    """A turn of a conversation."""

    role: str = Field(description="`system, user, assistant` or what the file says.")
    content: str = Field(description="What was said.")


class Token(Answer):
    """One place of the golden answer beside the model's. Tokens, or words where a file carries none."""

    golden: str | None = Field(description="What was to be said; null: nothing any more.")
    predicted: str | None = Field(description="What the model said.")
    verdict: Verdict = Field(description="How they compare.")


class Sample(Answer):
    """What the model answered at a step."""

    step: int | None = Field(description="The step.")
    epoch: Number = Field(description="The epoch.")
    at: Number = Field(description="When.")
    prompt_id: str = Field(description="The same for the same prompt at other steps, for `?prompt=`.")
    messages: list[Message] = Field(description="The conversation up to the answer.")
    text: str | None = Field(description="The prompt where it is no conversation.")
    golden: str | None = Field(description="The answer that was to be given.")
    predicted: str | None = Field(description="The model's answer, as far as it has come.")
    generating: bool = Field(description="Whether it is still coming.")
    ended: str | None = Field(description="Why it ended: `end, length, time` or `error`.")
    compared: Literal["tokens", "words"] | None = Field(description="What is compared; null: nothing can be.")
    tokens: list[Token] = Field(description="Place by place.")
    matches: int | None = Field(description="Places that match.")
    total: int | None = Field(description="Places.")
    accuracy: Number = Field(description="matches of total, percent.")
    exact: bool | None = Field(description="Whether both answers are the same text.")
    golden_loss: Number = Field(description="Mean loss of the golden answer, nats a token.")
    train_loss: Number = Field(description="The training loss at that step.")
    eval_loss: Number = Field(description="The evaluation loss at that step.")
    learning_rate: Number = Field(description="The learning rate at that step.")
    gpu_memory: str | None = Field(description="As the file says it.")
    row: int | None = Field(description="The row of the data set.")
    error: str | None = Field(description="What went wrong with this look.")


class Samples(Answer):
    """Samples of a run."""

    run: str = Field(description="The run.")
    source: str = Field(description="The file that they come from; empty where there is none.")
    steps: list[int] = Field(description="Every step with a sample that matches, the newest first.")
    samples: list[Sample] = Field(description="The newest first.")


class Expert(Answer):
    """One expert of a layer."""

    expert: str = Field(description="Its name.")
    percent: Number = Field(description="Its share of the layer's tokens.")
    dead: bool = Field(description="Whether it gets none, or an incident says so.")


class Layer(Answer):
    """A layer with a router."""

    layer: str = Field(description="Its name.")
    experts: list[Expert] = Field(description="In order.")


class Experts(Answer):
    """How a mixture of experts spreads its tokens."""

    run: str = Field(description="The run.")
    step: int | None = Field(description="The step of the newest count.")
    layers: list[Layer] = Field(description="In order; empty for a model without experts.")
    dead: int = Field(description="How many experts are dead.")
    most: int | None = Field(description="How many experts of a row are read, where there may have been more.")


class LogLine(Answer):
    """A line of a log."""

    offset: int = Field(description="Where it begins in the file, bytes.")
    kind: LineKind = Field(description="What it is about.")
    text: str = Field(description="The line, cut at 4,000 characters.")


class Log(Answer):
    """The end of a run's log, or what comes before some place of it."""

    run: str = Field(description="The run.")
    source: str = Field(description="The file, relative to the run's folder; empty where there is none.")
    sources: list[str] = Field(description="Every log of the run, for `?source=`.")
    bytes: int = Field(description="How long the file is.")
    lines: list[LogLine] = Field(description="In the order of the file.")
    before: int | None = Field(description="Ask with this for what comes before; null: this is the beginning.")
    after: int | None = Field(description="Ask with this for what follows; null: this is the end.")


class Difference(Answer):
    """A setting in which runs differ."""

    key: str = Field(description="The setting, dotted.")
    values: list[Any] = Field(description="In the order of the runs; null where a run has none.")


class Compared(Answer):
    """One of several runs that are compared."""

    card: RunCard = Field(description="The run.")
    best_metric: str = Field(description="What it is judged by.")
    best: Number = Field(description="Its best value.")
    best_step: int | None = Field(description="The step of it.")
    snapshot: SnapshotOne | None = Field(description="Its best snapshot.")
    latest: dict[str, Number] = Field(description="The newest values.")
    config_source: str = Field(description="Where its settings were read; empty where none were found.")


class Compare(Answer):
    """Runs side by side. The overlaid curves are asked of /api/series with several runs."""

    runs: list[Compared] = Field(description="In the order asked for.")
    metrics: list[str] = Field(description="Metrics that at least two of them have.")
    differences: list[Difference] = Field(description="Settings in which they differ.")


class Health(Answer):
    """Whether all is well with smartmon itself."""

    status: Literal["ok", "degraded"] = Field(description="`degraded`: no daemon is at work, or one is in trouble.")
    daemon: Daemon | None = Field(description="The daemon; null where the database cannot be read.")
    version: str = Field(description="The version of this server.")
    error: str | None = Field(description="Why the database cannot be read.")


class Update(Answer):
    """The data of a server-sent event `update`; its id is the cursor for Last-Event-ID."""

    runs: list[RunCard] = Field(description="Every run that moved: ask for its stats and series anew.")
    events: list[Event] = Field(description="What happened, oldest first; 200 at most.")
    more: bool = Field(description="Whether more happened than is told here: ask /api/events.")
    incidents: list[int] = Field(description="Ids of incidents that changed.")
    daemon: Daemon = Field(description="Whether anybody watches.")
    current: str | None = Field(description="The run that is meant where none is named; null: no runs yet.")
    last_event_id: int = Field(description="The newest event.")
