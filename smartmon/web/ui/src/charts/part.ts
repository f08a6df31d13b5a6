/** What part of the axis the charts show, and how far there is something to show. */
import { batch, effect, signal } from "@preact/signals";

import type { Attempt, Axis } from "../api";
import { axis, chooseAxis, focus, stats, zoom, type Place, type Zoom } from "../store";
import { xOf } from "./marks";

/** The attempts of the run, as the newest answer tells them: on the axis of steps end to end, only they know its end. */
export const attempts = signal<readonly Attempt[]>([]);

/** All of the axis, as far as it is known without asking. */
function whole(of: Axis): Zoom | null {
  const one = stats.peek();
  if (!one || one.step === null) return null;
  const started = one.started_at ?? 0;
  const ended = one.updated_at ?? started;
  if (of === "time") return { from: started, to: ended };
  if (of === "elapsed") return { from: 0, to: ended - started };
  if (of === "step") return { from: 0, to: Math.max(one.step, ...attempts.peek().map((attempt) => attempt.last_step)) };
  return { from: 0, to: one.step + (attempts.peek().at(-1)?.offset ?? 0) };
}

/** Whether the part ends where the run does now: then it moves on with it. */
const follows = signal(false);

/** Closer than two steps, or two seconds, there is nothing more to see. */
const LEAST = 2;

/** Shows a part, moved to where there is something; what would be all of it is all of it, and goes on growing. */
export function show(part: Zoom): void {
  const all = whole(axis.peek());
  const width = Math.max(LEAST, part.to - part.from);
  if (Number.isNaN(width)) return;
  if (!all) {
    // Asked for before the run's numbers are there: where it ends is not known yet.
    zoom.value = part;
    return;
  }
  if (width >= all.to - all.from) {
    zoom.value = null;
    return;
  }
  const from = Math.min(Math.max(part.from, all.from), all.to - width);
  batch(() => {
    follows.value = from === all.to - width;
    zoom.value = { from, to: from + width };
  });
}

export function zoomBy(factor: number): void {
  const now = zoom.peek() ?? whole(axis.peek());
  if (!now) return;
  const middle = (now.from + now.to) / 2;
  show({ from: middle - (middle - now.from) * factor, to: middle + (now.to - middle) * factor });
}

export function panBy(part: number): void {
  const now = zoom.peek();
  if (!now) return;
  const by = (now.to - now.from) * part;
  show({ from: now.from + by, to: now.to + by });
}

/** The newest part: the last 500 steps, or as much time as they take. */
export function lastPart(): void {
  const all = whole(axis.peek());
  const pace = stats.peek()?.steps_per_sec.average;
  if (!all) return;
  const counted = axis.peek() === "step" || axis.peek() === "position";
  const width = counted ? 500 : pace ? 500 / pace : (all.to - all.from) / 10;
  show({ from: all.to - width, to: all.to });
}

/** For so long a part has to rest before finer data is asked for; the first move of several is asked for at once. */
const SETTLE = 150;
/** A part that moves on with the run is asked for anew each time it has moved by this share of itself. */
const STRIDE = 0.2;

/** What to ask for so that a part is covered that goes on: where it begins, roughly, and no end. */
export function openEnded(part: Zoom): Zoom {
  const stride = (part.to - part.from) * STRIDE;
  return { from: Math.max(0, Math.floor(part.from / stride) * stride), to: Infinity };
}

/** The part that finer data is asked for. While a part is moved, what is known already is drawn. */
export const settled = signal<Zoom | null>(zoom.peek());
let changedAt = 0;
let resting = 0;
effect(() => {
  const part = zoom.value && follows.value ? openEnded(zoom.value) : zoom.value;
  const now = performance.now();
  clearTimeout(resting);
  if (part === null || now - changedAt > SETTLE) settled.value = part;
  else resting = window.setTimeout(() => (settled.value = part), SETTLE);
  changedAt = now;
});

effect(() => {
  void stats.value;
  const part = zoom.peek();
  const all = whole(axis.peek());
  if (part && all && follows.peek() && all.to > part.to) zoom.value = { from: all.to - (part.to - part.from), to: all.to };
});

/** Whether the charts are to come into view as soon as they are there. */
export const wanted = signal(false);

/** Brings the charts into view. Their bar sticks to the window: what is scrolled to is what the bar is in. */
export function comeIntoView(): void {
  wanted.value = document.getElementById("charts") === null;
  // The bar says what part is shown: only when it has said so are the charts where they stay.
  requestAnimationFrame(() => document.getElementById("charts")?.scrollIntoView({ block: "start" }));
}

/** Moves all charts to a place, about a fiftieth of the run to either side. */
export function lookAt(there: Place): void {
  const pace = stats.peek()?.steps_per_sec.average;
  batch(() => {
    let x = xOf({ axis: axis.peek(), attempts: attempts.peek() }, there.step, there.at, there.attempt);
    if (x === null) {
      chooseAxis("step");
      x = there.step;
    }
    const counted = axis.peek() === "step" || axis.peek() === "position";
    const steps = Math.max(50, Math.round((stats.peek()?.step ?? there.step) * 0.02));
    const half = counted ? steps : pace ? steps / pace : 600;
    show({ from: x - half, to: x + half });
    focus.value = there;
  });
  comeIntoView();
}
