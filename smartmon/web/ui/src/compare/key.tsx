/** How a run is told from the others in curves and tables: a colour and a pattern of dashes. */
import type { JSX } from "preact";

import { Shown } from "../text/shown";

const DASHES: readonly (readonly number[])[] = [[], [7, 4], [2, 3], [9, 3, 2, 3], [], [7, 4], [2, 3], [9, 3, 2, 3]];
const LINES = 8;

/** The name of the colour, as the theme has it. */
export const lineToken = (place: number): string => `line-${(place % LINES) + 1}`;

export const dashes = (place: number): number[] => [...(DASHES[place % LINES] ?? [])];

/** A short line in a run's colour and dashes, and its name. */
export function RunKey({ run, place }: { run: string; place: number }): JSX.Element {
  return (
    <span class="run-key">
      <svg class={lineToken(place)} viewBox="0 0 28 6" aria-hidden="true">
        <path d="M0 3H28" stroke-dasharray={dashes(place).join(" ") || undefined} />
      </svg>
      <Shown text={run} limit={80} />
    </span>
  );
}
