/** What the marks under the cursor stand for, in words. */
import type { ReadonlySignal } from "@preact/signals";
import type { JSX } from "preact";
import type uPlot from "uplot";

import type { Event } from "../api";
import { words } from "../format";
import { Icon } from "../icons";
import { kindLook, severityLook } from "../looks";
import { xOf, type Marks } from "./marks";

/** Pixels to either side. */
const REACH = 5;
const MOST = 4;

const gravity = (event: Event): number => ["info", "warning", "critical"].indexOf(event.severity);

/** The events whose marks lie under a place of the plot, the gravest first; one of each kind. */
export function eventsNear(plot: uPlot, marks: Marks, left: number | undefined): readonly Event[] {
  if (!marks.shown || left === undefined || left < 0) return NONE;
  const kinds = new Map<string, Event>();
  for (const event of marks.events) {
    const x = xOf(marks, event.step, event.at, event.attempt);
    if (x === null || Math.abs(plot.valToPos(x, "x") - left) > REACH) continue;
    const known = kinds.get(event.kind);
    if (!known || gravity(event) > gravity(known)) kinds.set(event.kind, event);
  }
  return kinds.size ? [...kinds.values()].sort((a, b) => gravity(b) - gravity(a)).slice(0, MOST) : NONE;
}

export const NONE: readonly Event[] = [];

export function Near({ events, spoken }: { events: ReadonlySignal<readonly Event[]>; spoken: boolean }): JSX.Element {
  return (
    <p class="near" aria-live={spoken ? "polite" : undefined}>
      {events.value.map((event) => {
        const look = kindLook(event.kind, event.severity);
        const colour = event.severity === "info" ? look.colour : severityLook(event.severity).colour;
        return (
          <span key={event.kind}>
            <Icon name={look.icon} class={colour} /> {words(event.kind)}
          </span>
        );
      })}
    </p>
  );
}
