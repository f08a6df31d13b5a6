/** What each run came to, and the best that was kept of it: a column for each. */
import type { ComponentChildren, JSX } from "preact";

import type { Compared } from "../api";
import { SnapshotCard } from "../checkpoints/snapshot";
import { age, duration, metricName, percent, percentage, step, value } from "../format";
import { Icon } from "../icons";
import { stateLook } from "../looks";
import { runLink } from "../router";
import { now } from "../store";
import { Command } from "../text/copy";
import { quoted } from "../text/quoted";
import { Shown } from "../text/shown";
import { RunKey } from "./key";

const SHOWN_FIRST = ["loss", "eval_loss", "accuracy", "eval_accuracy", "learning_rate", "grad_norm"];

/** A table with a row for each fact. */
export function Outcomes({ runs }: { runs: readonly Compared[] }): JSX.Element {
  const winner = best(runs);
  const metrics = SHOWN_FIRST.filter((metric) => runs.some((one) => one.latest[metric] != null));
  return (
    <>
      <div class="scroll">
        <table class="listing outcomes">
          <caption class="visually-hidden">The runs side by side</caption>
          <thead>
            <tr>
              <td />
              {runs.map((one, place) => (
                <th key={one.card.run} scope="col">
                  <a href={runLink(one.card.run)}>
                    <RunKey run={one.card.run} place={place} />
                  </a>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <Fact name="State" runs={runs} tell={(one) => <State compared={one} />} />
            <Fact
              name="Best"
              runs={runs}
              tell={(one) => (
                <>
                  {metricName(one.best_metric)} <b>{value(one.best)}</b>
                  {one.best_step !== null && <span class="muted"> at step {step(one.best_step)}</span>}{" "}
                  {one === winner && (
                    <span class="badge green">
                      <Icon name="star" />
                      lowest
                    </span>
                  )}
                </>
              )}
            />
            <Fact name="Step" runs={runs} tell={reached} />
            {metrics.map((metric) => (
              <Fact
                key={metric}
                name={`Latest ${metricName(metric)}`}
                runs={runs}
                tell={({ latest }) =>
                  metric.endsWith("accuracy") ? percentage(latest[metric]) : value(latest[metric])
                }
              />
            ))}
            <Fact name="Took" runs={runs} tell={(one) => duration(took(one))} />
            <Fact name="Last news" runs={runs} tell={({ card }) => age(card.age_seconds)} />
            <Fact name="Model" runs={runs} tell={({ card }) => <Shown text={card.model_name ?? "–"} limit={80} />} />
            <Fact
              name="Best snapshot"
              runs={runs}
              tell={({ snapshot }) =>
                snapshot ? <SnapshotCard snapshot={snapshot} /> : <span class="muted">none</span>
              }
            />
          </tbody>
        </table>
      </div>
      <SnapshotCommand runs={runs} />
    </>
  );
}

interface FactProps {
  name: string;
  runs: readonly Compared[];
  tell: (one: Compared) => ComponentChildren;
}

function Fact({ name, runs, tell }: FactProps): JSX.Element {
  return (
    <tr>
      <th scope="row">{name}</th>
      {runs.map((one) => (
        <td key={one.card.run}>{tell(one)}</td>
      ))}
    </tr>
  );
}

function State({ compared }: { compared: Compared }): JSX.Element {
  const { state, open_incidents: open } = compared.card;
  const look = stateLook(state);
  return (
    <>
      <span class={`badge ${look.colour}`}>
        <Icon name={look.icon} />
        {state}
      </span>{" "}
      {open.length > 0 && (
        <span class="badge red">
          <Icon name="flag" />
          {open.length} open
        </span>
      )}
    </>
  );
}

/** Two best snapshots can be set side by side, file by file. */
function SnapshotCommand({ runs }: { runs: readonly Compared[] }): JSX.Element | null {
  const names = runs.flatMap(({ snapshot }) => (snapshot ? [snapshot.name] : []));
  if (names.length !== 2) return null;
  return (
    <Command text={`smartmon snapshots compare ${names.map(quoted).join(" ")}`} label="Compare the two snapshots" />
  );
}

function reached({ card }: Compared): string {
  const whole = card.total_steps ? ` of ${step(card.total_steps)} (${percent(card.progress, 0)})` : "";
  return `${step(card.step)}${whole}`;
}

function took({ card }: Compared): number | null {
  if (card.started_at === null) return null;
  const seconds = (card.finished_at ?? card.updated_at ?? now.value) - card.started_at;
  // A run that was over before anybody looked began, as far as is known, when it was first seen.
  return seconds > 0 ? seconds : null;
}

/** The lowest best value, where all runs are judged by the same metric. */
function best(runs: readonly Compared[]): Compared | null {
  if (new Set(runs.map((one) => one.best_metric)).size !== 1) return null;
  const known = runs.filter((one) => one.best !== null);
  if (known.length < 2) return null;
  return known.reduce((a, b) => (b.best! < a.best! ? b : a));
}
