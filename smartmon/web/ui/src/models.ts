/** What every endpoint answers: the mirror of `../../models.py`, field by field; there stands what each means. */

export type Color = "green" | "blue" | "yellow" | "red" | "grey" | "orange";
export type Axis = "step" | "time" | "elapsed" | "position";
export type Icon = "evaluation" | "checkpoint" | "best" | "warning" | "anomaly" | "incident" | "snapshot" | "alert" | "run" | "daemon";

/** Why there is no answer. */
export interface Problem {
  error: string;
}

/** The daemon as its last beat tells it. */
export interface Daemon {
  running: boolean;
  state: string;
  since: number | null;
  beat_at: number | null;
  version: string;
  workers: Record<string, boolean>;
  failed_deliveries: number;
  pending_deliveries: number;
  command: string;
}

/** An open incident, in a list of runs. */
export interface IncidentBrief {
  id: number;
  kind: string;
  severity: string;
  message: string;
  opened_at: number;
}

/** A run in the list. */
export interface RunCard {
  run: string;
  state: string;
  color: Color;
  current: boolean;
  step: number | null;
  total_steps: number | null;
  estimated_total: number | null;
  progress: number | null;
  epoch: number | null;
  attempt: number;
  loss: number | null;
  accuracy: number | null;
  sparkline: (number | null)[];
  open_incidents: IncidentBrief[];
  updated_at: number | null;
  age_seconds: number | null;
  eta_seconds: number | null;
  model_name: string | null;
  error: string | null;
  gone: boolean;
  base_dir: string;
  path: string;
  started_at: number | null;
  finished_at: number | null;
}

/** All runs. */
export interface Runs {
  daemon: Daemon;
  current: string | null;
  last_event_id: number;
  count: number;
  runs: RunCard[];
}

/** Where the learning rate is in its schedule. */
export interface Warmup {
  state: "warming_up" | "done" | "unknown";
  steps: number | null;
  max_lr: number | null;
}

/** How fast something goes, each second. */
export interface Pace {
  now: number | null;
  average: number | null;
}

/** The best value so far of what the run is judged by. */
export interface Best {
  metric: string;
  value: number | null;
  step: number | null;
  epoch: number | null;
}

/** exp(loss), as far as it is finite. */
export interface Perplexity {
  train: number | null;
  eval: number | null;
  best: number | null;
}

/** The gradient's norm. */
export interface GradNorm {
  now: number | null;
  mean100: number | null;
  mean_steps: number;
}

/** The top cards of a run. */
export interface Stats {
  run: string;
  state: string;
  color: Color;
  live: boolean;
  error: string | null;
  model_name: string | null;
  base_dir: string;
  path: string;
  attempt: number;
  step: number | null;
  total_steps: number | null;
  estimated_total: number | null;
  progress: number | null;
  epoch: number | null;
  loss: number | null;
  aux_loss: number | null;
  eval_loss: number | null;
  accuracy: number | null;
  eval_accuracy: number | null;
  learning_rate: number | null;
  nonfinite: string[];
  warmup: Warmup;
  steps_per_sec: Pace;
  samples_per_sec: Pace;
  tokens_per_sec: Pace;
  eta_seconds: number | null;
  elapsed_seconds: number | null;
  data_age_seconds: number | null;
  updated_at: number | null;
  started_at: number | null;
  finished_at: number | null;
  best: Best;
  perplexity: Perplexity;
  grad_norm: GradNorm;
  latest: Record<string, number | null>;
  metrics: string[];
  has_experts: boolean;
  open_incidents: IncidentBrief[];
  snapshots_pending: number;
  daemon: Daemon;
  last_event_id: number;
}

/** A stretch of a run between restarts, and how its steps lie on the axes. */
export interface Attempt {
  run: string;
  attempt: number;
  first_step: number;
  last_step: number;
  started_at: number;
  offset: number;
  origin: number;
  reason: string;
}

/** Which points of a series are of which attempt. */
export interface Stretch {
  attempt: number;
  start: number;
  points: number;
}

/** One metric of one run. */
export interface SeriesOne {
  run: string;
  metric: string;
  count: number;
  bucket: number;
  nonfinite: number[];
  nonfinite_count: number;
  attempts: Stretch[];
  mean_over: number | null;
  columns: string[];
  points: ((number | null)[])[];
}

/** Series, ready to be drawn. On the axis `step`, x goes back where an attempt begins. */
export interface SeriesAnswer {
  run: string;
  x: Axis;
  attempts: Attempt[];
  series: SeriesOne[];
}

/** A picture. */
export interface Plot {
  name: string;
  png: string;
}

/** The pictures of a run. */
export interface Plots {
  run: string;
  plots: Plot[];
}

/** A checkpoint of the trainer that is there now. */
export interface CheckpointOne {
  name: string;
  path: string;
  step: number | null;
  layout: string;
  bytes: number;
  saved_at: number;
  complete: boolean;
  problem: string;
  eval_loss: number | null;
  perplexity: number | null;
  best: boolean;
}

/** The newest checkpoints of a run. */
export interface Checkpoints {
  run: string;
  count: number;
  checkpoints: CheckpointOne[];
}

/** A snapshot: a copy that smartmon keeps. */
export interface SnapshotOne {
  name: string;
  path: string;
  run: string;
  attempt: number;
  created_at: string;
  at: number | null;
  reason: string;
  triggers: string[];
  kinds: string[];
  severity: string;
  step: number | null;
  loss: number | null;
  accuracy: number | null;
  checkpoint_step: number | null;
  checkpoint_age_steps: number | null;
  last_good_checkpoint_step: number | null;
  bytes: number;
  copy_method: string;
  pinned: boolean;
  state: string;
  problem: string;
  has_weights: boolean;
  verified: boolean;
  commands: string[];
}

/** Snapshots. */
export interface Snapshots {
  run: string | null;
  count: number;
  bytes: number;
  snapshots: SnapshotOne[];
}

/** A line of the timeline. */
export interface Event {
  id: number;
  time: string | null;
  at: number;
  run: string | null;
  attempt: number | null;
  kind: string;
  icon: Icon;
  severity: string;
  step: number | null;
  message: string;
  historic: boolean;
  data: Record<string, unknown>;
}

/** A page of the timeline. */
export interface Events {
  run: string | null;
  last_event_id: number;
  kinds: Record<string, Icon>;
  events: Event[];
  more: boolean;
}

/** A stretch of anomalies of one kind. */
export interface Incident {
  id: number;
  run: string;
  attempt: number;
  key: string;
  kind: string;
  title: string;
  state: "open" | "resolved";
  severity: string;
  opened_at: number;
  updated_at: number;
  resolved_at: number | null;
  step: number;
  start_step: number;
  end_step: number;
  onset_step: number | null;
  last_good_step: number | null;
  anomalies: number;
  metric: string;
  value: number | null;
  expected: number | null;
  reason: string;
  message: string;
  resolution: string;
  historic: boolean;
}

/** Incidents. */
export interface Incidents {
  run: string | null;
  incidents: Incident[];
}
