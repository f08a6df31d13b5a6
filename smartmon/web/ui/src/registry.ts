/**
 * The seam: what stands on a run's page, and which other pages there are.
 * To add one, import its component and give it a line here; the frame does the rest.
 */
import type { ComponentType } from "preact";

import { Charts } from "./charts/section";
import type { IconName } from "./icons";
import { RunsPage } from "./runs/page";

export interface PanelEntry {
  id: string;
  /** `main`: the wide column. `side`: the narrow one, below the other on a small screen. */
  column: "main" | "side";
  /** Gets the run's name; renders its own `Panel`, or null where there is nothing to say. */
  component: ComponentType<{ run: string }>;
}

export interface PageEntry {
  /** `#/NAME`, or `#/run/RUN/NAME` where `ofRun`. */
  name: string;
  ofRun: boolean;
  /** What the bar at the top calls it; without, it is only linked to. */
  nav?: { label: string; icon: IconName };
  component: ComponentType<{ run: string; id: string }>;
}

/** In the order in which they stand. */
export const panels: PanelEntry[] = [{ id: "charts", column: "main", component: Charts }];

export const pages: PageEntry[] = [{ name: "runs", ofRun: false, nav: { label: "All runs", icon: "list" }, component: RunsPage }];
