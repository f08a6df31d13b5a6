/**
 * The seam: what stands on a run's page, and which other pages there are.
 * To add one, import its component and give it a line here; the frame does the rest.
 */
import type { ComponentType } from "preact";

import { Charts } from "./charts/section";
import { Checkpoints, Snapshots } from "./checkpoints/panel";
import { ComparePage } from "./compare/page";
import { Experts } from "./experts/panel";
import { Host } from "./host/panel";
import type { IconName } from "./icons";
import { IncidentPage } from "./incident/page";
import { LogPage } from "./log/page";
import { Log } from "./log/panel";
import { RunsPage } from "./runs/page";
import { Samples } from "./samples/panel";
import { Timeline } from "./timeline/panel";

export interface PanelEntry {
  id: string;
  /** `main`: the wide column. `side`: the narrow one, below the first of the others on a small screen. */
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
export const panels: PanelEntry[] = [
  { id: "charts", column: "main", component: Charts },
  { id: "samples", column: "main", component: Samples },
  { id: "experts", column: "main", component: Experts },
  { id: "log", column: "main", component: Log },
  { id: "timeline", column: "side", component: Timeline },
  { id: "snapshots", column: "side", component: Snapshots },
  { id: "checkpoints", column: "side", component: Checkpoints },
  { id: "host", column: "side", component: Host },
];

export const pages: PageEntry[] = [
  { name: "runs", ofRun: false, nav: { label: "All runs", icon: "list" }, component: RunsPage },
  { name: "compare", ofRun: false, nav: { label: "Compare", icon: "trend" }, component: ComparePage },
  { name: "incident", ofRun: true, component: IncidentPage },
  { name: "log", ofRun: true, component: LogPage },
];
