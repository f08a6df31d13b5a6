/** What the endpoints answer that look at one thing closely: the mirror of `../../models_detail.py`. */
import type { Daemon, Event, Incident, RunCard, SnapshotOne } from "./models";

export type Verdict = "match" | "mismatch" | "missing" | "extra";
export type LineKind = "start" | "end" | "step" | "checkpoint" | "evaluation" | "warning" | "error" | "text";

/** What became of a request for a snapshot. */
export interface Kept {
  /** `pending, waiting, copying, held, done, skipped` or `dropped`. */
  state: string;
  /** The step at which it was asked for. */
  step: number;
  /** Why. */
  reasons: string[];
  /** The snapshot's name, once there is one. */
  snapshot: string;
  /** What there is to say about it. */
  note: string;
  /** The same in words, as in an alert. */
  sentence: string;
  /** The step of the checkpoint in it. */
  checkpoint_step: number | null;
}

/** One alert to one notifier. */
export interface Delivery {
  /** Stands in the message. */
  id: string;
  /** To whom. */
  notifier: string;
  /** `opened, escalated, resolved, reminder, summary` or `event`. */
  kind: string;
  /** How grave. */
  severity: string;
  /** `pending, sending, sent` or `dead` (given up). */
  state: string;
  /** When it was to be sent. */
  created_at: number;
  /** When it arrived. */
  sent_at: number | null;
  /** When it is tried next; null: never again. */
  next_at: number | null;
  /** How often it was tried. */
  attempts: number;
  /** What went wrong last. */
  error: string;
}

/** Everything about one incident. */
export interface IncidentDetail {
  /** The incident. */
  incident: Incident;
  /** Since when, in words. */
  since: string;
  /** What to make of it. */
  advice: string;
  /** The likely cause, where one was found. */
  cause: string;
  /** What else moved or changed around its beginning. */
  around: string[];
  /** The value of every metric at its last change. */
  latest: Record<string, number | null>;
  /** `loss, accuracy, learning_rate`: oldest first. */
  histories: Record<string, (number | null)[]>;
  /** The trainer's last words. */
  last_lines: string[];
  /** What to draw of it on one axis, the most telling first. */
  metrics: string[];
  /** Where such a chart begins. */
  from_step: number;
  /** Where it ends. */
  to_step: number;
  /** What was kept. */
  kept: Kept[];
  /** The snapshots of these, as far as they are there. */
  snapshots: SnapshotOne[];
  /** Who was told, oldest first. */
  deliveries: Delivery[];
  /** Its anomalies and changes, oldest first, 200 at most. */
  events: Event[];
  /** What to run next, in the base dir. */
  commands: string[];
  /** Where. */
  base_dir: string;
}

/** One GPU now. */
export interface GpuOne {
  /** Its number. */
  index: number;
  /** Its name. */
  name: string;
  /** Bytes. */
  memory_used: number | null;
  /** Bytes. */
  memory_total: number | null;
  /** Percent. */
  utilization: number | null;
  /** Degrees Celsius. */
  temperature: number | null;
  /** Where the driver slows it down. */
  temperature_limit: number | null;
  /** Watts. */
  power: number | null;
  /** Watts. */
  power_limit: number | null;
  /** Why it runs slower than it could; empty when it does not. */
  throttled: string;
}

/** The process that trains, where the run's status names it and it is on this machine. */
export interface Process {
  /** Its id. */
  pid: number;
  /** The machine that it runs on, as the status says. */
  host: string;
  /** Whether it is there; null: on another machine. */
  alive: boolean | null;
  /** Resident bytes. */
  memory: number | null;
  /** Its threads. */
  threads: number | null;
  /** Of one core, since the look before. */
  cpu_percent: number | null;
  /** When it was started. */
  started_at: number | null;
}

/** The machine of a run now. */
export interface Gpu {
  /** The run. */
  run: string;
  /** When it was looked at. */
  at: number;
  /** What NVML tells; empty without a GPU, its driver or nvidia-ml-py. */
  gpus: GpuOne[];
  /** Why there are none, where something is to be done about it. */
  gpu_note: string;
  /** The folder whose file system is meant. */
  disk: string;
  /** Bytes. */
  disk_free: number | null;
  /** Bytes. */
  disk_total: number | null;
  /** Time until it is full at the rate of the last hour; null: not. */
  disk_full_seconds: number | null;
  /** Bytes, within the container's limit. */
  memory_available: number | null;
  /** Bytes. */
  memory_total: number | null;
  /** What trains. */
  process: Process | null;
  /** The run's own series about GPU and machine, for /api/series. */
  metrics: string[];
}

/** A turn of a conversation. */
export interface Message {
  /** `system, user, assistant` or what the file says. */
  role: string;
  /** What was said. */
  content: string;
}

/** One place of the golden answer beside the model's. Tokens, or words where a file carries none. */
export interface Token {
  /** What was to be said; null: nothing any more. */
  golden: string | null;
  /** What the model said. */
  predicted: string | null;
  /** How they compare. */
  verdict: Verdict;
}

/** What the model answered at a step. */
export interface Sample {
  /** The step. */
  step: number | null;
  /** The epoch. */
  epoch: number | null;
  /** When. */
  at: number | null;
  /** The same for the same prompt at other steps, for `?prompt=`. */
  prompt_id: string;
  /** The conversation up to the answer. */
  messages: Message[];
  /** The prompt where it is no conversation. */
  text: string | null;
  /** The answer that was to be given. */
  golden: string | null;
  /** The model's answer, as far as it has come. */
  predicted: string | null;
  /** Whether it is still coming. */
  generating: boolean;
  /** Why it ended: `end, length, time` or `error`. */
  ended: string | null;
  /** What is compared; null: nothing can be. */
  compared: "tokens" | "words" | null;
  /** Place by place. */
  tokens: Token[];
  /** Places that match. */
  matches: number | null;
  /** Places. */
  total: number | null;
  /** matches of total, percent. */
  accuracy: number | null;
  /** Whether both answers are the same text. */
  exact: boolean | null;
  /** Mean loss of the golden answer, nats a token. */
  golden_loss: number | null;
  /** The training loss at that step. */
  train_loss: number | null;
  /** The evaluation loss at that step. */
  eval_loss: number | null;
  /** The learning rate at that step. */
  learning_rate: number | null;
  /** As the file says it. */
  gpu_memory: string | null;
  /** The row of the data set. */
  row: number | null;
  /** What went wrong with this look. */
  error: string | null;
}

/** Samples of a run. */
export interface Samples {
  /** The run. */
  run: string;
  /** The file that they come from; empty where there is none. */
  source: string;
  /** Every step with a sample that matches, the newest first. */
  steps: number[];
  /** The newest first. */
  samples: Sample[];
}

/** One expert of a layer. */
export interface Expert {
  /** Its name. */
  expert: string;
  /** Its share of the layer's tokens. */
  percent: number | null;
  /** Whether it gets none, or an incident says so. */
  dead: boolean;
}

/** A layer with a router. */
export interface Layer {
  /** Its name. */
  layer: string;
  /** In order. */
  experts: Expert[];
}

/** How a mixture of experts spreads its tokens. */
export interface Experts {
  /** The run. */
  run: string;
  /** The step of the newest count. */
  step: number | null;
  /** In order; empty for a model without experts. */
  layers: Layer[];
  /** How many experts are dead. */
  dead: number;
}

/** A line of a log. */
export interface LogLine {
  /** Where it begins in the file, bytes. */
  offset: number;
  /** What it is about. */
  kind: LineKind;
  /** The line, cut at 4,000 characters. */
  text: string;
}

/** The end of a run's log, or what comes before some place of it. */
export interface Log {
  /** The run. */
  run: string;
  /** The file, relative to the run's folder; empty where there is none. */
  source: string;
  /** Every log of the run, for `?source=`. */
  sources: string[];
  /** How long the file is. */
  bytes: number;
  /** In the order of the file. */
  lines: LogLine[];
  /** Ask with this for what comes before; null: this is the beginning. */
  before: number | null;
}

/** A setting in which runs differ. */
export interface Difference {
  /** The setting, dotted. */
  key: string;
  /** In the order of the runs; null where a run has none. */
  values: unknown[];
}

/** One of several runs that are compared. */
export interface Compared {
  /** The run. */
  card: RunCard;
  /** What it is judged by. */
  best_metric: string;
  /** Its best value. */
  best: number | null;
  /** The step of it. */
  best_step: number | null;
  /** Its best snapshot. */
  snapshot: SnapshotOne | null;
  /** The newest values. */
  latest: Record<string, number | null>;
  /** Where its settings were read; empty where none were found. */
  config_source: string;
}

/** Runs side by side. The overlaid curves are asked of /api/series with several runs. */
export interface Compare {
  /** In the order asked for. */
  runs: Compared[];
  /** Metrics that all of them have. */
  metrics: string[];
  /** Settings in which they differ. */
  differences: Difference[];
}

/** Whether all is well with smartmon itself. */
export interface Health {
  /** `degraded`: no daemon is at work, or one is in trouble. */
  status: "ok" | "degraded";
  /** The daemon; null where the database cannot be read. */
  daemon: Daemon | null;
  /** The version of this server. */
  version: string;
  /** Why the database cannot be read. */
  error: string | null;
}

/** The data of a server-sent event `update`; its id is the cursor for Last-Event-ID. */
export interface Update {
  /** Every run that moved: ask for its stats and series anew. */
  runs: RunCard[];
  /** What happened, oldest first; 200 at most. */
  events: Event[];
  /** Whether more happened than is told here: ask /api/events. */
  more: boolean;
  /** Ids of incidents that changed. */
  incidents: number[];
  /** Whether anybody watches. */
  daemon: Daemon;
  /** The newest event. */
  last_event_id: number;
}
