/** The runs that a search finds: of those that are listed, and where there are more, of all. */
import type { RunCard, Runs } from "../api";
import { useAsk } from "../ask";
import { words } from "../format";
import { ordered, runCount, runs } from "../store";

/** As many as the server tells at once. */
const MOST = 500;

/** Whether every word that is looked for is in the run's name, state, model or trouble. */
function matches(card: RunCard, search: string): boolean {
  const text = [card.run, card.state, card.model_name ?? "", ...card.open_incidents.map((one) => words(one.kind))]
    .join(" ")
    .toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

export interface Found {
  cards: readonly RunCard[];
  /** Runs that there are besides, older than those listed. */
  older: number;
  /** Whether it is not known yet if there are more. */
  asking: boolean;
}

export function useFound(search: string): Found {
  const listed = runs.value ?? [];
  const older = Math.max(0, runCount.value - listed.length);
  const further = older > 0 && search.trim() !== "";
  const { answer, trouble } = useAsk<Runs>(further ? "runs" : null, { search: search.trim(), limit: MOST }, { live: false });
  const here = listed.filter((card) => matches(card, search));
  if (!further) return { cards: here, older: search.trim() ? 0 : older, asking: false };
  const known = new Set(here.map((card) => card.run));
  const others = (answer?.runs ?? []).filter((card) => !known.has(card.run) && matches(card, search));
  return { cards: ordered([...here, ...others]), older: 0, asking: answer === null && trouble === "" };
}
