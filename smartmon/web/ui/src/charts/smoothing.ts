/** How the lines are smoothed: by the server, over every observation, so that what is cited is what is drawn. */
import { computed, effect, signal } from "@preact/signals";

import type { Query } from "../api";
import { remembered } from "../settings";

export type Smoothing = "off" | "ema" | "mean";

export const kind = remembered("smoothing", "off");
/** Where the slider stands, 0 to 100. */
export const slider = remembered("smoothness", 40);

/** The weight of what was before, 0.5 to 0.999: equal parts of the slider are equal factors of the memory. */
const weightAt = (place: number): number => 1 - 0.5 * (1 / 500) ** (place / 100);
/** How many observations a mean goes over, 2 to 1,000. */
const spanAt = (place: number): number => Math.round(2 * 500 ** (place / 100));

export const smoothing = computed<Smoothing>(() => (kind.value === "ema" || kind.value === "mean" ? kind.value : "off"));

const SETTLE = 120;

/** Where the slider came to rest: while it moves, the server is not asked for each place. */
const settled = signal(slider.peek());
let resting = 0;
effect(() => {
  const place = slider.value;
  clearTimeout(resting);
  resting = window.setTimeout(() => (settled.value = place), SETTLE);
});

/** What to ask the server for. */
export function smoothQuery(mean50: boolean): Query {
  const place = settled.value;
  const mean = smoothing.value === "mean" ? spanAt(place) : mean50 ? 50 : null;
  return { smooth: smoothing.value === "ema" ? weightAt(place).toFixed(4) : null, mean };
}

export const smoothColumn = computed<"ema" | "mean" | null>(() => (smoothing.value === "off" ? null : smoothing.value));

export const words = computed(() =>
  smoothing.value === "ema" ? `weight ${weightAt(slider.value).toFixed(3)}` : smoothing.value === "mean" ? `over ${spanAt(slider.value)}` : "",
);
