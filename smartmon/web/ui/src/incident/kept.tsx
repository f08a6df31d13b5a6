/** What was kept for an incident, in the words of its alert, with the commands to get it back. */
import type { JSX } from "preact";

import type { IncidentDetail } from "../api";
import { SnapshotCard } from "../checkpoints/snapshot";
import { Shown } from "../text/shown";

/** The requests for snapshots and what became of each. */
export function KeptList({ detail }: { detail: IncidentDetail }): JSX.Element {
  const { kept, snapshots, incident } = detail;
  if (kept.length === 0 && snapshots.length === 0) {
    return <p class="muted">{incident.historic ? "Nothing: it was past already." : "Nothing was to be kept."}</p>;
  }
  const told = kept.filter((one) => one.sentence && !snapshots.some((snapshot) => snapshot.name === one.snapshot));
  return (
    <>
      {told.map((one, index) => (
        <p key={index}>
          <Shown text={one.sentence} />
        </p>
      ))}
      {snapshots.map((snapshot) => (
        <SnapshotCard key={snapshot.name} snapshot={snapshot} open />
      ))}
    </>
  );
}
