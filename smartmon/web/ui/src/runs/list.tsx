/** All runs in a narrow column, with a search. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import { plural, visible } from "../format";
import { run, runCount, runs } from "../store";
import { useFound } from "./found";
import { RunRow } from "./row";
import "./runs.css";

export function RunList({ focused = false }: { focused?: boolean }): JSX.Element {
  const search = useSignal("");
  const all = runs.value ?? [];
  const found = useFound(search.value);
  return (
    <div class="run-list">
      {all.length > 3 && (
        <input
          class="field"
          type="search"
          placeholder={`Search ${runCount.value} runs`}
          aria-label="Search runs"
          value={search.value}
          ref={(input) => {
            // Under a finger the focus would bring up a keyboard over half of the list.
            if (focused && matchMedia("(hover: hover)").matches && input && !input.dataset.focused) {
              input.dataset.focused = "yes";
              input.focus();
            }
          }}
          onInput={(event) => (search.value = event.currentTarget.value)}
        />
      )}
      {found.cards.map((card) => (
        <RunRow key={card.run} card={card} chosen={card.run === run.value} />
      ))}
      {found.cards.length === 0 && <p class="empty">{found.asking ? "Asking\u2026" : `No run matches \u201c${visible(search.value)}\u201d.`}</p>}
      {found.older > 0 && <p class="muted">{plural(found.older, "older run")} not listed: the search finds them too.</p>}
    </div>
  );
}
