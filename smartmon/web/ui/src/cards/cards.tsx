/** The numbers: how it learns, how fast it is, what its best was, whether the optimiser is well. */
import type { ComponentChildren, JSX } from "preact";

import type { Pace, Stats } from "../api";
import { age, duration, exact, known, metricName, percentage, step, value } from "../format";
import { isStale } from "../notices";
import { answeredAt, dataAge, now, stats } from "../store";
import "./cards.css";

interface TileProps {
  label: string;
  children: ComponentChildren;
  /** A second line: what goes with the value. */
  sub?: ComponentChildren;
  title?: string;
  tone?: string;
}

function Tile({ label, children, sub, title, tone }: TileProps): JSX.Element {
  return (
    <div class="tile" title={title}>
      <dt>{label}</dt>
      <dd class={tone}>{children}</dd>
      {sub != null && sub !== "" && <dd class="sub">{sub}</dd>}
    </div>
  );
}

/** A metric's newest value, or the word for one that is no number. */
function Metric({ one, metric, shown }: { one: Stats; metric: string; shown: string }): JSX.Element {
  return one.nonfinite.includes(metric) ? <span class="red">not finite</span> : <>{shown}</>;
}

const WARMUP = { warming_up: "warming up", done: "warm-up done", unknown: "" } as const;

function warmup(one: Stats): string {
  const { state, steps, max_lr } = one.warmup;
  const until = state === "warming_up" && steps !== null ? ` to step ${step(steps)}` : "";
  return [WARMUP[state] + until, max_lr === null ? "" : `max ${value(max_lr, 3)}`].filter(Boolean).join(", ");
}

/** The metrics that a card is worth for only where the run has them. */
function Learning({ one }: { one: Stats }): JSX.Element {
  const accuracy = one.accuracy ?? one.eval_accuracy;
  return (
    <>
      <Tile label="Loss" sub={one.aux_loss === null ? null : `with aux ${value(one.aux_loss)}`}>
        <Metric one={one} metric="loss" shown={value(one.loss)} />
      </Tile>
      <Tile label="Evaluation loss" sub={known(one.eval_loss) && known(one.loss) ? `gap ${value(one.eval_loss - one.loss, 3)}` : null}>
        <Metric one={one} metric="eval_loss" shown={value(one.eval_loss)} />
      </Tile>
      <Tile
        label="Accuracy"
        sub={one.accuracy === null ? (one.eval_accuracy === null ? null : "of the evaluation") : one.eval_accuracy === null ? null : `evaluation ${percentage(one.eval_accuracy)}`}
      >
        {percentage(accuracy)}
      </Tile>
      <Tile label="Learning rate" sub={warmup(one)}>
        {value(one.learning_rate, 3)}
      </Tile>
    </>
  );
}

/** Present and average speed in the first unit that the run tells; the others below it. */
function Speed({ one }: { one: Stats }): JSX.Element {
  const all: [string, Pace][] = [
    ["steps/s", one.steps_per_sec],
    ["samples/s", one.samples_per_sec],
    ["tokens/s", one.tokens_per_sec],
  ];
  const told = all.filter(([, pace]) => pace.now !== null || pace.average !== null);
  return (
    <div class="tile wide">
      <dt>Speed</dt>
      {told.length === 0 && <dd>{value(null)}</dd>}
      {told.length > 0 && (
        <dd class="paces">
          {told.map(([unit, pace]) => (
            <span key={unit}>
              <b>{value(pace.now ?? pace.average, 3)}</b> {unit}
              <small>mean {value(pace.average, 3)}</small>
            </span>
          ))}
        </dd>
      )}
    </div>
  );
}

export function Cards(): JSX.Element {
  const one = stats.value;
  if (!one) return <dl class="tiles loading" aria-busy="true" />;
  const since = Math.max(0, now.value - answeredAt.value);
  // A trainer's last word on what is left outlives a run that ended early.
  const left = one.live && !isStale() && one.eta_seconds !== null ? Math.max(0, one.eta_seconds - since) : null;
  const best = one.best;
  const grad = one.grad_norm;
  const ratio = known(grad.now) && known(grad.mean100) && grad.mean100 > 0 ? grad.now / grad.mean100 : null;
  return (
    <dl class="tiles">
      <Learning one={one} />
      <Speed one={one} />
      <Tile label="Time remaining" sub={left === null ? null : "at the present speed"}>
        {duration(left)}
      </Tile>
      <Tile label="Time elapsed" title={exact(one.started_at)}>
        {duration(one.elapsed_seconds === null ? null : one.elapsed_seconds + (one.live ? since : 0))}
      </Tile>
      <Tile label="Data age" title={exact(one.updated_at)}>
        {age(dataAge.value)}
      </Tile>
      <Tile
        label={`Best ${metricName(best.metric)}`}
        sub={best.step === null ? null : `step ${step(best.step)}${best.epoch === null ? "" : `, epoch ${value(best.epoch, 3)}`}`}
      >
        {value(best.value)}
      </Tile>
      <Tile label="Best perplexity" sub={`latest ${value(one.perplexity.eval ?? one.perplexity.train)}`}>
        {value(one.perplexity.best)}
      </Tile>
      <Tile
        label="Gradient norm"
        sub={`mean of ${step(grad.mean_steps)} steps: ${value(grad.mean100, 3)}`}
        tone={ratio !== null && ratio > 5 ? "orange" : undefined}
        title={ratio === null ? undefined : `${value(ratio, 2)} times its mean over ${step(grad.mean_steps)} steps`}
      >
        <Metric one={one} metric="grad_norm" shown={value(grad.now, 3)} />
      </Tile>
    </dl>
  );
}
