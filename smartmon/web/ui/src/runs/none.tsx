/** Before the first run: what to do so that there is one. */
import type { JSX } from "preact";

import { Nothing } from "../panel";
import { daemon } from "../store";
import { Command } from "../text/copy";

export function NoRuns(): JSX.Element {
  const watching = daemon.value?.running ?? false;
  return (
    <Nothing title="No runs yet">
      <p>
        {watching
          ? "The daemon is at work and has found no training yet. This page shows the first one as soon as it writes."
          : "Nobody watches here yet. Start the daemon in the folder that your training writes to:"}
      </p>
      {!watching && (
        <>
          <Command text={daemon.value?.command ?? "smartmon run"} label="Start the daemon" />
          <p class="muted">No training at hand? This starts a small real one, with real trouble in it:</p>
          <Command text="smartmon demo" label="Start the demonstration" />
        </>
      )}
    </Nothing>
  );
}
