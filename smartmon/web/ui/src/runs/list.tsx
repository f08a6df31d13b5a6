/** All runs in a narrow column, with a search. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import type { RunCard } from "../api";
import { visible, words } from "../format";
import { run, runs } from "../store";
import { RunRow } from "./row";
import "./runs.css";

/** Whether every word that is looked for is in the run's name, state, model or trouble. */
export function matches(card: RunCard, search: string): boolean {
  const text = [card.run, card.state, card.model_name ?? "", ...card.open_incidents.map((one) => words(one.kind))]
    .join(" ")
    .toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

export function RunList({ focused = false }: { focused?: boolean }): JSX.Element {
  const search = useSignal("");
  const all = runs.value ?? [];
  const found = all.filter((card) => matches(card, search.value));
  return (
    <div class="run-list">
      {all.length > 3 && (
        <input
          class="field"
          type="search"
          placeholder={`Search ${all.length} runs`}
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
      {found.map((card) => (
        <RunRow key={card.run} card={card} chosen={card.run === run.value} />
      ))}
      {found.length === 0 && <p class="empty">No run matches &ldquo;{visible(search.value)}&rdquo;.</p>}
    </div>
  );
}
