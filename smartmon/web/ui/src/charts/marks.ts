/** What happened, drawn into the charts: checkpoints, snapshots, anomalies, bands of incidents, NaN, attempts, rules. */
import type uPlot from "uplot";

import type { Attempt, Axis, Event, Incident } from "../api";
import { kindLook, severityLook } from "../looks";
import type { Place } from "../store";
import { colour, washed } from "../theme";
import type { RuleDef } from "./defs";

export interface Marks {
  events: readonly Event[];
  incidents: readonly Incident[];
  attempts: readonly Attempt[];
  nonfinite: readonly number[];
  rules: readonly RuleDef[];
  /** Where the reader was sent. */
  focus: Place | null;
  axis: Axis;
  /** Whether events are shown; NaN, attempts and rules always are. */
  shown: boolean;
}

/** A step and a moment of an attempt as x of an axis. */
export function xOf(marks: Pick<Marks, "axis" | "attempts">, step: number | null, at: number, attempt: number | null): number | null {
  if (marks.axis === "time") return at;
  const of = marks.attempts.find((one) => one.attempt === attempt) ?? marks.attempts.at(-1);
  if (marks.axis === "elapsed") return of ? at - of.origin : null;
  if (step === null) return null;
  return marks.axis === "position" ? step + (of?.offset ?? 0) : step;
}

/** All lines of a canvas at the device's pixels. */
const px = (u: uPlot, size: number): number => size * (u.ctx.canvas.width / u.width);

/** Up to so many checkpoints in sight get a line; more would be a grid, and have ticks only. */
const FEW = 40;

interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

function place(u: uPlot, x: number | null): number | null {
  if (x === null || !Number.isFinite(x)) return null;
  const { left, width } = u.bbox;
  const at = u.valToPos(x, "x", true);
  return at >= left - 1 && at <= left + width + 1 ? at : null;
}

function vertical(u: uPlot, at: number, token: string, dash: number[], share = 1, width = 1): void {
  const { top, height } = u.bbox;
  u.ctx.strokeStyle = washed(token, share);
  u.ctx.lineWidth = px(u, width);
  u.ctx.setLineDash(dash.map((length) => px(u, length)));
  u.ctx.beginPath();
  u.ctx.moveTo(at, top);
  u.ctx.lineTo(at, top + height);
  u.ctx.stroke();
  u.ctx.setLineDash([]);
}

function text(u: uPlot, words: string, x: number, y: number, token: string, align: CanvasTextAlign = "left"): void {
  u.ctx.font = `${px(u, 10.5)}px system-ui, sans-serif`;
  u.ctx.textAlign = align;
  u.ctx.textBaseline = "top";
  u.ctx.fillStyle = colour(token);
  u.ctx.fillText(words, x, y);
}

function diamond(u: uPlot, x: number, y: number, size: number, token: string, filled: boolean): void {
  const half = px(u, size);
  const { ctx } = u;
  ctx.beginPath();
  ctx.moveTo(x, y - half);
  ctx.lineTo(x + half, y);
  ctx.lineTo(x, y + half);
  ctx.lineTo(x - half, y);
  ctx.closePath();
  ctx.fillStyle = colour(filled ? token : "surface");
  ctx.fill();
  ctx.strokeStyle = colour(token);
  ctx.lineWidth = px(u, 1.2);
  ctx.stroke();
}

/** Below the lines: the bands of incidents. */
export function drawUnder(u: uPlot, marks: Marks): void {
  if (!marks.shown) return;
  const { left, top, width, height }: Box = u.bbox;
  u.ctx.save();
  for (const incident of marks.incidents) {
    const from = xOf(marks, incident.onset_step ?? incident.start_step, incident.opened_at, incident.attempt);
    const to = xOf(marks, incident.end_step, incident.resolved_at ?? incident.updated_at, incident.attempt);
    if (from === null || to === null) continue;
    const a = Math.max(left, u.valToPos(from, "x", true));
    const b = Math.min(left + width, Math.max(u.valToPos(to, "x", true), u.valToPos(from, "x", true) + px(u, 2)));
    if (b <= a) continue;
    const token = severityLook(incident.severity).colour;
    u.ctx.fillStyle = washed(token, 0.13);
    u.ctx.fillRect(a, top, b - a, height);
    u.ctx.fillStyle = washed(token, 0.9);
    u.ctx.fillRect(a, top, b - a, px(u, 2));
  }
  u.ctx.restore();
}

function drawRules(u: uPlot, marks: Marks): void {
  const { left, top, width, height }: Box = u.bbox;
  for (const rule of marks.rules) {
    if (rule.at === "step") {
      if (marks.axis !== "step" && marks.axis !== "position") continue;
      const at = place(u, rule.value);
      if (at === null) continue;
      vertical(u, at, "muted", [2, 3]);
      // Above the row in which checkpoints and snapshots stand.
      text(u, rule.label, at + px(u, 4), top + height - px(u, 32), "muted");
      continue;
    }
    const y = u.valToPos(rule.value, "y", true);
    if (y < top || y > top + height) continue;
    u.ctx.strokeStyle = colour("muted");
    u.ctx.lineWidth = px(u, 1);
    u.ctx.setLineDash([px(u, 5), px(u, 4)]);
    u.ctx.beginPath();
    u.ctx.moveTo(left, y);
    u.ctx.lineTo(left + width, y);
    u.ctx.stroke();
    u.ctx.setLineDash([]);
    text(u, rule.label, left + width - px(u, 4), y < top + px(u, 16) ? y + px(u, 3) : y - px(u, 14), "muted", "right");
  }
}

function drawEvents(u: uPlot, marks: Marks): void {
  const { top, height }: Box = u.bbox;
  const placed = marks.events.flatMap((event) => {
    const at = place(u, xOf(marks, event.step, event.at, event.attempt));
    return at === null ? [] : [{ event, at }];
  });
  const few = placed.filter(({ event }) => event.icon === "checkpoint").length <= FEW;
  for (const { event, at } of placed) {
    if (event.icon === "checkpoint") {
      u.ctx.fillStyle = colour("blue");
      u.ctx.fillRect(at - px(u, 0.75), top + height - px(u, 6), px(u, 1.5), px(u, 6));
      if (few) vertical(u, at, "blue", [], 0.16);
    } else if (event.icon === "snapshot") {
      vertical(u, at, "teal", [4, 3], 0.75);
      diamond(u, at, top + height - px(u, 10), 4, "teal", true);
    } else if (event.icon === "best") {
      diamond(u, at, top + height - px(u, 10), 4, "green", false);
    } else if (event.icon === "anomaly") {
      const token = event.severity === "info" ? kindLook(event.kind).colour : severityLook(event.severity).colour;
      diamond(u, at, top + px(u, marks.nonfinite.length ? 19 : 8), event.severity === "info" ? 3 : 4, token, event.severity !== "info");
    }
  }
}

/** Above the lines: everything that is a place on x. */
export function drawOver(u: uPlot, marks: Marks): void {
  const { left, top, width, height }: Box = u.bbox;
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.rect(left, top, width, height);
  u.ctx.clip();
  drawRules(u, marks);
  for (const attempt of marks.attempts.slice(1)) {
    const at = place(u, xOf(marks, attempt.first_step, attempt.started_at, attempt.attempt));
    if (at === null) continue;
    vertical(u, at, "purple", [1, 3], 0.9);
    text(u, `attempt ${attempt.attempt}`, at + px(u, 4), top + px(u, marks.nonfinite.length ? 26 : 14), "purple");
  }
  if (marks.shown) drawEvents(u, marks);
  if (marks.nonfinite.length) {
    u.ctx.fillStyle = washed("red", 0.1);
    u.ctx.fillRect(left, top, width, px(u, 12));
    text(u, "NaN", left + px(u, 4), top + px(u, 1), "red");
    u.ctx.strokeStyle = colour("red");
    u.ctx.lineWidth = px(u, 1.5);
    for (const x of marks.nonfinite) {
      const at = place(u, x);
      if (at === null) continue;
      const [a, b, half] = [top + px(u, 2.5), top + px(u, 9.5), px(u, 3.5)];
      u.ctx.beginPath();
      u.ctx.moveTo(at - half, a);
      u.ctx.lineTo(at + half, b);
      u.ctx.moveTo(at + half, a);
      u.ctx.lineTo(at - half, b);
      u.ctx.stroke();
    }
  }
  if (marks.focus) {
    const at = place(u, xOf(marks, marks.focus.step, marks.focus.at, marks.focus.attempt));
    if (at !== null) vertical(u, at, "focus", [], 0.8, 1.5);
  }
  u.ctx.restore();
}
