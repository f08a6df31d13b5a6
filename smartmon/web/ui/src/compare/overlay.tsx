/** One metric of several runs in one chart. */
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

import { duration, grouped, metricName, stopwatch, ticks, value } from "../format";
import { colour, paint } from "../theme";
import { inert } from "../text/inert";
import { dashes, lineToken } from "./key";
import type { Curve } from "./tables";

const HEIGHT = 220;
const FONT = "12px system-ui, sans-serif";

interface OverlayProps {
  metric: string;
  axis: "step" | "elapsed";
  curves: readonly Curve[];
}

/** Hover tells every run's value; a drag zooms, a double press shows all again. */
export function Overlay({ metric, axis, curves }: OverlayProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const names = curves.map((one) => one.run).join("\n");
  const painted = paint.value;

  useEffect(() => {
    const box = place.current;
    if (!box) return undefined;
    const made = new uPlot(options(curves, axis, box.clientWidth), joined(curves), box);
    chart.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: box.clientWidth, height: HEIGHT }));
    watch.observe(box);
    return () => {
      watch.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [names, axis, painted]);

  useEffect(() => {
    const made = chart.current;
    if (!made) return;
    // Somebody who looks closely goes on looking there when news comes.
    const { min, max } = made.scales["x"]!;
    const xs = made.data[0];
    const whole = xs.length === 0 || (min === xs[0] && max === xs[xs.length - 1]);
    made.setData(joined(curves), whole);
    if (!whole && min != null && max != null) made.setScale("x", { min, max });
  }, [curves]);

  return (
    <figure class="overlay">
      <figcaption>{metricName(metric)}</figcaption>
      <div ref={place} role="img" aria-label={told(metric, curves)} />
    </figure>
  );
}

function joined(curves: readonly Curve[]): uPlot.AlignedData {
  return uPlot.join(curves.map((one): uPlot.AlignedData => [one.xs, one.ys]));
}

function options(curves: readonly Curve[], axis: OverlayProps["axis"], width: number): uPlot.Options {
  const shownX = axis === "elapsed" ? duration : grouped;
  const lines = {
    stroke: colour("muted"),
    grid: { stroke: colour("grid"), width: 1 },
    ticks: { show: false },
    font: FONT,
  };
  return {
    width,
    height: HEIGHT,
    scales: { x: { time: false } },
    legend: { markers: { width: 0, fill: (_, place) => (place > 0 ? colour(lineToken(place - 1)) : "transparent") } },
    cursor: { drag: { x: true, y: false }, points: { size: 6 } },
    axes: [
      { ...lines, values: (_, splits) => ticks(splits, axis === "elapsed" ? stopwatch : grouped), space: 80, size: 30 },
      { ...lines, values: (_, splits) => ticks(splits, (y, more = 0) => value(y, 3 + more)), size: 62 },
    ],
    series: [
      { label: axis === "elapsed" ? "time" : "step", value: (_, x) => (x === null ? "–" : shownX(x)) },
      ...curves.map((one, place): uPlot.Series => {
        return {
          label: inert(one.run, { limit: 30 }),
          stroke: colour(lineToken(place)),
          dash: dashes(place),
          width: 1.5,
          spanGaps: true,
          points: { show: one.xs.length < 2 },
          value: (_, y) => value(y),
        };
      }),
    ],
  };
}

function told(metric: string, curves: readonly Curve[]): string {
  const ends = curves.map((one) => `${inert(one.run, { limit: 60 })} ends at ${value(one.ys.at(-1))}`);
  return `${metricName(metric)}: ${ends.join(", ")}`;
}
