/** One snapshot: why it was made, what is in it, whether it can be trusted, and how to get it back. */
import type { JSX } from "preact";

import type { SnapshotOne } from "../api";
import { bytes, exact, moment, percentage, step, value, words } from "../format";
import { Icon, type IconName } from "../icons";
import { kindLook, type Colour } from "../looks";
import { Command } from "../text/copy";
import { Shown } from "../text/shown";
import "./checkpoints.css";

const STATES: Record<string, [icon: IconName, colour: Colour, word: string]> = {
  ok: ["check", "green", "whole"],
  damaged: ["critical", "red", "damaged"],
  no_checkpoint: ["warning", "yellow", "no checkpoint"],
  skipped: ["cross", "red", "skipped"],
};

/** A snapshot, folded to two lines; `open` shows its commands at once. */
export function SnapshotCard({ snapshot, open = false }: { snapshot: SnapshotOne; open?: boolean }): JSX.Element {
  const look = kindLook(snapshot.kinds[0] ?? "", snapshot.severity);
  return (
    <details class="snapshot" open={open} data-name={snapshot.name}>
      <summary>
        <Icon name={look.icon} class={look.colour} />
        <span class="why">
          <b>{snapshot.triggers.map(reasonWords).join(", ") || "snapshot"}</b>
          {snapshot.step !== null && <span> at step {step(snapshot.step)}</span>}
          <span class="muted num" title={exact(snapshot.at)}>
            {moment(snapshot.at)}
          </span>
        </span>
        <Marks snapshot={snapshot} />
      </summary>
      <Inside snapshot={snapshot} />
    </details>
  );
}

function Marks({ snapshot }: { snapshot: SnapshotOne }): JSX.Element {
  const [icon, colour, word] = STATES[snapshot.state] ?? ["info", "grey", words(snapshot.state)];
  return (
    <span class="marks">
      <span class={`badge ${colour}`}>
        <Icon name={icon} />
        {word}
      </span>
      {snapshot.pinned && (
        <span class="badge blue" title="kept for good">
          <Icon name="pin" />
          pinned
        </span>
      )}
      {snapshot.verified && snapshot.has_weights && (
        <span class="badge teal" title="every file was read back and its digest stored; snapshots verify --full compares each byte with it">
          <Icon name="check" />
          verified
        </span>
      )}
      {snapshot.has_weights ? (
        <span class="num">{bytes(snapshot.bytes)}</span>
      ) : (
        snapshot.checkpoint_step !== null && <span class="num">weights given up</span>
      )}
    </span>
  );
}

function Inside({ snapshot }: { snapshot: SnapshotOne }): JSX.Element {
  const { loss, accuracy } = snapshot;
  return (
    <div class="inside">
      {snapshot.problem && (
        <p class="red">
          <Shown text={snapshot.problem} />
        </p>
      )}
      <dl class="facts">
        <dt>Checkpoint</dt>
        <dd>{checkpointText(snapshot)}</dd>
        {(loss !== null || accuracy !== null) && (
          <>
            <dt>Then</dt>
            <dd>
              {[loss !== null && `loss ${value(loss)}`, accuracy !== null && `accuracy ${percentage(accuracy)}`]
                .filter(Boolean)
                .join(", ")}
            </dd>
          </>
        )}
        <dt>Name</dt>
        <dd>
          <code>
            <Shown text={snapshot.name} limit={160} />
          </code>
        </dd>
      </dl>
      {[...snapshot.commands].sort(restoreFirst).map((command) => (
        <Command key={command} text={command} />
      ))}
    </div>
  );
}

/** To get it back is what somebody came for. */
function restoreFirst(one: string, other: string): number {
  return Number(other.includes(" restore ")) - Number(one.includes(" restore "));
}

/** `step 17,500, 20 steps older than what was seen; last good: step 17,000` */
export function checkpointText(snapshot: SnapshotOne): string {
  const { checkpoint_step: at, checkpoint_age_steps: old, last_good_checkpoint_step: good } = snapshot;
  if (at === null) return "none: the trainer had saved none";
  const apart = old ? `, ${step(Math.abs(old))} steps ${old > 0 ? "older than" : "after"} what was seen` : "";
  return `step ${step(at)}${apart}${good !== null && good !== at ? `; last good: step ${step(good)}` : ""}`;
}

/** `loss_spike_40.7pct` as people say it: `loss spike 40.7 %`. */
const reasonWords = (reason: string): string => words(reason).replace(/(\d)pct\b/g, `$1\u00a0%`);
