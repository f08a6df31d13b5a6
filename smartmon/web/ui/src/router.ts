/** Where in the page we are: `#/run/NAME`, `#/run/NAME/incident/ID`, `#/runs`, `#/compare?run=A&run=B`. */
import { signal } from "@preact/signals";

export interface Route {
  /** The first word: `run`, `runs`, `compare`, ...; empty for the current run. */
  page: string;
  /** The run that the address names; null follows whichever is current. */
  run: string | null;
  /** What follows the run: `incident`, `log`, ... */
  view: string;
  /** What follows the view: the incident's id, say. */
  id: string;
  query: URLSearchParams;
}

function decode(part: string | undefined): string {
  if (!part) return "";
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/");
  const page = decode(parts[0]);
  const named = page === "run";
  return {
    page,
    run: named ? decode(parts[1]) || null : null,
    view: named ? decode(parts[2]) : decode(parts[1]),
    id: named ? decode(parts[3]) : decode(parts[2]),
    query: new URLSearchParams(query),
  };
}

/** An address in this page. A run's name may hold slashes: each part is encoded whole. */
export function link(...parts: (string | number)[]): string {
  return `#/${parts.map((part) => encodeURIComponent(String(part))).join("/")}`;
}

export const runLink = (run: string): string => link("run", run);

export const compareLink = (runs: readonly string[]): string =>
  `#/compare?${runs.map((run) => `run=${encodeURIComponent(run)}`).join("&")}`;

export const route = signal<Route>(parse(location.hash));

export function startRouter(): void {
  addEventListener("hashchange", () => {
    const before = route.peek();
    route.value = parse(location.hash);
    const now = route.value;
    if (before.page !== now.page || before.run !== now.run || before.view !== now.view) scrollTo(0, 0);
  });
}

export function go(address: string): void {
  location.hash = address.replace(/^#/, "");
}
