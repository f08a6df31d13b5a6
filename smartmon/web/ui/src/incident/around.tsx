/** The metrics around an incident: what the server says moved, and each over the same steps. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import type { IncidentDetail, SeriesAnswer } from "../api";
import { useAsk } from "../ask";
import { metricName, percentage, plural, value } from "../format";
import { Shown } from "../text/shown";
import { Context, type Line } from "./context";

const POINTS = 400;
const METRICS_FIRST = 12;
const WORTH_A_BUTTON = 4;
/** As many as the server answers at once. */
const METRICS_MOST = 32;

/** What changed in words, the strips, and the values at the last change. */
export function Around({ detail }: { detail: IncidentDetail }): JSX.Element {
  const { incident, from_step, to_step } = detail;
  const all = useSignal(false);
  const most = Math.min(detail.metrics.length, METRICS_MOST);
  const first = most - METRICS_FIRST < WORTH_A_BUTTON ? most : METRICS_FIRST;
  const metrics = detail.metrics.slice(0, all.value ? most : first);
  const query = { run: incident.run, metric: metrics, x: "step", from: from_step, to: to_step, max_points: POINTS };
  const { answer, trouble } = useAsk<SeriesAnswer>("series", query, { live: incident.state === "open", every: 3_000 });
  return (
    <>
      {detail.around.length > 0 && (
        <ul class="around">
          {detail.around.map((sentence) => (
            <li key={sentence}>
              <Shown text={sentence} />
            </li>
          ))}
        </ul>
      )}
      {answer ? (
        <Context lines={lines(answer, incident.attempt)} from={incident.start_step} to={incident.end_step} />
      ) : (
        <p class="muted">{trouble || "Asking…"}</p>
      )}
      {most > first && !all.value && (
        <button type="button" class="more" onClick={() => (all.value = true)}>
          Show {plural(most - first, "more metric")}
        </button>
      )}
      <Latest latest={detail.latest} />
    </>
  );
}

function Latest({ latest }: { latest: IncidentDetail["latest"] }): JSX.Element | null {
  const known = Object.entries(latest).filter(([, number]) => number !== null);
  if (known.length === 0) return null;
  return (
    <details>
      <summary>Every metric at its last change</summary>
      <dl class="facts latest">
        {known.map(([metric, number]) => (
          <>
            <dt>{metricName(metric)}</dt>
            <dd>{metric.endsWith("accuracy") ? percentage(number) : value(number)}</dd>
          </>
        ))}
      </dl>
    </details>
  );
}

/** The points of the incident's own attempt; where something was no number stands a NaN, so that it is marked. */
function lines(answer: SeriesAnswer, attempt: number): Line[] {
  return answer.series.map((one) => {
    const stretches = one.attempts.filter((stretch) => stretch.attempt === attempt);
    const points = (stretches.length > 0 ? stretches : one.attempts).flatMap((stretch) =>
      one.points.slice(stretch.start, stretch.start + stretch.points),
    );
    const finite = points.flatMap(([x, last, low, high]): [number, number][] => {
      if (x == null || last == null) return [];
      // A bucket's extremes matter more here than its last value: a spike of one step must be seen.
      const far = high != null && low != null && Math.abs(high - last) > Math.abs(last - low) ? high : (low ?? last);
      return [[x, one.bucket > 1 ? far : last]];
    });
    const none = one.nonfinite.map((x): [number, number] => [x, Number.NaN]);
    return { metric: one.metric, points: [...finite, ...none].sort((a, b) => a[0] - b[0]) };
  });
}
