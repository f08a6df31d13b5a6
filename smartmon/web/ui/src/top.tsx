/** The bar at the top: which run, how the connection is, where else to go, light or dark. */
import type { JSX } from "preact";

import { Icon, type IconName } from "./icons";
import { isStale } from "./notices";
import { connection } from "./live";
import { pages } from "./registry";
import { link, route, runLink } from "./router";
import { RunSelector } from "./runs/selector";
import { following, live, run, stats } from "./store";
import { nextTheme, theme } from "./theme";

const THEMES: Record<string, IconName> = { system: "system", light: "sun", dark: "moon" };

function Connection(): JSX.Element {
  const state = connection.value;
  const [tone, word, help] =
    state === "lost"
      ? ["orange", "lost", "The connection to the server is lost; trying again."]
      : state === "connecting"
        ? ["grey", "connecting", "Opening the connection."]
        : isStale()
          ? ["yellow", "stale", "Connected, but the run has written nothing for long."]
          : live.value
            ? ["green", "live", "News arrive as they are written."]
            : ["grey", stats.value ? "history" : "connected", "The run has ended; it switches to live by itself."];
  return (
    <span class={`connection ${tone}`} title={help} role="img" aria-label={`Connection: ${word}`}>
      <i />
      <span>{word}</span>
    </span>
  );
}

export function Top(): JSX.Element {
  const { page, view } = route.value;
  const name = run.value;
  const here = (page === "" || page === "run") && view === "";
  const tab = (label: string, icon: IconName, address: string, on: boolean, extra = "") => (
    <a class={`button plain${extra}`} href={address} aria-current={on ? "page" : undefined} title={label}>
      <Icon name={icon} />
      <span class="label">{label}</span>
    </a>
  );
  return (
    <header class="top">
      <a class="brand wide-only" href="#/" title="The current run">
        <img src="./favicon.svg" alt="" />
        <span class="label">smartmon</span>
      </a>
      <RunSelector />
      <Connection />
      <nav aria-label="Pages">
        {name !== null && tab("Run", "gauge", following.value ? "#/" : runLink(name), here, here ? " wide-only" : "")}
        {pages.map((entry) => {
          if (!entry.nav || (entry.ofRun && name === null)) return null;
          const address = entry.ofRun ? link("run", name!, entry.name) : link(entry.name);
          return tab(entry.nav.label, entry.nav.icon, address, (entry.ofRun ? view : page) === entry.name);
        })}
        <button
          type="button"
          class="button plain"
          onClick={nextTheme}
          title={`Colours: ${theme.value}. Click for the next.`}
          aria-label={`Colours: ${theme.value}`}
        >
          <Icon name={THEMES[theme.value] ?? "system"} />
        </button>
      </nav>
    </header>
  );
}
