/** Enough of the API to look at the page without a server; `npm run dev` only. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";

import type { Event, RunCard, SeriesOne, Stats } from "../src/api.ts";
import { rows, type Row } from "./run.ts";

const NOW = Date.now() / 1000;
const TOTAL = 30_000;
const RUNS = [
  { name: "qwen3-4b-qlora", state: "running", color: "green", rows: rows(7, 17_520, TOTAL, NOW - 2), total: TOTAL },
  { name: "sweeps/lr-2e-4/seed-1", state: "completed", color: "blue", rows: rows(8, 9_000, 9_000, NOW - 86_000), total: 9_000 },
  { name: "tiny-moe", state: "failed", color: "red", rows: rows(9, 3_300, TOTAL, NOW - 9_000), total: TOTAL },
  { name: "<b>x</b>", state: "stalled", color: "orange", rows: rows(10, 12_000, TOTAL, NOW - 5_000), total: TOTAL },
] as const;
type Fake = (typeof RUNS)[number];

const daemon = {
  running: true, state: "running", since: NOW - 90_000, beat_at: NOW, version: "0.1.0", workers: { reader: true },
  failed_deliveries: 0, pending_deliveries: 0, command: "smartmon run --base-dir /data/runs",
};
const incident = {
  id: 4, kind: "loss_spike", severity: "warning", opened_at: NOW - 3900,
  message: "loss is 2.07 at step 17,300, 148 % above its recent level of 0.834",
};
const last = (list: readonly Row[], metric: string) => list.findLast((row) => metric in row.values)?.values[metric] ?? null;
const finite = (value: number | null) => (value !== null && Number.isFinite(value) ? value : null);

function card(run: Fake): RunCard {
  const end = run.rows.at(-1)!;
  const pick = Array.from({ length: 60 }, (_, index) => run.rows[Math.floor((index / 59) * (run.rows.length - 1))]!);
  return {
    run: run.name, state: run.state, color: run.color, current: run === RUNS[0], step: end.step, total_steps: run.total, estimated_total: null,
    progress: end.step / run.total, epoch: (3 * end.step) / run.total, attempt: end.attempt, loss: finite(last(run.rows, "loss")),
    accuracy: last(run.rows, "accuracy"), sparkline: pick.map((row) => finite(row.values.loss ?? null)),
    open_incidents: run.state === "stalled" ? [incident] : [], updated_at: end.at, age_seconds: NOW - end.at,
    eta_seconds: (run.total - end.step) / 2.1, model_name: "Qwen/Qwen3-4B-Instruct", error: run.state === "failed" ? "CUDA out of memory" : null,
    gone: false, base_dir: "/data/runs", path: `/data/runs/${run.name}`, started_at: run.rows[0]!.at, finished_at: null,
  };
}

function stats(run: Fake): Stats {
  const one = card(run);
  const value = (metric: string) => finite(last(run.rows, metric));
  const loss = value("loss") ?? 0.6;
  return {
    ...one, color: one.color, live: run.state !== "completed" && run.state !== "failed", aux_loss: null, eval_loss: value("eval_loss"),
    eval_accuracy: null, learning_rate: value("learning_rate"), nonfinite: [],
    warmup: { state: "done", steps: 600, max_lr: 2e-4 }, steps_per_sec: { now: value("steps_per_sec"), average: 2.09 },
    samples_per_sec: { now: value("samples_per_sec"), average: 16.7 }, tokens_per_sec: { now: value("tokens_per_sec"), average: 8590 },
    elapsed_seconds: NOW - one.started_at!, data_age_seconds: one.age_seconds, best: { metric: "eval_loss", value: 0.6321, step: 17_000, epoch: 1.7 },
    perplexity: { train: Math.exp(loss), eval: 1.89, best: 1.88 }, grad_norm: { now: value("grad_norm"), mean100: 1.05, mean_steps: 100 },
    latest: { ...run.rows.at(-1)!.values, eval_loss: value("eval_loss") }, metrics: [...Object.keys(run.rows[1]!.values), "eval_loss"].sort(),
    has_experts: false, snapshots_pending: 0, daemon, last_event_id: 40,
  };
}

function events(run: Fake): Event[] {
  const at = (step: number) => run.rows.findLast((row) => row.step <= step)?.at ?? NOW;
  const make = (kind: string, icon: Event["icon"], severity: string, step: number, message: string) =>
    ({ id: 0, time: null, at: at(step), run: run.name, attempt: 2, kind, icon, severity, step, message, historic: false, data: {} });
  const list: Event[] = [make("run_started", "run", "info", 0, "training began")];
  for (let step = 1000; step <= (run.rows.at(-1)?.step ?? 0); step += 1000) list.push(make("checkpoint_saved", "checkpoint", "info", step, `checkpoint-${step}`));
  list.push(make("nonfinite", "anomaly", "critical", 7900, "loss is NaN at step 7,900"));
  list.push(make("loss_spike", "anomaly", "warning", 9200, "loss is 2.07 at step 9,200; expected at most 0.91"));
  list.push(make("snapshot_created", "snapshot", "info", 9200, "anomaly_loss_spike_148pct (4.1 GB) holds checkpoint-9000"));
  list.push(make("best_model", "best", "info", 17_000, "eval_loss 0.6321 is the best so far"));
  return list.sort((a, b) => a.at - b.at).map((one, index) => ({ ...one, id: index + 1 })).reverse();
}

function series(list: readonly Row[], run: string, metric: string, query: URLSearchParams): SeriesOne {
  const axis = query.get("x") ?? "step";
  const most = Number(query.get("max_points") ?? 4000);
  const from = Number(query.get("from") ?? -Infinity);
  const to = Number(query.get("to") ?? Infinity);
  const x = (row: Row) => (axis === "time" ? row.at : axis === "elapsed" ? row.at - list[0]!.at : axis === "position" && row.attempt > 1 ? row.step + 800 : row.step);
  const rowsIn = list.filter((row) => metric in row.values && x(row) >= from && x(row) <= to);
  const size = Math.max(1, Math.ceil(rowsIn.length / most));
  const smooth = query.get("smooth");
  const mean = query.get("mean");
  const one: SeriesOne = { run, metric, count: rowsIn.length, bucket: size, nonfinite: [], nonfinite_count: 0, attempts: [], mean_over: null, columns: ["x", "value", "min", "max"], points: [] };
  if (smooth) one.columns.push("ema");
  if (mean) one.columns.push("mean");
  let ema: number | null = null;
  const window: number[] = [];
  for (const attempt of [1, 2]) {
    const mine = rowsIn.filter((row) => row.attempt === attempt);
    const start = one.points.length;
    for (let index = 0; index < mine.length; index += size) {
      const bucket = mine.slice(index, index + size);
      const good = bucket.map((row) => row.values[metric]!).filter(Number.isFinite);
      bucket.forEach((row) => Number.isFinite(row.values[metric]) || one.nonfinite.push(x(row)));
      for (const value of good) {
        ema = ema === null ? value : ema * Number(smooth) + value * (1 - Number(smooth));
        window.push(value);
        if (window.length > Number(mean)) window.shift();
      }
      const point: (number | null)[] = [x(bucket.at(-1)!), good.at(-1) ?? null, good.length ? Math.min(...good) : null, good.length ? Math.max(...good) : null];
      if (smooth) point.push(ema);
      if (mean) point.push(window.length ? window.reduce((a, b) => a + b, 0) / window.length : null);
      one.points.push(point);
    }
    if (one.points.length > start) one.attempts.push({ attempt, start, points: one.points.length - start });
  }
  one.nonfinite_count = one.nonfinite.length;
  return one;
}

function answer(path: string, query: URLSearchParams): unknown {
  const chosen = query.getAll("run").map((name) => RUNS.find((one) => one.name === name)).filter((one) => one !== undefined);
  const run = chosen[0] ?? RUNS[0];
  if (path === "runs") return { daemon, current: RUNS[0].name, last_event_id: 40, count: RUNS.length, runs: RUNS.map(card) };
  if (path === "stats") return stats(run);
  if (path === "events") return { run: run.name, last_event_id: 40, kinds: {}, events: events(run), more: false };
  if (path === "incidents") {
    const extra = { run: run.name, attempt: 2, key: "k", title: "loss spike", state: "resolved", updated_at: NOW, resolved_at: NOW, step: 9230, start_step: 9200, end_step: 9230, onset_step: null, last_good_step: 9000, anomalies: 6, metric: "loss", value: 2.07, expected: 0.83, reason: "loss_spike_148pct", resolution: "recovered after 6 steps", historic: false };
    return { run: run.name, incidents: [{ ...incident, ...extra, opened_at: events(run).find((one) => one.kind === "loss_spike")?.at }] };
  }
  if (path === "snapshots") {
    const snapshot = { name: "anomaly_20251112_143022_loss_spike_148pct", path: "", run: run.name, attempt: 2, created_at: "", at: NOW - 3000, reason: "loss_spike_148pct", triggers: ["loss_spike_148pct"], kinds: ["loss_spike"], severity: "warning", step: 9200, loss: 2.07, accuracy: 71, checkpoint_step: 9000, checkpoint_age_steps: 200, last_good_checkpoint_step: 9000, bytes: 4.1e9, copy_method: "reflink", pinned: false, state: "ok", problem: "", has_weights: true, verified: true, commands: [] };
    const best = { ...snapshot, name: "anomaly_20251112_150000_best_model_loss_0.6321", reason: "best_model_loss_0.6321", triggers: ["best_model_loss_0.6321"], kinds: ["best_model"], step: 17_000, loss: 0.6321, checkpoint_step: 17_000, at: NOW - 200, severity: "info" };
    return { run: run.name, count: 2, bytes: 8.2e9, snapshots: [best, snapshot] };
  }
  if (path === "checkpoints") return { run: run.name, count: 0, checkpoints: [] };
  if (path !== "series") return null;
  const several = chosen.length ? chosen : [run];
  const attempts = several.flatMap((one) => [1, 2].map((attempt) => {
    const mine = one.rows.filter((row) => row.attempt === attempt);
    return { run: one.name, attempt, first_step: mine[0]?.step ?? 0, last_step: mine.at(-1)?.step ?? 0, started_at: mine[0]?.at ?? 0, offset: attempt > 1 ? 800 : 0, origin: one.rows[0]!.at, reason: attempt > 1 ? "resumed" : "" };
  }));
  return { run: run.name, x: query.get("x") ?? "step", attempts, series: several.flatMap((one) => query.getAll("metric").map((metric) => series(one.rows, one.name, metric, query))) };
}

function handle(request: IncomingMessage, response: ServerResponse, next: () => void): void {
  const url = new URL(request.url ?? "/", "http://x");
  if (!url.pathname.startsWith("/api/")) return next();
  const path = url.pathname.slice(5);
  if (path === "stream") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": here\n\n");
    return;
  }
  const found = answer(path, url.searchParams);
  response.writeHead(found === null ? 404 : 200, { "content-type": "application/json" });
  response.end(JSON.stringify(found ?? { error: `the fake has no ${path}` }));
}

export function fakeApi(): Plugin {
  return { name: "fake-api", configureServer: (server) => void server.middlewares.use(handle) };
}
