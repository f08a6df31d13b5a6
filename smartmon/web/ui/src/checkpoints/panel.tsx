/** What can be gone back to: the snapshots that smartmon keeps, and the trainer's own checkpoints. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import type { CheckpointOne, Checkpoints as CheckpointsAnswer, Snapshots as SnapshotsAnswer } from "../api";
import { useAsk } from "../ask";
import { bytes, exact, grouped, moment, plural, step, value } from "../format";
import { Icon } from "../icons";
import { Empty, Panel } from "../panel";
import { stats } from "../store";
import { Shown } from "../text/shown";
import { SnapshotCard } from "./snapshot";
import "./checkpoints.css";

const FIRST = 6;

/** Our snapshots, the newest first. */
export function Snapshots({ run }: { run: string }): JSX.Element {
  const { answer, trouble } = useAsk<SnapshotsAnswer>("snapshots", { run }, { every: 3_000 });
  const all = useSignal(false);
  const coming = stats.value?.snapshots_pending ?? 0;
  const shown = answer?.snapshots.slice(0, all.value ? undefined : FIRST) ?? [];
  const hidden = (answer?.snapshots.length ?? 0) - shown.length;
  return (
    <Panel
      title="Snapshots"
      id="snapshots"
      aside={answer && answer.count > 0 ? `${grouped(answer.count)} kept, ${bytes(answer.bytes)}` : undefined}
    >
      {coming > 0 && (
        <p class="muted" role="status">
          <Icon name="clock" /> {plural(coming, "snapshot is", "snapshots are")} being made.
        </p>
      )}
      {answer === null && <Empty>{trouble || "Asking…"}</Empty>}
      {answer?.snapshots.length === 0 && coming === 0 && (
        <Empty>None yet. One is kept at the first anomaly, and of the best model.</Empty>
      )}
      {shown.map((snapshot) => (
        <SnapshotCard key={snapshot.name} snapshot={snapshot} />
      ))}
      {hidden > 0 && (
        <button type="button" class="more" onClick={() => (all.value = true)}>
          Show {plural(hidden, "older one")}
        </button>
      )}
      {answer && answer.count > answer.snapshots.length && hidden === 0 && (
        <p class="muted">
          {grouped(answer.count - answer.snapshots.length)} more: <code>smartmon snapshots list</code>
        </p>
      )}
    </Panel>
  );
}

/** The trainer's last 20 checkpoints. */
export function Checkpoints({ run }: { run: string }): JSX.Element {
  const { answer, trouble } = useAsk<CheckpointsAnswer>("checkpoints", { run }, { every: 10_000, patient: true });
  return (
    <Panel
      title="Checkpoints"
      id="checkpoints"
      aside={answer && answer.count > 0 ? `${grouped(answer.count)} on disk, the trainer's own` : undefined}
    >
      {answer === null ? (
        <Empty>{trouble || "Asking…"}</Empty>
      ) : answer.checkpoints.length === 0 ? (
        <Empty>The trainer has saved none yet.</Empty>
      ) : (
        <CheckpointTable checkpoints={answer.checkpoints} />
      )}
    </Panel>
  );
}

function CheckpointTable({ checkpoints }: { checkpoints: readonly CheckpointOne[] }): JSX.Element {
  return (
    <div class="scroll">
      <table class="listing checkpoints">
        <caption class="visually-hidden">The newest checkpoints, highest step first</caption>
        <thead>
          <tr>
            <th scope="col">Step, saved</th>
            <th scope="col" class="num">
              Eval. loss
            </th>
            <th scope="col" class="num">
              Perplexity
            </th>
            <th scope="col" class="num">
              Size
            </th>
          </tr>
        </thead>
        <tbody>
          {checkpoints.map((one) => (
            <CheckpointRow key={one.path} checkpoint={one} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function CheckpointRow({ checkpoint }: { checkpoint: CheckpointOne }): JSX.Element {
  return (
    <tr>
      <th scope="row" title={checkpoint.path}>
        {checkpoint.step === null ? <Shown text={checkpoint.name} limit={60} /> : step(checkpoint.step)}{" "}
        {checkpoint.best && (
          <span class="badge green">
            <Icon name="star" />
            best
          </span>
        )}{" "}
        {!checkpoint.complete && (
          <span class="badge yellow" title={checkpoint.problem}>
            <Icon name="clock" />
            incomplete
          </span>
        )}
        <small class="muted" title={exact(checkpoint.saved_at)}>
          {moment(checkpoint.saved_at)}
        </small>
        {!checkpoint.complete && checkpoint.problem && (
          <p class="muted problem">
            <Shown text={checkpoint.problem} limit={160} />
          </p>
        )}
      </th>
      <td class="num">{value(checkpoint.eval_loss)}</td>
      <td class="num">{value(checkpoint.perplexity)}</td>
      <td class="num">{bytes(checkpoint.bytes)}</td>
    </tr>
  );
}
