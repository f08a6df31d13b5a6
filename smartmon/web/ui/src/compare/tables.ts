/** Series of several runs, made into tables that lie over each other. */
import type { SeriesAnswer, SeriesOne } from "../api";

export interface Curve {
  run: string;
  /** Ascending. */
  xs: number[];
  ys: (number | null)[];
}

/** The curve of a metric for each run, in the order of the runs; smoothed where the answer is. */
export function curvesOf(answer: SeriesAnswer, metric: string, runs: readonly string[]): Curve[] {
  return runs.map((run) => {
    const series = answer.series.find((one) => one.run === run && one.metric === metric);
    return { run, ...(series ? curve(series) : { xs: [], ys: [] }) };
  });
}

/** One line through all attempts: steps that were done anew count as they were done last. */
function curve(series: SeriesOne): { xs: number[]; ys: (number | null)[] } {
  const smoothed = series.columns.indexOf("ema");
  const column = smoothed < 0 ? 1 : smoothed;
  const xs: number[] = [];
  const ys: (number | null)[] = [];
  for (const row of series.points) {
    const x = row[0];
    if (x === null || x === undefined) continue;
    while (xs.length > 0 && xs[xs.length - 1]! >= x) {
      xs.pop();
      ys.pop();
    }
    xs.push(x);
    ys.push(row[column] ?? null);
  }
  return { xs, ys };
}
