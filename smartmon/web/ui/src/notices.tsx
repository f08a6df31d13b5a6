/** What is not data: nobody watches, the connection is lost, what is shown is old. */
import type { JSX } from "preact";

import { Icon } from "./icons";
import { age, visible } from "./format";
import { connection, lostAt } from "./live";
import { route } from "./router";
import { dataAge, daemon, live, now, runs, stats, trouble } from "./store";

/** A live run whose newest row is older than this, and than many of its own steps, is not news any more. */
const STALE_SECONDS = 300;
const STALE_STEPS = 30;

export function isStale(): boolean {
  const old = dataAge.value;
  if (!live.value || old === null || stats.value?.state !== "running") return false;
  const pace = stats.value.steps_per_sec.average;
  return old > Math.max(STALE_SECONDS, pace ? STALE_STEPS / pace : 0);
}

export function Notices(): JSX.Element {
  // Without a run the page itself says what to start.
  const watching = runs.value?.length ? daemon.value : null;
  const { page } = route.value;
  const lost = connection.value === "lost";
  return (
    <>
      {lost && (
        <div class="notice orange" role="status">
          <Icon name="plug" />
          Connection lost
          <span>
            What you see is from {age(now.value - (lostAt.value ?? now.value))}. Trying again by itself; nothing is
            missed.
          </span>
        </div>
      )}
      {!lost && trouble.value !== "" && (
        <div class="notice red" role="alert">
          <Icon name="critical" />
          No answer
          <span>{visible(trouble.value)}</span>
        </div>
      )}
      {!lost && watching && !watching.running && (
        <div class="notice orange" role="status">
          <Icon name="plug" />
          {watching.state === "never" ? "No daemon has run here" : "The daemon is not running"}
          <span>
            Nothing new is read, kept or told
            {watching.beat_at ? ` since ${age(now.value - watching.beat_at)}` : ""}. Start it: <code>{watching.command}</code>
          </span>
        </div>
      )}
      {!lost && watching?.running && watching.state === "degraded" && (
        <div class="notice orange" role="status">
          <Icon name="warning" />
          The daemon is in trouble
          <span>
            Not getting on:{" "}
            {Object.entries(watching.workers)
              .filter(([, well]) => !well)
              .map(([worker]) => worker)
              .join(", ") || "a worker"}
            . See its log, or <code>smartmon status</code>.
          </span>
        </div>
      )}
      {!lost && watching?.running && (page === "" || page === "run") && isStale() && (
        <div class="notice yellow" role="status">
          <Icon name="clock" />
          Old data
          <span>The newest row was written {age(dataAge.value)}, though the run says that it trains.</span>
        </div>
      )}
    </>
  );
}
