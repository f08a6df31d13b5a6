/** Which events are shown: by what they are about, and from which severity on. */
import type { JSX } from "preact";

import type { Icon as Group } from "../api";
import { Icon } from "../icons";
import { kindLook } from "../looks";

export interface Filter {
  /** What events may be about; nothing chosen: anything. */
  groups: ReadonlySet<Group>;
  /** `info` (all), `warning` or `critical`. */
  severity: string;
}

export const EVERYTHING: Filter = { groups: new Set(), severity: "info" };

/** A button's name, the groups that it stands for, and a kind that lends its look. */
const BUTTONS: readonly [name: string, groups: readonly Group[], kind: string][] = [
  ["Incidents", ["incident"], "incident_opened"],
  ["Anomalies", ["anomaly"], "loss_spike"],
  ["Best", ["best"], "best_model"],
  ["Evaluations", ["evaluation"], "evaluation"],
  ["Checkpoints", ["checkpoint"], "checkpoint_saved"],
  ["Snapshots", ["snapshot"], "snapshot_created"],
  ["Alerts", ["alert"], "alert_delivered"],
  ["Warnings", ["warning"], "warning"],
  ["Run", ["run", "daemon"], "run_started"],
];

interface FilterProps {
  filter: Filter;
  onChange: (filter: Filter) => void;
}

/** Buttons for what events are about; while none is pressed, all are shown. */
export function GroupButtons({ filter, onChange }: FilterProps): JSX.Element {
  const toggled = (groups: readonly Group[], on: boolean) => {
    const next = new Set(filter.groups);
    for (const group of groups) {
      if (on) next.add(group);
      else next.delete(group);
    }
    onChange({ ...filter, groups: next });
  };
  return (
    <div class="timeline-filter" role="group" aria-label="What the events are about">
      {BUTTONS.map(([name, groups, kind]) => {
        const look = kindLook(kind);
        const on = groups.every((group) => filter.groups.has(group));
        return (
          <button key={name} type="button" class="button chip" aria-pressed={on} onClick={() => toggled(groups, !on)}>
            <Icon name={look.icon} class={look.colour} />
            {name}
          </button>
        );
      })}
    </div>
  );
}

/** The least severity that is shown. */
export function SeverityChoice({ filter, onChange }: FilterProps): JSX.Element {
  return (
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
  );
}
