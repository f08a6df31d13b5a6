/** Light and dark: the system's choice until the reader makes one. */
import { effect, signal } from "@preact/signals";

import { remembered } from "./settings";

export type Theme = "system" | "light" | "dark";

export const theme = remembered("theme", "system");

/** Counts changes of the colours, so that canvases are drawn anew. */
export const paint = signal(0);

export function startTheme(): void {
  effect(() => {
    if (theme.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme.value;
    paint.value = paint.peek() + 1;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    paint.value += 1;
  });
}

export function nextTheme(): void {
  theme.value = theme.value === "system" ? "light" : theme.value === "light" ? "dark" : "system";
}

let probe: HTMLElement | null = null;
/** What was resolved, for the colours that are on: asking the style of the page costs too much for each mark. */
const resolved = new Map<string, string>();
paint.subscribe(() => resolved.clear());

/** The colour of a token as the canvas needs it: resolved for the theme that is on. */
export function colour(token: string): string {
  const known = resolved.get(token);
  if (known) return known;
  if (!probe) {
    probe = document.createElement("i");
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = `var(--${token})`;
  const found = getComputedStyle(probe).color;
  resolved.set(token, found);
  return found;
}

/** The same colour, see-through: `share` is 0 to 1. */
export function washed(token: string, share: number): string {
  const parts = colour(token).match(/[\d.]+/g);
  return parts && parts.length >= 3 ? `rgb(${parts[0]} ${parts[1]} ${parts[2]} / ${share})` : colour(token);
}
