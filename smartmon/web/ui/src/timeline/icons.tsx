/** What each kind of event looks like: its group, its icon (drawn here, so that no font has to have it), its tone. */

/** The groups that the timeline is filtered by, in the order in which they are offered. */
export const GROUPS = {
  incident: "Incidents",
  anomaly: "Anomalies",
  best: "Best models",
  evaluation: "Evaluations",
  checkpoint: "Checkpoints",
  snapshot: "Snapshots",
  alert: "Alerts",
  run: "Runs",
  warning: "Warnings",
} as const;

export type Group = keyof typeof GROUPS;

/** A tone is a class of timeline.css; the theme gives it its colour. */
export type Tone = "good" | "bad" | "warn" | "calm" | "best" | "kept" | "grey";

interface Look {
  group: Group;
  icon: keyof typeof PATHS;
  tone: Tone;
}

const LOOKS: Record<string, Look> = {
  run_started: { group: "run", icon: "play", tone: "good" },
  run_finished: { group: "run", icon: "flag", tone: "good" },
  run_failed: { group: "run", icon: "cross", tone: "bad" },
  run_resumed: { group: "run", icon: "loop", tone: "calm" },
  checkpoint_saved: { group: "checkpoint", icon: "disk", tone: "calm" },
  evaluation: { group: "evaluation", icon: "gauge", tone: "calm" },
  best_model: { group: "best", icon: "star", tone: "best" },
  incident_opened: { group: "incident", icon: "alarm", tone: "bad" },
  incident_escalated: { group: "incident", icon: "rise", tone: "bad" },
  incident_resolved: { group: "incident", icon: "check", tone: "good" },
  snapshot_created: { group: "snapshot", icon: "camera", tone: "kept" },
  snapshot_skipped: { group: "snapshot", icon: "camera", tone: "bad" },
  snapshot_removed: { group: "snapshot", icon: "camera", tone: "grey" },
  alert_delivered: { group: "alert", icon: "bell", tone: "good" },
  alert_failed: { group: "alert", icon: "muted", tone: "bad" },
  status_unreadable: { group: "warning", icon: "file", tone: "warn" },
  source_truncated: { group: "warning", icon: "file", tone: "warn" },
  daemon_started: { group: "run", icon: "eye", tone: "grey" },
  daemon_stopped: { group: "run", icon: "eye", tone: "grey" },
  warning: { group: "warning", icon: "caution", tone: "warn" },
};

/** Every other kind is what a detector found, and detectors may come from other packages. */
const ANOMALY: Look = { group: "anomaly", icon: "spike", tone: "warn" };

const SEVERE: Record<string, Tone> = { warning: "warn", critical: "bad" };

/** How to draw an event of a kind; an anomaly has the tone of its severity. */
export function look(kind: string, severity: string): Look {
  const known = Object.hasOwn(LOOKS, kind) ? LOOKS[kind] : undefined;
  return known ?? { ...ANOMALY, tone: SEVERE[severity] ?? "grey" };
}

/** The kinds of a group that have a name of their own, for a filter; of anomalies there may be any. */
export function kindsOf(group: Group): string[] {
  return Object.keys(LOOKS).filter((kind) => LOOKS[kind]?.group === group);
}

/** Strokes on a field of 16 by 16. */
const PATHS = {
  play: "M5 3.5v9l7-4.5z",
  flag: "M4 14V2.5M4 3h8l-2 3 2 3H4",
  cross: "M4 4l8 8M12 4l-8 8",
  loop: "M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3",
  disk: "M3 3h8l2 2v8H3zM5.5 3v3h4V3M5.5 13V9.5h5V13",
  gauge: "M2.5 11.5a5.5 5.5 0 1 1 11 0M8 11.5l2.5-3.5",
  star: "M8 2l1.8 3.9 4.2.5-3.1 2.9.8 4.2L8 11.4l-3.7 2.1.8-4.2L2 6.4l4.2-.5z",
  alarm: "M5.3 2h5.4L14 5.3v5.4L10.7 14H5.3L2 10.7V5.3zM8 5v3.6M8 10.8v.200",
  rise: "M8 13V3.5M4 7l4-4 4 4",
  check: "M3 8.5l3.5 3.5L13 4.5",
  camera: "M2 5h3l1-1.5h4L11 5h3v8H2zM10.3 8.8a2.3 2.3 0 1 1-4.6 0 2.3 2.3 0 0 1 4.6 0z",
  bell: "M4 11V7.5a4 4 0 0 1 8 0V11l1 1.5H3zM6.8 14h2.4",
  muted: "M4 11V7.5a4 4 0 0 1 8 0V11l1 1.5H3zM2.5 2.5l11 11",
  file: "M4 2h5l3 3v9H4zM9 2v3h3",
  eye: "M1.5 8S4 4 8 4s6.5 4 6.5 4-2.5 4-6.5 4-6.5-4-6.5-4zM9.5 8a1.5 1.5 0 1 1-3 0 1.5 1.5 0 0 1 3 0z",
  caution: "M8 2.5l6 11H2zM8 6.5v3.5M8 11.7v.200",
  spike: "M1.5 11h3l2-8 3 11 2-6 1 3h2",
};

/** The icon of a kind; what it means is said in words beside it. */
export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
