/** One chart: asks for its part of the series, draws it, says the values under the cursor. */
import { useSignal, type ReadonlySignal, type Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import type { Axis, Event, Incident, SeriesAnswer } from "../api";
import { firstShown, useAsk } from "../ask";
import { exact, grouped, known, metricName, plural, stopwatch, value, visible, type Maybe } from "../format";
import type { Place } from "../store";
import { paint } from "../theme";
import type { ChartDef } from "./defs";
import type { Marks } from "./marks";
import { listen } from "./gestures";
import { eventsNear, Near, NONE } from "./near";
import { DOTS_UP_TO, makePlot } from "./plot";
import { tabulate, valueAt, type Table } from "./series";
import { smoothColumn, smoothQuery } from "./smoothing";
import "./charts.css";

export interface Range {
  from: number;
  to: number;
}

export interface ChartProps {
  def: ChartDef;
  /** Several are laid over each other. */
  runs: readonly string[];
  axis: Axis;
  range: Range | null;
  /** The part to ask for: what is shown, once that has come to rest. */
  asked?: Range | null;
  /** Gets each answer. */
  onAnswer?: (answer: SeriesAnswer) => void;
  /** Without it the chart cannot be zoomed. */
  onRange?: (range: Range | null) => void;
  log?: boolean;
  height?: number;
  events?: readonly Event[];
  incidents?: readonly Incident[];
  marked?: boolean;
  focus?: Place | null;
  /** Plots of one key point together. */
  sync?: string | null;
  /** Whether news asks again. */
  live?: boolean;
  /** Gets what is drawn, for export. */
  handle?: { current: { plot: uPlot; table: Table } | null };
}

const MAX_POINTS = 1500;
const SHARE_AROUND = 0.05;

const X_WORDS: Record<Axis, (x: Maybe) => string> = {
  step: (x) => `step ${grouped(x)}`,
  position: (x) => `position ${grouped(x)}`,
  // To the second: charts are zoomed to seconds.
  elapsed: (x) => `after ${stopwatch(x, known(x) && x >= 600 ? 2 : 0)}`,
  time: (x) => exact(x),
};

/** The query of a part: a little more than is shown, so that lines run to the edge. */
function bounds(range: Range | null): { from: number | null; to: number | null } {
  if (!range) return { from: null, to: null };
  if (range.to === Infinity) return { from: range.from, to: null };
  const around = (range.to - range.from) * SHARE_AROUND;
  return { from: range.from - around, to: range.to + around };
}

interface LegendEntry {
  label: string;
  colour: string;
  /** Columns of the table, the newest attempt's last. */
  columns: LegendColumn[];
  smooth: LegendColumn[];
}

interface LegendColumn {
  index: number;
  drawn: Table["drawn"][number];
  /** Columns of the least and the greatest of each point, where a point stands for several values. */
  extremes: [low: number, high: number] | null;
}

/** An entry for each line of each run: how it is called, and where its values are. */
function legendOf(table: Table, runs: readonly string[]): LegendEntry[] {
  const entries = new Map<string, LegendEntry>();
  table.drawn.forEach((drawn, index) => {
    if (drawn.role === "min" || drawn.role === "max") return;
    const many = drawn.role === "raw" && table.drawn[index - 1]?.role === "max";
    const label = `${runs.length > 1 ? `${visible(drawn.run)}: ` : ""}${drawn.line.label}`;
    const entry = entries.get(label) ?? { label, colour: drawn.line.colour, columns: [], smooth: [] };
    (drawn.role === "smooth" ? entry.smooth : entry.columns).push({ index: index + 1, drawn, extremes: many ? [index - 1, index] : null });
    entries.set(label, entry);
  });
  return [...entries.values()];
}

/** Where a column has its last value. */
function endOf(column: ArrayLike<number | null | undefined>): number {
  for (let place = column.length - 1; place >= 0; place -= 1) if (column[place] != null) return place;
  return -1;
}

/** A legend that took two lines keeps them: else the plot would move under the cursor that it tells of. */
function keepHeight(element: HTMLElement | null): void {
  if (element) element.style.minHeight = `${Math.max(element.offsetHeight, parseFloat(element.style.minHeight) || 0)}px`;
}

function Legend(props: { table: Table; runs: readonly string[]; def: ChartDef; axis: Axis; pointed: ReadonlySignal<number | null>; spoken: boolean }): JSX.Element {
  const { table, def, axis } = props;
  const entries = useMemo(() => legendOf(table, props.runs), [table]);
  const index = props.pointed.value;
  const xs = table.data[0];
  const at = index !== null && index < xs.length ? index : null;
  const format = def.format ?? value;
  const read = (columns: LegendColumn[]): string => {
    const place = at ?? xs.length - 1;
    const found: string[] = [];
    for (const { index: column, drawn, extremes } of columns) {
      // An attempt that had ended before this place has no value here, however far back its last one is.
      if (drawn.age > 0 && (at === null || endOf(table.data[column]!) < at)) continue;
      const number = valueAt(table.data[column]!, place, drawn.line.sparse || at === null ? Infinity : 24);
      if (number === null) continue;
      const said = drawn.line.right && def.formatRight ? def.formatRight : format;
      const [low = null, high = null] = extremes?.map((one) => table.data[one]![place] ?? null) ?? [];
      const reach = at !== null && low !== null && high !== null && low < high ? ` (${said(low)} \u2026 ${said(high)})` : "";
      found.push(`${drawn.attempts.at(-1)}: ${said(number)}${reach}`);
    }
    const shown = found.slice(-3);
    return shown.length > 1 ? shown.join("  ") : (shown[0]?.replace(/^\d+: /, "") ?? "\u2013");
  };
  return (
    <div class="values" ref={(element) => keepHeight(element)} aria-live={props.spoken ? "polite" : undefined}>
      <span class="x">{at === null ? "latest" : X_WORDS[axis](xs[at])}</span>
      {entries.map((entry) => (
        <span key={entry.label}>
          <i class={`line-mark ${entry.colour}${entry.columns[0]?.drawn.line.sparse ? " dot" : ""}`} />
          {entry.label} <b>{read(entry.columns)}</b>
          {entry.smooth.length > 0 && ` \u2248 ${read(entry.smooth)}`}
        </span>
      ))}
      {table.nonfiniteCount > 0 && <span class="red">{plural(table.nonfiniteCount, "value")} not finite</span>}
      {table.hidden > 0 && <span>{plural(table.hidden, "older attempt")} not drawn</span>}
    </div>
  );
}

/** Keys on a chart that has the focus. */
function onKey(event: KeyboardEvent, plot: uPlot, table: Table, props: ChartProps): void {
  const { left } = plot.cursor;
  const xs = table.data[0];
  const scale = plot.scales.x!;
  const [low, high] = [scale.min ?? 0, scale.max ?? 1];
  const shift = (part: number) => props.onRange?.({ from: low + (high - low) * part, to: high + (high - low) * part });
  const grow = (factor: number) => {
    const middle = left !== undefined && left >= 0 ? plot.posToVal(left, "x") : (low + high) / 2;
    props.onRange?.({ from: middle - (middle - low) * factor, to: middle + (high - middle) * factor });
  };
  const move = (by: number) => {
    const now = left !== undefined && left >= 0 ? (plot.cursor.idx ?? 0) : by > 0 ? plot.valToIdx(low) - by : plot.valToIdx(high) - by;
    const next = Math.min(xs.length - 1, Math.max(0, now + by));
    plot.setCursor({ left: plot.valToPos(xs[next]!, "x"), top: plot.over.clientHeight / 2 });
  };
  const actions: Record<string, () => void> = {
    ArrowLeft: () => (event.shiftKey ? shift(-0.25) : move(event.ctrlKey ? -10 : -1)),
    ArrowRight: () => (event.shiftKey ? shift(0.25) : move(event.ctrlKey ? 10 : 1)),
    "+": () => grow(0.5),
    "=": () => grow(0.5),
    "-": () => grow(2),
    "0": () => props.onRange?.(null),
    Escape: () => props.onRange?.(null),
  };
  const action = actions[event.key];
  if (!action || event.altKey || event.metaKey) return;
  event.preventDefault();
  action();
}

/** The answer to draw: the last one stays on the canvas until the next is there, so that nothing flickers. */
function useSeries(props: ChartProps, metrics: readonly string[]): { shown: SeriesAnswer | null; trouble: string } {
  const { def, axis, runs, range } = props;
  const query = { run: runs, metric: metrics, x: axis, ...bounds(props.asked === undefined ? range : props.asked), max_points: MAX_POINTS, ...smoothQuery(def.mean50 ?? false) };
  const { answer, trouble } = useAsk<SeriesAnswer>("series", query, { live: props.live ?? true });
  const kept = useRef<{ answer: SeriesAnswer; key: string } | null>(null);
  const key = `${runs.join("\n")} ${axis} ${metrics.join()}`;
  if (answer) kept.current = { answer, key };
  useEffect(() => {
    if (answer) props.onAnswer?.(answer);
  }, [answer]);
  return { shown: kept.current?.key === key ? kept.current.answer : null, trouble };
}

function marksOf(props: ChartProps, table: Table | null): Marks {
  return {
    events: props.events ?? [],
    incidents: props.incidents ?? [],
    attempts: props.runs.length > 1 ? [] : (table?.attempts ?? []),
    nonfinite: table?.nonfinite ?? [],
    rules: props.def.rules ?? [],
    focus: props.focus ?? null,
    axis: props.axis,
    shown: props.marked ?? true,
  };
}

/** A plot in an element, made anew only when what cannot be changed in it changes; everything else is new data. */
function usePlot(props: ChartProps, table: Table | null, pointed: Signal<number | null>, near: Signal<readonly Event[]>) {
  const { def, axis, range, log = false, height = 220 } = props;
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const drawn = useRef<Table | null>(null);
  const latest = useRef({ props, table });
  latest.current = { props, table };
  const lines = table?.drawn.map((one) => [one.line.label, one.role, one.age, one.run, one.points > DOTS_UP_TO]);
  const shape = lines ? JSON.stringify([def.id, axis, log, height, paint.value, lines]) : "";

  useLayoutEffect(() => {
    const element = host.current;
    if (!element || !table) return;
    const made = makePlot(element, table, { def, axis, log, width: element.clientWidth || 300, height }, {
      marks: () => marksOf(latest.current.props, latest.current.table),
      range: () => latest.current.props.range,
      zoomed: (from, to) => latest.current.props.onRange?.({ from, to }),
      reset: () => latest.current.props.onRange?.(null),
      pointed: (index, of) => {
        pointed.value = index;
        near.value = eventsNear(of, marksOf(latest.current.props, latest.current.table), of.cursor.left);
      },
      sync: props.sync ?? null,
    });
    if (props.onRange) {
      listen(made, {
        range: () => latest.current.props.range,
        moved: (from, to) => latest.current.props.onRange?.({ from, to }),
        reset: () => latest.current.props.onRange?.(null),
      });
    }
    plot.current = made;
    drawn.current = table;
    // Once it is painted, not before.
    requestAnimationFrame(() => setTimeout(firstShown));
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth || 300, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current = null;
      made.destroy();
    };
  }, [shape]);

  useLayoutEffect(() => {
    if (plot.current && table && drawn.current !== table) plot.current.setData(table.data);
    drawn.current = table;
    if (props.handle) props.handle.current = plot.current && table ? { plot: plot.current, table } : null;
  }, [table, shape]);

  useEffect(() => {
    const xs = table?.data[0];
    if (xs?.length) plot.current?.setScale("x", { min: range?.from ?? xs[0]!, max: range?.to ?? xs.at(-1)! });
  }, [range?.from, range?.to]);

  useEffect(() => plot.current?.redraw(false), [props.events, props.incidents, props.marked, props.focus, def.rules]);
  return { host, plot };
}

export function Chart(props: ChartProps): JSX.Element {
  const { def, axis, log = false } = props;
  const pointed = useSignal<number | null>(null);
  const metrics = useMemo(() => [...new Set(def.lines.map((line) => line.metric))], [def]);
  const { shown, trouble } = useSeries(props, metrics);
  const smooth = smoothColumn.value;
  const table = useMemo(() => (shown ? tabulate(shown, def, { log, smooth }) : null), [shown, def, log, smooth]);
  const near = useSignal(NONE);
  // All charts point together; only the one with the focus speaks.
  const focused = useSignal(false);
  const { host, plot } = usePlot(props, table, pointed, near);
  const empty = table !== null && table.data[0].length === 0;
  return (
    <div class="chart">
      {table && !empty && <Legend table={table} runs={props.runs} def={def} axis={axis} pointed={pointed} spoken={focused.value} />}
      <div
        class="plot"
        ref={host}
        tabIndex={0}
        role="group"
        aria-label={`Chart of ${def.title}. Arrows move the cursor, plus and minus zoom, Shift and arrows pan, 0 shows all.`}
        onFocus={() => (focused.value = true)}
        onBlur={() => (focused.value = false)}
        onKeyDown={(event) => plot.current && table && onKey(event, plot.current, table, props)}
        hidden={empty}
      />
      {!empty && <Near events={near} spoken={focused.value} />}
      {empty && <p class="empty">Nothing of {metrics.map(metricName).join(", ")} in this part.</p>}
      {!table && <p class="empty plot-wait">{trouble ? visible(trouble) : "Asking\u2026"}</p>}
      {table && trouble && <p class="red">{visible(trouble)}</p>}
    </div>
  );
}
