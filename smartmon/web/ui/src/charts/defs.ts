/** The catalogue of charts: which there are for a run, what each draws, and two lines on how to read it. */
import type { Stats } from "../api";
import { grouped, metricName, percentage, stopwatch, value, visible, type Format, type Maybe } from "../format";

export interface LineDef {
  metric: string;
  label: string;
  /** A colour token. */
  colour: string;
  /** Which column of the answer; `value` is drawn with its envelope and its smoothed self. */
  column?: "value" | "mean";
  map?: (value: number) => number | null;
  /** Few values far apart: each gets a dot. */
  sparse?: boolean;
  dash?: number[];
  /** The axis at the right. */
  right?: boolean;
}

/** A level that is drawn across, or an x that is drawn down. */
export interface RuleDef {
  at: "y" | "step";
  value: number;
  label: string;
}

export interface ChartDef {
  id: string;
  title: string;
  /** What it means and what to want; what is alarming. */
  help: readonly [string, string];
  lines: LineDef[];
  rules?: RuleDef[];
  format?: Format;
  /** Format of the right axis. */
  formatRight?: Format;
  /** Whether the moving average over 50 steps is asked for whatever the smoothing. */
  mean50?: boolean;
  /** Drawn by another component than a plot over x. */
  special?: "scatter" | "recent";
  /** Open before anybody chose. */
  open?: boolean;
}

/** Beyond all numbers there is nothing to draw. */
const exp = (x: number): number | null => (x < 700 ? Math.exp(x) : null);
const line = (metric: string, colour: string, more: Partial<LineDef> = {}): LineDef => ({
  metric,
  label: metricName(metric),
  colour,
  ...more,
});

const LOSS: ChartDef = {
  id: "loss",
  title: "Loss",
  help: [
    "How wrong the model is on what it trains on. Want it to fall quickly, then slowly; the mean shows the trend.",
    "Alarming: a jump that does not come back, a rise over many steps, NaN, or 0 within a few steps.",
  ],
  lines: [
    line("loss", "line-1"),
    line("loss", "line-2", { label: "mean", column: "mean" }),
    line("eval_loss", "line-3", { sparse: true }),
  ],
  mean50: true,
  open: true,
};

const PERPLEXITY: ChartDef = {
  id: "perplexity",
  title: "Perplexity",
  help: [
    "exp(loss): among how many tokens the model wavers, so to speak. Want both to fall together, towards 1.",
    "Alarming: training falls while the evaluation rises. It learns by heart; the best model lies behind you.",
  ],
  lines: [
    line("loss", "line-1", { label: "training", map: exp }),
    line("eval_loss", "line-3", { label: "evaluation", map: exp, sparse: true }),
  ],
  // Not drawn here: so that it asks what the loss asks, and both get one answer.
  mean50: true,
  open: true,
};

const EVAL: ChartDef = {
  id: "eval_loss",
  title: "Evaluation loss",
  help: [
    "The loss on data that it does not train on: the honest measure. Want it to fall as long as training pays.",
    "Alarming: a rise over several evaluations while the training loss falls (overfitting).",
  ],
  lines: [line("eval_loss", "line-3", { sparse: true })],
};

const ACCURACY: ChartDef = {
  id: "accuracy",
  title: "Accuracy",
  help: [
    "How many tokens or answers are right, in percent. Want a rise that flattens.",
    "Alarming: a drop of ten points or more, or nothing but 0 or 100.",
  ],
  lines: [line("accuracy", "line-3", { label: "training" }), line("eval_accuracy", "line-4", { label: "evaluation", sparse: true })],
  format: (number, more = 0) => percentage(number, 1 + more),
};

function learningRate(stats: Stats): ChartDef {
  const { steps, max_lr, state } = stats.warmup;
  const rules: RuleDef[] = [];
  if (steps !== null && state !== "unknown") rules.push({ at: "step", value: steps, label: "warm-up ends" });
  if (max_lr !== null) rules.push({ at: "y", value: max_lr, label: "max" });
  return {
    id: "learning_rate",
    title: "Learning rate",
    help: [
      "How far each step goes, as the schedule says. Want a rise over the warm-up, then a fall to nearly 0 at the end.",
      "Alarming: a jump in the middle (a resume with another schedule), or 0 long before the end.",
    ],
    lines: [line("learning_rate", "line-5")],
    rules,
    format: (number, more = 0) => value(number, 3 + more),
  };
}

const GRAD: ChartDef = {
  id: "grad_norm",
  title: "Gradient norm",
  help: [
    "How hard the data pull at the weights. Want it level, or slowly falling, with some noise.",
    "Alarming: ten times its usual level (the loss follows soon), or exactly 0: nothing is learnt any more.",
  ],
  lines: [line("grad_norm", "line-4")],
};

const SPEEDS: readonly [string, string, keyof Stats][] = [
  ["steps_per_sec", "Speed in steps", "steps_per_sec"],
  ["samples_per_sec", "Speed in samples", "samples_per_sec"],
  ["tokens_per_sec", "Speed in tokens", "tokens_per_sec"],
];

function speed(metric: string, title: string, average: Maybe): ChartDef {
  return {
    id: metric,
    title,
    help: [
      "How much it gets done each second; the line across is the average. Want it level.",
      "Alarming: a lasting fall. Another process on the GPU, heat, a slow disk, or longer samples.",
    ],
    lines: [line(metric, "line-6")],
    rules: typeof average === "number" ? [{ at: "y", value: average, label: "average" }] : [],
    format: (number, more = 0) => value(number, 3 + more),
  };
}

const ETA: ChartDef = {
  id: "eta_seconds",
  title: "Time remaining",
  help: [
    "What the trainer thinks is left. Want a straight line down to 0.",
    "Alarming: a line that stays level or rises: it gets slower as fast as it gets on.",
  ],
  lines: [line("eta_seconds", "line-8")],
  format: stopwatch,
};

const SCATTER: ChartDef = {
  id: "scatter",
  title: "Loss against accuracy",
  help: [
    "Each dot is a step: faint ones are early, strong ones late. Want a cloud that moves to low loss and high accuracy.",
    "Alarming: dots of low loss and low accuracy, or the other way round: the two measure different things.",
  ],
  lines: [line("loss", "line-1"), line("accuracy", "line-3")],
  special: "scatter",
};

const RECENT: ChartDef = {
  id: "recent",
  title: "Last 500 steps",
  help: [
    "Loss (left axis) and accuracy (right axis) close up, whatever part the other charts show.",
    "Alarming: both turn at the same step. Look at what the timeline has there.",
  ],
  lines: [line("loss", "line-1"), line("accuracy", "line-3", { right: true })],
  formatRight: (number, more = 0) => percentage(number, more),
  special: "recent",
};

const GPU_HELP = [
  "What the GPU tells while it trains. Want memory and utilisation level and high, temperature below its limit.",
  "Alarming: memory that climbs from step to step (it ends in OOM), heat with falling speed, utilisation in gaps.",
] as const;

const GPU_METRIC = /^gpu(\d*)[_/.:](.+)$/;
const MEGABYTES = /_mb$/;

/** One chart for each thing that GPUs tell, with a line for each GPU. */
function gpuCharts(metrics: readonly string[]): ChartDef[] {
  const groups = new Map<string, { metric: string; index: string }[]>();
  for (const metric of metrics) {
    const [, index, what] = GPU_METRIC.exec(metric) ?? [];
    if (what) groups.set(what, [...(groups.get(what) ?? []), { metric, index: index ?? "" }]);
  }
  return [...groups].map(([what, members]) => ({
    id: `gpu.${what}`,
    title: `GPU ${visible(what).replace(MEGABYTES, "").replaceAll("_", " ")}`,
    help: GPU_HELP,
    lines: members.slice(0, 8).map(({ metric, index }, place) => line(metric, `line-${(place % 8) + 1}`, { label: index ? `GPU ${index}` : metricName(metric) })),
    format: MEGABYTES.test(what) ? (number: Maybe) => `${grouped(number)}\u00a0MB` : undefined,
  }));
}

const AUX: ChartDef = {
  id: "aux_loss",
  title: "Auxiliary loss",
  help: [
    "What a router is charged for using its experts unevenly. Want it small and level.",
    "Alarming: a rise; some experts get all the tokens. See Experts.",
  ],
  lines: [line("aux_loss", "line-7")],
};

/** The charts of a run that it has at least one metric for, and the metrics that none of them draws. */
export function catalogue(stats: Stats): { charts: ChartDef[]; others: string[] } {
  const has = (metric: string) => stats.metrics.includes(metric);
  const speeds = SPEEDS.filter(([metric]) => has(metric)).map(([metric, title, key]) =>
    speed(metric, title, (stats[key] as Stats["steps_per_sec"]).average),
  );
  const all = [LOSS, PERPLEXITY, EVAL, ACCURACY, learningRate(stats), GRAD, AUX, ...speeds, ETA, SCATTER, RECENT, ...gpuCharts(stats.metrics)];
  const charts = all
    .filter((def) => (def.id === "scatter" ? def.lines.every(({ metric }) => has(metric)) : def.lines.some(({ metric }) => has(metric))))
    .map((def) => ({ ...def, lines: def.lines.filter(({ metric }) => has(metric)) }));
  // Perplexities that the trainer writes itself are exp(loss) once more, but its own to compare with.
  const drawn = new Set(charts.flatMap((def) => def.lines.map(({ metric }) => metric)));
  return { charts, others: stats.metrics.filter((metric) => !drawn.has(metric)) };
}

/** A chart of a metric that nobody here knows. */
export const plain = (metric: string): ChartDef => ({
  id: `metric.${metric}`,
  title: metricName(metric),
  help: ["A number that this trainer writes. smartmon draws it as it is.", "What is alarming only its author knows: look for a jump where the loss has one."],
  lines: [line(metric, "line-1")],
});
