/** What stands below the verdict, each in one sentence: what happened, what was kept, when will it be done. */
import type { ComponentChildren, JSX } from "preact";

import type { Incident, SnapshotOne, Snapshots, Stats } from "../api";
import { age, bytes, duration, exact, moment, plural, step, visible, words } from "../format";
import { isStale } from "../notices";
import { link } from "../router";
import { remembered } from "../settings";
import { answeredAt, dataAge, now } from "../store";

const worstOf = (open: Stats["open_incidents"]) => open.find((incident) => incident.severity === "critical") ?? open[0];

function IncidentLink({ one, id, children }: { one: Stats; id: number; children: ComponentChildren }): JSX.Element {
  return <a href={link("run", one.run, "incident", id)}>{children}</a>;
}

export function Happened({ one, incidents }: { one: Stats; incidents: readonly Incident[] }): JSX.Element {
  const worst = worstOf(one.open_incidents);
  if (one.error && one.state === "failed") {
    return worst ? (
      <IncidentLink one={one} id={worst.id}>
        {visible(one.error)}
      </IncidentLink>
    ) : (
      <>{visible(one.error)}</>
    );
  }
  if (worst) {
    return (
      <>
        <IncidentLink one={one} id={worst.id}>
          {visible(worst.message)}
        </IncidentLink>
        <span class="muted">
          {" "}
          since {moment(worst.opened_at)} ({age(now.value - worst.opened_at)})
        </span>
      </>
    );
  }
  if (one.state === "stalled") return <>No row for {duration(dataAge.value)}, and the run has not said that it ended</>;
  const past = incidents[0];
  if (!past) return <>{one.step === null ? "Nothing yet" : "Nothing out of the ordinary"}</>;
  return (
    <>
      {one.live ? "Nothing now. Last: " : "Nothing is open. Last: "}
      <IncidentLink one={one} id={past.id}>
        {words(past.kind)} at step {step(past.start_step)}
      </IncidentLink>
      <span class="muted">
        {" "}
        {age(now.value - past.opened_at)}
        {past.resolution && `, ${visible(past.resolution)}`}
        {incidents.length > 1 && `; ${plural(incidents.length, "incident")} in all`}
      </span>
    </>
  );
}

/** A snapshot that something can be restored from. */
const holds = (one: SnapshotOne): boolean => one.state === "ok" && one.checkpoint_step !== null && one.has_weights;

const isBest = (one: SnapshotOne): boolean => one.kinds.includes("best_model");

function bestWords(one: SnapshotOne): string {
  const apart = (one.checkpoint_step ?? 0) - (one.step ?? one.checkpoint_step ?? 0);
  if (apart === 0) return `best model, step ${step(one.checkpoint_step)}`;
  return `step ${step(one.checkpoint_step)}, ${plural(Math.abs(apart), "step")} ${apart > 0 ? "after" : "before"} the best`;
}

function troubleWords(one: SnapshotOne): string {
  const good = one.last_good_checkpoint_step;
  const what = words(one.kinds[0] ?? "anomaly");
  if (one.severity === "info") return `step ${step(one.checkpoint_step)}, for a ${what} within its noise`;
  return good === null ? `step ${step(one.checkpoint_step)}, for the ${what}` : `step ${step(good)}, from before the ${what}`;
}

const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

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

export function Kept({ one, snapshots }: { one: Stats; snapshots: Snapshots | null }): JSX.Element {
  const copying = one.snapshots_pending > 0 ? ` Copying ${plural(one.snapshots_pending, "more", "more")}.` : "";
  const there = snapshots?.snapshots.filter(holds) ?? [];
  const best = there.find(isBest);
  const others = there.filter((snapshot) => !isBest(snapshot));
  const trouble = others.find((snapshot) => snapshot.severity !== "info") ?? (best ? undefined : others[0]);
  const parts = [best && bestWords(best), trouble && troubleWords(trouble)].filter((part) => part !== undefined);
  if (parts.length > 0) {
    return (
      <>
        {upper(parts.join("; "))}
        <span class="muted">
          {" "}
          ({plural(snapshots!.count, "snapshot")}, {bytes(snapshots!.bytes)}).{copying}{" "}
        </span>
        <button type="button" class="as-link" onClick={() => toSnapshot((trouble ?? best)!.name)}>
          How to restore
        </button>
      </>
    );
  }
  if (copying) return <>{copying.trim()}</>;
  if (snapshots?.count) return <>No checkpoint: the run had saved none. {plural(snapshots.count, "snapshot")} with its numbers alone</>;
  return <>Nothing yet; nothing called for it</>;
}

export function Done({ one }: { one: Stats }): JSX.Element {
  if (!one.live) {
    const ended = one.finished_at ?? one.updated_at;
    return (
      <>
        {one.state === "completed" ? "Finished" : "Ended"} {age(ended === null ? null : now.value - ended)}
        {ended !== null && <span class="muted"> ({moment(ended)})</span>}
      </>
    );
  }
  if (one.state === "pending") return <>Not known before it begins</>;
  if (one.eta_seconds === null) return <>{one.total_steps ? "Not known while it does not move" : "Not known: no total of steps is told"}</>;
  const left = Math.max(0, one.eta_seconds - Math.max(0, now.value - answeredAt.value));
  if (left < 1) return <>{isStale() ? "Overdue: its last step is written, its end is not" : "Any moment now"}</>;
  if (isStale()) return <>Not known while it is quiet; {duration(one.eta_seconds)} at its last speed</>;
  return (
    <>
      In {duration(left)}
      <span class="muted" title={exact(now.value + left)}>
        {" "}
        (about {moment(now.value + left)})
      </span>
    </>
  );
}

export function Fresh({ one }: { one: Stats }): JSX.Element {
  return (
    <>
      {dataAge.value === null ? "No row yet" : `Newest row: ${age(dataAge.value)}`}
      {one.model_name && <span class="muted"> &middot; {visible(one.model_name)}</span>}
    </>
  );
}
