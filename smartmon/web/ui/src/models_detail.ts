/** What the endpoints answer that look at one thing closely: the mirror of `../../models_detail.py`, where each is told. */
import type { Daemon, Event, Incident, RunCard, SnapshotOne } from "./models";

export type Verdict = "match" | "mismatch" | "missing" | "extra";
export type LineKind = "start" | "end" | "step" | "checkpoint" | "evaluation" | "warning" | "error" | "text";

/** What became of a request for a snapshot. */
export interface Kept {
  state: string;
  step: number;
  reasons: string[];
  snapshot: string;
  note: string;
  sentence: string;
  checkpoint_step: number | null;
}

/** One alert to one notifier. */
export interface Delivery {
  id: string;
  notifier: string;
  kind: string;
  severity: string;
  state: string;
  created_at: number;
  sent_at: number | null;
  next_at: number | null;
  attempts: number;
  error: string;
}

/** Everything about one incident. */
export interface IncidentDetail {
  incident: Incident;
  since: string;
  advice: string;
  cause: string;
  around: string[];
  latest: Record<string, number | null>;
  histories: Record<string, (number | null)[]>;
  last_lines: string[];
  metrics: string[];
  from_step: number;
  to_step: number;
  kept: Kept[];
  snapshots: SnapshotOne[];
  deliveries: Delivery[];
  events: Event[];
  commands: string[];
  base_dir: string;
}

/** One GPU now. */
export interface GpuOne {
  index: number;
  name: string;
  memory_used: number | null;
  memory_total: number | null;
  utilization: number | null;
  temperature: number | null;
  temperature_limit: number | null;
  power: number | null;
  power_limit: number | null;
  throttled: string;
}

/** The process that trains, where the run's status names it and it is on this machine. */
export interface Process {
  pid: number;
  host: string;
  alive: boolean | null;
  memory: number | null;
  threads: number | null;
  cpu_percent: number | null;
  started_at: number | null;
}

/** How a value of the machine was: when and what, oldest first. */
export interface PastSeries {
  name: string;
  points: [number, number][];
}

/** The machine of a run now. */
export interface Gpu {
  run: string;
  at: number;
  gpus: GpuOne[];
  gpu_note: string;
  disk: string;
  disk_free: number | null;
  disk_total: number | null;
  disk_full_seconds: number | null;
  memory_available: number | null;
  memory_total: number | null;
  process: Process | null;
  past: PastSeries[];
  metrics: string[];
}

/** A turn of a conversation. */
export interface Message {
  role: string;
  content: string;
}

/** One place of the golden answer beside the model's. Tokens, or words where a file carries none. */
export interface Token {
  golden: string | null;
  predicted: string | null;
  verdict: Verdict;
}

/** What the model answered at a step. */
export interface Sample {
  step: number | null;
  epoch: number | null;
  at: number | null;
  prompt_id: string;
  messages: Message[];
  text: string | null;
  golden: string | null;
  predicted: string | null;
  generating: boolean;
  ended: string | null;
  compared: "tokens" | "words" | null;
  tokens: Token[];
  matches: number | null;
  total: number | null;
  accuracy: number | null;
  exact: boolean | null;
  golden_loss: number | null;
  train_loss: number | null;
  eval_loss: number | null;
  learning_rate: number | null;
  gpu_memory: string | null;
  row: number | null;
  error: string | null;
}

/** Samples of a run. */
export interface Samples {
  run: string;
  source: string;
  steps: number[];
  samples: Sample[];
}

/** One expert of a layer. */
export interface Expert {
  expert: string;
  percent: number | null;
  dead: boolean;
}

/** A layer with a router. */
export interface Layer {
  layer: string;
  experts: Expert[];
}

/** How a mixture of experts spreads its tokens. */
export interface Experts {
  run: string;
  step: number | null;
  layers: Layer[];
  dead: number;
  most: number | null;
}

/** A line of a log. */
export interface LogLine {
  offset: number;
  kind: LineKind;
  text: string;
}

/** The end of a run's log, or what comes before some place of it. */
export interface Log {
  run: string;
  source: string;
  sources: string[];
  bytes: number;
  lines: LogLine[];
  before: number | null;
  after: number | null;
}

/** A setting in which runs differ. */
export interface Difference {
  key: string;
  values: unknown[];
}

/** One of several runs that are compared. */
export interface Compared {
  card: RunCard;
  best_metric: string;
  best: number | null;
  best_step: number | null;
  snapshot: SnapshotOne | null;
  latest: Record<string, number | null>;
  config_source: string;
}

/** Runs side by side. The overlaid curves are asked of /api/series with several runs. */
export interface Compare {
  runs: Compared[];
  metrics: string[];
  differences: Difference[];
}

/** Whether all is well with smartmon itself. */
export interface Health {
  status: "ok" | "degraded";
  daemon: Daemon | null;
  version: string;
  error: string | null;
}

/** The data of a server-sent event `update`; its id is the cursor for Last-Event-ID. */
export interface Update {
  runs: RunCard[];
  events: Event[];
  more: boolean;
  incidents: number[];
  daemon: Daemon;
  current: string | null;
  last_event_id: number;
}
