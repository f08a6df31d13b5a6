/** The course of a value in a few pixels: no axes, only its shape. Null is a gap. */
import type { JSX } from "preact";

const WIDTH = 100;
const HEIGHT = 24;
const PAD = 2;

export function Sparkline({ values, label }: { values: (number | null)[]; label: string }): JSX.Element {
  const finite = values.filter((value): value is number => value !== null);
  if (finite.length < 2) return <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true" />;
  // The first values of a training dwarf the rest: the scale leaves out the highest twentieth.
  const sorted = [...finite].sort((a, b) => a - b);
  const low = sorted[0]!;
  const high = Math.max(sorted[Math.floor((sorted.length - 1) * 0.95)]!, low + 1e-12);
  const x = (index: number) => (index / (values.length - 1)) * WIDTH;
  const y = (value: number) => HEIGHT - PAD - (Math.min(value, high) - low) / (high - low) * (HEIGHT - 2 * PAD);
  let path = "";
  let pen = false;
  values.forEach((value, index) => {
    if (value === null) {
      pen = false;
      return;
    }
    path += `${pen ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = true;
  });
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
      <path d={path} fill="none" stroke="currentColor" stroke-width="1.4" vector-effect="non-scaling-stroke" />
    </svg>
  );
}
