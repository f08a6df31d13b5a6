/** The curves of several runs over each other, a small chart for each metric that two of them have. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import type { SeriesAnswer } from "../api";
import { useAsk } from "../ask";
import { grouped, plural } from "../format";
import { remembered } from "../settings";
import { Overlay } from "./overlay";
import { RunKey } from "./key";
import { curvesOf } from "./tables";

const FIRST = ["loss", "eval_loss", "accuracy", "eval_accuracy", "grad_norm", "learning_rate"];
/** How far they are says little of how well they do. */
const LAST = ["epoch", "eta_seconds"];
const CHARTS_FIRST = 4;
const CHARTS_MOST = 16;
/** Series that the server tells at once. */
const SERIES_MOST = 64;
const POINTS = 1_000;
const SMOOTH = 0.9;

/** Charts of the best known metrics first; the choice of axis and smoothing holds for all. */
export function Curves({ runs, metrics }: { runs: readonly string[]; metrics: readonly string[] }): JSX.Element {
  const axis = remembered<string>("compare.axis", "step");
  const smooth = remembered<boolean>("compare.smooth", false);
  const all = useSignal(false);
  const others = metrics.filter((one) => !FIRST.includes(one) && !LAST.includes(one));
  const known = (names: string[]) => names.filter((one) => metrics.includes(one));
  const ordered = [...known(FIRST), ...others, ...known(LAST)];
  const most = Math.min(ordered.length, CHARTS_MOST, Math.floor(SERIES_MOST / runs.length));
  const shown = ordered.slice(0, all.value ? most : CHARTS_FIRST);
  const query = { run: runs, metric: shown, x: axis.value, max_points: POINTS, smooth: smooth.value ? SMOOTH : null };
  const { answer, trouble } = useAsk<SeriesAnswer>("series", query, { every: 3_000 });
  const bucket = Math.max(1, ...(answer?.series ?? []).map((one) => one.bucket));
  if (metrics.length === 0) return <p class="muted">There is no metric that two of them have.</p>;
  return (
    <>
      <div class="curve-tools">
        <p class="legend">
          {runs.map((run, place) => (
            <RunKey key={run} run={run} place={place} />
          ))}
        </p>
        <select
          class="field"
          aria-label="Axis"
          value={axis.value}
          onChange={(event) => (axis.value = event.currentTarget.value)}
        >
          <option value="step">by step</option>
          <option value="elapsed">by time since the start</option>
        </select>
        <button type="button" class="button" aria-pressed={smooth.value} onClick={() => (smooth.value = !smooth.value)}>
          Smooth
        </button>
      </div>
      {answer === null ? (
        <p class="muted">{trouble || "Asking…"}</p>
      ) : (
        <div class="overlays">
          {shown.map((metric) => (
            <Overlay
              key={metric}
              metric={metric}
              axis={axis.value === "elapsed" ? "elapsed" : "step"}
              curves={curvesOf(answer, metric, runs)}
            />
          ))}
        </div>
      )}
      {bucket > 1 && <p class="muted">A point is the last of up to {grouped(bucket)} rows. Extremes between them are on each run's own page.</p>}
      {most > CHARTS_FIRST && !all.value && (
        <button type="button" class="more" onClick={() => (all.value = true)}>
          Show {plural(most - CHARTS_FIRST, "more metric")}
        </button>
      )}
    </>
  );
}
