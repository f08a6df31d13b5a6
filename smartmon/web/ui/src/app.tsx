/** The frame: the bar at the top, the runs at the side, and the page that the address names. */
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { judge, Verdict } from "./cards/verdict";
import { Cards } from "./cards/cards";
import { visible } from "./format";
import { isLost, isStale, Notices } from "./notices";
import { Nothing } from "./panel";
import { pages, panels, type PanelEntry } from "./registry";
import { link, route } from "./router";
import { RunList } from "./runs/list";
import { NoRuns } from "./runs/none";
import { daemon, run, runs, stats, trouble } from "./store";
import { Top } from "./top";

/** What pages besides the run's own are called. */
const NAMES: Record<string, string> = { runs: "All runs", compare: "Compare", log: "Log", incident: "Incident" };

/** What a tab among many says: how the run is, and how far. */
function title(): string {
  const one = stats.value;
  const { page, view } = route.value;
  const other = NAMES[page === "run" ? view : page];
  if (other) return `${other} \u00b7 ${page === "run" && run.value !== null ? visible(run.value) : "smartmon"}`;
  if (!one || (page !== "" && page !== "run")) return "smartmon";
  const { word } = judge(one, daemon.value?.running ?? true, isStale(), isLost());
  const share = one.progress === null ? "" : ` ${Math.floor(one.progress * 100)} %`;
  return `${word}${share} \u00b7 ${visible(one.run)}`;
}

export function App(): JSX.Element {
  const name = title();
  useEffect(() => {
    document.title = name;
  }, [name]);
  const { page, view, id, run: named } = route.value;
  const place = [page, named, view, id].join("/");
  const before = useRef(place);
  useEffect(() => {
    // What was pressed to come here is gone, and a keyboard's place with it.
    if (before.current !== place) document.getElementById("main")?.focus({ preventScroll: true });
    before.current = place;
  }, [place]);
  const side = (runs.value?.length ?? 0) > 1 && route.value.page !== "runs";
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        To the content
      </a>
      <Top />
      <div class={side ? "frame with-side" : "frame"}>
        {side && (
          <aside class="side" aria-label="Runs">
            <RunList />
          </aside>
        )}
        <main class="page" id="main" tabIndex={-1}>
          <Notices />
          <Page />
        </main>
      </div>
    </>
  );
}

/** The address names the page, not a place in it: the focus is moved by hand. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Page(): JSX.Element {
  const { page, view, id } = route.value;
  const name = run.value;
  const other = pages.find((entry) => (entry.ofRun ? page === "run" && entry.name === view : entry.name === page));
  if (other && (!other.ofRun || name !== null)) return <other.component key={`${name} ${id}`} run={name ?? ""} id={id} />;
  if (runs.value === null && stats.value?.run !== name) {
    return trouble.value ? <Nothing title="No answer">{trouble.value}</Nothing> : <div class="empty">Asking&hellip;</div>;
  }
  if (runs.value?.length === 0) return <NoRuns />;
  if (name === null || runs.value?.every((card) => card.run !== name)) return <NoSuchRun name={name ?? ""} />;
  if ((page !== "" && page !== "run") || (page === "run" && view)) return <NoSuchPage />;
  return <RunPage key={name} name={name} />;
}

/** Where two columns stand side by side; `layout.css` has the same width. */
const WIDE = matchMedia("(min-width: 1320px)");
const wide = signal(WIDE.matches);
WIDE.addEventListener("change", () => (wide.value = WIDE.matches));

function RunPage({ name }: { name: string }): JSX.Element {
  const drawn = (list: readonly PanelEntry[]) => list.map((entry) => <entry.component key={entry.id} run={name} />);
  const main = panels.filter((entry) => entry.column === "main");
  const side = panels.filter((entry) => entry.column === "side");
  return (
    <>
      <Verdict />
      <Cards />
      {wide.value ? (
        <div class="columns two">
          <div class="column">{drawn(main)}</div>
          <div class="column">{drawn(side)}</div>
        </div>
      ) : (
        // One below the other, what happened and what was kept come before samples and logs.
        <div class="column">{drawn([...main.slice(0, 1), ...side, ...main.slice(1)])}</div>
      )}
    </>
  );
}

function NoSuchRun({ name }: { name: string }): JSX.Element {
  return (
    <Nothing title="There is no such run">
      <p>
        Nothing is known of <code>{name}</code>. It may have another name, or lie in another base dir.
      </p>
      <p>
        <a href={link("runs")}>All runs</a>
      </p>
    </Nothing>
  );
}

function NoSuchPage(): JSX.Element {
  return (
    <Nothing title="There is no such page">
      <p>
        <a href="#/">The current run</a> &middot; <a href={link("runs")}>All runs</a>
      </p>
    </Nothing>
  );
}
