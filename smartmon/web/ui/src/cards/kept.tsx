/** What was kept, in one sentence: what somebody would go back to, and the way to the command that does it. */
import type { JSX } from "preact";

import type { Incident, SnapshotOne, Snapshots, Stats } from "../api";
import { bytes, plural, step, upper, words } from "../format";
import { remembered } from "../settings";

/** A snapshot that something can be restored from. */
const holds = (one: SnapshotOne): boolean => one.state === "ok" && one.checkpoint_step !== null && one.has_weights;

const isBest = (one: SnapshotOne): boolean => one.kinds.includes("best_model");

/** The step at which the trouble began that the run is in, or ended in; null where there is none. */
function troubleSince(one: Stats, incidents: readonly Incident[]): number | null {
  const ended = one.finished_at;
  const lasting = incidents.filter(({ attempt, state, resolved_at: over }) => {
    return attempt === one.attempt && (state === "open" || (ended !== null && over !== null && over >= ended - 1));
  });
  return lasting.length ? Math.min(...lasting.map((incident) => incident.start_step)) : null;
}

/** The snapshot for trouble that holds what is furthest from it; without trouble now, the newest for any. */
function forTrouble(one: Stats, incidents: readonly Incident[], snapshots: readonly SnapshotOne[]): SnapshotOne | undefined {
  const grave = snapshots.filter((snapshot) => !isBest(snapshot) && snapshot.severity !== "info");
  const since = troubleSince(one, incidents);
  if (since === null) return grave[0];
  const within = grave.filter((snapshot) => snapshot.attempt === one.attempt && (snapshot.step ?? -1) >= since);
  const good = (snapshot: SnapshotOne) => snapshot.last_good_checkpoint_step ?? Infinity;
  const best = [...within].sort((a, b) => good(a) - good(b))[0];
  return best && good(best) < Infinity ? best : (within.at(-1) ?? grave[0]);
}

function bestWords(one: SnapshotOne, best: number | null): string {
  const [at, seen] = [one.checkpoint_step ?? 0, one.step ?? one.checkpoint_step ?? 0];
  if (at !== seen) return `step ${step(at)}, ${plural(Math.abs(at - seen), "step")} ${at > seen ? "after" : "before"} the best`;
  // A best model that is better by a hair is not kept.
  return best === null || best === seen ? `best model, step ${step(at)}` : `best model as of step ${step(at)}`;
}

function troubleWords(one: SnapshotOne): string {
  const good = one.last_good_checkpoint_step;
  const what = words(one.kinds[0] ?? "anomaly");
  if (one.severity === "info") return `step ${step(one.checkpoint_step)}, for a ${what} within its noise`;
  return good === null ? `step ${step(one.checkpoint_step)}, for the ${what}` : `step ${step(good)}, from before the ${what}`;
}

/** Opens a snapshot's card, where the command is. */
function toSnapshot(name: string): void {
  remembered("open.snapshots", true).value = true;
  // The panel may have to be built first.
  setTimeout(() => {
    const card = [...document.querySelectorAll<HTMLDetailsElement>("details.snapshot")].find((one) => one.dataset.name === name);
    if (card) card.open = true;
    (card ?? document.querySelector('[data-panel="snapshots"]'))?.scrollIntoView({ block: "center" });
  });
}

interface KeptProps {
  one: Stats;
  incidents: readonly Incident[];
  snapshots: Snapshots | null;
}

export function Kept({ one, incidents, snapshots }: KeptProps): JSX.Element {
  const copying = one.snapshots_pending > 0 ? ` Copying ${plural(one.snapshots_pending, "more", "more")}.` : "";
  const there = snapshots?.snapshots.filter(holds) ?? [];
  const best = there.find(isBest);
  const trouble = forTrouble(one, incidents, there) ?? (best ? undefined : there[0]);
  const told = [
    trouble && { name: trouble.name, words: troubleWords(trouble) },
    best && { name: best.name, words: bestWords(best, one.best.step) },
  ].filter((part) => part !== undefined);
  // In trouble, what lies before it comes first; else the best.
  const parts = troubleSince(one, incidents) === null ? told.reverse() : told;
  const first = parts[0];
  if (first) {
    return (
      <>
        {upper(parts.map((part) => part.words).join("; "))}
        <span class="muted">
          {" "}
          ({plural(snapshots!.count, "snapshot")}, {bytes(snapshots!.bytes)}).{copying}{" "}
        </span>
        <button type="button" class="as-link" onClick={() => toSnapshot(first.name)}>
          How to restore
        </button>
      </>
    );
  }
  if (copying) return <>{copying.trim()}</>;
  if (snapshots?.count) return <>No checkpoint: the run had saved none. {plural(snapshots.count, "snapshot")} with its numbers alone</>;
  return <>Nothing yet; nothing called for it</>;
}
