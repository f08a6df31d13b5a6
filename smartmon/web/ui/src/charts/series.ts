/** From the server's answer to what a plot takes: one table over all x, a column for each line of each attempt. */
import uPlot from "uplot";

import type { Attempt, SeriesAnswer, SeriesOne } from "../api";
import { grouped } from "../format";
import type { ChartDef, LineDef } from "./defs";

export interface Drawn {
  line: LineDef;
  run: string;
  /** What it shows of its line. */
  role: "raw" | "smooth" | "min" | "max";
  /** How many attempts lie over it: 0 is the newest, drawn strongest. */
  age: number;
  /** Which attempts it holds, for the legend. */
  attempts: number[];
  points: number;
}

export interface Table {
  data: uPlot.AlignedData;
  /** One for each column after the first. */
  drawn: Drawn[];
  /** x of what was not finite, over all lines, in order. */
  nonfinite: number[];
  nonfiniteCount: number;
  /** How many observations the longest line stands for. */
  count: number;
  attempts: Attempt[];
  /** Attempts that are left out because too many lie over each other. */
  hidden: number;
}

/** A crash loop has hundreds of attempts; over each other nobody tells more of them apart. */
const MOST_ATTEMPTS = 10;

/** uPlot's word for: a gap reaches from value to value, whatever x of other lines lie in it. */
const GAPS = 2;

type Column = (number | null)[];

interface Chain {
  xs: number[];
  columns: Column[];
  attempts: number[];
}

/** Attempts end to end where x goes on, each by itself where it goes back. A gap parts two that are joined. */
function chains(one: SeriesOne): Chain[] {
  const found: Chain[] = [];
  for (const { attempt, start, points } of one.attempts) {
    const rows = one.points.slice(start, start + points).filter((row) => row[0] !== null);
    if (!rows.length) continue;
    let chain = found.at(-1);
    const before = chain?.xs.at(-1);
    if (!chain || before === undefined || rows[0]![0]! <= before) {
      chain = { xs: [], columns: one.columns.slice(1).map(() => []), attempts: [] };
      found.push(chain);
    } else {
      chain.xs.push((before + rows[0]![0]!) / 2);
      for (const column of chain.columns) column.push(null);
    }
    chain.attempts.push(attempt);
    for (const row of rows) {
      chain.xs.push(row[0]!);
      chain.columns.forEach((column, index) => column.push(row[index + 1] ?? null));
    }
  }
  return found;
}

const mapped = (column: Column, line: LineDef, log: boolean): Column => {
  if (!line.map && !log) return column;
  return column.map((value) => {
    const number = value === null ? null : line.map ? line.map(value) : value;
    return number === null || (log && number <= 0) ? null : number;
  });
};

interface Options {
  log: boolean;
  /** The column of the answer that the slider smooths: `ema`, `mean` or none. */
  smooth: "ema" | "mean" | null;
}

/** Which columns of a chain a line is drawn with. */
function roles(line: LineDef, one: SeriesOne, smooth: Options["smooth"]): [Drawn["role"], string][] {
  if (line.column === "mean") return smooth === "mean" ? [] : [["raw", "mean"]];
  const list: [Drawn["role"], string][] = [];
  if (one.bucket > 1) list.push(["min", "min"], ["max", "max"]);
  list.push(["raw", "value"]);
  if (smooth && !line.sparse && one.columns.includes(smooth)) list.push(["smooth", smooth]);
  return list;
}

export function tabulate(answer: SeriesAnswer, def: ChartDef, options: Options): Table {
  const tables: uPlot.AlignedData[] = [];
  const drawn: Drawn[] = [];
  const nonfinite = new Set<number>();
  let nonfiniteCount = 0;
  let count = 0;
  let hidden = 0;
  for (const line of def.lines) {
    for (const one of answer.series.filter(({ metric }) => metric === line.metric)) {
      const all = chains(one);
      // What it is over depends on how many rows a point stands for.
      const named = line.column === "mean" ? { ...line, label: `mean of ${grouped(one.mean_over)} rows` } : line;
      const kept = all.slice(-MOST_ATTEMPTS);
      hidden = Math.max(hidden, all.length - kept.length);
      kept.forEach((chain, place) => {
        const columns: Column[] = [];
        for (const [role, name] of roles(line, one, options.smooth)) {
          const column = chain.columns[one.columns.indexOf(name) - 1];
          if (!column) continue;
          columns.push(mapped(column, line, options.log));
          drawn.push({ line: named, run: one.run, role, age: kept.length - 1 - place, attempts: chain.attempts, points: chain.xs.length });
        }
        if (columns.length) tables.push([chain.xs, ...columns] as uPlot.AlignedData);
      });
      if (line.column !== "mean") {
        one.nonfinite.forEach((x) => nonfinite.add(x));
        nonfiniteCount += one.nonfinite_count;
        count = Math.max(count, one.count);
      }
    }
  }
  const data = tables.length ? uPlot.join(tables, tables.map((one) => one.map(() => GAPS))) : ([[]] as uPlot.AlignedData);
  return { data, drawn, nonfinite: [...nonfinite].sort((a, b) => a - b), nonfiniteCount, count, attempts: answer.attempts, hidden };
}

/** The newest value at or before a place of the table; null where that was no number: older ones are not said for it. */
export function valueAt(column: ArrayLike<number | null | undefined>, index: number, reach: number): number | null {
  for (let place = index; place >= 0 && index - place <= reach; place -= 1) {
    const found = column[place];
    if (found !== undefined) return found;
  }
  return null;
}
