/** What is not data: nobody watches, the connection is lost, what is shown is old. */
import { computed } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";

import { Icon, type IconName } from "./icons";
import { age, duration, visible } from "./format";
import { connection, lostAt } from "./live";
import type { Colour } from "./looks";
import { route } from "./router";
import { dataAge, daemon, live, now, runs, stats, trouble } from "./store";
import { Command } from "./text/copy";

/** A live run whose newest row is older than this, and than many of its own steps, is not news any more. */
const STALE_SECONDS = 300;
const STALE_STEPS = 30;
/** A connection that is lost for longer is not just a reload of the server. */
const LOST_SECONDS = 15;

export function isStale(): boolean {
  const old = dataAge.value;
  if (!live.value || old === null || stats.value?.state !== "running") return false;
  const pace = stats.value.steps_per_sec.average;
  return old > Math.max(STALE_SECONDS, pace ? STALE_STEPS / pace : 0);
}

/** Whether so long nothing was heard that nobody can say how a run is. */
export function isLost(): boolean {
  return connection.value === "lost" && now.value - (lostAt.value ?? now.value) > LOST_SECONDS;
}

interface Notice {
  colour: Colour;
  icon: IconName;
  title: string;
  text: ComponentChildren;
}

function lost(): Notice {
  const since = Math.max(1, Math.round(now.value - (lostAt.value ?? now.value)));
  const text = `Nothing was heard for ${duration(since)}. Trying again by itself; nothing is missed.`;
  return { colour: "orange", icon: "plug", title: "Connection lost", text };
}

function unwatched(): Notice | null {
  // Without a run the page itself says what to start.
  const watching = runs.value?.length ? daemon.value : null;
  if (!watching || watching.running) return watching?.state === "degraded" ? inTrouble() : null;
  const since = watching.beat_at ? ` for ${duration(Math.round(now.value - watching.beat_at))}` : "";
  return {
    colour: "orange",
    icon: "plug",
    title: watching.state === "never" ? "No daemon has run here" : "The daemon is not running",
    text: (
      <>
        Nothing new was read, kept or told{since}. Start it:
        <Command text={watching.command} label="Start the daemon" />
      </>
    ),
  };
}

function inTrouble(): Notice {
  const stuck = Object.entries(daemon.value?.workers ?? {}).flatMap(([worker, well]) => (well ? [] : [worker]));
  const text = (
    <>
      Not getting on: {stuck.join(", ") || "a worker"}. See its log, or <code>smartmon status</code>.
    </>
  );
  return { colour: "orange", icon: "warning", title: "The daemon is in trouble", text };
}

function old(): Notice | null {
  const { page } = route.value;
  if (!daemon.value?.running || (page !== "" && page !== "run") || !isStale()) return null;
  const text = `The newest row was written ${age(dataAge.value)}, though the run says that it trains.`;
  return { colour: "yellow", icon: "clock", title: "Old data", text };
}

function unanswered(): Notice | null {
  if (trouble.value === "") return null;
  return { colour: "red", icon: "critical", title: "No answer", text: visible(trouble.value) };
}

const shown = computed(() => {
  const all = connection.value === "lost" ? [lost()] : [unanswered(), unwatched(), old()];
  return all.filter((one) => one !== null);
});
const spoken = computed(() => shown.value.map(({ title }) => title).join(". "));

export function Notices(): JSX.Element {
  return (
    <>
      {/* Read aloud once: the boxes below count seconds, which nobody wants to hear. */}
      <p class="visually-hidden" role="status">
        {spoken.value || null}
      </p>
      {shown.value.map(({ colour, icon, title, text }) => (
        <div key={title} class={`notice ${colour}`}>
          <Icon name={icon} />
          {title}
          <div>{text}</div>
        </div>
      ))}
    </>
  );
}
