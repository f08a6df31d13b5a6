/** A uPlot for a table: its lines, axes, marks, and the hands that zoom and point. */
import uPlot from "uplot";

import type { Axis } from "../api";
import { grouped, stopwatch, ticks, value, type Format } from "../format";
import { colour, washed } from "../theme";
import type { ChartDef } from "./defs";
import { drawOver, drawUnder, type Marks } from "./marks";
import type { Drawn, Table } from "./series";

export interface PlotHands {
  marks: () => Marks;
  /** What part of x is shown; null is all there is. */
  range: () => { from: number; to: number } | null;
  zoomed: (from: number, to: number) => void;
  reset: () => void;
  /** The place of the table under the cursor, or null. */
  pointed: (index: number | null, plot: uPlot) => void;
  /** Plots of one key point together. */
  sync: string | null;
}

interface PlotOptions {
  def: ChartDef;
  axis: Axis;
  log: boolean;
  width: number;
  height: number;
}

/** A line of fewer points than this shows each of them. */
export const DOTS_UP_TO = 60;

const formatX: Record<Axis, Format> = { step: grouped, position: grouped, elapsed: stopwatch, time: value };

/** There is no half of a step. */
const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((lead) => lead * 10 ** power)).flat();
const SECONDS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];

function strokeOf(one: Drawn, several: boolean): uPlot.Series {
  const token = one.line.colour;
  const fade = one.age === 0 ? 1 : 0.4;
  const scale = one.line.right ? "right" : "y";
  if (one.role === "min" || one.role === "max") {
    return { scale, stroke: "transparent", width: 0, points: { show: false } };
  }
  const pale = several && one.role === "raw" && one.line.column !== "mean" && !one.line.sparse;
  const dots = one.line.sparse || one.points <= DOTS_UP_TO;
  return {
    scale,
    stroke: pale ? washed(token, 0.5 * fade) : fade === 1 ? colour(token) : washed(token, fade),
    width: pale ? 1 : one.line.sparse || one.role === "smooth" || one.line.column === "mean" ? 1.9 : 1.4,
    dash: one.line.dash,
    points: dots && one.points <= 400 ? { show: true, size: 5, fill: colour(token), stroke: colour(token) } : { show: false },
  };
}

/** Envelopes: what lies between the least and the greatest of a point, so that no spike is lost. */
function bands(drawn: readonly Drawn[]): uPlot.Band[] {
  const found: uPlot.Band[] = [];
  drawn.forEach((one, index) => {
    if (one.role === "min" && drawn[index + 1]?.role === "max") {
      found.push({ series: [index + 2, index + 1], fill: washed(one.line.colour, one.age === 0 ? 0.2 : 0.09) });
    }
  });
  return found;
}

function yAxis(scale: string, format: Format, side: 1 | 3): uPlot.Axis {
  return {
    scale,
    side,
    stroke: () => colour("muted"),
    font: "11px system-ui, sans-serif",
    grid: { show: side === 3, stroke: () => colour("grid"), width: 1 },
    ticks: { show: false },
    gap: 4,
    // As wide as the widest label, with room to breathe: labels are not cut, plots below each other line up mostly.
    size: (_plot, labels) => Math.max(46, ...(labels ?? []).map((label) => label.length * 6.6 + 12)),
    values: (_plot, splits) => ticks(splits, format),
  };
}

/** Moments by how far ticks are apart, in seconds: what each says, and what is added where a day or a year begins. */
const CLOCK: uPlot.Axis.Values = [
  [28 * 86_400, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86_400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [0.001, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
];

function xAxis(axis: Axis): uPlot.Axis {
  return {
    stroke: () => colour("muted"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: () => colour("grid"), width: 1 },
    ticks: { show: false },
    gap: 4,
    size: axis === "time" ? 38 : 24,
    space: 70,
    values: axis === "time" ? CLOCK : (_plot: uPlot, splits: number[]) => ticks(splits, formatX[axis]),
    ...(axis === "time" ? {} : { incrs: axis === "elapsed" ? SECONDS : WHOLE }),
  };
}

/** The range of y: what is drawn, a little wider; a level line gets room on both sides. */
function rangeY(log: boolean): uPlot.Range.Function {
  return (_plot, low, high) => {
    if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return log ? [0.1, 10] : [0, 1];
    if (log) return uPlot.rangeLog(low, high, 10, false);
    if (low === high) return [low - Math.abs(low || 1) * 0.1, high + Math.abs(high || 1) * 0.1];
    const pad = (high - low) * 0.06;
    return [low >= 0 && low - pad < 0 ? 0 : low - pad, high + pad];
  };
}

function cursor(hands: PlotHands): uPlot.Cursor {
  return {
    drag: { x: true, y: false, setScale: false, dist: 6 },
    points: { show: false },
    y: false,
    ...(hands.sync ? { sync: { key: hands.sync, scales: ["x", null] as [string, null] } } : {}),
    bind: {
      dblclick: () => () => {
        hands.reset();
        return null;
      },
    },
  };
}

function hooks(hands: PlotHands): uPlot.Hooks.Arrays {
  return {
    drawAxes: [(plot) => drawUnder(plot, hands.marks())],
    draw: [(plot) => drawOver(plot, hands.marks())],
    setCursor: [(plot) => hands.pointed(plot.cursor.idx ?? null, plot)],
    setSelect: [
      (plot) => {
        const { left, width } = plot.select;
        if (width < 4) return;
        hands.zoomed(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
        plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      },
    ],
  };
}

export function makePlot(host: HTMLElement, table: Table, options: PlotOptions, hands: PlotHands): uPlot {
  const { def, axis, log } = options;
  const right = table.drawn.some((one) => one.line.right);
  const smoothed = new Set(table.drawn.filter((one) => one.role === "smooth").map((one) => one.line.metric));
  const format: Format = def.format ?? ((number, more = 0) => value(number, 3 + more));
  const axes = [xAxis(axis), yAxis("y", format, 3)];
  if (right) axes.push(yAxis("right", def.formatRight ?? format, 1));
  const rangeX: uPlot.Range.Function = (_plot, low, high) => {
    const chosen = hands.range();
    if (chosen) return [chosen.from, chosen.to];
    return low === high ? [low - 1, high + 1] : [low, high];
  };
  return new uPlot(
    {
      width: options.width,
      height: options.height,
      // The last label of x may stand at the very edge, half of it beyond.
      padding: [8, right ? 4 : axis === "elapsed" ? 34 : 20, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: axis === "time", range: rangeX },
        y: { distr: log ? 3 : 1, range: rangeY(log) },
        ...(right ? { right: { range: rangeY(false) } } : {}),
      },
      axes,
      series: [{}, ...table.drawn.map((one) => strokeOf(one, smoothed.has(one.line.metric)))],
      bands: bands(table.drawn),
      cursor: cursor(hands),
      hooks: hooks(hands),
    },
    table.data,
    host,
  );
}
