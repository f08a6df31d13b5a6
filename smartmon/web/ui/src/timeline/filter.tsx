/** Which events are shown: by what they are about, and from which severity on. */
import type { JSX } from "preact";

import type { Icon as Group } from "../api";
import { Icon } from "../icons";
import { kindLook } from "../looks";
import type { Filter } from "./past";

/** Group -> its name, and a kind that lends its look. */
export const GROUPS: Record<Group, [name: string, kind: string]> = {
  incident: ["Incidents", "incident_opened"],
  anomaly: ["Anomalies", "loss_spike"],
  best: ["Best", "best_model"],
  evaluation: ["Evaluations", "evaluation"],
  checkpoint: ["Checkpoints", "checkpoint_saved"],
  snapshot: ["Snapshots", "snapshot_created"],
  alert: ["Alerts", "alert_delivered"],
  warning: ["Warnings", "warning"],
  run: ["Run", "run_started"],
  daemon: ["Daemon", "daemon_started"],
};

interface FilterBarProps {
  filter: Filter;
  onChange: (filter: Filter) => void;
}

/** Buttons for the groups (none pressed: all are shown) and a choice of severity. */
export function FilterBar({ filter, onChange }: FilterBarProps): JSX.Element {
  const toggled = (group: Group) => {
    const icons = new Set(filter.icons);
    if (!icons.delete(group)) icons.add(group);
    onChange({ ...filter, icons });
  };
  return (
    <div class="timeline-filter" role="group" aria-label="Filter of the timeline">
      {(Object.keys(GROUPS) as Group[]).map((group) => {
        const look = kindLook(GROUPS[group][1]);
        return (
          <button
            key={group}
            type="button"
            class="button chip"
            aria-pressed={filter.icons.has(group)}
            onClick={() => toggled(group)}
          >
            <Icon name={look.icon} class={look.colour} />
            {GROUPS[group][0]}
          </button>
        );
      })}
      <select
        class="field"
        aria-label="Severity"
        value={filter.severity}
        onChange={(event) => onChange({ ...filter, severity: event.currentTarget.value })}
      >
        <option value="info">Any severity</option>
        <option value="warning">Warnings and worse</option>
        <option value="critical">Critical only</option>
      </select>
    </div>
  );
}
