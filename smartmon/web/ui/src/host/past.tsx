/** How a value of the machine was over the last hours: its shape, and between what it lay. */
import type { JSX } from "preact";

import { duration } from "../format";

const WIDTH = 100;
const HEIGHT = 20;
const PAD = 1.5;
const FEWEST = 3;
/** Share of the whole below which a change is not made to look large. */
const LEAST_RANGE = 0.02;

export interface PastOf {
  points: readonly (readonly [number, number])[];
  /** What the value can be at most, where that is known. */
  whole: number | null;
  tell: (value: number) => string;
}

/** A line with a sentence beside it; nothing until there is something to see. */
export function Past({ name, past }: { name: string; past: PastOf }): JSX.Element | null {
  const { points, whole, tell } = past;
  const first = points[0];
  const last = points.at(-1);
  if (points.length < FEWEST || !first || !last) return null;
  const values = points.map(([, value]) => value);
  const least = Math.min(...values);
  const most = Math.max(...values);
  const range = Math.max(most - least, LEAST_RANGE * (whole ?? most), 1e-9);
  const bottom = (least + most - range) / 2;
  const x = (at: number) => ((at - first[0]) / Math.max(1, last[0] - first[0])) * WIDTH;
  const y = (value: number) => HEIGHT - PAD - ((value - bottom) / range) * (HEIGHT - 2 * PAD);
  const line = points.map(([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
  const between = tell(least) === tell(most) ? tell(least) : `${tell(least)} to ${tell(most)}`;
  return (
    <span class="past">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        <path d={`M${line}`} fill="none" stroke="currentColor" stroke-width="1.4" vector-effect="non-scaling-stroke" />
      </svg>
      <span class="muted">
        <span class="visually-hidden">{name}, </span>
        {duration(last[0] - first[0])}: {between}
      </span>
    </span>
  );
}
