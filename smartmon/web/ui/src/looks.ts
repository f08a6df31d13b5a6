/** The one table of what a state, a severity and a kind look like. Colour never stands alone: each has an icon. */
import { entry } from "./format";
import type { IconName } from "./icons";

export type Colour = "green" | "blue" | "yellow" | "red" | "grey" | "orange" | "purple" | "teal";

export interface Look {
  colour: Colour;
  icon: IconName;
}

const STATES: Record<string, Look> = {
  running: { colour: "green", icon: "play" },
  completed: { colour: "blue", icon: "check" },
  pending: { colour: "yellow", icon: "clock" },
  paused: { colour: "yellow", icon: "pause" },
  failed: { colour: "red", icon: "cross" },
  stopped: { colour: "grey", icon: "stop" },
  stalled: { colour: "orange", icon: "clock" },
};

const SEVERITIES: Record<string, Look> = {
  info: { colour: "grey", icon: "info" },
  warning: { colour: "orange", icon: "warning" },
  critical: { colour: "red", icon: "critical" },
};

const KINDS: Record<string, Look> = {
  evaluation: { colour: "yellow", icon: "gauge" },
  checkpoint_saved: { colour: "blue", icon: "disk" },
  best_model: { colour: "green", icon: "star" },
  warning: { colour: "orange", icon: "warning" },
  loss_spike: { colour: "orange", icon: "spike" },
  accuracy_drop: { colour: "orange", icon: "fall" },
  divergence: { colour: "red", icon: "trend" },
  slow_divergence: { colour: "red", icon: "trend" },
  grad_explosion: { colour: "orange", icon: "spike" },
  grad_vanish: { colour: "orange", icon: "fall" },
  collapse: { colour: "orange", icon: "fall" },
  plateau: { colour: "grey", icon: "pause" },
  frozen_metric: { colour: "grey", icon: "pause" },
  lr_jump: { colour: "orange", icon: "spike" },
  dead_expert: { colour: "orange", icon: "cross" },
  prediction_mismatch: { colour: "orange", icon: "cross" },
  resume_regression: { colour: "orange", icon: "resume" },
  overfit: { colour: "orange", icon: "trend" },
  nonfinite: { colour: "red", icon: "critical" },
  crashed: { colour: "red", icon: "cross" },
  stalled: { colour: "orange", icon: "clock" },
  throughput_drop: { colour: "orange", icon: "gauge" },
  gpu_hot: { colour: "orange", icon: "chip" },
  memory_low: { colour: "orange", icon: "chip" },
  disk_full_soon: { colour: "orange", icon: "disk" },
  snapshot_created: { colour: "teal", icon: "box" },
  snapshot_skipped: { colour: "red", icon: "box" },
  snapshot_removed: { colour: "grey", icon: "box" },
  alert_delivered: { colour: "purple", icon: "bell" },
  alert_failed: { colour: "red", icon: "bell" },
  incident_opened: { colour: "red", icon: "flag" },
  incident_escalated: { colour: "red", icon: "flag" },
  incident_resolved: { colour: "green", icon: "flag" },
  run_started: { colour: "green", icon: "play" },
  run_finished: { colour: "blue", icon: "check" },
  run_failed: { colour: "red", icon: "cross" },
  run_resumed: { colour: "green", icon: "resume" },
  daemon_started: { colour: "grey", icon: "plug" },
  daemon_stopped: { colour: "grey", icon: "plug" },
  status_unreadable: { colour: "orange", icon: "warning" },
  source_truncated: { colour: "grey", icon: "resume" },
};

export const stateLook = (state: string): Look => entry(STATES, state) ?? { colour: "grey", icon: "ring" };

export const severityLook = (severity: string): Look => entry(SEVERITIES, severity) ?? SEVERITIES.info!;

/** A kind nobody knows here (a detector's from another package) looks like its severity. */
export const kindLook = (kind: string, severity = "info"): Look => entry(KINDS, kind) ?? severityLook(severity);
