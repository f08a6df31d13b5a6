/** What every endpoint answers: the mirror of `../../models.py`, field by field; `tests/web/test_build.py` compares them. */

export type Color = "green" | "blue" | "yellow" | "red" | "grey" | "orange";
export type Axis = "step" | "time" | "elapsed" | "position";
export type Icon = "evaluation" | "checkpoint" | "best" | "warning" | "anomaly" | "incident" | "snapshot" | "alert" | "run" | "daemon";

/** Why there is no answer. */
export interface Problem {
  /** One sentence for a person: what was asked, what was found, what to do. */
  error: string;
}

/** The daemon as its last beat tells it. */
export interface Daemon {
  /** Whether it is alive now. */
  running: boolean;
  /** `running`, `degraded`, `stopped`, `dead` (no beat any more) or `never`. */
  state: string;
  /** When it started. */
  since: number | null;
  /** When it last said that it lives; it does every 10 s. */
  beat_at: number | null;
  /** Its version; empty where none has run. */
  version: string;
  /** Worker -> whether it is getting on. */
  workers: Record<string, boolean>;
  /** Alerts that were given up. */
  failed_deliveries: number;
  /** Alerts on their way. */
  pending_deliveries: number;
  /** How to start one here. */
  command: string;
}

/** An open incident, in a list of runs. */
export interface IncidentBrief {
  /** For /api/incidents/{id}. */
  id: number;
  /** What kind of trouble, such as `loss_spike`. */
  kind: string;
  /** `warning` or `critical`. */
  severity: string;
  /** What was seen, in one sentence. */
  message: string;
  /** When it opened. */
  opened_at: number;
}

/** A run in the list. */
export interface RunCard {
  /** Its name, for `?run=`. */
  run: string;
  /** `running, pending, paused, completed, stopped, failed` or `stalled`. */
  state: string;
  /** The state's colour. */
  color: Color;
  /** Whether this is the run that is meant where none is named. */
  current: boolean;
  /** The newest step. */
  step: number | null;
  /** The step that it goes to. */
  total_steps: number | null;
  /** Share of the steps done, 0 to 1. */
  progress: number | null;
  /** The newest epoch. */
  epoch: number | null;
  /** Which stretch between restarts it is in, from 1. */
  attempt: number;
  /** The newest training loss. */
  loss: number | null;
  /** The newest accuracy in percent, of the evaluation where there is no other. */
  accuracy: number | null;
  /** The loss from first to last in at most 60 values; null is a gap. */
  sparkline: (number | null)[];
  /** Open incidents, the newest first. */
  open_incidents: IncidentBrief[];
  /** When its newest row was written. */
  updated_at: number | null;
  /** How long ago that was. */
  age_seconds: number | null;
  /** Time left. */
  eta_seconds: number | null;
  /** What the trainer calls the model. */
  model_name: string | null;
  /** The trainer's last words of a failure. */
  error: string | null;
  /** Whether its folder is not there any more. */
  gone: boolean;
  /** The base dir that it lies in. */
  base_dir: string;
  /** Its folder. */
  path: string;
  /** When it was started, or first seen. */
  started_at: number | null;
  /** When it ended. */
  finished_at: number | null;
}

/** All runs. */
export interface Runs {
  /** Whether anybody watches. */
  daemon: Daemon;
  /** The run that is meant where none is named; null: no runs yet. */
  current: string | null;
  /** For /api/stream: what happens after this event is not in this answer. */
  last_event_id: number;
  /** The run that moved last first. */
  runs: RunCard[];
}

/** Where the learning rate is in its schedule. */
export interface Warmup {
  /** Whether it still rises to its maximum. */
  state: "warming_up" | "done" | "unknown";
  /** The step at which the warm-up ends, or ended. */
  steps: number | null;
  /** The highest learning rate: as the config says, else seen so far. */
  max_lr: number | null;
}

/** How fast something goes, each second. */
export interface Pace {
  /** Lately. */
  now: number | null;
  /** Over the attempt, or over the last 1,000 rows where rows tell it. */
  average: number | null;
}

/** The best value so far of what the run is judged by. */
export interface Best {
  /** `eval_loss` where the run has one, else `loss`. */
  metric: string;
  /** The lowest value. */
  value: number | null;
  /** Its step. */
  step: number | null;
  /** Its epoch. */
  epoch: number | null;
}

/** exp(loss), as far as it is finite. */
export interface Perplexity {
  /** Of the newest training loss. */
  train: number | null;
  /** Of the newest evaluation. */
  eval: number | null;
  /** Of the best evaluation, or of the best training loss where there is none. */
  best: number | null;
}

/** The gradient's norm. */
export interface GradNorm {
  /** The newest value. */
  now: number | null;
  /** The mean of the last 100 finite values. */
  mean100: number | null;
}

/** The top cards of a run. */
export interface Stats {
  /** The run's name. */
  run: string;
  /** As in /api/runs. */
  state: string;
  /** The state's colour. */
  color: Color;
  /** Whether more is to be expected: it has not ended, and its folder is there. */
  live: boolean;
  /** The trainer's last words of a failure. */
  error: string | null;
  /** What the trainer calls the model. */
  model_name: string | null;
  /** The base dir. */
  base_dir: string;
  /** The run's folder. */
  path: string;
  /** The attempt it is in. */
  attempt: number;
  /** The newest step. */
  step: number | null;
  /** The step that it goes to. */
  total_steps: number | null;
  /** Share of the steps done, 0 to 1. */
  progress: number | null;
  /** The newest epoch. */
  epoch: number | null;
  /** The newest training loss. */
  loss: number | null;
  /** The newest auxiliary loss of a router. */
  aux_loss: number | null;
  /** The newest evaluation loss. */
  eval_loss: number | null;
  /** The newest training accuracy, percent. */
  accuracy: number | null;
  /** The newest evaluation accuracy, percent. */
  eval_accuracy: number | null;
  /** The newest learning rate. */
  learning_rate: number | null;
  /** Metrics whose newest value is NaN or infinite (null above). */
  nonfinite: string[];
  /** Where the learning rate is in its schedule. */
  warmup: Warmup;
  /** Steps a second. */
  steps_per_sec: Pace;
  /** Samples a second. */
  samples_per_sec: Pace;
  /** Tokens a second. */
  tokens_per_sec: Pace;
  /** Time left. */
  eta_seconds: number | null;
  /** Since it was started, up to its end. */
  elapsed_seconds: number | null;
  /** How old the newest row is. */
  data_age_seconds: number | null;
  /** When the newest row was written. */
  updated_at: number | null;
  /** When it was started, or first seen. */
  started_at: number | null;
  /** When it ended. */
  finished_at: number | null;
  /** The best value so far. */
  best: Best;
  /** exp(loss). */
  perplexity: Perplexity;
  /** The gradient's norm. */
  grad_norm: GradNorm;
  /** The newest value of every metric (64 at most). */
  latest: Record<string, number | null>;
  /** All metrics that can be drawn, experts' shares left out. */
  metrics: string[];
  /** Whether /api/experts has something. */
  has_experts: boolean;
  /** Open incidents, the newest first. */
  open_incidents: IncidentBrief[];
  /** Snapshots that are asked for and not made yet. */
  snapshots_pending: number;
  /** Whether anybody watches. */
  daemon: Daemon;
  /** For /api/stream. */
  last_event_id: number;
}

/** A stretch of a run between restarts, and how its steps lie on the axes. */
export interface Attempt {
  /** The run. */
  run: string;
  /** Its number, from 1. */
  attempt: number;
  /** Its first step. */
  first_step: number;
  /** Its last step so far. */
  last_step: number;
  /** When its first row was written. */
  started_at: number;
  /** On the axis `position`: x = step + offset. */
  offset: number;
  /** On the axis `elapsed`: x = time - origin. */
  origin: number;
  /** Why it began: empty for the first, `resumed`, `new run`. */
  reason: string;
}

/** Which points of a series are of which attempt. */
export interface Stretch {
  /** The attempt. */
  attempt: number;
  /** Index of its first point. */
  start: number;
  /** How many. */
  points: number;
}

/** One metric of one run. */
export interface SeriesOne {
  /** The run. */
  run: string;
  /** The metric. */
  metric: string;
  /** How many observations the points stand for. */
  count: number;
  /** How many observations a point stands for at most: 1 is every one. */
  bucket: number;
  /** x of what was NaN or infinite, the first 1,000. */
  nonfinite: number[];
  /** How many there are in all. */
  nonfinite_count: number;
  /** Which points are of which attempt, in order. */
  attempts: Stretch[];
  /** What a point holds: `x, value, min, max`, then `ema, mean` as asked for. */
  columns: string[];
  /** One row for each bucket: x of its last observation, its last finite value, its extremes (null: none was finite), then the smoothed values. */
  points: ((number | null)[])[];
}

/** Series, ready to be drawn. On the axis `step`, x goes back where an attempt begins. */
export interface SeriesAnswer {
  /** The first run that was asked for. */
  run: string;
  /** The axis. */
  x: Axis;
  /** Every attempt of every run asked for. */
  attempts: Attempt[];
  /** In the order asked for, run by run; a metric that is not there too. */
  series: SeriesOne[];
}

/** A picture. */
export interface Plot {
  /** What it shows, as a word. */
  name: string;
  /** The PNG file in base64. */
  png: string;
}

/** The pictures of a run. */
export interface Plots {
  /** The run. */
  run: string;
  /** In the order in which to show them. */
  plots: Plot[];
}

/** A checkpoint of the trainer that is there now. */
export interface CheckpointOne {
  /** Its folder's or file's name. */
  name: string;
  /** Where it is. */
  path: string;
  /** Its step, where name or file tells it. */
  step: number | null;
  /** Whose way to write it is. */
  layout: string;
  /** Its size. */
  bytes: number;
  /** When it was last written to. */
  saved_at: number;
  /** Whether its trainer is done with it. */
  complete: boolean;
  /** What it still lacks; empty when complete. */
  problem: string;
  /** The evaluation at its step, or the nearest one before it. */
  eval_loss: number | null;
  /** exp of that. */
  perplexity: number | null;
  /** Whether it is of the best step, or the nearest after it. */
  best: boolean;
}

/** The newest checkpoints of a run. */
export interface Checkpoints {
  /** The run. */
  run: string;
  /** How many there are in all. */
  count: number;
  /** The newest 20, highest step first. */
  checkpoints: CheckpointOne[];
}

/** A snapshot: a copy that smartmon keeps. */
export interface SnapshotOne {
  /** Its folder's name. */
  name: string;
  /** Where it is. */
  path: string;
  /** The run. */
  run: string;
  /** The attempt. */
  attempt: number;
  /** ISO 8601 with zone. */
  created_at: string;
  /** The same as a moment. */
  at: number | null;
  /** Such as `loss_spike_40.7pct`. */
  reason: string;
  /** Kinds of what it was made for. */
  triggers: string[];
  /** The gravest of them. */
  severity: string;
  /** The step at which it was asked for. */
  step: number | null;
  /** The loss at that step. */
  loss: number | null;
  /** The accuracy at that step, percent. */
  accuracy: number | null;
  /** The step of the checkpoint in it; null: there was none. */
  checkpoint_step: number | null;
  /** How many steps the checkpoint is older. */
  checkpoint_age_steps: number | null;
  /** The checkpoint from before the trouble in it. */
  last_good_checkpoint_step: number | null;
  /** Its size. */
  bytes: number;
  /** `reflink`, `copy`, ...; empty where not known. */
  copy_method: string;
  /** Whether it is kept for good. */
  pinned: boolean;
  /** `ok, damaged, no_checkpoint` or `skipped`. */
  state: string;
  /** Why it is damaged. */
  problem: string;
  /** Whether retention has left the weights in it. */
  has_weights: boolean;
  /** Whether digests of its files are stored, for `snapshots verify --full`. */
  verified: boolean;
  /** To show, verify and restore it. */
  commands: string[];
}

/** Snapshots. */
export interface Snapshots {
  /** The run; null where there is none yet. */
  run: string | null;
  /** How many there are in all. */
  count: number;
  /** Their size together. */
  bytes: number;
  /** The newest first. */
  snapshots: SnapshotOne[];
}

/** A line of the timeline. */
export interface Event {
  /** Grows with each event. */
  id: number;
  /** ISO 8601 with zone. */
  time: string | null;
  /** The same as a moment. */
  at: number;
  /** The run; null for the daemon's own. */
  run: string | null;
  /** The attempt. */
  attempt: number | null;
  /** Such as `loss_spike`, `checkpoint_saved`, `alert_delivered`. */
  kind: string;
  /** What kind of kind that is. */
  icon: Icon;
  /** `info`, `warning` or `critical`. */
  severity: string;
  /** The step. */
  step: number | null;
  /** One sentence. */
  message: string;
  /** Whether it was past already when it was read. */
  historic: boolean;
  /** What else is known of it. */
  data: Record<string, unknown>;
}

/** A page of the timeline. */
export interface Events {
  /** The run; null: of all. */
  run: string | null;
  /** The newest event there is, of any run. */
  last_event_id: number;
  /** Every kind known, for the filter. */
  kinds: Record<string, Icon>;
  /** The newest first. */
  events: Event[];
  /** Whether there are older ones: ask with `before` the last id. */
  more: boolean;
}

/** A stretch of anomalies of one kind. */
export interface Incident {
  /** For /api/incidents/{id}. */
  id: number;
  /** The run. */
  run: string;
  /** The attempt. */
  attempt: number;
  /** Unique within the run. */
  key: string;
  /** What kind of trouble. */
  kind: string;
  /** One line that says it all, as in an alert. */
  title: string;
  /** Whether it is over. */
  state: "open" | "resolved";
  /** `warning` or `critical`. */
  severity: string;
  /** Since when. */
  opened_at: number;
  /** When it last changed. */
  updated_at: number;
  /** When it was over. */
  resolved_at: number | null;
  /** The step of the last change. */
  step: number;
  /** The first anomaly's step. */
  start_step: number;
  /** The last anomaly's step. */
  end_step: number;
  /** Where the trouble began, where that is known to be earlier. */
  onset_step: number | null;
  /** The last step before it. */
  last_good_step: number | null;
  /** How many. */
  anomalies: number;
  /** The metric that it is about. */
  metric: string;
  /** What was seen last. */
  value: number | null;
  /** What was expected. */
  expected: number | null;
  /** The greppable word. */
  reason: string;
  /** What was seen, in one sentence. */
  message: string;
  /** Why it is over. */
  resolution: string;
  /** Whether it was past already when it was read. */
  historic: boolean;
}

/** Incidents. */
export interface Incidents {
  /** The run; null: of all. */
  run: string | null;
  /** The newest first. */
  incidents: Incident[];
}
