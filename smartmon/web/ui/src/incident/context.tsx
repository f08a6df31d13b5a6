/** The metrics around an incident on one axis of steps: a strip for each, since their units have nothing in common. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import { grouped, metricName, value } from "../format";

export interface Line {
  metric: string;
  /** By step; NaN where something was no number. */
  points: readonly (readonly [step: number, value: number])[];
}

interface ContextProps {
  lines: readonly Line[];
  /** The steps of the incident. */
  from: number;
  to: number;
}

const WIDTH = 720;
const ROW = 44;
const PAD = 5;

/** One small line for each metric, the incident's steps shaded through all of them. */
export function Context({ lines, from, to }: ContextProps): JSX.Element {
  const drawn = lines.filter((line) => line.points.length > 1);
  const steps = drawn.flatMap((line) => line.points.map(([step]) => step));
  if (steps.length === 0) return <p class="muted">No metric is stored around these steps.</p>;
  const first = steps.reduce((a, b) => Math.min(a, b));
  const last = steps.reduce((a, b) => Math.max(a, b));
  const x = (step: number) => (WIDTH * (step - first)) / Math.max(1, last - first);
  const pointed = useSignal<number | null>(null);
  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as HTMLElement).querySelector("svg")?.getBoundingClientRect();
    const share = box ? (event.clientX - box.left) / box.width : -1;
    pointed.value = share < 0 || share > 1 ? null : Math.round(first + share * (last - first));
  };
  const at = pointed.value;
  return (
    <div class="context" onPointerMove={point} onPointerDown={point} onPointerLeave={() => (pointed.value = null)}>
      {drawn.map((line) => (
        <Strip key={line.metric} line={line} x={x} from={Math.max(first, from)} to={Math.min(last, to)} at={at} />
      ))}
      <p class="axis muted">
        <span>step {grouped(first)}</span>
        {at !== null && <span>at step {grouped(at)}</span>}
        <span>{grouped(last)}</span>
      </p>
    </div>
  );
}

interface StripProps {
  line: Line;
  x: (step: number) => number;
  from: number;
  to: number;
  /** The step under the cursor. */
  at: number | null;
}

/** The newest value up to a step. */
const valueAt = (line: Line, at: number): string => value(line.points.findLast(([step]) => step <= at)?.[1]);

function Strip({ line, x, from, to, at }: StripProps): JSX.Element {
  const values = line.points.map(([, number]) => number).filter(Number.isFinite);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const y = (number: number) => ROW - PAD - ((ROW - 2 * PAD) * (number - low)) / (high - low || 1);
  const nans = line.points.filter(([, number]) => !Number.isFinite(number));
  const range = values.length ? `${value(low, 3)} … ${value(high, 3)}` : "no number";
  const told = `${metricName(line.metric)}: ${range}${nans.length ? `, ${nans.length} times no number` : ""}`;
  return (
    <div class="strip">
      <span class="name">{metricName(line.metric)}</span>
      <svg viewBox={`0 0 ${WIDTH} ${ROW}`} preserveAspectRatio="none" role="img" aria-label={told}>
        {from <= to && <rect class="band" x={x(from)} y={0} width={Math.max(3, x(to) - x(from))} height={ROW} />}
        {paths(line, x, y).map((path, index) => (
          <path key={index} class="line" d={path} />
        ))}
        {nans.map(([step], index) => (
          <path key={index} class="nan" d={`M${x(step).toFixed(1)} 0V${ROW}`} />
        ))}
        {at !== null && <path class="at" d={`M${x(at).toFixed(1)} 0V${ROW}`} />}
      </svg>
      <span class="num range">{at === null ? range : valueAt(line, at)}</span>
    </div>
  );
}

/** A path for each stretch without a NaN, so that a gap is seen as one. */
function paths(line: Line, x: (step: number) => number, y: (value: number) => number): string[] {
  const found: string[] = [];
  let path = "";
  for (const [step, number] of line.points) {
    if (Number.isFinite(number)) path += `${path ? "L" : "M"}${x(step).toFixed(1)} ${y(number).toFixed(1)}`;
    else if (path) {
      found.push(path);
      path = "";
    }
  }
  return path ? [...found, path] : found;
}
